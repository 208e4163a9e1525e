"""The explorer of a machine: choose network, cut and engines; see stages, predicted and measured throughput."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hetcnn.host import designs
from hetcnn.papers.host.comparison import Comparison, shipped
from hetcnn.plots import gantt
from hetcnn.plots.colours import INK, PALETTE
from hetcnn.plots.published import filled_key, hollow, hollow_key
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis
from hetcnn.widgets.controls import Choice, Control, Value, Whole
from hetcnn.widgets.machine import Explorer, explorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["draw", "explore"]

_ENGINES = {
    "NumPy, NumPy": ("numpy", "numpy"),
    "NumPy, ONNX Runtime": ("numpy", "onnxruntime"),
    "ONNX Runtime, NumPy": ("onnxruntime", "numpy"),
}


def explore(network: str | None = None, comparison: Comparison | None = None) -> Explorer:
    """Return the explorer of a record (the shipped one unless another is given), at the best cut of a network."""
    found = comparison or shipped()
    first = network or found.networks[0]
    start = _best(found, first)

    def cut(values: Mapping[str, Value]) -> Whole:
        count = len(found.cuts(str(values["network"])))
        return Whole(1, count, min(start, count), label="layers with MACs in stage 1")

    def engines(values: Mapping[str, Value]) -> Choice:
        both = str(values["network"]) in found.record.runtime
        return Choice(tuple(_ENGINES) if both else tuple(_ENGINES)[:1], label="engines of the stages")

    controls: dict[str, Control] = {"network": Choice(found.networks, first), "engines": engines, "cut": cut}
    return explorer(lambda **values: draw(found, **values), controls)


def _best(found: Comparison, network: str) -> int:
    cuts = list(found.cuts(network))
    (best,) = designs.best_split(found.kernels(network), found.times(network), cuts)
    return cuts.index(best) + 1


@styled
def draw(found: Comparison, network: str, engines: str, cut: int) -> NDArray[Any]:
    """Draw the frames over the two stages, and the throughput of every cut with the measured ones. Returns two axes."""
    import matplotlib.pyplot as plt

    _, panels = plt.subplots(1, 2, figsize=(9.6, 3.2), width_ratios=[1.4, 1])
    kinds = _ENGINES[engines]
    stages = _stages(found, network, kinds)
    rates = _rates(found, network, kinds, stages)
    mine = stages[cut - 1]
    spans = [f"{kind}, {si}" for kind, si in zip(kinds, ("first stage", "second stage"), strict=True)]
    gantt(mine.tolist(), names=spans, frames=10, until=8 * float(stages.max(axis=1).min()), ax=new_axes(panels[0]))
    panels[0].set_title(f"{network}: {rates[cut - 1]:.3g} frames/s predicted")
    _curve(new_axes(panels[1]), found, network, kinds, rates, cut)
    return cast("NDArray[Any]", panels)


def _stages(found: Comparison, network: str, kinds: tuple[str, ...]) -> NDArray[np.float64]:
    """The times of both stages for every cut, (cuts, 2)."""
    cuts = found.cuts(network)
    rows = designs.engine_rows(
        found.kernels(network), found.times(network), found.record.runtime.get(network, {}), cuts
    )
    return _sides(rows, kinds)


def _sides(rows: NDArray[np.float64], kinds: tuple[str, ...]) -> NDArray[np.float64]:
    """The sums of each engine's row before and after every cut, (cuts, 2)."""
    first, second = (rows[("numpy", "onnxruntime").index(kind)] for kind in kinds)
    return np.stack([np.cumsum(first)[:-1], np.cumsum(second[::-1])[::-1][1:]], axis=1)


def _rates(found: Comparison, network: str, kinds: tuple[str, ...], stages: NDArray[np.float64]) -> list[float]:
    """The predicted frames/s of every cut."""
    calls = _sides(designs.engine_calls(found.kernels(network), found.cuts(network)), kinds)
    return [1 / found.together.interval(*pair) for pair in zip(stages, calls, strict=True)]


def _curve(ax: Axes, found: Comparison, network: str, kinds: tuple[str, ...], rates: list[float], cut: int) -> None:
    ax.plot(range(1, len(rates) + 1), rates, color=PALETTE[0], linewidth=1.4)
    ax.plot([cut], [rates[cut - 1]], "o", color=PALETTE[0], markersize=7)
    place = {c: i + 1 for i, c in enumerate(found.cuts(network))}
    design = "split" if kinds == ("numpy", "numpy") else "mixed"
    runs = [r for r in found.record.runs_of(network, design) if r.engines == kinds and r.cuts]
    measured = [r.rate for r in runs]
    hollow(ax, [place[r.cuts[0]] for r in runs], measured, yerr=[r.spread * r.rate for r in runs], colour=INK)
    linear_axis(ax.xaxis, [1.0], "layers with MACs in the first stage", "")
    linear_axis(ax.yaxis, [*rates, *measured], "throughput", "frames/s")
    ax.legend(handles=[filled_key("predicted", PALETTE[0]), hollow_key("measured")], fontsize=8)
