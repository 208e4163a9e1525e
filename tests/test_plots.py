"""Figures and tables: what is drawn where, that nothing leaks, and that saved bytes repeat."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from scipy.optimize import isotonic_regression

import hetcnn.roofline
from hetcnn import analysis, pipeline, platform, plots, zoo
from hetcnn.errors import HetcnnError
from hetcnn.plots import colours, labels, style, tables, ticks
from hetcnn.plots.schedule import pipeline_schedule

mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

FIVE = ["alexnet", "googlenet", "mobilenet", "resnet50", "squeezenet"]
MANY = [f"inception_{i}/5x5_reduce_with_a_long_name" for i in range(58)]


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    plt.close("all")
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def compared(names: list[str], inner: list[str] | None = None, unit: str = "frames/s") -> xr.Dataset:
    """Model values 5 % above published ones that run from 1 to 20."""
    shape = (len(names), len(inner)) if inner else (len(names),)
    dims = ("network", "cores") if inner else ("network",)
    theirs = np.linspace(1, 20, int(np.prod(shape))).reshape(shape)
    attrs = {"units": unit, "long_name": "throughput"}
    return xr.Dataset(
        {"model": (dims, 1.05 * theirs, attrs), "published": (dims, theirs, {**attrs, "reading_error": 0.5})},
        {"network": names} | ({"cores": inner} if inner else {}),
    )


def curves(count: int) -> xr.DataArray:
    x = np.linspace(0, 1, 21)
    names = [f"network number {i}" for i in range(count)]
    values = [1 - (x - (i + 1) / (count + 1)) ** 2 for i in range(count)]
    ratio = ("ratio", x, {"long_name": "split ratio", "units": "1"})
    attrs = {"units": "s", "long_name": "time"}
    return xr.DataArray(values, dims=("network", "ratio"), coords={"network": names, "ratio": ratio}, attrs=attrs)


def plane(count: int) -> xr.DataArray:
    first, second = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    rate = np.where(second > first, 10.0 - abs(first - 1) - abs(second - 3), np.nan)
    attrs = {"units": "frames/s", "long_name": "throughput"}
    coords = {"first": np.arange(count) + 1, "second": np.arange(count) + 1}
    return xr.DataArray(rate, dims=("first", "second"), coords=coords, attrs=attrs, name="rate")


def shares(names: list[str]) -> xr.Dataset:
    parts = ("network", "kind")
    values = np.tile([6.0, 3.0, 1.0], (len(names), 1))
    attrs = {"units": "ms", "long_name": "time"}
    return xr.Dataset(
        {"model": (parts, values, attrs), "published": (parts, values, attrs)},
        {"network": names, "kind": ["conv", "fc", "other"]},
    )


def roof(count: int) -> Any:
    x = np.geomspace(1, 300, count)
    y = 0.5 * np.minimum(1e11, 2e10 * x)
    kinds = ["conv", "dw", "fc"] * count
    peaks = {"a73": 1e11, "gpu": 3e11}
    layers = {"labels": MANY[:count], "devices": ["a73"] * count, "kinds": kinds[:count]}
    return plots.roofline_plot(peaks, {"dram": 2e10, "l2": 1e11}, x, y, **layers)


CASES: dict[str, Callable[[], Any]] = {
    "bars-5": lambda: plots.bars(compared(FIVE)),
    "bars-5x4": lambda: plots.bars(compared(FIVE, ["1B", "2B", "3B", "4B"])),
    "bars-58": lambda: plots.bars(compared(MANY)),
    "bars-log": lambda: plots.bars(compared(FIVE), log=True),
    "dots-58": lambda: plots.bars(compared(MANY, ["Big", "Small"]), kind="dot"),
    "parity-5": lambda: plots.parity(compared(FIVE)),
    "parity-58": lambda: plots.parity(compared(MANY, ["Big", "Small"], "s"), hue="cores", band=0.01),
    "lines-1": lambda: plots.lines(curves(1)[0]),
    "lines-4": lambda: plots.lines(curves(4), best="max"),
    "lines-58": lambda: plots.lines(curves(58)),
    "lines-published": lambda: plots.lines(compared(FIVE, ["1B", "2B", "3B", "4B"])),
    "surface-5": lambda: plots.surface(plane(5)),
    "surface-58": lambda: plots.surface(plane(58), published={"first": 2, "second": 5}),
    "gantt-5": lambda: plots.gantt([0.1, 0.2, 0.1, 0.3, 0.1], names=["B2", "B2", "s2", "s1", "s1"]),
    "gantt-58": lambda: plots.gantt(dict.fromkeys(MANY, 1e-3), frames=12),
    "errors-5": lambda: plots.errors(compared(FIVE, ["1B", "2B"], "%"), published=None),
    "errors-pair": lambda: plots.errors(compared(FIVE, ["1B", "2B"], "%")),
    "errors-58": lambda: plots.errors(compared(MANY, ["1B", "2B"], "%"), published=None),
    "stacked-5": lambda: plots.stacked(shares(FIVE)),
    "stacked-58": lambda: plots.stacked(shares(MANY), share=False),
    "roofline-5": lambda: roof(5),
    "roofline-58": lambda: roof(58),
}


def visible_texts(figure: Any) -> list[Any]:
    """Every text that is drawn, ticks outside the axes' limits and hidden point names left out."""
    found = []
    for text in figure.findobj(mpl.text.Text):
        if text.get_visible() and text.get_text().strip() and getattr(text, "free", True):
            found.append(text)
    ticks_off = {
        id(label)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for tick in (*axis.majorTicks, *axis.minorTicks)
        if tick not in axis._update_ticks()
        for label in (tick.label1, tick.label2)
    }
    return [text for text in found if id(text) not in ticks_off]


