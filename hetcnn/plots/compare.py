"""Model beside published values: the parity plot, and dots or bars by network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.plots.colours import INK, PALETTE, series_colours
from hetcnn.plots.labels import legend
from hetcnn.plots.points import Label, point_labels
from hetcnn.plots.published import (
    PUBLISHED,
    bare_numbers,
    filled_key,
    find_published,
    hollow,
    hollow_key,
    main_variable,
    reading_errors,
    set_title,
    text_labels,
    variable,
)
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, log_axis, log_log, name_and_unit, named_axis

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["bars", "parity"]

_GOOD = ("exact", "reproduced")


@styled
def parity(
    data: xr.Dataset | Sequence[Mapping[str, Any]],
    *,
    model: str | None = None,
    published: str = PUBLISHED,
    verdict: str = "verdict",
    hue: str | None = None,
    band: float = 0.10,
    ax: Axes | None = None,
) -> Axes:
    """Draw model against published values on a square log-log plot with the band of agreement.

    `data` is a dataset, or the claims of a scorecard. With a variable `verdict`, points that are exact or reproduced
    are filled and the others hollow; the worst points outside the band are named. `hue` is a dimension or coordinate
    that colours the points. Zeros, negative numbers and gaps have no place on a logarithmic axis and are left out.
    """
    table = _claims_table(data) if isinstance(data, Sequence) else data
    ours = variable(table, model or main_variable(table))
    published = find_published(table, published, ours) or published
    points = _points(table, str(ours.name), published, verdict, hue)
    if not len(points.x):
        raise HetcnnError(f"parity: the model and '{published}' share no positive values")
    ax = new_axes(ax, (5.6, 4.8))
    _diagonal(ax, np.concatenate([points.x, points.y]), band)
    groups = list(dict.fromkeys(points.group))
    colours = series_colours(groups) if hue else [PALETTE[0]]
    for group, colour in zip(groups, colours, strict=True):
        _scatter(ax, points, np.array([g == group for g in points.group]), colour)
    name, unit = name_and_unit(variable(table, published))
    name = name.removesuffix("published").rstrip(" ,")
    log_log(ax, (f"published {name}".rstrip(), unit), (f"model {name}".rstrip(), unit))
    point_labels(ax, list(zip(points.x, points.y, strict=True)), _worst(points, band))
    keys = [filled_key(n, c) for n, c in zip(groups, colours, strict=True)] if hue else []
    if not points.good.all():
        keys += [filled_key("reproduced", INK), hollow_key("not reproduced", "o")]
    legend(ax, keys)
    set_title(ax, table)
    return ax


class _Points(NamedTuple):
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    errors: NDArray[np.float64]
    good: NDArray[np.bool_]
    group: list[str]
    name: list[str]


def _points(data: xr.Dataset, model: str, published: str, verdict: str, hue: str | None) -> _Points:
    theirs = variable(data, published)
    errors = reading_errors(data, published).ravel()

    def flat(name: str) -> NDArray[Any]:
        return np.asarray(variable(data, name).broadcast_like(theirs).transpose(*theirs.dims)).ravel()

    x, y = theirs.values.astype(float).ravel(), flat(model).astype(float)
    shown = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    good = np.isin(flat(verdict).astype(str), _GOOD) if verdict in data.variables else np.full(x.shape, True)
    groups = flat(hue).astype(str) if hue else np.full(x.shape, "")
    labels = [text_labels(theirs, str(d)) for d in theirs.dims]
    names = np.array([" ".join(parts) for parts in itertools.product(*labels)], dtype=object)
    return _Points(x[shown], y[shown], errors[shown], good[shown], list(groups[shown]), list(names[shown]))


def _claims_table(claims: Sequence[Mapping[str, Any]]) -> xr.Dataset:
    """The claims of scorecard.json that compare two numbers, as a dataset over their ids."""
    import xarray as xr

    numbers = [c for c in claims if all(isinstance(c[k], int | float) for k in ("published", "model"))]
    columns = {k: ("claim", [c[k] for c in numbers]) for k in ("published", "model", "verdict", "paper")}
    columns["reading_error"] = ("claim", [float(c.get("reading_error") or 0.0) for c in numbers])
    table = xr.Dataset(columns, coords={"claim": [str(c["id"]) for c in numbers]})
    for name in ("published", "model"):
        table[name].attrs = {"long_name": "value", "units": ""}
    return table


def _scatter(ax: Axes, points: _Points, here: NDArray[np.bool_], colour: str) -> None:
    bar: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 0.9, "capsize": 2, "zorder": 2}
    ax.errorbar(points.x[here], points.y[here], xerr=points.errors[here], **bar)
    for mask, face in ((here & points.good, colour), (here & ~points.good, "white")):
        ax.scatter(points.x[mask], points.y[mask], s=30, facecolors=face, edgecolors=colour, linewidths=1.2, zorder=3)


def _diagonal(ax: Axes, values: NDArray[np.float64], band: float) -> None:
    low, high = values.min() / 1.4, values.max() * 1.4
    ends = np.array([low, high])
    ax.fill_between(ends, ends * (1 - band), ends * (1 + band), color="#94a4a2", alpha=0.25, linewidth=0, zorder=0)
    ax.plot(ends, ends, color="#717581", linewidth=0.8, zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_box_aspect(1)
    ax.text(0.97, 0.03, f"band: ±{band:.0%}", transform=ax.transAxes, ha="right", fontsize=8, color="#5c6069")


def _worst(points: _Points, band: float, most: int = 8) -> list[Label]:
    off = np.abs(np.log(points.y / points.x))
    order = [i for i in np.argsort(-off, kind="stable")[:most] if abs(points.y[i] / points.x[i] - 1) > band]
    return [Label(float(points.x[i]), float(points.y[i]), points.name[i], INK) for i in order]


class _Series(NamedTuple):
    name: str
    ours: NDArray[np.float64] | None
    theirs: NDArray[np.float64] | None
    errors: NDArray[np.float64] | None


@styled
def bars(
    data: xr.Dataset,
    *,
    model: str | Sequence[str] | None = None,
    published: str | Sequence[str] | None = PUBLISHED,
    x: str | None = None,
    kind: str = "bar",
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw one group for each entry of a dimension (usually networks): model filled, published hollow.

    `model` and `published` are variables over `x` (the first dimension unless given) and at most one further dimension
    that makes the series of a group; or equally many variables, one pair for each series; or several models beside one
    published value. `kind` is "bar" or "dot"; a logarithmic axis (`log`) has dots, since a bar needs a zero.
    """
    models = [model or main_variable(data)] if model is None or isinstance(model, str) else list(model)
    first = variable(data, models[0])
    theirs = _published_names(data, published, first)
    if len(theirs) > 1 and len(theirs) != len(models):
        raise HetcnnError(f"bars: {len(models)} model and {len(theirs)} published variables; give one or equally many")
    if kind not in ("bar", "dot"):
        raise HetcnnError(f"bars: kind '{kind}'; expected 'bar' or 'dot'")
    dim = x or str(first.dims[0])
    series = _series(data, models, theirs, dim)
    names = text_labels(first, dim)
    ax = new_axes(ax, (9.0, 4.0) if len(names) > 24 else (6.6, 3.8))
    colours = series_colours([s.name for s in series]) if len(series) > 1 else [PALETTE[0]]
    width = 0.8 / len(series)
    for i, (entry, colour) in enumerate(zip(series, colours, strict=True)):
        centres = np.arange(len(names)) + (i - (len(series) - 1) / 2) * width
        _draw_series(ax, entry, centres.astype(float), width, colour, "dot" if log else kind)
    if _is_shared(data, models, theirs, first):
        _draw_shared(ax, data, theirs[0], dim)
    label, unit = name_and_unit(first)
    named_axis(ax.xaxis, names)
    ax.grid(visible=False, axis="x")
    ax.set_xlim(-0.6, len(names) - 0.4)
    if log:
        ax.set_yscale("log")
        log_axis(ax.yaxis, label, unit)
    else:
        linear_axis(ax.yaxis, [float(data[name].max()) for name in models], label, unit)
    marker = "s" if kind == "bar" and not log else "o"
    keys = [filled_key(s.name or "model", c, marker) for s, c in zip(series, colours, strict=True)]
    bare = len(series) > 1 and bare_numbers([s.name for s in series])
    title = next((str(d) for d in first.dims if d != dim), "") if bare else ""
    legend(ax, keys + ([hollow_key()] if theirs else []), title=title)
    set_title(ax, data)
    return ax


