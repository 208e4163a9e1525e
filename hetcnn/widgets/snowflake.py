"""The explorer of Snowflake: choose layer, mode, loop order and buffers; see time and traffic beside the compiler's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from hetcnn import zoo
from hetcnn.errors import unknown
from hetcnn.papers.snowflake import NETWORKS, choices, machine, parse
from hetcnn.papers.snowflake.choose import Candidate
from hetcnn.papers.snowflake.tasks import Task
from hetcnn.plots.colours import COLOUR, PALETTE
from hetcnn.plots.labels import legend
from hetcnn.plots.published import filled_key
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, named_axis
from hetcnn.widgets.controls import Choice, Control, Value, Whole
from hetcnn.widgets.machine import Explorer, explorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["design", "draw", "explore"]

_MODES = {"best": None, "cooperative": "coop", "independent": "indep"}
_ORDERS = {"best": None, "maps stay": "maps", "kernels stay": "weights"}


@cache
def _layers(network: str) -> dict[str, Task]:
    return {t.name: t for t in parse(zoo.load(network)) if t.kind == "conv"}


def explore(network: str = "alexnet", layer: str = "conv2") -> Explorer:
    """Return the explorer of one layer of a network."""
    if layer not in _layers(network):
        raise unknown(f"convolution of {network}", layer, _layers(network))

    def layers(values: Mapping[str, Value]) -> Choice:
        names = tuple(_layers(str(values["network"])))
        return Choice(names, layer if layer in names else names[0])

    controls: dict[str, Control] = {
        "network": Choice(NETWORKS, network),
        "layer": layers,
        "mode": Choice(tuple(_MODES)),
        "order": Choice(tuple(_ORDERS), label="loop order"),
        "maps": Whole(32, 256, 128, step=16, label="maps buffer of a unit (KiB)"),
        "weights": Whole(4, 32, 16, step=2, label="weights buffer of a vMAC (KiB)"),
    }
    return explorer(draw, controls)


def design(
    network: str, layer: str, mode: str = "best", order: str = "best", maps: int = 128, weights: int = 16
) -> Candidate | None:
    """Return the cheapest plan of a layer with buffers in KiB, or None if none fits; refuse unknown names."""
    for what, name, known in (
        (f"convolution of {network}", layer, _layers(network)),
        ("mode", mode, _MODES),
        ("loop order", order, _ORDERS),
    ):
        if name not in known:
            raise unknown(what, name, known)
    on = machine(bank=maps * 1024 // 4, weights=weights * 1024 // 2)
    found = choices(_layers(network)[layer], mode=cast(Any, _MODES[mode]), order=cast(Any, _ORDERS[order]), on=on)
    return found[0] if found else None


@styled
def draw(
    network: str, layer: str, mode: str = "best", order: str = "best", maps: int = 128, weights: int = 16
) -> NDArray[Any]:
    """Draw time and traffic of a layer's plan beside the plan that the compiler takes on the ZC706: two axes."""
    import matplotlib.pyplot as plt

    mine, usual = design(network, layer, mode, order, maps, weights), design(network, layer)
    _, panels = plt.subplots(1, 2, figsize=(10.4, 2.6))
    rows = {"compiler, ZC706": usual, "this plan": mine}
    _times(new_axes(panels[0]), rows)
    _traffic(new_axes(panels[1]), rows)
    panels[0].set_title(f"{network}, {layer}: {_words(mine)}")
    return cast("NDArray[Any]", panels)


def _words(plan: Candidate | None) -> str:
    if plan is None:
        return "no plan fits"
    p = plan.plan
    stays = "maps stay" if p.order == "maps" else "kernels stay"
    tiles = f"{len(p.tiles)} tile{'s' if len(p.tiles) > 1 else ''}"
    return f"{'cooperative' if p.mode == 'coop' else 'independent'}, {stays}, {tiles}"


def _times(ax: Axes, rows: Mapping[str, Candidate | None]) -> None:
    clock, most = machine().clock, 0.0
    for row, (name, found) in enumerate(rows.items()):
        if found is None:
            continue
        parts = (found.estimate.cycles / clock, found.estimate.memory_cycles / clock)
        for offset, value, key in ((-0.18, parts[0], "compute"), (0.18, parts[1], "memory")):
            colour = (PALETTE[0] if key == "compute" else PALETTE[1]) if name == "this plan" else COLOUR["link"]
            ax.barh(row + offset, value, 0.32, color=colour, zorder=2)
            ax.annotate(key, (value, row + offset), (4, 0), textcoords="offset points", va="center", fontsize=8)
        most = max(most, *parts)
    _finish(ax, list(rows), 1.25 * most, "time", "s")


def _traffic(ax: Axes, rows: Mapping[str, Candidate | None]) -> None:
    kinds = {"weights": PALETTE[1], "maps read": PALETTE[0], "maps written": PALETTE[2]}
    most = 0.0
    for row, found in enumerate(rows.values()):
        if found is None:
            continue
        e, left = found.estimate, 0.0
        for value, colour in zip((e.weights, e.maps_in, e.maps_out), kinds.values(), strict=True):
            ax.barh(row, value, 0.6, left=left, color=colour, zorder=2)
            left += value
        most = max(most, left)
    _finish(ax, [""] * len(rows), 1.05 * most, "traffic", "B")
    legend(ax, [filled_key(name, colour, "s") for name, colour in kinds.items()])


def _finish(ax: Axes, names: list[str], most: float, label: str, unit: str) -> None:
    named_axis(ax.yaxis, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, most or 1.0)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    linear_axis(ax.xaxis, [most or 1.0], label, unit)
