"""Which channel of which producer lies where: concatenations and shuffles planned away before memory is laid out.

While planning, an image tensor is a list of channels, each `producer * 2**20 + its channel`. Concat, Split and channel
shuffle only rewrite that list. A reader that gets channels of several producers has them written side by side from the
start (a shared region) when they are whole producers, and gathered in runs otherwise; convolutions take any order of
channels, for their weights can be permuted alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from hetcnn.kernels.fast.memory import Store
from hetcnn.kernels.fast.tape import Array, Call, copy

__all__ = ["SPAN", "Pads", "Read", "Region", "Source", "Value", "runs"]

SPAN = 1 << 20
Pads = tuple[int, int, int, int]
Channels = NDArray[np.int64]
NO_PADS: Pads = (0, 0, 0, 0)


@dataclass(eq=False)
class Region:
    """A piece of memory for n images of h x w pixels of c channels, with room around them for padding.

    `zero` is what stands for 0 in the padding, one value per channel, where that is not 0.
    """

    n: int
    h: int
    w: int
    c: int
    pads: Pads = NO_PADS
    store: Store | None = None
    array: Array | None = None
    zero: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape with padding."""
        top, left, bottom, right = self.pads
        return self.n, top + self.h + bottom, left + self.w + right, self.c

    @property
    def whole(self) -> Array:
        """The array with its padding, once it has memory."""
        assert self.array is not None
        return self.array

    @property
    def inner(self) -> Array:
        """The array without its padding."""
        top, left, _, _ = self.pads
        return self.whole[:, top : top + self.h, left : left + self.w]

    def padded(self, pads: Pads) -> Array:
        """The array from `pads` above and left of the first pixel on; it may reach further at the other two sides."""
        return self.whole[:, self.pads[0] - pads[0] :, self.pads[1] - pads[1] :]

    def border(self) -> list[Array]:
        """Views of everything around the pixels: above, between the ends of rows, and below; few and long runs."""
        top, left, _, right = self.pads
        x, (n, height, width, c) = self.whole, self.shape
        flat = x.reshape(n, height * width, c)
        start, side = top * width + left, left + right
        pieces = [flat[:, :start], flat[:, start + (self.h - 1) * width + self.w :]]
        if side and self.h > 1:
            sn, sp, sc = flat.strides
            between = flat[:, start + self.w :]
            pieces.append(as_strided(between, (n, self.h - 1, side, c), (sn, width * sp, sp, sc)))
        return [p for p in pieces if p.size]

    def clear(self) -> list[Call]:
        """The calls that set the padding to zero."""
        if self.zero is None:
            return [partial(piece.fill, 0) for piece in self.border()]
        return [copy(self.zero, piece) for piece in self.border()]


@dataclass(eq=False)
class Source:
    """What one step writes: c channels of n images, stored in `order` (stored -> its own channel) from `offset` on.

    `shift`: the stored values are the true ones minus this, one per own channel: see `shift.py`.
    """

    number: int
    region: Region
    c: int
    step: int
    free: bool = False
    order: Channels = field(default_factory=lambda: np.empty(0, np.int64))
    offset: int = 0
    shared: bool = False
    shift: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.order = np.arange(self.c)

    @property
    def channels(self) -> Channels:
        """Its channels as entries of a `Value`."""
        return self.number * SPAN + np.arange(self.c)

    @property
    def target(self) -> Array:
        """The view to write."""
        return self.region.inner[..., self.offset : self.offset + self.c]

    def places(self) -> Channels:
        """Own channel -> channel of the region."""
        places = np.empty(self.c, np.int64)
        places[self.order] = self.offset + np.arange(self.c)
        return places


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the network while planning: an image as channels, or a raw array in ONNX's own layout."""

    shape: tuple[int, ...]
    channels: Channels | None = None
    image: tuple[int, int, int] = (0, 0, 0)
    raw: Any = None


@dataclass(eq=False)
class Read:
    """One step's reading of an image: what it wants, and after `resolve` where that is.

    `any_order`: the reader permutes its weights. `flat`: it wants pixels without padding between them.
    """

    channels: Channels
    image: tuple[int, int, int]
    any_order: bool = False
    pads: Pads = NO_PADS
    flat: bool = False
    region: Region | None = None
    offset: int = 0
    order: Channels | None = None

    @property
    def numbers(self) -> list[int]:
        """The producers, in the order of their first channels."""
        found = self.channels // SPAN
        _, first = np.unique(found, return_index=True)
        return [int(found[i]) for i in sorted(first)]

    def whole(self, sources: Sequence[Source]) -> bool:
        """Whether it reads each of its producers completely and in order, one after the other."""
        expected = np.concatenate([sources[i].channels for i in self.numbers])
        return expected.size == self.channels.size and bool(np.all(expected == self.channels))

    def settle(self, region: Region, places: Channels) -> bool:
        """Take channels `places` of a region if they are one run (in order, unless any will do)."""
        order = np.argsort(places, kind="stable")
        first = int(places.min())
        if not np.array_equal(places[order], first + np.arange(places.size)):
            return False
        if not self.any_order and not np.array_equal(order, np.arange(order.size)):
            return False
        self.region, self.offset, self.order = region, first, order
        return True

    def view(self, pads: Pads | None = None) -> Array:
        """The view to read: the pixels, or with `pads` around them."""
        assert self.region is not None
        x = self.region.inner if pads is None else self.region.padded(pads)
        return x[..., self.offset : self.offset + self.channels.size]


def runs(places: Channels) -> list[tuple[int, int]]:
    """Cut a list of channels into runs of consecutive ones: (first position, end position).

    >>> runs(np.array([4, 5, 6, 1, 2]))
    [(0, 3), (3, 5)]
    """
    cuts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), places.size]
    return list(itertools.pairwise(cuts))
