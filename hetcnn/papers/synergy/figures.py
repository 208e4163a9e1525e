"""The result figures of Synergy, one function each: the model's values beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from hetcnn.papers.published import numbers
from hetcnn.papers.results import variable
from hetcnn.papers.synergy import power
from hetcnn.papers.synergy.custom import best_custom
from hetcnn.papers.synergy.designs import DEFAULT, FPGA, NEON, Design, convolutions, run, system
from hetcnn.papers.synergy.fitting import machine
from hetcnn.papers.synergy.machine import NETWORKS, Machine, frame_ops, original_seconds, stages
from hetcnn.simulate import Schedule, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ENGINES",
    "cluster_times",
    "constant_predictor",
    "figure_7",
    "figure_9",
    "figure_10",
    "figure_11",
    "figure_12",
    "figure_13",
    "figure_14",
    "held_out",
    "speedup",
]

ENGINES = {"neon": NEON, "fpga": FPGA, "het": DEFAULT}
"""CPU + NEON, CPU + FPGA, and all of them."""

_FIG7_PES = tuple(range(1, 9))
_FIG7_FRAMES = 24


def speedup(made: Machine, name: str, design: Design, variant: int = 0) -> float:
    """Return the speed-up over the original Darknet: of the throughput, or of the latency if not pipelined."""
    schedule = run(made, name, design, variant)
    return original_seconds(name) * (schedule.rate if design.pipelined else 1 / schedule.latency)


def _published(pattern: str, columns: Sequence[str]) -> NDArray[np.float64]:
    return np.array([numbers("synergy", [pattern.format(n, c) for c in columns]) for n in NETWORKS])


def figure_7(network: str = "cifar_full") -> xr.Dataset:
    """Return time of the convolutions' jobs over the number of PEs, with one MMU and with one for two PEs.

    The paper does not name its workload; software is left out.
    """
    made = machine()
    layers = [s._replace(im2col=0, outputs=0) for s in convolutions(stages(network))]
    seconds = np.empty((2, len(_FIG7_PES)))
    for row, memory in enumerate(("single", "multi")):
        for column, pes in enumerate(_FIG7_PES):
            design = Design(((0, 0, pes),), stealing=False, memory=memory)  # type: ignore[arg-type]
            seconds[row, column] = 1 / simulate(system(made, layers, design), _FIG7_FRAMES).rate
    return xr.Dataset(
        {
            "time": variable("memory pes", 1e3 * seconds, "ms", "time per frame of the convolutions' jobs"),
            "speedup": variable("memory pes", seconds[:, :1] / seconds, "1", "speed-up over one PE"),
        },
        {"memory": ["single MMU", "multi MMU"], "pes": ("pes", list(_FIG7_PES), {"long_name": "PEs"})},
        {"title": f"Fig. 7: scaling over PEs, {network}"},
    )


def figure_9() -> xr.Dataset:
    """Return the original Darknet's frames/s (published, and from two software rates), Synergy's, and its Gop/s."""
    made = machine()
    gain = np.array([speedup(made, n, Design()) for n in NETWORKS])
    original = 1 / np.array([original_seconds(n) for n in NETWORKS])
    two_rates = 1 / np.array([made.original(stages(n)) for n in NETWORKS])
    work = np.array([frame_ops(n) / 1e9 for n in NETWORKS])
    return xr.Dataset(
        {
            "throughput": variable("network", gain * original, "frames/s", "throughput of Synergy"),
            "published": variable(
                "network",
                _published("fig9.{}.{}", ["synergy"])[:, 0],
                "frames/s",
                "throughput of Synergy, published",
                reading_rtol=0.01,
            ),
            "gops": variable("network", work * gain * original, "Gop/s", "performance of Synergy"),
            "original": variable("network", two_rates, "frames/s", "original Darknet from two software rates"),
            "published_original": variable(
                "network", original, "frames/s", "original Darknet, published", reading_rtol=0.01
            ),
            "speedup": variable("network", gain, "1", "speed-up over the original Darknet"),
            "published_speedup": variable(
                "network", _published("fig9.{}.{}", ["speedup"])[:, 0], "1", "speed-up, published", reading_error=0.05
            ),
        },
        {"network": list(NETWORKS)},
        {"title": "Fig. 9: throughput"},
    )


def figure_10() -> xr.Dataset:
    """Return the power of each rail while Synergy runs a network, and the energy of a frame."""
    made = machine()
    watts = np.array([[power.rail_watts(made, n)[r] for r in power.RAILS] for n in NETWORKS])
    joules = [power.synergy_energy(made, n) for n in NETWORKS]
    return xr.Dataset(
        {
            "power": variable("network rail", watts, "W", "mean power"),
            "published": variable(
                "network rail",
                _published("fig10.{}.{}", power.RAILS),
                "W",
                "mean power, published",
                reading_rtol=0.01,
            ),
            "total": variable("network", watts.sum(axis=1), "W", "total power"),
            "energy": variable("network", 1e3 * np.array(joules), "mJ/frame", "energy per frame"),
            "published_total": variable(
                "network",
                _published("fig10.{}.{}", ["total"])[:, 0],
                "W",
                "total power, published",
                reading_rtol=0.01,
            ),
        },
        {"network": list(NETWORKS), "rail": list(power.RAILS)},
        {"title": "Fig. 10: power by rail"},
    )


def _by_engines(where: str, title: str, what: str, pipelined: bool) -> xr.Dataset:
    made = machine()
    gain = np.empty((len(NETWORKS), len(ENGINES)))
    for row, network in enumerate(NETWORKS):
        for column, clusters in enumerate(ENGINES.values()):
            gain[row, column] = speedup(made, network, Design(clusters, pipelined=pipelined))
    theirs = _published(where + ".{}.{}", list(ENGINES))
    seconds = np.array([original_seconds(n) for n in NETWORKS])[:, None] / gain
    absolute = (1 / seconds, "frames/s") if pipelined else (1e3 * seconds, "ms")
    return xr.Dataset(
        {
            what: variable("network engines", *absolute, what),
            "speedup": variable("network engines", gain, "1", f"{what} speed-up"),
            "published": variable("network engines", theirs, "1", f"{what} speed-up, published", reading_error=0.005),
            "mean": variable("engines", gain.mean(axis=0), "1", f"mean {what} speed-up"),
            "published_mean": variable("engines", theirs.mean(axis=0), "1", f"mean {what} speed-up, published"),
        },
        {"network": list(NETWORKS), "engines": list(ENGINES)},
        {"title": title},
    )


def figure_11() -> xr.Dataset:
    """Return the latency of the non-pipelined designs, and their speed-up over single-core Darknet."""
    return _by_engines("fig11", "Fig. 11: latency, non-pipelined, one ARM core", "latency", False)


def figure_12() -> xr.Dataset:
    """Return the throughput of the pipelined designs, and their speed-up over single-core Darknet."""
    return _by_engines("fig12", "Fig. 12: throughput, pipelined, two ARM cores", "throughput", True)


def constant_predictor() -> xr.Dataset:
    """Return the mean absolute error of Fig. 12's speed-ups: the model's, and that of each column's published mean."""
    figure = figure_12()
    ours, theirs = figure["speedup"].to_numpy(), figure["published"].to_numpy()
    errors = (np.abs(ours - theirs), np.abs(theirs - theirs.mean(axis=0)))
    relative = 100 * errors[0] / theirs
    values = np.array([[*e.mean(axis=0), e.mean()] for e in errors])
    median = [*np.median(relative, axis=0), np.median(relative)]
    columns = [*ENGINES, "all"]
    return xr.Dataset(
        {
            "error": variable("predictor column", values, "1", "mean absolute error of the speed-up"),
            "share": variable("column", 100 * values[0] / values[1], "%", "model's error over the constant's"),
            "median": variable("column", median, "%", "median relative error of the model"),
        },
        {"predictor": ["model", "constant"], "column": columns},
        {"title": "Fig. 12 against a constant predictor"},
    )


