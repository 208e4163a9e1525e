"""Operations on each pixel: sum, clamp, scale and shift, response normalisation over channels, softmax, copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from hetcnn.kernels.fast.tape import (
    Act,
    Array,
    Call,
    Finish,
    Kernel,
    Workspace,
    clamp,
    copy,
    matmul,
    strips,
    tiled,
)

__all__ = ["Add", "Clamp", "Copy", "ResponseNorm", "Scale", "Softmax"]

STRIP = 64 * 1024


def _areas(x: Array, workers: int) -> list[list[tuple[slice, slice]]]:
    n, h, w, c = x.shape
    work = strips(n, h, max(1, STRIP // (w * c)), workers)
    return [[(slice(s.n0, s.n1), slice(s.r0, s.r1)) for s in mine] for mine in work]


class Add(Kernel):
    """out = clamp(a + b)."""

    def __init__(self, name: str, a: Array, b: Array, out: Array, act: Act | None, workers: int) -> None:
        super().__init__(
            name,
            "add",
            [[c for at in part for c in self._at(a[at], b[at], out[at], act)] for part in _areas(out, workers)],
        )

    def _at(self, a: Array, b: Array, out: Array, act: Act | None) -> Iterator[Call]:
        yield partial(np.add, a, b, out=out)
        if act is not None:
            yield from clamp(out, act, out)


class Clamp(Kernel):
    """out = clamp(x)."""

    def __init__(self, name: str, x: Array, out: Array, act: Act, workers: int) -> None:
        areas = _areas(out, workers)
        super().__init__(name, "clamp", [[c for at in part for c in clamp(x[at], act, out[at])] for part in areas])


class Scale(Kernel):
    """out = clamp(x * scale + shift), both per channel: a batch norm that no convolution took in."""

    def __init__(
        self, name: str, x: Array, out: Array, scale: Array, shift: Array, act: Act | None, workers: int
    ) -> None:
        self.row, self.finish = tiled(scale, x.shape[2]), Finish(shift, act, x.shape[2])
        parts = [[c for at in part for c in self._at(x[at], out[at])] for part in _areas(out, workers)]
        super().__init__(name, "scale", parts)

    def _at(self, x: Array, out: Array) -> Iterator[Call]:
        yield partial(np.multiply, x, self.row, out=out)
        yield from self.finish.calls(out, out)


class Copy(Kernel):
    """Copy views: gathering channels, padding, changing the layout."""

    def __init__(self, name: str, algorithm: str, pairs: Sequence[tuple[Array, Array]]) -> None:
        super().__init__(name, algorithm, [[copy(source, target) for source, target in pairs]])


class ResponseNorm(Kernel):
    """LRN: x / (k + alpha/size * sum of x^2 over `size` neighbouring channels)^beta.

    The sum is a product with a banded matrix of alpha/size; the power 3/4 is two square roots, any other np.power.
    """

    @staticmethod
    def workspace(c: int, w: int) -> int:
        """Floats of scratch memory per worker."""
        return 2 * max(STRIP, w * c) + 64

    def __init__(
        self, name: str, x: Array, out: Array, settings: tuple[int, float, float, float], spaces: Sequence[Workspace]
    ) -> None:
        size, alpha, self.beta, self.k = settings
        c = x.shape[-1]
        apart = np.arange(c)[:, None] - np.arange(c)  # summed channel minus output channel
        near = (apart >= -((size - 1) // 2)) & (apart <= size - 1 - (size - 1) // 2)
        self.band = np.where(near, alpha / size, 0).astype(np.float32)
        parts = [
            [call for at in part for call in self._at(x[at], out[at], space)]
            for part, space in zip(_areas(x, len(spaces)), spaces, strict=True)
        ]
        super().__init__(name, "response norm", parts)

    def _at(self, x: Array, out: Array, space: Workspace) -> Iterator[Call]:
        space.clear()
        square, total = space.take(*x.shape), space.take(*x.shape)
        c = x.shape[-1]
        yield partial(np.multiply, x, x, out=square)
        yield matmul(square.reshape(-1, c), self.band, total.reshape(-1, c))
        yield partial(np.add, total, np.float32(self.k), out=total)
        if self.beta == 0.75:
            yield partial(np.sqrt, total, out=total)
            yield partial(np.sqrt, total, out=square)
            yield partial(np.multiply, total, square, out=total)
        else:
            yield partial(np.power, total, np.float32(self.beta), out=total)
        yield partial(np.divide, x, total, out=out)


class Softmax(Kernel):
    """exp(x - max) / sum of it, along each row."""

    def __init__(self, name: str, x: Array, out: Array, workers: int) -> None:
        row = np.empty((len(x), 1), np.float32)
        parts: list[list[Call]] = [[] for _ in range(workers)]
        parts[0] = [
            partial(np.maximum.reduce, x, axis=1, keepdims=True, out=row),
            partial(np.subtract, x, row, out=out),
            partial(np.exp, out, out=out),
            partial(np.add.reduce, out, axis=1, keepdims=True, out=row),
            partial(np.divide, out, row, out=out),
        ]
        super().__init__(name, "softmax", parts)
