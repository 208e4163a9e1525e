"""The closed-form estimate of a planned task: cycles and bytes that a person can check by hand.

Cycles: every trace takes its words rounded up to lines of 16, on valid taps only; an output takes 16 cycles at least,
because its gather adds 16 partial results one after the other, and no fewer than the control core needs to issue it.
Bytes: each order of the loops streams one operand once and the other one once per tile or block.
"""

from __future__ import annotations

from dataclasses import dataclass

from hetcnn.papers.snowflake.config import Schedule
from hetcnn.papers.snowflake.isa import DELAY_SLOTS
from hetcnn.papers.snowflake.plan import Plan, Tile, line_count
from hetcnn.papers.snowflake.tasks import Task

__all__ = ["Estimate", "estimate", "pixel_instructions", "quantised_efficiency", "stored_words"]


def quantised_efficiency(task: Task) -> float:
    """Return words of all traces over the words of their lines: what a vMAC can use of its 16 MACs at best.

    >>> from hetcnn import zoo
    >>> from hetcnn.papers.snowflake.tasks import parse
    >>> round(quantised_efficiency(parse(zoo.load("alexnet")).tasks[0]), 4)        # 33 words in 48, fewer at the edges
    0.6925
    """
    words = sum(e.count * e.taps * task.C for e in task.columns)
    lines = sum(e.count * line_count(e.taps * task.C) for e in task.columns)
    return words / (16 * lines)


def pixel_instructions(traces: int, schedule: Schedule, *, loop: bool = True) -> int:
    """Return the instructions that the control core issues for one output pixel.

    Running pointers: a MAC and two additions each; addresses in registers: a MAC and one. In a loop: counter, branch,
    and delay slots, of which hand-written code fills two.

    >>> from hetcnn.papers.snowflake.config import COMPILED, HAND
    >>> pixel_instructions(11, COMPILED), pixel_instructions(11, HAND)
    (40, 27)
    """
    each = 3 if schedule.pointers == "running" else 2
    body = each * traces + 1
    if not loop:
        return body
    return body + 2 + DELAY_SLOTS - (2 if schedule.fill_slots else 0)


def row_instructions(plan: Plan) -> int:
    """Return about how many instructions a row takes beside those of its pixels: pointers, stores, the loop."""
    stores = 2 * plan.machine.units if plan.takes_rows else 1
    return 4 * len(plan.task.columns) + 11 + stores


@dataclass(frozen=True)
class Estimate:
    """Cycles at the units, and bytes of weights, of maps read (residuals included) and of maps written."""

    cycles: float
    weights: int
    maps_in: int
    maps_out: int
    exposed: float
    """Cycles in which nothing computes: the first tile must be there, or every tile if they are not loaded ahead."""
    kernels: float
    """Cycles in which the first kernels are on their way."""
    bandwidth: float
    """Bytes per cycle."""

    @property
    def bytes(self) -> int:
        """All bytes."""
        return self.weights + self.maps_in + self.maps_out

    @property
    def memory_cycles(self) -> float:
        """Cycles that the memory needs."""
        return self.bytes / self.bandwidth

    @property
    def steady(self) -> float:
        """Cycles of the task once its first kernels are there: what plans are compared by."""
        return max(self.cycles + self.exposed, self.memory_cycles)

    @property
    def total(self) -> float:
        """Cycles of the task: the longer of computing, after the first loads, and memory."""
        return max(self.cycles + self.exposed + self.kernels, self.memory_cycles)


def estimate(plan: Plan) -> Estimate:
    """Return the estimate of a planned task."""
    cycles = _pool_cycles(plan) if plan.task.kind == "pool" else _conv_cycles(plan)
    times = sum(s.load_weights for s in plan.steps) / (plan.blocks if plan.order == "weights" else 1)
    out, residual = stored_words(plan)
    sizes = [_tile_in(plan, t) for t in plan.tiles]
    loads = [sizes[s.tile] for s in plan.steps if s.load_map]
    first = 2 * (loads[0] if plan.double_maps else sum(loads)) / plan.machine.bytes_per_cycle
    bandwidth = plan.machine.bytes_per_cycle
    return Estimate(
        cycles,
        weights=round(2 * plan.weight_words * times),
        maps_in=2 * (sum(loads) + residual),
        maps_out=2 * out,
        exposed=first + plan.machine.latency + _residual_waits(plan, sizes, cycles),
        kernels=_first_kernels(plan),
        bandwidth=bandwidth,
    )


