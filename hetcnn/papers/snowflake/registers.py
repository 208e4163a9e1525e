"""What the generated code keeps in which register, and runs of output rows."""

from __future__ import annotations

from dataclasses import dataclass

from hetcnn.papers.snowflake.tasks import Edge

__all__ = ["Rows"]

ZERO, RM, RW, RL, RO, RX, RY, RB, RK = range(9)
ROW, KERNEL, OUT, HALF, NEXT, WPTR, _, WLEN, LEN, BIAS, STAGE, REGION, FIRST_POINTER = range(9, 22)
RLEN, RLEFT, RPTR, RES, PARTIAL, DEPTH, AREA = 25, 26, 27, 28, 29, 30, 31
POOLED, POOL_ROW = 28, 29  # no residuals or partial sums where pooling is fused


@dataclass(frozen=True)
class Rows:
    """Output rows of a tile that run the same code: `first` and `count` within a unit, taps, units that store."""

    first: int
    count: int
    edge: Edge
    units: int
