"""The same machine as an event schedule: two engines share a memory path, batches follow one another through both.

It knows nothing of the closed form but the array's division: who waits for whom, and who gets how much of the memory
path when, comes out of the events. Every layer with MACs is one job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hetcnn.errors import unknown
from hetcnn.papers.synergyflow import division
from hetcnn.papers.synergyflow.division import Part
from hetcnn.papers.synergyflow.machine import Machine
from hetcnn.papers.synergyflow.model import compute_bound, elastic, parts, rigid_demand
from hetcnn.papers.synergyflow.workload import Workload, as_workload
from hetcnn.simulate import Cluster, Engine, Layer, Path, Schedule, System, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DESIGNS", "Profile", "event_period", "event_schedule", "profile"]

DESIGNS = ("rigid", "fixed", "elastic")
"""Undivided; array and bandwidth divided once; array divided, bandwidth following the layers."""

_BATCHES = 12


def event_schedule(
    network: str | Workload, machine: Machine, design: str = "elastic", *, batches: int = _BATCHES
) -> Schedule:
    """Return the event schedule of `batches` batches, one arriving in every period of `event_period`.

    At that pace CONV of one batch runs beside FC of the one before. `design` is one of `DESIGNS`.
    """
    interval = 0.0 if design == "rigid" else event_period(network, machine, design)
    return simulate(
        _system(network, machine, design), batches, min(3, (batches - 1) // 2), interval=interval, record=True
    )


@cache
def event_period(network: str | Workload, machine: Machine, design: str = "elastic") -> float:
    """Return the seconds between finished batches in the steady part, where batches always wait at the entrance."""
    system = _system(network, machine, design)
    skip = 2 * system.max_in_flight
    return 1 / simulate(system, 2 * skip + 40, skip).throughput


def _system(network: str | Workload, machine: Machine, design: str) -> System:
    if design not in DESIGNS:
        raise unknown("design", design, DESIGNS)
    layers = as_workload(network)
    return _rigid(layers, machine) if design == "rigid" else _divided(layers, machine, fixed=design == "fixed")


def _rigid(layers: Workload, machine: Machine) -> System:
    engine = _engine("whole array", "memory", rigid_demand(layers, machine), layers.names, 1.0, 0.0)
    jobs = _jobs(layers, machine, ["array"] * len(layers))
    cluster, path = Cluster("array", (engine,)), Path("memory", machine.bandwidth)
    return System((cluster,), jobs, paths=(path,), in_flight=1, name=layers.network)


def _divided(layers: Workload, machine: Machine, *, fixed: bool) -> System:
    """Compute-bound layers on the first engine, bandwidth-bound ones on the second."""
    conv, fc = parts(layers, machine)
    first = compute_bound(layers, machine)
    names = [_named(layers, first), _named(layers, ~first)]
    if fixed:
        _, x, y = division.best_fixed(conv, fc, machine.reconfiguration)
        paths = [Path("memory 1", y * machine.bandwidth), Path("memory 2", (1 - y) * machine.bandwidth)]
    else:
        x = elastic(layers, machine).array
        paths = [Path("memory", machine.bandwidth)]
    engines = [
        _engine("compute-bound part", paths[0].name, conv, names[0], x, machine.reconfiguration),
        _engine("bandwidth-bound part", paths[-1].name, fc, names[1], 1 - x, machine.reconfiguration),
    ]
    clusters = tuple(Cluster(engine.name, (engine,)) for engine in engines)
    jobs = _jobs(layers, machine, [engines[int(not mine)].name for mine in first])
    return System(clusters, jobs, paths=tuple(paths), name=layers.network)


def _engine(name: str, path: str, part: Part, layers: Sequence[str], share: float, overhead: float) -> Engine:
    seconds = dict(zip(layers, (part.array / share).tolist(), strict=True))
    return Engine(name, lambda layer: seconds[layer.name], kind="accelerator", overhead=overhead, path=path)


def _jobs(layers: Workload, machine: Machine, clusters: Sequence[str]) -> tuple[Layer, ...]:
    words = layers.weights + machine.batch * machine.off_chip * layers.activations
    sizes = (words * machine.word).tolist()
    return tuple(
        Layer(name, jobs=1, bytes=size, cluster=cluster)
        for name, size, cluster in zip(layers.names, sizes, clusters, strict=True)
    )


@dataclass(frozen=True, eq=False)
class Profile:
    """Utilisation over one period: `array` and `memory` (shares of the whole) hold from each of `edges` to the next."""

    edges: NDArray[np.float64]
    array: NDArray[np.float64]
    memory: NDArray[np.float64]

    @property
    def mean(self) -> tuple[float, float]:
        """Mean utilisation of the array and of the memory path."""
        width = np.diff(self.edges)
        period = self.edges[-1] - self.edges[0]
        return float(self.array @ width / period), float(self.memory @ width / period)

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (array, memory) at times counted from the start of the period."""
        found = np.searchsorted(self.edges, self.edges[0] + times, side="right") - 1
        found = np.clip(found, 0, len(self.array) - 1)
        return np.stack([self.array[found], self.memory[found]])


def profile(network: str | Workload, machine: Machine, design: str = "elastic") -> Profile:
    """Return the utilisation over one steady period of the event schedule, as the mean over each layer's job.

    A job that needs c seconds of the whole array and m of the whole memory path and lasts t keeps c / t and m / t of
    them busy; what runs at the same time adds up.
    """
    layers = as_workload(network)
    need = rigid_demand(layers, machine) if design == "rigid" else division.joined(parts(layers, machine))
    first = compute_bound(layers, machine)
    order = layers.names if design == "rigid" else [*_named(layers, first), *_named(layers, ~first)]
    found = event_schedule(network, machine, design)
    # One whole period in the middle of the run, between two exits of the last layer.
    begin, end = float(found.left[found.frames // 2 - 1]), float(found.left[found.frames // 2])
    tasks = found.tasks
    start, finish = tasks["start"].to_numpy(), tasks["finish"].to_numpy()
    place = {name: i for i, name in enumerate(order)}
    which = np.array([place[name] for name in tasks["layer"].to_numpy()])
    edges = np.unique(np.clip(np.concatenate([start, finish, [begin, end]]), begin, end))
    middle = (edges[1:] + edges[:-1]) / 2
    active = (start[:, None] <= middle) & (middle < finish[:, None])
    length = np.maximum(finish - start, 1e-300)
    array, memory = ((used[which] / length) @ active for used in (need.array, need.memory))
    return Profile(edges, array, memory)


def _named(layers: Workload, mask: NDArray[np.bool_]) -> list[str]:
    return [name for name, here in zip(layers.names, mask, strict=True) if here]
