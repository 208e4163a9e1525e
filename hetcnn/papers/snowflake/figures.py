"""Roofline, line-up and power as labelled data, and how far the headlines move with assumptions."""

from __future__ import annotations

import tomllib
from functools import cache

import numpy as np
import xarray as xr

from hetcnn import data, platform, roofline
from hetcnn.errors import HetcnnError
from hetcnn.papers.published import number, numbers
from hetcnn.papers.results import variable
from hetcnn.papers.snowflake.config import COMPILED, HAND, assumptions, machine
from hetcnn.papers.snowflake.runs import NETWORKS, code, conv_seconds, run, variant

__all__ = ["energy", "layer_roofline", "line_up", "roofline_points", "sensitivity"]


def roofline_points(how: str = "compiled") -> xr.Dataset:
    """Return every network's intensity and rate (convolutions), the attainable rate, and a linear layer's.

    Intensity: ops over the bytes that the machine moves in convolutions. A linear layer moves two bytes for two ops.
    """
    on = machine()
    schedule = code(how)
    names, intensity, rate = [], [], []
    for n in NETWORKS:
        found = run(n, schedule)
        conv = [t for t in found.tasks if t.segment.plan.task.kind == "conv"]
        ops = sum(t.segment.plan.task.ops for t in conv)
        names.append(n)
        intensity.append(ops / sum(t.counts.bytes for t in conv))
        rate.append(ops / conv_seconds(found))
    names.append("linear layer")
    intensity.append(1.0)
    rate.append(float(roofline.attainable(1.0, on.peak_ops, on.bandwidth)))
    roof = roofline.attainable(intensity, on.peak_ops, on.bandwidth)
    theirs = np.full(len(names), np.nan)
    theirs[-1] = number("snowflake", "roofline.linear")
    return xr.Dataset(
        {
            "intensity": variable("point", intensity, "op/B", "arithmetic intensity"),
            "rate": variable("point", np.array(rate) / 1e9, "Gop/s", "rate"),
            "attainable": variable("point", roof / 1e9, "Gop/s", "attainable rate"),
            "published": variable("point", theirs, "Gop/s", "rate, published", reading_rtol=0.02),
            "knee": variable((), on.peak_ops / on.bandwidth, "op/B", "ridge point"),
        },
        {"point": names},
        {"title": f"Roofline of the ZC706, {how} code"},
    )


def layer_roofline(network: str = "alexnet", how: str = "hand") -> xr.Dataset:
    """Return the intensity and rate of every convolution of one network, and of all together (`total`)."""
    found = run(network, code(how))
    on = found.program.machine
    conv = [t for t in found.tasks if t.segment.plan.task.kind == "conv"]
    ops = np.array([t.segment.plan.task.ops for t in conv], float)
    moved = np.array([t.counts.bytes for t in conv], float)
    time = np.array([t.cycles for t in conv]) / on.clock
    ops, moved, time = (np.append(v, v.sum()) for v in (ops, moved, time))
    return xr.Dataset(
        {
            "intensity": variable("layer", ops / moved, "op/B", "arithmetic intensity"),
            "rate": variable("layer", ops / time / 1e9, "Gop/s", "rate"),
        },
        {"layer": [*(t.segment.name for t in conv), "total"]},
        {"title": f"{network}, {how} code"},
    )


def line_up() -> xr.Dataset:
    """Return peak rate, memory bandwidth, power and predicted frame rates of the line-up, 256 to 3,072 MACs.

    One ZC706, or AC510 boards of several clusters that share a board's memory (`data/papers/snowflake/line_up.toml`).
    Every cluster works on frames of its own, so rates add up; AlexNet and ResNet-18 on compiled code.
    """
    with data.path("papers", "snowflake", "line_up.toml").open("rb") as file:
        systems = tomllib.load(file)["system"]
    rows = []
    for s in systems:
        each = s["clusters_per_board"]
        one = machine(clock=s["clock"], bandwidth=s["bandwidth_per_board"] / each)
        clusters = s["boards"] * each
        fps = [clusters * run(n, COMPILED, one).frames_per_second for n in ("alexnet", "resnet-18")]
        memory, power = s["boards"] * s["bandwidth_per_board"], s["boards"] * s["power_per_board"]
        rows.append((clusters * one.peak_macs, clusters * one.peak_ops / 1e9, memory / 1e9, power, *fps))
    macs, peak, bandwidth, power_, alexnet, resnet = (np.array(c, float) for c in zip(*rows, strict=True))
    names = [s["name"] for s in systems]
    theirs = numbers("snowflake", [f"lineup.{n}.rate" for n in names])
    return xr.Dataset(
        {
            "macs": variable("system", macs, "MAC", "MACs"),
            "peak": variable("system", peak, "Gop/s", "peak rate"),
            "published_peak": variable("system", theirs, "Gop/s", "peak rate, published"),
            "bandwidth": variable("system", bandwidth, "GB/s", "memory bandwidth"),
            "power": variable("system", power_, "W", "power of the boards"),
            "alexnet": variable("system", alexnet, "frames/s", "AlexNet"),
            "resnet_18": variable("system", resnet, "frames/s", "ResNet-18"),
            "alexnet_per_joule": variable("system", alexnet / power_, "frames/J", "AlexNet per joule"),
        },
        {"system": names},
        {"title": "Line-up"},
    )


