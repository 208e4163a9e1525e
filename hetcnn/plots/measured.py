"""Measured beside predicted: filled is what a model says, hollow with its uncertainty what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hetcnn.plots.colours import INK, PALETTE, series_colours
from hetcnn.plots.labels import legend
from hetcnn.plots.published import filled_key, hollow, hollow_key, set_title, text_labels, variable
from hetcnn.plots.rooflines import roofline_plot
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, log_axis, log_log, name_and_unit, named_axis

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from hetcnn.platform import Platform

__all__ = ["designs", "layer_roofline", "predicted_layers"]

WIDE = 30
"""From this ratio of the greatest to the least value on, the axis is logarithmic."""


@styled
def designs(data: xr.Dataset, *, x: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw `predicted` filled and `measured` hollow with its error bars, over one or two dimensions.

    `x` is the first dimension unless given; the other one, if there is one, makes the series.
    """
    rate = variable(data, "predicted")
    dim = x or str(rate.dims[0])
    other = next((str(d) for d in rate.dims if d != dim), None)
    names = text_labels(rate, dim)
    series = text_labels(rate, other) if other else [""]
    ax = new_axes(ax, (9.0, 4.0) if len(names) * len(series) > 24 else (6.6, 3.8))
    if not names:
        ax.text(0.5, 0.5, "nothing of the kind was measured", transform=ax.transAxes, ha="center")
        return ax
    colours = series_colours(series) if other else [PALETTE[0]]
    for k, colour in enumerate(colours):
        pick = {other: k} if other else {}
        at = np.arange(len(names)) + 0.18 * (k - (len(series) - 1) / 2)
        ours, theirs, error = (
            np.asarray(variable(data, name).isel(pick).transpose(dim), float)
            for name in ("predicted", "measured", "measured_error")
        )
        ax.plot(at, ours, "o", color=colour, markersize=5, zorder=3)
        hollow(ax, at + 0.05, theirs, yerr=error, colour=colour if other else INK)
    label, unit = name_and_unit(rate)
    named_axis(ax.xaxis, names)
    ax.grid(visible=False, axis="x")
    top = [float(data[name].max()) for name in ("predicted", "measured")]
    lows = [float(data[name].min()) for name in ("predicted", "measured")]
    if max(top) > WIDE * min(lows) > 0:
        ax.set_yscale("log")
        log_axis(ax.yaxis, label.replace("predicted ", ""), unit)
    else:
        linear_axis(ax.yaxis, top, label.replace("predicted ", ""), unit)
    keys = [filled_key(name or "predicted", colour) for name, colour in zip(series, colours, strict=True)]
    legend(ax, [*keys, hollow_key("measured")])
    set_title(ax, data)
    return ax


@styled
def predicted_layers(
    data: xr.Dataset, *, model: str = "tape", hue: str = "kind", band: float = 0.10, ax: Axes | None = None
) -> Axes:
    """Draw predicted over measured time of every layer, log-log, with the band of agreement; `hue` colours the dots."""
    measured, predicted = (np.asarray(variable(data, name), float) for name in ("measured", model))
    groups = np.asarray(variable(data, hue)).astype(str)
    names = list(dict.fromkeys(groups))
    ax = new_axes(ax, (5.0, 4.4))
    ends = np.array([min(measured.min(), predicted.min()) / 1.5, max(measured.max(), predicted.max()) * 1.5])
    ax.fill_between(ends, ends * (1 - band), ends * (1 + band), color="#94a4a2", alpha=0.25, linewidth=0, zorder=0)
    ax.plot(ends, ends, color="#717581", linewidth=0.8, zorder=1)
    colours = series_colours(names)
    for name, colour in zip(names, colours, strict=True):
        here = groups == name
        xerr = np.asarray(variable(data, "measured_error"), float)[here]
        ax.errorbar(measured[here], predicted[here], xerr=xerr, fmt="o", color=colour, markersize=4, elinewidth=0.8)
    log_log(ax, ("measured time", "s"), name_and_unit(variable(data, model)))
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    legend(ax, [filled_key(name, colour) for name, colour in zip(names, colours, strict=True)])
    set_title(ax, data)
    return ax


@styled
def layer_roofline(data: xr.Dataset, board: Platform, *, device: str = "core-1", ax: Axes | None = None) -> Axes:
    """Draw every layer's measured rate over its arithmetic intensity under the measured roof of one core.

    `data` has `measured` (s), `ops`, `bytes` and `kind` over the layers, `board` the device with its peak and memory.
    """
    ops, size, time = (np.asarray(variable(data, name), float) for name in ("ops", "bytes", "measured"))
    rates = board.bandwidths(device)
    labels = text_labels(data["measured"], "layer")
    kinds = [str(kind) for kind in np.asarray(data["kind"])]
    peak = board.device(device).peak_ops
    ax = roofline_plot(peak, rates, ops / size, ops / time, labels=labels, kinds=kinds, weights=time, ax=ax)
    set_title(ax, data)
    return ax
