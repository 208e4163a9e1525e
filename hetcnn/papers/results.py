"""Labelled results: every variable of every Dataset carries its unit and its long name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Variable", "variable"]

Variable = tuple[tuple[str, ...], Any, dict[str, Any]]


def variable(
    dims: str | Sequence[str],
    values: ArrayLike,
    units: str,
    long_name: str,
    *,
    reading_error: float | None = None,
    reading_rtol: float | None = None,
) -> Variable:
    """Return one variable of a Dataset: dimensions (one string of names, or a sequence), values, and attributes.

    Published values carry their reading error: absolute (`reading_error`, in `units`) or relative (`reading_rtol`).

    >>> variable("network cores", [[1.0]], "frames/s", "throughput")[0]
    ('network', 'cores')
    """
    names = tuple(dims.split()) if isinstance(dims, str) else tuple(dims)
    errors = {"reading_error": reading_error, "reading_rtol": reading_rtol}
    known = {name: error for name, error in errors.items() if error is not None}
    return names, values, {"units": units, "long_name": long_name, **known}
