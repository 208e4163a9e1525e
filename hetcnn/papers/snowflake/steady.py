"""Loops over blocks of kernels that have settled: whole periods are skipped where only time and bytes are asked for.

Such a loop swaps two halves of a buffer, so it repeats every second iteration. Once everything that is still to come
(busy decoders, loads on their way, pages in use), seen from the core's clock, is what it was two iterations ago, every
further pair of iterations takes the same time and moves the same bytes. The last iterations, which load nothing ahead,
are run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetcnn.papers.snowflake.timeline import Timeline

__all__ = ["PERIOD", "Snapshot", "Steady"]

PERIOD = 2
_LEFT = 3  # iterations that are always run at the end
_TRIES = 12  # iterations after which a loop is taken to be unsettled


@dataclass(frozen=True)
class Snapshot:
    """The machine at the end of an iteration: what is to come, registers, and all that was counted so far."""

    core: float
    ahead: NDArray[np.float64]
    registers: tuple[int, ...]
    counted: NDArray[np.float64]
    left: int


class Steady:
    """Watches loops by the place of their branch."""

    def __init__(self) -> None:
        self.seen: dict[int, list[Snapshot]] = {}

    def skip(self, pc: int, left: int, registers: list[int], time: Timeline) -> None:
        """Skip whole periods of the loop that branches at `pc` with `left` iterations to go, if it has settled."""
        history = self.seen.setdefault(pc, [])
        if history and history[-1].left != left + 1:
            history.clear()
        if left <= _LEFT or len(history) > _TRIES:
            return
        history.append(Snapshot(time.core, time.ahead(), tuple(registers), time.counts.vector(), left))
        if len(history) <= 2 * PERIOD:
            return
        now, before, earlier = history[-1], history[-1 - PERIOD], history[-1 - 2 * PERIOD]
        change = [a - b for a, b in zip(now.registers, before.registers, strict=True)]
        same = change == [a - b for a, b in zip(before.registers, earlier.registers, strict=True)]
        settled = now.ahead.shape == before.ahead.shape and np.allclose(now.ahead, before.ahead, rtol=0, atol=1e-6)
        if not (same and settled):
            return
        periods = (left - _LEFT) // PERIOD
        registers[:] = [r + periods * c for r, c in zip(registers, change, strict=True)]
        time.shift(periods * (now.core - before.core))
        time.counts.add(periods * (now.counted - before.counted))
        history.clear()
