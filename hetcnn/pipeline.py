"""Pipelines of contiguous stages: stage times, interval, throughput, latency, frames; and splitting layers instead.

Layer-level parallelism gives each stage its own layers and works on several frames at once; kernel-level parallelism
divides every layer over all engines and works on one frame. Pure formulas on arrays; leading dimensions are design
points. Seconds throughout. A *cut* is the index of the first layer behind it; the *boundaries* of n stages are the
n - 1 cuts with 0 and the number of layers around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetcnn.errors import HetcnnError
from hetcnn.units import non_negative

__all__ = [
    "fill_time",
    "initiation_interval",
    "kernel_level_times",
    "latency",
    "layer_rows",
    "prefix_sums",
    "stage_boundaries",
    "stage_times",
    "start_rows",
    "throughput",
    "time_for_frames",
    "utilisation",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
_Number = TypeVar("_Number", np.float64, np.intp)


def layer_rows(times: ArrayLike | Sequence[ArrayLike], *, name: str = "times", rows: str = "stages") -> FloatArray:
    """Return layer times as a float array (..., rows, layers); inf marks a layer that cannot run there.

    Raises HetcnnError for NaN, a negative time, fewer than two dimensions, and for no stage or no layer.

    >>> layer_rows([[1, 2, 3]]).shape
    (1, 3)
    """
    try:
        array = np.asarray(times, np.float64)
    except (TypeError, ValueError):
        raise HetcnnError(f"{name} must be numbers (..., {rows}, layers), every row of the same length") from None
    array = non_negative(name, array)
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise HetcnnError(f"{name} must be (..., {rows}, layers) with at least one of each, got shape {array.shape}")
    return array


def start_rows(name: str, value: ArrayLike, rows: FloatArray) -> FloatArray:
    """Return what a stage adds by the layer it starts at, in the shape of the layer times `rows`.

    value: (layers,) for all stages alike, or anything that broadcasts to (..., stages, layers). Raises HetcnnError
    for another shape, NaN and negative values.

    >>> start_rows("transfer", [0, 5], layer_rows([[1, 2], [3, 4]])).tolist()
    [[0.0, 5.0], [0.0, 5.0]]
    """
    array = non_negative(name, value)
    if array.ndim and array.shape[-1] == rows.shape[-1]:
        try:
            return np.broadcast_to(array, rows.shape)
        except ValueError:
            pass
    raise HetcnnError(
        f"{name} of shape {array.shape} does not fit layer times of shape {rows.shape}; give one per layer"
    )


def stage_boundaries(cuts: ArrayLike, stages: int, layers: int) -> IntArray:
    """Return the boundaries (..., stages + 1) of cuts (..., stages - 1): 0 in front and `layers` behind.

    Stage i runs layers boundaries[i] to boundaries[i + 1] - 1; equal neighbours are an empty stage.
    Raises HetcnnError for cuts that are no whole numbers, too many or too few, decreasing, or outside 0..layers.

    >>> stage_boundaries([2, 3], stages=3, layers=5).tolist()
    [0, 2, 3, 5]
    """
    array = np.asarray(cuts)
    if array.size == 0:
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise HetcnnError(f"cuts must be whole numbers, got {array.dtype}")
    if array.ndim == 0 or array.shape[-1] != stages - 1:
        given = array.shape[-1] if array.ndim else "a single number"
        raise HetcnnError(
            f"{stages} stages have {stages - 1} cut{'s' * (stages != 2)}, got {given}; 0 and {layers} are not cuts"
        )
    ends = np.zeros((*array.shape[:-1], 1), np.intp)
    edges = np.concatenate([ends, array, ends + layers], axis=-1, dtype=np.intp, casting="unsafe")
    wrong = (np.diff(edges, axis=-1) < 0).any(axis=-1)
    if wrong.any():
        shown = tuple(array[wrong][0].tolist())
        raise HetcnnError(f"cuts {shown} must not decrease and must lie in 0..{layers}")
    return edges


def prefix_sums(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return (sums, blocked), both (..., layers + 1), with which any range of layers is timed at once.

    Layers i to j - 1 take sums[j] - sums[i], unless i < blocked[j]: then one of them cannot run (inf).

    >>> sums, blocked = prefix_sums(np.array([1.0, np.inf, 2.0, 3.0]))
    >>> float(sums[4] - sums[2]), bool(1 < blocked[4])            # layers 2 and 3; layers 1 to 3
    (5.0, True)
    """
    count = rows.shape[-1]
    cannot = np.isinf(rows)
    sums = np.zeros((*rows.shape[:-1], count + 1))
    np.cumsum(np.where(cannot, 0.0, rows), axis=-1, out=sums[..., 1:])
    blocked = np.zeros(sums.shape, np.intp)
    np.maximum.accumulate(np.where(cannot, np.arange(1, count + 1), 0), axis=-1, out=blocked[..., 1:])
    return sums, blocked


def stage_times(times: ArrayLike, cuts: ArrayLike = (), *, transfer: ArrayLike | None = None) -> FloatArray:
    """Return the time of each stage: T_i, the sum of its layers' times on it (Pipe-it's Eq. 9).

    times: (..., stages, layers), layer times on each stage, inf where a layer cannot run; cuts: (..., stages - 1);
    their leading dimensions broadcast. transfer: the time that a stage adds for receiving its input when it starts at
    a layer, (layers,) or (..., stages, layers); an empty stage receives nothing. Returns (..., stages), 0 where empty.

    >>> big, small = [1, 2, 3, 4], [3, 6, 9, 12]
    >>> stage_times([big, small], [3]).tolist()                                # 1 + 2 + 3 | 12
    [6.0, 12.0]
    >>> stage_times([big, small], [[3], [4]], transfer=[0, 0, 0, 1]).tolist()  # two designs; receiving costs 1 s
    [[6.0, 13.0], [10.0, 0.0]]
    """
    rows = layer_rows(times)
    edges = stage_boundaries(cuts, *rows.shape[-2:])
    start, end = edges[..., :-1], edges[..., 1:]
    sums, blocked = prefix_sums(rows)
    found = _take(sums, end) - _take(sums, start)
    if transfer is not None:
        received = _take(start_rows("transfer", transfer, rows), np.minimum(start, rows.shape[-1] - 1))
        found = found + np.where(start < end, received, 0.0)
    return np.where(start < _take(blocked, end), np.inf, found)


