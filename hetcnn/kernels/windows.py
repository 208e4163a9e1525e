"""Sliding windows over the spatial axes of an (N, C, D1, D2, ...) tensor: how many, where, and the taps as views.

Convolution and pooling are the same walk with another sum at each stop; this module is the walk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.errors import HetcnnError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AUTO_PADS", "Window", "pad_spatial", "taps", "window"]

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
"""ONNX's words for who decides the padding: the caller, the output size (odd one at the end or start), or nobody."""


@dataclass(frozen=True)
class Window:
    """The geometry of a window that slides over every spatial axis; each field has one number per axis."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        """How many input elements a dilated window covers: dilation*(kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def taps(self) -> int:
        """Elements of one window."""
        return prod(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """Padded length that the last window needs: (out - 1)*stride + span."""
        return tuple((o - 1) * s + e for o, s, e in zip(self.out, self.strides, self.span, strict=True))


def window(
    size: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> Window:
    """Return where a window stops along each axis.

    out = floor((size + pads - span) / stride) + 1, rounded up with `ceil_mode` unless that window would start in the
    padding after the data; with SAME_UPPER and SAME_LOWER out = ceil(size / stride), and the padding follows from it.
    `pads` is ONNX's: all starts, then all ends. Raises HetcnnError for numbers that do not fit together.

    >>> window((5,), (3,), strides=(2,), pads=(1, 1)).out
    (3,)
    >>> same = window((5, 5), (2, 2), auto_pad="SAME_UPPER")
    >>> same.out, same.before, same.after
    ((5, 5), (0, 0), (1, 1))
    """
    rank = len(size)
    kernel = _per_axis("kernel_shape", kernel, rank, 1)
    strides = _per_axis("strides", strides or (1,) * rank, rank, 1)
    dilations = _per_axis("dilations", dilations or (1,) * rank, rank, 1)
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    before, after = _padding(size, span, strides, pads, auto_pad)
    out = []
    for n, e, s, a, b in zip(size, span, strides, before, after, strict=True):
        room = n + a + b - e
        if room < 0 and not (auto_pad == "NOTSET" and ceil_mode and room > -s):
            raise HetcnnError(f"a window of {e} does not fit into {n} elements with padding {a} + {b}")
        count = (-(-room // s) if ceil_mode else room // s) + 1
        out.append(count - 1 if ceil_mode and count > 1 and (count - 1) * s >= n + a else count)
    return Window(tuple(size), kernel, strides, dilations, before, after, tuple(out))


def _per_axis(what: str, values: Sequence[int], rank: int, least: int) -> tuple[int, ...]:
    if len(values) != rank or min(values, default=least) < least:
        raise HetcnnError(f"{what} {tuple(values)}: expected {rank} numbers, one per spatial axis, each from {least}")
    return tuple(int(v) for v in values)


def _padding(
    size: Sequence[int], span: Sequence[int], strides: Sequence[int], pads: Sequence[int] | None, auto_pad: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(size)
    if auto_pad not in AUTO_PADS:
        raise unknown("auto_pad", auto_pad, AUTO_PADS)
    if auto_pad == "VALID":
        return (0,) * rank, (0,) * rank
    if auto_pad == "NOTSET":
        pads = (0,) * (2 * rank) if pads is None else tuple(int(p) for p in pads)
        if len(pads) != 2 * rank or min(pads, default=0) < 0:
            raise HetcnnError(f"pads {pads}: expected {2 * rank} numbers from 0, all starts and then all ends")
        return pads[:rank], pads[rank:]
    total = [max((-(-n // s) - 1) * s + e - n, 0) for n, e, s in zip(size, span, strides, strict=True)]
    less, more = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (less, more) if auto_pad == "SAME_UPPER" else (more, less)


def pad_spatial(x: NDArray[Any], w: Window, fill: Any = 0) -> NDArray[Any]:
    """Return `x` with `fill` around its spatial axes, as far as the windows reach.

    >>> w = window((2,), (3,), pads=(1, 1))
    >>> pad_spatial(np.array([[[7, 8]]]), w).tolist()
    [[[0, 7, 8, 0]]]
    """
    ends = [max(r - n - b, 0) for r, n, b in zip(w.reach, w.size, w.before, strict=True)]
    if not any(w.before) and not any(ends):
        return x
    lengths = [b + n + e for b, n, e in zip(w.before, w.size, ends, strict=True)]
    padded = np.full((*x.shape[:2], *lengths), fill, x.dtype)
    inner = tuple(slice(b, b + n) for b, n in zip(w.before, w.size, strict=True))
    padded[(slice(None), slice(None), *inner)] = x
    return padded


def taps(x: NDArray[Any], w: Window) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """Yield each tap of the kernel with the elements that it meets at every stop, a view (N, C, *out) of padded `x`.

    >>> w = window((4,), (2,), strides=(2,))
    >>> [(tap, seen.ravel().tolist()) for tap, seen in taps(np.array([[[1, 2, 3, 4]]]), w)]
    [((0,), [1, 3]), ((1,), [2, 4])]
    """
    steps = list(zip(w.dilations, w.strides, w.out, strict=True))
    for tap in product(*map(range, w.kernel)):
        stops = [slice(t * d, t * d + (o - 1) * s + 1, s) for t, (d, s, o) in zip(tap, steps, strict=True)]
        yield tap, x[(slice(None), slice(None), *stops)]
