"""Small helpers that several operators share: axes, and the type in which sums are formed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError

__all__ = ["Array", "axes_of", "axis_of", "sum_type"]

Array = NDArray[Any]
"""An array of any element type."""


def axis_of(axis: int, rank: int) -> int:
    """Return `axis` counted from the front; negative ones count from the end.

    >>> axis_of(-1, 4)
    3
    """
    if not -rank <= axis < rank:
        raise HetcnnError(f"axis {axis}: expected {-rank} to {rank - 1} for a tensor of {rank} axes")
    return int(axis) % rank


def axes_of(axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Return all `axes` counted from the front.

    >>> axes_of((0, -1), 4)
    (0, 3)
    """
    found = tuple(axis_of(int(axis), rank) for axis in axes)
    if len(set(found)) < len(found):
        raise HetcnnError(f"axes {found}: each may occur once")
    return found


def sum_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which products of `dtype` are summed: float32 for the 16-bit floats, else the type itself.

    >>> sum_type(np.dtype("float16")), sum_type(np.dtype("float64"))
    (dtype('float32'), dtype('float64'))
    """
    return np.dtype(np.float32) if dtype.name in ("float16", "bfloat16") else dtype
