"""Y = X W in blocks that suit the BLAS: X is (pixels, k), W (k, maps), known beforehand and laid out in blocks.

OpenBLAS multiplies small operands without packing them first, at 170 to 220 GFLOP/s a thread where packing brings 100
to 170; and it reads W in long runs if a block of its columns lies together. So W is cut into blocks of 32 to 64
columns and X into blocks of pixels, such that each product stays small. Deep products are left whole, except for few
pixels: those are cut in depth as well, and the partial sums added.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from hetcnn.kernels.fast.tape import SMALL, Array, Call, Workspace, copy, divisor, matmul

__all__ = ["blocks", "calls", "floats", "lay"]

LEAST, MOST = 28, 200
"""Pixels per block."""
FEW = 64
"""Pixels up to which a layer mostly waits for its weights."""


def blocks(pixels: int, k: int, maps: int) -> tuple[int, int]:
    """Return (blocks in depth, blocks of columns) for a layer of so many pixels.

    >>> blocks(784, 24, 144), blocks(49, 2048, 512), blocks(196, 1024, 256)
    ((1, 3), (4, 16), (1, 1))
    """
    if pixels <= FEW and k > 512:
        fits = (d for d in range(1, 17) if k % d == 0 and pixels * (k // d) * 32 <= SMALL)
        deep = next(fits, None) if maps % 32 == 0 else None
        return (1, 1) if deep is None else (deep, maps // 32)
    if k > (512 if pixels <= FEW else 384):
        return 1, 1
    for block in (64, 48, 32) if k <= 160 and pixels > FEW else (32,):
        if maps % block == 0:
            return 1, maps // block
    return 1, 1


def lay(matrix: Array, pixels: int) -> Array:
    """Lay W (k, maps) out as (blocks in depth, blocks of columns, k of one, maps of one)."""
    k, maps = matrix.shape
    deep, wide = blocks(pixels, k, maps)
    return np.ascontiguousarray(matrix.reshape(deep, k // deep, wide, maps // wide).transpose(0, 2, 1, 3))


def floats(pixels: int, k: int, maps: int) -> int:
    """Floats of scratch memory."""
    deep, _ = blocks(pixels, k, maps)
    return (deep + 1) * pixels * maps + 64 if deep > 1 else 0


def calls(x: Array, laid: Array, y: Array, space: Workspace) -> Iterator[Call]:
    """The calls y = x W for x (pixels, k) and y (pixels, maps), both matrices of evenly spaced rows."""
    deep, wide, k, maps = laid.shape
    pixels = len(x)
    columns = y.reshape(pixels, wide, maps)
    if deep > 1:
        parts, total = space.take(deep, wide, pixels, maps), space.take(wide, pixels, maps)
        yield matmul(x.reshape(pixels, deep, k).transpose(1, 0, 2)[:, None], laid, parts)
        yield partial(np.add.reduce, parts, axis=0, out=total)
        yield copy(total, columns.swapaxes(0, 1))
        return
    rows = divisor(pixels, min(SMALL // (k * maps), MOST), LEAST) if k * maps * LEAST <= SMALL else pixels
    if wide == 1 and rows == pixels:
        yield matmul(x, laid[0, 0], y)
    else:
        yield matmul(x.reshape(-1, 1, rows, k), laid[0], columns.reshape(-1, rows, wide, maps).swapaxes(1, 2))