def box(text: Any) -> Any:
    return mpl.text.Text.get_window_extent(text)


@pytest.mark.parametrize("case", CASES)
def test_every_plot_is_drawn_leaves_one_figure_and_keeps_its_text_inside(case: str) -> None:
    drawn = CASES[case]()
    figure = style.figure_of(drawn)
    assert plt.get_fignums() == [figure.number]
    for _ in range(3):
        figure.draw_without_rendering()
    outside = [
        text.get_text()
        for text in visible_texts(figure)
        if not (box(text).x0 >= -2 and box(text).y0 >= -2 and box(text).x1 <= figure.bbox.x1 + 2)
        or box(text).y1 > figure.bbox.y1 + 2
    ]
    assert outside == []


@pytest.mark.parametrize("case", CASES)
def test_tick_labels_do_not_run_into_each_other(case: str) -> None:
    figure = style.figure_of(CASES[case]())
    for _ in range(3):
        figure.draw_without_rendering()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            shown = [t.label1 for t in axis._update_ticks() if t.label1.get_visible() and t.label1.get_text().strip()]
            flat = [label for label in shown if label.get_rotation() in (0.0, 90.0)]
            boxes = [box(label) for label in flat]
            across = 0 if axis is ax.xaxis else 1
            ends = sorted((b.min[across], b.max[across]) for b in boxes)
            assert all(a[1] <= b[0] + 1.5 for a, b in pairwise(ends)), [label.get_text() for label in flat]


UNITS = {
    "bars-5": ("", "throughput (frames/s)"),
    "parity-5": ("published throughput (frames/s)", "model throughput (frames/s)"),
    "lines-4": ("split ratio", "time (s)"),
    "surface-5": ("first", "second"),
    "gantt-5": ("time (s)", ""),
    "gantt-58": ("time (ms)", ""),
    "stacked-5": ("time (%)", ""),
    "stacked-58": ("time (ms)", ""),
    "roofline-5": ("arithmetic intensity (ops/B)", "performance (ops/s)"),
}


@pytest.mark.parametrize("case", UNITS)
def test_axes_label_themselves_with_units(case: str) -> None:
    ax = CASES[case]()
    assert (ax.get_xlabel(), ax.get_ylabel()) == UNITS[case]


def test_colour_bars_carry_units() -> None:
    for case, label in (("surface-5", "throughput (frames/s)"), ("errors-5", "throughput (%)")):
        assert style.figure_of(CASES[case]()).axes[-1].get_ylabel() == label


def test_a_plot_draws_into_the_axes_that_it_is_given() -> None:
    figure, panels = plt.subplots(1, 2)
    assert plots.bars(compared(FIVE), ax=panels[0]) is panels[0]
    assert plots.gantt([1.0, 2.0], ax=panels[1]) is panels[1]
    assert plt.get_fignums() == [figure.number]


def test_a_plot_that_fails_closes_its_figure() -> None:
    with pytest.raises(HetcnnError, match=r"unknown option|kind 'pie'; expected 'bar' or 'dot'"):
        plots.bars(compared(FIVE), kind="pie")
    with pytest.raises(HetcnnError, match="1 names for 2 stages"):
        plots.gantt([1.0, 2.0], names=["B4"])
    assert plt.get_fignums() == []


