"""Work: what an engine does with a job, and a layer's thread with its software, from asking for a core to the end."""

from __future__ import annotations

from heapq import heappush

from hetcnn.simulate.resources import Resources
from hetcnn.simulate.state import JOBS, PUT, WORK

__all__ = ["Work"]


class Work(Resources):
    """The parts of a job, and software work."""

    def begin(self, e: int, layer: int, t: float) -> None:
        """Start a job, or wait in line for the engine's core."""
        self.job[e] = layer
        slots = self.core[e]
        if slots < 0 or self.acquire(slots, e, t):
            self.work(e, t)
        else:
            self.asked[e] = t
            self.start[e] = -1.0

    def work(self, e: int, t: float) -> None:
        """Work on the job with the core in hand: compute and move, or move first."""
        self.start[e] = t
        amount = self.amount[e * self.L + self.job[e]]
        if not amount:
            self.parts[e] = 1
            self.compute(e, t)
            return
        if self.double[e]:
            self.parts[e] = 2
            self.compute(e, t)
        else:
            self.parts[e] = 1
        port = self.port[e]
        if port < 0 or self.acquire(port, e, t):
            self.join(self.path[e], e, amount, t)

    def compute(self, e: int, t: float) -> None:
        """Start computing."""
        fair, seconds = self.fair[e], self.cost[e * self.L + self.job[e]]
        if fair < 0:
            heappush(self.heap, (t + seconds, e))
        else:
            self.join(fair, self.E + e, seconds, t)

    def seconds(self, layer: int) -> float:
        """Return the seconds of the software work that a thread is at, before or after its jobs."""
        return self.plan.before[layer] if self.step[layer] == JOBS else self.plan.behind[layer]

    def ask_core(self, layer: int, t: float) -> None:
        """Start software work, or wait in line for a slot."""
        slots = self.plan.layer_core[layer]
        self.soft_asked[layer] = t
        self.soft_start[layer] = -1.0
        if slots < 0 or self.acquire(slots, self.E + layer, t):
            self.soften(layer, t)

    def soften(self, layer: int, t: float) -> None:
        """Start software work on the slot that the thread has."""
        self.soft_start[layer] = t
        self.delayed[layer] += t - self.soft_asked[layer]
        fair = self.plan.layer_fair[layer]
        if fair < 0:
            heappush(self.heap, (t + self.seconds(layer), self.code_software + layer))
        else:
            self.join(fair, 2 * self.E + layer, self.seconds(layer), t)

    def software_done(self, layer: int, t: float) -> None:
        """End software work: the slot goes to the first in line, the thread goes on."""
        self.software[layer] += t - self.soft_start[layer]
        if self.log is not None:
            who = self.E + (self.step[layer] == PUT)
            self.log.task(who, layer, self.frame[layer], self.soft_start[layer], t)
        slots = self.plan.layer_core[layer]
        if slots >= 0:
            self.pass_on(slots, t)
        self.wake(layer, WORK)

    def pass_on(self, slots: int, t: float) -> None:
        """Give up a slot; the first in line goes on with it at once."""
        who = self.release(slots, t)
        if who < 0:
            return
        if who >= self.E:
            self.soften(who - self.E, t)
        elif self.port[who] == slots:
            self.join(self.path[who], who, self.amount[who * self.L + self.job[who]], t)
        else:
            self.waited[who] += t - self.asked[who]
            self.work(who, t)
