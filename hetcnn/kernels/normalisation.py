"""Normalisation: bring activations to zero mean and unit variance, over one set of axes or another.

Tensors are (N, C, D1, ...). Batch normalisation uses statistics learned in training, the others those of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array, axes_of, axis_of, sum_type

__all__ = [
    "batch_normalization",
    "group_normalization",
    "instance_normalization",
    "layer_normalization",
    "lp_normalization",
    "lrn",
    "mean_variance_normalization",
    "rms_normalization",
]


def _per_channel(values: Array, x: Array) -> Array:
    if values.shape != x.shape[1:2]:
        raise HetcnnError(f"parameters of shape {values.shape}: expected one per channel of data {x.shape}")
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def batch_normalization(
    x: Array,
    scale: Array,
    b: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    outputs: int = 1,
) -> tuple[Array, ...]:
    """Return Y = (X - mean) / sqrt(var + epsilon) * scale + B, all four learned per channel.

    With `training_mode` mean and variance are the batch's own, and the running ones, moved by 1 - momentum towards
    them, are the second and third result. A single result at inference.

    >>> one, x = np.ones(1), np.array([[[5.0, 9.0]]])
    >>> batch_normalization(x, 3 * one, one, 5 * one, 4 * one, epsilon=0.0)[0].tolist()
    [[[1.0, 7.0]]]
    """
    if not training_mode:
        factor = _per_channel(scale / np.sqrt(var + var.dtype.type(epsilon)), x)
        return (np.asarray((x - _per_channel(mean, x)) * factor + _per_channel(b, x), x.dtype),)
    axes = (0, *range(2, x.ndim))
    kind = sum_type(x.dtype)
    now, spread = x.mean(axis=axes, dtype=kind), x.var(axis=axes, dtype=kind)
    running = mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum)
    (y,) = batch_normalization(x, scale, b, now, spread, epsilon=epsilon)
    return (y, running[0].astype(mean.dtype), running[1].astype(var.dtype))[: max(outputs, 1)]


def _standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """Return (x - mean) / sqrt(variance + epsilon) over `axes`, the mean and the inverse deviation, in `sum_type`."""
    wide = x.astype(sum_type(x.dtype), copy=False)
    mean = wide.mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(wide.var(axis=axes, keepdims=True) + wide.dtype.type(epsilon))
    return np.asarray((wide - mean) * inverse), mean, np.asarray(inverse)


def instance_normalization(x: Array, scale: Array, b: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalise each image and channel by its own mean and variance, then scale and shift per channel.

    >>> instance_normalization(np.array([[[1.0, 3.0]]]), np.array([2.0]), np.array([1.0]), epsilon=0.0).tolist()
    [[[-1.0, 3.0]]]
    """
    y, _, _ = _standardised(x, tuple(range(2, x.ndim)), epsilon)
    return np.asarray(y * _per_channel(scale, x) + _per_channel(b, x), x.dtype)


def group_normalization(x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5) -> Array:
    """Normalise each image over groups of neighbouring channels, then scale and shift per channel.

    `scale` and `bias` have one number per channel, or per group as ONNX had it before opset 21.

    >>> x = np.array([[[1.0], [3.0], [4.0], [4.0]]])
    >>> group_normalization(x, np.ones(4), np.zeros(4), num_groups=2).round(2).ravel().tolist()
    [-1.0, 1.0, 0.0, 0.0]
    """
    batch, channels = x.shape[:2]
    if num_groups < 1 or channels % num_groups:
        raise HetcnnError(f"num_groups {num_groups}: {channels} channels are no multiple of it")
    y, _, _ = _standardised(x.reshape(batch, num_groups, -1), (2,), epsilon)
    if scale.size == num_groups != channels:
        scale, bias = (np.repeat(v, channels // num_groups) for v in (scale, bias))
    return np.asarray(y.reshape(x.shape) * _per_channel(scale, x) + _per_channel(bias, x), x.dtype)


def layer_normalization(
    x: Array,
    scale: Array,
    b: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    outputs: int = 1,
) -> tuple[Array, ...]:
    """Normalise over all axes from `axis` on, then scale and shift each of their positions.

    The mean and the inverse of the deviation are the second and third result.

    >>> layer_normalization(np.array([[1.0, 3.0]]), np.array([1.0, 2.0]), epsilon=0.0)[0].tolist()
    [[-1.0, 2.0]]
    """
    y, mean, inverse = _standardised(x, tuple(range(axis_of(axis, x.ndim), x.ndim)), epsilon)
    y = y * scale if b is None else y * scale + b
    return (np.asarray(y, x.dtype), mean, inverse)[: max(outputs, 1)]


def rms_normalization(x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5) -> Array:
    """Return X / sqrt(mean of X^2 + epsilon) * scale, the mean over all axes from `axis` on.

    >>> rms_normalization(np.array([[3.0, -3.0]]), np.array([1.0, 2.0]), epsilon=0.0).tolist()
    [[1.0, -2.0]]
    """
    wide = x.astype(sum_type(x.dtype), copy=False)
    axes = tuple(range(axis_of(axis, x.ndim), x.ndim))
    square = np.mean(wide * wide, axis=axes, keepdims=True)
    return np.asarray(wide / np.sqrt(square + wide.dtype.type(epsilon)) * scale, x.dtype)


def mean_variance_normalization(x: Array, *, axes: Sequence[int] = (0, 2, 3)) -> Array:
    """Return (X - mean) / (deviation + 1e-9) over `axes`.

    >>> mean_variance_normalization(np.array([[[[1.0, 3.0]]]])).round(6).tolist()
    [[[[-1.0, 1.0]]]]
    """
    over = axes_of(axes, x.ndim)
    spread = np.sqrt((x * x).mean(axis=over, keepdims=True) - x.mean(axis=over, keepdims=True) ** 2)
    return np.asarray((x - x.mean(axis=over, keepdims=True)) / (spread + x.dtype.type(1e-9)))


def lp_normalization(x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """Return X divided by its p-norm along one axis; where the norm is 0, 0.

    >>> lp_normalization(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    size = (np.abs(x) ** p).sum(axis=axis_of(axis, x.ndim), keepdims=True) ** (1 / p)
    return np.asarray(x / np.where(size == 0, 1, size), x.dtype)


def lrn(x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Array:
    """Divide each element by the strength of its neighbours in other channels (AlexNet's response normalisation).

    Y[c] = X[c] / (bias + alpha/size * sum of X[j]^2)^beta over channels j from c - floor((size-1)/2) to
    c + ceil((size-1)/2), as far as they exist.

    >>> x = np.array([[[[1.0]], [[2.0]], [[3.0]]]])
    >>> lrn(x, size=3, alpha=3.0, beta=1.0).ravel().tolist()     # 1/(1+1+4), 2/(1+1+4+9), 3/(1+4+9)
    [0.16666666666666666, 0.13333333333333333, 0.21428571428571427]
    """
    if size < 1:
        raise HetcnnError(f"size {size}: expected 1 or more channels")
    channels, wide = x.shape[1], x.astype(sum_type(x.dtype), copy=False)
    square = np.zeros((x.shape[0], channels + size - 1, *x.shape[2:]), wide.dtype)
    square[:, (size - 1) // 2 : (size - 1) // 2 + channels] = wide * wide
    strength = sum(square[:, i : i + channels] for i in range(size))
    factor = (wide.dtype.type(bias) + wide.dtype.type(alpha / size) * strength) ** wide.dtype.type(-beta)
    return np.asarray(wide * factor, x.dtype)
