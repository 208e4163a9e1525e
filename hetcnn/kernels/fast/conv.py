"""The geometry of a convolution in NHWC, shared by all algorithms."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConvSpec"]


@dataclass(frozen=True)
class ConvSpec:
    """Sizes of one convolution: n images of h x w x c, `co` maps, kernel, stride, pads (top, left, bottom, right).

    >>> ConvSpec(1, 224, 224, 3, 64, (7, 7), (2, 2), (3, 3, 3, 3)).oh
    112
    """

    n: int
    h: int
    w: int
    c: int
    co: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def oh(self) -> int:
        """Rows of the output."""
        return (self.h + self.pads[0] + self.pads[2] - self.dilation[0] * (self.kernel[0] - 1) - 1) // self.stride[
            0
        ] + 1

    @property
    def ow(self) -> int:
        """Columns of the output."""
        return (self.w + self.pads[1] + self.pads[3] - self.dilation[1] * (self.kernel[1] - 1) - 1) // self.stride[
            1
        ] + 1

    @property
    def taps(self) -> int:
        """Weights per input and output channel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def pointwise(self) -> bool:
        """1x1, any stride, no padding."""
        return self.taps == 1 and not any(self.pads) and self.groups == 1

    @property
    def depthwise(self) -> bool:
        """One input channel per group and one map each."""
        return self.groups == self.c == self.co and self.groups > 1
