"""Depthwise convolution: one filter per channel, y[h, w, c] = sum_kl x[h + k, w + l, c] f[k, l, c].

No product to hand to the BLAS; einsum does the multiply-adds in one pass per tap while a strip of rows stays in cache.
At stride 1 a row of windows is one run of ow*c floats, with the weights tiled alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.tape import Act, Array, Call, Finish, Kernel, Strip, Workspace, copy, strips, tiled

__all__ = ["Depthwise"]


class Depthwise(Kernel):
    """Channel multiplier 1; x is padded."""

    @staticmethod
    def limit(spec: ConvSpec) -> int:
        """Output rows per strip."""
        return max(1, 128 * 1024 // (spec.ow * spec.c))

    @staticmethod
    def width(spec: ConvSpec) -> int:
        """Columns computed: all of them at stride 2 and few channels, where short runs cost more; 0: by runs of c."""
        if spec.stride[1] == 1:
            return spec.ow
        return (spec.ow - 1) * spec.stride[1] + 1 if spec.stride[1] == 2 and spec.c <= 64 else 0

    @classmethod
    def workspace(cls, spec: ConvSpec) -> int:
        """Floats of scratch memory per worker."""
        rows = min(cls.limit(spec), spec.n * spec.oh)
        return rows * (cls.width(spec) + spec.ow) * spec.c + 64

    @classmethod
    def weights(cls, spec: ConvSpec, weight: Array) -> Array:
        """Lay out (c, 1, kh, kw) as (kh, kw, c), tiled over a row of pixels where runs are rows."""
        taps = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))
        width = cls.width(spec)
        return np.stack([[tiled(f, width).ravel() for f in row] for row in taps]) if width else taps

    def __init__(
        self,
        name: str,
        spec: ConvSpec,
        x: Array,
        out: Array,
        taps: Array,
        finish: tuple[Array | None, Act | None, Array | None],
        spaces: Sequence[Workspace],
    ) -> None:
        bias, act, self.residual = finish
        self.spec, self.x, self.out, self.taps = spec, x, out, taps
        self.finish = Finish(bias, act, spec.ow)
        work = strips(spec.n, spec.oh, self.limit(spec), len(spaces))
        parts = [[c for s in mine for c in self._strip(s, space)] for mine, space in zip(work, spaces, strict=True)]
        super().__init__(name, "depthwise", parts)

    def _strip(self, s: Strip, space: Workspace) -> Iterator[Call]:
        spec = self.spec
        at = (slice(s.n0, s.n1), slice(s.r0, s.r1))
        x, target = self.x[s.n0 : s.n1, s.r0 * spec.stride[0] :], self.out[at]
        sn, sy, sx, sc = x.strides
        n, rows = s.n1 - s.n0, s.r1 - s.r0
        (kh, kw), (dy, dx) = spec.kernel, spec.dilation
        width = self.width(spec)
        acc = target
        space.clear()
        if width and sx == spec.c * sc:
            run = width * spec.c
            wide = target
            if width > spec.ow or target.strides[2] != spec.c * sc:
                wide = acc = space.take(n, rows, width, spec.c)
            flat = as_strided(wide, (n, rows, run), (*wide.strides[:2], sc))
            seen = as_strided(x, (kh, kw, n, rows, run), (sy * dy, sx * dx, sn, sy * spec.stride[0], sc))
            yield partial(np.einsum, "klnhm,klm->nhm", seen, self.taps, out=flat)
            if width > spec.ow:
                acc = space.take(*target.shape)
                yield copy(wide[:, :, :: spec.stride[1]], acc)
        else:
            strides = (sy * dy, sx * dx, sn, sy * spec.stride[0], sx * spec.stride[1], sc)
            seen = as_strided(x, (kh, kw, n, rows, spec.ow, spec.c), strides)
            acc = space.take(*target.shape)
            yield partial(np.einsum, "klnhwc,klc->nhwc", seen, self.taps[..., : spec.c], out=acc)
        yield from self.finish.calls(acc, target, None if self.residual is None else self.residual[at])
