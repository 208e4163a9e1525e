"""Operators that make tensors out of nothing but a value, a shape or a range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.cast import dtype_of

__all__ = ["constant", "constant_of_shape", "eye_like", "span"]


def constant(
    *,
    value: Array | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> Array:
    """Return the one value that is given.

    >>> constant(value_ints=(1, 2)).tolist()
    [1, 2]
    """
    if value is not None:
        return np.asarray(value)
    numbers = ((value_float, value_floats, np.float32), (value_int, value_ints, np.int64))
    for one, several, kind in (*numbers, (value_string, value_strings, object)):
        found = one if one is not None else several
        if found is not None:
            return np.array(found, kind)
    raise HetcnnError("a Constant without a value")


def constant_of_shape(shape: Array, *, value: Array | None = None) -> Array:
    """Return an array filled with one value, float32 zero by default.

    >>> constant_of_shape(np.array([2]), value=np.array([7])).tolist()
    [7, 7]
    """
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value).reshape(-1)
    return np.full(tuple(int(d) for d in shape), fill[0], fill.dtype)


def eye_like(x: Array, *, dtype: int | None = None, k: int = 0) -> Array:
    """Return a matrix of the shape of x with ones on its k-th diagonal.

    >>> eye_like(np.zeros((2, 2)), k=1).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    rows, columns = x.shape
    return np.asarray(np.eye(rows, columns, k, dtype=x.dtype if dtype is None else dtype_of(dtype)))


def span(start: Array, limit: Array, delta: Array) -> Array:
    """Return start, start + delta, ... up to before the limit; ONNX's Range.

    >>> span(np.array(1), np.array(6), np.array(2)).tolist()
    [1, 3, 5]
    """
    first, last, step = (np.asarray(v).item() for v in (start, limit, delta))
    if step == 0:
        raise HetcnnError(f"a range from {first} to {last} in steps of 0 never ends")
    return np.asarray(first + np.arange(max(int(np.ceil((last - first) / step)), 0)) * step, start.dtype)