def _first_kernels(plan: Plan) -> float:
    """Return the cycles of the first chunk's load, which nothing hides unless it is made within the layer before."""
    if plan.task.kind == "pool" or plan.schedule.across:
        return 0.0
    return 2 * plan.streams * plan.chunk_words(0) / plan.machine.bytes_per_cycle


def _residual_waits(plan: Plan, sizes: list[int], cycles: float) -> float:
    """Return the cycles in which rounds wait for residuals: a step's first ones, and those behind the next tile."""
    if not plan.task.residual:
        return 0.0
    per_row = 2 * plan.task.OW * plan.lanes / plan.machine.bytes_per_cycle
    firsts = sum(plan.tiles[s.tile].rows * per_row for s in plan.steps)
    if not plan.double_maps:
        return firsts
    a_round = cycles / (plan.rounds * len(plan.tiles))
    behind = [2 * sizes[s.tile] / plan.machine.bytes_per_cycle for s in plan.steps[1:] if s.load_map]
    return firsts + sum(max(wait - a_round, 0.0) for wait in behind)


def stored_words(plan: Plan) -> tuple[int, int]:
    """Return the words written to memory, and the words of residuals read."""
    task, last = plan.task, plan.pool or plan.task
    residual = task.OH * task.OW * task.OC if task.residual else 0
    return last.OH * last.OW * task.OC, residual


def _tile_in(plan: Plan, tile: Tile) -> int:
    units = plan.machine.units if plan.takes_rows else 1
    rows = (plan.map_rows(tile, unit) for unit in range(units))
    return sum(high - low for low, high in rows) * plan.task.W * plan.task.C


def _conv_cycles(plan: Plan) -> float:
    task, per_line = plan.task, 1 if plan.mode == "coop" else plan.machine.macs
    total = 0
    for first, end in plan.row_passes:
        # A line of partial sums, of residuals: through the traces' port, which independent mode leaves free.
        read = ((first > 0) + (bool(task.residual) and end == task.kh)) if plan.mode == "coop" else 0
        for rows, traces in _rows(plan, first, end):
            row, issued = 0, row_instructions(plan)
            for e in task.columns:
                busy = traces * line_count(e.taps * task.C) * per_line + read
                issue = pixel_instructions(traces, plan.schedule, loop=e.count > 1)
                row += e.count * max(busy, plan.machine.macs, issue)
                issued += e.count * issue
            total += rows * max(row, issued)
    total *= plan.rounds
    # The stage is written and read through the port that the traces use; in independent mode they leave it free.
    height = sum(plan.unit_rows(t) for t in plan.tiles)
    stores = plan.rounds * height * line_count(task.OW * plan.channels) if plan.mode == "coop" and not plan.pool else 0
    return total + stores + (_fused_pool_cycles(plan) if plan.pool else 0)


def _rows(plan: Plan, first: int, end: int) -> list[tuple[int, int]]:
    """Return (rows, traces per output) of a pass over kernel rows first to end."""
    if plan.takes_rows:
        return [(sum(plan.unit_rows(t) for t in plan.tiles), end - first)]
    return [(e.count, max(min(e.start + e.taps, end) - max(e.start, first), 0)) for e in plan.task.rows]


def _pool_cycles(plan: Plan) -> float:
    task = plan.task
    rows = sum(plan.unit_rows(t) for t in plan.tiles)
    lines = sum(e.count * line_count(e.taps * task.C) for e in task.columns)
    return rows * task.kh * lines + rows * line_count(task.OW * task.C)


def _fused_pool_cycles(plan: Plan) -> float:
    assert plan.pool is not None
    pool = plan.pool
    lines = pool.kh * line_count(pool.kw * plan.pixel_words)
    return plan.rounds * pool.OH * (pool.OW * lines + line_count(plan.pooled_stage))
