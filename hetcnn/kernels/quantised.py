"""ONNX's integer operators, exact to the integer, computed with floating-point matrix products.

A real number r is held as a small integer q with r = scale * (q - zero_point). Products of such integers are summed
in float32 where no partial sum can reach 2^24, the first integer with an odd neighbour that float32 lacks, else in
float64 (2^53), else in int64: a float GEMM is tens of times faster than NumPy's integer one, and here just as exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array, axis_of
from hetcnn.kernels.cast import convert, dtype_of, integer_range, is_integer
from hetcnn.kernels.convolution import conv

__all__ = [
    "conv_integer",
    "dequantize_linear",
    "dynamic_quantize_linear",
    "exact_type",
    "matmul_integer",
    "qlinear_conv",
    "qlinear_matmul",
    "quantize_linear",
    "requantise",
]


def exact_type(largest: int, weight: int) -> np.dtype[Any]:
    """Return the cheapest type that sums products exactly: |x| <= `largest`, and sum of |w| <= `weight` per output.

    Every partial sum is at most largest*weight, whatever the order, so it suffices that this is below 2^24 (or 2^53).

    >>> exact_type(255, 1000), exact_type(32768, 100_000), exact_type(2**31, 2**31)
    (dtype('float32'), dtype('float64'), dtype('int64'))
    """
    bound = largest * weight
    return np.dtype(np.float32 if bound < 2**24 else np.float64 if bound < 2**53 else np.int64)


def _shifted(x: Array, zero_point: Array | None, axis: int) -> Array:
    """Return q - zero_point as int32; a vector of zero points belongs to `axis`."""
    if not is_integer(x.dtype):
        raise HetcnnError(f"data of type {x.dtype.name}: expected integers")
    wide = x.astype(np.int32)
    if zero_point is None:
        return wide
    zero = np.asarray(zero_point).astype(np.int32)
    if zero.size > 1 and zero.ndim == 1:
        zero = zero.reshape(-1, *(1,) * (x.ndim - axis_of(axis, x.ndim) - 1))
    return np.asarray(wide - zero.reshape(()) if zero.size == 1 else wide - zero)


def _largest(x: Array) -> int:
    return max(int(x.max(initial=0)), -int(x.min(initial=0)))


def _integers(x: Array) -> Array:
    """Return sums as int32; a sum beyond 32 bits wraps around, as in the machine."""
    return x.astype(np.int64).astype(np.int32)


def conv_integer(
    x: Array, w: Array, x_zero_point: Array | None = None, w_zero_point: Array | None = None, **where: Any
) -> Array:
    """Return the convolution of (x - x_zero_point) with (w - w_zero_point) as int32; options as in `conv`.

    Padding adds zero_point, that is, the real number 0.

    >>> x, w = np.array([[[2, 3, 4]]], np.uint8), np.array([[[1, 1]]], np.uint8)
    >>> conv_integer(x, w, np.uint8(1)).tolist()
    [[[3, 5]]]
    """
    data, filters = _shifted(x, x_zero_point, 1), _shifted(w, w_zero_point, 0)
    weight = int(np.abs(filters, dtype=np.int64).reshape(len(filters), -1).sum(axis=1).max(initial=0))
    kind = exact_type(_largest(data), weight)
    return _integers(conv(data.astype(kind), filters.astype(kind), **where))


def matmul_integer(a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None) -> Array:
    """Return the product of (a - a_zero_point) and (b - b_zero_point) as int32.

    A vector of zero points has one per row of a, or one per column of b.

    >>> matmul_integer(np.array([[11, 7]], np.uint8), np.array([[1], [2]], np.uint8), np.uint8(12)).tolist()
    [[-11]]
    """
    left, right = _shifted(a, a_zero_point, max(a.ndim - 2, 0)), _shifted(b, b_zero_point, b.ndim - 1)
    weight = int(np.abs(right, dtype=np.int64).sum(axis=max(right.ndim - 2, 0)).max(initial=0))
    kind = exact_type(_largest(left), weight)
    return _integers(np.matmul(left.astype(kind), right.astype(kind)))


def requantise(total: Array, scale: Array, zero_point: Array | None, dtype: np.dtype[Any]) -> Array:
    """Return int32 sums as small integers: rint(total * float32(scale)) + zero_point, held in the range of `dtype`.

    The order of steps is part of the result: float32 product, round (halves to even), add, clip.

    >>> requantise(np.array([10, 30, 9999], np.int32), np.float32(0.25), np.int8(1), np.dtype(np.int8)).tolist()
    [3, 9, 127]
    """
    zero = 0.0 if zero_point is None else np.asarray(zero_point).astype(np.float32)
    low, high = integer_range(dtype)
    rounded = np.rint(total.astype(np.float32) * np.asarray(scale, np.float32)) + zero
    return np.asarray(np.clip(rounded, low, high)).astype(dtype)


def _factor(x_scale: Array, w_scale: Array, y_scale: Array) -> Array:
    one, two, three = (np.asarray(s).astype(np.float32) for s in (x_scale, w_scale, y_scale))
    return np.asarray(one * two / three)


def _result(zero_point: Array | None, x: Array) -> np.dtype[Any]:
    return x.dtype if zero_point is None else np.asarray(zero_point).dtype


def qlinear_conv(
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    b: Array | None = None,
    **where: Any,
) -> Array:
    """Convolve quantised data with quantised filters and quantise the result.

    Y = clip(rint((conv(x - zx, w - zw) + B) * (sx*sw/sy)) + zy); B is int32 of scale sx*sw. The filters' scale and
    zero point may be vectors, one per output channel.

    >>> x, w, zero = np.array([[[2, 3]]], np.uint8), np.array([[[3]]], np.int8), np.uint8(0)
    >>> half = np.float32(0.5)
    >>> qlinear_conv(x, half, zero, w, half, np.int8(0), half, zero).tolist()     # 2*3/2, 3*3/2 rounded to even
    [[[3, 4]]]
    """
    total = conv_integer(x, w, x_zero_point, w_zero_point, **where)
    per_channel = (-1, *(1,) * (x.ndim - 2))
    if b is not None:
        total = total + b.reshape(per_channel)
    factor = _factor(x_scale, w_scale, y_scale)
    factor = factor.reshape(per_channel) if factor.size > 1 else factor.reshape(())
    zero = None if y_zero_point is None else np.asarray(y_zero_point).reshape(())
    return requantise(total, factor, zero, _result(y_zero_point, x))


def qlinear_matmul(
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
) -> Array:
    """Multiply quantised matrices and quantise the result: clip(rint((a - za)(b - zb) * (sa*sb/sy)) + zy).

    >>> a, b, one, zero = np.array([[2, 3]], np.uint8), np.array([[4], [5]], np.uint8), np.float32(1), np.uint8(0)
    >>> qlinear_matmul(a, one, zero, b, one, zero, np.float32(2), zero).tolist()             # 23/2, to even
    [[12]]
    """
    total = matmul_integer(a, b, a_zero_point, b_zero_point)
    row = np.asarray(a_scale).reshape(-1, 1) if np.size(a_scale) > 1 and np.ndim(a_scale) == 1 else a_scale
    return requantise(total, _factor(row, b_scale, y_scale), y_zero_point, _result(y_zero_point, a))


def _spread(values: Array, x: Array, axis: int, block_size: int) -> Array:
    """Return scales or zero points so that they broadcast to x: one in all, one per slice, or one per block."""
    values = np.asarray(values)
    if values.size == 1 and values.ndim <= 1:
        return values.reshape(())
    axis = axis_of(axis, x.ndim)
    if block_size:
        spread = np.repeat(values, block_size, axis=axis)
        return spread[tuple(slice(n) for n in x.shape)]
    if values.ndim != 1 or values.size != x.shape[axis]:
        raise HetcnnError(f"scales of shape {values.shape}: expected 1 or {x.shape[axis]}, the size of axis {axis}")
    return values.reshape(-1, *(1,) * (x.ndim - axis - 1))


def quantize_linear(
    x: Array,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
) -> Array:
    """Return clip(rint(x / y_scale) + y_zero_point): reals as small integers, halves to even.

    The scale is one number, one per slice of `axis`, or one per block of `block_size` along it. The result has the
    type of the zero point, or `output_dtype`, default uint8; floats of 8 and 4 bits are rounded without a zero point.

    >>> quantize_linear(np.array([-1.0, 0.25, 100.0]), np.float32(0.5), np.uint8(128)).tolist()
    [126, 128, 255]
    """
    dtype = dtype_of(output_dtype or 2) if y_zero_point is None else np.asarray(y_zero_point).dtype
    scale = _spread(y_scale, x, axis, block_size)
    kind = dtype_of(precision) if precision else np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
    ratio = x.astype(kind) / scale.astype(kind)
    if not is_integer(dtype):
        return convert(ratio, dtype, saturate=bool(saturate))
    low, high = integer_range(dtype)
    zero = 0 if y_zero_point is None else _spread(y_zero_point, x, axis, block_size).astype(kind)
    return np.asarray(np.clip(np.rint(ratio) + zero, low, high)).astype(dtype)


def dequantize_linear(
    x: Array,
    x_scale: Array,
    x_zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Array:
    """Return (x - x_zero_point) * x_scale, the reals that small integers stand for; scales as in `quantize_linear`.

    >>> dequantize_linear(np.array([126, 128], np.uint8), np.float32(0.5), np.uint8(128)).tolist()
    [-1.0, 0.0]
    """
    wide = x.astype(np.int64 if is_integer(x.dtype) else np.float32)
    if x_zero_point is not None:
        wide = wide - _spread(x_zero_point, x, axis, block_size).astype(wide.dtype)
    y = wide.astype(np.float32) * _spread(x_scale, x, axis, block_size).astype(np.float32)
    return y.astype(dtype_of(output_dtype) if output_dtype else np.asarray(x_scale).dtype)


def dynamic_quantize_linear(x: Array) -> tuple[Array, Array, Array]:
    """Return x as uint8 with the scale and zero point that its own range, made to hold 0, asks for.

    >>> y, scale, zero = dynamic_quantize_linear(np.array([-1.0, 0.0, 254.0], np.float32))
    >>> y.tolist(), float(scale), int(zero)
    ([0, 1, 255], 1.0, 1)
    """
    low, high = np.float32(min(x.min(initial=0), 0)), np.float32(max(x.max(initial=0), 0))
    scale = np.float32((high - low) / np.float32(255)) or np.float32(1)
    zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
    return quantize_linear(x, np.asarray(scale), np.asarray(zero)), np.asarray(scale), np.asarray(zero)
