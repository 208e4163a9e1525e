"""The machine of Synergy in formulas: jobs, step times, software, and bounds that need no simulation.

A convolution C[N x M] = A[N x K] B[K x M] is cut into ceil(N/32) ceil(M/32) jobs of ceil(K/32) steps (Sec. 3). A job
takes `steps x step time + job` seconds on an engine. An F-PE's step time follows from the paper's latency formula; that
of a NEON thread, the overhead of a job and the rates of the software are fitted (`fitting`). The rebuilt shapes have up
to a tenth more or less work than the paper's networks: all work counts in proportion to what the paper implies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from heapq import heapify, heapreplace
from typing import Any, NamedTuple

from hetcnn import network, platform
from hetcnn.errors import HetcnnError, unknown
from hetcnn.papers.published import number
from hetcnn.papers.synergy import networks
from hetcnn.units import Quantity

__all__ = [
    "NETWORKS",
    "NOMINAL",
    "Assumptions",
    "Clusters",
    "Machine",
    "Parameters",
    "Stage",
    "board",
    "clock",
    "cores",
    "frame_ops",
    "jobs_makespan",
    "original_seconds",
    "stages",
]

NETWORKS = tuple(networks.BENCHMARKS)
Clusters = tuple[tuple[int, int, int], ...]
"""Engines of each cluster: NEON threads, S-PEs, F-PEs."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the paper leaves open, with the choice that the scorecard uses; ranges in `assumptions.toml`.

    interval: cycles between products of an F-PE. s_pe: an S-PE's step time over an F-PE's. threads: of a convolution.
    mailbox: frames between layers. steal: jobs of one steal. pool, lrn: software s per read and per element. burst:
    latency of a row of a tile, in cycles. neon_threads: of the non-pipelined designs. neon_job: overhead of a job on
    NEON over that on a PE. work: of a frame, "implied" by the paper or that of the "rebuilt" shape.
    """

    interval: float = 16
    s_pe: float = 1.0
    threads: int = 3
    mailbox: int = 2
    steal: int | str = 1
    pool: float = 15e-9
    lrn: float = 300e-9
    burst: float = 30
    neon_threads: int = 2
    neon_job: float = 1.0
    work: str = "implied"

    def __post_init__(self) -> None:
        if self.work not in ("implied", "rebuilt"):
            raise unknown("work of a frame", str(self.work), ("implied", "rebuilt"))


NOMINAL = Assumptions()


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is fitted, one value for all networks: s per NEON step, im2col element, output, job and software MAC."""

    neon: float
    im2col: float
    output: float
    job: float
    mac: float


class Stage(NamedTuple):
    """One layer of the pipeline: jobs of `steps`, and what its software handles (elements, reads, MACs).

    These are counts of the rebuilt shape; `scale` is the paper's work of a frame over that of the shape, and every
    step, element and MAC takes that much longer.
    """

    name: str
    jobs: int = 0
    steps: int = 0
    im2col: int = 0
    outputs: int = 0
    macs: int = 0
    reads: int = 0
    normalised: int = 0
    fc: int = 0
    scale: float = 1.0


@cache
def board() -> platform.Platform:
    """Return the ZC702."""
    return platform.load("zc702")


@cache
def _tile() -> int:
    return round(float(board().devices["fabric"].resources["tile"]))


@cache
def clock() -> float:
    """Return the fabric's clock in Hz."""
    return _value(board().devices["fabric"].clock)


@cache
def cores() -> int:
    """Return how many ARM cores there are."""
    return round(_value(board().devices["a9"].cores))


def _value(quantity: Quantity | None) -> float:
    if quantity is None:
        raise HetcnnError("zc702: the model needs clock and cores of 'fabric' and 'a9'")
    return float(quantity)


@cache
def stages(name: str, variant: int = 0) -> tuple[Stage, ...]:
    """Return the layers of a benchmark that take time; an activation belongs to its convolution.

    >>> [(s.name, s.jobs, s.steps) for s in stages("cifar_full") if s.jobs]      # 1024/32 x 1 jobs, 75 taps: 3 steps
    [('conv0', 32, 3), ('conv3', 8, 25), ('conv6', 4, 25)]
    """
    rebuilt = networks.load(name, variant)
    made = (_stage(layer) for layer in rebuilt)
    return tuple(stage._replace(scale=frame_ops(name) / rebuilt.ops) for stage in made if stage is not None)


