"""Synergy's scheme on the machine you sit at: static and stealing runs beside the event simulation of the same system.

What is real: the convolutions (tile jobs of a whole network, one image after another), the arithmetic of every job, the
private queues, the layer threads and their mailboxes, the thief, the clock. What is set: the engines' speeds. A paced
engine computes its tile and then waits until its own time for such a job has passed; the wait is chosen so long that
the arithmetic is a small share of it. So five engines fit on two cores, and Python's lock and other load matter little.
Without pacing (`paced=False`) an engine is as fast as its way of multiplying: the quickest one does a job as one matrix
product, the others step by step; they then compete for cores, which the simulation knows of, and for Python's lock,
which it does not.

The simulation is given what single engines were measured to need for a job, and what the software around the jobs and
a wake-up of a thread take, each measured alone beforehand; nothing comes from the runs that it is compared with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.interpreter import Interpreter
from hetcnn.network import Network
from hetcnn.papers.results import Variable, variable
from hetcnn.papers.synergy import networks
from hetcnn.papers.synergy.live_jobs import Multiply, Stage, cut, step_by_step, whole
from hetcnn.papers.synergy.live_threads import Record, Task, run
from hetcnn.random_weights import with_random_weights
from hetcnn.simulate import Cluster, Engine, Layer, Schedule, Slots, Stealing, System, simulate

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CLUSTERS", "MODES", "Calibration", "Live", "calibrate", "experiment", "system_of"]

MODES = ("static", "stealing")
SOURCES = ("measured", "simulated")

DRAWS = 25
"""Simulations of each system, each with medians of measurements that are drawn anew (bootstrap)."""

CLUSTERS: Mapping[str, Mapping[str, float]] = {
    "C0": {"slow 1": 6e-4, "slow 2": 6e-4, "slow 3": 6e-4},
    "C1": {"fast 1": 3e-4, "fast 2": 3e-4},
}
"""Cluster -> engine -> seconds for each step of the k loop: a weak and a strong cluster, as in the paper.

