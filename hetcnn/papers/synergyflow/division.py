"""The mechanism in closed form: two parts share an array and a memory path; the rigid array runs all layers in turn.

Layer i needs c_i seconds of the whole array and m_i seconds of the whole memory path for one batch. With C and M their
sums over both parts (the abstract prints no equation; these are ours):

    rigid     R = sum_i max(c_i, m_i)
    elastic   T = max(C, M)                         gain = R / T - 1 <= 1
    array     x = C_1 / C to the first part, the rest to the second

The elastic machine keeps the scarcer resource busy all the time; the other one is what complementary layers leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.units import non_negative

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Division", "Part", "best_fixed", "divide", "gain", "joined", "rigid_time", "time_of_share"]


@dataclass(frozen=True, eq=False)
class Part:
    """Layers of one part of the machine: seconds of the whole array (`array`) and of the whole memory path (`memory`).

    >>> part = Part([2.0, 1.0], [1.0, 3.0])
    >>> part.C, part.M, len(part)
    (3.0, 4.0, 2)
    """

    array: NDArray[np.float64]
    memory: NDArray[np.float64]

    def __init__(self, array: ArrayLike, memory: ArrayLike) -> None:
        object.__setattr__(self, "array", np.atleast_1d(non_negative("seconds of the array", array)))
        object.__setattr__(self, "memory", np.atleast_1d(non_negative("seconds of the memory", memory)))
        if self.array.shape != self.memory.shape:
            raise HetcnnError(f"part: {self.array.size} layers of the array, {self.memory.size} of the memory")

    @property
    def C(self) -> float:
        """Seconds of the whole array."""
        return float(self.array.sum())

    @property
    def M(self) -> float:
        """Seconds of the whole memory path."""
        return float(self.memory.sum())

    def __len__(self) -> int:
        return self.array.size


@dataclass(frozen=True)
class Division:
    """How the array and the memory path are divided between two parts in the steady state.

    period: seconds between finished batches; array, memory: the first part's shares (of the bytes moved, for memory);
    bound: "array", "memory" (what is busy all the time) or "undivided" (division does not pay).
    """

    period: float
    array: float
    memory: float
    bound: str


def joined(parts: Sequence[Part]) -> Part:
    """Return the layers of several parts as one."""
    return Part(np.concatenate([p.array for p in parts]), np.concatenate([p.memory for p in parts]))


def rigid_time(*parts: Part) -> float:
    """Return R = sum max(c, m): layers one after the other, each on the whole machine.

    >>> rigid_time(Part([2.0], [1.0]), Part([1.0], [3.0]))
    5.0
    """
    whole = joined(parts)
    return float(np.maximum(whole.array, whole.memory).sum())


def divide(first: Part, second: Part, reconfiguration: float = 0.0) -> Division:
    """Return the optimal division in closed form; bandwidth follows the layers (work-conserving).

    Each of the n_k layers of part k costs it `reconfiguration` seconds more, so its share of the array has to be
    x_k = C_k / (T - n_k r). The shares add up to 1 at the larger root of
    (T - n_1 r)(T - n_2 r) = C_1 (T - n_2 r) + C_2 (T - n_1 r), which is C for r = 0; T is that or M, the larger.
    T is a lower bound; it is reached while the layers of both parts complement each other, which `schedule` checks.

    >>> divide(Part([3.0], [0.5]), Part([1.0], [3.0]))            # C = 4, M = 3.5, rigid 3 + 3
    Division(period=4.0, array=0.75, memory=0.14285714285714285, bound='array')
    """
    undivided = rigid_time(first, second)
    a, b = len(first) * reconfiguration, len(second) * reconfiguration
    C, M = first.C + second.C, first.M + second.M
    if C == 0 or not len(first) or not len(second):
        return Division(undivided, 1.0 if len(first) else 0.0, first.M / M if M else 1.0, "undivided")
    half = (a + b + C) / 2
    array = half + sqrt(max(half**2 - (a * b + first.C * b + second.C * a), 0.0))
    period = max(array, M)
    if period >= undivided:
        return Division(undivided, first.C / C, first.M / M if M else 1.0, "undivided")
    share = first.C / (array - a)
    return Division(period, share, first.M / M, "array" if array >= M else "memory")


def gain(first: Part, second: Part, reconfiguration: float = 0.0) -> float:
    """Return the gain in % of the elastic over the rigid machine: 100 (R / T - 1), from 0 to 100.

    >>> gain(Part([3.0], [0.5]), Part([1.0], [3.0]))
    50.0
    """
    return 100 * (rigid_time(first, second) / divide(first, second, reconfiguration).period - 1)


def time_of_share(part: Part, array: float, memory: float, reconfiguration: float = 0.0) -> float:
    """Return the time of a part that has fixed shares of array and memory path: sum max(c / x + r, m / y).

    >>> time_of_share(Part([2.0, 1.0], [1.0, 3.0]), 0.5, 1.0)
    7.0
    """
    return float(np.maximum(part.array / array + reconfiguration, part.memory / memory).sum())


def best_fixed(first: Part, second: Part, reconfiguration: float = 0.0) -> tuple[float, float, float]:
    """Return (period, x, y): the best division that does not change, neither of the array nor of the bandwidth.

    Minimises max(T_1(x, y), T_2(1 - x, 1 - y)), which is convex: y by bisection where both are equal, x by a bounded
    search. Never faster than `divide`; with slack in the memory path, y is one of several that do.

    >>> [round(v, 6) for v in best_fixed(Part([3.0], [1.0]), Part([1.0], [3.0]))]
    [4.0, 0.75, 0.25]
    """
    from scipy.optimize import brentq, minimize_scalar

    def difference(y: float, x: float) -> float:
        ours = time_of_share(first, x, y, reconfiguration)
        return ours - time_of_share(second, 1 - x, 1 - y, reconfiguration)

    def at(x: float) -> tuple[float, float]:
        low, high = 1e-9, 1 - 1e-9
        if difference(low, x) * difference(high, x) > 0:
            y = low if abs(difference(low, x)) < abs(difference(high, x)) else high
        else:
            y = float(brentq(difference, low, high, args=(x,), xtol=1e-13))
        ours = time_of_share(first, x, y, reconfiguration)
        return max(ours, time_of_share(second, 1 - x, 1 - y, reconfiguration)), y

    found = minimize_scalar(lambda x: at(x)[0], bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-10})
    period, y = at(float(found.x))
    return period, float(found.x), y