def _is_shared(data: xr.Dataset, models: Sequence[str], theirs: Sequence[str], first: xr.DataArray) -> bool:
    """Whether one published value stands for a whole group."""
    return len(theirs) == 1 and (len(models) > 1 or data[theirs[0]].ndim < first.ndim)


def _published_names(data: xr.Dataset, published: str | Sequence[str] | None, ours: xr.DataArray) -> list[str]:
    if published is None or isinstance(published, str):
        found = find_published(data, published, ours)
        return [found] if found else []
    return list(published)


def _series(data: xr.Dataset, models: Sequence[str], theirs: Sequence[str], dim: str) -> list[_Series]:
    paired = len(models) == len(theirs) and not _is_shared(data, models, theirs, variable(data, models[0]))
    found = []
    for i, name in enumerate(models):
        ours = variable(data, name)
        other = [str(d) for d in ours.dims if d != dim]
        if len(other) > 1:
            dims = ", ".join(map(str, ours.dims))
            raise HetcnnError(f"bars: '{name}' has dimensions {dims}; at most two can be drawn")
        published = theirs[i] if paired else None
        groups = (
            [g.replace("_", " ") for g in text_labels(ours, other[0])] if other else [_series_name(ours, len(models))]
        )
        for j, group in enumerate(groups):
            pick = {other[0]: j} if other else {}
            found.append(_Series(group, _pick(data, name, dim, pick), *_pick_published(data, published, dim, pick)))
    return found


