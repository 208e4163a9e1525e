"""Times and work of the kernels that a network runs as, on one thread of the NumPy engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.host import work
from hetcnn.host.timing import SPREAD, repeat
from hetcnn.kernels import blas
from hetcnn.kernels.engine import Engine
from hetcnn.kernels.fast.tape import Call, Kernel, copy, matmul
from hetcnn.kernels.plan import Program
from hetcnn.network import Network

__all__ = ["Kernels", "Line", "example_inputs", "kernels_of", "lines", "measure", "positions"]

FloatArray = NDArray[np.float64]

LEAST = 1e-7
"""Seconds that any kernel takes at least: less than that is the clock's own noise."""


@dataclass(frozen=True)
class Kernels:
    """The kernels of one network in order: layers that each stands for, algorithm, work, and times where measured.

    `work` is (kernels, terms) over `work.TERMS`; `time` the median in seconds, `spread` its relative uncertainty.
    """

    network: str
    layers: tuple[tuple[str, ...], ...]
    algorithms: tuple[str, ...]
    work: FloatArray
    time: FloatArray
    spread: FloatArray
    positions: tuple[int, ...] = ()
    """Index of the layer that each kernel begins with, never less than the one before: where a cut finds it."""
    total: float = float("nan")
    """Seconds of whole runs, measured as such."""
    rounds: int = 0

    def __len__(self) -> int:
        return len(self.layers)

    def lines(self) -> list[tuple[int, ...]]:
        """The kernels of each fused layer together: a change of layout belongs to the layer that wants it."""
        numbered = itertools.groupby(range(len(self)), key=lambda i: self.layers[i])
        return [tuple(rows) for _, rows in numbered]


def example_inputs(network: Network, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return seeded inputs for a network."""
    rng = np.random.default_rng(seed)
    return {t.name: rng.standard_normal(t.shape).astype(t.dtype) for t in network.inputs}


def kernels_of(engine: Engine, *, near: float, cache: float) -> Kernels:
    """Return the kernels of a planned network with their work, not yet measured.

    near, cache: bytes of the second-level and of the last-level cache.
    """
    program = engine.program()
    amounts = work.program_work(program.kernels, near=near, cache=cache)[:, 0]
    nothing = np.full(len(amounts), np.nan)
    names = tuple(kernel.algorithm for kernel in program.kernels)
    places = tuple(positions(program, engine.network))
    return Kernels(engine.network.name, program.layers, names, amounts, nothing, nothing, places)


def positions(program: Program, network: Network) -> list[int]:
    """Return for each kernel the index of the first layer that it stands for, in the order in which they run."""
    at = {layer.name: i for i, layer in enumerate(network.layers)}
    first = [min((at[name] for name in layers if name in at), default=0) for layers in program.layers]
    return list(itertools.accumulate(first, max))


def measure(
    engine: Engine,
    *,
    near: float,
    cache: float,
    seconds: float = 1.0,
    enough: float = SPREAD,
    clock: Callable[[], float] = time.thread_time,
) -> Kernels:
    """Return the kernels of a network with their measured times on one thread.

    `clock` is processor time by default, which waiting for others does not lengthen.
    """
    program = engine.program()
    known = kernels_of(engine, near=near, cache=cache)
    _fill(program, example_inputs(engine.network))
    sample = repeat(lambda: _round(program.kernels, clock), seconds=seconds, enough=enough)
    median, spread = sample.median, sample.spread
    times = np.maximum(median[:-1] - reading(clock), LEAST)
    return replace(known, time=times, spread=spread[:-1], total=float(median[-1]), rounds=sample.rounds)


def reading(clock: Callable[[], float], kernels: int = 32, rounds: int = 40) -> float:
    """Return the seconds that reading the clock after every kernel adds to each.

    Not the time between two readings in a row: one that interrupts work costs half as much again, for the work then
    starts afresh. So small kernels of made-up calls run with a clock and without, like a network's.
    """
    sample = np.array([_round(_small_kernels(kernels), clock) for _ in range(rounds)])
    return float(np.median(sample[:, :-1].sum(axis=1) - sample[:, -1])) / kernels


@cache
def _small_kernels(count: int) -> tuple[Kernel, ...]:
    """Kernels of a copy, a product and a maximum each, of a microsecond or two."""
    found = []
    for number in range(count):
        x, y = np.zeros(256, np.float32), np.zeros(256, np.float32)
        a, b = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
        calls: list[Call] = [copy(x, y), matmul(a, a, b), partial(np.maximum, x, y, out=y)]
        found.append(Kernel(f"small {number}", "small", [calls]))
    return tuple(found)


def _fill(program: Program, inputs: dict[str, NDArray[Any]]) -> None:
    for name, target in program.inputs.items():
        np.copyto(target, inputs[name])


def _round(kernels: Sequence[Kernel], clock: Callable[[], float]) -> list[float]:
    """The time of every kernel in one run, and then of a whole run without a clock in between."""
    times = []
    with blas.one_thread():
        before = clock()
        for kernel in kernels:
            for call in kernel.parts[0]:
                call()
            after = clock()
            times.append(after - before)
            before = after
        for kernel in kernels:
            for call in kernel.parts[0]:
                call()
        times.append(clock() - before)
    return times


@dataclass(frozen=True)
class Line:
    """A layer with what was fused into it and its changes of layout: kernels, kind and GEMM dimensions, and its time.

    `kind` is "conv", "dw" or "fc" with N, K, M (of all groups together), operations and compulsory bytes, or "" for a
    layer without MACs.
    """

    layer: str
    kernels: tuple[int, ...]
    kind: str
    N: int
    K: int
    M: int
    time: float
    ops: int = 0
    bytes: int = 0


def lines(kernels: Kernels, network: Network) -> list[Line]:
    """Return the layers that a network runs as, in order."""
    found = []
    for rows in kernels.lines():
        names = kernels.layers[rows[0]]
        major = next((network[name] for name in names if name and network[name].macs), None)
        time_ = float(kernels.time[list(rows)].sum())
        if major is None or major.gemm is None:
            found.append(Line(names[0] if names else "layout", rows, "", 0, 0, 0, time_))
        else:
            shape = major.gemm
            size = shape.N, shape.K, shape.M * shape.groups
            found.append(Line(major.name, rows, major.kind, *size, time_, major.ops, major.bytes))
    return found
