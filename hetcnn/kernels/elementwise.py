"""Element-wise arithmetic, comparison and selection; operands of different shapes broadcast as in NumPy.

What NumPy has under the same rules (add, sqrt, less, ...) is used as it is; see `UFUNCS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array, axis_of

__all__ = [
    "UFUNCS",
    "aligned",
    "bit_shift",
    "divide",
    "is_inf",
    "maximum",
    "mean",
    "minimum",
    "modulo",
    "power",
    "reciprocal",
    "total",
    "where",
]

UFUNCS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "Abs": np.abs,
        "Acos": np.arccos,
        "Acosh": np.arccosh,
        "Add": np.add,
        "And": np.logical_and,
        "Asin": np.arcsin,
        "Asinh": np.arcsinh,
        "Atan": np.arctan,
        "Atanh": np.arctanh,
        "BitwiseAnd": np.bitwise_and,
        "BitwiseNot": np.bitwise_not,
        "BitwiseOr": np.bitwise_or,
        "BitwiseXor": np.bitwise_xor,
        "Ceil": np.ceil,
        "Cos": np.cos,
        "Cosh": np.cosh,
        "Equal": np.equal,
        "Exp": np.exp,
        "Floor": np.floor,
        "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
        "IsNaN": np.isnan,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
        "Log": np.log,
        "Mul": np.multiply,
        "Neg": np.negative,
        "Not": np.logical_not,
        "Or": np.logical_or,
        "Round": np.rint,
        "Sign": np.sign,
        "Sin": np.sin,
        "Sinh": np.sinh,
        "Sqrt": np.sqrt,
        "Sub": np.subtract,
        "Tan": np.tan,
        "Tanh": np.tanh,
        "Xor": np.logical_xor,
    }
)
"""ONNX operator -> the NumPy function that computes it."""


def divide(a: Array, b: Array) -> Array:
    """Return a / b; the quotient of integers is cut off towards zero.

    >>> divide(np.array([-7, 7]), np.array([2, 2])).tolist()
    [-3, 3]
    """
    kind = np.result_type(a, b)
    if kind.kind not in "iu":
        return np.asarray(np.divide(a, b))
    quotient = np.floor_divide(a, b)
    return np.asarray(quotient + ((quotient < 0) & (quotient * b != a)), kind)


def modulo(a: Array, b: Array, *, fmod: int = 0) -> Array:
    """Return the remainder of a / b, with the sign of b, or with `fmod` the sign of a.

    >>> modulo(np.array([-4, 4]), np.array([3, -3])).tolist(), modulo(np.array([-4]), np.array([3]), fmod=1).tolist()
    ([2, -2], [-1])
    """
    return np.asarray(np.fmod(a, b) if fmod else np.mod(a, b))


def power(a: Array, b: Array) -> Array:
    """Return a to the power of b, in the element type of a.

    >>> power(np.array([2, 3]), np.array([3.0, 2.0])).tolist()
    [8, 9]
    """
    return np.asarray(np.power(a, b), a.dtype)


def reciprocal(x: Array) -> Array:
    """Return 1 / x.

    >>> reciprocal(np.array([4.0])).tolist()
    [0.25]
    """
    return np.asarray(np.divide(x.dtype.type(1), x))


def bit_shift(a: Array, b: Array, *, direction: str) -> Array:
    """Return a with its bits moved b places to the LEFT or RIGHT; what falls off the end is lost.

    >>> bit_shift(np.array([16], np.uint8), np.array([2], np.uint8), direction="RIGHT").tolist()
    [4]
    """
    if direction not in ("LEFT", "RIGHT"):
        raise HetcnnError(f"direction '{direction}': expected LEFT or RIGHT")
    return np.asarray(np.left_shift(a, b) if direction == "LEFT" else np.right_shift(a, b))


def is_inf(x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    """Return where x is infinite, of either sign or of one.

    >>> is_inf(np.array([-np.inf, 0.0, np.inf]), detect_negative=0).tolist()
    [False, False, True]
    """
    found = np.isinf(x)
    return np.asarray(found & (((x > 0) & bool(detect_positive)) | ((x < 0) & bool(detect_negative))))


def _some(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    if not arrays:
        raise HetcnnError("no operands: expected at least one")
    return arrays


def total(*arrays: Array) -> Array:
    """Return the sum of any number of arrays.

    >>> total(np.array([1, 2]), np.array([10, 20]), np.array([100])).tolist()
    [111, 122]
    """
    return np.asarray(reduce(np.add, _some(arrays)))


def mean(*arrays: Array) -> Array:
    """Return the mean of any number of arrays.

    >>> mean(np.array([1.0]), np.array([3.0])).tolist()
    [2.0]
    """
    added = total(*arrays)
    return np.asarray(added / added.dtype.type(len(arrays)))


def maximum(*arrays: Array) -> Array:
    """Return the largest of any number of arrays, element by element.

    >>> maximum(np.array([1, 5]), np.array([3, 2])).tolist()
    [3, 5]
    """
    return np.asarray(reduce(np.maximum, _some(arrays)))


def minimum(*arrays: Array) -> Array:
    """Return the smallest of any number of arrays, element by element.

    >>> minimum(np.array([1, 5]), np.array([3, 2])).tolist()
    [1, 2]
    """
    return np.asarray(reduce(np.minimum, _some(arrays)))


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return a where the condition holds, b elsewhere.

    >>> where(np.array([True, False]), np.array([1, 2]), np.array([3, 4])).tolist()
    [1, 4]
    """
    return np.where(condition, a, b)


def aligned(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the form that `function` of two operands had before opset 7: b broadcasts from `axis` of a on.

    >>> add = aligned(np.add)
    >>> add(np.zeros((2, 3, 1)), np.array([1.0, 2.0]), broadcast=1, axis=0)[:, 0, 0].tolist()
    [1.0, 2.0]
    """

    def aligning(a: Array, b: Array, *, broadcast: int = 0, axis: int | None = None) -> Array:
        if broadcast and axis is not None and b.ndim:
            b = b.reshape(*b.shape, *(1,) * (a.ndim - axis_of(axis, a.ndim) - b.ndim))
        elif not broadcast and a.shape != b.shape:
            raise HetcnnError(f"shapes {a.shape} and {b.shape} differ; before opset 7 that needs broadcast=1")
        return np.asarray(function(a, b))

    return aligning
