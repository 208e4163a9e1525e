"""Activations: functions of one number, applied to every element, and the softmax family, which looks along an axis.

All keep the shape and the element type of their input.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array, axis_of

__all__ = [
    "celu",
    "clip",
    "elu",
    "erf",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "hardmax",
    "leaky_relu",
    "log_softmax",
    "log_softmax_of_rows",
    "mish",
    "prelu",
    "relu",
    "selu",
    "shrink",
    "sigmoid",
    "softmax",
    "softmax_of_rows",
    "softplus",
    "softsign",
    "swish",
    "thresholded_relu",
]


def relu(x: Array) -> Array:
    """Return max(x, 0).

    >>> relu(np.array([-2, 0, 3])).tolist()
    [0, 0, 3]
    """
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def leaky_relu(x: Array, *, alpha: float = 0.01) -> Array:
    """Return x where it is positive, alpha*x elsewhere.

    >>> leaky_relu(np.array([-2.0, 3.0]), alpha=0.5).tolist()
    [-1.0, 3.0]
    """
    return np.where(x >= 0, x, x * x.dtype.type(alpha))


def prelu(x: Array, slope: Array) -> Array:
    """Return x where it is positive, slope*x elsewhere; the trained slope broadcasts to x (one per channel, say).

    >>> prelu(np.array([[-2.0, -2.0]]), np.array([0.5, 0.25])).tolist()
    [[-1.0, -0.5]]
    """
    if slope.ndim == 1 and x.ndim > 1 and slope.size not in (1, x.shape[-1]) and slope.size == x.shape[1]:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))  # before opset 7 a vector meant one slope per channel
    return np.where(x >= 0, x, x * slope)


def clip(x: Array, min: Array | float | None = None, max: Array | float | None = None) -> Array:
    """Return x held between `min` and `max`; an absent bound does not bind. Where min > max the result is max.

    >>> clip(np.array([-1.0, 2.0, 9.0]), 0.0, 6.0).tolist()          # ReLU6
    [0.0, 2.0, 6.0]
    """
    y = x if min is None else np.maximum(x, np.asarray(min).astype(x.dtype))
    return y if max is None else np.minimum(y, np.asarray(max).astype(x.dtype))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), computed so that no exponential overflows.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, x.dtype.type(1), small) / (small + x.dtype.type(1)))


def hard_sigmoid(x: Array, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """Return max(0, min(1, alpha*x + beta)), a sigmoid of three straight lines.

    >>> hard_sigmoid(np.array([-9.0, 0.0, 1.0, 9.0])).tolist()
    [0.0, 0.5, 0.7, 1.0]
    """
    one = x.dtype.type
    return np.asarray(np.minimum(np.maximum(x * one(alpha) + one(beta), one(0)), one(1)))


def hard_swish(x: Array) -> Array:
    """Return x * max(0, min(1, x/6 + 1/2)), MobileNetV3's activation.

    >>> hard_swish(np.array([-4.0, 0.0, 4.0])).tolist()
    [-0.0, 0.0, 4.0]
    """
    return x * hard_sigmoid(x, alpha=1 / 6, beta=0.5)


def swish(x: Array, *, alpha: float = 1.0) -> Array:
    """Return x * sigmoid(alpha*x), also called SiLU.

    >>> swish(np.array([0.0, 100.0])).tolist()
    [0.0, 100.0]
    """
    return x * sigmoid(x * x.dtype.type(alpha))


def mish(x: Array) -> Array:
    """Return x * tanh(softplus(x)).

    >>> mish(np.array([0.0, 100.0])).tolist()
    [0.0, 100.0]
    """
    return np.asarray(x * np.tanh(softplus(x)))


def elu(x: Array, *, alpha: float = 1.0) -> Array:
    """Return x where it is positive, alpha*(exp(x) - 1) elsewhere.

    >>> elu(np.array([-1000.0, 2.0]), alpha=3.0).tolist()
    [-3.0, 2.0]
    """
    return np.where(x > 0, x, np.expm1(np.minimum(x, x.dtype.type(0))) * x.dtype.type(alpha))


def celu(x: Array, *, alpha: float = 1.0) -> Array:
    """Return max(0, x) + min(0, alpha*(exp(x/alpha) - 1)), an ELU whose slope is continuous for every alpha.

    >>> celu(np.array([-1000.0, 2.0]), alpha=3.0).tolist()
    [-3.0, 2.0]
    """
    return np.asarray(elu(x / x.dtype.type(alpha)) * x.dtype.type(alpha))


def selu(x: Array, *, alpha: float = 1.6732631921768188, gamma: float = 1.0507010221481323) -> Array:
    """Return gamma * elu(x, alpha), scaled so that activations keep zero mean and unit variance.

    >>> selu(np.array([-1000.0, 1.0]), alpha=2.0, gamma=3.0).tolist()
    [-6.0, 3.0]
    """
    return np.asarray(elu(x, alpha=alpha) * x.dtype.type(gamma))


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)), a smooth ReLU, without overflow.

    >>> softplus(np.array([0.0, 1000.0])).round(4).tolist()
    [0.6931, 1000.0]
    """
    return np.asarray(np.logaddexp(x, x.dtype.type(0)))


