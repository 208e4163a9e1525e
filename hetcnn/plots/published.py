"""Ours filled, published hollow with its reading error: the one convention of every comparison."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.lines import Line2D

from hetcnn.errors import HetcnnError, unknown
from hetcnn.plots.colours import INK, ink
from hetcnn.plots.ticks import name_and_unit, number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PUBLISHED",
    "as_array",
    "bare_numbers",
    "filled_key",
    "find_published",
    "hollow",
    "hollow_key",
    "main_variable",
    "reading_errors",
    "selection",
    "set_title",
    "text_labels",
    "title_of",
    "variable",
]

PUBLISHED = "published"
"""The usual name of the published values in a dataset."""


def variable(data: xr.Dataset, name: str) -> xr.DataArray:
    """Return one variable of a dataset, or raise HetcnnError naming the nearest one."""
    if name not in data.variables:
        raise unknown("variable", name, [str(v) for v in data.variables])
    return data[name]


def as_array(data: xr.DataArray | xr.Dataset, name: str | None = None) -> xr.DataArray:
    """Return a data array: itself, the named variable of a dataset, its "model", or the only one that is a result."""
    import xarray as xr

    if isinstance(data, xr.DataArray):
        return data
    return variable(data, name or main_variable(data))


def main_variable(data: xr.Dataset) -> str:
    """Return the name of the model's variable: "model", or the only number that is neither published nor an error."""
    names = [str(v) for v in data.data_vars if np.issubdtype(data[v].dtype, np.number)]
    ours = [n for n in names if not n.startswith("published") and not n.endswith("_error")]
    if "model" not in ours and len(ours) != 1:
        raise HetcnnError(f"the dataset holds {', '.join(ours) or 'no results'}: name the variable to draw")
    return "model" if "model" in ours else ours[0]


def find_published(data: xr.DataArray | xr.Dataset, name: str | None, ours: xr.DataArray) -> str | None:
    """Return the name of the published variable, or None where the data have none over the dimensions of `ours`.

    "published" also finds "published_<name of ours>". Raises HetcnnError for another name that is not there.
    """
    import xarray as xr

    if name is None or isinstance(data, xr.DataArray):
        return None
    if name == PUBLISHED and name not in data.data_vars and f"{PUBLISHED}_{ours.name}" in data.data_vars:
        name = f"{PUBLISHED}_{ours.name}"
    if name not in data.data_vars and name != PUBLISHED:
        raise unknown("variable", name, [str(v) for v in data.variables])
    return name if name in data.data_vars and set(data[name].dims) <= set(ours.dims) else None


def selection(data: xr.DataArray | xr.Dataset) -> str:
    """What a selection left behind: the scalar coordinates, "resource = memory, batch = 4"; "" where there are none.

    >>> import xarray as xr
    >>> share = xr.DataArray([0.9, 0.7], {"resource": ["array", "memory"]}, ("resource",))
    >>> selection(share), selection(share.sel(resource="memory"))
    ('', 'resource = memory')
    """
    parts = []
    for name, coord in data.coords.items():
        value = coord.item() if coord.ndim == 0 else None
        if isinstance(value, bool) or value is None or value == "" or value != value:  # the last: NaN
            continue
        what, unit = name_and_unit(coord)
        text = number_text(value, unit) if isinstance(value, int | float) else str(value)
        parts.append(f"{what or str(name)} = {text}")
    return ", ".join(parts)


def title_of(data: xr.DataArray | xr.Dataset, width: float) -> str:
    """The data's title and what was selected of them, in lines that fit a figure of that width (inches)."""
    title, chosen = str(data.attrs.get("title", "")), selection(data)
    whole = f"{title} ({chosen})" if title and chosen else title or chosen
    return "\n".join(textwrap.wrap(whole, int(11 * width)))


def set_title(ax: Axes, data: xr.DataArray | xr.Dataset) -> None:
    """Give the axes the data's title and selection, where the data have any and the axes no title."""
    figure = ax.get_figure(root=True)
    title = title_of(data, figure.get_figwidth() if figure is not None else 6.6)
    if title and not ax.get_title(loc="left"):
        ax.set_title(title, loc="left")


def text_labels(data: xr.DataArray, dim: str) -> list[str]:
    """Return the labels along a dimension as text; 0, 1, 2 ... where it has no coordinate."""
    return [str(v) for v in (data[dim].values if dim in data.coords else range(data.sizes[dim]))]


def bare_numbers(labels: Sequence[str]) -> bool:
    """Whether labels are numbers alone, which say nothing without the name of their dimension.

    >>> bare_numbers(["1", "3", "5"]), bare_numbers(["B4", "2"]), bare_numbers([])
    (True, False, False)
    """
    return bool(labels) and all(re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", label) for label in labels)


def reading_errors(data: xr.Dataset, published: str) -> NDArray[np.float64]:
    """Return the reading error of each published value, 0 where none is known.

    From the variable "<published>_error", else "reading_error", else the attribute of that name (absolute) or
    "reading_rtol" (relative).
    """
    values = variable(data, published)
    for name in (f"{published}_error", "reading_error"):
        if name in data.variables:
            same = data[name].broadcast_like(values).transpose(*values.dims)
            return cast("NDArray[np.float64]", np.nan_to_num(np.asarray(same, dtype=float)))
    absolute = float(values.attrs.get("reading_error", 0.0))
    relative = float(values.attrs.get("reading_rtol", 0.0))
    return cast("NDArray[np.float64]", np.abs(np.asarray(values, dtype=float)) * relative + absolute)


def hollow(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    colour: str = INK,
    xerr: ArrayLike | None = None,
    yerr: ArrayLike | None = None,
    marker: str = "D",
    **style: Any,
) -> ErrorbarContainer:
    """Draw published values: hollow markers with their reading errors."""
    look: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 5, "markerfacecolor": "white"}
    look |= {"markeredgewidth": 1.2, "color": ink(colour), "elinewidth": 1.0, "zorder": 4} | style
    return ax.errorbar(x, y, xerr=_seen(xerr), yerr=_seen(yerr), **look)


def _seen(errors: ArrayLike | None) -> NDArray[np.float64] | None:
    found = None if errors is None else np.asarray(errors, dtype=float)
    return found if found is not None and np.any(found > 0) else None


def hollow_key(name: str = "published", marker: str = "D") -> Line2D:
    """Return a legend entry for published values."""
    look = {"marker": marker, "markersize": 5, "markerfacecolor": "white", "markeredgewidth": 1.2, "color": INK}
    return Line2D([], [], linestyle="none", label=name, **cast("dict[str, Any]", look))


def filled_key(name: str, colour: str, marker: str = "o") -> Line2D:
    """Return a legend entry for model values."""
    return Line2D([], [], linestyle="none", label=name, marker=marker, markersize=6, color=colour)
