"""Predictions: everything the models say of a paper's tables and figures, flattened to one row per value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["flatten", "predict"]

Tables = Mapping[str, Callable[[], "xr.Dataset"]]


def predict(paper: str, tables: Tables) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of predictions.json of one paper, and a line for every table that its model failed to make."""
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for where, table in tables.items():
        try:
            rows += flatten(paper, where, table())
        except Exception as error:
            failures.append(f"{paper}, {where}: {type(error).__name__}: {error}".splitlines()[0])
    return rows, failures


def flatten(paper: str, where: str, dataset: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Yield one row per number or string of a Dataset: paper, where, item, dims, value, unit.

    NaN is left out, and so is what is published: variables so named stand beside the model's for figures to draw.
    """
    for item, variable in dataset.data_vars.items():
        if str(item).startswith("published"):
            continue
        unit = str(variable.attrs.get("units", ""))
        labels = {dim: _labels(variable, str(dim)) for dim in variable.dims}
        values = variable.values.astype(object) if variable.dtype.kind in "fiubUOT" else variable.values
        for index in _indices(variable.shape):
            value = _plain(values[index])
            if isinstance(value, int | float | str):
                dims = {str(d): labels[d][i] for d, i in zip(variable.dims, index, strict=True)}
                yield {"paper": paper, "where": where, "item": str(item), "dims": dims, "value": value, "unit": unit}


def _indices(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    import numpy as np

    return iter(np.ndindex(*shape))


def _labels(variable: xr.DataArray, dim: str) -> list[Any]:
    """The coordinate values of a dimension, or its indices where it has none."""
    if dim in variable.coords and variable.coords[dim].ndim == 1:
        return [_plain(v) if _plain(v) is not None else str(v) for v in variable.coords[dim].values]
    return list(range(variable.sizes[dim]))


def _plain(value: Any) -> float | int | str | None:
    """A number or string as JSON takes it; None for NaN, infinity and everything else."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str) else None
