"""Whether the machine was quiet: how much of its cores other programs used while something ran."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["QUIET", "others_of", "wait"]

QUIET = 0.06
"""Cores that others may use, on average, in a run that counts as undisturbed."""

TICK = 0.015
"""Seconds that the system's count of busy time may be off: it counts whole ticks of a hundredth."""

_STAT = Path("/proc/stat")
T = TypeVar("T")


def _busy() -> float | None:
    """Seconds that all cores together have worked since the start of the system; None where that is not told."""
    try:
        fields = _STAT.read_text().split("\n", 1)[0].split()
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


def others_of(task: Callable[[], T]) -> tuple[T, float]:
    """Return what `task()` returns, and how many cores others used meanwhile; 0 where the system does not tell.

    >>> others_of(lambda: 7)[0]
    7
    """
    before, mine, start = _busy(), time.process_time(), time.perf_counter()
    result = task()
    after, spent, passed = _busy(), time.process_time() - mine, time.perf_counter() - start
    if before is None or after is None or passed <= 0:
        return result, 0.0
    return result, max(0.0, (after - before - spent - TICK) / passed)


def wait(limit: float) -> bool:
    """Wait until others leave the machine alone for a moment, at most `limit` seconds; returns whether they did."""
    end = time.perf_counter() + limit
    while True:
        if others_of(lambda: time.sleep(0.05))[1] <= 2 * QUIET:
            return True
        if time.perf_counter() > end:
            return False
        time.sleep(0.1)
