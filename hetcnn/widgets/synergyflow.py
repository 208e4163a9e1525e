"""The explorer of SynergyFlow: choose networks, provisioning and batch; see gain, utilisation and throughput move."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hetcnn.papers.published import number
from hetcnn.papers.synergyflow import division, model
from hetcnn.papers.synergyflow.calibration import CALIBRATED_ON, SIDES, calibrated, nominal
from hetcnn.papers.synergyflow.machine import Machine
from hetcnn.papers.synergyflow.workload import NETWORKS, OTHERS
from hetcnn.plots.colours import COLOUR, INK, PALETTE
from hetcnn.plots.published import hollow
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, log_axis, named_axis
from hetcnn.widgets.controls import Choice, Control, Real
from hetcnn.widgets.machine import Explorer, explorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["draw", "explore"]

_ALONE = "nothing"
_BATCHES = ("1", "2", "4", "8", "16", "32")
_CURVE = np.geomspace(5e-3, 2.0, 120)


def explore(network: str = CALIBRATED_ON) -> Explorer:
    """Return the explorer, at the calibrated hardware."""
    start = round(float(np.log10(nominal().provision)), 2)
    controls: dict[str, Control] = {
        "network": Choice((*NETWORKS, *OTHERS), network),
        "beside": Choice((_ALONE, *NETWORKS, *OTHERS), label="side by side with"),
        "provision": Real(-2.3, 0.3, start, 0.01, "log10 of weights per MAC slot at batch 1"),
        "batch": Choice(_BATCHES),
        "off_chip": Real(0.0, 1.0, 0.0, 0.05, "activations off chip"),
    }
    return explorer(draw, controls)


@styled
def draw(network: str, beside: str, provision: float, batch: str, off_chip: float) -> NDArray[Any]:
    """Draw the gain over the provisioning and the utilisation of array and memory path; returns two axes.

    provision is the logarithm of bandwidth / (word x MAC rate); a batch multiplies it.
    """
    import matplotlib.pyplot as plt

    several = (network,) if beside == _ALONE else (network, beside)
    base = replace(nominal(), off_chip=off_chip)
    machine = replace(base.provisioned_at(10**provision), batch=int(batch))
    _, panels = plt.subplots(1, 2, figsize=(9.6, 3.4), width_ratios=[1.5, 1])
    _curve(new_axes(panels[0]), several, machine)
    _use(new_axes(panels[1]), several, machine)
    return cast("NDArray[Any]", panels)


def _gain(several: tuple[str, ...], machine: Machine) -> float:
    return 100 * (_rigid(several, machine) / model.elastic(several, machine).period - 1)


def _rigid(several: tuple[str, ...], machine: Machine) -> float:
    return sum(model.rigid_seconds(network, machine) for network in several)


def _curve(ax: Axes, several: tuple[str, ...], machine: Machine) -> None:
    """The gain against kappa (batch included) at this batch, and where the machine stands on it."""
    here = _gain(several, machine)
    ax.plot(_CURVE, [_gain(several, machine.provisioned_at(float(k))) for k in _CURVE], color=PALETTE[0], zorder=2)
    ax.plot([machine.provision], [here], "o", color=PALETTE[2], markersize=7, zorder=5)
    if several == (CALIBRATED_ON,):
        published = number("synergyflow", "abstract.alexnet.gain")
        hollow(ax, [calibrated(side).provision for side in SIDES], [published] * len(SIDES), colour=INK)
    ax.set_xscale("log")
    log_axis(ax.xaxis, "weights per MAC slot, kappa", "")
    linear_axis(ax.yaxis, [100.0], "gain of elastic over rigid", "%")
    ax.set_ylim(-3, 105)
    rate = machine.batch / model.elastic(several, machine).period
    ax.set_title(f"{' beside '.join(several)}: {here:.3g} %, {rate:.3g} frames/s each")


def _use(ax: Axes, several: tuple[str, ...], machine: Machine) -> None:
    """Utilisation of array and memory path, rigid in grey, elastic in colour."""
    whole = division.joined([part for network in several for part in model.parts(network, machine)])
    times = {"rigid": _rigid(several, machine), "elastic": model.elastic(several, machine).period}
    colours = {"rigid": COLOUR["link"], "elastic": PALETTE[0]}
    for i, (design, time) in enumerate(times.items()):
        rows = np.arange(2) + 0.38 * (i - 0.5)
        used = [whole.C / time, whole.M / time]
        ax.barh(rows, used, 0.34, color=colours[design], zorder=2)
        for row, value in zip(rows, used, strict=True):
            note = {"textcoords": "offset points", "va": "center", "fontsize": 8}
            ax.annotate(f"{design} {value:.0%}", (value, row), (5, 0), **cast("dict[str, Any]", note))
    named_axis(ax.yaxis, ["array", "memory"])
    ax.set_ylim(1.5, -0.5)
    ax.set_xlim(0, 1.45)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    linear_axis(ax.xaxis, [1.0], "share of time busy", "")
