"""Plan a network for one batch size: declare jobs, lay out channels, give out memory, write down the calls.

The planner goes over the fused steps once (`declare`), settles where every channel lies (`arrange`), gives every
region memory (`memory`), and builds the kernels, whose views never change again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from hetcnn.kernels.fast.arrange import Arranger
from hetcnn.kernels.fast.declare import Declarer
from hetcnn.kernels.fast.fuse import Step
from hetcnn.kernels.fast.jobs import DIVIDE
from hetcnn.kernels.fast.memory import Shelf, aligned, assign, view
from hetcnn.kernels.fast.tape import Kernel, Workspace
from hetcnn.network import Network

__all__ = ["Program", "plan"]


@dataclass(frozen=True)
class Program:
    """What runs: kernels in order, the arrays that take the inputs, and the views that hold the outputs."""

    kernels: tuple[Kernel, ...]
    layers: tuple[tuple[str, ...], ...]
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, tuple[NDArray[Any], tuple[int, ...]]]
    activation_bytes: int
    workspace_bytes: int
    constant_bytes: int = 0


def plan(network: Network, steps: Sequence[Step], batch: int, weights: Shelf, workers: int, choice: str) -> Program:
    """Plan `steps` for a batch; `weights` keeps laid-out weights, shared by all programs of an engine."""
    declared = Declarer(network, batch, weights, choice)
    for step in steps:
        declared.declare(step)
    outputs = {t.name: declared.output(t) for t in network.outputs}
    arranged = Arranger(declared.jobs, declared.sources)
    total = _allocate(declared, arranged)
    size = max((job.space for job in declared.jobs), default=0) + 64
    spaces = [Workspace(aligned(size)) for _ in range(workers)]
    kernels, layers = _build(declared, arranged, spaces)
    return Program(
        tuple(kernels),
        tuple(layers),
        {name: raw.array for name, raw in declared.inputs.items() if raw.array is not None},
        {name: (get(), shape) for name, (get, shape) in outputs.items()},
        4 * total,
        sum(space.memory.nbytes for space in spaces),
        declared.constant_bytes,
    )


def _allocate(declared: Declarer, arranged: Arranger) -> int:
    for region in arranged.regions:
        assert region.store is not None
        region.store.size = prod(region.shape)
    stores = [region.store for region in arranged.regions if region.store is not None]
    last = len(declared.jobs)
    for raw in declared.raws:
        raw.store.last = min(raw.store.last, last)
    total = assign([*stores, *(raw.store for raw in declared.raws)])
    memory = aligned(total)
    for region in arranged.regions:
        assert region.store is not None
        region.array = view(memory, region.store, region.shape)  # type: ignore[assignment]
    for raw in declared.raws:
        raw.array = view(memory, raw.store, raw.shape, raw.dtype)
    return total


def _build(
    declared: Declarer, arranged: Arranger, spaces: list[Workspace]
) -> tuple[list[Kernel], list[tuple[str, ...]]]:
    kernels, layers, clean = [], [], set()
    for i, job in enumerate(declared.jobs):
        before = [make() for make in arranged.copies.get(i, [])]
        fresh = [r for r in arranged.regions if r.store is not None and r.store.first == i and id(r) not in clean]
        clean |= {id(r) for r in fresh}
        fills = [call for region in fresh for call in region.clear()]
        main = job.build(spaces if job.seconds >= DIVIDE else spaces[:1])
        main.parts += ((),) * (len(spaces) - len(main.parts))
        calls = [*fills, *(c for kernel in before for c in kernel.parts[0]), *getattr(main, "prepare", ())]
        if calls:
            kernels.append(Kernel(main.name, "layout", [calls, *([] for _ in range(len(spaces) - 1))]))
            layers.append(tuple(job.step.layers) if job.step else ())
        if any(main.parts):
            kernels.append(main)
            layers.append(tuple(job.step.layers) if job.step else ())
    return kernels, layers
