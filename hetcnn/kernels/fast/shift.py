"""Leave the bias out of what is stored: one pass over every activation less.

With z = W x, a convolution with bias b and ReLU should store y = max(z + b, 0). It stores y - b = max(z, -b) instead,
which is one operation; without ReLU it stores z as it is. Any clamp moves by b. The next convolution takes the constant
into its own bias:

    W' y = W' (y - b) + W' b

and sees -b where padding stands for zero. Pools pass the shift on, a residual sum adds the shifts of both sides.
A producer may do so only if all its readers can take the shift in, and while it is small: passed on through many
layers it grows, and subtracting large numbers loses digits. Then the bias is added and the count starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hetcnn.kernels.fast.fuse import Step
from hetcnn.kernels.fast.layout import SPAN, Read, Source

__all__ = ["absorbed", "passed", "shift_of"]

GROWTH = 4
"""How many times a layer's own greatest bias its shift may be."""

Vector = NDArray[np.float64]


def shift_of(read: Read, sources: Sequence[Source]) -> Vector | None:
    """The shift of the channels that a step reads, in its own order; None where all are as they should be."""
    if all(sources[i].shift is None for i in read.numbers):
        return None
    shift = np.zeros(read.channels.size)
    for number in read.numbers:
        own = sources[number].shift
        if own is not None:
            mine = read.channels // SPAN == number
            shift[mine] = own[read.channels[mine] % SPAN]
    return shift


def absorbed(step: Step, shift: Vector | None) -> Vector | None:
    """The bias of a convolution or dense layer whose input lacks `shift`; None for no bias.

    >>> import numpy as np
    >>> from hetcnn import zoo
    >>> from hetcnn.kernels.fast.fuse import fuse
    >>> first = fuse(zoo.load("lenet-5", seed=0))[0]
    >>> first.weight = np.ones((6, 1, 5, 5), np.float32)
    >>> (absorbed(first, np.array([2.0])) - first.bias).round(6).tolist()          # 25 taps of 1 times 2
    [50.0, 50.0, 50.0, 50.0, 50.0, 50.0]
    """
    bias = None if step.bias is None else np.asarray(step.bias, np.float64)
    if shift is None or step.weight is None:
        return bias
    groups = step.attrs.get("groups", 1)
    weight = step.weight
    if step.op == "dense":
        taps = weight.reshape(len(weight), shift.size, -1).sum(2, dtype=np.float64)
    else:
        taps = weight.sum((2, 3), dtype=np.float64)
    per_group = taps.reshape(groups, -1, taps.shape[1])
    extra: Vector = np.einsum("gmc,gc->gm", per_group, shift.reshape(groups, -1)).ravel()
    return extra if bias is None else bias + extra


def passed(step: Step, bias: Vector | None, residual: Vector | None) -> Vector | None:
    """What a convolution may leave out: its bias and the residual's shift; nothing where that has grown too large."""
    parts = [part for part in (bias, residual) if part is not None]
    if not parts or step.bias is None:
        return None
    shift: Vector = np.sum(parts, axis=0)
    return shift if np.abs(shift).max() <= GROWTH * np.abs(step.bias).max() else None
