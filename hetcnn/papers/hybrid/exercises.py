"""The exercises of the notebook: `EXERCISES[n].check(answer)` says right or not yet, never the answer."""

from __future__ import annotations

from functools import partial

import numpy as np

from hetcnn.papers.exercises import Exercise
from hetcnn.papers.hybrid import resources
from hetcnn.papers.hybrid.graph import of_paper
from hetcnn.papers.hybrid.machine import nominal
from hetcnn.papers.hybrid.search import best

__all__ = ["EXERCISES"]


def _filters_that_fit() -> float:
    """How many 3x3 filters over 16 channels at 8 bits fit into the usable ALMs, no DSP block used."""
    c = nominal()
    filters = np.arange(1, 1000)
    cost = resources.cost(resources.fitted_law(), kernel=3, channels=16, filters=filters, width=56, bits=8)
    return float(filters[cost.alms <= float(c.alms * c.fill)].max())


def _break_even_static(network: str, module: str) -> float:
    """The FPGA's static power at which the module's hybrid of least energy x latency saves no energy."""
    c = nominal()
    chosen = next(m for m in of_paper(network) if m.name == module)
    found, i = best(chosen)
    saved = float(found.gpu_energy[0] - found.energy[0, i])
    return float(c.fpga_static) + saved / float(found.latency[0, i])


def _clock_that_the_link_allows() -> float:
    """The clock in Hz above which PCIe, not the FPGA, sets the rate of 64 channels of one byte coming back."""
    return float(nominal().link_bandwidth) / 64


EXERCISES = {
    1: Exercise(
        "How many 3 x 3 filters over 16 channels at 8 bits fit into the usable ALMs, without DSP blocks?",
        _filters_that_fit,
        rtol=0,
        hint="one filter has 144 operands; the window buffers are there once; the answer is a whole number",
    ),
    2: Exercise(
        "Above which clock (Hz) does PCIe and not the FPGA limit a layer with 64 output channels of one byte?",
        _clock_that_the_link_allows,
        hint="one pixel of all channels a clock",
    ),
    3: Exercise(
        "At which static power of the FPGA (W) would MobileNetV2's block3 save no energy any more, its partition kept?",
        partial(_break_even_static, "mobilenetv2", "block3"),
        hint="the hybrid's energy is a straight line in the static power; its slope is the latency",
    ),
}
