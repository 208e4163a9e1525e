"""What a model of layer times says of designs on this machine: best splits, rates of pipelines, threads and replicas.

Two threads that work at once are each a little slower than alone, and handing a frame on costs time: two numbers for
pipelines, two for layers that threads divide, fitted to runs of made-up networks.
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
from hetcnn.kernels.fast.jobs import DIVIDE

__all__ = ["Together", "best_mixed", "best_split", "fit_together", "predicted_rate", "segment_times", "split_interval"]

FloatArray = NDArray[np.float64]

_PARAMETERS = (
    fit.Parameter("busy", 1.0, 1.5, 1.05, "1", "time of a stage while another core works, over its time alone"),
    fit.Parameter("handing on", 0.0, 2e-4, 1e-5, "s", "time that a stage loses per frame to queues and waking up"),
    fit.Parameter("share", 0.5, 1.0, 0.55, "1", "part of a divided layer that the busier of two threads has"),
    fit.Parameter("joining", 0.0, 2e-4, 2e-5, "s", "cost of starting and joining the threads of a divided layer"),
)


@dataclass(frozen=True)
class Together:
    """How work gets slower when cores share the machine: see `Parameter.meaning` in `fitted`."""

    busy: float
    handing_on: float
    share: float
    joining: float
    fitted: fit.Fit | None = None

    def interval(self, stages: Sequence[float] | FloatArray) -> float:
        """Seconds between frames of a pipeline, from its stages' times alone (Pipe-it's Eq. 11 with both losses)."""
        slowest = float(pipeline.initiation_interval(np.asarray(stages, float)))
        return slowest * self.busy + self.handing_on if len(stages) > 1 else slowest

    def latency(self, stages: Sequence[float] | FloatArray, depth: int = 1) -> float:
        """Seconds from the start of a frame's first stage to the end of its last, with full queues.

        Frames pile up in front of the slowest stage k: each of the k queues there holds `depth` of them and each stage
        before keeps a finished one back, so that a frame takes 1 + k (depth + 1) intervals up to there.

        >>> Together(1.0, 0.0, 0.5, 0.0).latency([2.0, 1.0]), Together(1.0, 0.0, 0.5, 0.0).latency([1.0, 2.0])
        (3.0, 6.0)
        """
        slowest = int(np.argmax(stages))
        after = float(np.sum(np.asarray(stages, float)[slowest + 1 :])) * (self.busy if len(stages) > 1 else 1.0)
        return self.interval(stages) * (1 + slowest * (depth + 1)) + after

    def divided(self, kernels: FloatArray) -> float:
        """Seconds of a frame whose layers two threads divide: those long enough to be worth it."""
        long = kernels >= DIVIDE
        return float(kernels[~long].sum() + (self.share * self.busy * kernels[long] + self.joining).sum())


def segment_times(kernels: Kernels, times: FloatArray, cuts: Sequence[int]) -> FloatArray:
    """Return the time of the kernels between each two cuts (indices of layers)."""
    edges = np.searchsorted(kernels.positions, cuts)
    return np.array([part.sum() for part in np.split(times, edges)])


def best_split(kernels: Kernels, times: FloatArray, cuts: Sequence[int], stages: int = 2) -> tuple[int, ...]:
    """Return the cuts (of those allowed) of the pipeline of `stages` equal cores whose slowest stage is fastest."""
    pieces = segment_times(kernels, times, cuts)
    found = partition.best_contiguous(np.tile(pieces, (min(stages, len(pieces)), 1)), empty=False)
    return tuple(int(cuts[b - 1]) for b in found.boundaries[1:-1])


def split_interval(kernels: Kernels, times: FloatArray, cuts: Sequence[int], together: Together) -> float:
    """Return the predicted seconds between frames of a split."""
    return together.interval(segment_times(kernels, times, cuts))


def engine_rows(kernels: Kernels, times: FloatArray, runtime: Mapping[int, float], cuts: Sequence[int]) -> FloatArray:
    """Return the time of each piece between cuts in the NumPy engine and in ONNX Runtime, (2, pieces)."""
    places, seconds = np.array(sorted(runtime)), np.array([runtime[i] for i in sorted(runtime)])
    theirs = [part.sum() for part in np.split(seconds, np.searchsorted(places, cuts))]
    return np.array([segment_times(kernels, times, cuts), theirs])


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
        return float(len(run.engines) / (times.sum() * together.busy))
    if run.design == "mixed":
        rows = engine_rows(kernels, times, record.runtime[run.network], cuts)
        edges = [0, *(list(cuts).index(c) + 1 for c in run.cuts), rows.shape[1]]
        kinds = {"numpy": 0, "onnxruntime": 1}
        stages = [rows[kinds[e], a:b].sum() for e, a, b in zip(run.engines, edges, edges[1:], strict=False)]
        return 1 / together.interval(stages)
    return float(1 / times.sum())


def fit_together(record: Record, model: TapeModel | None = None) -> Together:
    """Fit the four numbers to the runs of made-up networks; layer times are measured ones, or the model's.

    `busy` is seen in the stages' own processor time, which other programs do not lengthen; what threads lose to each
    other only in frames/s, so that undisturbed runs count, or all where there is none.
    """
    runs = [run for run in record.runs if run.network in record.training and run.design in ("split", "threads")]
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
    fitted = fit.least_squares(residuals, _PARAMETERS, fitted_on=names)
    busy, handing_on, share, joining = fitted.values
    return Together(busy, handing_on, share, joining, fitted)
