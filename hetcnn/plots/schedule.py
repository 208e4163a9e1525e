"""A schedule as a Gantt chart: which engine works on which frame, when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.plots.colours import colour, device_colour, on
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import linear_axis, named_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["gantt", "pipeline_schedule"]


class Task(NamedTuple):
    """One frame on one engine, in seconds."""

    engine: str
    frame: int
    start: float
    finish: float


def pipeline_schedule(stage_times: ArrayLike, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return start and finish of every frame on every stage, (frame, stage), with room to wait between stages.

    A frame starts on a stage when the stage before is done with it and the stage itself with the frame before.

    >>> start, finish = pipeline_schedule([1.0, 2.0], 2)
    >>> start.tolist(), finish.tolist()
    ([[0.0, 1.0], [1.0, 3.0]], [[1.0, 3.0], [2.0, 5.0]])
    """
    times = np.asarray(stage_times, dtype=float)
    if times.ndim != 1 or not times.size or not (np.isfinite(times) & (times >= 0)).all():
        raise HetcnnError(f"gantt: stage times {times.tolist()}; expected finite seconds from 0 up, one for each stage")
    if frames < 1:
        raise HetcnnError(f"gantt: {frames} frames; draw at least 1")
    start, finish = np.zeros((frames, len(times))), np.zeros((frames, len(times)))
    for f in range(frames):
        for s, time in enumerate(times):
            ready = finish[f, s - 1] if s else 0.0
            start[f, s] = max(ready, finish[f - 1, s] if f else 0.0)
            finish[f, s] = start[f, s] + time
    return start, finish


@styled
def gantt(
    schedule: Any,
    *,
    names: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    frames: int = 6,
    until: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw frames over engines, one row for each engine, the frame's number in each bar.

    `schedule` is an analysis (its best pipeline) or a pipeline plan; a list of seconds, one for each stage (or name ->
    seconds, or an array with a coordinate), of which the first `frames` frames are drawn; a Dataset with `start` and
    `finish` over frame and stage; or tuples (engine, frame, start, finish). `kinds` maps an engine to its kind of
    device. The time axis ends with the last task, or at `until` seconds.
    """
    if hasattr(schedule, "pipeline") and hasattr(schedule, "platform"):
        kinds = {n: device.kind for n, device in schedule.platform.devices.items()} | dict(kinds or {})
        schedule = schedule.pipeline
    if schedule is None:
        raise HetcnnError("gantt: there is no pipeline to draw")
    tasks = _tasks(schedule, names, frames)
    engines = list(dict.fromkeys(task.engine for task in tasks))
    ax = new_axes(ax, (7.2, min(1.1 + 0.42 * len(engines), 9.0)))
    end = until if until is not None else max((task.finish for task in tasks), default=0.0) * 1.01
    if not end > 0:
        raise HetcnnError("gantt: nothing to draw; the schedule takes no time")
    given = kinds or {}
    for task in tasks:
        if task.start < end:
            _bar(ax, task, engines.index(task.engine), _colour_of(task.engine, given), end)
    named_axis(ax.yaxis, [name.split("\t")[0] for name in engines])
    ax.set_ylim(len(engines) - 0.5, -0.5)
    ax.set_xlim(0, end)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    linear_axis(ax.xaxis, [end], "time", "s")
    return ax


def _colour_of(engine: str, kinds: Mapping[str, str]) -> str:
    name = engine.split("\t")[0]
    if name in kinds:
        return device_colour(name, kinds[name])
    return colour(name.split()[0].split(":")[0] if name else name)


def _bar(ax: Axes, task: Task, row: int, face: str, end: float) -> None:
    width = min(task.finish, end) - task.start
    shade = 1.0 if task.frame % 2 == 0 else 0.72  # neighbours differ, so that a busy engine still shows its frames
    ax.barh(row, width, 0.72, left=task.start, color=face, alpha=shade, edgecolor="white", linewidth=0.8, zorder=2)
    text = str(task.frame)
    if width > 0.013 * len(text) * end:
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5, "color": on(face), "zorder": 3}
        ax.text(task.start + width / 2, row, text, clip_on=True, **style)


def _tasks(schedule: Any, names: Sequence[str] | None, frames: int) -> list[Task]:
    if hasattr(schedule, "stages"):
        schedule = schedule.stages
    if hasattr(schedule, "data_vars"):
        return _from_dataset(schedule, names, frames)
    if isinstance(schedule, Mapping):
        return _from_times(list(schedule.values()), names or list(schedule), frames)
    if hasattr(schedule, "dims"):
        dim = str(schedule.dims[0])
        own = [str(v) for v in schedule[dim].values] if dim in schedule.coords else None
        return _from_times(schedule.values, names or own, frames)
    items = list(schedule) if isinstance(schedule, Iterable) else [schedule]
    if items and all(hasattr(i, "device") and hasattr(i, "time") for i in items):
        return _from_times([i.time for i in items], names or [str(i.device) for i in items], frames)
    if items and all(isinstance(i, tuple) and len(i) == 4 for i in items):
        return [Task(str(e), int(f), float(a), float(b)) for e, f, a, b in items]
    return _from_times(items, names, frames)


def _from_times(times: Any, names: Sequence[str] | None, frames: int) -> list[Task]:
    start, finish = pipeline_schedule(times, frames)
    return _from_arrays(start, finish, names)


def _from_dataset(data: Any, names: Sequence[str] | None, frames: int) -> list[Task]:
    start, finish = data["start"], data["finish"]
    stage = str(start.dims[-1])
    own = [str(v) for v in data[stage].values] if stage in data.coords else None
    return _from_arrays(np.asarray(start)[:frames], np.asarray(finish.transpose(*start.dims))[:frames], names or own)


def _from_arrays(start: NDArray[np.float64], finish: NDArray[np.float64], names: Sequence[str] | None) -> list[Task]:
    given = list(names) if names is not None else [f"stage {s + 1}" for s in range(start.shape[1])]
    if len(given) != start.shape[1]:
        raise HetcnnError(f"gantt: {len(given)} names for {start.shape[1]} stages; give one each")
    # Two stages may have one name (B2-B2-s3-s1); the tab keeps their rows apart and is not shown.
    keys = [name + "\t" * given[:s].count(name) for s, name in enumerate(given)]
    return [
        Task(keys[s], f + 1, float(start[f, s]), float(finish[f, s]))
        for f in range(start.shape[0])
        for s in range(start.shape[1])
    ]
