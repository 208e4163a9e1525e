"""Operators that cut tensors apart, put them together and pick elements out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError, unknown
from hetcnn.kernels.arrays import Array, axes_of, axis_of

__all__ = ["concat", "cut", "gather", "gather_elements", "gather_nd", "pad", "split"]

_PAD_MODES = ("constant", "reflect", "edge", "wrap")


def concat(*arrays: Array, axis: int) -> Array:
    """Return the arrays joined along one axis; all other sizes must agree.

    >>> concat(np.array([[1, 2]]), np.array([[3]]), axis=1).tolist()
    [[1, 2, 3]]
    """
    try:
        return np.concatenate(arrays, axis=axis_of(axis, arrays[0].ndim))
    except (ValueError, IndexError):
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise HetcnnError(f"shapes {shapes or 'none'}: they must agree outside axis {axis}") from None


def split(
    x: Array, split: Iterable[int] | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int = 1
) -> tuple[Array, ...]:
    """Return x cut along one axis into parts of the sizes `split`, or into equal ones, the last smaller if need be.

    >>> [part.tolist() for part in split(np.array([1, 2, 3, 4, 5]), num_outputs=2)]
    [[1, 2, 3], [4, 5]]
    """
    axis = axis_of(axis, x.ndim)
    length = x.shape[axis]
    if split is None:
        count = num_outputs or outputs
        each = -(-length // count)
        sizes = [max(min(each, length - i * each), 0) for i in range(count)]
    else:
        sizes = [int(s) for s in split]
    if sum(sizes) != length or min(sizes, default=0) < 0:
        raise HetcnnError(f"sizes {tuple(sizes)} do not add up to the {length} elements of axis {axis}")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=axis))


def cut(
    x: Array,
    starts: Iterable[int],
    ends: Iterable[int],
    axes: Iterable[int] | None = None,
    steps: Iterable[int] | None = None,
) -> Array:
    """Return x[start:end:step] along each of `axes` (default: the first ones); ONNX's Slice, with Python's rules.

    >>> x = np.array([0, 1, 2, 3, 4])
    >>> cut(x, [1], [1000], steps=[2]).tolist(), cut(x, [-1], [-9], steps=[-2]).tolist()
    ([1, 3], [4, 2, 0])
    """
    first, last = [int(v) for v in starts], [int(v) for v in ends]
    along = range(len(first)) if axes is None else axes_of(axes, x.ndim)
    stride = [1] * len(first) if steps is None else [int(v) for v in steps]
    if not len(first) == len(last) == len(along) == len(stride) or 0 in stride:
        raise HetcnnError(f"starts {first}, ends {last}, axes {list(along)}, steps {stride}: one of each, no step 0")
    places = [slice(None)] * x.ndim
    for axis, a, b, step in zip(along, first, last, stride, strict=True):
        if axis >= x.ndim:
            raise HetcnnError(f"starts {first}: the data {x.shape} has only {x.ndim} axes")
        places[axis] = slice(a, b, step)
    return x[tuple(places)]


def pad(
    x: Array,
    pads: Sequence[int] | Array,
    value: Any = None,
    axes: Iterable[int] | None = None,
    *,
    mode: str = "constant",
) -> Array:
    """Return x with elements added at the starts and ends of its axes, or for negative `pads` taken away.

    `pads` has all starts, then all ends, for each of `axes` (default: all). Added is `value` (default 0), or the
    image mirrored without its edge ("reflect"), its edge repeated ("edge"), or its other end ("wrap").

    >>> pad(np.array([1, 2, 3]), [2, 1], mode="reflect").tolist(), pad(np.array([1, 2, 3]), [-1, 1]).tolist()
    ([3, 2, 1, 2, 3, 2], [2, 3, 0])
    """
    if mode not in _PAD_MODES:
        raise unknown("mode", mode, _PAD_MODES)
    along = list(range(x.ndim)) if axes is None else list(axes_of(axes, x.ndim))
    amounts = [int(p) for p in pads]
    if len(amounts) != 2 * len(along):
        raise HetcnnError(f"pads {tuple(amounts)}: expected {2 * len(along)}, all starts and then all ends")
    edges = [(0, 0)] * x.ndim
    for axis, a, b in zip(along, amounts[: len(along)], amounts[len(along) :], strict=True):
        edges[axis] = (a, b)
    kept = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(edges, x.shape, strict=True))]
    room = [(max(a, 0), max(b, 0)) for a, b in edges]
    if mode == "constant":
        fill = 0 if value is None else np.asarray(value).reshape(-1)[0]
        return np.pad(kept, room, constant_values=fill)
    return np.asarray(np.pad(kept, room, mode=mode))  # type: ignore[call-overload]


def gather(x: Array, indices: Array, *, axis: int = 0) -> Array:
    """Return the slices of x at `indices` along one axis, in the shape of the indices; negative ones from the end.

    >>> gather(np.array([[1, 2], [3, 4]]), np.array([[1, 0]]), axis=0).tolist()
    [[[3, 4], [1, 2]]]
    """
    try:
        return np.take(x, indices, axis=axis_of(axis, x.ndim))
    except IndexError:
        raise HetcnnError(f"an index lies outside the {x.shape[axis]} elements of axis {axis}") from None


def gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    """Return for each position of `indices` the element of x at that position, but with the index along `axis`.

    >>> gather_elements(np.array([[1, 2], [3, 4]]), np.array([[0, 0], [1, 0]]), axis=1).tolist()
    [[1, 1], [4, 3]]
    """
    axis = axis_of(axis, x.ndim)
    places: list[Any] = list(np.indices(indices.shape, sparse=True))
    places[axis] = np.where(indices < 0, indices + x.shape[axis], indices)
    try:
        return np.asarray(x[tuple(places)])
    except IndexError:
        raise HetcnnError(f"an index lies outside the {x.shape[axis]} elements of axis {axis}") from None


def gather_nd(x: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    """Return the slices of x that the rows of `indices` (their last axis) address, after `batch_dims` shared axes.

    >>> gather_nd(np.array([[1, 2], [3, 4]]), np.array([[0, 1], [1, 0]])).tolist()
    [2, 3]
    """
    shared = np.indices(indices.shape[:-1], sparse=True)[:batch_dims]
    try:
        return np.asarray(x[(*shared, *np.moveaxis(indices, -1, 0))])
    except IndexError:
        raise HetcnnError(f"an index lies outside data {x.shape}") from None
