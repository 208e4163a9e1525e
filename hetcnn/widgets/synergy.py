"""The explorer of Synergy: choose a network, the clusters, stealing and the memory path; see who works on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from hetcnn.papers.published import number
from hetcnn.papers.synergy.custom import cluster_name
from hetcnn.papers.synergy.designs import DEFAULT, Design, Memory, run
from hetcnn.papers.synergy.figures import speedup
from hetcnn.papers.synergy.fitting import machine
from hetcnn.papers.synergy.machine import NETWORKS
from hetcnn.plots.colours import COLOUR, INK, PALETTE
from hetcnn.plots.published import hollow
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, named_axis
from hetcnn.widgets.controls import Choice, Control, Flag, Whole
from hetcnn.widgets.machine import Explorer, explorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["design", "draw", "explore"]

_TOTAL = tuple(sum(c[k] for c in DEFAULT) for k in range(3))
_INTERVALS = 7  # the time shown, in intervals between frames


def explore(network: str = "cifar_alex") -> Explorer:
    """Return the explorer, at the default clusters with a static mapping."""
    controls: dict[str, Control] = {
        "network": Choice(NETWORKS, network),
        "neon": Whole(0, _TOTAL[0], DEFAULT[0][0], label="NEON threads in Cluster-0"),
        "s_pe": Whole(0, _TOTAL[1], DEFAULT[0][1], label="S-PEs in Cluster-0"),
        "f_pe": Whole(0, _TOTAL[2], DEFAULT[0][2], label="F-PEs in Cluster-0"),
        "stealing": Flag(label="work stealing"),
        "memory": Choice(("multi", "single"), label="MMUs"),
    }
    return explorer(draw, controls)


def design(neon: int, s_pe: int, f_pe: int, stealing: bool = False, memory: Memory = "multi") -> Design:
    """Return the design with these engines in Cluster-0 and the others in Cluster-1; an empty cluster is left out."""
    mine = (neon, s_pe, f_pe)
    rest = tuple(t - m for t, m in zip(_TOTAL, mine, strict=True))
    clusters = tuple(c for c in (mine, (rest[0], rest[1], rest[2])) if any(c))
    return Design(clusters, stealing=stealing, memory=memory)


@styled
def draw(
    network: str, neon: int, s_pe: int, f_pe: int, stealing: bool = False, memory: Memory = "multi"
) -> NDArray[Any]:
    """Draw the first frames of a design over engines and cores, and its speed-up beside other designs.

    Returns two axes.
    """
    import matplotlib.pyplot as plt

    mine = design(neon, s_pe, f_pe, stealing, memory)
    schedule = run(machine(), network, mine, record=True)
    _, panels = plt.subplots(1, 2, figsize=(10.4, 4.6), width_ratios=[2.6, 1])
    left = new_axes(panels[0])
    schedule.gantt(until=_INTERVALS / schedule.rate, ax=left)
    moved = "stealing" if stealing else "static"
    used = 100 * float(schedule.utilisation.mean())
    left.set_title(f"{network} on {cluster_name(mine.clusters)}, {moved}: accelerators used {used:.0f} %")
    values = {
        "this design": speedup(machine(), network, mine),
        "default, static": speedup(machine(), network, Design(stealing=False)),
        "default, stealing": speedup(machine(), network, Design()),
    }
    published = {
        "default, static": number("synergy", f"fig13.{network}.sf"),
        "default, stealing": number("synergy", f"fig13.{network}.synergy"),
    }
    _compare(new_axes(panels[1]), values, published)
    return cast("NDArray[Any]", panels)


def _compare(ax: Axes, values: Mapping[str, float], published: Mapping[str, float]) -> None:
    colours = [PALETTE[0] if name == "this design" else COLOUR["link"] for name in values]
    ax.barh(range(len(values)), list(values.values()), 0.55, color=colours, zorder=2)
    for row, (name, value) in enumerate(values.items()):
        if name in published:
            hollow(ax, [published[name]], [row], colour=INK)
        right = max(value, published.get(name, 0.0))
        ax.annotate(f"{value:.3g}", (right, row), (7, 0), textcoords="offset points", va="center", fontsize=8)
    named_axis(ax.yaxis, list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.set_xlim(0, 1.25 * max(*values.values(), *published.values()))
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    linear_axis(ax.xaxis, [1.0], "speed-up (hollow: published)", "")
