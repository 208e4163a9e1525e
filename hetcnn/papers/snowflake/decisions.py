"""What each decision of the compiler is worth: loop orders, modes, ports, everything switched off in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from hetcnn import zoo
from hetcnn.errors import unknown
from hetcnn.papers.results import variable
from hetcnn.papers.snowflake.choose import Candidate, candidates, choose
from hetcnn.papers.snowflake.config import COMPILED, HAND, Machine, Mode, Order, Schedule, machine
from hetcnn.papers.snowflake.model import quantised_efficiency
from hetcnn.papers.snowflake.runs import code, run
from hetcnn.papers.snowflake.simulator import Run
from hetcnn.papers.snowflake.tasks import Task, parse

__all__ = [
    "DECISIONS",
    "choices",
    "decisions",
    "loop_orders",
    "modes",
    "port_counts",
    "ports",
    "resnet_budget",
    "tiles",
    "walk",
]

DECISIONS: dict[str, Schedule] = {
    "compiled": COMPILED,
    "maps always stay": replace(COMPILED, order="maps"),
    "kernels always stay": replace(COMPILED, order="weights"),
    "cooperative mode only": replace(COMPILED, mode="coop"),
    "no double buffering": replace(COMPILED, double_buffer=False),
    "all loads on one port": replace(COMPILED, balance=False),
    "addresses in registers": replace(COMPILED, pointers="registers"),
    "delay slots filled": replace(COMPILED, fill_slots=True),
    "loads across layers": replace(COMPILED, across=True),
    "pooling fused": replace(COMPILED, fuse_pool=True),
    "hand-written": HAND,
}
"""The compiler as it is, with one decision changed at a time, and the hand-written schedule."""


def _convolutions(network: str) -> list[Task]:
    return [t for t in parse(zoo.load(network)) if t.kind == "conv"]


def _least(found: list[Candidate]) -> Candidate | None:
    return min(found, key=lambda c: c.cost, default=None)


def choices(
    task: Task, *, mode: Mode | None = None, order: Order | None = None, on: Machine | None = None
) -> list[Candidate]:
    """Return the plans of a task that fit, of one mode or order if given, cheapest first."""
    every = candidates(task, on or machine(), COMPILED)
    wanted = [c for c in every if mode in (None, c.plan.mode) and order in (None, c.plan.order)]
    return sorted(wanted, key=lambda c: c.cost)


def loop_orders(network: str = "alexnet") -> xr.Dataset:
    """Return bytes, time and bandwidth of both loop orders by layer (estimates), and which one the compiler takes.

    A layer whose map fits whole has one order only: everything is read once.
    """
    tasks = _convolutions(network)
    orders: tuple[Order, ...] = ("maps", "weights")
    best = [[_least(choices(t, order=o)) for t in tasks] for o in orders]
    taken = [choose(t, machine(), COMPILED).plan.order for t in tasks]

    def each(value: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        found = [[np.nan if c is None else float(getattr(c.estimate, value)) for c in row] for row in best]
        return np.array(found)

    clock = machine().clock
    moved, time = each("bytes"), each("total") / clock
    dims = "order layer"
    return xr.Dataset(
        {
            "moved": variable(dims, moved / 1e6, "MB", "bytes moved"),
            "weights": variable(dims, each("weights") / 1e6, "MB", "weights moved"),
            "time": variable(dims, 1e3 * time, "ms", "time"),
            "bandwidth": variable(dims, moved / time / 1e9, "GB/s", "bandwidth"),
            "taken": variable("layer", taken, "text", "what stays in the compiled code"),
        },
        {"order": ["maps stay", "kernels stay"], "layer": [t.name for t in tasks]},
        {"title": f"{network}: loop orders"},
    )


def modes(network: str = "alexnet") -> xr.Dataset:
    """Return each mode's efficiency by layer (estimates; NaN where its kernels do not fit), and the one taken."""
    tasks = _convolutions(network)
    kinds: tuple[Mode, ...] = ("coop", "indep")
    on = machine()

    def efficiency(task: Task, mode: Mode) -> float:
        best = _least(choices(task, mode=mode))
        return np.nan if best is None else 100 * task.macs / on.peak_macs / best.estimate.total

    return xr.Dataset(
        {
            "efficiency": variable("mode layer", [[efficiency(t, m) for t in tasks] for m in kinds], "%", "efficiency"),
            "lines": variable("layer", [100 * quantised_efficiency(t) for t in tasks], "%", "words over lines of 16"),
            "taken": variable("layer", [choose(t, on, COMPILED).plan.mode for t in tasks], "text", "mode taken"),
        },
        {"mode": ["cooperative", "independent"], "layer": [t.name for t in tasks]},
        {"title": f"{network}: modes"},
    )


