"""Synergy's scheme measured on this machine beside its simulation: which engine works on which layer, when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.plots.colours import INK, PALETTE
from hetcnn.plots.labels import legend
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, named_axis, number_text

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from hetcnn.papers.synergy.live import Live

__all__ = ["live_gantt"]


@styled
def live_gantt(live: Live, mode: str = "stealing", *, until: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the measured run of median makespan over the simulated one, a thin bar below each engine's thick one.

    One row for each engine, one colour for each layer: jobs in a cluster that is not their layer's own were stolen.
    Lines mark the two makespans. The time axis ends at `until` seconds, or with the longest run of either mode, so that
    pictures of both modes have one scale.
    """
    results, schedules = live.results, live.schedules
    engines, layers = ([str(v) for v in results[name].values] for name in ("engine", "layer"))
    colours = dict(zip(layers, (PALETTE[i % len(PALETTE)] for i in range(len(layers))), strict=True))
    ax = new_axes(ax, (7.4, 1.3 + 0.44 * len(engines)))
    ends = {m: (float(live.traces[m].attrs["makespan"]), schedules[m].makespan) for m in schedules}
    limit = until if until is not None else 1.02 * max(end for pair in ends.values() for end in pair)
    _bars(ax, live.traces[mode], engines, colours, -0.14, 0.46, 1.0)
    tasks = schedules[mode].tasks
    _bars(ax, tasks.isel(task=np.flatnonzero(tasks.part.values == "job")), engines, colours, 0.25, 0.22, 0.55)
    measured, simulated = ends[mode]
    for end, style in ((measured, "-"), (simulated, ":")):
        ax.axvline(end, color=INK, linewidth=1.0, linestyle=style, zorder=3)
    homes = [str(v) for v in results.engine_cluster.values]
    named_axis(ax.yaxis, [f"{home} {engine}" for home, engine in zip(homes, engines, strict=True)])
    for row in range(1, len(engines)):
        if homes[row] != homes[row - 1]:
            ax.axhline(row - 0.5, color=INK, linewidth=0.6)
    ax.set_ylim(len(engines) - 0.5, -0.5)
    ax.set_xlim(0, limit)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    linear_axis(ax.xaxis, [limit], "time", "s")
    ax.set_title(
        f"{mode}: measured {number_text(measured, 's')} (thick), simulated {number_text(simulated, 's')} (thin)"
    )
    legend(ax, [ax.barh(0, 0, color=colours[layer]) for layer in layers], layers)
    return ax


def _bars(
    ax: Axes, tasks: xr.Dataset, engines: list[str], colours: dict[str, str], shift: float, height: float, alpha: float
) -> None:
    look: dict[str, Any] = {"alpha": alpha, "edgecolor": "white", "linewidth": 0.4, "zorder": 2}
    rows = np.array([engines.index(str(e)) for e in tasks.engine.values])
    start, width = tasks.start.values, (tasks.finish - tasks.start).values
    for layer, colour in colours.items():
        mine = tasks.layer.values == layer
        ax.barh(rows[mine] + shift, width[mine], height, left=start[mine], color=colour, **look)
