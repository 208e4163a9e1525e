"""What a planned kernel does, counted before it runs: products, copies, passes over arrays, and bytes from afar.

The engine writes down its NumPy calls when it plans a network (`kernels.fast.tape`). Reading that tape gives the work
of every kernel exactly, whatever algorithm was chosen: this module turns calls into amounts of named terms, and
`host.predict` puts a time on each term.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, gcd, prod
from typing import Any

import numpy as np

from hetcnn.host.traffic import again, joined, length, levels, parts_of, touched, within, written
from hetcnn.kernels import blas
from hetcnn.kernels.fast.tape import SMALL, Kernel, run

__all__ = ["TERMS", "amounts", "kernel_work", "program_work"]

GEMM = ("products", "m k", "k n", "m n", "m k n")
"""Equation 5's terms of one matrix product (m, k) by (k, n), without those that no product has alone."""
REGIMES = ("small", "large", "vector")
"""How OpenBLAS multiplies: without packing its operands, with packing, and matrix by vector."""
TILE = ("loads", "spreads", "ragged")
"""What fills registers: a tile of 6 rows by 64 columns loads 64 floats of B and spreads 6 of A for each of k. Products
whose columns are no multiple of two vectors are ragged, with all their MACs: narrower tiles do a part of them.
"""
ROW = ("products", "floats", "ends")
"""Terms of a vector by a matrix, another loop than a matrix by a vector: its floats, and those of both vectors."""
PASSES = ("copy", "pass", "clip", "reduce", "gather")

TERMS = (
    "calls",
    *(f"{regime} {term}" for regime in REGIMES for term in GEMM),
    *(f"{regime} {term}" for regime in REGIMES[:2] for term in TILE),
    *(f"row {term}" for term in ROW),
    *(f"{kind} {what}" for kind in PASSES for what in ("floats", "runs", "calls")),
    "gather conflicts",
    "einsum macs",
    "einsum runs",
    "operator calls",
    "operator bytes",
    "near bytes",
    "far bytes",
    "cold bytes",
    "again bytes",
    "far written",
    "cold written",
    "weight bytes",
    "cold weight bytes",
    "streamed weight bytes",
    "spilled bytes",
    "far calls",
)
"""The terms of `kernel_work`, in order."""

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
_AT = {term: i for i, term in enumerate(TERMS)}
_ROWS = 4
LINE, PAGE, WAYS = 64, 4096, 8
"""Bytes of a cache line; of the first-level cache's places for one address; and lines that fit each place."""
HELD = (0.5, 0.75)
"""Shares of the second-level and the last-level cache in which arrays are found again; the rest is in others' way.

Whole caches, and a half of the last one, explain made-up networks that took no part in the fit a little worse.
"""
REACH = 1536 * 4096
"""Bytes whose addresses a core keeps translated: pages of the usual size in a usual second-level table."""
STREAM = 2**20
"""Bytes of a kernel's weights from which the rest arrives as fast as memory can stream."""


def _pad(size: int, step: int) -> int:
    return ceil(size / step) * step


def amounts(call: Any) -> dict[str, float]:
    """Return the amounts of work in one call of the tape.

    >>> from functools import partial
    >>> a, b, c = (np.zeros((8, 16), np.float32), np.zeros((16, 32), np.float32), np.zeros((8, 32), np.float32))
    >>> amounts(partial(np.matmul, a, b, out=c))["small m k n"]
    4096.0
    >>> amounts(partial(np.copyto, a, a))["copy floats"]
    128.0
    """
    function, arguments, named = parts_of(call)
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
        if _last(source, source.itemsize) > 1:
            return found | _pass("copy", target, source)
        return found | _pass("gather", target, source) | {"gather conflicts": float(target.size * _conflicts(source))}
    if name == "fill":
        return found | _pass("copy", function.__self__)
    if name == "reduce":
        return found | _pass("reduce", arguments[0])
    arrays = [a for a in (*arguments, named.get("out")) if isinstance(a, np.ndarray) and a.ndim]
    if isinstance(function, np.ufunc):
        return found | _pass("clip" if name == "clip" else "pass", named["out"], *arrays)
    if arrays:
        return found | _pass("reduce", max(arrays, key=lambda a: a.size))
    return found | {"operator calls": 1.0, "operator bytes": float(_operator_bytes(arguments))}