@pytest.mark.parametrize("given", [True, False])
def test_ticks_have_the_style_whoever_made_the_axes_and_whenever_they_are_drawn(given: bool) -> None:
    ax = plots.bars(compared(FIVE), ax=plt.subplots()[1] if given else None)
    ax.set_ylim(0, 1000)  # new ticks, made by a draw after the context was left
    style.figure_of(ax).draw_without_rendering()
    assert {tick.label1.get_fontsize() for tick in ax.yaxis.get_major_ticks()} == {8.5}
    assert {tick.tick1line.get_markersize() for tick in ax.yaxis.get_major_ticks()} == {3.0}


# --- colours ---------------------------------------------------------------------------------------------------------


def test_palette_is_matplotlibs_petroff10_and_every_device_has_a_colour_of_its_own() -> None:
    cycle = mpl.style.library["petroff10"]["axes.prop_cycle"].by_key()["color"]
    assert [to_hex(c) for c in cycle] == list(colours.PALETTE)
    with style.context():
        assert [to_hex(c) for c in mpl.rcParams["axes.prop_cycle"].by_key()["color"]] == list(colours.PALETTE)
    kinds = ["cpu-big", "cpu-little", "neon", "gpu", "fpga", "npu", "accelerator", "memory", "link", "other"]
    assert len({colours.COLOUR[kind] for kind in kinds}) == len(kinds)


def test_a_kind_of_device_has_one_colour_in_every_figure() -> None:
    bar = plots.gantt([1.0, 1.0], names=["gpu", "fpga"]).patches[0].get_facecolor()
    roofs = plots.roofline_plot({"gpu": 1e12, "fpga": 1e11}, {"dram": 1e10}).lines
    curve = plots.lines(curves(2).assign_coords(network=["gpu", "fpga"])).lines[0].get_color()
    found = {to_hex(bar), curve, *(to_hex(line.get_color()) for line in roofs if line.get_ydata()[0] == 1e12)}
    assert found - {"#ffffff"} == {colours.COLOUR["gpu"]}
    with pytest.raises(TypeError):
        colours.COLOUR["gpu"] = "#000000"  # type: ignore[index]


