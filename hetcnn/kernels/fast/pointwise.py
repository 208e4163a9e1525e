"""1x1 convolution: y[p, m] = sum_c x[p, c] W[c, m] on the (pixels, channels) view, in strips that stay in cache.

The product goes straight to the output where that is one matrix; bias, residual and clamp follow while it is hot.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from math import prod

from numpy.lib.stride_tricks import as_strided

from hetcnn.kernels.fast import product
from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.tape import (
    STRIP,
    Act,
    Array,
    Call,
    Finish,
    Kernel,
    Strip,
    Workspace,
    copy,
    strips,
)

__all__ = ["Pointwise", "rows_of"]

HEAVY = 128 * 1024
"""From this many weights on, reading them once more costs more than a strip that leaves the cache."""


class Pointwise(Kernel):
    """1x1, any stride; x is (n, h, w, c) without padding."""

    @staticmethod
    def limit(spec: ConvSpec) -> int:
        """Output rows per strip."""
        pixels = max(STRIP // (spec.c + spec.co), 64)
        if spec.c * spec.co > HEAVY:
            pixels = max(pixels, 512)
        return max(1, pixels // spec.ow)

    @classmethod
    def workspace(cls, spec: ConvSpec) -> int:
        """Floats of scratch memory per worker."""
        rows = min(cls.limit(spec), spec.n * spec.oh)
        return rows * spec.ow * (spec.c + spec.co) + 64 + product.floats(spec.n * spec.oh * spec.ow, spec.c, spec.co)

    @staticmethod
    def weights(spec: ConvSpec, weight: Array) -> Array:
        """Lay out (co, c, 1, 1) in blocks: see `product`."""
        return product.lay(weight.reshape(spec.co, spec.c).T, spec.n * spec.oh * spec.ow)

    def __init__(
        self,
        name: str,
        spec: ConvSpec,
        x: Array,
        out: Array,
        blocks: Array,
        finish: tuple[Array | None, Act | None, Array | None],
        spaces: Sequence[Workspace],
    ) -> None:
        bias, act, self.residual = finish
        self.spec, self.blocks, self.out = spec, blocks, out
        self.x = x[:, : spec.h : spec.stride[0], : spec.w : spec.stride[1]]
        self.finish = Finish(bias, act, spec.ow)
        work = strips(spec.n, spec.oh, self.limit(spec), len(spaces))
        parts = [[c for s in mine for c in self._strip(s, space)] for mine, space in zip(work, spaces, strict=True)]
        super().__init__(name, "1x1", parts)

    def _strip(self, s: Strip, space: Workspace) -> Iterator[Call]:
        space.clear()
        at = (slice(s.n0, s.n1), slice(s.r0, s.r1))
        target = self.out[at]
        x = rows_of(self.x[at])
        if x is None:
            whole = space.take(*self.x[at].shape)
            yield copy(self.x[at], whole)
            x = whole.reshape(-1, self.spec.c)
        acc = target if target.flags.c_contiguous else space.take(*target.shape)
        yield from product.calls(x, self.blocks, acc.reshape(-1, self.spec.co), space)
        yield from self.finish.calls(acc, target, None if self.residual is None else self.residual[at])


def rows_of(x: Array) -> Array | None:
    """The (pixels, channels) view of x (n, h, w, c), or None where the pixels are not evenly spaced."""
    axes = [(size, stride) for size, stride in zip(x.shape[:-1], x.strides[:-1], strict=True) if size > 1]
    even = all(outer == size * inner for (_, outer), (size, inner) in itertools.pairwise(axes))
    if not even or x.strides[-1] != x.itemsize:
        return None
    step = axes[-1][1] if axes else x.shape[-1] * x.itemsize
    return as_strided(x, (prod(x.shape[:-1]), x.shape[-1]), (step, x.itemsize))
