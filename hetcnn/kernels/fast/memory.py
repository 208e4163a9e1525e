"""Where every activation lives: pieces of one block of memory, shared by those that are never alive together."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shelf", "Store", "aligned", "assign", "view"]

LINE = 16
"""Floats of a cache line: every piece starts on one."""
HUGE = 1 << 20
"""Floats from which NumPy asks the system for huge pages: 4 MiB."""


@dataclass(eq=False)
class Store:
    """A piece of memory: its size in floats, the steps of the program between which it is alive, and its place."""

    size: int
    first: int
    last: int
    offset: int = -1

    def live(self, step: int) -> None:
        """Make it alive at `step` too."""
        self.first, self.last = min(self.first, step), max(self.last, step)


def assign(stores: list[Store]) -> int:
    """Give every store an offset such that no two alive at once overlap; returns the floats needed.

    Largest first, each at the lowest gap that fits.

    >>> a, b, c = Store(32, 0, 1), Store(16, 1, 2), Store(32, 2, 3)
    >>> assign([a, b, c]), a.offset, b.offset, c.offset             # c takes a's place
    (48, 0, 32, 0)
    """
    placed: list[Store] = []
    for store in sorted(stores, key=lambda s: -s.size):
        near = sorted((p for p in placed if p.first <= store.last and store.first <= p.last), key=lambda p: p.offset)
        place = 0
        for other in near:
            if other.offset - place >= store.size:
                break
            place = max(place, -(-(other.offset + other.size) // LINE) * LINE)
        store.offset = place
        placed.append(store)
    return max((s.offset + s.size for s in stores), default=0)


def view(
    memory: NDArray[np.float32], store: Store, shape: tuple[int, ...], dtype: str = "float32"
) -> NDArray[np.generic]:
    """The store as an array of this shape and type."""
    count = int(np.prod(shape, dtype=np.int64))
    piece = memory[store.offset : store.offset + store.size].view(np.uint8)
    return piece[: count * np.dtype(dtype).itemsize].view(dtype).reshape(shape)


def aligned(size: int) -> NDArray[np.float32]:
    """`size` zeros that start on a cache line, in huge pages: what lies behind them is never touched."""
    memory = np.empty(max(size + LINE, HUGE), np.float32)  # not np.zeros: only np.empty asks for huge pages
    skip = -memory.ctypes.data // 4 % LINE
    found = memory[skip : skip + size]
    found.fill(0)
    return found


class Shelf:
    """Laid-out weights side by side in large blocks.

    NumPy asks the system for huge pages from 4 MiB on; weights of 1 MiB in pages of 4 KiB read a tenth to a third
    slower, and small images do little else than read weights.
    """

    BLOCK = 4 * 1024 * 1024

    def __init__(self) -> None:
        self._arrays: dict[Hashable, NDArray[np.float32]] = {}
        self._free = np.empty(0, np.float32)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._arrays

    def __getitem__(self, key: Hashable) -> NDArray[np.float32]:
        return self._arrays[key]

    def __setitem__(self, key: Hashable, array: NDArray[np.float32]) -> None:
        if array.nbytes < 4 * 2**20:
            size = -(-array.size // LINE) * LINE
            if size > self._free.size:
                self._free = np.empty(self.BLOCK, np.float32)
            place, self._free = self._free[: array.size], self._free[size:]
            place[:] = array.reshape(-1)
            array = place.reshape(array.shape)
        self._arrays[key] = array

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(array.nbytes for array in self._arrays.values())
