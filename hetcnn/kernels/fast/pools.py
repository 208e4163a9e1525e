"""Pooling in NHWC without padding: every tap works on the outputs whose window really holds it.

A window is separable: rows first (their runs are w*c floats long), then columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.tape import RUN, Array, Call, Kernel, Strip, Workspace, copy, matmul, run, strips

__all__ = ["AveragePool", "GlobalAverage", "MaxPool"]

STRIP = 64 * 1024


class _Pool(Kernel):
    """Both separable pools: `join` is np.maximum or np.add, `empty` its neutral element."""

    join: Callable[..., Any]
    empty: float
    label: str

    @staticmethod
    def limit(spec: ConvSpec) -> int:
        """Output rows per strip."""
        return max(1, STRIP // (spec.w * spec.c))

    @classmethod
    def workspace(cls, spec: ConvSpec) -> int:
        """Floats of scratch memory per worker."""
        rows = min(cls.limit(spec), spec.n * spec.oh)
        return rows * (spec.w + 2 * spec.ow) * spec.c + 128

    def __init__(self, name: str, spec: ConvSpec, x: Array, out: Array, spaces: Sequence[Workspace]) -> None:
        self.spec, self.x, self.out = spec, x, out
        work = strips(spec.n, spec.oh, self.limit(spec), len(spaces))
        parts = [[c for s in mine for c in self._strip(s, space)] for mine, space in zip(work, spaces, strict=True)]
        super().__init__(name, self.label, parts)

    def _strip(self, s: Strip, space: Workspace) -> Iterator[Call]:
        spec = self.spec
        space.clear()
        n, height = s.n1 - s.n0, s.r1 - s.r0
        rows = space.take(n, height, spec.w, spec.c)
        y, spare = (space.take(n, height, spec.ow, spec.c) for _ in range(2))
        out = self.out[s.n0 : s.n1, s.r0 : s.r1]
        yield from self._axis(self.x[s.n0 : s.n1], rows, None, 1, s.r0, spec.kernel[0], spec.stride[0], spec.pads[0])
        yield from self._axis(rows, y, spare, 2, 0, spec.kernel[1], spec.stride[1], spec.pads[1])
        yield copy(y, out)

    def _axis(
        self, x: Array, y: Array, spare: Array | None, axis: int, start: int, k: int, step: int, pad: int
    ) -> Iterator[Call]:
        """Join the k taps along one axis: y[i] = join over t of x[(start + i)*step + t - pad], where that exists.

        Taps of short runs are copied to `spare` before they are joined.
        """
        size, count = x.shape[axis], y.shape[axis]
        taps = []
        for tap in range(k):
            shift = start * step + tap - pad  # y[i] reads x[i*step + shift]
            first, end = max(0, -(shift // step)), min(count, (size - 1 - shift) // step + 1)
            if first < end:
                source = _cut(x, axis, slice(first * step + shift, (end - 1) * step + shift + 1, step))
                taps.append((first, end, source))
        taps.sort(key=lambda t: t[0] - t[1])  # those that every output has come first
        if taps and taps[0][1] - taps[0][0] == count:
            yield copy(taps.pop(0)[2], y)
        else:
            yield partial(y.fill, self.empty)
        for first, end, source in taps:
            target = _cut(y, axis, slice(first, end))
            if spare is not None and run(source) < RUN:
                near = _cut(spare, axis, slice(first, end))
                yield copy(source, near)
                source = near
            yield partial(self.join, target, source, out=target)


class MaxPool(_Pool):
    """The greatest of each window."""

    join, empty, label = np.maximum, -np.inf, "max pool"


class AveragePool(_Pool):
    """The mean of each window; `weights` is one over the number of pixels that count, per output pixel."""

    join, empty, label = np.add, 0.0, "average pool"

    def __init__(
        self, name: str, spec: ConvSpec, x: Array, out: Array, spaces: Sequence[Workspace], weights: Array
    ) -> None:
        self.shares = weights
        super().__init__(name, spec, x, out, spaces)

    def _strip(self, s: Strip, space: Workspace) -> Iterator[Call]:
        yield from super()._strip(s, space)
        out = self.out[s.n0 : s.n1, s.r0 : s.r1]
        yield partial(np.multiply, out, self.shares[s.r0 : s.r1, :, None], out=out)

    @staticmethod
    def weights(spec: ConvSpec, include_pad: bool) -> Array:
        """Reciprocal counts (oh, ow)."""
        counts = []
        for axis, size in enumerate((spec.h, spec.w)):
            before, after = spec.pads[axis], spec.pads[axis + 2]
            count = (spec.oh, spec.ow)[axis]
            start = np.arange(count) * spec.stride[axis] - before
            low, high = (-before, size + after) if include_pad else (0, size)
            end = np.minimum(start + spec.kernel[axis], high)
            counts.append(end - np.maximum(start, low))
        return np.asarray(1.0 / np.outer(*counts), np.float32)


class GlobalAverage(Kernel):
    """The mean over all pixels as a product with a row of 1 / (h*w)."""

    def __init__(self, name: str, x: Array, out: Array, rows: Array | None, workers: int) -> None:
        n, h, w, c = x.shape
        parts: list[list[Call]] = [[] for _ in range(workers)]
        if rows is None:
            parts[0] = [partial(np.mean, x, axis=(1, 2), out=out.reshape(n, c))]
        else:
            ones = np.full((1, h * w), 1 / (h * w), np.float32)
            parts[0] = [matmul(ones, rows.reshape(n, h * w, c), out.reshape(n, 1, c))]
        super().__init__(name, "global average", parts)


def _cut(x: Array, axis: int, part: slice) -> Array:
    return x[(*[slice(None)] * axis, part)]
