"""What a planned kernel does, counted before it runs: products, copies, passes over arrays, and bytes from afar.

The engine writes down its NumPy calls when it plans a network (`kernels.fast.tape`). Reading that tape gives the work
of every kernel exactly, whatever algorithm was chosen: this module turns calls into amounts of named terms, and
`host.predict` puts a time on each term.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from hetcnn.kernels.fast.tape import SMALL, Kernel, run

__all__ = ["TERMS", "Touched", "amounts", "kernel_work", "program_work", "touched"]

GEMM = ("products", "m k", "k n", "m n", "m k n")
"""Equation 5's terms of one matrix product (m, k) by (k, n), without those that no product has alone."""
REGIMES = ("small", "large", "vector")
"""How OpenBLAS multiplies: without packing its operands, with packing, and matrix by vector."""
PASSES = ("copy", "pass", "clip", "reduce", "gather")

TERMS = (
    "calls",
    *(f"{regime} {term}" for regime in REGIMES for term in GEMM),
    *(f"{kind} {what}" for kind in PASSES for what in ("floats", "runs")),
    "small narrow",
    "large narrow",
    "einsum macs",
    "einsum runs",
    "operator bytes",
    "near bytes",
    "far bytes",
    "cold bytes",
    "weight bytes",
    "cold weight bytes",
    "streamed weight bytes",
    "far calls",
)
"""The terms of `kernel_work`, in order."""

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
_AT = {term: i for i, term in enumerate(TERMS)}
_LANES, _ROWS = 16, 4
NARROW = 64
"""Columns under which a product keeps fewer vectors in flight."""
STREAM = 2**20
"""Bytes of a kernel's weights from which the rest arrives as fast as memory can stream."""


def _pad(size: int, step: int) -> int:
    return ceil(size / step) * step


def amounts(call: Any) -> dict[str, float]:
    """Return the amounts of work in one call of the tape.

    >>> a, b, c = (np.zeros((8, 16), np.float32), np.zeros((16, 32), np.float32), np.zeros((8, 32), np.float32))
    >>> amounts(partial(np.matmul, a, b, out=c))["small m k n"]
    4096.0
    >>> amounts(partial(np.copyto, a, a))["copy floats"]
    128.0
    """
    function, arguments, named = _parts(call)
    name = getattr(function, "__name__", "")
    found = {"calls": 1.0}
    if name == "matmul":
        return found | _product(*arguments[:2])
    if name == "c_einsum" or name == "einsum":
        seen, target = arguments[1], named["out"]
        found["einsum macs"] = float(seen.size)
        found["einsum runs"] = seen.size / min(run(target), _last(seen))
        return found
    if name == "copyto":
        target, source = arguments[0], arguments[1]
        return found | _pass("gather" if _last(source, source.itemsize) == 1 else "copy", target, source)
    if name == "fill":
        return found | _pass("copy", function.__self__)
    if name == "reduce":
        return found | _pass("reduce", arguments[0])
    arrays = [a for a in (*arguments, named.get("out")) if isinstance(a, np.ndarray) and a.ndim]
    if isinstance(function, np.ufunc):
        return found | _pass("clip" if name == "clip" else "pass", named["out"], *arrays)
    if arrays:
        return found | _pass("reduce", max(arrays, key=lambda a: a.size))
    return found | {"operator bytes": float(_operator_bytes(arguments))}


