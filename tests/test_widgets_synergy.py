"""The explorer of Synergy: it moves, and its numbers are the model's."""

import matplotlib.pyplot as plt
import pytest

from hetcnn.papers import synergy
from hetcnn.papers.synergy import figures

widget = pytest.importorskip("hetcnn.widgets.synergy")


def test_every_engine_is_in_one_of_two_clusters_and_an_empty_one_is_left_out():
    assert widget.design(2, 2, 0).clusters == synergy.DEFAULT
    assert widget.design(0, 2, 3).clusters == ((0, 2, 3), (2, 0, 3))
    assert widget.design(2, 2, 6).clusters == ((2, 2, 6),)
    assert widget.design(0, 0, 0).clusters == ((2, 2, 6),)


def test_the_picture_names_the_design_and_shows_the_models_speedup():
    left, right = widget.draw("mnist", 2, 2, 0, stealing=True)
    assert left.get_title(loc="left").startswith("mnist on 2N+2S ; 6F, stealing: accelerators used ")
    widths = [patch.get_width() for patch in right.patches]
    expected = figures.speedup(synergy.machine(), "mnist", synergy.Design())
    assert widths[0] == pytest.approx(expected)
    assert widths[2] == pytest.approx(expected)
    plt.close("all")


def test_controls_move_the_picture():
    found = widget.explore("mpcnn")
    first = widget.draw(**found.values)[0].get_title(loc="left")
    found.set(stealing=True, f_pe=2)
    assert found.message == ""
    assert widget.draw(**found.values)[0].get_title(loc="left") != first
    plt.close("all")
