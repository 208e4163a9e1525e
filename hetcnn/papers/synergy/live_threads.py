"""A simulated `System` as real threads: engines, private job queues, layer threads with mailboxes, and a thief.

The rules are those of `hetcnn.simulate`: a cluster hands jobs to its free engines in turn and keeps the others in its
queue; a cluster whose queue is empty while one of its engines is free stands in the idle book; the thief serves the
book in order and moves jobs from the front of a victim's queue. One lock guards all queues: it is held for
microseconds, jobs take milliseconds.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from random import Random
from typing import NamedTuple

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.blas import one_thread
from hetcnn.papers.synergy.live_jobs import Multiply, Operands, Stage
from hetcnn.simulate import System

__all__ = ["Record", "Software", "Task", "run", "wait_until"]

_SPIN = 1e-4  # seconds before the deadline at which sleeping ends: about what a sleep oversleeps
_PATIENCE = 60.0  # seconds without an end after which a run counts as stuck, on top of 50 times its nominal work

clock = time.perf_counter


class Job(NamedTuple):
    """What the paper puts into nine words: where the operands are, which tile, which layer."""

    layer: int
    frame: int
    operands: Operands
    tile: int


class Task(NamedTuple):
    """A job that was done: engine, layer and frame by number; the arithmetic ended at `computed`. Seconds."""

    engine: int
    layer: int
    frame: int
    start: float
    computed: float
    finish: float


class Software(NamedTuple):
    """What a layer's thread did with one frame: im2col, jobs pushed, last job's end noticed, and the rest. Seconds."""

    layer: int
    frame: int
    start: float
    pushed: float
    noticed: float
    finish: float


@dataclass
class Record:
    """A run, times from its start: jobs and software in order of finishing, steals as (time, thief, victim, jobs).

    products: (layer, frame) -> operands with the jobs' result. outputs: the last stage's output of each frame.
    """

    tasks: list[Task] = field(default_factory=list)
    software: list[Software] = field(default_factory=list)
    steals: list[tuple[float, int, int, int]] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    products: dict[tuple[int, int], Operands] = field(default_factory=dict)
    outputs: list[Array] = field(default_factory=list)

    @property
    def makespan(self) -> float:
        """Seconds until the last frame has left."""
        return self.left[-1]


def wait_until(deadline: float) -> None:
    """Sleep until shortly before a time of `perf_counter`, then give way to other threads until it has come."""
    remaining = deadline - clock()
    if remaining > _SPIN:
        time.sleep(remaining - _SPIN)
    while clock() < deadline:
        time.sleep(0)


def run(
    system: System, stages: Sequence[Stage], images: Sequence[Array], multiply: Sequence[Multiply], paced: bool
) -> Record:
    """Run one frame for each image through the stages, on threads, and return what happened.

    multiply: how each engine does a job. paced: a job then lasts as long as the system's engine says, at least.
    Raises HetcnnError for a system with what threads do not have here: bounded queues, engine buffers, cores, paths.
    """
    plain = all(c.queue is None and c.buffer == 0 for c in system.clusters)
    if not plain or system.slots or system.paths or system.in_flight is not None:
        raise HetcnnError(f"system '{system.name}': expected no bounded queue, buffer, slots, path or in_flight")
    if len(stages) != len(system.layers) or len(multiply) != len(system.engines):
        raise HetcnnError(f"{len(stages)} stages, {len(multiply)} engines: the system has others; give one of each")
    with _quiet():
        return _Machine(system, stages, images, multiply, paced).run()


@contextmanager
def _quiet() -> Iterator[None]:
    """One thread for each product, and no collection of garbage, as `timeit` does it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        with one_thread():
            yield
    finally:
        if collects:
            gc.enable()


