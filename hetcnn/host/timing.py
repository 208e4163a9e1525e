"""Timing on a machine that others use too: processor time, medians of rounds, more rounds until the spread is small."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetcnn.errors import HetcnnError

__all__ = ["SPREAD", "Sample", "repeat", "spread"]

SPREAD = 0.03
"""A spread that is small enough: half the range between the quartiles over the median, over the root of the count."""


def spread(times: ArrayLike) -> NDArray[np.float64]:
    """Return the uncertainty of the median along the first axis, relative: (q75 - q25) / 2 / median / sqrt(count).

    >>> float(spread([1.0, 1.0, 1.0])), round(float(spread([0.9, 1.0, 1.1, 1.0])), 4)
    (0.0, 0.0125)
    """
    values = np.asarray(times, float)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    return np.asarray((high - low) / 2 / np.maximum(middle, 1e-300) / len(values) ** 0.5)


@dataclass(frozen=True)
class Sample:
    """Repeated measurements of one thing: (rounds,) or (rounds, things), in seconds."""

    times: NDArray[np.float64]
    settled: bool = True

    @property
    def median(self) -> NDArray[np.float64]:
        """The time that a half of the rounds stay under."""
        return np.asarray(np.median(self.times, axis=0))

    @property
    def spread(self) -> NDArray[np.float64]:
        """The uncertainty of the median, relative: see `spread`."""
        return spread(self.times)

    @property
    def rounds(self) -> int:
        """How often it was measured."""
        return len(self.times)


def repeat(
    measure: Callable[[], float | Sequence[float] | NDArray[np.float64]],
    *,
    seconds: float,
    enough: float = SPREAD,
    least: int = 5,
    most: int = 200,
    clock: Callable[[], float] = time.perf_counter,
) -> Sample:
    """Return the sample of `measure()`, which returns one time or several, measured again until the spread is small.

    It stops at `most` rounds, or when `seconds` are up and there are `least` rounds; `settled` says whether the spread
    (the median one, of several things) came down to `enough`. The first round warms up and does not count.

    >>> repeat(lambda: 2.0, seconds=1).rounds
    5
    """
    if least < 2 or most < least or not seconds >= 0:
        raise HetcnnError(f"seconds={seconds!r}, least={least}, most={most}: seconds from 0, 2 <= least <= most")
    measure()
    start, times = clock(), []
    while True:
        times.append(np.asarray(measure(), float))
        settled = len(times) >= least and float(np.median(spread(times))) <= enough
        if settled or len(times) >= most or (len(times) >= least and clock() - start > seconds):
            return Sample(np.stack(times), settled)
