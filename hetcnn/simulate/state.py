"""The state of a running simulation, what is summed up of it, and the raw record."""

from __future__ import annotations

import math
from collections import deque
from random import Random
from typing import NamedTuple

from hetcnn.simulate.plan import Plan
from hetcnn.simulate.system import System

__all__ = ["Log", "Snapshot", "State"]

TAKE, BEFORE, JOBS, AFTER, PUT = range(5)  # what a layer's thread does next
NOTHING, FRAME, ROOM, WORK = range(4)  # what it waits for
NO, LISTED, UNDERWAY = range(3)  # a cluster and the list of the hungry; stolen jobs may be under way to it


class Snapshot(NamedTuple):
    """Sums up to `time`, all in seconds but for jobs and `served`.

    busy, done (E x L): working time and jobs finished; waited (E): engines holding a job, waiting for their core;
    software, delayed (L): layer threads working, and waiting for their core; queued (C), placed (R): integrals of
    queue lengths and of slots in use; served (P): bytes moved by paths, seconds worked by fair slots.
    """

    time: float
    busy: list[float]
    done: list[int]
    waited: list[float]
    software: list[float]
    delayed: list[float]
    queued: list[float]
    placed: list[float]
    served: list[float]


class Log:
    """The raw record: tasks, the length of a queue after each change, steals."""

    def __init__(self) -> None:
        self.who: list[int] = []
        self.layer: list[int] = []
        self.frame: list[int] = []
        self.start: list[float] = []
        self.finish: list[float] = []
        self.lengths: list[tuple[float, int, int]] = []
        self.steals: list[tuple[float, int, int, int]] = []

    def task(self, who: int, layer: int, frame: int, start: float, finish: float) -> None:
        """Add a task; `who` is an engine, or E for a layer's software before its jobs, E + 1 for that after."""
        self.who.append(who)
        self.layer.append(layer)
        self.frame.append(frame)
        self.start.append(start)
        self.finish.append(finish)


class State:
    """Flat lists over engines, clusters, layers and resources, numbered as in the plan."""

    def __init__(self, system: System, plan: Plan, frames: int, *, interval: float = 0.0, log: Log | None = None):
        self.plan, self.frames, self.interval, self.log = plan, frames, interval, log
        self.policy = system.stealing
        self.limit = frames if system.in_flight is None else system.in_flight
        self.E, self.L = plan.E, plan.L
        self.code_software = plan.E + plan.P
        self.code_steal = self.code_software + plan.L
        self.code_source = self.code_steal + plan.C
        self.cost, self.amount, self.double = plan.cost, plan.amount, plan.double
        self.core, self.port, self.fair, self.path = plan.core, plan.port, plan.fair, plan.path
        self.home, self.after, self.capacity, self.thief = plan.home, plan.after, plan.capacity, plan.thief
        self.heap: list[tuple[float, int]] = []
        self.ready: deque[int] = deque()
        self._engines()
        self._clusters()
        self._layers()
        self._resources()

    def _engines(self) -> None:
        plan, E = self.plan, self.plan.E
        self.job = [-1] * E
        self.start = [-1.0] * E
        self.asked = [0.0] * E
        self.parts = [0] * E
        self.room = list(plan.holds)
        self.pending: list[deque[int]] = [deque() for _ in range(E)]
        alone = [max(needs) < 0 for needs in zip(plan.core, plan.fair, plan.path, strict=True)]
        plain = [a and room == 1 and self.log is None for a, room in zip(alone, plan.holds, strict=True)]
        self.plain = plain + [False] * (self.code_source + 1 - E)
        self.busy, self.done, self.waited = [0.0] * (E * plan.L), [0] * (E * plan.L), [0.0] * E

    def _clusters(self) -> None:
        plan, C = self.plan, self.plan.C
        self.queues: list[deque[int]] = [deque() for _ in range(C)]
        self.senders: list[deque[int]] = [deque() for _ in range(C)]
        self.turn = list(plan.first)
        self.available = list(plan.sizes)
        self.queued = [0.0] * C
        self.look = False
        self.random = Random(self.policy.seed if self.policy else 0).random
        self.listed = [LISTED if thief else NO for thief in plan.thief]
        self.hungry = [c for c in range(C) if plan.thief[c]]
        self.underway: list[list[int]] = [[] for _ in range(C)]
        self.steals = [[0] * C for _ in range(C)]
        self.stolen = [[0] * C for _ in range(C)]

    def _layers(self) -> None:
        L = self.plan.L
        self.step, self.waits = [TAKE] * L, [NOTHING] * L
        self.frame = [-1] * L
        self.box = [0] * (L - 1)
        self.remaining, self.unsent = [0] * L, [0] * L
        self.soft_start, self.soft_asked = [-1.0] * L, [0.0] * L
        self.software, self.delayed = [0.0] * L, [0.0] * L
        self.entered: list[float] = []
        self.left: list[float] = []
        self.wanted: set[int] = set()
        self.marks: dict[int, Snapshot] = {}

    def _resources(self) -> None:
        plan, R, P = self.plan, self.plan.R, self.plan.P
        self.free = list(plan.places)
        self.line: list[deque[int]] = [deque() for _ in range(R)]
        self.placed = [0.0] * R
        users = range(1, self.E + self.L + 1)
        self.share = [[0.0, *(min(m, r / n) for n in users)] for r, m in zip(plan.rates, plan.limits, strict=True)]
        self.group: list[list[tuple[float, int]]] = [[] for _ in range(P)]
        self.value, self.last, self.served = [0.0] * P, [0.0] * P, [0.0] * P
        self.renew = [64 * largest for largest in plan.largest]
        self.due, self.alarm = [math.inf] * P, [math.inf] * P

    def wake(self, layer: int, reason: int) -> None:
        """Let a thread go on if it waits for that reason."""
        if self.waits[layer] == reason:
            self.waits[layer] = NOTHING
            self.ready.append(layer)

    def mark(self, *counts: int) -> None:
        """Ask for a snapshot when that many frames have left, in `marks`."""
        self.wanted.update(counts)

    def snapshot(self, t: float) -> Snapshot:
        """Return all sums up to `t`, work under way included; waits are counted when they end."""
        plan = self.plan
        busy, software = list(self.busy), list(self.software)
        for e, layer in enumerate(self.job):
            if layer >= 0 and self.start[e] >= 0:
                busy[e * self.L + layer] += t - self.start[e]
        for layer in range(self.L):
            if self.waits[layer] == WORK and self.step[layer] != AFTER and self.soft_start[layer] >= 0:
                software[layer] += t - self.soft_start[layer]
        queued = [a + t * len(q) for a, q in zip(self.queued, self.queues, strict=True)]
        in_use = [places - free for places, free in zip(plan.places, self.free, strict=True)]
        placed = [a + t * n for a, n in zip(self.placed, in_use, strict=True)]
        rate = [share[len(group)] * len(group) for share, group in zip(self.share, self.group, strict=True)]
        served = [s + (t - last) * r for s, last, r in zip(self.served, self.last, rate, strict=True)]
        waited, delayed = list(self.waited), list(self.delayed)
        return Snapshot(t, busy, list(self.done), waited, software, delayed, queued, placed, served)
