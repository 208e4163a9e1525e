"""The explorer of Pipe-it: choose network, cores and split points; see stages, throughput and energy move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hetcnn import partition
from hetcnn.papers.pipeit.layers import NETWORKS, layer_table
from hetcnn.papers.pipeit.search import Configuration, Stage, parse_pipeline, pipelines
from hetcnn.papers.pipeit.tables import TIMES, Design, Times, best_design, layer_times
from hetcnn.papers.published import number
from hetcnn.plots import gantt
from hetcnn.plots.colours import COLOUR, INK, PALETTE
from hetcnn.plots.published import hollow
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, named_axis
from hetcnn.widgets.controls import Choice, Control, Flag, Value, Whole
from hetcnn.widgets.machine import Explorer, explorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["design", "draw", "explore"]

_NAMES = tuple("-".join(map(str, p)) for p in pipelines())
_MOST_SPLITS = 7
_FRAMES = 24
_INTERVALS = 9  # the time shown, in intervals of the optimum


def explore(network: str = "resnet50", pipeline: str = "B4-s2-s2", times: Times = "derived") -> Explorer:
    """Return the explorer, at the best split of one pipeline; `times` are "derived" or "predicted" layer times."""
    controls: dict[str, Control] = {
        "network": Choice(NETWORKS, network),
        "times": Choice(TIMES, times, "layer times"),
        "pipeline": Choice(_NAMES, pipeline),
        "best": Flag(label="split at the optimum"),
    }
    start = design(network, times, pipeline).configuration.cuts
    for i in range(1, _MOST_SPLITS + 1):
        controls[f"split_{i}"] = _split_control(i, start[i - 1] if i <= len(start) else 0)
    return explorer(draw, controls)


def _split_control(i: int, start: int) -> Callable[[Mapping[str, Value]], Whole]:
    """The slider of the last layer of stage i; every stage keeps at least one layer."""

    def control(values: Mapping[str, Value]) -> Whole:
        stages = parse_pipeline(str(values["pipeline"]))
        layers = len(layer_table(str(values["network"])))
        if i >= len(stages):
            return Whole(0, layers, shown=False)
        low = int(values[f"split_{i - 1}"]) + 1 if i > 1 else 1
        high = layers - (len(stages) - i)
        name = f"last layer of stage {i} ({stages[i - 1]})"
        return Whole(low, high, min(max(start, low), high), label=name, shown=not values["best"])

    return control


def design(network: str, times: Times, pipeline: str, splits: tuple[int, ...] | None = None) -> Design:
    """Return a pipeline split after the given layers (counted from 1), or at its best split, with its stage times."""
    stages = parse_pipeline(pipeline)
    matrix = layer_times(network, times)
    if splits is None:
        found = partition.best_contiguous(matrix.rows(stages), empty=False)
        splits = tuple(int(b) for b in found.boundaries[1:-1])
    configuration = Configuration(stages, (0, *splits, len(matrix.layers)))
    return Design(configuration, tuple(matrix.stage_times(configuration).tolist()))


@styled
def draw(network: str, times: Times, pipeline: str, best: bool = False, **splits: int) -> NDArray[Any]:
    """Draw a design's frames over its stages, and its rate and energy beside the search, the optimum and the paper.

    `splits` are split_1, split_2 ...: the last layer of each stage but the last one. Returns three axes.
    """
    import matplotlib.pyplot as plt

    cuts = tuple(splits[f"split_{i}"] for i in range(1, len(parse_pipeline(pipeline))))
    mine = design(network, times, pipeline, None if best else cuts)
    _, panels = plt.subplots(1, 3, figsize=(10.4, 3.4), width_ratios=[2.3, 1, 1])
    _stages(new_axes(panels[0]), network, times, mine)
    others = _others(network, times)
    designs = {
        "four Big cores": others["big"],
        "this design": mine,
        "Algorithm 3": others["search"],
        "optimum": others["optimum"],
    }
    rates = {name: d.throughput for name, d in designs.items()}
    efficiency = {name: d.throughput / d.power(network) for name, d in designs.items()}
    column = "pipeit" if times == "predicted" else "pipeit_measured"
    rate = number("pipeit", f"table4.{network}.{column}")
    _compare(new_axes(panels[1]), rates, rate, ("throughput", "frames/s"), names=True)
    joule = number("pipeit", f"table8.{network}.pipeit.efficiency")
    _compare(new_axes(panels[2]), efficiency, joule, ("frames per joule", "frames/J"), names=False)
    return cast("NDArray[Any]", panels)


def _others(network: str, times: Times) -> dict[str, Design]:
    matrix = layer_times(network, times)
    whole = Configuration((Stage("B", 4),), (0, len(matrix.layers)))
    big = Design(whole, tuple(matrix.stage_times(whole).tolist()))
    search, optimum = (best_design(network, times, how) for how in ("algorithm_3", "optimum"))
    return {"big": big, "search": search, "optimum": optimum}


def _stages(ax: Axes, network: str, times: Times, mine: Design) -> None:
    found = mine.configuration
    spans = [f"{a + 1} to {b}" for a, b in pairwise(found.boundaries)]
    names = [f"{stage}  {span}" for stage, span in zip(found.stages, spans, strict=True)]
    shown = _INTERVALS / best_design(network, times, "optimum").throughput
    gantt(mine.stage_times, names=names, frames=_FRAMES, until=shown, ax=ax)
    slowest = int(np.argmax(mine.stage_times))
    ax.get_yticklabels()[slowest].set_fontweight("bold")
    ax.set_title(f"{network} on {found.name}: {mine.throughput:.3g} frames/s")


def _compare(ax: Axes, values: Mapping[str, float], published: float, label: tuple[str, str], *, names: bool) -> None:
    rows = [*values, "published"]
    colours = [PALETTE[0] if name == "this design" else COLOUR["link"] for name in values]
    ax.barh(range(len(values)), list(values.values()), 0.62, color=colours, zorder=2)
    hollow(ax, [published], [len(values)], colour=INK)
    for row, value in enumerate([*values.values(), published]):
        ax.annotate(f"{value:.3g}", (value, row), (5, 0), textcoords="offset points", va="center", fontsize=8)
    named_axis(ax.yaxis, rows if names else [""] * len(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.25 * max(*values.values(), published))
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    linear_axis(ax.xaxis, [1.0], *label)
