"""Convolution and its transpose, in any number of spatial dimensions, as one matrix product per group.

Tensors are (N, C, D1, D2, ...): batch, channels, spatial axes. Filters are (M, C/groups, K1, K2, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array, sum_type
from hetcnn.kernels.windows import Window, pad_spatial, taps, window

__all__ = ["conv", "conv_transpose", "conv_window", "im2col"]


def im2col(x: Array, w: Window) -> Array:
    """Return the patches under a window as a matrix, one column per stop: (C, D1, ...) -> (C*taps, stops).

    Row c*taps + t holds what tap t of channel c meets; multiplying by filters flattened to (M, C*taps) convolves.
    `x` is one image, already padded.

    >>> im2col(np.array([[1, 2, 3]]), window((3,), (2,))).tolist()
    [[1, 2], [2, 3]]
    """
    columns = np.empty((x.shape[0], w.taps, *w.out), x.dtype)
    for i, (_, seen) in enumerate(taps(x[None], w)):
        columns[:, i] = seen[0]
    return columns.reshape(x.shape[0] * w.taps, -1)


def conv_window(x: Array, weight: Array, group: int, kernel_shape: Sequence[int] | None, **where: Any) -> Window:
    """Return the window of a convolution after checking that data, filters and groups fit together."""
    rank = x.ndim - 2
    if rank < 1 or weight.ndim != x.ndim:
        raise HetcnnError(f"data {x.shape}, filters {weight.shape}: expected (N, C, D1, ...) and (M, C/group, K1, ...)")
    if group < 1 or x.shape[1] != weight.shape[1] * group or weight.shape[0] % group:
        raise HetcnnError(
            f"data of {x.shape[1]} channels in {group} groups, filters {weight.shape}: "
            "channels must be filters' depth x groups, and the filters a multiple of the groups"
        )
    if kernel_shape is not None and tuple(kernel_shape) != weight.shape[2:]:
        raise HetcnnError(f"kernel_shape {tuple(kernel_shape)}: the filters are {weight.shape[2:]}")
    return window(x.shape[2:], weight.shape[2:], **where)


def conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
    kernel_shape: Sequence[int] | None = None,
) -> Array:
    """Slide every filter over the image and sum the products at each stop (a cross-correlation).

    Y[n, m, p] = B[m] + sum over c, k of W[m, c, k] * X[n, g*C/G + c, p*stride + k*dilation - pad], with g the group
    of filter m: X (N, C, D1, ...), W (M, C/G, K1, ...), B (M,), Y (N, M, O1, ...). With `group` = C it is depthwise.

    >>> x, edge = np.array([[[0.0, 0.0, 5.0, 5.0]]]), np.array([[[-1.0, 1.0]]])
    >>> conv(x, edge).tolist()                       # the step from 0 to 5 stands at position 1
    [[[0.0, 5.0, 0.0]]]
    """
    where = conv_window(x, w, group, kernel_shape, strides=strides, pads=pads, dilations=dilations, auto_pad=auto_pad)
    kind = sum_type(np.result_type(x, w))
    filters = w.reshape(group, w.shape[0] // group, -1).astype(kind, copy=False)
    y = np.empty((x.shape[0], w.shape[0], *where.out), kind)
    for image, result in zip(pad_spatial(x, where), y, strict=True):
        columns = im2col(image, where).reshape(group, filters.shape[2], -1)
        np.matmul(filters, columns, out=result.reshape(group, filters.shape[1], -1))
    if b is not None:
        y += b.reshape(-1, *(1,) * len(where.out))
    return y.astype(x.dtype, copy=False)


def conv_transpose(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
) -> Array:
    """Stamp every filter, scaled by each input element, onto a larger image: the gradient of `conv` to its data.

    Y[n, m, p*stride + k*dilation - pad] += X[n, c, p] * W[c, m, k]: X (N, C, D1, ...), W (C, M/G, K1, ...).
    Size: stride*(D - 1) + output_padding + span - pads, or `output_shape`, which then decides the pads.

    >>> x, stamp = np.array([[[1.0, 10.0]]]), np.array([[[1.0, 2.0]]])
    >>> conv_transpose(x, stamp, strides=[2]).tolist()
    [[[1.0, 2.0, 10.0, 20.0]]]
    >>> conv_transpose(x, stamp).tolist()            # stamps overlap: 2 + 10
    [[[1.0, 12.0, 20.0]]]
    """
    rank = x.ndim - 2
    if rank < 1 or w.ndim != x.ndim or x.shape[1] != w.shape[0] or group < 1 or w.shape[0] % group:
        raise HetcnnError(f"data {x.shape}, filters {w.shape}, {group} groups: expected (N, C, ...), (C, M/group, ...)")
    kernel, ones = w.shape[2:], (1,) * rank
    stride, dilation, extra = tuple(strides or ones), tuple(dilations or ones), tuple(output_padding or (0,) * rank)
    if not len(stride) == len(dilation) == len(extra) == rank or min(stride + dilation) < 1:
        raise HetcnnError(f"strides {stride}, dilations {dilation}, output_padding {extra}: expected {rank} of each")
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise HetcnnError(f"kernel_shape {tuple(kernel_shape)}: the filters are {kernel}")
    full = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    before, size = _crop(x.shape[2:], full, stride, extra, pads, auto_pad, output_shape)
    stamped = _stamp(x, w, group, full, stride, dilation)
    beyond = [(0, max(a + n - f, 0)) for a, n, f in zip(before, size, full, strict=True)]
    cut = tuple(slice(a, a + n) for a, n in zip(before, size, strict=True))
    y = np.pad(stamped, [(0, 0), (0, 0), *beyond])[(slice(None), slice(None), *cut)]
    if b is not None:
        y = y + b.reshape(-1, *ones)
    return np.ascontiguousarray(y.astype(x.dtype, copy=False))


def _stamp(x: Array, w: Array, group: int, full: list[int], stride: Sequence[int], dilation: Sequence[int]) -> Array:
    """Return all stamps added up, before any cropping."""
    batch, depth, *size = x.shape
    maps, kernel = w.shape[1], w.shape[2:]
    kind = sum_type(np.result_type(x, w))
    filters = w.reshape(group, depth // group, -1).transpose(0, 2, 1).astype(kind, copy=False)
    stamps = (filters @ x.reshape(batch, group, depth // group, -1)).reshape(batch, group * maps, prod(kernel), *size)
    y = np.zeros((batch, group * maps, *full), kind)
    zero = (0,) * len(size)
    forward = Window(tuple(full), kernel, tuple(stride), tuple(dilation), zero, zero, tuple(size))
    for i, (_, stops) in enumerate(taps(y, forward)):
        stops += stamps[:, :, i]
    return y


def _crop(
    size: Sequence[int],
    full: Sequence[int],
    stride: Sequence[int],
    extra: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
    output_shape: Sequence[int] | None,
) -> tuple[list[int], list[int]]:
    """Return how much to cut off each start, and how much to keep."""
    rank = len(size)
    if output_shape is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        output_shape = [n * s for n, s in zip(size, stride, strict=True)]
    if output_shape is None:
        edges = [0] * (2 * rank) if pads is None or auto_pad == "VALID" else list(pads)
        if len(edges) != 2 * rank:
            raise HetcnnError(f"pads {tuple(edges)}: expected {2 * rank} numbers, all starts and then all ends")
        out = [f + e - a - b for f, e, a, b in zip(full, extra, edges[:rank], edges[rank:], strict=True)]
        if min(out) < 1:
            raise HetcnnError(f"pads {tuple(edges)} leave nothing of an output of {tuple(full)}")
        return edges[:rank], out
    wanted = [int(n) for n in output_shape][-rank:]
    total = [max(f + e - n, 0) for f, e, n in zip(full, extra, wanted, strict=True)]
    return [t // 2 if auto_pad == "SAME_UPPER" else t - t // 2 for t in total], wanted
