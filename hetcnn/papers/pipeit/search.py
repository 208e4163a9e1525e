"""Pipe-it's design space (Eqs. 1-2) and its published search (Algorithms 1-3), with the exact optimum beside it.

A pipeline is a list of stages, Big ones first; a stage is a number of cores of one cluster ("B" or "s"). A
configuration adds the layers of each stage and reads as in the paper's tables: "B4-s2-s2: [1,35]-[36,44]-[45,54]",
layers counted from 1; "[]" is a stage without layers, which only intermediate steps of the search have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hetcnn import partition, pipeline
from hetcnn.errors import HetcnnError, unknown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Configuration",
    "Stage",
    "Step",
    "TimeMatrix",
    "design_space",
    "exact_optimum",
    "find_split",
    "merge_stage",
    "parse_configuration",
    "parse_pipeline",
    "pipeline_count",
    "pipelines",
    "work_flow",
]


class Stage(NamedTuple):
    """One stage: `cores` cores of the cluster `kind`, "B" (Big) or "s" (Small). Equal to the plain pair.

    >>> str(Stage("B", 4))
    'B4'
    """

    kind: str
    cores: int

    def __str__(self) -> str:
        return f"{self.kind}{self.cores}"


Pipeline = tuple[Stage, ...]


@dataclass(frozen=True)
class Configuration:
    """A pipeline with the layers of each stage: stage i runs layers boundaries[i] to boundaries[i + 1] - 1 (from 0).

    >>> print(Configuration((Stage("B", 4), Stage("s", 4)), (0, 9, 11)))
    B4-s4: [1,9]-[10,11]
    """

    stages: Pipeline
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.boundaries) != len(self.stages) + 1:
            raise HetcnnError(
                f"{len(self.stages)} stages have {len(self.stages) + 1} boundaries, got {len(self.boundaries)}"
            )
        if self.boundaries[0] != 0:
            raise HetcnnError(f"boundaries start at 0, got {self.boundaries[0]}")
        pipeline.stage_boundaries(self.cuts, len(self.stages), self.boundaries[-1])

    @property
    def cuts(self) -> tuple[int, ...]:
        """The first layer of every stage but the first one, counted from 0."""
        return self.boundaries[1:-1]

    @property
    def name(self) -> str:
        """The pipeline alone: "B4-s2-s2"."""
        return "-".join(map(str, self.stages))

    @property
    def layers(self) -> str:
        """The layers alone, counted from 1: "[1,35]-[36,44]-[45,54]"."""
        return "-".join(f"[{a + 1},{b}]" if b > a else "[]" for a, b in pairwise(self.boundaries))

    def without_empty(self) -> Configuration:
        """Return the configuration of the stages that run at least one layer."""
        used = [(s, b) for s, (a, b) in zip(self.stages, pairwise(self.boundaries), strict=True) if b > a]
        return Configuration(tuple(s for s, _ in used), (0, *(b for _, b in used)))

    def __str__(self) -> str:
        return f"{self.name}: {self.layers}"


def parse_pipeline(text: str) -> Pipeline:
    """Return the stages of a pipeline in the paper's notation.

    >>> parse_pipeline("B4-s2-s2")
    (Stage(kind='B', cores=4), Stage(kind='s', cores=2), Stage(kind='s', cores=2))
    """
    stages = []
    for word in text.strip().split("-"):
        match = re.fullmatch(r"([Bs])([1-9][0-9]?)", word)
        if match is None:
            raise HetcnnError(
                f"pipeline '{text}': '{word}' is no stage; write B or s and a number of cores, as in B4-s2-s2"
            )
        stages.append(Stage(match[1], int(match[2])))
    return tuple(stages)


def parse_configuration(text: str) -> Configuration:
    """Return the configuration that the paper's notation names; layers must follow one another from 1.

    >>> parse_configuration("B4-s4: [1,9]-[10,11]").boundaries
    (0, 9, 11)
    """
    name, colon, ranges = text.partition(":")
    stages = parse_pipeline(name)
    boundaries = [0]
    for word in ranges.strip().split("-") if colon else []:
        match = re.fullmatch(r"\[(?:([0-9]{1,6}),([0-9]{1,6}))?\]", word)
        if match is None:
            raise HetcnnError(f"configuration '{text}': '{word}' is no range of layers; write [first,last]")
        first, last = (boundaries[-1] + 1, boundaries[-1]) if match[1] is None else (int(match[1]), int(match[2]))
        if first != boundaries[-1] + 1 or (match[1] and last < first):
            raise HetcnnError(
                f"configuration '{text}': '{word}' must start at layer {boundaries[-1] + 1} and not end before"
            )
        boundaries.append(last)
    if len(boundaries) != len(stages) + 1:
        raise HetcnnError(
            f"configuration '{text}': {len(stages)} stages need as many ranges of layers, as in B4-s4: [1,9]-[10,11]"
        )
    return Configuration(stages, tuple(boundaries))


@dataclass(frozen=True, eq=False)
class TimeMatrix:
    """Layer times in seconds on each kind of stage: `times[kind, cores]` is an array (layers,).

    Raises HetcnnError for times that are negative or not finite, and rows whose length is not that of `layers`.

    >>> matrix = TimeMatrix(("conv1", "conv2"), {("B", 1): [1, 2], ("s", 1): [3, 6]})
    >>> matrix.throughput(parse_configuration("B1-s1: [1,1]-[2,2]")) == 1 / 6
    True
    """

    layers: tuple[str, ...]
    times: Mapping[tuple[str, int], NDArray[np.float64]]

    def __post_init__(self) -> None:
        rows = pipeline.layer_rows([*self.times.values()], rows="kinds of stages")
        if np.isinf(rows).any():
            raise HetcnnError("times must be finite: every layer runs on every stage of this search")
        if rows.shape[1] != len(self.layers):
            raise HetcnnError(
                f"times have {rows.shape[1]} layers, names {len(self.layers)}; give one name to each layer"
            )
        object.__setattr__(self, "times", {Stage(*s): row for s, row in zip(self.times, rows, strict=True)})

    def row(self, stage: tuple[str, int]) -> NDArray[np.float64]:
        """Return the layer times of one kind of stage, (layers,)."""
        if stage not in self.times:
            raise unknown("stage", str(Stage(*stage)), [str(Stage(*s)) for s in self.times])
        return self.times[stage]

    def rows(self, stages: Sequence[tuple[str, int]]) -> NDArray[np.float64]:
        """Return the layer times of a pipeline's stages, (stages, layers)."""
        return np.stack([self.row(s) for s in stages])

    def stage_times(self, configuration: Configuration) -> NDArray[np.float64]:
        """Return the time of each stage, (stages,): Eq. 9."""
        if configuration.boundaries[-1] != len(self.layers):
            raise HetcnnError(f"configuration '{configuration}' must end at layer {len(self.layers)}, the last one")
        return pipeline.stage_times(self.rows(configuration.stages), configuration.cuts)

    def throughput(self, configuration: Configuration) -> float:
        """Return frames/s: Eq. 11."""
        return float(pipeline.throughput(self.stage_times(configuration)))