def ports(network: str = "alexnet") -> xr.Dataset:
    """Return the bytes that every port carries, and the frame rate, with loads and stores balanced and not.

    `imbalance` is the fullest port over the mean: 1 is perfect balance, 4 all on one port.
    """
    runs = [run(network, COMPILED), run(network, DECISIONS["all loads on one port"])]
    carried = np.array([np.sum([t.counts.ports for t in r.tasks], axis=0) for r in runs], float)
    full = carried.max(axis=1) / carried.mean(axis=1)
    return xr.Dataset(
        {
            "carried": variable("balance port", carried / 1e6, "MB", "bytes per port"),
            "imbalance": variable("balance", full, "1", "fullest port over the mean"),
            "time": variable("balance", [1e3 * r.seconds for r in runs], "ms", "time of a frame"),
            "rate": variable("balance", [r.frames_per_second for r in runs], "frames/s", "frame rate"),
        },
        {"balance": ["balanced", "one port"], "port": list(range(carried.shape[1]))},
        {"title": f"{network}: load ports"},
    )


def port_counts(network: str = "alexnet") -> xr.Dataset:
    """Return the frame rate with loads and stores balanced over one to all ports, and the speed-up over one."""
    on = machine()
    counts = list(range(1, on.ports + 1))
    rates = np.array([run(network, COMPILED, replace(on, ports=n)).frames_per_second for n in counts])
    return xr.Dataset(
        {
            "rate": variable("ports", rates, "frames/s", "frame rate"),
            "speedup": variable("ports", rates / rates[0], "1", "speed-up over one port"),
            "imbalance": variable("ports", on.ports / np.array(counts), "1", "fullest port over the mean of all"),
        },
        {"ports": counts},
        {"title": f"{network}: ports used"},
    )


def decisions(network: str = "alexnet") -> xr.Dataset:
    """Return frame rate, traffic and bandwidth with each decision of the compiler changed in turn."""
    runs: list[Run] = [run(network, how) for how in DECISIONS.values()]
    return xr.Dataset(
        {
            "rate": variable("decision", [r.frames_per_second for r in runs], "frames/s", "frame rate"),
            "time": variable("decision", [1e3 * r.seconds for r in runs], "ms", "time of a frame"),
            "traffic": variable("decision", [r.bytes / 1e6 for r in runs], "MB", "traffic of a frame"),
            "bandwidth": variable("decision", [r.bandwidth / 1e9 for r in runs], "GB/s", "bandwidth"),
        },
        {"decision": list(DECISIONS)},
        {"title": f"{network}: decisions of the compiler"},
    )


def walk(task: str = "conv2", network: str = "alexnet") -> xr.Dataset:
    """Return every plan that the compiler weighs for one layer, cheapest first; times without the first kernels."""
    known = {t.name: t for t in _convolutions(network)}
    if task not in known:
        raise unknown(f"convolution of {network}", task, known)
    found = choices(known[task])
    clock = machine().clock
    names = [f"plan {i}" for i in range(1, len(found) + 1)]

    def text(values: list[str], name: str) -> tuple[tuple[str, ...], object, dict[str, object]]:
        return variable("plan", values, "text", name)

    def count(values: list[int], name: str) -> tuple[tuple[str, ...], object, dict[str, object]]:
        return variable("plan", values, "1", name)

    return xr.Dataset(
        {
            "mode": text([c.plan.mode for c in found], "mode"),
            "shared": text(["kernels" if c.plan.takes_rows else "maps" for c in found], "units share"),
            "stays": text(["maps" if c.plan.order == "maps" else "kernels" for c in found], "what stays"),
            "tiles": count([len(c.plan.tiles) for c in found], "tiles"),
            "rounds": count([c.plan.rounds for c in found], "rounds of channels"),
            "rounds_a_block": count([c.plan.per_block for c in found], "rounds loaded together"),
            "time": variable("plan", [1e3 * c.estimate.steady / clock for c in found], "ms", "time"),
            "moved": variable("plan", [c.estimate.bytes / 1e6 for c in found], "MB", "bytes moved"),
        },
        {"plan": names},
        {"title": f"{network}, {task}: plans"},
    )