The speeds are ours. With few jobs of a layer for each engine, who comes first by a hair decides how long engines wait
at the end of a layer: a first choice (CIFAR_Alex, 2 and 3 engines) gained 0.99 to 1.42 in neighbouring runs. This
system was then taken because simulations with jittered job times say that so little decides less in it.
"""

_KINDS = ("cpu-big", "cpu-little", "neon", "accelerator", "npu", "fpga")


def system_of(
    stages: Sequence[Stage],
    clusters: Mapping[str, Mapping[str, float]] = CLUSTERS,
    *,
    stealing: Stealing | None = None,
    mailbox: int = 1,
    name: str = "live",
) -> System:
    """Return the system: the first convolution on the first cluster, the others on the last (the paper's CIFAR_Alex).

    A job's nominal time is steps of its k loop x seconds per step of the engine.
    """
    names = list(clusters)
    if len(names) < 2:
        raise HetcnnError(f"clusters: {len(names)}; expected at least 2, a thief needs somebody to steal from")
    speeds = sorted({time for engines in clusters.values() for time in engines.values()})
    kinds = {time: _KINDS[i % len(_KINDS)] for i, time in enumerate(speeds)}
    parts = [Cluster(c, tuple(Engine(e, time=t, kind=kinds[t]) for e, t in clusters[c].items())) for c in names]
    layers = [
        Layer(stage.name, jobs=len(stage.tiles), work=stage.steps, cluster=names[-1] if i else names[0])
        for i, stage in enumerate(stages)
    ]
    return System(tuple(parts), tuple(layers), mailbox=mailbox, stealing=stealing, name=name)


Samples = tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """What single engines were measured to need, every measurement in seconds.

    job, arithmetic: a job, and its multiplying, by engine and layer. before: from a frame's arrival to the start of its
    first job, by layer. after: from the end of its last job to the mailbox. wake: waking a thread.
    """

    job: tuple[tuple[Samples, ...], ...]
    arithmetic: tuple[tuple[Samples, ...], ...]
    before: tuple[Samples, ...]
    after: tuple[Samples, ...]
    wake: Samples

    def medians(self, what: str) -> Array:
        """Return the medians of `job` or `arithmetic`, (engine, layer), of `before` or `after`, (layer,)."""
        found = getattr(self, what)
        nested = what in ("job", "arithmetic")
        return np.array([[median(s) for s in row] for row in found] if nested else [median(s) for s in found])

    def applied(self, system: System, pick: Callable[[Samples], float] = median, *, cores: int | None = None) -> System:
        """Return the system with what `pick` makes of the measurements; all share `cores`, if given.

        A steal takes two wake-ups: the thief's and the engine's.
        """
        rows = iter(self.job)
        names = [layer.name for layer in system.layers]
        core = None if cores is None else "core"

        def timed(engine: Engine) -> Engine:
            times = {name: float(pick(s)) for name, s in zip(names, next(rows), strict=True)}
            return replace(engine, time=times, core=core)

        clusters = tuple(replace(c, engines=tuple(map(timed, c.engines))) for c in system.clusters)
        layers = tuple(
            replace(layer, work=1.0, job_class=layer.name, before=float(pick(b)), after=float(pick(a)), core=core)
            for layer, b, a in zip(system.layers, self.before, self.after, strict=True)
        )
        slots = () if cores is None else (Slots("core", cores, fair=True),)
        stealing = system.stealing and replace(system.stealing, overhead=2 * float(pick(self.wake)))
        return replace(system, clusters=clusters, layers=layers, slots=slots, stealing=stealing)


def calibrate(
    system: System, stages: Sequence[Stage], image: Array, multiply: Sequence[Multiply], *, paced: bool = True
) -> Calibration:
    """Measure every engine alone: one image through a system that has no other engine.

    A job lasts from its start to the next one's, so that fetching the next job is in it. What a paced engine needs
    beyond its set time (fetching, oversleeping) does not depend on the layer: those measurements are pooled.
    """
    job: list[tuple[Samples, ...]] = []
    arithmetic: list[tuple[Samples, ...]] = []
    software: list[list[tuple[float, float, float]]] = [[] for _ in stages]
    for engine, way in zip(system.engines, multiply, strict=True):
        layers = tuple(replace(layer, cluster="alone") for layer in system.layers)
        alone = System((Cluster("alone", (engine,)),), layers, name=f"{engine.name} alone")
        record = run(alone, stages, [image], [way], paced)
        tasks = [[t for t in record.tasks if t.layer == i] for i in range(len(stages))]
        alone_times = [_intervals(found) for found in tasks]
        if paced:
            given = [engine.seconds(layer) for layer in layers]
            beyond = [t - g for times, g in zip(alone_times, given, strict=True) for t in times]
            alone_times = [tuple(g + extra for extra in beyond) for g in given]
        job.append(tuple(alone_times))
        arithmetic.append(tuple(tuple(t.computed - t.start for t in found) for found in tasks))
        arrived = record.software[0].start
        for at, found, soft in zip(software, tasks, record.software, strict=True):
            first, last = found[0].start, found[-1].finish
            at.append((first - arrived, soft.finish - last, first - soft.pushed))
            arrived = soft.finish
    before, after, wake = zip(*(zip(*at, strict=True) for at in software), strict=True)
    return Calibration(tuple(job), tuple(arithmetic), before, after, tuple(w for row in wake for w in row))


def _intervals(tasks: Sequence[Task]) -> Samples:
    gaps = tuple(b.start - a.start for a, b in pairwise(tasks))
    return gaps or (tasks[0].finish - tasks[0].start,)


@dataclass(frozen=True, eq=False)
class Live:
    """Outcome of `experiment`: labelled results, and for pictures the trace of each mode's median run and simulation.

    traces: mode -> tasks as in `Schedule.tasks`. schedules: mode -> simulation.
    """

    results: xr.Dataset
    traces: Mapping[str, xr.Dataset] = field(repr=False)
    schedules: Mapping[str, Schedule] = field(repr=False)

    def bars(self, mode: str = "stealing") -> list[tuple[str, int, float, float]]:
        """Return (engine, frame from 1, start, finish) of every job of the measured run, for `plots.gantt`."""
        trace = self.traces[mode]
        columns = (trace[name].values for name in ("engine", "frame", "start", "finish"))
        rows = [(str(e), int(f) + 1, float(a), float(b)) for e, f, a, b in zip(*columns, strict=True)]
        order = [str(e) for e in self.results.engine.values]
        return sorted(rows, key=lambda row: (order.index(row[0]), row[2]))

    def __str__(self) -> str:
        r = self.results
        gain = r.gain.sel(source="measured").item(), r.gain.sel(source="simulated").item()
        (low, low_s), (high, high_s) = r.gain_low.values, r.gain_high.values
        return (
            f"gain from stealing: measured {gain[0]:.3f} (pairs of runs {low:.3f} to {high:.3f}), "
            f"simulated {gain[1]:.3f} ({low_s:.3f} to {high_s:.3f}), {100 * r.gain_error.item():+.1f} %; "
            f"arithmetic {100 * r.arithmetic_share.item():.1f} % of the job time; "
            f"largest error of a convolution {r.numeric_error.item():.1e}; "
            f"not controlled: load average {r.attrs['load_average']:.1f} on {r.attrs['cores']} cores"
        )


def experiment(
    network: str | Network = "cifar_full",
    clusters: Mapping[str, Mapping[str, float]] = CLUSTERS,
    *,
    frames: int = 8,
    repeats: int = 5,
    tile: int = 32,
    mailbox: int = 2,
    amount: int | str = "half",
    paced: bool = True,
    seed: int = 0,
) -> Live:
    """Run a network statically mapped and with stealing, `repeats` times in turn, and simulate the same two systems.

    gain = makespan static / makespan stealing, of medians. Jobs are few and coarse, so that who comes first by a
    hair decides over the rest of a run: the simulation is therefore repeated too (`DRAWS` times, each with medians of
    measurements drawn anew), and its median and range stand beside the measured ones. Every convolution of
    every frame of every run is compared with the plain operator's. The default takes about five seconds. Raises
    HetcnnError for a network that is no chain of convolutions.
    """
    if min(frames, repeats) < 1:
        raise HetcnnError(f"frames {frames}, repeats {repeats}; expected whole numbers from 1 up")
    network = networks.load(network) if isinstance(network, str) else network
    network = network if network.weights else with_random_weights(network, seed)
    stages = cut(network, tile)
    rng = np.random.default_rng(seed)
    images = [rng.standard_normal(network.inputs[0].shape, np.float32) for _ in range(frames)]
    rule = Stealing(amount=amount)
    systems = {
        mode: system_of(stages, clusters, stealing=rule if mode == "stealing" else None, mailbox=mailbox, name=mode)
        for mode in MODES
    }
    multiply = _ways(systems["static"], paced)
    run(systems["static"], stages, images[:1], multiply, paced)  # what is slow only once: loading, first products
    calibration = calibrate(systems["static"], stages, images[0], multiply, paced=paced)
    records: dict[str, list[Record]] = {mode: [] for mode in MODES}
    for _ in range(repeats):
        for mode in MODES:
            records[mode].append(run(systems[mode], stages, images, multiply, paced))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    cores = None if paced else _cores()
    schedules = {mode: _drawn(systems[mode], calibration, frames, cores, rng) for mode in MODES}
    error = _numeric_error(network, stages, images, [r for mode in MODES for r in records[mode]])
    results = _dataset(systems["static"], schedules, records, calibration, error)
    return Live(
        results.assign_attrs(network=network.name, paced=int(paced), cores=_cores(), load_average=load),
        {mode: _trace(systems[mode], _middle(records[mode])) for mode in MODES},
        {mode: _middle(schedules[mode]) for mode in MODES},
    )


def _drawn(
    system: System, calibration: Calibration, frames: int, cores: int | None, rng: np.random.Generator
) -> list[Schedule]:
    """Simulate a system with bootstrapped medians of the measurements, `DRAWS` times."""

    def pick(samples: Samples) -> float:
        return float(np.median(rng.choice(samples, len(samples))))

    drawn = (calibration.applied(system, pick, cores=cores) for _ in range(DRAWS))
    return [simulate(each, frames, 0, record=True) for each in drawn]


def _ways(system: System, paced: bool) -> list[Multiply]:
    """How each engine multiplies: as one product, or without pacing step by step but for the quickest."""
    seconds = [engine.seconds(system.layers[0]) for engine in system.engines]
    return [whole if paced or s == min(seconds) else step_by_step for s in seconds]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _middle(runs: Sequence[Any]) -> Any:
    return sorted(runs, key=lambda r: r.makespan)[(len(runs) - 1) // 2]


def _numeric_error(
    network: Network, stages: Sequence[Stage], images: Sequence[Array], records: Sequence[Record]
) -> float:
    """Return the largest error of any convolution or output, relative to the largest value; inf if one is missing."""
    plain, worst = Interpreter.of(network), 0.0
    for frame, image in enumerate(images):
        expected = dict(plain.activations(image))
        for record in records:
            pairs = [(expected[network.outputs[0].name], record.outputs[frame])]
            for s, stage in enumerate(stages):
                pairs.append((expected[stage.layer.outputs[0].name], stage.convolved(record.products[s, frame])))
            for right, ours in pairs:
                error = float(np.abs(ours - right).max() / np.abs(right).max())
                worst = max(worst, error) if np.isfinite(error) else np.inf
    return worst


def _busy(system: System, record: Record) -> Array:
    """Seconds that each engine worked for each layer, (engine, layer)."""
    busy = np.zeros((len(system.engines), len(system.layers)))
    for task in record.tasks:
        busy[task.engine, task.layer] += task.finish - task.start
    return busy


def _dataset(
    system: System,
    schedules: Mapping[str, Sequence[Schedule]],
    records: Mapping[str, Sequence[Record]],
    calibration: Calibration,
    error: float,
) -> xr.Dataset:
    import xarray as xr

    frames = schedules["static"][0].frames
    measured = np.array([[r.makespan for r in records[mode]] for mode in MODES])
    simulated = np.array([[s.makespan for s in schedules[mode]] for mode in MODES])
    spans = (measured, simulated)
    makespan = np.stack([np.median(x, axis=1) for x in spans], axis=1)
    low, high = (np.stack([f(x, axis=1) for x in spans], axis=1) for f in (np.min, np.max))
    gains = [x[0] / x[1] for x in spans]
    gain = makespan[0] / makespan[1]
    busy = np.array(
        [
            [
                np.mean([_busy(system, r) for r in records[mode]], axis=0),
                np.mean([s.busy for s in schedules[mode]], axis=0),
            ]
            for mode in MODES
        ]
    )
    mean_span = np.stack([x.mean(axis=1) for x in spans], axis=1)[..., None]
    taken = {mode: np.mean([sum(n for *_, n in r.steals) for r in records[mode]]) for mode in MODES}
    stolen = [[taken[mode], np.mean([s.stolen.sum() for s in schedules[mode]])] for mode in MODES]
    homes = _homes(system)
    members = np.array([[home == c.name for home in homes] for c in system.clusters], float)
    tasks = [t for mode in MODES for r in records[mode] for t in r.tasks]
    job, nominal = calibration.medians("job"), [[e.seconds(layer) for layer in system.layers] for e in system.engines]
    late = [t.finish - t.start - nominal[t.engine][t.layer] for t in tasks]
    share = sum(t.computed - t.start for t in tasks) / sum(t.finish - t.start for t in tasks)
    each, quantiles = "mode source", [0.5, 0.95, 1.0]
    values: dict[str, Variable] = {
        "makespan": variable(each, makespan, "s", "time until the last frame has left, median"),
        "makespan_low": variable(each, low, "s", "shortest makespan"),
        "makespan_high": variable(each, high, "s", "longest makespan"),
        "throughput": variable(each, frames / makespan, "frames/s", "frames / median makespan"),
        "gain": variable("source", gain, "1", "gain from stealing: median makespan static / stealing"),
        "gain_low": variable("source", [g.min() for g in gains], "1", "least gain of a pair of runs"),
        "gain_high": variable("source", [g.max() for g in gains], "1", "greatest gain of a pair of runs"),
        "gain_error": variable("", gain[0] / gain[1] - 1, "1", "measured gain / simulated gain - 1"),
        "runs": variable("mode repeat", measured, "s", "makespan of each measured run"),
        "draws": variable("mode draw", simulated, "s", "makespan of each simulation"),
        "utilisation": variable(f"{each} engine", busy.sum(-1) / mean_span, "1", "share of the makespan working, mean"),
        "busy": variable(f"{each} cluster layer", np.einsum("ce,msel->mscl", members, busy), "s", "working time, mean"),
        "stolen": variable(each, np.array(stolen, float), "1", "stolen jobs, mean"),
        "job": variable("engine layer", job, "s", "time of a job, engine alone, median"),
        "nominal": variable("engine layer", nominal, "s", "time of a job as set"),
        "arithmetic": variable("engine layer", calibration.medians("arithmetic"), "s", "multiplying alone, median"),
        "arithmetic_share": variable("", share, "1", "share of multiplying in the time of all jobs"),
        "late": variable("quantile", np.quantile(late, quantiles), "s", "job longer than set, all runs"),
        "before": variable("layer", calibration.medians("before"), "s", "from a frame's arrival to its first job"),
        "after": variable("layer", calibration.medians("after"), "s", "from the last job's end to the mailbox"),
        "wake": variable("", median(calibration.wake), "s", "waking a thread, median"),
        "numeric_error": variable("", error, "1", "largest error of a convolution, relative to its largest value"),
    }
    coords = {
        "mode": list(MODES),
        "source": list(SOURCES),
        "engine": [e.name for e in system.engines],
        "engine_cluster": ("engine", homes),
        "kind": ("engine", [e.kind for e in system.engines]),
        "cluster": [c.name for c in system.clusters],
        "layer": [layer.name for layer in system.layers],
        "quantile": quantiles,
    }
    return xr.Dataset(values, coords, {"frames": frames})


def _homes(system: System) -> list[str]:
    return [c.name for c in system.clusters for _ in c.engines]


def _trace(system: System, record: Record) -> xr.Dataset:
    """Return the jobs of a run as `Schedule.tasks` has them; attribute makespan in seconds."""
    import xarray as xr

    engines = np.array([e.name for e in system.engines])
    layers = np.array([layer.name for layer in system.layers])
    tasks = record.tasks
    columns: dict[str, Any] = {
        "engine": ("task", engines[[t.engine for t in tasks]]),
        "layer": ("task", layers[[t.layer for t in tasks]]),
        "frame": ("task", np.array([t.frame for t in tasks])),
        "part": ("task", np.full(len(tasks), "job")),
        "start": variable("task", [t.start for t in tasks], "s", "start"),
        "finish": variable("task", [t.finish for t in tasks], "s", "finish"),
    }
    return xr.Dataset(columns, attrs={"makespan": record.makespan})