@pytest.mark.parametrize("colour", [*colours.PALETTE, "#ffffff", "#ffff00"])
def test_ink_reads_on_white(colour: str) -> None:
    rgb = np.array([int(colours.ink(colour)[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5


# --- ticks and labels ------------------------------------------------------------------------------------------------


def test_linear_ticks_are_round_in_the_unit_shown() -> None:
    ax = plots.gantt([0.084, 0.09], frames=3)
    style.figure_of(ax).draw_without_rendering()
    shown = [t.get_text() for t in ax.get_xticklabels()]
    assert ax.get_xlabel() == "time (ms)"
    assert {"0", "100", "200"} <= set(shown)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1e6, 1e10, ["1 M", "10 M", "100 M", "1 G", "10 G"]),
        (1e9, 2e10, ["1 G", "2 G", "5 G", "10 G", "20 G"]),
        (2e-3, 3e-3, ["2 m", "2.2 m", "2.4 m", "2.6 m", "2.8 m", "3 m"]),
    ],
)
def test_logarithmic_ticks_are_readable(low: float, high: float, expected: list[str]) -> None:
    _, ax = plt.subplots()
    ax.set_yscale("log")
    ticks.log_axis(ax.yaxis, "performance", "ops/s")
    ax.set_ylim(low, high)
    inside = [v for v in ax.yaxis.get_majorticklocs() if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
    assert [ax.yaxis.get_major_formatter()(v) for v in inside] == expected


def test_spread_is_the_least_squares_placement() -> None:
    rng = np.random.default_rng(7)
    for count in (1, 2, 5, 20):
        wanted = rng.uniform(0, 10 * count, count)
        placed = labels.spread(wanted, 8.0)
        order = np.argsort(wanted)
        offsets = 8.0 * np.arange(count)
        oracle = isotonic_regression(wanted[order] - offsets).x + offsets
        np.testing.assert_allclose(placed[order], oracle)
    np.testing.assert_allclose(labels.spread([0.0, 0.0, 0.0], 4.0, 0.0, 100.0), [0, 4, 8])
    np.testing.assert_allclose(labels.spread([100.0, 100.0], 4.0, 0.0, 100.0), [96, 100])


@pytest.mark.parametrize(("width", "height"), [(6.6, 3.8), (3.0, 1.6)])
def test_end_labels_never_touch_even_when_the_figure_changes(width: float, height: float) -> None:
    data = curves(4)
    data.values[:] = np.linspace(0, 1, 21) + np.linspace(0, 0.001, 4)[:, None]  # all end at almost the same point
    figure = style.figure_of(plots.lines(data))
    figure.set_size_inches(width, height)
    figure.draw_without_rendering()
    boxes = [box(text) for text in figure.findobj(labels._EndLabel)]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_more_than_four_series_have_a_legend_instead() -> None:
    assert plots.lines(curves(4)).get_legend() is None
    assert len(plots.lines(curves(5)).get_legend().get_texts()) == 5


def test_names_of_points_cover_nothing() -> None:
    ax = plots.parity(compared(MANY), band=0.01)
    figure = style.figure_of(ax)
    for _ in range(3):
        figure.draw_without_rendering()
    names = [text for text in figure.findobj(lambda o: hasattr(o, "ways")) if text.free]
    assert names
    boxes = [box(name) for name in names]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    dots = ax.transData.transform(np.column_stack([np.linspace(1, 20, 58), 1.05 * np.linspace(1, 20, 58)]))
    assert not any(b.contains(x, y) for b in boxes for x, y in dots)


def test_every_layer_that_a_roofline_names_is_named_however_close() -> None:
    names = [f"network-{i}" for i in range(6)]
    ax = plots.roofline_plot(100e9, 12e9, [150 + 2 * i for i in range(6)], [99e9] * 6, labels=names)
    figure = style.figure_of(ax)
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(lambda o: hasattr(o, "ways")) if text.get_text() in names]
    assert len(shown) == 6
    assert all(text.free for text in shown)
    boxes = [box(text) for text in shown]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    # A name that had to move has a leader; one beside its point has none.
    away = [
        np.hypot(*(np.clip(ax.transData.transform(t.xy), b.min, b.max) - ax.transData.transform(t.xy)))
        for t, b in zip(shown, boxes, strict=True)
    ]
    near = [d < 9 * figure.dpi / 72 for d in away]
    assert [text.arrow_patch.get_visible() for text in shown] == [not n for n in near]
    assert not all(near)


def test_leaders_are_grey_and_no_series_is() -> None:
    figure = style.figure_of(plots.lines(curves(4)))
    assert {to_hex(t.arrow_patch.get_edgecolor()) for t in figure.findobj(labels._EndLabel)} == {colours.LEADER}
    assert colours.LEADER not in {*colours.PALETTE, *colours.COLOUR.values()}


@pytest.mark.parametrize(("count", "first"), [(3, "cores 1"), (6, "1")])
def test_lines_with_bare_numbers_say_of_what(count: int, first: str) -> None:
    numbers = list(range(1, count + 1))
    data = xr.DataArray(np.outer(numbers, np.arange(9.0)), {"cores": numbers, "x": np.arange(9)}, ("cores", "x"))
    ax = plots.lines(data, x="x", hue="cores")
    if ax.get_legend():
        assert ax.get_legend().get_title().get_text() == "cores"
        assert ax.get_legend().get_texts()[0].get_text() == first
    else:
        assert next(t.get_text() for t in style.figure_of(ax).findobj(labels._EndLabel)) == first


def test_a_heat_map_of_bare_numbers_says_of_what() -> None:
    batches = ("batch", [1, 2, 4], {"long_name": "batch", "units": "frames"})
    data = xr.DataArray(np.ones((2, 3)), {"network": ["a", "b"], "batch": batches}, ("network", "batch"))
    ax = plots.errors(data)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("batch (frames)", "")


def test_dots_are_on_all_curves_or_on_none() -> None:
    data = curves(2)
    assert {line.get_marker() for line in plots.lines(data).lines} == {"None"}
    data.values[0, 3:] = np.nan
    assert {line.get_marker() for line in plots.lines(data).lines} == {"o"}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (9, 2e4, ["10", "100", "1000", "10000"]),
        (2e3, 2e5, [r"$3\cdot 10^{3}$", "$10^{4}$", r"$3\cdot 10^{4}$", "$10^{5}$"]),
    ],
)
def test_a_logarithmic_axis_keeps_to_one_notation(low: float, high: float, expected: list[str]) -> None:
    figure, ax = plt.subplots()
    ax.set_yscale("log")
    ticks.log_axis(ax.yaxis, "ALMs", "ALM")
    ax.set_ylim(low, high)
    figure.draw_without_rendering()
    inside = [t.get_text() for t in ax.get_yticklabels() if low <= t.get_position()[1] <= high]
    assert inside == expected