def softsign(x: Array) -> Array:
    """Return x / (1 + |x|).

    >>> softsign(np.array([-1.0, 3.0])).tolist()
    [-0.5, 0.75]
    """
    return np.asarray(x / (np.abs(x) + x.dtype.type(1)))


def thresholded_relu(x: Array, *, alpha: float = 1.0) -> Array:
    """Return x where it exceeds alpha, 0 elsewhere.

    >>> thresholded_relu(np.array([0.5, 1.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return np.where(x > alpha, x, x.dtype.type(0))


def shrink(x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """Return x + bias below -lambd, x - bias above lambd, 0 between.

    >>> shrink(np.array([-2.0, 0.1, 2.0]), bias=0.5, lambd=1.0).tolist()
    [-1.5, 0.0, 1.5]
    """
    shifted = np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))
    return shifted.astype(x.dtype)


def erf(x: Array) -> Array:
    """Return the error function, 2/sqrt(pi) * integral of exp(-t^2) from 0 to x.

    >>> erf(np.array([0.0, 10.0])).tolist()
    [0.0, 1.0]
    """
    from scipy.special import erf as exact  # NumPy has none

    return np.asarray(exact(x.astype(np.float32) if x.dtype.name == "bfloat16" else x), x.dtype)


def gelu(x: Array, *, approximate: str = "none") -> Array:
    """Return x * P(a standard normal number is below x) = x/2 * (1 + erf(x/sqrt(2))).

    `approximate="tanh"`: x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715*x^3))).

    >>> gelu(np.array([0.0, 1.0])).round(4).tolist()                   # 84.13 % lie below one standard deviation
    [0.0, 0.8413]
    """
    one = x.dtype.type
    if approximate == "tanh":
        below = np.tanh((x + one(0.044715) * x * x * x) * one(sqrt(2 / pi)))
    elif approximate == "none":
        below = erf(x * one(sqrt(0.5)))
    else:
        raise HetcnnError(f"approximate '{approximate}': expected 'none' or 'tanh'")
    return np.asarray(x * one(0.5) * (below + one(1)))


def softmax(x: Array, *, axis: int = -1) -> Array:
    """Return exp(x) / sum of exp(x) along one axis: positive numbers that add up to 1.

    The largest element is subtracted first, which changes nothing but keeps exp from overflowing.

    >>> softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3.0)]])).round(2).tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    """
    axis = axis_of(axis, x.ndim)
    powers = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def log_softmax(x: Array, *, axis: int = -1) -> Array:
    """Return log(softmax(x)) = x - log(sum of exp(x)), computed without taking the logarithm of a small number.

    >>> log_softmax(np.array([[0.0, -1000.0]])).tolist()
    [[0.0, -1000.0]]
    """
    axis = axis_of(axis, x.ndim)
    below = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return np.asarray(below - np.log(np.exp(below).sum(axis=axis, keepdims=True)))


def _rows(x: Array, axis: int) -> Array:
    return x.reshape(int(np.prod(x.shape[: axis_of(axis, x.ndim)], dtype=int)), -1)


def softmax_of_rows(x: Array, *, axis: int = 1) -> Array:
    """Return the softmax over all axes from `axis` on together, as ONNX had it before opset 13.

    >>> softmax_of_rows(np.zeros((1, 2, 2))).tolist()
    [[[0.25, 0.25], [0.25, 0.25]]]
    """
    return softmax(_rows(x, axis)).reshape(x.shape)


def log_softmax_of_rows(x: Array, *, axis: int = 1) -> Array:
    """Return the logarithm of `softmax_of_rows`.

    >>> np.exp(log_softmax_of_rows(np.zeros((1, 2, 2)))).tolist()
    [[[0.25, 0.25], [0.25, 0.25]]]
    """
    return log_softmax(_rows(x, axis)).reshape(x.shape)


def hardmax(x: Array, *, axis: int = -1) -> Array:
    """Return 1 where the largest element along the axis stands (the first of equals), 0 elsewhere.

    >>> hardmax(np.array([1.0, 5.0, 5.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    axis = axis_of(axis, x.ndim)
    place = np.arange(x.shape[axis]).reshape(-1, *(1,) * (x.ndim - axis - 1))
    return np.asarray(place == x.argmax(axis=axis, keepdims=True)).astype(x.dtype)
