"""The one calibrated number: kappa = bandwidth x batch / (word x MAC rate), from AlexNet's published gain."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hetcnn.errors import HetcnnError, unknown
from hetcnn.papers.published import number
from hetcnn.papers.synergyflow.machine import Machine, assumptions, provisioned
from hetcnn.papers.synergyflow.model import gain, parts
from hetcnn.papers.synergyflow.workload import Workload, workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CALIBRATED_ON", "SIDES", "at_batch", "calibrate", "calibrated", "nominal", "provisions", "ridge"]

CALIBRATED_ON = "alexnet"
SIDES = ("conv-bound", "fc-bound")
"""The two solutions: the array is busy all the time, or the memory path is."""

_LOWEST, _HIGHEST = 1e-4, 10.0  # weights per MAC slot: gains have vanished at either end


def provisions(count: int = 241) -> NDArray[np.float64]:
    """Return values of kappa on a logarithmic scale, over which gains rise from nothing and fall back to it."""
    return np.geomspace(_LOWEST, _HIGHEST, count)


def ridge(machine: Machine, network: str | Workload = CALIBRATED_ON) -> float:
    """Return the kappa at which a network needs array and memory path equally long; the gain is largest there."""
    from scipy.optimize import brentq

    def excess(log_kappa: float) -> float:
        conv, fc = parts(network, machine.provisioned_at(float(np.exp(log_kappa))))
        return float(np.log((conv.C + fc.C) / (conv.M + fc.M)))

    return float(np.exp(brentq(excess, np.log(1e-9), np.log(1e9))))


def calibrate(machine: Machine, side: str, target: float) -> Machine:
    """Return the machine whose bandwidth gives AlexNet a gain of `target` % on one side of the ridge.

    Raises HetcnnError where no bandwidth gives as much, and for an unknown side.
    """
    from scipy.optimize import brentq

    if side not in SIDES:
        raise unknown("side", side, SIDES)
    layers, middle = workload(CALIBRATED_ON), ridge(machine)
    top = gain(layers, machine.provisioned_at(middle))
    if top < target:
        raise HetcnnError(f"calibration: {target:g} % asked of {CALIBRATED_ON}, at most {top:.3g} % at any bandwidth")
    end = 1e3 * middle if side == "conv-bound" else 1e-3 * middle
    if gain(layers, machine.provisioned_at(end)) > target:
        raise HetcnnError(f"calibration: on the {side} side {CALIBRATED_ON} gains more than {target:g} % everywhere")

    def miss(log_kappa: float) -> float:
        return gain(layers, machine.provisioned_at(float(np.exp(log_kappa)))) - target

    low, high = sorted((float(np.log(middle)), float(np.log(end))))
    root = brentq(miss, low, high, xtol=1e-13)
    return machine.provisioned_at(float(np.exp(root)))


def nominal() -> Machine:
    """Return the machine of the scorecard: nominal assumptions, calibrated on AlexNet's gain."""
    return calibrated(str(assumptions()["side"]["nominal"]))


@cache
def calibrated(side: str) -> Machine:
    """Return the calibrated machine on one side, with the nominal assumptions."""
    return calibrate(provisioned(), side, number("synergyflow", "abstract.alexnet.gain"))


def at_batch(machine: Machine, batch: int) -> Machine:
    """Return the same hardware with another batch: kappa grows with it."""
    return replace(machine, batch=batch)