def energy() -> xr.Dataset:
    """Return AlexNet's frames per joule with each of the three published powers, compiled and hand-written."""
    powers = {
        "on-chip (compiler paper)": number("snowflake", "abstract.power"),
        "hardware papers": number("snowflake", "power.iscas"),
        "board (line-up)": number("snowflake", "power.lineup"),
    }
    rates = {"compiled": run("alexnet", COMPILED).frames_per_second, "hand": 1 / conv_seconds(run("alexnet", HAND))}
    values = [[rate / watts for rate in rates.values()] for watts in powers.values()]
    return xr.Dataset(
        {
            "power": variable("boundary", list(powers.values()), "W", "power"),
            "per_joule": variable("boundary schedule", values, "frames/J", "frames per joule"),
        },
        {"boundary": list(powers), "schedule": list(rates)},
        {"title": "AlexNet: energy"},
    )


def _doubled(low: float, high: float) -> tuple[float, ...]:
    """Return sizes from the least on, each twice the one before."""
    sizes = [low]
    while 2 * sizes[-1] <= high:
        sizes.append(2 * sizes[-1])
    return tuple(sizes)


@cache
def _variants() -> dict[str, dict[str, float]]:
    """Return the nominal machine and each assumption at the ends of its range (buffers: every power of two in it)."""
    board = platform.load("zc706")
    word = board.value("devices.snowflake.word")
    declared = {a["name"]: tuple(a["range"]) for a in assumptions()}
    ranges = {a.path.rpartition(".")[2]: (a.low, a.high) for a in board.assumptions() if ".snowflake." in a.path}
    declared["bank"] = _doubled(*(v / word / 2 for v in ranges["maps_per_unit"]))
    declared["weights"] = _doubled(*(v / word for v in ranges["weights_per_vmac"]))
    declared["ports"] = ranges["load_ports"]
    declared["bandwidth"] = (1e9 * number("snowflake", "roofline.slope"),)
    nominal = machine()
    found: dict[str, dict[str, float]] = {"nominal": {}}
    for name, ends in declared.items():
        for value in sorted(set(ends) - {getattr(nominal, name)}):
            whole = int(value) if float(value).is_integer() else value
            found[f"{name} = {whole:g}"] = {name: whole}
    return found


def _headlines(network: str, changes: dict[str, float], hand: bool) -> tuple[float, ...]:
    try:
        compiled = variant(network, "compiled", changes)
        rates = compiled.frames_per_second, compiled.bandwidth / 1e9
        if not hand:
            return rates
        by_hand = conv_seconds(variant(network, "hand", changes))
    except HetcnnError:  # a layer no longer fits
        return (np.nan,) * (4 if hand else 2)
    return (*rates, 1e3 * by_hand, by_hand / compiled.seconds)


def sensitivity(network: str = "alexnet", *, hand: bool = True) -> xr.Dataset:
    """Return how far the headlines move when one assumption moves over its range; NaN where a layer does not fit.

    bank: words of half a unit's maps buffer; weights: words of a vMAC's buffer. Both of the board file. Without
    `hand` only the compiled code's numbers.
    """
    rows = [_headlines(network, changes, hand) for changes in _variants().values()]
    columns = {
        "rate": ("frames/s", "frame rate, compiled"),
        "bandwidth": ("GB/s", "bandwidth, compiled"),
        "hand": ("ms", "convolutions, hand-written"),
        "ratio": ("1", "hand-written over compiled time"),
    }
    values = zip(*rows, strict=True)
    found = {k: variable("assumption", list(v), u, n) for (k, (u, n)), v in zip(columns.items(), values, strict=False)}
    return xr.Dataset(found, {"assumption": list(_variants())}, {"title": f"Sensitivity, {network}"})
