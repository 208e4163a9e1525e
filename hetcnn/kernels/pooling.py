"""Pooling: the maximum, the average or the norm of what a window sees, channel by channel.

Tensors are (N, C, D1, D2, ...); the window moves over the spatial axes as in a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array, sum_type
from hetcnn.kernels.windows import Window, pad_spatial, taps, window

__all__ = [
    "average_pool",
    "global_average_pool",
    "global_lp_pool",
    "global_max_pool",
    "lp_pool",
    "max_pool",
    "max_pool_indices",
    "window_counts",
]


def _window(x: Array, kernel_shape: Sequence[int], where: dict[str, Any]) -> Window:
    if x.ndim < 3:
        raise HetcnnError(f"data {x.shape}: pooling needs (N, C, D1, ...)")
    return window(x.shape[2:], kernel_shape, **where)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def max_pool(x: Array, *, kernel_shape: Sequence[int], **where: Any) -> Array:
    """Return the largest element under the window at every stop; padding never wins.

    Y[n, c, p] = max over k of X[n, c, p*stride + k*dilation - pad]; options as in `hetcnn.kernels.windows.window`.

    >>> max_pool(np.array([[[1, 4, 2, 3]]]), kernel_shape=[2], strides=[2]).tolist()
    [[[4, 3]]]
    """
    w = _window(x, kernel_shape, where)
    seen = (view for _, view in taps(pad_spatial(x, w, _lowest(x.dtype)), w))
    return np.array(reduce(np.maximum, seen), order="C")


def max_pool_indices(
    x: Array, *, kernel_shape: Sequence[int], storage_order: int = 0, **where: Any
) -> tuple[Array, Array]:
    """Return the maxima and where each one stood: its position in the whole of X, flattened.

    With `storage_order=1` the spatial part of a position counts columns first. Both results are (N, C, O1, ...); of
    equal elements the first counts.

    >>> [r.tolist() for r in max_pool_indices(np.array([[[1, 4, 2, 3]]]), kernel_shape=[2], strides=[2])]
    [[[[4, 3]]], [[[1, 3]]]]
    """
    w = _window(x, kernel_shape, where)
    padded = pad_spatial(x, w, _lowest(x.dtype))
    places: Array = np.arange(prod(w.size)).reshape(w.size, order="F" if storage_order else "C")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(w.size)) * places.size
    padded_places = pad_spatial(places[None, None], w, -1)
    best, at = np.full((*x.shape[:2], *w.out), _lowest(x.dtype), x.dtype), np.full((*x.shape[:2], *w.out), -1)
    for (_, values), (_, positions) in zip(taps(padded, w), taps(padded_places, w), strict=True):
        wins = (values > best) | ((at < 0) & (positions >= 0))
        best, at = np.where(wins, values, best), np.where(wins, positions, at)
    return best, at + planes


def window_counts(w: Window, *, with_padding: bool) -> Array:
    """Return how many elements each stop of a window averages over, as an array of shape `w.out`.

    Counted are the data, and with `with_padding` the stated padding too; never what `ceil_mode` adds beyond it.

    >>> window_counts(window((3,), (2,), strides=(2,), pads=(1, 0)), with_padding=False).tolist()
    [1, 2]
    """
    counts = np.ones((), np.int64)
    for n, k, s, d, o, a, b in zip(w.size, w.kernel, w.strides, w.dilations, w.out, w.before, w.after, strict=True):
        at = np.arange(o)[:, None] * s + np.arange(k) * d - a
        low, high = (-a, n + b) if with_padding else (0, n)
        counts = counts[..., None] * ((at >= low) & (at < high)).sum(axis=1)
    return counts


def average_pool(x: Array, *, kernel_shape: Sequence[int], count_include_pad: int = 0, **where: Any) -> Array:
    """Return the mean of the elements under the window; padding counts as zeros only with `count_include_pad`.

    Y[n, c, p] = (sum over k of X[n, c, p*stride + k*dilation - pad]) / (elements counted).

    >>> average_pool(np.array([[[1.0, 4.0, 2.0]]]), kernel_shape=[2], strides=[2], ceil_mode=1).tolist()
    [[[2.5, 2.0]]]
    """
    w = _window(x, kernel_shape, where)
    padded = pad_spatial(x.astype(sum_type(x.dtype), copy=False), w)
    total = sum(view for _, view in taps(padded, w))
    counts = np.maximum(window_counts(w, with_padding=bool(count_include_pad)), 1)
    return np.asarray(total / counts.astype(padded.dtype), x.dtype)


def lp_pool(x: Array, *, kernel_shape: Sequence[int], p: float = 2, **where: Any) -> Array:
    """Return the p-norm of the elements under the window: (sum of |x|^p)^(1/p).

    >>> lp_pool(np.array([[[3.0, 4.0]]]), kernel_shape=[2]).tolist()
    [[[5.0]]]
    """
    w = _window(x, kernel_shape, where)
    powers = np.abs(x.astype(sum_type(x.dtype), copy=False)) ** p
    return np.asarray(sum(view for _, view in taps(pad_spatial(powers, w), w)) ** (1 / p), x.dtype)


def _spatial(x: Array) -> tuple[int, ...]:
    if x.ndim < 2:
        raise HetcnnError(f"data {x.shape}: pooling needs (N, C, D1, ...)")
    return tuple(range(2, x.ndim))


def global_average_pool(x: Array) -> Array:
    """Return the mean of each channel's image: (N, C, D1, ...) -> (N, C, 1, ...).

    >>> global_average_pool(np.array([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
    [[[[3.0]]]]
    """
    return np.asarray(x.mean(axis=_spatial(x), keepdims=True, dtype=sum_type(x.dtype)), x.dtype)


def global_max_pool(x: Array) -> Array:
    """Return the largest element of each channel's image: (N, C, D1, ...) -> (N, C, 1, ...).

    >>> global_max_pool(np.array([[[1.0, 7.0], [2.0, 3.0]]])).tolist()
    [[[7.0], [3.0]]]
    """
    return np.asarray(x.max(axis=_spatial(x), keepdims=True))


def global_lp_pool(x: Array, *, p: float = 2) -> Array:
    """Return the p-norm of each channel's image: (N, C, D1, ...) -> (N, C, 1, ...).

    >>> global_lp_pool(np.array([[[3.0, 4.0]]])).tolist()
    [[[5.0]]]
    """
    powers = np.abs(x.astype(sum_type(x.dtype), copy=False)) ** p
    return np.asarray(powers.sum(axis=_spatial(x), keepdims=True) ** (1 / p), x.dtype)
