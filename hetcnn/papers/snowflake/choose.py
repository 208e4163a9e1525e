"""The pass that breaks a task down: every mode and loop order that fits, and the one that is fastest, then leanest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from hetcnn.errors import HetcnnError
from hetcnn.papers.snowflake.config import Machine, Mode, Order, Schedule
from hetcnn.papers.snowflake.model import Estimate, estimate
from hetcnn.papers.snowflake.plan import Plan, Tile, split
from hetcnn.papers.snowflake.tasks import Task

__all__ = ["Candidate", "candidates", "choose", "fusible"]

_MOST_REGISTERS = 11
"""Kernel rows whose addresses fit into registers beside everything else."""


@dataclass(frozen=True)
class Candidate:
    """A plan with its estimate."""

    plan: Plan
    estimate: Estimate

    @property
    def cost(self) -> tuple[float, int]:
        """Cycles (times within one in a thousand count as equal), then bytes."""
        return float(f"{self.estimate.total:.3g}"), self.estimate.bytes


def fusible(task: Task, pool: Task | None) -> bool:
    """Whether a unit that makes some channels of a convolution can pool them: no padding, windows that overlap or touch."""
    return pool is not None and pool.top == pool.left == 0 and pool.stride <= pool.kh and not task.residual


def choose(task: Task, machine: Machine, schedule: Schedule, pool: Task | None = None) -> Candidate:
    """Return the plan that the compiler takes; raise HetcnnError naming the task if none fits."""
    found = list(candidates(task, machine, schedule, pool))
    if not found:
        need = 2 * task.kh * task.W * task.C
        raise HetcnnError(
            f"layer '{task.name}': no plan fits: {task.kh} rows of its map are {need:,} bytes and a kernel row "
            f"{2 * task.trace:,}; a unit's maps buffer has {4 * machine.bank:,} bytes, a vMAC's weights buffer "
            f"{2 * machine.weights:,}"
        )
    return min(found, key=lambda c: c.cost)


def candidates(task: Task, machine: Machine, schedule: Schedule, pool: Task | None = None) -> Iterator[Candidate]:
    """Yield every plan that fits: each mode, loop order, and number of kernels loaded together."""
    for mode in _modes(task, machine, schedule):
        orders: tuple[Order, ...] = ("maps", "weights") if schedule.order == "best" else (schedule.order,)
        for order in orders if task.kind == "conv" else ("maps",):
            base = Plan(task, machine, schedule, mode, order, (Tile(0, task.OH),), 1, ((0, task.kh),))  # type: ignore[arg-type]
            for shaped in _blocks(base):
                joined = replace(shaped, pool=pool) if _fuses(shaped, pool) else shaped
                tiled = _tiled(joined) or (_tiled(shaped) if joined is not shaped else None)
                if tiled is not None:
                    yield Candidate(tiled, estimate(tiled))


def _modes(task: Task, machine: Machine, schedule: Schedule) -> tuple[Mode, ...]:
    if task.kind == "pool":
        return ("indep",)
    modes: tuple[Mode, ...] = ("coop", "indep") if schedule.mode == "best" else (schedule.mode,)
    probe = [Plan(task, machine, schedule, m, "maps", (Tile(0, task.OH),), 1, ((0, task.kh),)) for m in modes]
    whole = tuple(p.mode for p in probe if p.chunk_words(0) <= machine.weights // 2)
    # A kernel too large for either mode goes through the buffers row by row, which only cooperative mode can keep busy.
    return whole or (("coop",) if "coop" in modes else ())


def _fuses(plan: Plan, pool: Task | None) -> bool:
    """Pooling is fused where channels stay in their unit and kernels stream past a map that stays."""
    streams = plan.mode == "coop" and plan.order == "maps" and plan.passes == 1 and not plan.resident
    return plan.schedule.fuse_pool and streams and fusible(plan.task, pool)


def _blocks(plan: Plan) -> Iterator[Plan]:
    """Yield the plan with the kernel's rows passed and the kernels of a block chosen so that a chunk fits half a buffer."""
    half = plan.machine.weights // 2
    if plan.task.kind == "pool":
        yield plan
        return
    for parts in range(1, plan.task.kh + 1):
        passed = replace(plan, row_passes=split(plan.task.kh, parts))
        if passed.chunk_words(0) <= half:
            break
    else:
        return
    if passed.passes > 1:
        if plan.order == "maps":
            yield passed
        return
    most = max(k for k in range(1, plan.rounds + 1) if plan.rounds % k == 0 and replace(plan, per_block=k).chunk_words(0) <= half)
    if plan.order == "weights" or most == plan.rounds:
        yield replace(passed, per_block=most)
    if plan.order == "maps" and most > 1:
        yield passed
    if plan.order == "maps" and most == 1 and plan.rounds > 1:
        yield passed


def _tiled(plan: Plan) -> Plan | None:
    """Return the plan with the fewest tiles that fit; hand-written code takes its parts where memory keeps up."""
    least = next((n for n in range(1, plan.task.OH + 1) if _cut(plan, n).fits), None)
    if least is None:
        return None
    parts = min(plan.schedule.parts, plan.task.OH)
    if parts <= 1 or plan.order != "maps" or plan.task.kind == "pool":
        return _cut(plan, least)
    for wanted in range(parts, 1, -1):
        count = wanted * ceil(least / wanted) if plan.resident else max(wanted, least)
        found = replace(_cut(plan, min(count, plan.task.OH)), reload_every=ceil(least / wanted))
        guess = estimate(found)
        if found.fits and guess.memory_cycles <= guess.cycles:
            return found
    return _cut(plan, least)


def _cut(plan: Plan, count: int) -> Plan:
    tiles, pooled = [], 0
    for first, end in split(plan.task.OH, count):
        rows = (0, 0)
        if plan.pool:
            done = sum((p * plan.pool.stride + plan.pool.kh) <= end or end == plan.task.OH for p in range(plan.pool.OH))
            rows, pooled = (pooled, done), done
        tiles.append(Tile(first, end, rows))
    return replace(plan, tiles=tuple(tiles))
