"""The explorer of the hybrid: choose a module and a machine; see every choice, the front and what the best saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hetcnn.papers.hybrid.graph import NAMES, NETWORKS, Module, of_paper
from hetcnn.papers.hybrid.machine import Constants, nominal
from hetcnn.papers.hybrid.search import OBJECTIVES, Options, options
from hetcnn.plots.colours import COLOUR, INK, PALETTE
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, named_axis, number_text
from hetcnn.widgets.controls import Choice, Control, Real, Value, Whole
from hetcnn.widgets.machine import Explorer, explorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["draw", "explore", "machine"]


def explore(network: str = "mobilenetv2") -> Explorer:
    """Return the explorer, at an early module of a network and the nominal machine."""
    c = nominal()
    controls: dict[str, Control] = {
        "network": Choice(tuple(NETWORKS), network),
        "module": _module_control,
        "objective": Choice(OBJECTIVES, "product", "least"),
        "bits": Whole(6, 16, int(c.bits), label="bits on the FPGA"),
        "alms": Real(20e3, 400e3, float(c.alms), 10e3, label="ALMs"),
        "clock": Real(55.0, 300.0, float(c.fpga_clock) / 1e6, 5.0, label="FPGA clock (MHz)"),
        "link": Real(0.5, 16.0, float(c.link_bandwidth) / 1e9, 0.1, label="link (GB/s)"),
        "set_up": Real(1.0, 100.0, float(c.set_up) * 1e6, 1.0, label="set-up of a transfer (µs)"),
        "launch": Real(5.0, 60.0, float(c.gpu_launch) * 1e6, 1.0, label="GPU launch (µs)"),
    }
    return explorer(draw, controls)


def _module_control(values: Mapping[str, Value]) -> Choice:
    names = tuple(m.name for m in of_paper(str(values["network"])))
    return Choice(names, names[2])  # the first ones have few choices


def machine(*, bits: int, alms: float, clock: float, link: float, set_up: float, launch: float) -> Constants:
    """Return the nominal machine with these numbers: MHz, GB/s and microseconds as on the controls."""
    c = nominal()
    return c.changed(
        fpga_word=bits / 8,
        alms=alms,
        fpga_clock=clock * 1e6,
        link_bandwidth=link * 1e9,
        fpga_launch=set_up * 1e-6,
        link_latency=0.0,
        gpu_launch=launch * 1e-6,
    )


@styled
def draw(network: str, module: str, objective: str, **given: Any) -> NDArray[Any]:
    """Draw energy against latency of every choice of a module, and what the best one puts on the FPGA.

    `given` are the arguments of `machine`. Returns two axes.
    """
    import matplotlib.pyplot as plt

    chosen = next(m for m in of_paper(network) if m.name == module)
    found = options(chosen, machine(**given))
    best = int(found.best(objective)[0])
    _, panels = plt.subplots(1, 2, figsize=(10.2, 3.8), width_ratios=[1.7, 1])
    _cloud(new_axes(panels[0]), found, best, f"{NAMES[network]} {module}")
    _layers(new_axes(panels[1]), chosen, found, best)
    return cast("NDArray[Any]", panels)


def _cloud(ax: Axes, found: Options, best: int, title: str) -> None:
    shown = np.isfinite(found.energy[0])
    latency, energy = found.latency[0, shown], found.energy[0, shown]
    gpu = float(found.gpu_latency[0]), float(found.gpu_energy[0])
    ax.plot(latency, energy, ".", color=COLOUR["link"], markersize=4, zorder=2, label="a choice")
    front = found.front()
    ax.plot(found.latency[0, front], found.energy[0, front], "-", color=PALETTE[0], zorder=3, label="Pareto front")
    ax.plot(*gpu, "s", color=COLOUR["gpu"], markersize=8, zorder=4, label="GPU alone")
    mine = float(found.latency[0, best]), float(found.energy[0, best])
    ax.plot(*mine, "o", color=COLOUR["fpga"], markersize=9, zorder=5, label="best")
    top = np.array([2.2 * gpu[0], 2.2 * gpu[1]])
    ax.set_xlim(0, min(1.1 * max(latency.max(), gpu[0]), top[0]))
    ax.set_ylim(0, min(1.1 * max(energy.max(), gpu[1]), top[1]))
    linear_axis(ax.xaxis, [gpu[0]], "latency", "s")
    linear_axis(ax.yaxis, [gpu[1]], "energy", "J")
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=4)
    saved = [100 * (1 - a / b) for a, b in zip(mine, gpu, strict=True)]
    ax.set_title(f"{title}: latency {-saved[0]:+.0f} %, energy {-saved[1]:+.0f} %", loc="left")


def _layers(ax: Axes, module: Module, found: Options, best: int) -> None:
    names = [module.nodes[i].name.rpartition("/")[2] for i in module.major]
    shares = 100 * found.shares[best]
    rows = np.arange(len(names), dtype=float)
    ax.barh(rows, shares, 0.6, color=COLOUR["fpga"], zorder=2)
    ax.barh(rows, 100 - shares, 0.6, left=shares, color=COLOUR["gpu"], zorder=2)
    named_axis(ax.yaxis, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    linear_axis(ax.xaxis, [100], "filters on the FPGA", "%")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    moved = number_text(float(found.moved[0, best]), "B")
    used = f"{found.alms[0, best]:,.0f} ALMs, {found.m20k[0, best]:.0f} M20K, {moved} moved"
    ax.set_title(used, loc="left", color=INK)