@dataclass(frozen=True)
class Step:
    """One step of the search, for looking on: what was done and what the pipeline was then."""

    action: str
    configuration: Configuration
    stage_times: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.action}: {self.configuration}"


def pipeline_count(stages: int, big: int = 4, small: int = 4) -> int:
    """Return C_p, the pipelines of p = `stages` stages over all cores of both clusters (Eq. 1).

    C_p = sum over p_B from max(1, p - H_s) to min(H_B, p - 1) of binom(H_B - 1, p_B - 1) binom(H_s - 1, p - p_B - 1).

    >>> [pipeline_count(p) for p in range(2, 9)]
    [1, 6, 15, 20, 15, 6, 1]
    """
    _check_cores(big, small)
    on_big = range(max(1, stages - small), min(big, stages - 1) + 1)
    return sum(comb(big - 1, p - 1) * comb(small - 1, stages - p - 1) for p in on_big)


def design_space(layers: int, big: int = 4, small: int = 4) -> int:
    """Return D_W, the configurations of W = `layers` major layers, no stage empty (Eq. 2).

    D_W = sum over p from 2 to H_B + H_s of binom(W - 1, p - 1) C_p.

    >>> design_space(28), design_space(29)       # MobileNet has 28 layers; the paper prints 5,379,616
    (4272048, 5379616)
    """
    if layers < 1:
        raise HetcnnError(f"a network has at least 1 major layer, got {layers}")
    return sum(comb(layers - 1, p - 1) * pipeline_count(p, big, small) for p in range(2, big + small + 1))