def _series_name(ours: xr.DataArray, count: int) -> str:
    return str(ours.attrs.get("short_name") or str(ours.name).replace("_", " ")) if count > 1 else "model"


def _pick(data: xr.Dataset, name: str, dim: str, pick: dict[str, int]) -> NDArray[np.float64]:
    return np.asarray(variable(data, name).isel(pick, missing_dims="ignore").transpose(dim), dtype=float)


def _pick_published(
    data: xr.Dataset, name: str | None, dim: str, pick: dict[str, int]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    if name is None:
        return None, None
    part = data.isel(pick, missing_dims="ignore")
    return np.asarray(variable(part, name).transpose(dim), dtype=float), reading_errors(part, name)


def _draw_series(ax: Axes, entry: _Series, centres: NDArray[np.float64], width: float, colour: str, kind: str) -> None:
    if entry.ours is not None and kind == "bar":
        ax.bar(centres, entry.ours, width * 0.92, color=colour, zorder=2)
    elif entry.ours is not None:
        ax.plot(centres, entry.ours, "o", color=colour, markersize=6, zorder=3)
    if entry.theirs is not None:
        beside = centres if kind == "bar" else centres + min(0.12, width / 3)
        edge = INK if kind == "bar" else colour  # in the bar's own colour it would vanish on the bar
        size = max(2.5, min(5.0, 150 * width / len(centres)))
        hollow(ax, beside, entry.theirs, yerr=entry.errors, colour=edge, markersize=size)


def _draw_shared(ax: Axes, data: xr.Dataset, published: str, dim: str) -> None:
    """One published value for the whole group: a line across it with its marker in the middle."""
    values, errors = _pick_published(data, published, dim, {})
    assert values is not None
    middle = np.arange(len(values), dtype=float)
    ax.hlines(values, middle - 0.43, middle + 0.43, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), zorder=3)
    hollow(ax, middle, values, yerr=errors)