def _parts(call: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    return (call.func, call.args, call.keywords) if isinstance(call, partial) else (call, (), {})


def _product(a: Any, b: Any) -> dict[str, float]:
    m, k = a.shape[-2:] if a.ndim > 1 else (1, a.shape[-1])
    n = b.shape[-1] if b.ndim > 1 else 1
    count = prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    regime = "vector" if min(m, n) == 1 else "small" if m * k * n <= SMALL else "large"
    # The kernels work on whole vectors of columns and on a few rows at a time.
    wide, high = (_pad(n, _LANES), _pad(m, _ROWS)) if regime != "vector" else (n, m)
    values = (1, m * k, k * n, m * n, high * k * wide)
    found = {f"{regime} {term}": float(count * value) for term, value in zip(GEMM, values, strict=True)}
    if regime != "vector" and n < NARROW:
        found[f"{regime} narrow"] = found[f"{regime} m k n"]
    return found


def _pass(kind: str, target: Any, *others: Any) -> dict[str, float]:
    shortest = min([run(target), *(_last(a) for a in others)])
    return {f"{kind} floats": float(target.size), f"{kind} runs": target.size / max(shortest, 1)}


def _last(x: Any, step: int | None = None) -> int:
    """The length of an array's inner loop: its run of evenly spaced floats, or of consecutive ones with `step`."""
    axes = [(size, stride) for size, stride in zip(x.shape, x.strides, strict=True) if size > 1]
    if not axes:
        return 1
    length, apart = (int(n) for n in axes[-1])
    if step is not None and apart != step:
        return 1
    for size, stride in reversed(axes[:-1]):
        if stride != length * apart:
            break
        length *= int(size)
    return length


def _operator_bytes(arguments: Sequence[Any]) -> int:
    """The bytes that a function of whole arrays is given, one level of lists deep."""
    flat = [x for a in arguments for x in (a if isinstance(a, list | tuple) else [a])]
    return sum(x.nbytes for x in flat if isinstance(x, np.ndarray))


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
        found.writes = _joined([*found.writes, *map(byte_bounds, writes)])
    return found


def _operands(call: Any) -> tuple[list[Any], list[Any]]:
    function, arguments, named = _parts(call)
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


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def _length(reads: Iterable[tuple[int, int, int]]) -> float:
    """Distinct bytes in ranges of views, of which each holds so many bytes: overlapping windows count once."""
    reads = list(reads)
    span = sum(high - low for low, high in _joined((low, high) for low, high, _ in reads))
    return float(min(span, sum(size for _, _, size in reads)))


def kernel_work(kernel: Kernel, part: int = 0) -> Vector:
    """Return the amounts of one worker's calls over `TERMS`, bytes from afar not among them."""
    total = np.zeros(len(TERMS))
    for call in kernel.parts[part]:
        for term, amount in amounts(call).items():
            total[_AT[term]] += amount
    return total


def program_work(
    kernels: Sequence[Kernel], *, near: float, cache: float, parts: Sequence[int] = (0,)
) -> np.ndarray[Any, Any]:
    """Return the work of each kernel (kernels, parts, terms).

    Activations count by the traffic since they were written: up to `near` bytes (the second-level cache), up to
    `cache` (the last level), or more. Weights count as cold when all memory that a run touches exceeds `cache` bytes,
    as warm up to half of that, and in between in proportion; in a network that fits `near` they count as nothing.
    """
    marks = [touched(call for part in kernel.parts for call in part) for kernel in kernels]
    written = _joined(r for mark in marks for r in mark.writes)
    inputs = [[r for r in mark.reads if _within(r, written)] for mark in marks]
    constants = [[r for r in mark.reads if not _within(r, written)] for mark in marks]
    weights = np.array([_length(r) for r in constants])
    traffic = weights + [_length(r) for r in inputs] + [sum(b - a for a, b in mark.writes) for mark in marks]
    held = float(weights.sum()) + sum(high - low for low, high in written)
    away = max(0.0, 1 - near / max(held, 1.0))
    cold = min(max(0.0, 2 * held / cache - 1), away)
    near_bytes, far_bytes, cold_bytes = np.array(list(_levels(inputs, marks, traffic, (near, cache)))).T
    work = np.array([[kernel_work(kernel, part) for part in parts] for kernel in kernels])
    share = 1 / np.maximum(1, (work.sum(axis=2) > 0).sum(axis=1))
    for name, values in (
        ("near bytes", near_bytes),
        ("far bytes", far_bytes),
        ("cold bytes", cold_bytes),
        ("weight bytes", weights * (away - cold)),
        ("cold weight bytes", np.minimum(weights, STREAM) * cold),
        ("streamed weight bytes", np.maximum(weights - STREAM, 0) * cold),
    ):
        work[:, :, _AT[name]] = (values * share)[:, None] * (work.sum(axis=2) > 0)
    for term in ("vector m k", "vector m k n"):
        work[:, :, _AT[term]] *= 1 - away  # under the memory's roof, reading the weights hides the arithmetic
    work[:, :, _AT["far calls"]] = away * work[:, :, _AT["calls"]]
    return work


def _within(r: tuple[int, int, int], ranges: list[tuple[int, int]]) -> bool:
    return any(low <= r[0] and r[1] <= high for low, high in ranges)


def _levels(
    inputs: list[list[tuple[int, int, int]]],
    marks: list[Touched],
    traffic: np.ndarray[Any, Any],
    levels: tuple[float, ...],
) -> Iterator[list[float]]:
    """The bytes of each kernel's inputs by the traffic since they were written, all of the writer's output included."""
    for k, reads in enumerate(inputs):
        found: list[list[tuple[int, int, int]]] = [[] for _ in (*levels, None)]
        for read in reads:
            since = 0.0
            middle = (read[0] + read[1]) // 2  # the ends may be padding, which another kernel wrote
            for j in range(k - 1, -1, -1):
                wrote = next((high - low for low, high in marks[j].writes if low <= middle < high), None)
                if wrote is not None:
                    since += wrote
                    break
                since += traffic[j]
            found[sum(since > level for level in levels)].append(read)
        yield [_length(r) for r in found]