def _check_cores(big: int, small: int) -> None:
    if big < 1 or small < 1:
        raise HetcnnError(f"both clusters need at least 1 core, got {big} Big and {small} Small")


def pipelines(big: int = 4, small: int = 4) -> tuple[Pipeline, ...]:
    """Return every pipeline over all cores of both clusters, Big stages first; few stages first.

    >>> ["-".join(map(str, p)) for p in pipelines(2, 2)]
    ['B2-s2', 'B2-s1-s1', 'B1-B1-s2', 'B1-B1-s1-s1']
    """
    _check_cores(big, small)
    both = [
        tuple(Stage("B", n) for n in b) + tuple(Stage("s", n) for n in s)
        for b in _compositions(big)
        for s in _compositions(small)
    ]
    return tuple(sorted(both, key=len))


def _compositions(total: int) -> Iterator[tuple[int, ...]]:
    """Yield the ordered sums of positive numbers that make `total`, large first terms first."""
    if total == 0:
        yield ()
    for first in range(total, 0, -1):
        for rest in _compositions(total - first):
            yield (first, *rest)


def find_split(first: ArrayLike, second: ArrayLike) -> int:
    """Return how many of the layers stay on the first of two stages (Algorithm 1).

    All layers start on the first stage; its last layer l moves on while T_i - t_i(l) > T_i+1 + t_i+1(l).
    first, second: times (layers,) of the same layers on each stage. (The paper's listing walks the layers from the
    front, its text from the last one; the text makes sense and is followed.)

    >>> find_split([1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2])                # 5 | 2, then 4 > 4 fails
    5
    """
    if np.shape(first) != np.shape(second):
        raise HetcnnError(f"both stages need times of the same layers, got {np.size(first)} and {np.size(second)}")
    fast, slow = pipeline.layer_rows([first, second])
    return _kept(fast, slow)


def _kept(first: NDArray[np.float64], second: NDArray[np.float64]) -> int:
    fast, slow = first.tolist(), second.tolist()
    on_first, on_second, kept = sum(fast), 0.0, len(fast)
    while kept and on_first - fast[kept - 1] > on_second + slow[kept - 1]:
        kept -= 1
        on_first -= fast[kept]
        on_second += slow[kept]
    return kept


def work_flow(times: TimeMatrix, stages: Sequence[tuple[str, int]], trace: list[Step] | None = None) -> Configuration:
    """Return the layers of each stage after sweeps of Algorithm 1 over adjacent stages (Algorithm 2).

    All layers start on the first stage; sweeps repeat until one changes nothing. They end: where Algorithm 1 cuts a
    range of layers moves towards the front when the range does, so from this start no cut ever moves back. The last
    stages may stay empty. `trace` collects each step of the first sweep, the result of every sweep and "converged".

    >>> matrix = TimeMatrix(("a", "b", "c"), {("B", 1): [1, 1, 1], ("s", 1): [1, 1, 1]})
    >>> print(work_flow(matrix, [("B", 1), ("s", 1), ("s", 1)]))
    B1-s1-s1: [1,2]-[3,3]-[]
    """
    chosen = tuple(Stage(*s) for s in stages)
    if not chosen:
        raise HetcnnError("a pipeline needs at least one stage, got none")
    rows = times.rows(chosen)
    edges = [0] + [len(times.layers)] * len(chosen)
    sweep, changed = 0, True
    while changed:
        sweep, before = sweep + 1, edges.copy()
        for i in range(len(chosen) - 1):
            low, high = edges[i], edges[i + 2]
            edges[i + 1] = low + _kept(rows[i, low:high], rows[i + 1, low:high])
            if sweep == 1:
                _note(trace, f"split {i + 1}|{i + 2}", times, chosen, edges)
        changed = edges != before
        _note(trace, f"sweep {sweep}" if changed else "converged", times, chosen, edges)
    return Configuration(chosen, tuple(edges))