def _take(rows: NDArray[_Number], index: IntArray) -> NDArray[_Number]:
    shape: tuple[int, ...] = np.broadcast_shapes(rows.shape[:-1], index.shape)
    wide = np.broadcast_to(rows, (*shape, rows.shape[-1]))
    return np.asarray(np.take_along_axis(wide, np.broadcast_to(index, shape)[..., None], axis=-1)[..., 0])


def _stages(stages: ArrayLike) -> FloatArray:
    array = non_negative("stage times", stages)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise HetcnnError(f"stage times must be (..., stages) with at least one stage, got shape {array.shape}")
    return array


def initiation_interval(stages: ArrayLike) -> FloatArray:
    """Return the time between two finished frames: the slowest stage, max_i T_i.

    stages: stage times (..., stages). Returns (...).

    >>> float(initiation_interval([6, 12]))
    12.0
    """
    return np.asarray(_stages(stages).max(axis=-1))


def throughput(stages: ArrayLike) -> FloatArray:
    """Return frames/s: 1 / max_i T_i (Pipe-it's Eq. 11); 0 where a stage cannot run, inf where nothing takes time.

    >>> float(throughput([0.25, 0.5]))
    2.0
    """
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / initiation_interval(stages))


def latency(stages: ArrayLike, *, lockstep: bool = False) -> FloatArray:
    """Return the time of one frame from entering the first stage to leaving the last.

    Frames that enter one interval apart never wait, so it is the sum of the stage times. With `lockstep` all stages
    hand over at the same moment, once every interval: stages in use (time above 0) x interval.

    >>> float(latency([6, 12, 0])), float(latency([6, 12, 0], lockstep=True))
    (18.0, 24.0)
    """
    array = _stages(stages)
    if not lockstep:
        return np.asarray(array.sum(axis=-1))
    return np.asarray((array > 0).sum(axis=-1) * array.max(axis=-1))


def fill_time(stages: ArrayLike, *, lockstep: bool = False) -> FloatArray:
    """Return the time until an empty pipeline delivers its first frame: the latency of that frame.

    >>> float(fill_time([6, 12]))
    18.0
    """
    return latency(stages, lockstep=lockstep)


def time_for_frames(stages: ArrayLike, frames: ArrayLike, *, lockstep: bool = False) -> FloatArray:
    """Return the time of `frames` frames through an empty pipeline: fill + (frames - 1) x interval; 0 for none.

    frames: whole numbers that broadcast against the leading dimensions of the stage times (..., stages).

    >>> float(time_for_frames([6, 12], 10))                  # 18 + 9 x 12
    126.0
    """
    count = non_negative("frames", frames)
    if (count != np.floor(count)).any():
        raise HetcnnError(f"frames must be whole numbers, got {count[count != np.floor(count)].flat[0]:g}")
    full = fill_time(stages, lockstep=lockstep) + np.maximum(count - 1, 0) * initiation_interval(stages)
    return np.where(count > 0, full, 0.0)


def utilisation(stages: ArrayLike) -> FloatArray:
    """Return the busy share of each stage in steady state: T_i / max_i T_i, (..., stages).

    >>> utilisation([6, 12]).tolist()
    [0.5, 1.0]
    """
    array = _stages(stages)
    slowest = array.max(axis=-1, keepdims=True)
    return np.asarray(np.divide(array, slowest, out=np.zeros_like(array), where=(slowest > 0) & np.isfinite(slowest)))


def kernel_level_times(times: ArrayLike, shares: ArrayLike | None = None, *, overhead: ArrayLike = 0.0) -> FloatArray:
    """Return each layer's time when its work is divided over all engines, which wait for each other after it.

    max_e(share_e t_e) + overhead, with `shares` (..., engines) that sum to 1; without them the best division of every
    layer: 1 / sum_e(1 / t_e) + overhead. times: (..., engines, layers), the whole layer on one engine; overhead: time
    per layer, broadcast to (..., layers). Returns (..., layers); their sum is the time of one frame.

    >>> kernel_level_times([[2], [6]]).tolist()                        # 1 / (1/2 + 1/6)
    [1.5]
    >>> kernel_level_times([[2], [6]], [0.5, 0.5]).tolist()            # max(1, 3): the slow engine is waited for
    [3.0]
    """
    rows = layer_rows(times, rows="engines")
    extra = non_negative("overhead", overhead)
    if shares is None:
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / (1.0 / rows).sum(axis=-2) + extra)
    parts = non_negative("shares", shares)
    if parts.ndim == 0 or parts.shape[-1] != rows.shape[-2]:
        raise HetcnnError(f"shares of shape {parts.shape} must give one number to each of {rows.shape[-2]} engines")
    off = np.abs(parts.sum(axis=-1) - 1) > 1e-9
    if off.any():
        raise HetcnnError(f"the shares of a layer must sum to 1, got {tuple(parts[off][0].tolist())}")
    share = parts[..., None]
    worked = np.multiply(share, rows, out=np.zeros(np.broadcast_shapes(share.shape, rows.shape)), where=share > 0)
    return np.asarray(worked.max(axis=-2) + extra)