class _Machine:
    def __init__(
        self,
        system: System,
        stages: Sequence[Stage],
        images: Sequence[Array],
        multiply: Sequence[Multiply],
        paced: bool,
    ) -> None:
        self.system, self.stages, self.images, self.multiply, self.paced = system, stages, images, multiply, paced
        clusters, self.policy = system.clusters, system.stealing
        names = [c.name for c in clusters]
        self.home = [c for c, cluster in enumerate(clusters) for _ in cluster.engines]
        self.target = [names.index(str(layer.cluster)) for layer in system.layers]
        self.seconds = [[e.seconds(layer) for layer in system.layers] for e in system.engines]
        self.members = [[e for e, home in enumerate(self.home) if home == c] for c in range(len(clusters))]
        self.lock = threading.Lock()
        self.look = threading.Condition(self.lock)
        self.queues: list[deque[Job]] = [deque() for _ in clusters]
        self.free = [True] * len(self.home)
        self.turn = [0] * len(clusters)
        self.book = [c for c, cluster in enumerate(clusters) if self.policy is not None and cluster.thief]
        self.random = Random(self.policy.seed if self.policy else 0).random
        self.inbox: list[SimpleQueue[Job | None]] = [SimpleQueue() for _ in self.home]
        self.remaining = [0] * len(stages)
        self.done = [threading.Semaphore(0) for _ in stages]
        self.box: list[SimpleQueue[Array | None]] = [SimpleQueue() for _ in stages]
        self.room = [threading.Semaphore(depth) for depth in system.depths]
        self.end: SimpleQueue[BaseException | None] = SimpleQueue()
        self.stop = False
        self.record = Record()
        self.zero = 0.0

    def run(self) -> Record:
        work: list[tuple[Callable[..., None], int]] = [(self.engine, e) for e in range(len(self.home))]
        work += [(self.layer, s) for s in range(len(self.stages))]
        if self.policy is not None:
            work.append((self.thief, 0))
        threads = [threading.Thread(target=self.guard, args=w, daemon=True) for w in work]
        slowest = [len(s.tiles) * max(t[i] for t in self.seconds) for i, s in enumerate(self.stages)]
        patience = _PATIENCE + self.paced * 50 * sum(slowest) * len(self.images)
        for thread in threads:
            thread.start()
        self.zero = clock()
        for image in self.images:
            self.box[0].put(image)
        try:
            failure = self.end.get(timeout=patience)
        except Empty:
            raise HetcnnError(
                f"system '{self.system.name}': the threads did not finish; is the machine busy?"
            ) from None
        finally:
            self.close()
        if failure is not None:
            raise failure
        for thread in threads:
            thread.join()
        return self.record

    def guard(self, work: Callable[[int], None], number: int) -> None:
        """Run a thread's work; whatever it raises ends the run."""
        try:
            work(number)
        except BaseException as error:
            self.end.put(error)

    def close(self) -> None:
        """Let every thread that waits go home."""
        with self.lock:
            self.stop = True
            self.look.notify_all()
        for queue in (*self.inbox, *self.box):
            queue.put(None)  # type: ignore[attr-defined]
        for semaphore in (*self.done, *self.room):
            semaphore.release(len(self.images) + 1)

    def engine(self, e: int) -> None:
        """Do jobs: multiply, then wait until this engine's time for such a job has passed."""
        multiply, seconds, log = self.multiply[e], self.seconds[e], self.record.tasks.append
        while True:
            job = self.inbox[e].get()
            while job is not None:
                start = clock()
                multiply(self.stages[job.layer], job.operands, job.tile)
                computed = clock()
                if self.paced:
                    wait_until(start + seconds[job.layer])
                finish, zero = clock(), self.zero
                log(Task(e, job.layer, job.frame, start - zero, computed - zero, finish - zero))
                job = self.finished(e, job)
            if self.stop:
                return

    def finished(self, e: int, job: Job) -> Job | None:
        """Count a job off and return the next one of the cluster's queue, if there is one."""
        c, following = self.home[e], None
        with self.lock:
            if self.queues[c]:
                following = self.queues[c].popleft()
                self.turn[c] = self.members[c].index(e) + 1
            else:
                self.free[e] = True
                self.list_idle(c)
            self.remaining[job.layer] -= 1
            if not self.remaining[job.layer]:
                self.done[job.layer].release()
        return following

    def list_idle(self, c: int) -> None:
        """Put a cluster into the idle book."""
        if self.policy is not None and self.system.clusters[c].thief and c not in self.book:
            self.book.append(c)
            self.look.notify()

    def give(self, c: int, job: Job) -> bool:
        """Hand a job to the free engine whose turn it is; False if there is none."""
        members = self.members[c]
        for i in range(len(members)):
            place = (self.turn[c] + i) % len(members)
            if self.free[members[place]]:
                self.free[members[place]] = False
                self.turn[c] = place + 1
                self.inbox[members[place]].put(job)
                return True
        return False

    def push(self, layer: int, frame: int, operands: Operands) -> None:
        """Push all jobs of a layer: to free engines in turn, the rest into the queue."""
        c, count = self.target[layer], len(self.stages[layer].tiles)
        with self.lock:
            self.remaining[layer] = count
            jobs = deque(Job(layer, frame, operands, tile) for tile in range(count))
            while jobs and self.give(c, jobs[0]):
                jobs.popleft()
            self.queues[c].extend(jobs)
            if c in self.book and not any(self.free[e] for e in self.members[c]):
                self.book.remove(c)
            self.look.notify()

    def thief(self, _: int) -> None:
        """Serve the idle book whenever there is an idle cluster and a queue to take from."""
        policy = self.policy
        assert policy is not None
        with self.lock:
            while not self.stop:
                victim = self.victim(policy.victim, policy.least) if self.book else -1
                if victim < 0:
                    self.look.wait()
                    continue
                c, queue = self.book.pop(0), self.queues[victim]
                jobs = deque(queue.popleft() for _ in range(policy.jobs(len(queue))))
                self.record.steals.append((clock() - self.zero, c, victim, len(jobs)))
                while jobs and self.give(c, jobs[0]):
                    jobs.popleft()
                self.queues[c].extend(jobs)
                if any(self.free[e] for e in self.members[c]):
                    self.list_idle(c)

    def victim(self, choice: str, least: int) -> int:
        """Choose a cluster to steal from; -1 if no queue is long enough."""
        enough = [c for c, queue in enumerate(self.queues) if len(queue) >= least]
        if not enough:
            return -1
        if choice == "random":
            return enough[math.floor(self.random() * len(enough))]
        return max(enough, key=lambda c: len(self.queues[c])) if choice == "longest" else enough[0]

    def layer(self, s: int) -> None:
        """Handle the frames in order: software, jobs, software, mailbox."""
        stage, record, last = self.stages[s], self.record, len(self.stages) - 1
        for frame in range(len(self.images)):
            x = self.box[s].get()
            if x is None or self.stop:
                return
            if s:
                self.room[s - 1].release()
            start, zero = clock(), self.zero
            operands = stage.before(x)
            pushed = clock()
            self.push(s, frame, operands)
            self.done[s].acquire()
            noticed = clock()
            y = stage.after(operands)
            finish = clock()
            record.products[s, frame] = operands
            record.software.append(Software(s, frame, start - zero, pushed - zero, noticed - zero, finish - zero))
            if s == last:
                record.outputs.append(y)
                record.left.append(clock() - zero)
            else:
                self.room[s].acquire()
                self.box[s + 1].put(y)
        if s == last:
            self.end.put(None)