def frame_ops(name: str) -> float:
    """Return the operations of a frame that the paper's Gop/s, frame rates and energies imply.

    >>> frame_ops("cifar_full")                # Table 4: 1.67 Gop/s at 63.5 frames/s
    26300000.0
    """
    if name not in NETWORKS:
        raise unknown("benchmark of Synergy", name, NETWORKS)
    return 1e6 * number("synergy", f"work.{name}")


def _stage(layer: network.Layer) -> Stage | None:
    out = layer.outputs[0].size
    if layer.kind == "conv" and layer.gemm is not None:
        N, K, M, _ = layer.gemm
        tile = _tile()
        jobs, steps = math.ceil(N / tile) * math.ceil(M / tile), math.ceil(K / tile)
        return Stage(layer.name, jobs, steps, im2col=N * K, outputs=N * M, macs=layer.macs)
    if layer.op == "MaxPool":
        return Stage(layer.name, reads=out * math.prod(layer.attrs["kernel_shape"]))
    if layer.op == "GlobalAveragePool":
        return Stage(layer.name, reads=layer.data[0].size)
    if layer.op == "LRN":
        return Stage(layer.name, normalised=out)
    return Stage(layer.name, fc=layer.macs) if layer.kind == "fc" else None


def original_seconds(name: str) -> float:
    """Return the seconds of a frame of the original Darknet on one core, from Fig. 9.

    >>> round(1e3 * original_seconds("cifar_full"), 1)
    127.9
    """
    return 1 / number("synergy", f"fig9.{name}.original")


