"""Fully connected layers: y = x W + b.

One image is a vector-matrix product, which is bound by reading W once. From two images on, W is stored in blocks of
`BLOCK` columns so that each product stays under the size from which the BLAS would copy W once more; blocks that are
deep are cut in depth too, and their partial sums added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hetcnn.kernels.fast.tape import Act, Array, Call, Finish, Kernel, Workspace, copy, matmul

__all__ = ["Dense"]

BLOCK = 32
DEPTH = 1024


class Dense(Kernel):
    """x (n, h, w, c) as (n, k) by W (k, m)."""

    @staticmethod
    def blocks(n: int, k: int, m: int) -> tuple[int, int]:
        """Return (blocks in depth, blocks of columns)."""
        if n == 1 or k * m < 256 * 1024 or m % BLOCK:
            return 1, 1
        depth = next((d for d in range(-(-k // DEPTH), k + 1) if k % d == 0), 1)
        return (depth if depth <= 4 * -(-k // DEPTH) else 1), m // BLOCK

    @classmethod
    def weights(cls, n: int, weight: Array) -> Array:
        """Lay out (m, k) as (depth blocks, column blocks, k / depth blocks, m / column blocks), or leave it."""
        m, k = weight.shape
        deep, wide = cls.blocks(n, k, m)
        if deep == wide == 1:
            return np.ascontiguousarray(weight)
        return np.ascontiguousarray(weight.reshape(wide, m // wide, deep, k // deep).transpose(2, 0, 3, 1))

    @classmethod
    def workspace(cls, n: int, k: int, m: int) -> int:
        """Floats of scratch memory."""
        return cls.blocks(n, k, m)[0] * n * m + n * k + 64

    def __init__(
        self,
        name: str,
        x: Array,
        out: Array,
        weight: Array,
        finish: tuple[Array | None, Act | None],
        spaces: Sequence[Workspace],
    ) -> None:
        bias, act = finish
        self.finish = Finish(bias, act, 1)
        spaces[0].clear()
        self.prepare: tuple[Call, ...] = ()
        if x[0].flags.c_contiguous:  # then (n, h, w, c) is (n, k) without a copy
            n, k = len(x), x[0].size
            x = as_strided(x, (n, k), (x.strides[0], x.itemsize))
        else:
            rows = spaces[0].take(*x.shape)
            self.prepare = (copy(x, rows),)
            x = rows.reshape(len(x), -1)
        parts: list[list[Call]] = [[] for _ in spaces]
        if weight.ndim == 2:
            parts = [list(self._vector(x, out, weight, w, len(spaces))) for w in range(len(spaces))]
        else:
            parts[0] = list(self._blocked(x, out, weight, spaces[0]))
        super().__init__(name, "gemv" if len(x) == 1 else "dense", parts)

    def _vector(self, x: Array, out: Array, weight: Array, worker: int, workers: int) -> Iterator[Call]:
        m = len(weight)
        a, b = m * worker // workers, m * (worker + 1) // workers
        target = out[:, a:b]
        if len(x) == 1:
            yield matmul(weight[a:b], x[0], target[0])
        else:
            yield matmul(x, weight[a:b].T, target)
        bias = None if self.finish.bias is None else self.finish.bias[:, a:b]
        part = Finish(None if bias is None else bias[0], self.finish.act, 1)
        yield from part.calls(target[:, None, :], target[:, None, :])

    def _blocked(self, x: Array, out: Array, weight: Array, space: Workspace) -> Iterator[Call]:
        deep, wide, k, m = weight.shape
        cut = x.reshape(len(x), deep, k).transpose(1, 0, 2)[:, None]
        y = out.reshape(len(x), wide, m).transpose(1, 0, 2)
        if deep == 1:
            yield matmul(cut[0], weight[0], y)
        else:
            sums = space.take(deep, wide, len(x), m)
            yield matmul(cut, weight, sums)
            yield partial(np.add.reduce, sums, axis=0, out=y)
        yield from self.finish.calls(out[:, None, :], out[:, None, :])
