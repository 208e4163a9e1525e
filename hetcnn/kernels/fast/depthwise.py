"""Depthwise convolution: one filter per channel, y[h, w, c] = sum_kl x[h + k, w + l, c] f[k, l, c].

No product to hand to the BLAS; einsum does the multiply-adds in one pass per tap while a strip of rows stays in cache.
At stride 1 a row of windows is one run of ow*c floats, with the weights tiled alike. At stride 2 a run takes two
columns, so that the windows lie side by side again, times the weights of two taps; the two sums of a pixel are added at
the end, and an odd row of taps is filled with a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.tape import Act, Array, Call, Finish, Kernel, Strip, Workspace, strips

__all__ = ["Depthwise"]

SHORT = 160
"""Channels up to which a run of one pixel costs more than the zero tap and the sum of two columns."""


def _find_einsum() -> Callable[..., Any]:
    """The function under np.einsum, which spends 1 us more on its arguments; np.einsum itself where it has moved."""
    module = getattr(getattr(np, "_core", None), "multiarray", None)
    found: Callable[..., Any] = getattr(module, "c_einsum", np.einsum)
    return found


_einsum = _find_einsum()


class Depthwise(Kernel):
    """Channel multiplier 1; x is padded."""

    @staticmethod
    def limit(spec: ConvSpec) -> int:
        """Output rows per strip."""
        return max(1, 128 * 1024 // (spec.ow * spec.c))

    @staticmethod
    def columns(spec: ConvSpec) -> int:
        """Columns that belong to one output in a run; 0 where runs of c floats, one output's, are long enough."""
        if spec.stride[1] == 1:
            return 1
        return 2 if spec.stride[1] == 2 and spec.dilation[1] == 1 and spec.c <= SHORT else 0

    @classmethod
    def pads(cls, spec: ConvSpec) -> tuple[int, int, int, int]:
        """The convolution's own padding, and on the right what the last run reads in vain."""
        top, left, bottom, right = spec.pads
        step = max(1, cls.columns(spec))
        reach = (spec.ow - 1) * spec.stride[1] + step * -(-spec.kernel[1] // step)
        return top, left, bottom, max(right, reach - left - spec.w)

    @classmethod
    def workspace(cls, spec: ConvSpec) -> int:
        """Floats of scratch memory per worker."""
        rows = min(cls.limit(spec), spec.n * spec.oh)
        return rows * (cls.columns(spec) + 1) * spec.ow * spec.c + 64

    @classmethod
    def weights(cls, spec: ConvSpec, weight: Array) -> Array:
        """Lay out (c, 1, kh, kw) as (kh, kw, c); as (kh, kw / columns, ow * columns * c) where runs are rows."""
        taps = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))
        step = cls.columns(spec)
        if not step:
            return taps
        filled = np.pad(taps, ((0, 0), (0, -taps.shape[1] % step), (0, 0)))
        row = filled.reshape(len(taps), -1, 1, step * spec.c)
        return np.tile(row, (1, 1, spec.ow, 1)).reshape(*row.shape[:2], -1)

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
        step = self.columns(spec)
        acc = target
        space.clear()
        if step and sx == spec.c * sc:
            run = spec.ow * step * spec.c
            sums = target
            if step > 1 or target.strides[2] != spec.c * sc:
                sums = acc = space.take(n, rows, spec.ow * step, spec.c)
            flat = as_strided(sums, (n, rows, run), (*sums.strides[:2], sc))
            shape = (kh, self.taps.shape[1], n, rows, run)
            seen = as_strided(x, shape, (sy * dy, sx * dx * step, sn, sy * spec.stride[0], sc))
            yield partial(_einsum, "klnhm,klm->nhm", seen, self.taps, out=flat)
            if step > 1:
                acc = space.take(*target.shape)
                yield partial(np.add, sums[:, :, ::2], sums[:, :, 1::2], out=acc)
        else:
            strides = (sy * dy, sx * dx, sn, sy * spec.stride[0], sx * spec.stride[1], sc)
            seen = as_strided(x, (kh, kw, n, rows, spec.ow, spec.c), strides)
            acc = space.take(*target.shape)
            yield partial(_einsum, "klnhwc,klc->nhwc", seen, self._taps(kw), out=acc)
        yield from self.finish.calls(acc, target, None if self.residual is None else self.residual[at])

    def _taps(self, kw: int) -> Array:
        """The weights as (kh, kw, c), however they are laid out."""
        each = max(1, self.columns(self.spec)) * self.spec.c
        return self.taps[..., :each].reshape(len(self.taps), -1, self.spec.c)[:, :kw]
