"""Memory that planned kernels touch: what each reads and writes, and how long ago that was last in hand.

Caches drop what was touched longest ago, so that the traffic since then tells where bytes come from. That is counted
between kernels, and inside of them too: a strip whose operands exceed the near cache reads its own writes from afar.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

__all__ = ["Touched", "again", "joined", "length", "levels", "parts_of", "touched", "within", "written"]


@dataclass
class Touched:
    """The memory that a kernel touches, as byte ranges: what it reads before writing it, and what it writes."""

    reads: list[tuple[int, int, int]] = field(default_factory=list)
    writes: list[tuple[int, int]] = field(default_factory=list)


def touched(calls: Iterable[Any]) -> Touched:
    """Return what a list of calls reads and writes; what it wrote itself before is not among the reads."""
    found = Touched()
    for call in calls:
        reads, writes = _operands(call)
        for array in reads:
            low, high = byte_bounds(array)
            if not any(a <= low and high <= b for a, b in found.writes):
                found.reads.append((low, high, min(array.nbytes, high - low)))
        found.writes = joined([*found.writes, *map(byte_bounds, writes)])
    return found


def _operands(call: Any) -> tuple[list[Any], list[Any]]:
    function, arguments, named = parts_of(call)
    name = getattr(function, "__name__", "")
    if name == "copyto":
        return [arguments[1]], [arguments[0]]
    if name == "fill":
        return [], [function.__self__]
    if name == "_call":
        flat = [[x for x in group if isinstance(x, np.ndarray)] for group in (arguments[2], arguments[4])]
        return flat[0], flat[1]
    reads = [a for a in arguments if isinstance(a, np.ndarray) and a.ndim]
    return reads, [named["out"]] if isinstance(named.get("out"), np.ndarray) else []


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return byte ranges in order, those that meet or overlap as one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def length(reads: Iterable[tuple[int, int, int]]) -> float:
    """Distinct bytes in ranges of views, of which each holds so many bytes: overlapping windows count once."""
    reads = list(reads)
    span = sum(high - low for low, high in joined((low, high) for low, high, _ in reads))
    return float(min(span, sum(size for _, _, size in reads)))


def parts_of(call: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return the function of a call of the tape, and its arguments."""
    return (call.func, call.args, call.keywords) if isinstance(call, partial) else (call, (), {})


def within(r: tuple[int, int, int], ranges: list[tuple[int, int]]) -> bool:
    """Whether a range of bytes lies in one of `ranges`."""
    return any(low <= r[0] and r[1] <= high for low, high in ranges)


def levels(
    inputs: list[list[tuple[int, int, int]]],
    marks: list[Touched],
    traffic: np.ndarray[Any, Any],
    limits: tuple[float, ...],
) -> Iterator[list[float]]:
    """The bytes of each kernel's inputs by the traffic since they were written, all of the writer's output included."""
    for k, reads in enumerate(inputs):
        found: list[list[tuple[int, int, int]]] = [[] for _ in (*limits, None)]
        for read in reads:
            since = 0.0
            middle = (read[0] + read[1]) // 2  # the ends may be padding, which another kernel wrote
            for j in range(k - 1, -1, -1):
                wrote = next((high - low for low, high in marks[j].writes if low <= middle < high), None)
                if wrote is not None:
                    since += wrote
                    break
                since += traffic[j]
            found[sum(since > limit for limit in limits)].append(read)
        yield [length(r) for r in found]


def again(calls: Iterable[Any], near: float) -> float:
    """Return the bytes that calls touch once more when the near cache of `near` bytes has dropped them.

    Of what was touched d bytes of traffic ago, 1 - near / d is gone: whole calls are counted, from middle to middle.

    >>> x, y = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    >>> over = [partial(np.copyto, y, x), partial(np.copyto, x, y)]       # 8000 bytes lie between the two middles
    >>> again(over, near=4000), again(over, near=8000)
    (4000.0, 0.0)
    """
    seen: list[tuple[int, int, float]] = []
    gone = position = 0.0
    for call in calls:
        arrays = [x for group in _operands(call) for x in group]
        bounds = [byte_bounds(x) for x in arrays]
        sizes = [min(x.nbytes, high - low) for x, (low, high) in zip(arrays, bounds, strict=True)]
        middle = position + sum(sizes) / 2
        for (low, high), size in zip(bounds, sizes, strict=True):
            last = next((at for a, b, at in reversed(seen) if a <= (low + high) // 2 < b), None)
            if last is not None:
                gone += size * max(0.0, 1 - near / max(middle - last, 1.0))
        seen += [(low, high, middle) for low, high in bounds]
        position += sum(sizes)
    return gone


def written(
    marks: Sequence[Touched], traffic: np.ndarray[Any, Any], limits: tuple[float, float]
) -> np.ndarray[Any, Any]:
    """Return (kernels, 2): bytes that each writes to places last touched more than the first and the second limit ago.

    Frames follow each other: before the first kernel comes the last.
    """
    found = np.zeros((len(marks), 2))
    for k, mark in enumerate(marks):
        for low, high in mark.writes:
            since = float(high - low)
            for back in range(1, len(marks) + 1):
                other = marks[k - back]
                if any(a <= (low + high) // 2 < b for a, b in (*other.writes, *((r[0], r[1]) for r in other.reads))):
                    break
                since += traffic[k - back]
            if since > limits[0]:
                found[k, int(since > limits[1])] += high - low
    return found
