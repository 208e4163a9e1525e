"""Curves and surfaces: throughput against one split point, and against two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from hetcnn.errors import HetcnnError, unknown
from hetcnn.plots.colours import INK, PALETTE, series_colours
from hetcnn.plots.labels import DIRECT_LABELS, legend, name_series
from hetcnn.plots.published import (
    PUBLISHED,
    as_array,
    bare_numbers,
    find_published,
    hollow,
    hollow_key,
    reading_errors,
    set_title,
    text_labels,
    variable,
)
from hetcnn.plots.style import figure_of, new_axes, styled
from hetcnn.plots.ticks import axis_label, linear_axis, log_axis, name_and_unit, named_axis, number_text, si_scale

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator
    from numpy.typing import NDArray

__all__ = ["lines", "surface"]

Extreme = Literal["max", "min"]
_DASHES = ("-", "--", ":", "-.")


@styled
def lines(
    data: xr.DataArray | xr.Dataset,
    *,
    x: str | None = None,
    y: str | None = None,
    hue: str | None = None,
    published: str | None = PUBLISHED,
    best: Extreme | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw one curve for each entry of `hue`, named at its end; published points are hollow.

    `y` is the variable drawn ("model", or the only one); `x` a dimension, a coordinate or a variable over one or both
    dimensions, so that curves may have abscissae and lengths of their own; `published` a variable of the same
    dimensions, with gaps where nothing is published. `best` marks the largest or smallest point of each curve.
    """
    array = as_array(data, y)
    if x is not None and x not in array.coords and x in getattr(data, "data_vars", ()):
        array = array.assign_coords({x: data[x]})
    published = find_published(data, published, array)
    dim, hue = _axes_of(array, x, hue)
    names = text_labels(array, hue) if hue else [name_and_unit(array)[0]]
    colours = series_colours(names) if hue else [PALETTE[0]]
    bare = name_and_unit(array[hue])[0] if hue and bare_numbers(names) else ""
    if len(names) <= DIRECT_LABELS:
        names, bare = [f"{bare} {name}".lstrip() for name in names], ""
    ax = new_axes(ax, (6.6, 3.8) if len(names) <= 18 else (9.5, 4.4))
    ends, handles = [], []
    marker = _marker(array, hue, x or dim)
    for i, colour in enumerate(colours):
        pick = {hue: i} if hue else {}
        xs, ys = _curve(array.isel(pick), x or dim)
        dashes = _DASHES[i // len(PALETTE) % len(_DASHES)]
        handles += ax.plot(xs, ys, dashes, color=colour, linewidth=1.6, label=names[i], **marker)
        ends.append((float(xs[-1]), float(ys[-1])) if len(xs) else (0.0, 0.0))
        _mark_best(ax, xs, ys, best, colour)
        if published is not None:
            _published(ax, data.isel(pick, missing_dims="ignore"), published, array.isel(pick), x or dim, colour)
    _label_axes(ax, array, x or dim, log)
    set_title(ax, data)
    if published is not None:
        legend(ax, [*handles, hollow_key()], title=bare)
    elif len(names) > 1:
        name_series(ax, ends, names, colours, handles, title=bare)
    return ax


def _marker(array: xr.DataArray, hue: str | None, x: str) -> dict[str, Any]:
    """Dots on all curves or on none: where any curve is of few points, it would be no curve without them."""
    counts = [len(_curve(array.isel({hue: i}) if hue else array, x)[0]) for i in range(array.sizes[hue] if hue else 1)]
    if all(count >= 9 or not count for count in counts):
        return {}
    return {"marker": "o"} if max(counts) < 20 else {"marker": "o", "markersize": 3.5}


def _axes_of(array: xr.DataArray, x: str | None, hue: str | None) -> tuple[str, str | None]:
    """The dimension along the curves and the one across them."""
    dims = [str(d) for d in array.dims]
    if not 1 <= len(dims) <= 2:
        raise HetcnnError(f"lines: '{array.name}' has dimensions {', '.join(dims) or 'none'}; expected one or two")
    for given in (x, hue):
        if given is not None and given not in dims and given not in array.coords:
            raise unknown("dimension", given, [*dims, *map(str, array.coords)])
    if hue is None:
        rest = [d for d in dims if d != x]
        hue = (rest[0] if x in dims else dims[0]) if len(dims) == 2 else None
    return next(d for d in reversed(dims) if d != hue), hue


def _curve(part: xr.DataArray, x: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ys = np.asarray(part, dtype=float)
    numbers = x in part.coords and np.issubdtype(part[x].dtype, np.number)
    xs = np.asarray(part[x], dtype=float) if numbers else np.arange(len(ys), dtype=float)
    keep = np.isfinite(xs) & np.isfinite(ys)
    return xs[keep], ys[keep]


def _mark_best(ax: Axes, xs: NDArray[np.float64], ys: NDArray[np.float64], best: Extreme | None, colour: str) -> None:
    if best and len(ys):
        i = int(np.argmax(ys) if best == "max" else np.argmin(ys))
        ax.plot(xs[i], ys[i], "o", color=colour, markersize=7, markeredgecolor="white", zorder=5)


def _published(ax: Axes, part: Any, published: str, ours: xr.DataArray, x: str, colour: str) -> None:
    theirs = variable(part, published)
    xs, ys = _curve(theirs.assign_coords({x: ours[x]}) if x in ours.coords else theirs, x)
    errors = reading_errors(part, published)[np.isfinite(np.asarray(part[published], dtype=float))]
    hollow(ax, xs, ys, yerr=errors if len(errors) == len(ys) else None, colour=colour)


def _label_axes(ax: Axes, array: xr.DataArray, x: str, log: bool) -> None:
    abscissa = array[x] if x in array.coords else None
    name, unit = name_and_unit(abscissa) if abscissa is not None else (x.replace("_", " "), "")
    if abscissa is not None and not np.issubdtype(abscissa.dtype, np.number):
        named_axis(ax.xaxis, [str(v) for v in abscissa.values])
        ax.set_xlabel(name)
    else:
        linear_axis(ax.xaxis, abscissa if abscissa is not None else [0], name, unit)
    if abscissa is not None and np.issubdtype(abscissa.dtype, np.integer):
        cast("MaxNLocator", ax.xaxis.get_major_locator()).set_params(integer=True)
    name, unit = name_and_unit(array)
    if log:
        ax.set_yscale("log")
        log_axis(ax.yaxis, name, unit)
    else:
        linear_axis(ax.yaxis, array, name, unit)


@styled
def surface(
    data: xr.DataArray | xr.Dataset,
    *,
    x: str | None = None,
    y: str | None = None,
    value: str | None = None,
    published: Mapping[str, float] | None = None,
    best: Extreme = "max",
    ax: Axes | None = None,
) -> Axes:
    """Draw a value over two dimensions as a heat map with contours, its best point marked and named.

    `published` gives the published optimum as {dimension: coordinate} and is drawn hollow. Infeasible points are NaN
    and stay white. `x` and `y` choose the dimensions of the axes, `value` the variable of a dataset.
    """
    array = as_array(data, value)
    if array.ndim != 2:
        raise HetcnnError(f"surface: '{array.name}' has {array.ndim} dimensions; expected 2")
    for given in (x, y):
        if given is not None and given not in array.dims:
            raise unknown("dimension", given, map(str, array.dims))
    x = x or next(str(d) for d in array.dims if d != y)
    y = y or next(str(d) for d in array.dims if d != x)
    array = array.transpose(y, x)
    values = np.ma.masked_invalid(np.asarray(array, dtype=float))
    if values.mask.all():
        raise HetcnnError(f"surface: '{array.name}' has no finite value")
    ax = new_axes(ax, (6.2, 4.4))
    xs, ys = (_coordinate(array, d) for d in (x, y))
    name, unit = name_and_unit(array)
    factor, shown = si_scale(values.compressed(), unit)
    mesh = ax.pcolormesh(xs, ys, values / factor, cmap="viridis", shading="nearest", rasterized=True)
    ax.grid(visible=False)
    bar = figure_of(ax).colorbar(mesh, ax=ax, label=axis_label(name, shown), pad=0.02)
    bar.outline.set_visible(False)
    _contours(ax, xs, ys, values / factor, best)
    row, column = np.unravel_index(np.argmax(values) if best == "max" else np.argmin(values), values.shape)
    at = f"{xs[column]:g}, {ys[row]:g}"
    text = f"best {number_text(float(values[row, column]), unit)}\nat {at}"
    star: dict[str, Any] = {"marker": "*", "markersize": 14, "color": "white", "markeredgecolor": INK}
    ax.plot(xs[column], ys[row], linestyle="none", zorder=5, **star)
    _tag(ax, float(xs[column]), float(ys[row]), text)
    if published is not None:
        _published_point(ax, published, x, y)
    for axis, dim in ((ax.xaxis, x), (ax.yaxis, y)):
        label, dim_unit = name_and_unit(array[dim]) if dim in array.coords else (dim.replace("_", " "), "")
        linear_axis(axis, _coordinate(array, dim), label, dim_unit)
    set_title(ax, data)
    return ax


def _coordinate(array: xr.DataArray, dim: str) -> NDArray[np.float64]:
    values = array[dim].values if dim in array.coords else np.arange(array.sizes[dim])
    if not np.issubdtype(values.dtype, np.number):
        raise HetcnnError(f"surface: coordinate '{dim}' holds {values.dtype}; expected numbers")
    return np.asarray(values, dtype=float)


def _contours(ax: Axes, xs: NDArray[Any], ys: NDArray[Any], values: np.ma.MaskedArray[Any, Any], best: Extreme) -> None:
    """Contours at 95, 90 and 75 % of the best value, or where small is good, at as many times more."""
    if min(values.shape) < 3:
        return
    shares = (0.75, 0.9, 0.95) if best == "max" else (1 / 0.95, 1 / 0.9, 1 / 0.75)
    peak = values.max() if best == "max" else values.min()
    levels = sorted({float(peak * s) for s in shares if values.min() < peak * s < values.max()})
    if levels:
        names = {level: f"{level / peak:.0%}" for level in levels}
        drawn = ax.contour(xs, ys, values, levels=levels, colors="white", linewidths=0.7, alpha=0.9)
        ax.clabel(drawn, fmt=names, fontsize=7)


def _tag(ax: Axes, x: float, y: float, text: str) -> None:
    """A note beside a point, on the side where there is room."""
    (x0, x1), (y0, y1) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    right, top = x > (x0 + x1) / 2, y > (y0 + y1) / 2
    style = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    offset = (-10 if right else 10, -10 if top else 10)
    ha, va = "right" if right else "left", "top" if top else "bottom"
    ax.annotate(text, (x, y), offset, textcoords="offset points", ha=ha, va=va, fontsize=8, bbox=style, zorder=6)


def _published_point(ax: Axes, published: Mapping[str, float], x: str, y: str) -> None:
    missing = [d for d in (x, y) if d not in published]
    if missing:
        raise HetcnnError(f"surface: the published optimum lacks '{missing[0]}'; give {{'{x}': ..., '{y}': ...}}")
    look: dict[str, Any] = {"marker": "D", "markersize": 7, "markerfacecolor": "none", "linestyle": "none", "zorder": 5}
    for colour, width in ((INK, 3.2), ("white", 1.5)):  # a white ring in a dark one shows on every shade
        ax.plot(published[x], published[y], markeredgecolor=colour, markeredgewidth=width, **look)
    handles: Sequence[Any] = [hollow_key("published best")]
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.01))
