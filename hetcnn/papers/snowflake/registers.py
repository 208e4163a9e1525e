"""What the generated code keeps in which register, and runs of output rows.

RM, RW, RL, RO: a trace's address in the map and among the kernels, its length, the address of its result. RX, RY, RB,
RK: pixels, rows, blocks and rounds left. ROW, KERNEL, BIAS, STAGE: where a row, a round's kernels and biases and a row
of results begin. OUT: the row's address in memory. HALF, NEXT: the half of the weights buffers in use, and the one that
loads from WPTR, WLEN words at a time. From FIRST_POINTER on: addresses of kernel rows in hand-written code. The others:
residuals, partial sums, fused pooling.
"""

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
