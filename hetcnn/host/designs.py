"""What a model of layer times says of designs on this machine: best splits, rates of pipelines, threads and replicas.

Threads that work at once are each a little slower than alone, wait for each other's NumPy calls, which begin and end
under the interpreter's one lock, and lose time when they hand a frame on: three numbers for pipelines, two for layers
that threads divide, fitted to runs of made-up networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetcnn import fit, partition, pipeline
from hetcnn.host.layers import Kernels
from hetcnn.host.predict import TapeModel
from hetcnn.host.record import Record, Run
from hetcnn.host.work import TERMS
from hetcnn.kernels.fast.jobs import DIVIDE

__all__ = [
    "Together",
    "best_mixed",
    "best_split",
    "engine_calls",
    "engine_rows",
    "fit_together",
    "predicted_rate",
    "segment_calls",
    "segment_times",
    "split_interval",
]

FloatArray = NDArray[np.float64]

_PARAMETERS = (
    fit.Parameter("busy", 1.0, 1.5, 1.05, "1", "time of a stage while another core works, over its time alone"),
    fit.Parameter("handing on", 0.0, 2e-4, 1e-5, "s", "time that a stage loses per frame to queues and waking up"),
    fit.Parameter("share", 0.5, 1.0, 0.55, "1", "part of a divided layer that the busier of two threads has"),
    fit.Parameter("joining", 0.0, 2e-4, 2e-5, "s", "cost of starting and joining the threads of a divided layer"),
    fit.Parameter("turn", 0.0, 1e-5, 1e-6, "s", "time that a NumPy call waits for one of a thread beside it"),
)


_FITTED = ("split", "threads", "replicas")
ROBUST = 0.05
"""Relative error from which a run pulls no harder: what else disturbed it nobody knows."""


@dataclass(frozen=True)
class Together:
    """How work gets slower when cores share the machine: see `Parameter.meaning` in `fitted`."""

    busy: float
    handing_on: float
    share: float
    joining: float
    turn: float = 0.0
    fitted: fit.Fit | None = None

    def waits(self, stages: Sequence[float] | FloatArray, calls: Sequence[float] | FloatArray) -> FloatArray:
        """Seconds per frame that each stage waits for the calls of the others.

        As many calls meet as both stages make, and a stage waits for another no longer than that one works.

        >>> Together(1.0, 0.0, 0.5, 0.0, turn=1.0).waits([50.0, 8.0], [20, 10]).tolist()
        [8.0, 10.0]
        """
        times, counts = np.asarray(stages, float), np.asarray(calls, float)
        met = np.minimum(self.turn * np.minimum.outer(counts, counts), times)
        return np.asarray(met.sum(axis=1) - np.diagonal(met))

    def interval(self, stages: Sequence[float] | FloatArray, calls: Sequence[float] | FloatArray = ()) -> float:
        """Seconds between frames of a pipeline, from its stages' times alone and how many NumPy calls each makes.

        Pipe-it's Eq. 11 with the losses; without `calls` no stage waits for another.
        """
        times = np.asarray(stages, float)
        if len(times) < 2:
            return float(pipeline.initiation_interval(times))
        waits = self.waits(times, calls if len(calls) else np.zeros(len(times)))
        return float(pipeline.initiation_interval(times * self.busy + waits)) + self.handing_on

    def replicas(self, time: float, calls: float, count: int) -> float:
        """Seconds between frames of `count` whole networks side by side: each call meets one of every other."""
        return (time * self.busy + (count - 1) * self.turn * calls) / count if count > 1 else time

    def latency(
        self, stages: Sequence[float] | FloatArray, depth: int = 1, calls: Sequence[float] | FloatArray = ()
    ) -> float:
        """Seconds from the start of a frame's first stage to the end of its last, with full queues.

        Frames pile up in front of the slowest stage k: each of the k queues there holds `depth` of them and each stage
        before keeps a finished one back, so that a frame takes 1 + k (depth + 1) intervals up to there.

        >>> Together(1.0, 0.0, 0.5, 0.0).latency([2.0, 1.0]), Together(1.0, 0.0, 0.5, 0.0).latency([1.0, 2.0])
        (3.0, 6.0)
        """
        slowest = int(np.argmax(stages))
        after = float(np.sum(np.asarray(stages, float)[slowest + 1 :])) * (self.busy if len(stages) > 1 else 1.0)
        return self.interval(stages, calls) * (1 + slowest * (depth + 1)) + after

    def divided(self, kernels: FloatArray) -> float:
        """Seconds of a frame whose layers two threads divide: those long enough to be worth it."""
        long = kernels >= DIVIDE
        return float(kernels[~long].sum() + (self.share * self.busy * kernels[long] + self.joining).sum())


def segment_times(kernels: Kernels, times: FloatArray, cuts: Sequence[int]) -> FloatArray:
    """Return the time of the kernels between each two cuts (indices of layers)."""
    edges = np.searchsorted(kernels.positions, cuts)
    return np.array([part.sum() for part in np.split(times, edges)])


def segment_calls(kernels: Kernels, cuts: Sequence[int]) -> FloatArray:
    """Return how many NumPy calls the kernels between each two cuts make."""
    return segment_times(kernels, kernels.work[:, TERMS.index("calls")], cuts)


def best_split(kernels: Kernels, times: FloatArray, cuts: Sequence[int], stages: int = 2) -> tuple[int, ...]:
    """Return the cuts (of those allowed) of the pipeline of `stages` equal cores whose slowest stage is fastest."""
    pieces = segment_times(kernels, times, cuts)
    found = partition.best_contiguous(np.tile(pieces, (min(stages, len(pieces)), 1)), empty=False)
    return tuple(int(cuts[b - 1]) for b in found.boundaries[1:-1])


def split_interval(kernels: Kernels, times: FloatArray, cuts: Sequence[int], together: Together) -> float:
    """Return the predicted seconds between frames of a split."""
    return together.interval(segment_times(kernels, times, cuts), segment_calls(kernels, cuts))


def engine_rows(kernels: Kernels, times: FloatArray, runtime: Mapping[int, float], cuts: Sequence[int]) -> FloatArray:
    """Return the time of each piece between cuts in the NumPy engine and in ONNX Runtime, (2, pieces)."""
    places, seconds = np.array(sorted(runtime)), np.array([runtime[i] for i in sorted(runtime)])
    theirs = [part.sum() for part in np.split(seconds, np.searchsorted(places, cuts))]
    return np.array([segment_times(kernels, times, cuts), theirs])


def engine_calls(kernels: Kernels, cuts: Sequence[int]) -> FloatArray:
    """Return the NumPy calls of each piece between cuts, (2, pieces) as `engine_rows`: ONNX Runtime makes none."""
    counts = segment_calls(kernels, cuts)
    return np.array([counts, np.zeros(len(counts))])


def best_mixed(
    kernels: Kernels, times: FloatArray, runtime: Mapping[int, float], cuts: Sequence[int]
) -> tuple[tuple[str, ...], tuple[int, ...], float]:
    """Return (engines, cuts, slowest stage) of the best pipeline of one NumPy core and one ONNX Runtime core.

    Either may come first, or do everything (`partition.best_over_orders`).
    """
    names = ("numpy", "onnxruntime")
    order, split = partition.best_over_orders(engine_rows(kernels, times, runtime, cuts))
    return (
        tuple(names[i] for i in order),
        tuple(int(cuts[b - 1]) for b in split.boundaries[1:-1]),
        split.bottleneck,
    )


def predicted_rate(run: Run, record: Record, times: FloatArray, together: Together, cuts: Sequence[int]) -> float:
    """Return the frames/s that layer times and `together` predict for a design that was run."""
    kernels = record.zoo.get(run.network) or record.training[run.network]
    if run.design == "split":
        return 1 / split_interval(kernels, times, run.cuts, together)
    if run.design == "threads":
        return 1 / together.divided(times)
    if run.design == "replicas":
        count = float(segment_calls(kernels, ())[0])
        return 1 / together.replicas(float(times.sum()), count, len(run.engines))
    if run.design == "mixed":
        rows = engine_rows(kernels, times, record.runtime[run.network], cuts)
        edges = [0, *(list(cuts).index(c) + 1 for c in run.cuts), rows.shape[1]]
        kinds = {"numpy": 0, "onnxruntime": 1}
        spans = [(kinds[e], slice(a, b)) for e, a, b in zip(run.engines, edges, edges[1:], strict=False)]
        calls = engine_calls(kernels, cuts)
        return 1 / together.interval(*([row[e, at].sum() for e, at in spans] for row in (rows, calls)))
    return float(1 / times.sum())


def fit_together(record: Record, model: TapeModel | None = None) -> Together:
    """Fit the five numbers to the runs of made-up networks; layer times are measured ones, or the model's.

    `busy` is seen in the stages' own processor time, which other programs do not lengthen; what threads lose to each
    other only in frames/s, so that undisturbed runs count, or all where there is none.
    """
    runs = [run for run in record.runs if run.network in record.training and run.design in _FITTED]
    if not runs:
        return Together(1.0, 0.0, 0.5, 0.0)
    calm = [run for run in runs if run.rounds] or runs
    own = [run for run in runs if run.design == "split" and run.busy > 0]
    times = {
        name: record.training[name].time if model is None else model.kernel_times(record.training[name])
        for name in {run.network for run in runs}
    }
    slowest = [float(max(segment_times(record.training[r.network], times[r.network], r.cuts))) for r in own]

    def residuals(values: FloatArray) -> FloatArray:
        found = Together(*values)
        rates = [predicted_rate(run, record, times[run.network], found, ()) for run in calm]
        alone = np.log(found.busy * np.array(slowest) / [run.busy for run in own])
        return np.concatenate([np.log(np.array(rates) / [run.rate for run in calm]), alone])

    names = [f"{run.network} {run.design}" for run in calm] + [f"{run.network} stages" for run in own]
    fitted = fit.least_squares(residuals, _PARAMETERS, fitted_on=names, robust=ROBUST)
    busy, handing_on, share, joining, turn = fitted.values
    return Together(busy, handing_on, share, joining, turn, fitted)
