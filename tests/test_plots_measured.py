"""Figures and the explorer of the machine: what is drawn is what the data say."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt

from hetcnn import plots
from hetcnn.host import board
from hetcnn.host.machine import Machine
from hetcnn.host.measure import Figure, Measured
from hetcnn.papers import host
from hetcnn.papers.host.comparison import Comparison, shipped
from hetcnn.widgets import your_machine


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def _points(ax):
    return {tuple(np.round(line.get_ydata(), 9)) for line in ax.get_lines()}


def test_designs_draw_predicted_and_measured():
    data = host.splits("resnet-50")
    ax = plots.designs(data)
    drawn = _points(ax)
    assert tuple(np.round(data["predicted"].to_numpy(), 9)) in drawn
    assert any(
        np.allclose(sorted(ys), sorted(data["measured"].to_numpy())) for ys in drawn if len(ys) == data.sizes["cut"]
    )
    assert ax.get_yscale() == "linear"
    assert "frames/s" in ax.get_ylabel()


def test_rates_of_very_different_size_get_a_logarithmic_axis():
    assert plots.designs(host.designs()).get_yscale() == "log"


def test_nothing_measured_is_said():
    from dataclasses import replace

    bare = Comparison(replace(shipped().record, runs=(), runtime={}))
    ax = plots.designs(host.splits("alexnet", bare))
    assert ax.texts[0].get_text() == "nothing of the kind was measured"


@pytest.mark.parametrize("model", ["tape", "paper"])
def test_every_layer_is_a_dot(model):
    data = host.layers("googlenet")
    ax = plots.predicted_layers(data, model=model)
    dots = sum(len(line.get_xdata()) for line in ax.get_lines() if line.get_marker() == "o")
    assert dots == data.sizes["layer"] == 58


def test_the_roofline_draws_measured_rates():
    data = host.layers("squeezenet-1.1")
    figure = Figure(2e11, 0.01, 5, "made up")
    machine = Machine("made up", "none", (0,), (), None, None)
    measured = Measured(machine, {(1, 8, 8, 8): figure}, {(1, "copy"): figure}, figure)
    ax = plots.layer_roofline(data, board.to_platform(measured))
    offsets = np.concatenate([c.get_offsets() for c in ax.collections])
    rates = (data["ops"] / data["measured"]).to_numpy()
    assert np.allclose(sorted(offsets[:, 1]), sorted(rates))


def test_the_explorer_follows_its_controls():
    found = your_machine.explore("resnet-18")
    assert found.values["network"] == "resnet-18"
    first = found.picture
    found.set(cut=2)
    assert not found.message
    found.set(network="lenet-5", cut=50)
    assert found.values["cut"] == 4  # five layers with MACs: four places to cut
    found.set(network="resnet-18", engines="ONNX Runtime, NumPy")
    assert found.values["engines"] == "ONNX Runtime, NumPy"
    assert first.startswith(b"\x89PNG")


def test_the_explorers_stages_are_the_models():
    found = shipped()
    stages = your_machine._stages(found, "resnet-18", ("numpy", "numpy"))
    times = found.times("resnet-18")
    cuts = found.cuts("resnet-18")
    assert stages.shape == (len(cuts), 2)
    assert stages.sum(axis=1) == pytest.approx(times.sum())
    before = times[np.array(found.kernels("resnet-18").positions) < cuts[3]].sum()
    assert stages[3, 0] == pytest.approx(before)
