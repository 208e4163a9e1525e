"""Claim id -> the function that gives the model's value. The ids are those of `data/papers/snowflake/claims.toml`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from hetcnn import zoo
from hetcnn.papers import Value
from hetcnn.papers.published import number
from hetcnn.papers.snowflake import figures, tables
from hetcnn.papers.snowflake.config import HAND, machine
from hetcnn.papers.snowflake.plan import line_count
from hetcnn.papers.snowflake.runs import conv_seconds, run
from hetcnn.papers.snowflake.tasks import parse

__all__ = ["CLAIMS"]

Entry = tuple[str, Callable[[], Value]]
_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "total")


@cache
def _layers() -> object:
    return tables.layer_table("alexnet", "hand")


@cache
def _traffic() -> object:
    return tables.traffic_table("alexnet", "hand")


def _cell(table: Callable[[], object], name: str, layer: str) -> Callable[[], Value]:
    return lambda: float(table()[name].sel(layer=layer))  # type: ignore[index]


def _headlines() -> Iterator[Entry]:
    for key, network in (("alexnet", "alexnet"), ("resnet18", "resnet-18")):
        yield f"abstract.{key}.fps", lambda n=network: run(n).frames_per_second  # type: ignore[misc]
        yield f"abstract.{key}.bandwidth", lambda n=network: run(n).bandwidth / 1e9  # type: ignore[misc]
        yield f"derived.{key}.traffic", lambda n=network: run(n).bytes / 1e6  # type: ignore[misc]
    yield "derived.alexnet.ratio", lambda: float(tables.hand_against_compiled()["ratio"].sel(layer="total"))
    yield "derived.resnet18.time", lambda: 1e3 * run("resnet-18").seconds


def _hand() -> Iterator[Entry]:
    for layer in _LAYERS:
        for key in ("ops", "theoretical", "actual", "rate", "efficiency"):
            yield f"table.alexnet.{layer}.{key}", _cell(_layers, key, layer)
    for layer in _LAYERS[:-1]:
        for kind in ("weights", "maps"):
            yield f"chart.alexnet.{layer}.{kind}", _cell(_traffic, kind, layer)
            # The labels that contradict the chart's own bars are compared with the published volumes over time.
            yield f"chart.alexnet.{layer}.{kind}_label", _label(layer, kind)
    yield "chart.alexnet.bandwidth", _cell(_traffic, "bandwidth", "total")
    yield "blog.conv3.weights", lambda: _cell(_traffic, "weights", "conv3")() * 1024 / 1e6  # type: ignore[operator]
    yield "blog.conv3.maps", lambda: _conv3_input() / 1e6
    yield "blog.conv3.bandwidth", _post_bandwidth
    yield "hardware.alexnet.fps", _hand_rate
    yield "hardware.alexnet.rate", _cell(_layers, "rate", "total")
    yield "hardware.alexnet.efficiency", _cell(_layers, "efficiency", "total")
    yield "iscas.alexnet.fps", _hand_rate
    yield "iscas.alexnet.efficiency", _cell(_layers, "efficiency", "total")
    yield "iscas.alexnet.per_joule", lambda: _hand_rate() / number("snowflake", "power.iscas")


def _hand_rate() -> float:
    """Frames per second of the hand-written convolutions, which is what the makers' total is."""
    return 1 / conv_seconds(run("alexnet", HAND))


def _post_bandwidth() -> float:
    """The post's megabytes over the table's milliseconds, in GB/s."""
    moved = number("snowflake", "blog.conv3.weights") + number("snowflake", "blog.conv3.maps")
    return moved / number("snowflake", "table.alexnet.conv3.actual")


def _conv3_input() -> int:
    """Bytes of conv3's map."""
    task = next(t for t in parse(zoo.load("alexnet")) if t.name == "conv3")
    return 2 * task.H * task.W * task.C


def _label(layer: str, kind: str) -> Callable[[], Value]:
    if kind == "weights" and layer in ("conv3", "conv5"):
        return lambda: _published_bandwidth(layer)
    return _cell(_traffic, f"{kind}_bandwidth", layer)


def _published_bandwidth(layer: str) -> float:
    """The chart's weights over the table's time, in GiB/s."""
    volume = number("snowflake", f"chart.alexnet.{layer}.weights") / 2**20
    return volume / number("snowflake", f"table.alexnet.{layer}.actual") * 1e3


def _board() -> Iterator[Entry]:
    yield "config.peak", lambda: machine().peak_ops / 1e9
    yield "config.trace_cycles", lambda: 16 * line_count(256 * 3)
    yield "roofline.slope", lambda: machine().bandwidth / 1e9
    yield "roofline.roof", lambda: machine().peak_ops / 1e9
    yield "roofline.knee", lambda: float(figures.roofline_points("hand")["knee"])
    yield "roofline.linear", lambda: float(figures.roofline_points("hand")["rate"].sel(point="linear layer"))
    yield "roofline.alexnet.intensity", _published_intensity
    for name in ("256", "1k", "2k", "3k"):
        yield f"lineup.{name}.rate", lambda n=name: float(figures.line_up()["peak"].sel(system=n))  # type: ignore[misc]
        yield f"lineup.{name}.bandwidth", lambda n=name: float(figures.line_up()["bandwidth"].sel(system=n))  # type: ignore[misc]
        if name != "256":
            yield f"lineup.{name}.power", lambda n=name: float(figures.line_up()["power"].sel(system=n))  # type: ignore[misc]


def _published_intensity() -> float:
    """The table's ops over the chart's bytes."""
    volumes = [number("snowflake", f"chart.alexnet.{n}.{k}") for n in _LAYERS[:-1] for k in ("weights", "maps")]
    return number("snowflake", "table.alexnet.total.ops") * 1e6 / (1024 * sum(volumes))


def _contradictions() -> Iterator[Entry]:
    yield "abstract.power", lambda: number("snowflake", "power.iscas")
    yield "power.iscas", lambda: number("snowflake", "abstract.power")
    yield "power.lineup", lambda: number("snowflake", "power.iscas")
    yield "emc2.alexnet.fps", lambda: number("snowflake", "abstract.alexnet.fps")
    yield "lctes.alexnet.fps", lambda: number("snowflake", "abstract.alexnet.fps")
    yield "lctes.alexnet.bandwidth", lambda: number("snowflake", "abstract.alexnet.bandwidth")


_GROUPS = (_headlines, _hand, _board, _contradictions)
CLAIMS: dict[str, Callable[[], Value]] = {name: function for group in _GROUPS for name, function in group()}