def held_out() -> xr.Dataset:
    """Return the errors of each network's speed-ups when it took no part in the fit, beside those when it did."""
    shown = {
        "NEON, non-pipelined": Design(NEON, pipelined=False),
        "FPGA, non-pipelined": Design(FPGA, pipelined=False),
        "NEON": Design(NEON),
        "FPGA": Design(FPGA),
        "Synergy": Design(),
    }
    claims = ("fig11.{}.neon", "fig11.{}.fpga", "fig12.{}.neon", "fig12.{}.fpga", "fig12.{}.het")
    out, inside = np.empty((len(NETWORKS), len(shown))), np.empty((len(NETWORKS), len(shown)))
    for row, network in enumerate(NETWORKS):
        theirs = numbers("synergy", [c.format(network) for c in claims])
        for column, design in enumerate(shown.values()):
            inside[row, column] = 100 * (speedup(machine(), network, design) / theirs[column] - 1)
            out[row, column] = 100 * (speedup(machine(left_out=network), network, design) / theirs[column] - 1)
    return xr.Dataset(
        {
            "error": variable("network design", inside, "%", "error of the speed-up"),
            "held_out_size": variable(
                "network design", np.abs(out), "%", "absolute error of the speed-up, network left out of the fit"
            ),
            "held_out_error": variable(
                "network design", out, "%", "error of the speed-up, network left out of the fit"
            ),
        },
        {"network": list(NETWORKS), "design": list(shown)},
        {"title": "Errors with and without the network in the fit"},
    )


