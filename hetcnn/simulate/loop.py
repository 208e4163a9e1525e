"""The event loop and the layers' threads: flat lists, whole numbers and one heap; no object is made for a job.

What happens in which order is stated in the package's docstring. An event is (time, code). Codes number engines (end of
computing), shared rates (something of theirs is done), layers (end of software work), clusters (arrival of stolen
jobs) and the source, in this order, so that the heap itself keeps the rule for equal times.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace

from hetcnn.simulate.clusters import Clusters
from hetcnn.simulate.state import AFTER, BEFORE, FRAME, JOBS, PUT, ROOM, TAKE, WORK

__all__ = ["Run"]


class Run(Clusters):
    """One simulation; `run` carries it from the empty system to the exit of the last frame."""

    def run(self) -> None:
        """Handle events in order until the last frame has left."""
        heap, ready, plain, left, frames = self.heap, self.ready, self.plain, self.left, self.frames
        job, start, busy, done, remaining = self.job, self.start, self.busy, self.done, self.remaining
        home, queues, senders, queued = self.home, self.queues, self.senders, self.queued
        cost, turn, after, E, L = self.cost, self.turn, self.after, self.E, self.L
        ready.extend(range(L))
        self.settle(0.0)
        while len(left) < frames:
            t, e = heap[0]
            if plain[e]:  # `finish` for an engine that needs nothing but itself, without a call
                layer = job[e]
                k = e * L + layer
                busy[k] += t - start[e]
                done[k] += 1
                c = home[e]
                if queues[c]:
                    job[e] = following = queues[c].popleft()
                    start[e] = t
                    heapreplace(heap, (t + cost[k - layer + following], e))
                    queued[c] += t
                    turn[c] = after[e]
                    if senders[c]:
                        self.refill(c, t)
                else:
                    heappop(heap)
                    job[e] = -1
                    self.vacate(e)
                remaining[layer] -= 1
                if not remaining[layer]:
                    self.wake(layer, WORK)
            else:
                heappop(heap)
                if e < E:
                    self.part_done(e, t)
                else:
                    self.handle(t, e)
            if ready or self.look:
                self.settle(t)

    def handle(self, t: float, code: int) -> None:
        """Handle an event that is no end of computing, but for what threads and thieves make of it."""
        if code < self.code_software:
            self.ring(code - self.E, t)
        elif code < self.code_steal:
            self.software_done(code - self.code_software, t)
        elif code < self.code_source:
            self.deliver(code - self.code_steal, t)
        else:
            self.wake(0, FRAME)

    def settle(self, t: float) -> None:
        """Let the threads that were woken go on, then the hungry clusters steal."""
        ready = self.ready
        while ready:
            self.go(ready.popleft(), t)
        if self.look:
            self.steal(t)
            self.look = False

    def go(self, layer: int, t: float) -> None:
        """Carry a thread on until it has to wait."""
        plan, step = self.plan, self.step[layer]
        while True:
            if step == TAKE:
                if not self.take(layer, t):
                    self.step[layer], self.waits[layer] = TAKE, FRAME
                    return
                step = BEFORE
            if step == BEFORE:
                step = JOBS
                if plan.before[layer]:
                    break
            if step == JOBS:
                step = AFTER
                if plan.jobs[layer]:
                    self.step[layer], self.waits[layer] = AFTER, WORK
                    self.push(layer, t)
                    return
            if step == AFTER:
                step = PUT
                if plan.behind[layer]:
                    break
            if not self.put(layer, t):
                self.step[layer], self.waits[layer] = PUT, ROOM
                return
            step = TAKE
        self.step[layer], self.waits[layer] = step, WORK
        self.ask_core(layer, t)

    def take(self, layer: int, t: float) -> bool:
        """Take the next frame from the mailbox in front, the first layer from the source; False if there is none."""
        if layer:
            if not self.box[layer - 1]:
                return False
            self.box[layer - 1] -= 1
            self.wake(layer - 1, ROOM)
        else:
            entered, due = self.entered, len(self.entered) * self.interval
            if len(entered) == self.frames or len(entered) - len(self.left) >= self.limit:
                return False
            if due > t:
                heappush(self.heap, (due, self.code_source))
                return False
            entered.append(t)
        self.frame[layer] += 1
        return True

    def put(self, layer: int, t: float) -> bool:
        """Put the frame into the mailbox behind, or let it leave the last layer; False if the mailbox is full."""
        if layer < self.L - 1:
            if self.box[layer] == self.plan.depths[layer]:
                return False
            self.box[layer] += 1
            self.wake(layer + 1, FRAME)
        else:
            self.left.append(t)
            if len(self.left) in self.wanted:
                self.marks[len(self.left)] = self.snapshot(t)
            self.wake(0, FRAME)
        return True
