"""Items through stages: one thread per stage, bounded queues between them, every start and end on record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.host.pinning import pinned

__all__ = ["Flow", "Work", "flow"]

FloatArray = NDArray[np.float64]
Work = Callable[[Any, int], Any]


@dataclass(frozen=True)
class Flow:
    """What happened: `start` and `end` (stages, frames) in seconds, processor time of each, the fullest each queue was.

    `queued` has one entry for each queue between two stages.
    """

    start: FloatArray
    end: FloatArray
    busy: FloatArray
    queued: tuple[int, ...]

    @property
    def frames(self) -> int:
        """Frames that went through."""
        return int(self.start.shape[1])

    def settled(self) -> slice:
        """The frames between filling and draining: without the first tenth, at least as many as there are stages."""
        return slice(min(max(len(self.start), self.frames // 10), self.frames - 2), None)

    @property
    def intervals(self) -> FloatArray:
        """Seconds between finished frames, in steady state."""
        return np.diff(self.end[-1, self.settled()])

    @property
    def throughput(self) -> float:
        """Frames/s in steady state."""
        done = self.end[-1, self.settled()]
        return float((len(done) - 1) / (done[-1] - done[0]))

    @property
    def latency(self) -> FloatArray:
        """Seconds of each frame from the start of the first stage to the end of the last."""
        return np.asarray(self.end[-1] - self.start[0])

    def schedule(self, frames: int = 8) -> list[tuple[str, int, float, float]]:
        """Return (stage, frame, start, end) of some frames in steady state, for a Gantt chart."""
        first = self.settled().start
        chosen = range(first, min(first + frames, self.frames))
        zero = float(self.start[0, first])
        return [
            (f"stage {k + 1}", n, float(self.start[k, n]) - zero, float(self.end[k, n]) - zero)
            for k in range(len(self.start))
            for n in chosen
        ]

    @property
    def stage_times(self) -> FloatArray:
        """Median processor time of each stage per frame."""
        return np.asarray(np.median(self.busy[:, self.settled()], axis=1))


_CLOSED = object()


class _Queue:
    """A first-in, first-out queue of at most `depth` items; once closed nobody waits on it any more.

    Two simple queues, of items and of free places: a condition variable would run a dozen lines of Python per item,
    under the lock that the stages' own calls need.
    """

    def __init__(self, depth: float, items: Sequence[Any] = ()) -> None:
        self.depth, self.items = depth, SimpleQueue[Any]()
        self.free: SimpleQueue[Any] | None = None
        for item in items:
            self.items.put(item)
        if depth != float("inf"):
            self.free = SimpleQueue()
            for _ in range(int(depth)):
                self.free.put(None)
        self.closed = False
        self.most = 0

    def put(self, item: Any) -> None:
        if self.free is not None:
            self._take(self.free)
            self.most = max(self.most, int(self.depth) - self.free.qsize())
        self.items.put(item)

    def get(self) -> Any:
        item = self._take(self.items)
        if self.free is not None and item is not _CLOSED:
            self.free.put(None)
        return item

    def _take(self, queue: SimpleQueue[Any]) -> Any:
        item = _CLOSED if self.closed else queue.get()
        return _CLOSED if self.closed else item

    def close(self) -> None:
        self.closed = True
        for queue in (self.items, self.free):
            if queue is not None:
                queue.put(_CLOSED)


class _Line:
    """The queues and records of one run; the last stage's queue leads back to the first."""

    def __init__(self, stages: Sequence[Work], items: Sequence[Any], frames: int, depth: int) -> None:
        self.stages, self.frames = stages, frames
        self.queues = [_Queue(float("inf"), items), *(_Queue(depth) for _ in stages[1:])]
        shape = (len(stages), frames)
        self.start, self.end, self.busy = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.errors: list[BaseException] = []

    def run(self, k: int, core: int | None) -> None:
        """Be stage k until all frames are through, or until a stage failed."""
        source, target = self.queues[k], self.queues[(k + 1) % len(self.queues)]
        try:
            with pinned(core):
                for frame in range(self.frames):
                    item = source.get()
                    if item is _CLOSED:
                        return
                    before = time.thread_time()
                    self.start[k, frame] = time.perf_counter()
                    item = self.stages[k](item, frame)
                    self.end[k, frame] = time.perf_counter()
                    self.busy[k, frame] = time.thread_time() - before
                    target.put(item)
        except BaseException as error:
            self.errors.append(error)
            for queue in self.queues:
                queue.close()


def flow(
    stages: Sequence[Work], items: Sequence[Any], frames: int, *, depth: int = 1, cores: Sequence[int | None] = ()
) -> Flow:
    """Send `frames` frames through `stages` and return what happened.

    Stage k is called as stage(item, frame) in its own thread, pinned to cores[k] where that is given, and returns the
    item for the next. Items circulate: there are never more frames in flight than items, nor more than `depth` waiting
    between two stages. The first error of a stage is raised here.

    >>> seen = []
    >>> done = flow([lambda item, n: item + [n], lambda item, n: seen.append(item[:]) or []], [[], []], 4)
    >>> seen, done.frames, max(done.queued) <= 1
    ([[0], [1], [2], [3]], 4, True)
    """
    if not stages or not items or frames < 3 or depth < 1:
        raise HetcnnError(
            f"{len(stages)} stages, {len(items)} items, {frames} frames, depth {depth}: at least 1, 1, 3 and 1"
        )
    line = _Line(stages, items, frames, depth)
    pins = [*cores, *[None] * len(stages)]
    threads = [threading.Thread(target=line.run, args=(k, pins[k]), daemon=True) for k in range(len(stages))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if line.errors:
        raise line.errors[0]
    return Flow(line.start, line.end, line.busy, tuple(queue.most for queue in line.queues[1:]))
