"""Explorers: controls follow each other, one figure is redrawn in place, nothing leaks, a report gets a still."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import ipywidgets
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from IPython.core.formatters import DisplayFormatter

from hetcnn import plots
from hetcnn.errors import HetcnnError
from hetcnn.plots import style
from hetcnn.widgets import Choice, Explorer, Flag, Real, Whole, explorer
from hetcnn.widgets.controls import clamped, make, update

mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

LAYERS = {"short": 5, "long": 50}


@pytest.fixture(autouse=True)
def _no_figure_is_left_open() -> Iterator[None]:
    plt.close("all")
    yield
    assert plt.get_fignums() == []


def draw(network: str, split: int, log: bool = False, scale: float = 1.0) -> Any:
    if scale > 1.5:
        raise HetcnnError(f"scale {scale} is infeasible <here>")
    x = np.arange(1, LAYERS[network] + 1)
    attrs = {"units": "s", "long_name": "time"}
    return plots.lines(xr.DataArray(scale * x / split, dims="layer", coords={"layer": x}, attrs=attrs), log=log)


def splits(values: Mapping[str, Any]) -> Whole:
    return Whole(1, LAYERS[values["network"]] - 1, label="split", shown=values["network"] == "long")


def made(**static: Any) -> Explorer:
    controls = {"network": Choice(("long", "short")), "split": splits, "log": Flag(), "scale": Real(0.5, 2.0, 1.0)}
    return explorer(draw, controls, static=static or None)


def picture(made_by: Explorer) -> bytes:
    (image,) = (child for child in made_by.widget.children if isinstance(child, ipywidgets.Image))
    return bytes(image.value)


def control(made_by: Explorer, name: str) -> Any:
    return made_by.widget.children[0].children[list(made_by.values).index(name)]


def test_moving_a_control_redraws_the_one_picture() -> None:
    found = made()
    first = picture(found)
    control(found, "split").value = 25
    assert found.values["split"] == 25
    second = picture(found)
    assert second.startswith(b"\x89PNG")
    assert second != first
    control(found, "split").value = 1
    assert picture(found) == first
    control(found, "log").value = True
    assert found.values["log"] is True
    assert picture(found) != first


def test_the_picture_is_that_of_the_function_itself() -> None:
    found = made()
    found.set(split=7)
    ax = draw("long", 7)
    assert picture(found) == style.png(ax, dpi=192)
    plt.close("all")


def test_a_control_follows_the_ones_before_it() -> None:
    found = made()
    found.set(split=40)
    slider = control(found, "split")
    assert (slider.min, slider.max, slider.value) == (1, 49, 40)
    control(found, "network").value = "short"
    assert (slider.min, slider.max, slider.value) == (1, 4, 4)
    assert slider.layout.display == "none"
    control(found, "network").value = "long"
    assert (slider.max, slider.value, slider.layout.display) == (49, 4, None)


def test_one_move_calls_the_function_once() -> None:
    calls: list[dict[str, Any]] = []

    def counted(**values: Any) -> Any:
        calls.append(values)
        return draw(**values)

    found = explorer(counted, {"network": Choice(("long", "short")), "split": splits})
    assert len(calls) == 1
    found.set(split=40)
    control(found, "network").value = "short"  # moves the split as well
    found.set(split=4)  # where it is already
    assert calls[1:] == [{"network": "long", "split": 40}, {"network": "short", "split": 4}]


def test_a_mistake_is_told_and_the_picture_stays() -> None:
    found = made()
    before = picture(found)
    control(found, "scale").value = 2.0
    assert found.message == "scale 2.0 is infeasible <here>"
    (note,) = (child for child in found.widget.children if isinstance(child, ipywidgets.HTML))
    assert "infeasible &lt;here&gt;" in note.value
    assert note.layout.display is None
    assert picture(found) == before
    control(found, "scale").value = 1.0
    assert (found.message, note.layout.display) == ("", "none")


def test_another_error_is_not_hidden_and_leaves_no_figure() -> None:
    def broken(network: str) -> Any:
        plt.figure()
        raise ZeroDivisionError(network)

    with pytest.raises(ZeroDivisionError):
        explorer(broken, {"network": Choice(("a",))})


def test_only_figures_that_the_function_opened_are_closed() -> None:
    figure = plt.figure()
    made().set(split=3)
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_the_output_of_a_cell_holds_the_widget_and_a_static_figure() -> None:
    found = made(network="short", split=2)
    data, metadata = DisplayFormatter().format(found)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == found.widget.model_id
    ax = draw("short", 2)
    assert base64.b64decode(data["image/png"]) == style.png(ax, dpi=192)
    width, height = style.figure_of(ax).get_size_inches() * 96
    assert metadata["image/png"] == {"width": round(width), "height": round(height)}
    assert data["text/plain"] == "explorer(network='short', split=2, log=False, scale=1.0)"
    assert found.values["network"] == "long"  # the live widget starts where its controls say
    plt.close("all")


def test_an_explorer_changes_no_setting_of_matplotlib() -> None:
    before = dict(mpl.rcParams)
    made().set(split=9)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (Choice(("a", "b"), "b"), ipywidgets.Dropdown),
        (Whole(1, 9, 4), ipywidgets.IntSlider),
        (Real(0.0, 1.0, 0.25), ipywidgets.FloatSlider),
        (Flag(value=True), ipywidgets.Checkbox),
    ],
)
def test_specs_make_their_widgets(spec: Any, kind: type) -> None:
    widget = make("split_1", spec)
    assert type(widget) is kind
    assert widget.value == spec.value
    assert widget.description == "split 1"


@pytest.mark.parametrize("step", [Whole(20, 30, 25), Whole(1, 3, 2), Whole(7, 7), Whole(2, 60, 60)])
def test_ranges_move_anywhere(step: Whole) -> None:
    widget = make("n", Whole(5, 10, 6))
    update(widget, step)
    assert (widget.min, widget.max, widget.value) == (step.low, step.high, step.value)


def test_options_change_and_the_value_stays_where_it_can() -> None:
    widget = make("n", Choice(("a", "b", "c"), "b"))
    update(widget, clamped(Choice(("b", "d")), "b"))
    assert (widget.options, widget.value) == (("b", "d"), "b")
    update(widget, clamped(Choice(("d", "e")), "b"))
    assert widget.value == "d"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Choice(()), "needs at least one option"),
        (lambda: Choice(("alexnet", "googlenet"), "alexnt"), "did you mean 'alexnet'"),
        (lambda: Whole(5, 4), "from 5 to 4: the range is empty"),
        (lambda: Real(0.0, 1.0, 2.0), "at 2.0, outside its range 0.0 to 1.0"),
        (lambda: explorer(draw, {}), "needs at least one control"),
        (lambda: made(netwrk="short"), "did you mean 'network'"),
        (lambda: made().set(splt=3), "did you mean 'split'"),
        (lambda: explorer(lambda n: n, {"n": Whole(1, 2)}), "expected a figure or axes"),
    ],
)
def test_mistakes_are_answered_in_one_line(call: Any, message: str) -> None:
    with pytest.raises(HetcnnError, match=re.escape(message)):
        call()


# --- Pipe-it ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeit() -> Any:
    return pytest.importorskip("hetcnn.widgets.pipeit")


def test_pipeit_design_is_as_fast_as_its_slowest_stage(pipeit: Any) -> None:
    from hetcnn.papers.pipeit.tables import layer_times

    found = pipeit.design("alexnet", "derived", "B4-s4", (9,))
    matrix = layer_times("alexnet", "derived")
    big, small = matrix.row(("B", 4))[:9].sum(), matrix.row(("s", 4))[9:].sum()
    np.testing.assert_allclose(found.stage_times, [big, small])
    assert found.throughput == pytest.approx(1 / max(big, small))


@pytest.mark.parametrize("network", ["alexnet", "squeezenet"])
def test_pipeit_best_split_is_the_best_by_brute_force(pipeit: Any, network: str) -> None:
    from hetcnn.papers.pipeit.times import layer_table

    count = len(layer_table(network))
    best = pipeit.design(network, "derived", "B4-s2-s2").throughput
    tried = [
        pipeit.design(network, "derived", "B4-s2-s2", (a, b)).throughput
        for a in range(1, count - 1)
        for b in range(a + 1, count)
    ]
    assert best == pytest.approx(max(tried))


def test_pipeit_explorer_moves_and_keeps_a_layer_in_every_stage(pipeit: Any) -> None:
    found = pipeit.explore("alexnet", "B4-s4")
    assert found.values["split_1"] == pipeit.design("alexnet", "derived", "B4-s4").configuration.cuts[0]
    first = picture(found)
    found.set(network="squeezenet", pipeline="B2-B2-s2-s2", split_1=26, split_2=1)
    cuts = [0, *(found.values[f"split_{i}"] for i in (1, 2, 3)), 26]
    assert all(a < b for a, b in pairwise(cuts))
    assert found.message == ""
    assert picture(found) != first
    shown = [name for name in found.values if control(found, name).layout.display is None]
    assert shown == ["network", "times", "pipeline", "best", "split_1", "split_2", "split_3"]
    found.set(best=True)
    assert control(found, "split_1").layout.display == "none"


def test_pipeit_figure_names_its_throughput_and_units(pipeit: Any) -> None:
    stages, rate, joule = pipeit.draw("alexnet", "derived", "B4-s4", split_1=9)
    expected = pipeit.design("alexnet", "derived", "B4-s4", (9,)).throughput
    assert stages.get_title(loc="left") == f"alexnet on B4-s4: {expected:.3g} frames/s"
    assert [ax.get_xlabel() for ax in (rate, joule)] == ["throughput (frames/s)", "frames per joule (frames/J)"]
    assert re.fullmatch(r"time \(m?s\)", stages.get_xlabel())
    plt.close("all")


def test_the_label_of_a_slider_follows_the_pipeline(pipeit: Any) -> None:
    found = pipeit.explore("alexnet", "B4-s4")
    assert control(found, "split_1").description == "last layer of stage 1 (B4)"
    found.set(pipeline="B2-B2-s2-s2")
    assert [control(found, f"split_{i}").description for i in (1, 2, 3)] == [
        f"last layer of stage {i} ({stage})" for i, stage in ((1, "B2"), (2, "B2"), (3, "s2"))
    ]
    plain = make("split_1", Whole(1, 9))
    update(plain, Whole(1, 5))
    assert plain.description == "split 1"
