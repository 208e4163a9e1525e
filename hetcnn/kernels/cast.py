"""Element types: conversion between them, as ONNX numbers them, down to floats of 8 and integers of 2 bits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array

__all__ = [
    "TYPES",
    "bit_cast",
    "cast",
    "cast_like",
    "convert",
    "dtype_of",
    "integer_range",
    "is_integer",
]

TYPES: Mapping[int, str] = MappingProxyType(
    {
        1: "float32",
        2: "uint8",
        3: "int8",
        4: "uint16",
        5: "int16",
        6: "int32",
        7: "int64",
        8: "object",
        9: "bool",
        10: "float16",
        11: "float64",
        12: "uint32",
        13: "uint64",
        14: "complex64",
        15: "complex128",
        16: "bfloat16",
        17: "float8_e4m3fn",
        18: "float8_e4m3fnuz",
        19: "float8_e5m2",
        20: "float8_e5m2fnuz",
        21: "uint4",
        22: "int4",
        23: "float4_e2m1fn",
        24: "float8_e8m0fnu",
        25: "uint2",
        26: "int2",
        27: "float6_e2m3fn",
        28: "float6_e3m2fn",
    }
)
"""ONNX element type -> NumPy name; strings are objects."""


def dtype_of(number: int) -> np.dtype[Any]:
    """Return the NumPy type of an ONNX element type; those that NumPy lacks come from `ml_dtypes`.

    >>> dtype_of(7)
    dtype('int64')
    """
    if number not in TYPES:
        raise HetcnnError(f"element type {number}: ONNX has 1 (float) to {max(TYPES)}")
    return _named(TYPES[number])


def _named(name: str) -> np.dtype[Any]:
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # registers its types with NumPy

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Return whether a type holds integers, those of 4 and 2 bits included (to NumPy these are of no kind).

    >>> is_integer(np.dtype("uint8")), is_integer(dtype_of(22)), is_integer(np.dtype("float32"))
    (True, True, False)
    """
    return dtype.name.lstrip("u").startswith("int")


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the smallest and largest integer of a type.

    >>> integer_range(np.dtype("uint8")), integer_range(dtype_of(22))
    ((0, 255), (-8, 7))
    """
    if not is_integer(dtype):
        raise HetcnnError(f"type {dtype.name}: expected an integer type, int8 for instance")
    bits = int(dtype.name.lstrip("uint"))
    return (0, 2**bits - 1) if dtype.name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def cast(x: Array, *, to: int, saturate: int = 1, round_mode: str = "up") -> Array:
    """Return x in another element type, given by its ONNX number.

    Floats become integers by cutting off their fraction. To the floats of 8 bits, what is too large becomes the
    largest number there is, unless `saturate=0`. `round_mode` is for powers of two only (float8e8m0).

    >>> cast(np.array([-1.7, 2.9]), to=7).tolist()
    [-1, 2]
    """
    return convert(x, dtype_of(int(to)), saturate=bool(saturate), round_mode=round_mode)


def cast_like(x: Array, target: Array, *, saturate: int = 1, round_mode: str = "up") -> Array:
    """Return x in the element type of `target`.

    >>> cast_like(np.array([2.9]), np.array([1])).tolist()
    [2]
    """
    return convert(x, target.dtype, saturate=bool(saturate), round_mode=round_mode)


def convert(x: Array, dtype: np.dtype[Any], *, saturate: bool = True, round_mode: str = "up") -> Array:
    """Return x in another element type, as `cast` does.

    >>> convert(np.array([1e6]), dtype_of(17)).tolist(), convert(np.array([1e6]), dtype_of(17), saturate=False).tolist()
    ([448.0], [nan])
    """
    if x.dtype == dtype:
        return x
    if dtype.kind == "O":
        return _texts(x)
    if x.dtype.kind in "OUS":
        return _numbers(x, dtype)
    if dtype.name == "float8_e8m0fnu":
        return _powers_of_two(x, dtype, saturate, round_mode)
    with np.errstate(all="ignore"):
        if not dtype.name.startswith("float8"):
            return x.astype(dtype)
        wide = x.astype(np.float32)
        if saturate:
            import ml_dtypes

            largest = np.float32(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
            wide = np.clip(wide, -largest, largest)
        return wide.astype(dtype)


def _texts(x: Array) -> Array:
    """Return numbers as text: the fewest digits that tell them apart, at most what float32 has."""
    kind = np.float32 if x.dtype.name == "bfloat16" else x.dtype
    return np.array([str(v) for v in x.astype(kind).reshape(-1)], object).reshape(x.shape)


def _numbers(x: Array, dtype: np.dtype[Any]) -> Array:
    words = [v.decode() if isinstance(v, bytes) else str(v) for v in x.reshape(-1)]
    whole = is_integer(dtype) and all(w.lstrip("+-").isdigit() for w in words)
    try:
        return np.array([int(w) if whole else float(w) for w in words]).astype(dtype).reshape(x.shape)
    except ValueError as error:
        raise HetcnnError(f"text that is no number: {error}") from None


def _powers_of_two(x: Array, dtype: np.dtype[Any], saturate: bool, round_mode: str) -> Array:
    """Return x as 2^e, e from -127 to 127 in one byte: e + 127; 255 is NaN."""
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        exact = np.log2(np.abs(wide))
        below = np.floor(exact)
        over = wide / 2.0**below  # from 1 up to 2
    if round_mode == "up":
        power = np.where(over > 1, below + 1, below)
    elif round_mode == "nearest":
        power = np.where(over >= 1.5, below + 1, below)
    elif round_mode == "down":
        power = below
    else:
        raise HetcnnError(f"round_mode '{round_mode}': expected up, down or nearest")
    code = np.clip(np.nan_to_num(power, posinf=999, neginf=-999) + 127, 0, 254 if saturate else 255)
    return np.where(np.isnan(wide) | (wide < 0), 255, code).astype(np.uint8).view(dtype)


def bit_cast(x: Array, *, to: int) -> Array:
    """Return the bits of x read as another element type of the same size.

    >>> bit_cast(np.array([1.0], np.float32), to=6).tolist()      # 0x3f800000
    [1065353216]
    """
    dtype = dtype_of(int(to))
    if dtype.itemsize != x.dtype.itemsize:
        raise HetcnnError(f"{x.dtype.name} to {dtype.name}: BitCast needs elements of the same size")
    return np.ascontiguousarray(x).view(dtype).reshape(x.shape)
