"""Clusters: queues with limited room, handing out jobs, the end of a job, and stealing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import heappush
from itertools import repeat

from hetcnn.simulate.state import LISTED, NO, UNDERWAY, WORK, Log
from hetcnn.simulate.work import Work

__all__ = ["Clusters"]


class Clusters(Work):
    """Queues, dispatch and thieves.

    A queue that holds jobs means that no engine of its cluster has room, and that threads wait to push means that the
    queue is full: whatever makes room hands on at once.
    """

    def push(self, layer: int, t: float) -> None:
        """Push a frame's jobs: to engines with room, into the queue, and the rest when there is room."""
        c = self.plan.target[layer]
        count = self.remaining[layer] = self.plan.jobs[layer]
        while count and self.available[c]:
            self.give(c, layer, t)
            count -= 1
        if not self.available[c] and self.listed[c] == LISTED:
            self.listed[c] = NO
            self.hungry.remove(c)
        if not count:
            return
        fit = min(count, max(0, self.capacity[c] - len(self.queues[c])))
        if fit:
            self.enqueue(c, repeat(layer, fit), fit, t)
        if count > fit:
            self.unsent[layer] = count - fit
            self.senders[c].append(layer)

    def enqueue(self, c: int, jobs: Iterable[int], count: int, t: float) -> None:
        """Append jobs to a queue; thieves will look at it."""
        self.queues[c].extend(jobs)
        self.queued[c] -= count * t
        self.look = True
        if self.log is not None:
            self.note(self.log, c, t)

    def dequeue(self, c: int, t: float) -> int:
        """Take the job at the front of a queue."""
        self.queued[c] += t
        layer = self.queues[c].popleft()
        if self.log is not None:
            self.note(self.log, c, t)
        return layer

    def note(self, log: Log, c: int, t: float) -> None:
        """Record the length of a queue."""
        log.lengths.append((t, c, len(self.queues[c])))

    def refill(self, c: int, t: float) -> None:
        """Let threads that wait for room push, one job each in turn."""
        senders = self.senders[c]
        while senders and len(self.queues[c]) < self.capacity[c]:
            layer = senders.popleft()
            self.enqueue(c, [layer], 1, t)
            self.unsent[layer] -= 1
            if self.unsent[layer]:
                senders.append(layer)

    def give(self, c: int, layer: int, t: float) -> None:
        """Hand a job to the next engine in turn that has room."""
        room, after, e = self.room, self.after, self.turn[c]
        while not room[e]:
            e = after[e]
        self.turn[c] = after[e]
        room[e] -= 1
        if not room[e]:
            self.available[c] -= 1
        if self.job[e] < 0:
            self.begin(e, layer, t)
        else:
            self.pending[e].append(layer)

    def vacate(self, e: int) -> None:
        """Note that an engine has room for one job more and that the queue is empty: its cluster may be hungry."""
        self.room[e] += 1
        c = self.home[e]
        if self.room[e] == 1:
            self.available[c] += 1
        self.starve(c)

    def starve(self, c: int) -> None:
        """List a cluster as hungry, unless it never steals, is listed, or stolen jobs are on their way to it."""
        if self.thief[c] and self.listed[c] == NO:
            self.listed[c] = LISTED
            self.hungry.append(c)
            self.look = True

    def part_done(self, e: int, t: float) -> None:
        """End computing or moving; with the last of them the job is finished."""
        self.parts[e] -= 1
        if not self.parts[e]:
            self.finish(e, t)

    def ring(self, p: int, t: float) -> None:
        """Look at a shared rate whose alarm rings: whoever is done goes on."""
        if t != self.alarm[p]:
            return  # an earlier alarm has taken its place
        if self.due[p] > t:
            self.alarm[p] = self.due[p]
            heappush(self.heap, (self.due[p], self.E + p))
            return
        self.alarm[p] = math.inf
        user, E = self.leave(p, t), self.E
        if user < E:
            self.transfer_done(user, t)
        elif user < 2 * E:
            self.part_done(user - E, t)
        else:
            self.software_done(user - 2 * E, t)

    def transfer_done(self, e: int, t: float) -> None:
        """End a transfer: the port goes to the first in line; then the job is done, or is computed."""
        port = self.port[e]
        if port >= 0:
            self.pass_on(port, t)
        if self.double[e]:
            self.part_done(e, t)
        else:
            self.compute(e, t)

    def finish(self, e: int, t: float) -> None:
        """End a job: core, engine and cluster go on, then the layer counts it off."""
        layer, c = self.job[e], self.home[e]
        self.busy[e * self.L + layer] += t - self.start[e]
        self.done[e * self.L + layer] += 1
        if self.log is not None:
            self.log.task(e, layer, self.frame[layer], self.start[e], t)
        self.job[e] = -1
        if self.core[e] >= 0:
            self.pass_on(self.core[e], t)
        if self.pending[e]:
            self.begin(e, self.pending[e].popleft(), t)
        if self.queues[c]:
            following = self.dequeue(c, t)
            self.turn[c] = self.after[e]
            if self.job[e] < 0:
                self.begin(e, following, t)
            else:
                self.pending[e].append(following)
            if self.senders[c]:
                self.refill(c, t)
        else:
            self.vacate(e)
        self.remaining[layer] -= 1
        if not self.remaining[layer]:
            self.wake(layer, WORK)

    def steal(self, t: float) -> None:
        """Let the hungry clusters steal, in the order in which they became hungry, as long as there is a victim."""
        policy = self.policy
        while self.hungry and policy is not None:
            victim = self.victim(policy.victim, policy.least)
            if victim < 0:
                return
            thief = self.hungry.pop(0)
            count = min(policy.jobs(len(self.queues[victim])), self.capacity[thief])
            self.underway[thief] = [self.dequeue(victim, t) for _ in range(count)]
            self.listed[thief] = UNDERWAY
            self.steals[thief][victim] += 1
            self.stolen[thief][victim] += count
            if self.log is not None:
                self.log.steals.append((t, thief, victim, count))
            self.refill(victim, t)
            if policy.overhead:
                heappush(self.heap, (t + policy.overhead, self.code_steal + thief))
            else:
                self.deliver(thief, t)

    def victim(self, choice: str, least: int) -> int:
        """Choose a cluster to steal from; -1 if no queue is long enough."""
        lengths = [len(queue) for queue in self.queues]
        if choice == "longest":
            longest = max(lengths)
            return lengths.index(longest) if longest >= least else -1
        enough = [c for c, length in enumerate(lengths) if length >= least]
        if not enough:
            return -1
        return enough[int(self.random() * len(enough))] if choice == "random" else enough[0]

    def deliver(self, c: int, t: float) -> None:
        """Put stolen jobs into the thief's queue and hand out what its engines have room for."""
        jobs, self.underway[c], self.listed[c] = self.underway[c], [], NO
        self.enqueue(c, jobs, len(jobs), t)
        while self.queues[c] and self.available[c]:
            self.give(c, self.dequeue(c, t), t)
        if self.available[c]:
            self.starve(c)