def _product(a: Any, b: Any) -> dict[str, float]:
    m, k = a.shape[-2:] if a.ndim > 1 else (1, a.shape[-1])
    n = b.shape[-1] if b.ndim > 1 else 1
    count = prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    if m == 1 < n:
        return {"row products": float(count), "row floats": float(count * k * n), "row ends": float(count * (k + n))}
    regime = "vector" if n == 1 else "small" if m * k * n <= SMALL else "large"
    # The kernels work on whole vectors of columns and on a few rows at a time.
    wide, high = (_pad(n, blas.lanes()), _pad(m, _ROWS)) if regime != "vector" else (n, m)
    values = (1, m * k, k * n, m * n, high * k * wide)
    found = {f"{regime} {term}": float(count * value) for term, value in zip(GEMM, values, strict=True)}
    if regime != "vector":
        found[f"{regime} loads"] = float(count * ceil(m / 6) * k * _pad(n, 16))
        found[f"{regime} spreads"] = float(count * m * k * ceil(n / 64))
        if n % (2 * blas.lanes()):
            found[f"{regime} ragged"] = float(count * m * k * n)
    return found


def _pass(kind: str, target: Any, *others: Any) -> dict[str, float]:
    shortest = min([run(target), *(_last(a) for a in others)])
    return {f"{kind} calls": 1.0, f"{kind} floats": float(target.size), f"{kind} runs": target.size / max(shortest, 1)}


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


def _conflicts(x: Any) -> bool:
    """Whether the lines of an inner loop displace each other: its stride leads to few places of the near cache."""
    stride = next((abs(int(s)) for n, s in zip(x.shape[::-1], x.strides[::-1], strict=True) if n > 1), 0)
    return stride >= LINE and _last(x) > WAYS * PAGE // gcd(stride, PAGE)


def _operator_bytes(arguments: Sequence[Any]) -> int:
    """The bytes that a function of whole arrays is given, one level of lists deep."""
    flat = [x for a in arguments for x in (a if isinstance(a, list | tuple) else [a])]
    return sum(x.nbytes for x in flat if isinstance(x, np.ndarray))


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

    near, cache: bytes of the second-level and of the last-level cache, of which `HELD` is at hand. Activations count
    by the traffic since they were written: up to what the nearer one holds, up to what the other holds, or more.
    Weights count as cold when all memory that a run touches exceeds what the last level holds, as warm up to half of
    that, and in between in proportion; in a network that fits the nearer one they count as nothing. As much of all
    bytes is spilled as the run touches more than the last level holds; so with calls and `REACH`.
    """
    near, cache = HELD[0] * near, HELD[1] * cache
    marks = [touched(call for part in kernel.parts for call in part) for kernel in kernels]
    places = joined(r for mark in marks for r in mark.writes)
    inputs = [[r for r in mark.reads if within(r, places)] for mark in marks]
    constants = [[r for r in mark.reads if not within(r, places)] for mark in marks]
    weights = np.array([length(r) for r in constants])
    traffic = weights + [length(r) for r in inputs] + [sum(b - a for a, b in mark.writes) for mark in marks]
    held = float(weights.sum()) + sum(high - low for low, high in places)
    away = max(0.0, 1 - near / max(held, 1.0))
    cold = min(max(0.0, 2 * held / cache - 1), away)
    near_bytes, far_bytes, cold_bytes = np.array(list(levels(inputs, marks, traffic, (near, cache)))).T
    work = np.array([[kernel_work(kernel, part) for part in parts] for kernel in kernels])
    share = 1 / np.maximum(1, (work.sum(axis=2) > 0).sum(axis=1))
    far_written, cold_written = written(marks, traffic, (near, cache)).T
    for name, values in (
        ("near bytes", near_bytes),
        ("far bytes", far_bytes),
        ("cold bytes", cold_bytes),
        ("far written", far_written),
        ("cold written", cold_written),
        ("weight bytes", weights * (away - cold)),
        ("cold weight bytes", np.minimum(weights, STREAM) * cold),
        ("streamed weight bytes", np.maximum(weights - STREAM, 0) * cold),
        ("spilled bytes", traffic * max(0.0, 1 - cache / max(held, 1.0))),
    ):
        work[:, :, _AT[name]] = (values * share)[:, None] * (work.sum(axis=2) > 0)
    work[:, :, _AT["again bytes"]] = [[again(kernel.parts[part], near) for part in parts] for kernel in kernels]
    for term in ("vector m k", "vector m k n", "row floats"):
        # Under the memory's roof, reading weights from afar hides the arithmetic; activations have just been written.
        floats = np.maximum(work[:, :, _AT[term]].sum(axis=1), 1.0)
        work[:, :, _AT[term]] *= (1 - away * np.minimum(1.0, weights / 4 / floats))[:, None]
    work[:, :, _AT["far calls"]] = max(0.0, 1 - REACH / max(held, 1.0)) * work[:, :, _AT["calls"]]
    return work
