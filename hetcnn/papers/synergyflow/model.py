"""Networks on the machine: the two parts of each network, times, gains, utilisation, and pairs of networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hetcnn.errors import unknown
from hetcnn.papers.synergyflow import division
from hetcnn.papers.synergyflow.division import Division, Part
from hetcnn.papers.synergyflow.machine import Machine
from hetcnn.papers.synergyflow.workload import Workload, as_workload, workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LEVELS",
    "compute_bound",
    "demand",
    "elastic",
    "gain",
    "pair_gain",
    "parts",
    "rigid_demand",
    "rigid_seconds",
    "utilisation",
]

LEVELS = ("both", "model")
"""Of a pair's parallelism: layers of both networks beside each other, or each network in a part of its own."""


def demand(layers: Workload, machine: Machine) -> Part:
    """Return c and m of every layer for one batch of B frames.

    c = B x MACs / rate(kind), m = (weights + B x off_chip x activations) x word / bandwidth, in seconds.

    >>> from hetcnn.papers.synergyflow.workload import workload
    >>> fc6 = demand(workload("alexnet"), Machine(mac_rate=1e9, bandwidth=1e9, word=2, batch=4)).memory[-3]
    >>> float(fc6), 9216 * 4096 * 2 / 1e9                                    # 37.7 M weights of 2 B at 1 GB/s
    (0.075497472, 0.075497472)
    """
    rates = np.array([machine.rate(kind) for kind in layers.kinds])
    words = layers.weights + machine.batch * machine.off_chip * layers.activations
    return Part(machine.batch * layers.macs / rates, words * machine.word / machine.bandwidth)


def compute_bound(layers: Workload, machine: Machine) -> NDArray[np.bool_]:
    """Return which layers need the array at least as long as the memory path: those of the first part."""
    need = demand(layers, machine)
    return np.asarray(need.array >= need.memory)


def parts(network: str | Workload, machine: Machine) -> tuple[Part, Part]:
    """Return the compute-bound and the bandwidth-bound part: CONV and FC layers, on the calibrated machine."""
    layers = as_workload(network)
    need, first = demand(layers, machine), compute_bound(layers, machine)
    return Part(need.array[first], need.memory[first]), Part(need.array[~first], need.memory[~first])


def rigid_demand(layers: Workload, machine: Machine) -> Part:
    """Return c and m on the rigid array, which keeps only `rigid_fc` of itself busy in FC layers."""
    whole = demand(layers, machine)
    return Part(np.where(layers.fc, whole.array / machine.rigid_fc, whole.array), whole.memory)


def rigid_seconds(network: str | Workload, machine: Machine) -> float:
    """Return the seconds of one batch on the rigid machine: all layers one after the other."""
    layers = as_workload(network)
    return division.rigid_time(rigid_demand(layers, machine))


def elastic(networks: str | Workload | Sequence[str], machine: Machine) -> Division:
    """Return the optimal division for one network (layer-level) or several side by side (layer- and model-level)."""
    several = [networks] if isinstance(networks, str | Workload) else list(networks)
    pairs = [parts(network, machine) for network in several]
    conv, fc = (division.joined([pair[k] for pair in pairs]) for k in (0, 1))
    return division.divide(conv, fc, machine.reconfiguration)


def gain(network: str | Workload, machine: Machine) -> float:
    """Return the gain in % of the elastic machine by layer-level parallelism: one batch beside another."""
    return 100 * (rigid_seconds(network, machine) / elastic(network, machine).period - 1)


def pair_gain(first: str, second: str, machine: Machine, level: str = "both") -> float:
    """Return the gain in % of two networks side by side over both one after the other on the rigid machine.

    level "model": each network has one part of the machine to itself, divided once (`best_fixed`); "both":
    compute-bound layers of both share one part and bandwidth-bound ones the other (`divide`). Never below 0: the
    machine need not divide.
    """
    if level not in LEVELS:
        raise unknown("level", level, LEVELS)
    rigid = rigid_seconds(first, machine) + rigid_seconds(second, machine)
    if level == "both":
        return 100 * (rigid / elastic((first, second), machine).period - 1)
    one, other = (demand(workload(network), machine) for network in (first, second))
    return max(0.0, 100 * (rigid / division.best_fixed(one, other, machine.reconfiguration)[0] - 1))


def utilisation(network: str | Workload, machine: Machine) -> NDArray[np.float64]:
    """Return the share of time that array and memory path are busy, C / time and M / time: (machine, resource)."""
    whole = division.joined(parts(network, machine))
    times = np.array([rigid_seconds(network, machine), elastic(network, machine).period])
    return np.asarray(np.array([[whole.C, whole.M]]) / times[:, None])
