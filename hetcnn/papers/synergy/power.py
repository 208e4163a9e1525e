"""Power of Synergy in three rails (Fig. 10), and energy of a frame (Table 3).

Fabric: a constant and an energy per op of the convolutions. ARM and DDR: constants, the cores being busy all the time;
an energy per byte would be fitted as zero. Four numbers, fitted on Fig. 10's twenty-one rails at the model's own rates.
The original Darknet takes the printed 1.52 W whatever the network.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from hetcnn import energy, fit
from hetcnn.papers.published import number
from hetcnn.papers.synergy.designs import Design, run
from hetcnn.papers.synergy.machine import NETWORKS, Machine, original_seconds, stages

__all__ = ["RAILS", "Rails", "original_energy", "rail_watts", "rails", "synergy_energy"]

RAILS = ("fpga", "arm", "ddr")


class Rails(NamedTuple):
    """Static W of each rail, and J/op of the fabric."""

    fpga: float
    per_op: float
    arm: float
    ddr: float


def _ops(machine: Machine, name: str, variant: int = 0) -> float:
    return 2.0 * sum(machine.scale(s) * s.macs for s in stages(name, variant))


@cache
def rails(machine: Machine) -> Rails:
    """Return the rails' numbers: least squares of relative errors, none negative."""
    ops = np.array([run(machine, n, Design()).rate * _ops(machine, n) for n in NETWORKS])
    fpga, arm, ddr = (np.array([number("synergy", f"fig10.{n}.{rail}") for n in NETWORKS]) for rail in RAILS)
    one = np.ones((len(NETWORKS), 1))
    fabric = fit.nonnegative(np.column_stack([one, ops]), fpga).tolist()
    return Rails(*fabric, *fit.nonnegative(one, arm).tolist(), *fit.nonnegative(one, ddr).tolist())


def rail_watts(machine: Machine, name: str, variant: int = 0) -> dict[str, float]:
    """Return the mean power in W of each rail while Synergy runs a network."""
    found, seconds = rails(machine), 1 / run(machine, name, Design(), variant).rate
    parts = (
        energy.rail_energy(seconds, static=found.fpga, per_op=found.per_op, ops=_ops(machine, name, variant)),
        energy.rail_energy(seconds, static=found.arm),
        energy.rail_energy(seconds, static=found.ddr),
    )
    watts = (float(energy.average_power(p.total, seconds)) for p in parts)
    return dict(zip(RAILS, watts, strict=True))


def synergy_energy(machine: Machine, name: str, variant: int = 0) -> float:
    """Return the energy of a frame in J."""
    return sum(rail_watts(machine, name, variant).values()) / run(machine, name, Design(), variant).rate


def original_energy(name: str) -> float:
    """Return the energy in J of a frame of the original Darknet, at the printed power.

    >>> round(1e3 * original_energy("mnist"), 1)          # 1.52 W / 14.47 frames/s; Table 3 prints 112.9
    105.0
    """
    return number("synergy", "text.original_power") * original_seconds(name)
