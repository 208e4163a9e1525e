"""A system compiled to flat lists of numbers, the form that the event loop works on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hetcnn.simulate.parts import Engine, Path, Slots
from hetcnn.simulate.system import System

__all__ = ["Plan", "compile_system"]


@dataclass(frozen=True)
class Plan:
    """Lists over engines (E), layers (L), clusters (C), exclusive slots (R) and shared rates (P); -1 means none.

    cost, amount: seconds and bytes of a job, engine-major (E x L). core, port, fair, path: the resource of each engine;
    layer_core, layer_fair: of each layer. rates, limits, largest: capacity, most per user and largest amount of each
    shared rate (paths in B/s, then fair slots in places). home: the cluster of each engine; after: the engine whose
    turn comes next; target: the cluster of each layer.
    """

    E: int
    L: int
    C: int
    R: int
    P: int
    cost: list[float]
    amount: list[float]
    double: list[bool]
    core: list[int]
    port: list[int]
    fair: list[int]
    path: list[int]
    places: list[int]
    rates: list[float]
    limits: list[float]
    largest: list[float]
    home: list[int]
    after: list[int]
    first: list[int]
    sizes: list[int]
    holds: list[int]
    capacity: list[int]
    thief: list[bool]
    jobs: list[int]
    target: list[int]
    before: list[float]
    behind: list[float]
    layer_core: list[int]
    layer_fair: list[int]
    depths: list[int]


def compile_system(system: System) -> Plan:
    """Return the plan of a system; every number of it comes from the description."""
    engines, layers, clusters = system.engines, system.layers, system.clusters
    exclusive = [s for s in system.slots if not s.fair]
    shared: list[Path | Slots] = [*system.paths, *(s for s in system.slots if s.fair)]
    slot, rate = _index(exclusive), _index(shared)
    place, sizes = _index(clusters), [len(c.engines) for c in clusters]
    first = [sum(sizes[:i]) for i in range(len(sizes))]
    home = [i for i, size in enumerate(sizes) for _ in range(size)]
    cost = [s for e, c in zip(engines, home, strict=True) for s in _costs(system, e, clusters[c].name)]
    amount = [0.0 if e.path is None else layer.bytes * (layer.jobs > 0) for e in engines for layer in layers]
    most = max([layer.before for layer in layers] + [layer.after for layer in layers] + cost)
    return Plan(
        E=len(engines),
        L=len(layers),
        C=len(clusters),
        R=len(exclusive),
        P=len(shared),
        cost=cost,
        amount=amount,
        double=[e.double_buffer for e in engines],
        core=[slot.get(e.core, -1) for e in engines],
        port=[slot.get(e.port, -1) for e in engines],
        fair=[rate.get(e.core, -1) for e in engines],
        path=[rate.get(e.path, -1) for e in engines],
        places=[s.count for s in exclusive],
        rates=[float(s.rate if isinstance(s, Path) else s.count) for s in shared],
        limits=[s.limit if isinstance(s, Path) else 1.0 for s in shared],
        largest=[max(amount, default=0.0) if isinstance(s, Path) else most for s in shared],
        home=home,
        after=[first[c] + (e + 1 - first[c]) % sizes[c] for e, c in enumerate(home)],
        first=first,
        sizes=sizes,
        holds=[1 + clusters[c].buffer for c in home],
        capacity=[2**62 if c.queue is None else c.queue for c in clusters],
        thief=[c.thief and system.stealing is not None for c in clusters],
        jobs=[layer.jobs for layer in layers],
        target=[place.get(layer.cluster, -1) for layer in layers],
        before=[layer.before for layer in layers],
        behind=[layer.after for layer in layers],
        layer_core=[slot.get(layer.core, -1) for layer in layers],
        layer_fair=[rate.get(layer.core, -1) for layer in layers],
        depths=list(system.depths),
    )


def _index(named: Iterable[Slots | Path | object]) -> dict[str | None, int]:
    return {str(getattr(thing, "name", "")): i for i, thing in enumerate(named)}


def _costs(system: System, engine: Engine, cluster: str) -> list[float]:
    """Seconds of each layer's job on an engine; 0 where no such job can come."""
    may_steal = system.stealing is not None and next(c for c in system.clusters if c.name == cluster).thief
    return [
        engine.seconds(layer) if layer.jobs and (may_steal or layer.cluster == cluster) else 0.0
        for layer in system.layers
    ]
