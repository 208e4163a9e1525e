"""Items through stages: one thread per stage, bounded queues between them, every start and end on record."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.host.pinning import pinned

__all__ = ["Flow", "flow"]

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

    @property
    def stage_times(self) -> FloatArray:
        """Median processor time of each stage per frame."""
        return np.asarray(np.median(self.busy[:, self.settled()], axis=1))


_STOP = object()


class _Line:
    """The queues and threads of one run."""

    def __init__(self, stages: Sequence[Work], items: Sequence[Any], frames: int, depth: int) -> None:
        self.stages, self.frames = stages, frames
        self.free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for item in items:
            self.free.put(item)
        self.between: list[queue.Queue[Any]] = [queue.Queue(depth) for _ in stages[1:]]
        shape = (len(stages), frames)
        self.start, self.end, self.busy = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.most = [0] * len(self.between)
        self.errors: list[BaseException] = []

    def run(self, k: int, core: int | None) -> None:
        try:
            with pinned(core):
                for frame in range(self.frames):
                    item = self.free.get() if k == 0 else self.between[k - 1].get()
                    if item is _STOP:
                        break
                    before = time.thread_time()
                    self.start[k, frame] = time.perf_counter()
                    item = self.stages[k](item, frame)
                    self.end[k, frame] = time.perf_counter()
                    self.busy[k, frame] = time.thread_time() - before
                    self._hand_on(k, item)
        except BaseException as error:
            self.errors.append(error)
            self.free.put(_STOP)
            for waiting in self.between[k:]:
                self._stop(waiting)
            for waiting in self.between[:k]:
                self._drain(waiting)

    def _hand_on(self, k: int, item: Any) -> None:
        if k == len(self.stages) - 1:
            self.free.put(item)
        else:
            self.between[k].put(item)
            self.most[k] = max(self.most[k], self.between[k].qsize())

    def _stop(self, waiting: queue.Queue[Any]) -> None:
        self._drain(waiting)
        waiting.put(_STOP)

    def _drain(self, waiting: queue.Queue[Any]) -> None:
        while True:
            try:
                waiting.get_nowait()
            except queue.Empty:
                return


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
    return Flow(line.start, line.end, line.busy, tuple(line.most))
