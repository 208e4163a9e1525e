"""Bands: how far results move over a box of assumptions, the published ranges drawn into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.plots.colours import INK, PALETTE
from hetcnn.plots.published import set_title, text_labels, variable
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, name_and_unit, named_axis

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["bands"]

_NEEDED = ("low", "lower_quartile", "median", "upper_quartile", "high", "nominal")


@styled
def bands(data: xr.Dataset, *, share: str | None = "share_met", ax: Axes | None = None) -> Axes:
    """Draw one row for each result: its range over the box, the nominal point filled, the published range hollow.

    `data` has, over one dimension, low, lower_quartile, median, upper_quartile, high, nominal and, where there is a
    published range, published_low and published_high. `share` is a variable in % written at the end of each row.
    """
    values = {name: np.asarray(variable(data, name), float) for name in _NEEDED}
    first = variable(data, "nominal")
    if first.ndim != 1:
        raise HetcnnError(f"bands: 'nominal' has dimensions {', '.join(map(str, first.dims))}; expected one")
    names = text_labels(first, str(first.dims[0]))
    ax = new_axes(ax, (7.4, 1.2 + 0.52 * len(names)))
    rows = np.arange(len(names), dtype=float)
    ax.hlines(rows, values["low"], values["high"], color=PALETTE[0], linewidth=1.2, zorder=2)
    box: dict[str, Any] = {"height": 0.34, "color": PALETTE[0], "alpha": 0.35, "linewidth": 0, "zorder": 2}
    ax.barh(rows, values["upper_quartile"] - values["lower_quartile"], left=values["lower_quartile"], **box)
    ax.vlines(values["median"], rows - 0.17, rows + 0.17, color=PALETTE[0], linewidth=1.6, zorder=3)
    if "published_low" in data and "published_high" in data:
        _published(ax, data, rows)
    ax.plot(values["nominal"], rows, "o", color=PALETTE[0], markersize=6, zorder=5)
    named_axis(ax.yaxis, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    name, unit = name_and_unit(first)
    linear_axis(ax.xaxis, values["high"], name.removesuffix(", nominal"), unit)
    if share is not None and share in data:
        _shares(ax, np.asarray(data[share], float), rows)
    keys = _keys("published_low" in data)
    ax.legend(handles=keys, loc="upper left", bbox_to_anchor=(0.0, -0.17), ncols=len(keys))
    set_title(ax, data)
    return ax


def _published(ax: Axes, data: xr.Dataset, rows: Any) -> None:
    low, high = (np.asarray(data[f"published_{end}"], float) for end in ("low", "high"))
    wide = high > low
    look: dict[str, Any] = {"height": 0.56, "facecolor": "none", "edgecolor": INK, "linewidth": 1.2, "zorder": 4}
    ax.barh(rows[wide], (high - low)[wide], left=low[wide], **look)
    ax.plot(low[~wide], rows[~wide], "D", markersize=6, markerfacecolor="white", markeredgecolor=INK, zorder=4)


def _shares(ax: Axes, shares: Any, rows: Any) -> None:
    for row, value in zip(rows, shares, strict=True):
        text = f"{value:.0f} % of the box" if value >= 1 or value == 0 else "< 1 % of the box"
        style: dict[str, Any] = {"va": "center", "ha": "left", "fontsize": 8, "color": INK}
        ax.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), annotation_clip=False, **style)


def _keys(published: bool) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys: list[Any] = [
        Line2D([], [], linestyle="none", marker="o", color=PALETTE[0], label="nominal"),
        Patch(facecolor=PALETTE[0], alpha=0.35, label="half of the box"),
        Line2D([], [], color=PALETTE[0], linewidth=1.2, label="90 % of the box"),
    ]
    if published:
        keys.append(Patch(facecolor="none", edgecolor=INK, linewidth=1.2, label="published"))
    return keys