def tiles(task: str = "conv2", network: str = "alexnet", how: str = "compiled") -> xr.Dataset:
    """Return a task's tiles: rows of results, rows of the map they read (halo included), and words in each unit.

    `halo`: rows that the tile before has read too. Where units take rows, the map's rows are those of all units.
    """
    plan = run(network, code(how)).program.segment(task).plan
    rows = [[plan.map_rows(t, u) for u in range(plan.machine.units)] for t in plan.tiles]
    first = [max(min(low for low, _ in each), 0) for each in rows]
    end = [min(max(high for _, high in each), plan.task.H) for each in rows]
    halo = [0, *(max(old - new, 0) for old, new in zip(end, first[1:], strict=False))]
    columns: dict[str, tuple[list[int], str, str]] = {
        "first": ([t.first for t in plan.tiles], "row", "first row of results"),
        "last": ([t.end - 1 for t in plan.tiles], "row", "last row of results"),
        "map_first": (first, "row", "first row of the map"),
        "map_last": ([e - 1 for e in end], "row", "last row of the map"),
        "halo": (halo, "rows", "rows read again"),
        "words": ([plan.tile_words(t) for t in plan.tiles], "words", "words in a unit's buffer"),
    }
    return xr.Dataset(
        {key: variable("tile", values, unit, name) for key, (values, unit, name) in columns.items()},
        {"tile": list(range(len(plan.tiles)))},
        {"title": f"{network}, {task}: tiles of the map"},
    )


def resnet_budget(published_ms: float, published_mb: float) -> xr.Dataset:
    """Return ResNet-18's time and traffic in parts: what the machine explains, and what is left."""
    found = run("resnet-18")
    on = found.program.machine
    conv = [t for t in found.tasks if t.segment.plan.task.kind == "conv"]
    ideal = sum(t.segment.plan.task.ops for t in conv) / on.peak_ops
    waiting = sum(t.counts.waiting for t in conv) / on.clock
    convolutions = sum(t.cycles for t in conv) / on.clock
    lines = sum(t.counts.busy for t in conv) / on.clock - ideal
    pooling = found.seconds - convolutions
    times = {
        "MACs at the peak": ideal,
        "lines, gathers, rows": lines,
        "waiting for loads": waiting,
        "issue and drain": convolutions - ideal - lines - waiting,
        "pooling": pooling,
    }
    once = sum(2 * t.segment.plan.weight_words for t in conv)
    weights = sum(t.counts.weights for t in found.tasks)
    compulsory = sum(_compulsory(t.segment.plan.task) for t in found.tasks)
    maps = sum(t.counts.maps + t.counts.stores for t in found.tasks)
    moved = {
        "weights once": once,
        "weights again": weights - once,
        "maps once": compulsory,
        "maps again": maps - compulsory,
        "instructions": found.instruction_bytes,
    }
    time = [1e3 * v for v in times.values()]
    traffic = [v / 1e6 for v in moved.values()]
    return xr.Dataset(
        {
            "time": variable("part", [*time, published_ms - sum(time)], "ms", "time"),
            "traffic": variable("source", [*traffic, published_mb - sum(traffic)], "MB", "traffic"),
        },
        {"part": [*times, "not explained"], "source": [*moved, "not explained"]},
        {"title": "ResNet-18: the published 46.7 ms and 102.8 MB"},
    )


def _compulsory(task: Task) -> int:
    words = task.H * task.W * task.C + task.OH * task.OW * task.OC * (2 if task.residual else 1)
    return 2 * words
