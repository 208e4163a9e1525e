"""What a planned kernel is: lists of array operations whose operands are fixed views, one list per worker.

A kernel does all its thinking when it is built: it cuts its work into strips that stay in the second-level cache, makes
every view, and writes down the calls. Running it is `for call in calls: call()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

__all__ = [
    "Act",
    "Array",
    "Call",
    "Finish",
    "Kernel",
    "Strip",
    "Workspace",
    "clamp",
    "copy",
    "divisor",
    "matmul",
    "run",
    "strips",
    "tiled",
    "windows",
]

Array = NDArray[np.float32]
Call = Callable[[], Any]
SMALL = 1_000_000
"""Up to this many multiply-adds OpenBLAS does not pack its operands first: faster, for operands in cache."""
RUN = 512
"""Runs of floats under which a ufunc copies through buffers, or pays 50 ns a run: move those with np.copyto instead."""
STRIP = 256 * 1024
"""Floats of workspace that a strip may take: 1 MiB, half of a usual second-level cache."""


def _find_clip() -> Callable[..., Any]:
    """The ufunc under np.clip, which spends 1.5 us more on its arguments; np.clip itself where it has moved."""
    module = getattr(getattr(np, "_core", None), "umath", None)
    found: Callable[..., Any] = getattr(module, "clip", np.clip)
    return found


_clip = _find_clip()


class Act(NamedTuple):
    """A clamp to [low, high]: ReLU is (0, inf), ReLU6 is (0, 6). Both may be one value per channel, tiled to a row."""

    low: float | Array
    high: float | Array

    def each(self, change: Callable[[Array], Array]) -> Act:
        """The clamp with its rows changed; single values stay."""
        low, high = (change(end) if isinstance(end, np.ndarray) else end for end in self)
        return Act(low, high)


def copy(source: NDArray[Any], target: NDArray[Any]) -> Call:
    """The call that copies `source` over `target`."""
    return partial(np.copyto, target, source)


def matmul(a: Array, b: Array, out: Array) -> Call:
    """The call out = a @ b."""
    return partial(np.matmul, a, b, out=out)


def clamp(x: Array, act: Act, out: Array) -> Iterator[Call]:
    """The calls out = min(max(x, low), high); where both are rows `x` is spoilt.

    np.clip is the fastest with single values and the slowest with rows.
    """
    if not isinstance(act.low, np.ndarray):
        yield partial(_clip, x, np.float32(act.low), np.float32(act.high), out=out)
        return
    both = isinstance(act.high, np.ndarray)
    yield partial(np.maximum, x, act.low, out=x if both else out)
    if both:
        yield partial(np.minimum, x, act.high, out=out)


def divisor(size: int, most: int, least: int = 1) -> int:
    """The greatest divisor of `size` within [least, most]; `size` itself where there is none.

    >>> divisor(3136, 112, 28), divisor(169, 112, 28)
    (112, 169)
    """
    return next((d for d in range(min(most, size), least - 1, -1) if size % d == 0), size)


class Strip(NamedTuple):
    """Images n0:n1 and rows r0:r1 of each (of the output, or of its tiles)."""

    n0: int
    n1: int
    r0: int
    r1: int

    @property
    def rows(self) -> int:
        """Rows over all images of the strip."""
        return (self.n1 - self.n0) * (self.r1 - self.r0)


def strips(images: int, rows: int, limit: int, workers: int = 1) -> list[list[Strip]]:
    """Cut images x rows into strips of at most `limit` rows and deal them out to the workers in runs.

    Whole images are put together while they fit; otherwise images are cut into strips of nearly equal height.

    >>> strips(1, 10, 4)
    [[Strip(n0=0, n1=1, r0=0, r1=4), Strip(n0=0, n1=1, r0=4, r1=8), Strip(n0=0, n1=1, r0=8, r1=10)]]
    >>> strips(3, 2, 4)
    [[Strip(n0=0, n1=2, r0=0, r1=2), Strip(n0=2, n1=3, r0=0, r1=2)]]
    """
    limit = max(1, min(limit, ceil(images * rows / workers)))
    if limit >= rows:
        step = limit // rows
        found = [Strip(n, min(n + step, images), 0, rows) for n in range(0, images, step)]
    else:
        pieces = ceil(rows / limit)
        pieces += -pieces * images % workers if pieces * images < 4 * workers else 0
        height = ceil(rows / pieces)
        found = [Strip(n, n + 1, r, min(r + height, rows)) for n in range(images) for r in range(0, rows, height)]
    share = len(found) / workers
    return [found[round(w * share) : round((w + 1) * share)] for w in range(workers)]


def windows(x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Array:
    """A view (n, oh, ow, kh, kw, c) of the windows of x (n, h, w, c): never a copy."""
    n, h, w, c = x.shape
    (kh, kw), (sh, sw), (dh, dw) = kernel, stride, dilation
    oh, ow = (h - dh * (kh - 1) - 1) // sh + 1, (w - dw * (kw - 1) - 1) // sw + 1
    sn, sy, sx, sc = x.strides
    return as_strided(x, (n, oh, ow, kh, kw, c), (sn, sy * sh, sx * sw, sy * dh, sx * dw, sc), writeable=False)


class Workspace:
    """Scratch memory of one worker, carved anew by every kernel."""

    def __init__(self, memory: Array) -> None:
        self.memory = memory
        self.used = 0

    def take(self, *shape: int) -> Array:
        """The next piece, as an array of this shape; its contents are undefined."""
        size = int(np.prod(shape))
        piece = self.memory[self.used : self.used + size]
        if piece.size < size:
            raise MemoryError(f"workspace of {self.memory.size} floats, {self.used + size} needed")
        self.used += (size + 15) // 16 * 16  # keep every piece on a cache line
        return piece.reshape(shape)

    def clear(self) -> None:
        """Give everything back."""
        self.used = 0


class Finish:
    """What follows a product: + bias, + residual, clamp, and the way to the output.

    The bias is tiled to a row of pixels, because the inner loop of a ufunc is as long as its shortest repeated operand.
    """

    def __init__(self, bias: Array | None, act: Act | None, width: int) -> None:
        self.act = None if act is None else act.each(lambda row: tiled(row, width))
        self.bias = None if bias is None else tiled(bias, width)

    def calls(self, acc: Array, target: Array, residual: Array | None = None) -> Iterator[Call]:
        """The calls from `acc` (..., w, c) to `target` of the same shape; `acc` is spoilt, and may be the target."""
        addends = [a for a in (self.bias, residual) if a is not None]
        end = target if run(target) >= RUN else acc
        for i, addend in enumerate(addends):
            last = i == len(addends) - 1 and self.act is None
            yield partial(np.add, acc, addend, out=end if last else acc)
        if self.act is not None:
            yield from clamp(acc, self.act, end)
        elif not addends:
            end = acc
        if end is not target and not np.may_share_memory(acc, target):
            yield copy(acc, target)


def run(x: Array) -> int:
    """The length of the runs of consecutive floats that an array consists of.

    >>> run(np.zeros((4, 5, 6), np.float32)), run(np.zeros((4, 5, 6), np.float32)[:, :3, :])
    (120, 18)
    """
    length = 1
    for size, stride in zip(reversed(x.shape), reversed(x.strides), strict=True):
        if size > 1:
            if stride != length * x.itemsize:
                break
            length *= size
    return length


def tiled(row: Array, width: int) -> Array:
    """Repeat one value per channel over `width` pixels: (c,) -> (width, c), or (g, c) -> (g, 1, 1, width, c)."""
    if row.ndim == 1:
        return np.ascontiguousarray(np.broadcast_to(row, (width, row.size)))
    return np.ascontiguousarray(np.broadcast_to(row[:, None, None, None], (row.shape[0], 1, 1, width, row.shape[1])))


class Kernel:
    """A planned operation: `parts[k]` are the calls of worker k, which may run at the same time as the others'."""

    def __init__(self, name: str, algorithm: str, parts: Sequence[Sequence[Call]]) -> None:
        self.name = name
        self.algorithm = algorithm
        self.parts = tuple(tuple(calls) for calls in parts)

    def run(self, part: int = 0) -> None:
        """Replay one worker's calls."""
        for call in self.parts[part]:
            call()