@dataclass(frozen=True, slots=True)
class Machine:
    """Step times of the engines, overhead of a job, software times of a layer, and bounds on a network's time.

    >>> rates = Parameters(neon=2e-4, im2col=2e-8, output=1e-7, job=1e-3, mac=8e-9)
    >>> round(1e6 * Machine(rates).f_pe, 2)          # 32 x 32 x 16 cycles of 10 ns
    163.84
    """

    parameters: Parameters
    given: Assumptions = NOMINAL

    @property
    def f_pe(self) -> float:
        """Seconds of a 32 x 32 x 32 step on an F-PE: (TS TS - 1) II + lat_loop3 cycles, the last being II here.

        The depth of loop 3's pipeline, some tens of cycles in 16,000, is left out.
        """
        return _tile() ** 2 * self.given.interval / clock()

    @property
    def s_pe(self) -> float:
        """Seconds of a step on an S-PE."""
        return self.f_pe * self.given.s_pe

    def step(self, kind: str) -> float:
        """Return the seconds of a step on "NEON", "S-PE" or "F-PE"."""
        return {"NEON": self.parameters.neon, "S-PE": self.s_pe, "F-PE": self.f_pe}[kind]

    @property
    def burst_rate(self) -> float:
        """B/s that one MMU moves: a row of a tile (128 bytes, 32 words) takes 32 cycles and its burst's latency."""
        row = _tile() * 4
        return row / (_tile() + self.given.burst) * clock()

    def scale(self, stage: Stage) -> float:
        """Return what all work of a layer is multiplied by: `Stage.scale`, or 1 where rebuilt work counts as it is."""
        return stage.scale if self.given.work == "implied" else 1.0

    def before(self, stage: Stage) -> float:
        """Return the seconds of software before a layer's jobs: im2col."""
        return self.scale(stage) * stage.im2col * self.parameters.im2col

    def after(self, stage: Stage) -> float:
        """Return the seconds of software after a layer's jobs: bias, activation, pooling, normalisation, classifier."""
        p, a = self.parameters, self.given
        own = stage.outputs * p.output + stage.fc * p.mac
        return self.scale(stage) * (own + stage.reads * a.pool + stage.normalised * a.lrn)

    def software(self, layers: Iterable[Stage]) -> float:
        """Return the seconds of all software of a frame but the convolutions' products."""
        return sum(self.before(s) + self.after(s) for s in layers)

    def original(self, layers: Sequence[Stage]) -> float:
        """Return the seconds of a frame of the original, single-threaded Darknet: two software rates."""
        return self.software(layers) + sum(self.scale(s) * s.macs for s in layers) * self.parameters.mac

    def work(self, stage: Stage, kind: str) -> float:
        """Return the seconds of a layer's jobs on one engine of a kind."""
        return stage.jobs * self.job(stage, kind)

    def job(self, stage: Stage, kind: str) -> float:
        """Return the seconds of one job of a layer on one engine of a kind."""
        return self.scale(stage) * stage.steps * self.step(kind) + self.overhead(kind)

    def overhead(self, kind: str) -> float:
        """Return the overhead of a job on one engine of a kind."""
        return self.parameters.job * (self.given.neon_job if kind == "NEON" else 1.0)

    def latency(self, layers: Sequence[Stage], neon: int, s_pe: int, f_pe: int) -> float:
        """Return the seconds of a frame that is alone: software, then the jobs of a layer over all engines.

        An engine takes the next job when it is free: what stealing does when jobs are taken one by one.
        """
        kinds = ["F-PE"] * f_pe + ["S-PE"] * s_pe + ["NEON"] * neon
        times = (jobs_makespan(s.jobs, [self.job(s, k) for k in kinds]) for s in layers if s.jobs)
        return self.software(layers) + sum(times)

    def frame_bound(self, layers: Sequence[Stage], clusters: Clusters, mapping: Sequence[int]) -> float:
        """Return the least seconds of a frame in the pipeline with a static mapping: engines or cores saturated.

        A NEON thread has what the software leaves of the cores; the clusters share that in proportion to their
        threads. Every cluster needs as much time as its layers' jobs at its joint rate.
        """
        many = cores()
        software = self.software(layers)
        threads = sum(n for n, _, _ in clusters)
        least = software / many
        convolutions = [s for s in layers if s.jobs]
        for c, (n, s, f) in enumerate(clusters):
            mine = [stage for stage, target in zip(convolutions, mapping, strict=True) if target == c]
            if mine:
                least = max(least, self._cluster_bound(mine, (n, s, f), many * n / max(threads, 1), software))
        return least

    def _cluster_bound(self, mine: Sequence[Stage], engines: tuple[int, int, int], share: float, soft: float) -> float:
        """Solve t = 1 / rate(t) for one cluster, NEON running for `share` of the cores' time less the software."""
        n, s, f = engines
        work = {kind: sum(self.work(stage, kind) for stage in mine) for kind in ("NEON", "S-PE", "F-PE")}
        fixed = s / work["S-PE"] + f / work["F-PE"]  # frames/s of the fabric alone
        if not n:
            return 1 / fixed if fixed else math.inf
        # frames in t seconds: t fixed + (share t - software share / cores) / work on NEON = 1
        t = (1 + soft * share / cores() / work["NEON"]) / (fixed + share / work["NEON"])
        return min(t, 1 / fixed) if fixed else t

    def with_given(self, **changes: Any) -> Machine:
        """Return the machine with other assumptions and the same parameters; HetcnnError for an unknown name."""
        names = [f.name for f in fields(self.given)]
        for name in changes:
            if name not in names:
                raise unknown("assumption", name, names)
        return replace(self, given=replace(self.given, **changes))


def jobs_makespan(jobs: int, seconds: Sequence[float]) -> float:
    """Return the seconds until `jobs` equal jobs are done by engines that take the next one when they are free.

    >>> jobs_makespan(3, [2.0, 1.0])          # the fast engine does two of them
    2.0
    """
    if not seconds:
        raise HetcnnError("jobs: expected at least 1 engine, got none")
    if min(seconds) == max(seconds):
        return -(-jobs // len(seconds)) * seconds[0]
    free = [(0.0, i) for i in range(len(seconds))]
    heapify(free)
    last = 0.0
    for _ in range(jobs):
        start, i = free[0]
        last = max(last, start + seconds[i])
        heapreplace(free, (start + seconds[i], i))
    return last
