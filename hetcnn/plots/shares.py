"""Tables drawn as pictures: a heat map of prediction errors, and bars of time shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.plots.colours import INK, PALETTE, on, series_colours
from hetcnn.plots.labels import legend
from hetcnn.plots.published import (
    PUBLISHED,
    as_array,
    bare_numbers,
    find_published,
    set_title,
    text_labels,
    title_of,
    variable,
)
from hetcnn.plots.style import figure_of, new_axes, styled
from hetcnn.plots.ticks import axis_label, linear_axis, name_and_unit, named_axis

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["errors", "stacked"]


@styled
def errors(
    data: xr.DataArray | xr.Dataset,
    *,
    model: str | None = None,
    published: str | None = PUBLISHED,
    rows: str | None = None,
    ax: Axes | None = None,
) -> Axes | NDArray[Any]:
    """Draw errors (or any table) as a heat map with the number in each cell; one row for each network.

    `rows` is the dimension down the side (the first unless given); the others are columns, joined by blanks. Where the
    dataset has `published`, return two axes, ours left and the published ones right in the same colours.
    """
    array = as_array(data, model)
    published = find_published(data, published, array)
    names = [array] if published is None else [array, variable(_dataset(data), published)]
    tables = [_table(a, rows or str(array.dims[0])) for a in names]
    top = max(float(np.nanmax(t[0])) for t in tables if np.isfinite(t[0]).any())
    if ax is not None and len(tables) > 1:
        raise HetcnnError("errors: two panels do not fit one pair of axes; leave out 'ax', or say published=None")
    panels = [new_axes(ax, _size(tables[0]))] if len(tables) == 1 else _pair(_size(tables[0]))
    for i, (panel, (values, row_names, columns)) in enumerate(zip(panels, tables, strict=True)):
        mesh = _heat(panel, values, top)
        named_axis(panel.xaxis, columns, np.arange(len(columns)) + 0.5)
        side = row_names if i == 0 else [""] * len(row_names)
        named_axis(panel.yaxis, side, np.arange(len(side)) + 0.5)
        _say_what_numbers_are(panel, names[i], rows or str(array.dims[0]), (columns, side))
        if len(tables) > 1:
            panel.set_title(("ours", "published")[i], fontweight="normal")
        else:
            set_title(panel, data)
    bar = figure_of(panels[0]).colorbar(mesh, ax=panels, label=axis_label(*name_and_unit(array)), pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    if len(tables) > 1 and (title := title_of(data, figure_of(panels[0]).get_figwidth())):
        style: dict[str, Any] = {"x": 0.005, "ha": "left", "fontsize": 10, "fontweight": "bold"}
        figure_of(panels[0]).suptitle(title, **style)
    return panels[0] if len(panels) == 1 else np.array(panels, dtype=object)


def _say_what_numbers_are(ax: Axes, array: xr.DataArray, rows: str, labels: tuple[list[str], list[str]]) -> None:
    """Name the dimension of an axis whose labels are numbers alone."""
    other = [str(d) for d in array.dims if d != rows]
    if len(other) == 1 and bare_numbers(labels[0]):
        ax.set_xlabel(axis_label(*name_and_unit(array[other[0]])))
    if bare_numbers(labels[1]):
        ax.set_ylabel(axis_label(*name_and_unit(array[rows])))


def _dataset(data: xr.DataArray | xr.Dataset) -> xr.Dataset:
    import xarray as xr

    if isinstance(data, xr.DataArray):
        raise HetcnnError("errors: published values need a dataset that holds them; got one array")
    return data


def _table(array: xr.DataArray, rows: str) -> tuple[NDArray[np.float64], list[str], list[str]]:
    other = [d for d in array.dims if d != rows]
    if not other:
        return np.asarray(array, dtype=float)[:, None], text_labels(array, rows), [name_and_unit(array)[0]]
    names = text_labels(array, str(other[0]))
    for dim in other[1:]:
        names = [f"{a} {b}" for a in names for b in text_labels(array, str(dim))]
    values = np.asarray(array.transpose(rows, *other), dtype=float)
    return values.reshape(len(values), -1), text_labels(array, rows), names


def _size(table: tuple[NDArray[np.float64], list[str], list[str]]) -> tuple[float, float]:
    rows, columns = table[0].shape
    return min(2.8 + 0.5 * columns, 9.0), min(1.3 + 0.34 * rows, 9.0)


def _pair(size: tuple[float, float]) -> list[Axes]:
    import matplotlib.pyplot as plt

    _, panels = plt.subplots(1, 2, figsize=(min(2 * size[0] - 1.5, 11.0), size[1]))
    return [new_axes(p) for p in panels]


def _heat(ax: Axes, values: NDArray[np.float64], top: float) -> Any:
    import matplotlib as mpl

    cmap = mpl.colormaps["Blues"]
    full = 1.25 * top or 1.0
    cells = np.ma.masked_invalid(values)
    mesh = ax.pcolormesh(cells, cmap=cmap, vmin=0, vmax=full, edgecolors="white", linewidth=1)
    ax.invert_yaxis()
    ax.set_xlim(0, values.shape[1])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    if values.shape[0] <= 30 and values.shape[1] <= 16:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                shade = mpl.colors.to_hex(cmap(value / full))
                style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": on(shade)}
                ax.text(column + 0.5, row + 0.5, f"{value:.1f}", **style)
    return mesh


@styled
def stacked(
    data: xr.DataArray | xr.Dataset,
    *,
    model: str | None = None,
    published: str | None = PUBLISHED,
    parts: str | None = None,
    share: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one horizontal bar for each network, stacked from the entries of `parts` (the last dimension unless given).

    With `share` the parts are per cent of their sum. Where the dataset has `published`, a second, hollow bar below each
    holds those.
    """
    array = as_array(data, model)
    if array.ndim != 2:
        raise HetcnnError(f"stacked: '{array.name}' has {array.ndim} dimensions; expected networks and parts")
    parts = parts or str(array.dims[-1])
    rows = next(str(d) for d in array.dims if d != parts)
    names, kinds = text_labels(array, rows), text_labels(array, parts)
    published = find_published(data, published, array)
    ax = new_axes(ax, (6.6, min(1.2 + (0.62 if published else 0.42) * len(names), 10.0)))
    colours = series_colours(kinds)
    places = np.arange(len(names), dtype=float)
    height = 0.4 if published else 0.72
    ours = _parts(array, rows, parts, share)
    _stack(ax, places - (0.21 if published else 0), ours, height, colours, filled=True)
    if published is not None:
        theirs = _parts(variable(_dataset(data), published), rows, parts, share)
        _stack(ax, places + 0.21, theirs, height, colours, filled=False)
    named_axis(ax.yaxis, names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    name, unit = name_and_unit(array)
    if share:
        linear_axis(ax.xaxis, [100], name, "%")
        ax.set_xlim(0, 100)
    else:
        linear_axis(ax.xaxis, ours.sum(axis=1), name, unit)
        ax.set_xlim(left=0)
    legend(ax, _keys(kinds, colours, published is not None))
    set_title(ax, data)
    return ax


def _parts(array: xr.DataArray, rows: str, parts: str, share: bool) -> NDArray[np.float64]:
    values = np.nan_to_num(np.asarray(array.transpose(rows, parts), dtype=float))
    if (values < 0).any():
        raise HetcnnError(f"stacked: '{array.name}' holds negative parts; a stack needs numbers from 0 up")
    total = values.sum(axis=1, keepdims=True)
    return np.asarray(100 * values / np.where(total > 0, total, 1) if share else values)


def _stack(
    ax: Axes, places: NDArray[Any], values: NDArray[np.float64], height: float, colours: list[str], *, filled: bool
) -> None:
    left = np.zeros(len(values))
    longest = values.sum(axis=1).max() or 1.0
    for column, colour in zip(values.T, colours, strict=True):
        face, edge = (colour, "white") if filled else ("white", colour)
        style: dict[str, Any] = {"color": face, "edgecolor": edge, "linewidth": 0.8 if filled else 1.4, "zorder": 2}
        some = column > 0  # a bar of no length would still draw its edge
        ax.barh(places[some], column[some], height if filled else height * 0.8, left=left[some], **style)
        for place, start, value in zip(places, left, column, strict=True):
            if value > 0.07 * longest and len(values) <= 20:
                text = on(colour) if filled else INK
                note: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5, "color": text, "zorder": 3}
                ax.text(start + value / 2, place, f"{value:.3g}", **note)
        left = left + column


def _keys(kinds: list[str], colours: list[str], published: bool) -> list[Any]:
    from matplotlib.patches import Patch

    keys = [Patch(facecolor=c, label=k) for k, c in zip(kinds, colours, strict=True)]
    if published:
        keys.append(Patch(facecolor="white", edgecolor=PALETTE[8], linewidth=1.4, label="published"))
    return keys
