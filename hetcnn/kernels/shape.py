"""Operators that change the shape of a tensor or tell it, and never its elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from hetcnn.errors import HetcnnError, unknown
from hetcnn.kernels.arrays import Array, axes_of, axis_of

__all__ = [
    "channel_shuffle",
    "depth_to_space",
    "expand",
    "flatten",
    "identity",
    "reshape",
    "shape",
    "size",
    "space_to_depth",
    "squeeze",
    "tile",
    "transpose",
    "unsqueeze",
]


_BLOCK_MODES = ("DCR", "CRD")


def identity(x: Array) -> Array:
    """Return x.

    >>> identity(np.array([1, 2])).tolist()
    [1, 2]
    """
    return x


def shape(x: Array, *, start: int = 0, end: int | None = None) -> Array:
    """Return the sizes of the axes from `start` to before `end`, as int64.

    >>> shape(np.zeros((2, 3, 4)), start=1).tolist()
    [3, 4]
    """
    return np.array(x.shape[start:end], np.int64)


def size(x: Array) -> Array:
    """Return the number of elements, as int64.

    >>> int(size(np.zeros((2, 3))))
    6
    """
    return np.array(x.size, np.int64)


def reshape(x: Array, shape: Iterable[int], *, allowzero: int = 0) -> Array:
    """Return the elements of x, in order, under another shape; one size may be -1: whatever is left.

    0 copies the size of the same axis of x, unless `allowzero`.

    >>> reshape(np.zeros((2, 3, 4)), (0, -1)).shape
    (2, 12)
    """
    wanted = [int(d) for d in shape]
    if not allowzero:
        if any(d == 0 and i >= x.ndim for i, d in enumerate(wanted)):
            raise HetcnnError(f"shape {tuple(wanted)}: 0 copies a size, but the data {x.shape} has no such axis")
        wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    try:
        return x.reshape(wanted)
    except ValueError:
        raise HetcnnError(f"data {x.shape} of {x.size} elements does not fit into shape {tuple(wanted)}") from None


def flatten(x: Array, *, axis: int = 1) -> Array:
    """Return a matrix: all axes before `axis` together, and all others together.

    >>> flatten(np.zeros((2, 3, 4, 5)), axis=2).shape
    (6, 20)
    """
    axis = x.ndim if axis == x.ndim else axis_of(axis, x.ndim)
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def squeeze(x: Array, axes: Iterable[int] | None = None) -> Array:
    """Return x without the named axes of size 1, or without all such axes.

    >>> squeeze(np.zeros((1, 3, 1)), axes=[0]).shape
    (3, 1)
    """
    if axes is None:
        return np.squeeze(x)
    gone = axes_of(axes, x.ndim)
    if any(x.shape[i] != 1 for i in gone):
        raise HetcnnError(f"axes {gone} of data {x.shape}: only axes of size 1 can go")
    return np.squeeze(x, axis=gone)


def unsqueeze(x: Array, axes: Iterable[int]) -> Array:
    """Return x with axes of size 1 put in; `axes` count in the result.

    >>> unsqueeze(np.zeros((3, 4)), axes=[0, -1]).shape
    (1, 3, 4, 1)
    """
    new = list(axes)
    return np.expand_dims(x, axes_of(new, x.ndim + len(new)))


def transpose(x: Array, *, perm: Sequence[int] | None = None) -> Array:
    """Return x with its axes in another order: axis i of the result is axis perm[i] of x; default: reversed.

    >>> transpose(np.zeros((1, 2, 3)), perm=[0, 2, 1]).shape
    (1, 3, 2)
    """
    if perm is not None and sorted(perm) != list(range(x.ndim)):
        raise HetcnnError(f"perm {tuple(perm)}: expected an order of the {x.ndim} axes of data {x.shape}")
    return np.ascontiguousarray(np.transpose(x, perm)) if x.ndim else x


def expand(x: Array, shape: Iterable[int]) -> Array:
    """Return x repeated along its axes of size 1 until it has the shape that the two broadcast to.

    >>> expand(np.array([[1], [2]]), [3]).tolist()
    [[1, 1, 1], [2, 2, 2]]
    """
    wanted = tuple(int(d) for d in shape)
    try:
        return np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, wanted)))
    except ValueError:
        raise HetcnnError(f"data {x.shape} does not expand to {wanted}") from None


def tile(x: Array, repeats: Iterable[int]) -> Array:
    """Return x laid side by side, repeats[i] times along axis i.

    >>> tile(np.array([[1, 2]]), [2, 2]).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    counts = [int(r) for r in repeats]
    if len(counts) != x.ndim:
        raise HetcnnError(f"repeats {tuple(counts)}: expected one for each axis of data {x.shape}")
    return np.tile(x, counts)


def _blocks(x: Array, blocksize: int, multiple: int) -> tuple[int, int, int, int]:
    if x.ndim != 4 or blocksize < 1:
        raise HetcnnError(f"data {x.shape}, blocksize {blocksize}: expected (N, C, H, W) and a size from 1")
    if x.shape[1] % multiple:
        raise HetcnnError(f"{x.shape[1]} channels are no multiple of {multiple}")
    return x.shape


def depth_to_space(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Return a larger image whose b x b blocks are b*b channels of x: (N, C, H, W) -> (N, C/b^2, H*b, W*b).

    DCR takes channels that are C/b^2 apart for one block, CRD (the pixel shuffle) neighbouring ones.

    >>> depth_to_space(np.arange(4).reshape(1, 4, 1, 1), blocksize=2).tolist()
    [[[[0, 1], [2, 3]]]]
    """
    n, c, h, w = _blocks(x, blocksize, blocksize**2)
    b, depth = blocksize, c // blocksize**2
    if mode not in _BLOCK_MODES:
        raise unknown("mode", mode, _BLOCK_MODES)
    if mode == "DCR":
        y = x.reshape(n, b, b, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, depth, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(n, depth, h * b, w * b)


def space_to_depth(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Return a smaller image whose channels are the pixels of b x b blocks: (N, C, H, W) -> (N, C*b^2, H/b, W/b).

    The inverse of `depth_to_space` with the same mode.

    >>> space_to_depth(np.array([[[[0, 1], [2, 3]]]]), blocksize=2).ravel().tolist()
    [0, 1, 2, 3]
    """
    n, c, h, w = _blocks(x, blocksize, 1)
    b = blocksize
    if h % b or w % b:
        raise HetcnnError(f"image of {h} x {w}: expected multiples of the blocksize {b}")
    if mode not in _BLOCK_MODES:
        raise unknown("mode", mode, _BLOCK_MODES)
    y = x.reshape(n, c, h // b, b, w // b, b).transpose(*((0, 3, 5, 1) if mode == "DCR" else (0, 1, 3, 5)), 2, 4)
    return y.reshape(n, c * b * b, h // b, w // b)


def channel_shuffle(x: Array, groups: int) -> Array:
    """Return x with its channels dealt out like cards: as (groups, C/groups), read column by column.

    >>> channel_shuffle(np.arange(6).reshape(1, 6, 1, 1), 2).ravel().tolist()
    [0, 3, 1, 4, 2, 5]
    """
    batch, channels, *pixels = x.shape
    if groups < 1 or channels % groups:
        raise HetcnnError(f"{channels} channels are no multiple of {groups} groups")
    return x.reshape(batch, groups, channels // groups, *pixels).swapaxes(1, 2).reshape(x.shape)
