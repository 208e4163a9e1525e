"""Convolution as one matrix product per strip of output rows: the window of every pixel is laid out as a row.

    y[p, m] = sum_k X[p, k] W[k, m],  k = (row tap, column tap, channel)

In NHWC a window is `kernel rows` runs of kw*c floats, so laying out is copying long runs. Groups are a batch of
products. A stem, which reads the network's NCHW input, lays the windows out as columns instead: its runs are rows of
pixels, made contiguous by cutting the input into stride x stride phase planes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hetcnn.kernels.fast import product
from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.tape import (
    SMALL,
    STRIP,
    Act,
    Array,
    Call,
    Finish,
    Kernel,
    Strip,
    Workspace,
    copy,
    divisor,
    matmul,
    strips,
    windows,
)

__all__ = ["Im2col", "Stem"]

HEAVY = 128 * 1024
"""From this many weights on, reading them once more costs more than a strip that leaves the cache."""


def _limit(spec: ConvSpec) -> int:
    """Output rows per strip: what fits, but enough pixels to make reading the weights worth it."""
    least = 224 if spec.taps * spec.c * spec.co > HEAVY and spec.groups == 1 else 32
    return max(1, STRIP // (spec.ow * (spec.taps * spec.c + spec.co)), -(-least // spec.ow))


def _workspace(spec: ConvSpec) -> int:
    rows = max(min(_limit(spec), spec.n * spec.oh), 1)
    scratch = product.floats(spec.n * spec.oh * spec.ow, spec.taps * spec.c, spec.co) if spec.groups == 1 else 0
    return rows * spec.ow * (spec.taps * spec.c + spec.co) + 64 + scratch


class Im2col(Kernel):
    """Any convolution in NHWC; x is already padded."""

    workspace = staticmethod(_workspace)

    @staticmethod
    def weights(spec: ConvSpec, weight: Array) -> Array:
        """Lay out ONNX's (co, ci, kh, kw) in blocks (see `product`), or as (groups, kh*kw*ci, co / groups)."""
        if spec.groups == 1:
            return product.lay(weight.transpose(2, 3, 1, 0).reshape(-1, spec.co), spec.n * spec.oh * spec.ow)
        per_group = weight.reshape(spec.groups, spec.co // spec.groups, *weight.shape[1:])
        return np.ascontiguousarray(per_group.transpose(0, 3, 4, 2, 1)).reshape(spec.groups, -1, spec.co // spec.groups)

    def __init__(
        self,
        name: str,
        spec: ConvSpec,
        x: Array,
        out: Array,
        matrix: Array,
        finish: tuple[Array | None, Act | None, Array | None],
        spaces: Sequence[Workspace],
    ) -> None:
        bias, act, residual = finish
        self.spec, self.matrix, self.depth = spec, matrix, spec.taps * spec.c // spec.groups
        seen = windows(x, spec.kernel, spec.stride, spec.dilation)[:, : spec.oh, : spec.ow]
        self.windows = np.moveaxis(seen.reshape(*seen.shape[:-1], spec.groups, -1), -2, 0)
        self.out = self._grouped(out)
        self.residual = None if residual is None else self._grouped(residual)
        if act is not None:
            act = act.each(lambda row: row.reshape(spec.groups, -1))
        self.finish = Finish(None if bias is None else bias.reshape(spec.groups, -1), act, spec.ow)
        work = strips(spec.n, spec.oh, _limit(spec), len(spaces))
        parts = [[c for s in mine for c in self._strip(s, space)] for mine, space in zip(work, spaces, strict=True)]
        super().__init__(name, "im2col", parts)

    def _grouped(self, y: Array) -> Array:
        """(n, h, w, c) -> (groups, n, h, w, c / groups), a view."""
        return np.moveaxis(y.reshape(*y.shape[:-1], self.spec.groups, -1), -2, 0)

    def _strip(self, s: Strip, space: Workspace) -> Iterator[Call]:
        at = (slice(None), slice(s.n0, s.n1), slice(s.r0, s.r1))
        source, target = self.windows[at], self.out[at]
        space.clear()
        columns = space.take(*source.shape)
        acc = space.take(*target.shape)
        yield copy(source, columns)
        if self.spec.groups == 1:
            yield from product.calls(columns.reshape(-1, self.depth), self.matrix, acc.reshape(-1, self.spec.co), space)
        else:
            groups, _, maps = self.matrix.shape
            yield matmul(columns.reshape(groups, -1, self.depth), self.matrix, acc.reshape(groups, -1, maps))
        yield from self.finish.calls(acc, target, None if self.residual is None else self.residual[at])


class Stem(Kernel):
    """A convolution of few channels that reads NCHW: windows as columns, taken from phase planes."""

    @staticmethod
    def planes(spec: ConvSpec) -> tuple[int, int, int, int, int, int]:
        """Shape (n, stride rows, stride columns, c, plane rows, plane columns) of the phase planes."""
        (sh, sw), (kh, kw) = spec.stride, spec.kernel
        height, width = (spec.oh - 1) * sh + kh, (spec.ow - 1) * sw + kw
        return spec.n, sh, sw, spec.c, -(-height // sh), -(-width // sw)

    @classmethod
    def workspace(cls, spec: ConvSpec) -> int:
        """Floats of scratch memory per worker, the planes not among them."""
        return _workspace(spec)

    @staticmethod
    def weights(spec: ConvSpec, weight: Array) -> Array:
        """Lay out ONNX's (co, ci, kh, kw) as (kh*kw*ci, co)."""
        return np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, spec.co)

    def __init__(
        self,
        name: str,
        spec: ConvSpec,
        x: Array,
        out: Array,
        matrix: Array,
        finish: tuple[Array | None, Act | None, Array | None],
        spaces: Sequence[Workspace],
        planes: Array,
    ) -> None:
        bias, act, self.residual = finish
        self.spec, self.matrix, self.out, self.phase = spec, matrix, out, planes
        self.finish = Finish(bias, act, spec.ow)
        work = strips(spec.n, spec.oh, _limit(spec), len(spaces))
        parts = [[c for s in mine for c in self._strip(s, space)] for mine, space in zip(work, spaces, strict=True)]
        super().__init__(name, "stem", parts)
        self.prepare = tuple(self._planes(x))

    def _planes(self, x: Array) -> Iterator[Call]:
        """Copy the input into its planes; the borders stay zero for ever, for the planes are this kernel's own."""
        (sh, sw), (top, left) = self.spec.stride, self.spec.pads[:2]
        rows, columns = self.phase.shape[4:]
        for i in range(sh):
            for j in range(sw):
                # plane row r holds padded row r*sh + i, which is input row r*sh + i - top
                r0, c0 = -(-max(top - i, 0) // sh), -(-max(left - j, 0) // sw)
                source = x[:, :, r0 * sh + i - top :: sh, c0 * sw + j - left :: sw][:, :, : rows - r0, : columns - c0]
                h, w = source.shape[2:]
                yield copy(source, self.phase[:, i, j, :, r0 : r0 + h, c0 : c0 + w])

    def _strip(self, s: Strip, space: Workspace) -> Iterator[Call]:
        spec = self.spec
        for n in range(s.n0, s.n1):
            space.clear()
            rows = s.r1 - s.r0
            columns = space.take(*spec.kernel, spec.c, rows, spec.ow)
            acc = space.take(1, rows, spec.ow, spec.co)
            for i, j, source in self._taps(n, s.r0, rows):
                yield copy(source, columns[i, j])
            left = columns.reshape(-1, rows * spec.ow).T
            size = (
                divisor(len(left), min(SMALL // self.matrix.size, 200), 28)
                if self.matrix.size * 28 <= SMALL
                else len(left)
            )
            pixels = left.T.reshape(len(self.matrix), -1, size).transpose(1, 2, 0)
            yield matmul(pixels, self.matrix, acc.reshape(-1, size, spec.co))
            at = (slice(n, n + 1), slice(s.r0, s.r1))
            yield from self.finish.calls(acc, self.out[at], None if self.residual is None else self.residual[at])

    def _taps(self, n: int, r0: int, rows: int) -> Iterator[tuple[slice, slice, Array]]:
        """Per phase, all taps that read it at once: (row taps, column taps, their pixels (kh, kw, c, rows, ow))."""
        (sh, sw), (kh, kw) = self.spec.stride, self.spec.kernel
        for i in range(min(sh, kh)):
            for j in range(min(sw, kw)):
                plane = self.phase[n, i, j, :, r0:]
                sc, sy, sx = plane.strides
                shape = (-(-(kh - i) // sh), -(-(kw - j) // sw), self.spec.c, rows, self.spec.ow)
                yield slice(i, None, sh), slice(j, None, sw), as_strided(plane, shape, (sy, sx, sc, sy, sx))
