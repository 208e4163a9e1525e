"""What engines and layer threads share: slots that are given out in line, and rates that are shared equally."""

from __future__ import annotations

from heapq import heappop, heappush

from hetcnn.simulate.state import State

__all__ = ["Resources"]


class Resources(State):
    """Slots and shared rates.

    Users of a shared rate are numbered e (a transfer of engine e), E + e (computing of engine e on a fair core) and
    2 E + l (software of layer l); those who wait for slots e and E + l.
    """

    def acquire(self, slots: int, who: int, t: float) -> bool:
        """Take a free slot, or stand in line."""
        if not self.free[slots]:
            self.line[slots].append(who)
            return False
        self.free[slots] -= 1
        self.placed[slots] -= t
        return True

    def release(self, slots: int, t: float) -> int:
        """Hand a slot to the first in line and return who that is, or free it and return -1."""
        if self.line[slots]:
            return self.line[slots].popleft()
        self.free[slots] += 1
        self.placed[slots] += t
        return -1

    def join(self, p: int, user: int, amount: float, t: float) -> None:
        """Start an amount of service on a shared rate.

        `value` is the service that each user has had since the group was last empty; a user is done when it reaches
        the value at which it joined plus its amount, whoever comes and goes meanwhile.
        """
        group, share = self.group[p], self.share[p]
        users = len(group)
        if users:
            gain = (t - self.last[p]) * share[users]
            self.value[p] = value = self.value[p] + gain
            self.served[p] += gain * users
        else:
            self.value[p] = value = 0.0
        self.last[p] = t
        heappush(group, (value + amount, user))
        # Rounding may have carried `value` past the first in the group, but not time past now.
        self.due[p] = due = t + max(0.0, group[0][0] - value) / share[users + 1]
        if due < self.alarm[p]:
            self.alarm[p] = due
            heappush(self.heap, (due, self.E + p))

    def leave(self, p: int, t: float) -> int:
        """End the service that is due now and return whose it was."""
        group, share = self.group[p], self.share[p]
        users = len(group)
        value, user = heappop(group)
        self.served[p] += (t - self.last[p]) * share[users] * users
        if value > self.renew[p]:
            # A value that grows for ever loses digits; up to twice the subtrahend, subtracting is exact.
            self.group[p] = group = [(v - value, u) for v, u in group]
            value = 0.0
        self.value[p], self.last[p] = value, t
        if users > 1:
            self.due[p] = self.alarm[p] = due = t + (group[0][0] - value) / share[users - 1]
            heappush(self.heap, (due, self.E + p))
        return user