def test_a_selection_names_itself_in_the_title() -> None:
    data = compared(FIVE, ["1", "2"])
    data.attrs["title"] = "Speed"
    assert plots.bars(data.sel(cores="2")).get_title(loc="left") == "Speed (cores = 2)"
    assert plots.bars(data).get_title(loc="left") == "Speed"
    assert plots.bars(data.sel(cores="2", drop=True)["model"].to_dataset()).get_title(loc="left") == ""
    left, _ = plots.errors(data.isel(cores=[0]).sel(cores="1").expand_dims("row"))
    assert style.figure_of(left).get_suptitle() == "Speed (cores = 1)"


# --- what is drawn ---------------------------------------------------------------------------------------------------


def hollow_lines(ax: Any) -> list[Any]:
    return [line for line in ax.lines if line.get_marker() == "D"]


def test_bars_are_filled_for_the_model_and_hollow_with_reading_error_for_the_paper() -> None:
    data = compared(FIVE)
    ax = plots.bars(data)
    np.testing.assert_allclose([patch.get_height() for patch in ax.patches], data["model"])
    (line,) = hollow_lines(ax)
    np.testing.assert_allclose(line.get_ydata(), data["published"])
    assert line.get_markerfacecolor() == "white"
    spans = [segment[:, 1] for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(spans, [(v - 0.5, v + 0.5) for v in data["published"].values])


def test_one_published_value_stands_for_a_group_of_models() -> None:
    data = compared(FIVE).assign(second=compared(FIVE)["model"] * 1.1)
    ax = plots.bars(data, model=["model", "second"])
    assert len(ax.patches) == 10
    np.testing.assert_allclose(hollow_lines(ax)[0].get_xdata(), range(5))
    both = compared(FIVE, ["1B", "2B"])
    both["published"] = both["published"].isel(cores=0, drop=True)
    np.testing.assert_allclose(hollow_lines(plots.bars(both))[0].get_xdata(), range(5))


def test_reading_errors_come_from_a_variable_an_attribute_or_a_share() -> None:
    from hetcnn.plots.published import reading_errors

    data = compared(["a", "b"])
    np.testing.assert_allclose(reading_errors(data, "published"), [0.5, 0.5])
    np.testing.assert_allclose(
        reading_errors(data.assign(published_error=("network", [1.0, np.nan])), "published"), [1, 0]
    )
    data["published"].attrs = {"reading_rtol": 0.01}
    np.testing.assert_allclose(reading_errors(data, "published"), [0.01, 0.2])


def test_parity_is_square_with_a_band_and_hollow_where_not_reproduced() -> None:
    data = compared(FIVE).assign(verdict=("network", ["exact", "reproduced", "off", "trend", "reproduced"]))
    ax = plots.parity(data)
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_box_aspect() == 1
    band = ax.collections[0].get_paths()[0].vertices
    ratios = band[:, 1] / band[:, 0]
    np.testing.assert_allclose([ratios.min(), ratios.max()], [0.9, 1.1])
    dots = [c for c in ax.collections if len(c.get_offsets()) and c.get_offsets()[0].any()]
    drawn = {to_hex(c.get_facecolors()[0]): len(c.get_offsets()) for c in dots}
    assert drawn == {colours.PALETTE[0]: 3, "#ffffff": 2}


def test_parity_takes_the_claims_of_a_scorecard_and_leaves_out_what_no_log_axis_shows() -> None:
    common = {"paper": "pipeit", "verdict": "reproduced", "reading_error": None}
    claims = [
        {"id": "a", "published": 8.1, "model": 8.2, **common},
        {"id": "b", "published": "B4-s4", "model": "B4-s4", **common},
        {"id": "c", "published": [0.6, 0.9], "model": 0.7, **common},
        {"id": "d", "published": 0.0, "model": 0.1, **common},
        {"id": "e", "published": 3.0, "model": None, **common},
    ]
    ax = plots.parity(claims)
    (dots,) = (c for c in ax.collections if len(c.get_offsets()) and c.get_offsets()[0].any())
    np.testing.assert_allclose(dots.get_offsets(), [[8.1, 8.2]])
    with pytest.raises(HetcnnError, match="share no positive values"):
        plots.parity(claims[3:])


def test_lines_follow_a_ragged_abscissa_and_mark_their_best_point() -> None:
    rate = [[1.0, 3.0, 2.0], [5.0, 4.0, np.nan]]
    ratio = [[0.0, 0.5, 1.0], [0.0, 1.0, np.nan]]
    data = xr.Dataset({"rate": (("network", "split"), rate), "ratio": (("network", "split"), ratio)})
    ax = plots.lines(data, y="rate", x="ratio", best="max")
    curves_drawn = [line for line in ax.lines if len(line.get_xdata()) > 1]
    np.testing.assert_allclose(curves_drawn[1].get_xdata(), [0, 1])
    best = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]
    assert best == [(0.5, 3.0), (0.0, 5.0)]


