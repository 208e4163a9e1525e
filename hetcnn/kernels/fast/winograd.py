"""3x3 convolution at stride 1 by Winograd's minimal filtering (Lavin and Gray 2016), everything as matrix products.

    Y = A^T [ (G g G^T) * (B^T d B) ] A      for a tile d of (m+2) x (m+2) pixels giving m x m outputs

Over all tiles and channels at once: lay the tiles out so that tile position is the first axis, D (a*a, tiles*c) with
a = m + 2; then

    U = (B^T kron B^T) D        one product of (a*a, a*a) by (a*a, tiles*c)
    M[p] = U[p] W[p]            a*a products of (tiles, c) by (c, maps)
    Y = (A^T kron A^T) M        one product; the bias is one more row of M, of ones in A^T kron A^T

F(4x4) needs 36 products where direct convolution needs 144, F(2x2) 16 for 36. One strided copy goes in, one strided
clamp comes out. The weights grow by 4 and by 1.8, which is why small images with many channels take F(2x2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.tape import (
    SMALL,
    Act,
    Array,
    Call,
    Finish,
    Kernel,
    Strip,
    Workspace,
    clamp,
    copy,
    matmul,
    strips,
)

__all__ = ["Winograd", "matrices"]

LIMIT = 256 * 1024
"""Floats of workspace per strip: 1 MiB, half of a usual second-level cache."""
TILES = 56
"""Tiles per strip at least, so that reading the weights once per strip is worth it."""

Matrix = NDArray[np.float64]


@lru_cache
def matrices(m: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return (A^T, G, B^T) of F(m, 3) for m = 2 or 4, from the points 0, 1, -1 (2, -2) and infinity.

    >>> at, g, bt = matrices(2)
    >>> d, f = np.array([1.0, 2, 3, 4]), np.array([5.0, 6, 7])
    >>> (at @ ((g @ f) * (bt @ d))).tolist()                # 1*5 + 2*6 + 3*7, 2*5 + 3*6 + 4*7
    [38.0, 56.0]
    """
    if m == 2:
        at = [[1, 1, 1, 0], [0, 1, -1, -1]]
        g = [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]
        bt = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]
    else:
        at = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
        g = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6]]
        g += [[1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
        bt = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
        bt += [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
    return np.array(at, float), np.array(g, float), np.array(bt, float)


@lru_cache
def _transforms(m: int) -> tuple[Array, Array]:
    """Return (B^T kron B^T, A^T kron A^T with a last column of ones for the bias) in float32."""
    at, _, bt = matrices(m)
    outer = np.kron(at, at)
    return np.kron(bt, bt).astype(np.float32), np.hstack([outer, np.ones((m * m, 1))]).astype(np.float32)


class Winograd(Kernel):
    """F(m x m, 3x3); x is padded so that whole tiles fit: see `pads`."""

    @staticmethod
    def fits(spec: ConvSpec) -> bool:
        """Whether the algorithm applies."""
        ones = spec.stride == spec.dilation == (1, 1)
        return ones and spec.kernel == (3, 3) and spec.groups == 1

    @staticmethod
    def pads(spec: ConvSpec, m: int) -> tuple[int, int, int, int]:
        """The convolution's own padding, and what whole tiles need below and to the right."""
        top, left, bottom, right = spec.pads
        return top, left, bottom + -spec.oh % m, right + -spec.ow % m

    @staticmethod
    def limit(spec: ConvSpec, m: int) -> int:
        """Rows of tiles per strip."""
        across = -(-spec.ow // m)
        per_tile = (m + 2) ** 2 * (spec.c + max(spec.c, spec.co))
        return max(1, LIMIT // (per_tile * across), -(-TILES // across))

    @classmethod
    def workspace(cls, spec: ConvSpec, m: int) -> int:
        """Floats of scratch memory per worker."""
        tiles = min(cls.limit(spec, m), spec.n * -(-spec.oh // m)) * -(-spec.ow // m)
        first, second = cls._sizes(spec, m, tiles)
        return first + second + 64

    @staticmethod
    def _sizes(spec: ConvSpec, m: int, tiles: int) -> tuple[int, int]:
        """Floats of the two areas: D, later M with its bias row; and U, later Y."""
        a2 = (m + 2) ** 2
        return tiles * max(a2 * spec.c, (a2 + 1) * spec.co), tiles * max(a2 * spec.c, m * m * spec.co)

    @classmethod
    def block(cls, spec: ConvSpec, m: int) -> int:
        """Columns per block of weights, so that one product stays under the size from which the BLAS packs."""
        tiles = min(cls.limit(spec, m), spec.n * -(-spec.oh // m)) * -(-spec.ow // m)
        for block in (64, 32):
            if spec.co % block == 0 and tiles * spec.c * block <= SMALL:
                return block
        return spec.co

    @classmethod
    def weights(cls, spec: ConvSpec, weight: Array, m: int) -> Array:
        """Transform ONNX's (co, c, 3, 3) to (a*a, blocks, c, co / blocks)."""
        g = matrices(m)[1]
        block = cls.block(spec, m)
        outer = np.kron(g, g).astype(np.float32)  # (a*a, 9)
        flat = weight.reshape(spec.co // block, block, spec.c, 9).transpose(3, 0, 2, 1).reshape(9, -1)
        return (outer @ flat).reshape(len(outer), spec.co // block, spec.c, block)

    def __init__(
        self,
        name: str,
        spec: ConvSpec,
        x: Array,
        out: Array,
        blocks: Array,
        finish: tuple[Array | None, Act | None, Array | None],
        spaces: Sequence[Workspace],
        m: int,
    ) -> None:
        bias, act, self.residual = finish
        self.spec, self.m, self.x, self.out, self.blocks, self.bias = spec, m, x, out, blocks, bias
        self.act = Finish(None, act, -(-spec.ow // m)).act
        self.before, after = _transforms(m)
        self.after = after if bias is not None else np.ascontiguousarray(after[:, :-1])
        work = strips(spec.n, -(-spec.oh // m), self.limit(spec, m), len(spaces))
        parts = [[c for s in mine for c in self._strip(s, space)] for mine, space in zip(work, spaces, strict=True)]
        super().__init__(name, f"winograd F{m}", parts)

    def _strip(self, s: Strip, space: Workspace) -> Iterator[Call]:
        a, spec = self.m + 2, self.spec
        across = -(-spec.ow // self.m)
        tiles = s.rows * across
        space.clear()
        first, second = (space.take(size) for size in self._sizes(spec, self.m, tiles))
        d, u = (area[: a * a * tiles * spec.c] for area in (first, second))
        rows = len(self.after[0])
        products, y = first[: rows * tiles * spec.co], second[: self.m**2 * tiles * spec.co]
        yield copy(self._tiles(s, across), d.reshape(a, a, s.n1 - s.n0, s.r1 - s.r0, across, spec.c))
        yield _transform(self.before, d.reshape(a * a, -1), u.reshape(a * a, -1))
        if self.bias is not None:
            yield copy(self.bias, products.reshape(rows, tiles, spec.co)[-1])
        yield self._products(u.reshape(a * a, tiles, spec.c), products.reshape(rows, tiles, spec.co)[: a * a])
        yield _transform(self.after, products.reshape(rows, -1), y.reshape(self.m**2, -1))
        spare = first[: y.size] if self.residual is not None else None
        yield from self._scatter(s, y.reshape(self.m, self.m, s.n1 - s.n0, s.r1 - s.r0, across, spec.co), spare)

    def _tiles(self, s: Strip, across: int) -> Array:
        """A view (a, a, n, rows, across, c) of the overlapping tiles."""
        m = self.m
        x = self.x[s.n0 : s.n1, s.r0 * m : s.r1 * m + 2]
        sn, sy, sx, sc = x.strides
        shape = (m + 2, m + 2, s.n1 - s.n0, s.r1 - s.r0, across, self.spec.c)
        return as_strided(x, shape, (sy, sx, sn, sy * m, sx * m, sc), writeable=False)

    def _products(self, u: Array, products: Array) -> Call:
        count = self.blocks.shape[1]
        if count == 1:
            return matmul(u, self.blocks[:, 0], products)
        return matmul(u[:, None], self.blocks, products.reshape(*u.shape[:2], count, -1).transpose(0, 2, 1, 3))

    def _scatter(self, s: Strip, y: Array, spare: Array | None) -> Iterator[Call]:
        """Add the residual, clamp, and copy the tiles out: whole ones in one call, cut ones at the edges in others."""
        if self.residual is not None and spare is not None:
            tiles = spare.reshape(y.shape)
            for part, pixels in self._parts(s, tiles, self.residual):
                yield copy(pixels, part)
            yield partial(np.add, y, tiles, out=y)
        if self.act is not None:
            yield from clamp(y, self.act, y)
        for part, pixels in self._parts(s, y, self.out):
            yield copy(part, pixels)

    def _parts(self, s: Strip, tiles: Array, image: Array) -> Iterator[tuple[Array, Array]]:
        """Pairs of views of the same shape: of the tiles (m, m, n, rows, across, c), and of the image."""
        m, spec = self.m, self.spec
        for t0, t1, high in _runs(s.r0, s.r1, m, spec.oh):
            for c0, c1, wide in _runs(0, tiles.shape[4], m, spec.ow):
                part = tiles[:high, :wide, :, t0 - s.r0 : t1 - s.r0, c0:c1]
                yield part, _tiled_view(image[s.n0 : s.n1, t0 * m :, c0 * m :], part.shape, m)


def _transform(matrix: Array, x: Array, y: Array) -> Call:
    """y = matrix @ x in blocks of columns small enough for the BLAS not to pack them."""
    columns, most = x.shape[1], SMALL // matrix.size
    blocks = next((b for b in range(-(-columns // most), columns + 1) if columns % b == 0), 1)
    if columns // blocks < most // 4:
        return matmul(matrix, x, y)
    cut = [z.reshape(len(z), blocks, -1).transpose(1, 0, 2) for z in (x, y)]
    return matmul(matrix, *cut)


def _runs(t0: int, t1: int, m: int, size: int) -> list[tuple[int, int, int]]:
    """Tiles t0:t1 of m out of `size` pixels as (first, end, pixels of each): whole ones, then the cut one."""
    whole = min(t1, size // m)
    runs = [(t0, whole, m)] if whole > t0 else []
    return [*runs, (whole, t1, size % m)] if t1 > whole else runs


def _tiled_view(z: Array, shape: tuple[int, ...], m: int) -> Array:
    sn, sy, sx, sc = z.strides
    return as_strided(z, shape, (sy, sx, sn, sy * m, sx * m, sc))
