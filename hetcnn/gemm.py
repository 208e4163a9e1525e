"""Time of a convolution run as im2col and matrix product on one to H cores: Pipe-it's Equations 3 to 8.

`N` is the number of rows of the image matrix (output pixels), `K` the taps per output, `M` the output maps. Times are
in whatever unit the coefficients carry, seconds throughout the package. Every function broadcasts over arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "TERMS",
    "core_time",
    "iterations",
    "multi_core_time",
    "output_size",
    "share_time",
    "single_core_time",
    "terms",
]

TERMS = ("N", "K", "M", "NK", "KM", "NM", "NKM", "1")
"""The eight terms of Equation 5, in the order of their coefficients b1 to b8 (NKM is b7's, the constant b8's)."""


def output_size(
    size: ArrayLike, taps: ArrayLike, *, stride: ArrayLike = 1, padding: ArrayLike = 0
) -> NDArray[np.int64]:
    """Return the output size of a convolution: O = floor((I - F + 2 Pad) / S) + 1 (Pipe-it, Eq. 3).

    >>> int(output_size(224, 7, stride=2, padding=3))
    112
    """
    size, taps, stride, padding = (np.asarray(x, np.int64) for x in (size, taps, stride, padding))
    return np.asarray((size - taps + 2 * padding) // stride + 1)


def terms(N: ArrayLike, K: ArrayLike, M: ArrayLike) -> NDArray[np.float64]:
    """Return the regressors of Equation 5, shape (..., 8), in the order of `TERMS`.

    >>> terms(2, 3, 5).tolist()
    [2.0, 3.0, 5.0, 6.0, 15.0, 10.0, 30.0, 1.0]
    """
    n, k, m = np.broadcast_arrays(*(np.asarray(x, float) for x in (N, K, M)))
    return np.stack([n, k, m, n * k, k * m, n * m, n * k * m, np.ones_like(n)], axis=-1)


def single_core_time(N: ArrayLike, K: ArrayLike, M: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return T = b1 N + b2 K + b3 M + b4 NK + b5 KM + b6 NM + b7 NMK + b8 (Pipe-it, Eq. 5).

    `b` has shape (8,), in the order of `TERMS`.

    >>> float(single_core_time(2, 3, 5, [0, 0, 0, 1, 0, 0, 10, 0]))     # 6 + 10 * 30
    306.0
    """
    time: NDArray[np.float64] = terms(N, K, M) @ np.asarray(b, float)
    return time


def iterations(N: ArrayLike, tile: float) -> NDArray[np.float64]:
    """Return the number of row tiles, ceil(N / ts) (Pipe-it, Eq. 6, with whole iterations).

    >>> iterations([1, 49, 3025], 8).tolist()
    [1.0, 7.0, 379.0]
    """
    return np.asarray(np.ceil(np.asarray(N, float) / tile))


def share_time(time: ArrayLike, N: ArrayLike, tiles: ArrayLike, *, tile: float) -> NDArray[np.float64]:
    """Return the time of `tiles` of the ceil(N / ts) row tiles of a layer that takes `time` in all."""
    return np.asarray(np.asarray(time, float) * np.asarray(tiles, float) / iterations(N, tile))


def multi_core_time(
    time: ArrayLike, N: ArrayLike, cores: ArrayLike, *, tile: float, a1: float = 0.0, a2: float = 0.0, a3: float = 0.0
) -> NDArray[np.float64]:
    """Return the time on `cores` equal cores from the single-core `time` (Pipe-it, Eqs. 6-8).

    n = ceil(N / ts) row tiles; each takes (T - a1)/n + a2; the busiest of H cores runs ceil(n / H) of them; a3 once:
    T_H = ((T - a1)/n + a2) ceil(n / H) + a3. The paper writes n/H; iterations are whole, so that a layer with few rows
    (7 x 7 pixels: 7 tiles of 8 rows) gains less from four cores than a factor of four. One core runs no threads: T.

    >>> float(multi_core_time(7.0, 49, 4, tile=8))      # 7 tiles on 4 cores: two rounds of one tile
    2.0
    >>> float(multi_core_time(7.0, 49, 1, tile=8, a1=0.5, a3=0.5))
    7.0
    """
    n = iterations(N, tile)
    rounds = np.ceil(n / np.asarray(cores, float))
    split = ((np.asarray(time, float) - a1) / n + a2) * rounds + a3
    return np.where(np.asarray(cores) == 1, time, split)


def core_time(
    time: ArrayLike, N: ArrayLike, cores: ArrayLike, *, tile: float, a1: float = 0.0, a2: float = 0.0, a3: float = 0.0
) -> NDArray[np.float64]:
    """Return the single-core time behind a time measured on `cores` cores: `multi_core_time` solved for T.

    >>> float(core_time(2.0, 49, 4, tile=8))
    7.0
    """
    n = iterations(N, tile)
    rounds = np.ceil(n / np.asarray(cores, float))
    whole = ((np.asarray(time, float) - a3) / rounds - a2) * n + a1
    return np.where(np.asarray(cores) == 1, time, whole)