def test_surface_marks_the_best_point_and_the_published_one() -> None:
    ax = plots.surface(plane(6), published={"first": 1, "second": 5})
    star = next(line for line in ax.lines if line.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (2, 4)  # 10 - |first - 1| - |second - 3|, counted from 1
    assert all((line.get_xdata()[0], line.get_ydata()[0]) == (1, 5) for line in hollow_lines(ax))
    assert len(hollow_lines(ax)) == 2
    assert any("best 10 frames/s" in text.get_text() for text in ax.texts)
    with pytest.raises(HetcnnError, match="lacks 'second'"):
        plots.surface(plane(6), published={"first": 1})


def test_schedule_agrees_with_the_pipeline_formulas() -> None:
    times, frames = [0.3, 0.1, 0.4, 0.2], 9
    start, finish = pipeline_schedule(times, frames)
    assert finish[-1, -1] == pytest.approx(float(pipeline.time_for_frames(times, frames)))
    assert (start[:, 1:] >= finish[:, :-1]).all()
    assert (start[1:] >= finish[:-1]).all()


def test_gantt_keeps_stages_of_one_name_apart_and_numbers_the_frames() -> None:
    ax = plots.gantt([1.0, 2.0, 1.0], names=["B2", "B2", "s4"], frames=2)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["B2", "B2", "s4"]
    # Frame 1: 0-1, 1-3, 3-4; frame 2: 1-2, waits, 3-5, 5-6.
    spans = {(p.get_y() + p.get_height() / 2, p.get_x(), p.get_x() + p.get_width()) for p in ax.patches}
    assert spans == {(0, 0, 1), (1, 1, 3), (2, 3, 4), (0, 1, 2), (1, 3, 5), (2, 5, 6)}
    assert sorted(text.get_text() for text in ax.texts) == ["1"] * 3 + ["2"] * 3
    faces = [to_hex(patch.get_facecolor()) for patch in ax.patches[:3]]
    assert faces == [colours.COLOUR["cpu-big"]] * 2 + [colours.COLOUR["cpu-little"]]


def test_gantt_takes_tasks_datasets_and_plans() -> None:
    tasks = [("gpu", 1, 0.0, 1.0), ("fpga", 1, 1.0, 3.0)]
    data = xr.Dataset(
        {"start": (("frame", "stage"), [[0.0, 1.0]]), "finish": (("frame", "stage"), [[1.0, 3.0]])},
        {"stage": ["gpu", "fpga"]},
    )
    for schedule in (tasks, data, {"gpu": 1.0, "fpga": 2.0}):
        ax = plots.gantt(schedule, frames=1)
        assert [(p.get_x(), p.get_width()) for p in ax.patches] == [(0, 1), (1, 2)]
    plan = analysis.PipelinePlan((analysis.Stage("gpu", 0, 1, 1.0), analysis.Stage("fpga", 2, 2, 2.0)), 2, 3, 1, 0.5)
    assert [p.get_width() for p in plots.gantt(plan, frames=1).patches] == [1, 2]
    with pytest.raises(HetcnnError, match="takes no time"):
        plots.gantt([0.0])


def test_stacked_shares_add_up_to_a_hundred() -> None:
    ax = plots.stacked(shares(FIVE), published=None)
    widths = np.array([patch.get_width() for patch in ax.patches]).reshape(3, 5)
    np.testing.assert_allclose(widths[:, 0], [60, 30, 10])
    assert len(plots.stacked(shares(FIVE)).patches) == 30


def test_errors_write_each_number_and_put_the_paper_beside() -> None:
    data = compared(["a", "b"], ["1B", "2B"], "%")
    ours, theirs = plots.errors(data)
    assert [t.get_text() for t in ours.texts] == [f"{v:.1f}" for v in data["model"].values.ravel()]
    assert [t.get_text() for t in theirs.texts] == [f"{v:.1f}" for v in data["published"].values.ravel()]
    assert [t.get_text() for t in ours.get_xticklabels()] == ["1B", "2B"]
    with pytest.raises(HetcnnError, match="two panels"):
        plots.errors(data, ax=ours)


def test_roofline_draws_the_attainable_rate_with_its_ridge() -> None:
    ax = plots.roofline_plot(128e9, 4.2e9, [10.0], [3e10], labels=["conv1"])
    slope, flat = (line for line in ax.lines if len(line.get_xdata()) == 2)
    for line in (slope, flat):
        x, y = line.get_data()
        np.testing.assert_allclose(y, hetcnn.roofline.attainable(x, 128e9, 4.2e9), rtol=1e-9)
    texts = [text.get_text() for text in style.figure_of(ax).findobj(mpl.text.Text)]
    assert "ridge 30.5 ops/B" in texts  # 128 / 4.2
    assert {"conv1", "memory  4.2 GB/s", "peak  128 Gops/s"} <= set(texts)


@pytest.mark.parametrize("board", ["hikey970", "tx2-cyclone10gx"])
def test_no_layer_of_an_analysis_stands_above_its_roofs(board: str) -> None:
    found = analysis.analyse(zoo.load("squeezenet-1.1"), platform.load(board))
    for device in found.devices:
        ax = plots.roofline(found, devices=[device])
        dots = np.concatenate([c.get_offsets() for c in ax.collections])
        roofs = [line.get_data() for line in ax.lines if len(line.get_xdata()) == 2]
        slopes = [y[0] / x[0] for x, y in roofs if y[0] != y[1]]
        peak = next(y[0] for x, y in roofs if y[0] == y[1])
        runs = np.isfinite(found.time[:, found.devices.index(device)]) & (found.macs > 0)
        assert len(dots) == runs.sum() > 0
        assert (dots[:, 1] <= np.minimum(peak, dots[:, 0] * min(slopes)) * (1 + 1e-9)).all()


def test_intensity_counts_what_passes_the_roof_activations_alone_where_it_is_a_link() -> None:
    board = platform.load("tx2-cyclone10gx")
    found = analysis.analyse(zoo.load("squeezenet-1.1"), board, devices=["cyclone10gx"])
    word = float(board.devices["cyclone10gx"].word or 4)
    runs = [layer for layer, t in zip(found.network, found.time[:, 0], strict=True) if layer.macs and np.isfinite(t)]
    moved = [word * sum(t.size for t in (*layer.data, *layer.outputs)) for layer in runs]
    dots = np.concatenate([c.get_offsets() for c in plots.roofline(found).collections])
    expected = [2 * layer.macs / size for layer, size in zip(runs, moved, strict=True)]
    np.testing.assert_allclose(sorted(dots[:, 0]), sorted(expected))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.roofline_plot(0, 1e9), "peak is 0; expected a finite number above 0"),
        (lambda: plots.roofline_plot(1e9, 1e9, [1.0, 2.0], [1.0]), "1 performance for 2 intensities"),
        (lambda: plots.roofline_plot({}, 1e9), "no device to draw"),
        (lambda: plots.bars(compared(FIVE), model="modle"), "did you mean 'model'"),
        (lambda: plots.lines(curves(2), x="ratoi"), "did you mean 'ratio'"),
        (lambda: plots.surface(curves(2)[0]), "has 1 dimensions; expected 2"),
        (lambda: plots.surface(plane(3) * np.nan), "has no finite value"),
        (lambda: plots.stacked(-shares(FIVE)), "negative parts"),
        (lambda: plots.gantt([1.0, np.nan]), "expected finite seconds"),
        (lambda: plots.gantt([1.0], frames=0), "draw at least 1"),
        (lambda: plots.errors(shares(FIVE).drop_vars(["model", "published"])), "no results"),
    ],
)
def test_mistakes_are_answered_in_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(HetcnnError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- saving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    ["lines-4", "surface-5", "surface-58", "parity-5", "parity-58", "roofline-5", "errors-pair", "bars-58", "gantt-5"],
)
def test_saving_twice_gives_equal_bytes(case: str, tmp_path: Path) -> None:
    drawn = CASES[case]()
    once = [path.read_bytes() for path in plots.save(drawn, "figure", tmp_path / "a")]
    again = [path.read_bytes() for path in plots.save(drawn, "figure", tmp_path / "b")]
    anew = [path.read_bytes() for path in plots.save(CASES[case](), "figure", tmp_path / "c")]
    assert once == again == anew


