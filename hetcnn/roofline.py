"""The roofline: attainable rate and layer time under a compute roof, any number of memory roofs and a link.

Pure formulas on arrays: every argument broadcasts against the others, so a call takes one layer or millions of design
points. Ops, bytes, seconds, ops/s and bytes/s throughout; 1 MAC = 2 ops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetcnn.errors import unknown
from hetcnn.units import non_negative, positive

__all__ = ["LayerTime", "attainable", "layer_time", "ridge_point"]

FloatArray = NDArray[np.float64]


def attainable(
    intensity: ArrayLike, peak: ArrayLike, bandwidth: ArrayLike, *, memory_axis: int | None = None
) -> FloatArray:
    """Return the attainable rate in ops/s: min(peak, intensity x bandwidth).

    intensity: ops/byte (infinite without traffic); peak: ops/s; bandwidth: bytes/s. With `memory_axis`, that axis of
    intensity x bandwidth runs over the memories and the lowest roof counts; `peak` has no such axis.
    Raises HetcnnError for NaN, a negative intensity, and a peak or bandwidth that is not positive.

    >>> float(attainable(10, peak=128e9, bandwidth=4.2e9))                 # 10 ops/B x 4.2 GB/s, below the peak
    42000000000.0
    >>> float(attainable([10, 2], 128e9, [4.2e9, 50e9], memory_axis=-1))   # min(42, 100, 128) Gop/s
    42000000000.0
    """
    ops_per_byte = non_negative("intensity", intensity)
    roof = ops_per_byte * positive("bandwidth", bandwidth)
    if memory_axis is not None:
        roof = np.min(np.atleast_1d(roof), axis=memory_axis)
    return np.minimum(positive("peak", peak), roof)


def ridge_point(peak: ArrayLike, bandwidth: ArrayLike) -> FloatArray:
    """Return the intensity in ops/byte where both roofs meet: peak / bandwidth.

    >>> float(ridge_point(128e9, 4e9))
    32.0
    """
    return np.asarray(positive("peak", peak) / positive("bandwidth", bandwidth))


class LayerTime(NamedTuple):
    """Time of layers in seconds and what bounds it.

    `bound` indexes `labels`: "none" (no work at all), "compute", "memory:<name>" of each memory, "link".
    """

    time: FloatArray
    bound: NDArray[np.int8]
    labels: tuple[str, ...]

    @property
    def label(self) -> NDArray[np.str_]:
        """The bound of each point as text."""
        return np.asarray(self.labels)[self.bound]


def layer_time(
    ops: ArrayLike,
    bytes_per_memory: Mapping[str, ArrayLike],
    peak: ArrayLike,
    bandwidths: Mapping[str, ArrayLike],
    *,
    overhead: ArrayLike = 0.0,
    link_bytes: ArrayLike = 0.0,
    link_bandwidth: ArrayLike = np.inf,
) -> LayerTime:
    """Return the time and the bound of layers: max(ops / peak, bytes / bandwidth of each memory, link) + overhead.

    The parts overlap perfectly, as the roofline assumes. A peak of 0 marks what a device cannot run: its time is
    infinite where there are ops. Of equal parts the first counts: compute, the memories in order, the link.
    Raises HetcnnError for NaN, negative arguments and bandwidths that are not positive.

    >>> result = layer_time([2e9, 2e8], {"dram": [1e6, 4e7]}, 1e11, {"dram": 1e10})
    >>> result.time.tolist(), result.label.tolist()              # 2e9 / 1e11 = 20 ms; 4e7 / 1e10 = 4 ms
    ([0.02, 0.004], ['compute', 'memory:dram'])
    """
    for name in bytes_per_memory:
        if name not in bandwidths:
            raise unknown("memory", name, bandwidths)
    work, rate = np.broadcast_arrays(non_negative("ops", ops), non_negative("peak", peak))
    with np.errstate(divide="ignore", invalid="ignore"):
        compute = np.where(work == 0, 0.0, work / rate)
    parts = {"compute": compute}
    for name, size in bytes_per_memory.items():
        parts[f"memory:{name}"] = non_negative(f"bytes of {name}", size) / positive(
            f"bandwidth of {name}", bandwidths[name]
        )
    parts["link"] = non_negative("link_bytes", link_bytes) / positive("link_bandwidth", link_bandwidth)
    return _longest(parts, non_negative("overhead", overhead))


def _longest(parts: Mapping[str, FloatArray], overhead: FloatArray) -> LayerTime:
    shape = np.broadcast_shapes(overhead.shape, *(part.shape for part in parts.values()))
    time = np.zeros(shape)
    bound = np.zeros(shape, dtype=np.int8)
    for index, part in enumerate(parts.values(), start=1):
        bound[np.broadcast_to(part, shape) > time] = index
        np.maximum(time, part, out=time)
    return LayerTime(np.asarray(time + overhead), bound, ("none", *parts))
