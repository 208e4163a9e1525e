"""The makers' tables as labelled data: time and traffic by layer, module or stage, ours beside what is published."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import xarray as xr

from hetcnn.papers.published import number, numbers
from hetcnn.papers.results import variable
from hetcnn.papers.snowflake.config import HAND
from hetcnn.papers.snowflake.runs import NETWORKS, code, conv_seconds, run, seconds
from hetcnn.papers.snowflake.simulator import Run, TaskRun

__all__ = [
    "frame_rates",
    "group_of",
    "hand_against_compiled",
    "layer_table",
    "model_against_machine",
    "task_table",
    "traffic_table",
]

_STAGES = {"block1": "conv2_x", "block2": "conv3_x", "block3": "conv4_x", "block4": "conv5_x"}


def group_of(network: str, task: str) -> str:
    """Return the row of the layer table in which a task counts: layer, module (GoogLeNet) or stage (ResNet).

    >>> group_of("googlenet", "inception_4a/3x3"), group_of("resnet-50", "block4/unit1/conv2")
    ('inception_4a', 'conv5_x')
    """
    head = re.split("/", task)[0]
    return _STAGES.get(head, head) if network.startswith("resnet") else head


def _groups(network: str, found: Run) -> dict[str, list[TaskRun]]:
    """Return group -> its convolutions; a pooling on its own counts with nobody."""
    groups: dict[str, list[TaskRun]] = {}
    for t in found.tasks:
        if t.segment.plan.task.kind == "conv":
            groups.setdefault(group_of(network, t.segment.name), []).append(t)
    return groups


def _module_pools(network: str, found: Run) -> dict[str, list[TaskRun]]:
    """Return group -> poolings that are branches of it: it alone reads the result, and other parts of it the source."""
    groups: dict[str, list[TaskRun]] = {}
    for t in found.tasks:
        pool = t.segment.plan.task
        if pool.kind == "pool":
            readers = {group_of(network, r.name) for r in found.program.graph if r.source == pool.target}
            beside = {group_of(network, r.name) for r in found.program.graph if r.source == pool.source and r != pool}
            if len(readers) == 1 and readers <= beside:
                groups.setdefault(readers.pop(), []).append(t)
    return groups


def layer_table(network: str = "alexnet", how: str = "hand") -> xr.Dataset:
    """Return ops, theoretical and actual time, rate and efficiency by layer, module or stage, and in total.

    Ops count no taps on padding. Theoretical: ops over the peak. Pooling counts where it is fused into a convolution,
    as in the makers' AlexNet table; `pooling` is the time of the other poolings. `module` and `module_efficiency`: with
    the poolings that are branches of a module, and in total with all of them.
    """
    found = run(network, code(how))
    machine = found.program.machine
    groups = _groups(network, found)
    names = [*groups, "total"]
    tasks = [*groups.values(), [t for g in groups.values() for t in g]]
    ops = np.array([sum(t.segment.plan.task.ops for t in g) for g in tasks], float)
    actual = np.array([sum(t.cycles for t in g) for g in tasks]) / machine.clock
    pools = sum(t.cycles for t in found.tasks if t.segment.plan.task.kind == "pool") / machine.clock
    branches = _module_pools(network, found)
    module = actual + np.array([*(seconds(branches.get(n, []), machine.clock) for n in groups), pools])
    theirs = _published_rows(names) if (network, how) == ("alexnet", "hand") else {}
    columns = {
        "ops": (ops / 1e6, "Mop", "operations"),
        "theoretical": (1e3 * ops / machine.peak_ops, "ms", "time at the peak"),
        "actual": (1e3 * actual, "ms", "actual time"),
        "rate": (ops / actual / 1e9, "Gop/s", "rate"),
        "efficiency": (100 * ops / machine.peak_ops / actual, "%", "efficiency"),
        "module": (1e3 * module, "ms", "actual time with pooling"),
        "module_efficiency": (100 * ops / machine.peak_ops / module, "%", "efficiency with pooling"),
    }
    data = {key: variable("layer", values, unit, name) for key, (values, unit, name) in columns.items()}
    for key, (_, unit, name) in columns.items():
        if key in theirs:
            data[f"published_{key}"] = variable("layer", theirs[key], unit, f"{name}, published")
    data["pooling"] = variable((), 1e3 * pools, "ms", "poolings on their own")
    return xr.Dataset(data, {"layer": names}, {"title": f"{network}, {how}"})


def _published_rows(names: list[str]) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    keys = ("ops", "theoretical", "actual", "rate", "efficiency")
    return {k: numbers("snowflake", [f"table.alexnet.{n}.{k}" for n in names]) for k in keys}


def task_table(network: str = "alexnet", how: str = "compiled") -> xr.Dataset:
    """Return every task with what the compiler decided, its time, its waiting for loads and its bytes.

    Some bytes move in a neighbour's time (last stores, loads ahead), so a short task's bandwidth can pass the memory's.
    """
    found = run(network, code(how))
    clock = found.program.machine.clock

    def column(
        value: Callable[[TaskRun], object], unit: str, name: str
    ) -> tuple[tuple[str, ...], object, dict[str, object]]:
        return variable("layer", [value(t) for t in found.tasks], unit, name)  # type: ignore[arg-type]

    data = {
        "mode": column(lambda t: t.segment.plan.mode if t.segment.plan.task.kind == "conv" else "pool", "text", "mode"),
        "shared": column(lambda t: "kernels" if t.segment.plan.takes_rows else "maps", "text", "units share"),
        "order": column(lambda t: t.segment.plan.order, "text", "what stays"),
        "tiles": column(lambda t: len(t.segment.plan.tiles), "tiles", "map tiles"),
        "blocks": column(lambda t: t.segment.plan.blocks, "blocks", "kernel blocks"),
        "time": column(lambda t: 1e3 * t.cycles / clock, "ms", "time"),
        "waiting": column(lambda t: 1e3 * t.counts.waiting / clock, "ms", "waiting for loads"),
        "instructions": column(lambda t: t.counts.instructions, "instructions", "instructions executed"),
        "weights": column(lambda t: t.counts.weights / 1e6, "MB", "weights moved"),
        "maps": column(lambda t: (t.counts.maps + t.counts.stores) / 1e6, "MB", "maps moved"),
        "bandwidth": column(lambda t: t.counts.bytes / t.cycles * clock / 1e9, "GB/s", "bandwidth"),
    }
    return xr.Dataset(data, {"layer": [t.segment.name for t in found.tasks]}, {"title": f"{network}, {how}"})


def traffic_table(network: str = "alexnet", how: str = "hand") -> xr.Dataset:
    """Return weights and maps moved, and average bandwidths, by layer, module or stage, and in total.

    KiB and GiB/s, in which the makers' chart is drawn (its labels say kB and GB/s). Convolutions only.
    """
    found = run(network, code(how))
    groups = _groups(network, found)
    names = [*groups, "total"]
    tasks = [*groups.values(), [t for g in groups.values() for t in g]]
    time = np.array([sum(t.cycles for t in g) for g in tasks]) / found.program.machine.clock
    weights = np.array([sum(t.counts.weights for t in g) for g in tasks], float)
    maps = np.array([sum(t.counts.maps + t.counts.stores for t in g) for g in tasks], float)
    data = {
        "weights": variable("layer", weights / 1024, "KiB", "weights moved"),
        "maps": variable("layer", maps / 1024, "KiB", "maps moved"),
        "weights_bandwidth": variable("layer", weights / time / 2**30, "GiB/s", "bandwidth of weights"),
        "maps_bandwidth": variable("layer", maps / time / 2**30, "GiB/s", "bandwidth of maps"),
        "bandwidth": variable("layer", (weights + maps) / time / 2**30, "GiB/s", "bandwidth"),
        "bandwidth_si": variable("layer", (weights + maps) / time / 1e9, "GB/s", "bandwidth"),
    }
    if (network, how) == ("alexnet", "hand"):
        for key in ("weights", "maps"):
            theirs = numbers("snowflake", [f"chart.alexnet.{n}.{key}" for n in names])
            data[f"published_{key}"] = variable("layer", theirs, "KiB", f"{key} moved, published", reading_rtol=0.02)
    return xr.Dataset(data, {"layer": names}, {"title": f"{network}, {how}: traffic"})


def hand_against_compiled(network: str = "alexnet") -> xr.Dataset:
    """Return the time of both ways of writing code by layer, and their ratio.

    The total is the makers' comparison: the hand-written convolutions' time over the compiled frame's, pooling and all.
    `convolutions` and `frame` compare like with like.
    """
    hand, compiled = layer_table(network, "hand"), layer_table(network, "compiled")
    times = {"hand": hand["actual"].to_numpy().copy(), "compiled": compiled["actual"].to_numpy().copy()}
    convolutions = {key: value[-1] for key, value in times.items()}
    frame = {"hand": 1e3 * run(network, HAND).seconds, "compiled": 1e3 * run(network).seconds}
    times["compiled"][-1] = frame["compiled"]
    times = {key: np.append(value, (convolutions[key], frame[key])) for key, value in times.items()}
    data = {key: variable("layer", value, "ms", f"{key} code") for key, value in times.items()}
    data["ratio"] = variable("layer", times["hand"] / times["compiled"], "1", "hand over compiled")
    names = [*hand["layer"].to_numpy(), "convolutions", "frame"]
    return xr.Dataset(data, {"layer": names}, {"title": f"{network}: hand-written and compiled code"})


def frame_rates(how: str = "compiled") -> xr.Dataset:
    """Return frames/s, traffic, bandwidth, efficiency and frames/J by network.

    Convolutions and pooling, as in the paper; 5 W on-chip, the compiler paper's figure.
    """
    runs = [run(n, code(how)) for n in NETWORKS]
    peak = runs[0].program.machine.peak_ops
    ops = np.array([sum(t.segment.plan.task.ops for t in r.tasks) for r in runs], float)
    conv = np.array([conv_seconds(r) for r in runs])
    rate = np.array([r.frames_per_second for r in runs])

    def theirs(key: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        claims = [f"abstract.{n.replace('-', '')}.{key}" for n in NETWORKS]
        return numbers("snowflake", claims) if how == "compiled" else np.full(len(NETWORKS), np.nan)

    return xr.Dataset(
        {
            "rate": variable("network", rate, "frames/s", "frame rate"),
            "published_rate": variable("network", theirs("fps"), "frames/s", "frame rate, published"),
            "bandwidth": variable("network", [r.bandwidth / 1e9 for r in runs], "GB/s", "bandwidth"),
            "published_bandwidth": variable("network", theirs("bandwidth"), "GB/s", "bandwidth, published"),
            "time": variable("network", [1e3 * r.seconds for r in runs], "ms", "time of a frame"),
            "traffic": variable("network", [r.bytes / 1e6 for r in runs], "MB", "traffic of a frame"),
            "ops": variable("network", ops / 1e6, "Mop", "operations of a frame"),
            "efficiency": variable("network", 100 * ops / peak / conv, "%", "efficiency, convolutions"),
            "conv_rate": variable("network", ops / conv / 1e9, "Gop/s", "rate, convolutions"),
            "per_joule": variable(
                "network", rate / number("snowflake", "abstract.power"), "frames/J", "frames per joule"
            ),
        },
        {"network": list(NETWORKS)},
        {"title": f"Frame rates, {how} code"},
    )


def model_against_machine(network: str = "alexnet", how: str = "compiled") -> xr.Dataset:
    """Return the closed-form estimate beside the machine's cycles and bytes, by task."""
    found = run(network, code(how))
    clock = found.program.machine.clock
    estimates = [t.segment.choice.estimate for t in found.tasks if t.segment.choice is not None]
    time = np.array([[1e3 * e.total / clock for e in estimates], [1e3 * t.cycles / clock for t in found.tasks]])
    moved = np.array([[e.bytes / 1e6 for e in estimates], [t.counts.bytes / 1e6 for t in found.tasks]])
    return xr.Dataset(
        {
            "time": variable("by layer", time, "ms", "time"),
            "moved": variable("by layer", moved, "MB", "bytes moved"),
            "difference": variable("layer", 100 * (time[0] / time[1] - 1), "%", "estimate over machine"),
        },
        {"by": ["estimate", "machine"], "layer": [t.segment.name for t in found.tasks]},
        {"title": f"{network}, {how}: estimate and machine"},
    )