RUN = """
import matplotlib; matplotlib.use("Agg")
import sys
from hetcnn import plots
ax = plots.roofline_plot({"gpu": 1e12, "fpga": 1e11}, {"dram": 1e10}, [1, 9], [5e9, 5e10], labels="ab")
plots.save(ax, "f", sys.argv[1])
"""


def test_another_process_saves_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": ""}
        subprocess.run([sys.executable, "-c", RUN, str(tmp_path / seed)], check=True, env=environment)
    for name in ("f.svg", "f.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_save_writes_both_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    svg, png = plots.save(plots.bars(compared(FIVE)), "pipeit/figure_3")
    assert sorted(p.name for p in (tmp_path / "_build/figures/pipeit").iterdir()) == ["figure_3.png", "figure_3.svg"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<dc:date>" not in svg.read_text()


@pytest.mark.parametrize("name", ["../escape", "/absolute", "", "a/../../b"])
def test_a_figure_cannot_leave_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(HetcnnError, match="expected a name below the figures' folder"):
        plots.save(plots.bars(compared(FIVE)), name, tmp_path)


def test_a_failed_save_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ax = plots.bars(compared(FIVE))
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        plots.save(ax, "figure", tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- tables ----------------------------------------------------------------------------------------------------------


class Balanced(HTMLParser):
    """Checks that every element is closed, and gathers tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_network_table_shows_every_layer_and_the_totals() -> None:
    network = zoo.load("squeezenet-1.1")
    page = Balanced(network._repr_html_())
    assert all(layer.name in page.text for layer in network)
    assert page.tags.count("tr") == len(network) + 1
    assert "349 M MACs (698 M ops)" in page.text  # 349,151,936 MACs
    assert set(page.tags) <= {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(page.attributes) <= {"style", "title"}


@pytest.mark.parametrize("name", platform.names())
def test_platform_card_gives_every_number_its_source_or_range(name: str) -> None:
    board = platform.load(name)
    page = Balanced(board._repr_html_())
    text = " ".join(page.text.split())
    for path, quantity in board.quantities():
        assert path in text
        assert " ".join((quantity.why if quantity.assumed else quantity.source).split()) in text
        if quantity.assumed:
            assert f"assumed {quantity.range_text.replace(' to ', ' .. ')}" in text
    assert "script" not in page.tags


HOSTILE = "<script>alert('x')</script>\"&"


def test_names_are_escaped() -> None:
    from dataclasses import replace

    network = zoo.load("lenet-5")
    bad = replace(network, name=HOSTILE, layers=(replace(network.layers[0], name=HOSTILE),), notes=(HOSTILE,))
    board = platform.load("zc702").model_copy(update={"title": HOSTILE, "about": HOSTILE})
    table = tables.table(xr.Dataset({HOSTILE: ("n", [HOSTILE])}, {"n": [HOSTILE]}, {"title": HOSTILE}))
    claim = {"id": HOSTILE, "verdict": HOSTILE, "note": HOSTILE, "published": HOSTILE, "model": HOSTILE}
    for html in (
        tables.network_html(bad),
        tables.platform_html(board),
        table._repr_html_(),
        tables.claim_chip_html(claim),
    ):
        assert "<script" not in html
        assert HOSTILE.split("(")[0].removeprefix("<script>") in Balanced(html).text


def test_claim_chip_says_verdict_values_and_error() -> None:
    claim = {"id": "table4.x", "verdict": "reproduced", "published": 11.3, "model": 11.0, "unit": "frames/s"}
    text = Balanced(tables.claim_chip_html({**claim, "rel_error": 0.0266})).text
    assert text == "reproduced table4.x ours 11, published 11.3 frames/s (2.7 % off)"
    words = {"id": "x", "verdict": "exact", "published": "B4-s4", "model": "B4-s4", "unit": "configuration"}
    assert Balanced(tables.claim_chip_html(words)).text == "exact x ours B4-s4, published B4-s4"
    assert Balanced(tables.claim_chip_html("off")).text == "off"
    with pytest.raises(HetcnnError, match="expected a verdict or a judged claim, got int"):
        tables.claim_chip_html(3)


def test_dataset_table_has_one_column_for_each_combination() -> None:
    data = compared(["a", "b"], ["1B", "2B"])[["model"]]
    table = tables.table(data)
    assert table.header == ("network", "model 1B (frames/s)", "model 2B (frames/s)")
    assert str(table).splitlines()[1].split() == ["a", "1.05", "7.7"]  # 1.05 x 1 and 1.05 x (1 + 19 / 3) = 7.7
    assert Balanced(table._repr_html_()).tags.count("td") == 6
    assert tables.table(data, rows="cores").header[0] == "cores"


def test_tables_do_not_import_matplotlib_or_xarray() -> None:
    code = (
        "import sys; from hetcnn.plots import tables; from hetcnn import zoo; zoo.load('lenet-5')._repr_html_(); "
        "sys.exit(any(m in sys.modules for m in ('matplotlib', 'xarray')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