def _note(trace: list[Step] | None, action: str, times: TimeMatrix, stages: Pipeline, edges: Sequence[int]) -> None:
    if trace is not None:
        configuration = Configuration(stages, tuple(edges))
        trace.append(Step(action, configuration, tuple(times.stage_times(configuration).tolist())))


def merge_stage(times: TimeMatrix, big: int = 4, small: int = 4, trace: list[Step] | None = None) -> Configuration:
    """Return the configuration that the published search ends with (Algorithm 3), without stages that stay empty.

    Starts with single-core stages and Algorithm 2. Merges, first in the Big cluster and then in the Small one, two
    adjacent stages if T(merged, L_i and L_i+1) < max(T_i, T_i+1) (Eq. 12), and runs Algorithm 2 again; stops where no
    pair does so. The paper does not say which pair comes first: here it is the foremost one that satisfies Eq. 12.
    `times` needs rows for 1 to `big` Big cores and 1 to `small` Small cores. `trace` collects the steps.

    >>> times = {(kind, n): np.array([2.0, 2.0]) * (3 if kind == "s" else 1) / n for kind in "Bs" for n in (1, 2)}
    >>> print(merge_stage(TimeMatrix(("a", "b"), times), 2, 2))           # 4 on B1 becomes 2 + 2 on B2
    B2: [1,2]
    """
    _check_cores(big, small)
    stages: Pipeline = (Stage("B", 1),) * big + (Stage("s", 1),) * small
    found = work_flow(times, stages, trace)
    for kind in ("B", "s"):
        while (i := _mergeable(times, found, kind)) is not None:
            one, other = found.stages[i : i + 2]
            merged = (*found.stages[:i], Stage(kind, one.cores + other.cores), *found.stages[i + 2 :])
            edges = (*found.boundaries[: i + 1], *found.boundaries[i + 2 :])
            _note(trace, f"merge {one}+{other}", times, merged, edges)
            found = work_flow(times, merged, trace)
    return found.without_empty()


def _mergeable(times: TimeMatrix, found: Configuration, kind: str) -> int | None:
    """Return the foremost pair of adjacent stages of one kind that Eq. 12 merges."""
    now = times.stage_times(found)
    for i, (one, other) in enumerate(pairwise(found.stages)):
        if one.kind == other.kind == kind:
            both = slice(found.boundaries[i], found.boundaries[i + 2])
            if times.row((kind, one.cores + other.cores))[both].sum() < max(now[i], now[i + 1]):
                return i
    return None


def exact_optimum(times: TimeMatrix, big: int = 4, small: int = 4) -> Configuration:
    """Return the best configuration of all pipelines, stages left out where that is no slower.

    >>> times = {(kind, n): np.array([2.0, 2.0]) * (3 if kind == "s" else 1) / n for kind in "Bs" for n in (1, 2)}
    >>> print(exact_optimum(TimeMatrix(("a", "b"), times), 2, 2))         # B2 alone and B1-B1 both take 2 s
    B2: [1,2]
    """
    stages, split = partition.best_pipeline(times.times, pipelines(big, small))
    return Configuration(tuple(Stage(*s) for s in stages), split.boundaries)
