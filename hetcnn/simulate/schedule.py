"""What a simulation returns: labelled results, made on first use from plain arrays, and the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.simulate.loop import Run
from hetcnn.simulate.parts import as_count, as_seconds
from hetcnn.simulate.plan import compile_system
from hetcnn.simulate.state import Log, Snapshot
from hetcnn.simulate.system import System
from hetcnn.text import table
from hetcnn.units import si

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["Schedule", "simulate"]

FloatArray = NDArray[np.float64]


def simulate(
    system: System, frames: int = 64, warmup: int | None = None, *, interval: float = 0.0, record: bool = False
) -> Schedule:
    """Run `frames` frames through a system from empty to empty and return its schedule.

    warmup: frames at either end that the steady part leaves out (None: as many as can be in flight besides the one
    that leaves, at most a quarter of the frames). interval: seconds between arriving frames (0: one always waits at
    the source). record: keep the raw tasks, queue lengths and steals, for pictures.

    >>> from hetcnn.simulate import Cluster, Engine, Layer, System
    >>> slow, fast = Engine("slow", time=2.0), Engine("fast", time=1.0)
    >>> system = System([Cluster("C0", (slow, fast))], [Layer("conv1", jobs=3, cluster="C0")])
    >>> schedule = simulate(system, frames=10)          # slow does 1 job in 2 s while fast does 2
    >>> schedule.makespan, schedule.throughput, schedule.utilisation.tolist()
    (20.0, 0.5, [1.0, 1.0])
    """
    count = as_count("frames", frames, 1)
    if warmup is None:
        warmup = min(system.max_in_flight - 1, count // 4)
    skip = as_count("warmup", warmup, 0)
    if count - 2 * skip < 1:
        raise HetcnnError(f"warmup: {skip} at either end leave nothing of {count} frames; at most {(count - 1) // 2}")
    log = Log() if record else None
    run = Run(system, compile_system(system), count, interval=as_seconds("interval", interval), log=log)
    zero = run.snapshot(0.0)
    run.mark(skip, count - skip)
    run.run()
    last = run.snapshot(run.left[-1])
    return Schedule(
        system=system,
        frames=count,
        warmup=skip,
        entered=np.array(run.entered),
        left=np.array(run.left),
        steals=np.array(run.steals, np.int64).reshape(run.plan.C, run.plan.C),
        stolen=np.array(run.stolen, np.int64).reshape(run.plan.C, run.plan.C),
        whole=(zero, last),
        steady=(run.marks.get(skip, zero), run.marks[count - skip]),
        log=log,
    )


@dataclass(frozen=True, eq=False)
class Schedule:
    """Result of `simulate`. Times in seconds; frames are counted from 0.

    entered, left: when each frame was taken by the first layer and left the last. steals, stolen: steals and stolen
    jobs, (thief, victim). whole, steady: all sums at the beginning and the end of the run and of its steady part, which
    lies between the exits of frames `warmup` - 1 and `frames` - `warmup` - 1 (from 0 on without warm-up).
    """

    system: System
    frames: int
    warmup: int
    entered: FloatArray
    left: FloatArray
    steals: NDArray[np.int64]
    stolen: NDArray[np.int64]
    whole: tuple[Snapshot, Snapshot] = field(repr=False)
    steady: tuple[Snapshot, Snapshot] = field(repr=False)
    log: Log | None = field(default=None, repr=False)

    @property
    def makespan(self) -> float:
        """Seconds until the last frame has left."""
        return float(self.left[-1])

    @property
    def window(self) -> float:
        """Seconds of the steady part."""
        return self.steady[1].time - self.steady[0].time

    @property
    def throughput(self) -> float:
        """Frames/s over the steady part; inf where nothing takes time."""
        return (self.frames - 2 * self.warmup) / self.window if self.window else math.inf

    @property
    def rate(self) -> float:
        """Frames/s as the slope of a line through the steady part's exits; inf where nothing takes time.

        It settles in fewer frames than `throughput`, which an early or late exit at either end moves.
        """
        exits = self.left[self.warmup : self.frames - self.warmup]
        number = np.arange(len(exits)) - (len(exits) - 1) / 2
        spread = float(number @ exits)
        return float(number @ number) / spread if spread else self.throughput

    @property
    def latencies(self) -> FloatArray:
        """Seconds of each frame from entering the first layer to leaving the last."""
        return self.left - self.entered

    @property
    def latency(self) -> float:
        """Mean latency of the frames that leave in the steady part."""
        return float(self.latencies[self.warmup : self.frames - self.warmup].mean())

    @property
    def busy(self) -> FloatArray:
        """Seconds that each engine worked for each layer, (engine, layer), over the whole run."""
        return self._by_layer("busy", self.whole)

    @property
    def jobs(self) -> NDArray[np.int64]:
        """Jobs that each engine finished for each layer, (engine, layer), over the whole run."""
        return self._by_layer("done", self.whole).astype(np.int64)

    @property
    def utilisation(self) -> FloatArray:
        """Share of the steady part in which each engine worked."""
        return self._per_second(self._by_layer("busy", self.steady).sum(axis=1))

    @cached_property
    def results(self) -> xr.Dataset:
        """Everything but the raw record, as a Dataset with units."""
        import xarray as xr

        engine_layer = ("engine", "layer")
        steady_busy = self._by_layer("busy", self.steady)
        members = np.array([i for i, c in enumerate(self.system.clusters) for _ in c.engines], int)
        cluster = np.bincount(members, self.utilisation, len(self.system.clusters)) / np.bincount(members)
        pair = ("thief", "victim")
        variables: dict[str, tuple[Any, Any, str, str]] = {
            "busy": (engine_layer, self.busy, "s", "working time, whole run"),
            "jobs": (engine_layer, self.jobs, "1", "jobs finished, whole run"),
            "steady_busy": (engine_layer, steady_busy, "s", "working time, steady part"),
            "utilisation": ("engine", self.utilisation, "1", "share of time working, steady part"),
            "waited": ("engine", self._between("waited", self.whole), "s", "time waited for the core with a job"),
            "cluster_utilisation": ("cluster", cluster, "1", "mean utilisation of the engines, steady part"),
            "queue": ("cluster", self._per_second(self._between("queued", self.steady)), "1", "mean jobs waiting"),
            "software": ("layer", self._between("software", self.whole), "s", "software time, whole run"),
            "delayed": ("layer", self._between("delayed", self.whole), "s", "software waiting for a core, whole run"),
            "resource_utilisation": ("resource", self._resource_use(), "1", "share of capacity in use, steady part"),
            "entered": ("frame", self.entered, "s", "time of entering the first layer"),
            "left": ("frame", self.left, "s", "time of leaving the last layer"),
            "latency": ("frame", self.latencies, "s", "latency"),
            "steals": (pair, self.steals, "1", "steals"),
            "stolen": (pair, self.stolen, "1", "stolen jobs"),
            "throughput": ((), self.throughput, "frames/s", "throughput, steady part"),
            "mean_latency": ((), self.latency, "s", "mean latency, steady part"),
            "makespan": ((), self.makespan, "s", "time until the last frame has left"),
        }
        data = {
            name: xr.DataArray(values, dims=dims, attrs={"units": units, "long_name": long_name})
            for name, (dims, values, units, long_name) in variables.items()
        }
        return xr.Dataset(data, self._coords(members), {"system": self.system.name, "frames": self.frames})

    def _coords(self, members: NDArray[np.int64]) -> dict[str, Any]:
        names = _names(self.system.clusters)
        return {
            "engine": _names(self.system.engines),
            "engine_cluster": ("engine", [names[c] for c in members]),
            "kind": ("engine", [engine.kind for engine in self.system.engines]),
            "layer": _names(self.system.layers),
            "cluster": names,
            "thief": names,
            "victim": names,
            "resource": self._resources(),
            "frame": np.arange(self.frames),
        }

    @cached_property
    def tasks(self) -> xr.Dataset:
        """The raw task list over `task`: engine, layer, frame, part, start and finish, in order of finishing.

        part is "job", "before" or "after"; the software's engine is its core ("software" for a processor of its own).
        Needs `record=True`.
        """
        import xarray as xr

        log = self._recorded("tasks")
        who, layer = np.array(log.who, int), np.array(log.layer, int)
        count = len(self.system.engines)
        software = np.array([item.core or "software" for item in self.system.layers])
        workers = np.array([*_names(self.system.engines), ""])
        data = {
            "engine": np.where(who < count, workers[np.minimum(who, count)], software[layer]),
            "layer": np.array(_names(self.system.layers))[layer],
            "frame": np.array(log.frame, int),
            "part": np.array(["job", "before", "after"])[np.maximum(who - count + 1, 0)],
        }
        times = {"start": log.start, "finish": log.finish}
        columns = {name: ("task", values) for name, values in data.items()}
        seconds = {n: ("task", np.array(v, float), {"units": "s", "long_name": n}) for n, v in times.items()}
        return xr.Dataset(columns | seconds)

    def queues(self, times: Sequence[float] | FloatArray | int = 400) -> xr.DataArray:
        """Return queue lengths (cluster, time) at given times, or at that many from 0 to the end.

        At a time of change it is the length after it. Needs `record=True`.
        """
        import xarray as xr

        log = self._recorded("queue lengths over time")
        at = np.linspace(0.0, self.makespan, times) if isinstance(times, int) else np.asarray(times, float)
        lengths = np.zeros((len(self.system.clusters), len(at)), int)
        for c in range(len(lengths)):
            steps = [(t, n) for t, cluster, n in log.lengths if cluster == c]
            found = np.searchsorted(np.array([t for t, _ in steps]), at, side="right")
            lengths[c] = np.array([0, *(n for _, n in steps)])[found]
        time = ("time", at, {"units": "s", "long_name": "time"})
        coords = {"cluster": _names(self.system.clusters), "time": time}
        attrs = {"units": "1", "long_name": "jobs waiting"}
        return xr.DataArray(lengths, coords, ("cluster", "time"), "queue", attrs)

    def gantt(self, *, frames: int = 4, until: float | None = None, ax: Axes | None = None) -> Axes:
        """Draw which engine works on which frame until the first `frames` frames have left, or for `until` seconds.

        Jobs of one frame without a pause between them are one bar. Software has a row for each core that is busy at
        once; on cores that are shared fairly, where more may run than there are cores, one for each thread ("cpu
        thread 3"). Needs `record=True`.
        """
        from hetcnn.plots import gantt

        if until is None:
            until = float(self.left[min(as_count("gantt: frames", frames, 1), self.frames) - 1])
        rows = self.bars(until)
        kinds = {row: "cpu" for row, *_ in rows} | {engine.name: engine.kind for engine in self.system.engines}
        return gantt(rows, kinds=kinds, until=until, ax=ax)

    def bars(self, until: float = math.inf) -> list[tuple[str, int, float, float]]:
        """Return (row, frame from 1, start, finish) of what starts before `until`, jobs without a pause joined.

        Rows come in order of declaration, then cores or, where these are shared fairly, threads. Needs `record=True`.
        """
        log = self._recorded("a picture")
        engines, layers = self.system.engines, self.system.layers
        shared = {slots.name for slots in self.system.slots if slots.fair}
        order = [i for i in range(len(log.who)) if log.start[i] < until]
        order.sort(key=lambda i: (log.start[i], log.finish[i]))
        rows: dict[str, list[tuple[int, float, float]]] = {engine.name: [] for engine in engines}
        for i in order:
            start, finish, frame = log.start[i], log.finish[i], log.frame[i] + 1
            if log.who[i] < len(engines):
                name = engines[log.who[i]].name
            else:
                core = layers[log.layer[i]].core or "software"
                name = _free_row(rows, f"{core} thread" if core in shared else core, start)
            row = rows.setdefault(name, [])
            if row and row[-1][0] == frame and start - row[-1][2] <= 1e-9 * finish:
                row[-1] = (frame, row[-1][1], finish)
            else:
                row.append((frame, start, finish))
        return [(name, *bar) for name, row in rows.items() for bar in row]

    def _recorded(self, what: str) -> Log:
        if self.log is None:
            raise HetcnnError(f"{what}: not recorded; use simulate(..., record=True)")
        return self.log

    def _between(self, name: str, part: tuple[Snapshot, Snapshot]) -> FloatArray:
        difference: FloatArray = np.subtract(getattr(part[1], name), getattr(part[0], name), dtype=float)
        return difference

    def _by_layer(self, name: str, part: tuple[Snapshot, Snapshot]) -> FloatArray:
        return self._between(name, part).reshape(len(self.system.engines), len(self.system.layers))

    def _per_second(self, values: FloatArray) -> FloatArray:
        return np.asarray(values / self.window if self.window else np.zeros_like(values))

    def _resources(self) -> list[str]:
        exclusive, fair = ([s.name for s in self.system.slots if s.fair is kind] for kind in (False, True))
        return [*exclusive, *_names(self.system.paths), *fair]

    def _resource_use(self) -> FloatArray:
        used = np.concatenate([self._between("placed", self.steady), self._between("served", self.steady)])
        capacity = {s.name: float(s.count) for s in self.system.slots} | {p.name: p.rate for p in self.system.paths}
        return np.asarray(self._per_second(used) / np.array([capacity[name] for name in self._resources()], float))

    def __str__(self) -> str:
        return f"{self._headline()}\n{self._table()}"

    def _headline(self) -> str:
        rate = f"{self.throughput:.4g} frames/s, latency {si(self.latency, 's')}"
        stolen = f", {int(self.stolen.sum())} jobs stolen" if self.system.stealing else ""
        return f"{self.system.name}: {self.frames} frames in {si(self.makespan, 's')}: {rate}{stolen}"

    def _table(self) -> str:
        owners = [c.name for c in self.system.clusters for _ in c.engines]
        jobs, worked = self.jobs.sum(axis=1), self.busy.sum(axis=1)
        rows = [
            [engine.name, owner, str(n), si(float(s), "s"), f"{100 * u:.1f}"]
            for engine, owner, n, s, u in zip(self.system.engines, owners, jobs, worked, self.utilisation, strict=True)
        ]
        return table(["engine", "cluster", "jobs", "busy", "used %"], rows, right=["jobs", "busy", "used %"])

    def _repr_html_(self) -> str:
        import base64
        from html import escape

        text = f"<b>{escape(self._headline())}</b><pre>{escape(self._table())}</pre>"
        if self.log is None:
            return f"<div>{text}</div>"
        import matplotlib.pyplot as plt

        from hetcnn.plots.style import png

        ax = self.gantt()
        image = base64.b64encode(png(ax)).decode("ascii")
        plt.close(ax.figure)  # type: ignore[arg-type]
        return f'<div>{text}<img alt="Gantt chart" src="data:image/png;base64,{image}"></div>'


def _names(items: Sequence[Any]) -> list[str]:
    return [item.name for item in items]


def _free_row(rows: dict[str, list[tuple[int, float, float]]], core: str, start: float) -> str:
    """The first row of a core on which nothing else is under way at `start`."""
    number = 1
    while rows.get(f"{core} {number}") and rows[f"{core} {number}"][-1][2] > start:
        number += 1
    return f"{core} {number}"
