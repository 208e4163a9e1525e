"""Fixed-point arithmetic as a small machine does it, bit for bit: Q8.8 words, 16 x 16 -> 32 bit multiply-accumulate.

The machine:

- A *word* has 16 bits, two's complement, `fraction` of them after the point (Q8.8: 8): q stands for q / 2^fraction.
- A *product* of two words is exact in 32 bits; its fraction is the sum of the two.
- The *accumulator* has 32 bits. The bias enters it first, shifted left to the products' fraction; then products are
  added. It wraps around (modulo 2^32) and never saturates, so the order of additions does not matter.
- *Write-back* shifts right to the result's fraction, rounding to nearest with halves up (half a unit is added before
  the arithmetic shift, with a bit to spare), and then *saturates* to a word. This is the only saturation of a MAC.
- Additions of words are formed wide, then saturate. Averages divide a wide sum, rounding to nearest, halves up.

Words of fewer than 16 bits (`bits`) live in int16 arrays and saturate earlier; everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import frexp
from types import MappingProxyType
from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels import convolution, pooling
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.quantised import exact_type
from hetcnn.kernels.windows import pad_spatial, taps, window

__all__ = [
    "ACCUMULATOR_BITS",
    "DOMAIN",
    "OPERATORS",
    "Q8_8",
    "Format",
    "add",
    "average_pool",
    "clip",
    "conv",
    "conv_sums",
    "from_fixed",
    "global_average_pool",
    "linear",
    "linear_sums",
    "max_pool",
    "multiply",
    "relu",
    "rescale",
    "to_fixed",
    "write_back",
]

DOMAIN = "hetcnn.fixed_point"
"""The domain of these operators in a `Network`; they are called as in ONNX, and read and write int16."""

ACCUMULATOR_BITS = 32


@dataclass(frozen=True)
class Format:
    """A fixed-point word: `bits` in all, `fraction` of them after the point (it may be negative, or exceed `bits`).

    >>> Q8_8.low, Q8_8.high, Q8_8.resolution
    (-128.0, 127.99609375, 0.00390625)
    """

    bits: int = 16
    fraction: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise HetcnnError(f"words of {self.bits} bits: expected 2 to 16")

    @property
    def resolution(self) -> float:
        """The step between neighbouring numbers, 2^-fraction."""
        return 2.0**-self.fraction

    @property
    def low(self) -> float:
        """The smallest number."""
        return -(2.0 ** (self.bits - 1)) * self.resolution

    @property
    def high(self) -> float:
        """The largest number."""
        return (2.0 ** (self.bits - 1) - 1) * self.resolution

    @classmethod
    def holding(cls, largest: float, bits: int = 16) -> Format:
        """Return the format with the longest fraction that holds numbers up to `largest` in size.

        >>> Format.holding(3.0), Format.holding(1.0, bits=8)
        (Format(bits=16, fraction=13), Format(bits=8, fraction=6))
        """
        exponent = frexp(largest)[1] if largest > 0 else 0  # largest < 2^exponent
        return cls(bits, max(min(bits - 1 - exponent, 30), -15))


Q8_8 = Format(16, 8)
"""Eight bits before the point, sign included, and eight after it."""


def _saturate(x: Array, bits: int) -> Array:
    return np.clip(x, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int16)


def to_fixed(x: Array, *, fraction: int = 8, bits: int = 16) -> Array:
    """Return real numbers as words: the nearest one, halves up, saturating. NaN becomes 0.

    >>> to_fixed(np.array([1.0, -0.001953125, 200.0])).tolist()           # 256/256, -0.5/256, beyond 127.996
    [256, 0, 32767]
    """
    scaled = np.floor(np.where(np.isnan(x), 0, x).astype(np.float64) * 2.0**fraction + 0.5)
    return _saturate(scaled, bits)


def from_fixed(q: Array, *, fraction: int = 8) -> Array:
    """Return the real numbers that words stand for, as float32 (exact: a word has 16 bits, float32 24).

    >>> from_fixed(np.array([256, -1], np.int16)).tolist()
    [1.0, -0.00390625]
    """
    return q.astype(np.float32) * np.float32(2.0**-fraction)


def write_back(sums: Array, shift: int = 8, bits: int = 16) -> Array:
    """Return accumulators as words: wrapped to 32 bits, shifted right with rounding (halves up), saturated.

    >>> write_back(np.array([128, 127, -128, -129, 2**30, 2**31])).tolist()    # the last one wraps to -2^31
    [1, 0, 0, -1, 32767, -32768]
    """
    wide = sums.astype(np.int64).astype(np.int32).astype(np.int64)
    if shift > 0:
        return _saturate((wide + (1 << (shift - 1))) >> shift, bits)
    return _saturate(wide << min(-shift, 31), bits)


def _words(what: str, *arrays: Array | None) -> None:
    for array in arrays:
        if array is not None and array.dtype != np.int16:
            raise HetcnnError(f"{what} of type {array.dtype.name}: fixed-point words are int16; see to_fixed")


def _kind(x: Array, w: Array) -> np.dtype[Any]:
    """Return the float type in which all sums of products of x with one row of w are exact."""
    rows = np.abs(w.astype(np.int64)).reshape(len(w), -1).sum(axis=1)
    return exact_type(max(abs(int(x.min(initial=0))), int(x.max(initial=0))), int(rows.max(initial=0)))


def _with_bias(sums: Array, b: Array | None, bias_shift: int, shape: tuple[int, ...]) -> Array:
    whole = sums.astype(np.int64)
    if b is None:
        return whole
    if bias_shift < 0:
        raise HetcnnError(f"bias_shift {bias_shift}: the bias may not be finer than the products")
    return whole + (b.astype(np.int64) << bias_shift).reshape(shape)


def conv_sums(x: Array, w: Array, b: Array | None = None, *, bias_shift: int = 8, **where: Any) -> Array:
    """Return the sums of a convolution before write-back, exact and unwrapped, as int64; options as in `conv`.

    Where one leaves -2^31 to 2^31 - 1, the 32-bit accumulator has wrapped.

    >>> x, w = np.array([[[256, 512]]], np.int16), np.array([[[256, -128]]], np.int16)      # 1*1 - 2*0.5
    >>> conv_sums(x, w).tolist()
    [[[0]]]
    """
    _words("data, weights or bias", x, w, b)
    kind = _kind(x, w)
    sums = convolution.conv(x.astype(kind), w.astype(kind), **where)
    return _with_bias(sums, b, bias_shift, (-1, *(1,) * (x.ndim - 2)))


def conv(
    x: Array, w: Array, b: Array | None = None, *, shift: int = 8, bias_shift: int = 8, bits: int = 16, **where: Any
) -> Array:
    """Convolve words with words: bias and products into 32 bits, one rounding shift, one saturation.

    `shift` = fraction of x + fraction of w - fraction of the result; `bias_shift` = fraction of x + fraction of w -
    fraction of b. Both are 8 where all is Q8.8. Window options as in `hetcnn.kernels.convolution.conv`.

    >>> x, w, b = np.array([[[256, 512]]], np.int16), np.array([[[384]]], np.int16), np.array([128], np.int16)
    >>> from_fixed(conv(x, w, b)).tolist()                                   # 1*1.5 + 0.5, 2*1.5 + 0.5
    [[[2.0, 3.5]]]
    """
    return write_back(conv_sums(x, w, b, bias_shift=bias_shift, **where), shift, bits)


def linear_sums(x: Array, w: Array, b: Array | None = None, *, bias_shift: int = 8) -> Array:
    """Return the sums of x W^T + b before write-back, as int64: x (N, K), W (M, K), b (M,).

    >>> linear_sums(np.array([[256]], np.int16), np.array([[512]], np.int16)).tolist()
    [[131072]]
    """
    _words("data, weights or bias", x, w, b)
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise HetcnnError(f"data {x.shape} and weights {w.shape}: expected (N, K) and (M, K)")
    kind = _kind(x, w)
    return _with_bias(np.matmul(x.astype(kind), w.astype(kind).T), b, bias_shift, (1, -1))


def linear(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    shift: int = 8,
    bias_shift: int = 8,
    bits: int = 16,
) -> Array:
    """Return x W^T + b in words, with the accumulator, shift and saturation of `conv`.

    >>> x, w = np.array([[256, 32767]], np.int16), np.array([[256, 256], [256, 0]], np.int16)
    >>> linear(x, w).tolist()                                                # 1 + 127.996 saturates; 1
    [[32767, 256]]
    """
    return write_back(linear_sums(x, w, b, bias_shift=bias_shift), shift, bits)


def add(*arrays: Array, bits: int = 16) -> Array:
    """Return the sum of words of one format, formed wide and then saturated.

    >>> add(np.array([30000, 1], np.int16), np.array([30000, 2], np.int16)).tolist()
    [32767, 3]
    """
    _words("operands", *arrays)
    return _saturate(np.asarray(sum(a.astype(np.int64) for a in arrays)), bits)


def multiply(a: Array, b: Array, *, shift: int = 8, bits: int = 16) -> Array:
    """Return the product of words: exact in 32 bits, one rounding shift, one saturation.

    >>> multiply(np.array([384], np.int16), np.array([-512], np.int16)).tolist()            # 1.5 * -2
    [-768]
    """
    _words("operands", a, b)
    return write_back(a.astype(np.int64) * b.astype(np.int64), shift, bits)


def rescale(x: Array, *, shift: int, bits: int = 16) -> Array:
    """Return words with `shift` fewer bits after the point (more, if it is negative), rounded and saturated.

    >>> rescale(np.array([256, 384], np.int16), shift=8).tolist(), rescale(np.array([1], np.int16), shift=-8).tolist()
    ([1, 2], [256])
    """
    _words("data", x)
    return write_back(x, shift, bits)


def relu(x: Array) -> Array:
    """Return max(x, 0), on words.

    >>> relu(np.array([-256, 256], np.int16)).tolist()
    [0, 256]
    """
    _words("data", x)
    return np.maximum(x, np.int16(0))


def clip(x: Array, *, low: int = -(2**15), high: int = 2**15 - 1) -> Array:
    """Return x held between two words.

    >>> clip(np.array([-256, 256, 9999], np.int16), low=0, high=6 * 256).tolist()           # ReLU6
    [0, 256, 1536]
    """
    _words("data", x)
    return np.clip(x, np.int16(low), np.int16(high))


def max_pool(x: Array, *, kernel_shape: Sequence[int], **where: Any) -> Array:
    """Return the largest word under the window; see `hetcnn.kernels.pooling.max_pool`.

    >>> max_pool(np.array([[[1, 4, 2, 3]]], np.int16), kernel_shape=[2], strides=[2]).tolist()
    [[[4, 3]]]
    """
    _words("data", x)
    return pooling.max_pool(x, kernel_shape=kernel_shape, **where)


def _mean(total: Array, count: Array) -> Array:
    """Return total / count rounded to nearest, halves up, by integers alone."""
    return np.asarray((2 * total + count) // (2 * count)).astype(np.int16)


def average_pool(x: Array, *, kernel_shape: Sequence[int], count_include_pad: int = 0, **where: Any) -> Array:
    """Return the mean of the words under the window: a wide sum, divided with rounding to nearest, halves up.

    >>> average_pool(np.array([[[1, 2, -1, -2]]], np.int16), kernel_shape=[2], strides=[2]).tolist()  # 1.5, -1.5
    [[[2, -1]]]
    """
    _words("data", x)
    w = window(x.shape[2:], kernel_shape, **where)
    total = sum(view for _, view in taps(pad_spatial(x.astype(np.int64), w), w))
    counts = pooling.window_counts(w, with_padding=bool(count_include_pad))
    return _mean(np.asarray(total), np.maximum(counts, 1))


def global_average_pool(x: Array) -> Array:
    """Return the mean of each channel's words, as `average_pool` forms it: (N, C, D1, ...) -> (N, C, 1, ...).

    >>> global_average_pool(np.array([[[1, 2, 5]]], np.int16)).tolist()                     # 8/3
    [[[3]]]
    """
    _words("data", x)
    axes = tuple(range(2, x.ndim))
    return _mean(x.sum(axis=axes, keepdims=True, dtype=np.int64), np.asarray(x[0, 0].size))


OPERATORS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "Add": add,
        "AveragePool": average_pool,
        "Clip": clip,
        "Conv": conv,
        "FromFixed": from_fixed,
        "Gemm": linear,
        "GlobalAveragePool": global_average_pool,
        "MaxPool": max_pool,
        "Mul": multiply,
        "Relu": relu,
        "Rescale": rescale,
        "ToFixed": to_fixed,
    }
)
"""Operator of the domain -> its function; what only moves words (Reshape, Concat, ...) is ONNX's own operator."""