def figure_13() -> xr.Dataset:
    """Return the speed-ups of a static mapping on default (SF) and on custom clusters (SC), and of stealing."""
    made = machine()
    columns = ("sf", "sc", "synergy")
    gain = np.array(
        [
            [
                speedup(made, n, Design(stealing=False)),
                speedup(made, n, best_custom(made, n)),
                speedup(made, n, Design()),
            ]
            for n in NETWORKS
        ]
    )
    theirs = _published("fig13.{}.{}", columns)
    rate = gain / np.array([original_seconds(n) for n in NETWORKS])[:, None]
    return xr.Dataset(
        {
            "throughput": variable("network design", rate, "frames/s", "throughput"),
            "speedup": variable("network design", gain, "1", "throughput speed-up"),
            "published": variable("network design", theirs, "1", "throughput speed-up, published", reading_error=0.005),
            "gain": variable("over", _mean_gains(gain), "%", "mean gain of stealing"),
            "published_gain": variable("over", _mean_gains(theirs), "%", "mean gain of stealing, published ratios"),
        },
        {"network": list(NETWORKS), "design": list(columns), "over": ["sf", "sc"]},
        {"title": "Fig. 13: static default, static custom, stealing"},
    )


def _mean_gains(speedups: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over networks of synergy / sf and synergy / sc, less 1, in %."""
    return np.asarray(100 * (speedups[:, 2:] / speedups[:, :2] - 1).mean(axis=0))


def cluster_times(schedule: Schedule) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Return the layers with jobs; (cluster, layer) ms per frame of work, mean over engines, and of any engine at work.

    Needs a recorded schedule.
    """
    layers = [i for i, layer in enumerate(schedule.system.layers) if layer.jobs]
    clusters = schedule.system.clusters
    home = np.array([c for c, cluster in enumerate(clusters) for _ in cluster.engines])
    mean = np.array([schedule.busy[home == c][:, layers].mean(axis=0) for c in range(len(clusters))])
    tasks = schedule.tasks.where(schedule.tasks["part"] == "job", drop=True)
    cluster_of = {engine.name: c for engine, c in zip(schedule.system.engines, home, strict=True)}
    where = np.array([cluster_of[e] for e in tasks["engine"].to_numpy()])
    names = [schedule.system.layers[i].name for i in layers]
    start, finish, layer = (tasks[k].to_numpy() for k in ("start", "finish", "layer"))
    any_engine = np.zeros_like(mean)
    for c in range(len(clusters)):
        for j, name in enumerate(names):
            here = (where == c) & (layer == name)
            any_engine[c, j] = _union(start[here], finish[here])
    return names, 1e3 * mean / schedule.frames, 1e3 * any_engine / schedule.frames


def _union(start: NDArray[np.float64], finish: NDArray[np.float64]) -> float:
    """Return the length of a union of intervals."""
    order = np.argsort(start)
    total, end = 0.0, -np.inf
    for s, f in zip(start[order].tolist(), finish[order].tolist(), strict=True):
        total += max(0.0, f - max(s, end))
        end = max(end, f)
    return total


def figure_14(network: str = "cifar_alex") -> xr.Dataset:
    """Return the busy time of each cluster by layer, static against stealing, per frame of the pipeline.

    busy: mean over the cluster's engines; occupied: at least one of them works on the layer. Convolutions are counted
    from CONV-0, as in the paper.
    """
    made = machine()
    names: list[str] = []
    busy, occupied, ends, share = [], [], [], []
    for design in (Design(stealing=False), Design()):
        schedule = run(made, network, design, record=True)
        names, mean, any_engine = cluster_times(schedule)
        busy.append(mean)
        occupied.append(any_engine)
        ends.append(1e3 / schedule.rate)
        share.append(100 * schedule.results["cluster_utilisation"].to_numpy())
    return xr.Dataset(
        {
            "busy": variable("scheme cluster layer", np.array(busy), "ms", "busy time per frame, mean of the engines"),
            "occupied": variable(
                "scheme cluster layer", np.array(occupied), "ms", "time per frame with an engine at work"
            ),
            "total": variable("scheme cluster", np.array(busy).sum(axis=2), "ms", "busy time per frame, all layers"),
            "utilisation": variable("scheme cluster", np.array(share), "%", "utilisation"),
            "interval": variable("scheme", np.array(ends), "ms", "time from frame to frame"),
        },
        {
            "scheme": ["static", "stealing"],
            "cluster": ["Cluster-0", "Cluster-1"],
            "layer": [f"CONV-{i}" for i in range(len(names))],
        },
        {"title": f"Fig. 14: busy time of the clusters, {network}"},
    )
