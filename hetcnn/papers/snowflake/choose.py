"""The pass that breaks a task down: every mode and loop order that fits, and the one that is fastest, then leanest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil

from hetcnn.errors import HetcnnError
from hetcnn.papers.snowflake.config import Machine, Mode, Order, Schedule
from hetcnn.papers.snowflake.model import Estimate, estimate
from hetcnn.papers.snowflake.plan import Plan, Tile, split
from hetcnn.papers.snowflake.tasks import Task

__all__ = ["Candidate", "candidates", "choose", "fusible"]


@dataclass(frozen=True)
class Candidate:
    """A plan with its estimate."""

    plan: Plan
    estimate: Estimate

    @property
    def parted(self) -> bool:
        """Whether maps stay and kernels are streamed in the schedule's parts."""
        plan = self.plan
        parts = sum(s.load_weights for s in plan.steps)
        return plan.task.kind == "conv" and plan.order == "maps" and 1 < parts <= plan.schedule.parts

    @property
    def cost(self) -> tuple[float, int]:
        """Cycles (times within one in a thousand count as equal), then bytes."""
        return float(f"{self.estimate.steady:.3g}"), self.estimate.bytes


def fusible(task: Task, pool: Task | None) -> bool:
    """Whether a unit that makes some channels can pool them: no padding, windows that overlap or touch."""
    return pool is not None and pool.top == pool.left == 0 and pool.stride <= pool.kh and not task.residual


def choose(task: Task, machine: Machine, schedule: Schedule, pool: Task | None = None) -> Candidate:
    """Return the plan that the compiler takes; raise HetcnnError naming the task if none fits.

    Code with a wish for parts (hand-written) lets maps stay and streams all kernels in so many parts where memory keeps
    up and that costs less than 1 %.
    """
    found = list(candidates(task, machine, schedule, pool))
    if not found and schedule.order != "best":  # the order asked for is impossible here
        return choose(task, machine, replace(schedule, order="best"), pool)
    if not found:
        need = 2 * task.kh * task.W * task.C
        raise HetcnnError(
            f"layer '{task.name}': no plan fits: {task.kh} rows of its map are {need:,} bytes and a kernel row "
            f"{2 * task.trace:,}; a unit's maps buffer has {4 * machine.bank:,} bytes, a vMAC's weights buffer "
            f"{2 * machine.weights:,}"
        )
    if schedule.parts:
        found = [c for c in found if c.plan.pool is None or c.parted] or found
    # What is not pooled here has to be pooled later.
    later = choose(pool, machine, schedule).estimate.steady if pool is not None and schedule.fuse_pool else 0.0
    costs = [c.estimate.steady + (later if c.plan.pool is None else 0.0) for c in found]
    priced = sorted(zip(costs, found, strict=True), key=lambda pair: (float(f"{pair[0]:.3g}"), pair[1].estimate.bytes))
    keeps_up = [c for _, c in priced if c.parted and c.estimate.memory_cycles <= c.estimate.cycles]
    wished = [c for cost, c in priced if c in keeps_up and cost <= 1.01 * min(costs)]
    return (wished or [c for _, c in priced])[0]


def candidates(task: Task, machine: Machine, schedule: Schedule, pool: Task | None = None) -> Iterator[Candidate]:
    """Yield every plan that fits: each mode, sharing, loop order, and number of kernels loaded together."""
    ahead = (True, False) if schedule.double_buffer else (False,)
    for double in ahead:
        found = list(_candidates(task, machine, schedule, pool, double))
        yield from found
        if found:  # without loading ahead only where there is no other way
            return


def _candidates(
    task: Task, machine: Machine, schedule: Schedule, pool: Task | None, double: bool
) -> Iterator[Candidate]:
    for mode, rows in _modes(task, machine, schedule):
        orders: tuple[Order, ...] = ("maps", "weights") if schedule.order == "best" else (schedule.order,)
        if task.kind == "pool":
            orders = ("maps",)
        shapes = _shapes(task, machine) if rows else (task,)
        for order, shape in product(orders, shapes):
            base = replace(_whole(shape, machine, schedule, mode, rows), order=order, double_maps=double)
            for shaped in _blocks(base):
                joined = replace(shaped, pool=pool) if _fuses(shaped, pool) else shaped
                tiled = _tiled(joined) or (_tiled(shaped) if joined is not shaped else None)
                # One tile stays in either order.
                if tiled is not None and (order == orders[0] or len(tiled.tiles) > 1):
                    yield Candidate(tiled, estimate(tiled))


def _shapes(task: Task, machine: Machine) -> tuple[Task, ...]:
    """Return a task and, for 1x1 convolutions, the same pixels in rows that divide better among the units."""
    plain = task.kind == "conv" and task.kh == task.kw == task.stride == task.skip == 1 and task.top == task.left == 0
    if not plain:
        return (task,)
    pixels, units = task.H * task.W, machine.units

    def share(width: int) -> float:
        rows = pixels // width
        return rows / (units * ceil(rows / units))

    widths = [w for w in range(1, task.W + 1) if pixels % w == 0]
    best = max(widths, key=lambda w: (share(w), w))
    if share(best) <= share(task.W):
        return (task,)
    rows = pixels // best
    return task, replace(task, H=rows, W=best, OH=rows, OW=best)


def _whole(task: Task, machine: Machine, schedule: Schedule, mode: Mode, rows: bool) -> Plan:
    """Return a plan of one tile, one kernel a block, one pass."""
    return Plan(task, machine, schedule, mode, rows, "maps", (Tile(0, task.OH),), 1, ((0, task.kh),))


def _modes(task: Task, machine: Machine, schedule: Schedule) -> tuple[tuple[Mode, bool], ...]:
    """Return mode and whether units take rows."""
    if task.kind == "pool":
        return (("indep", True),)
    known: tuple[tuple[Mode, bool], ...] = (("coop", False), ("coop", True), ("indep", True))
    wanted = tuple(k for k in known if schedule.mode in ("best", k[0]))
    fit = [_whole(task, machine, schedule, *k).chunk_words(0) <= machine.weights // 2 for k in wanted]
    # A kernel too large for either mode goes through the buffers row by row, which only cooperative mode can keep busy.
    return tuple(k for k, f in zip(wanted, fit, strict=True) if f) or tuple(k for k in wanted if k[0] == "coop")


def _fuses(plan: Plan, pool: Task | None) -> bool:
    """Pooling is fused where channels stay in their unit and kernels stream past a map that stays."""
    streams = not plan.takes_rows and plan.order == "maps" and plan.passes == 1 and not plan.resident
    return plan.schedule.fuse_pool and streams and fusible(plan.task, pool)


def _blocks(plan: Plan) -> Iterator[Plan]:
    """Yield the plan with row passes and kernels of a block chosen so that a chunk fits half a buffer."""
    half = plan.machine.weights // 2
    if plan.task.kind == "pool":
        yield plan
        return
    # Equal passes, or the longer one's load would outlast the shorter one's work.
    equal = [n for n in range(1, plan.task.kh + 1) if plan.task.kh % n == 0]
    passed = [p for n in equal if (p := replace(plan, row_passes=split(plan.task.kh, n))).chunk_words(0) <= half]
    if not passed:
        return
    if passed[0].passes > 1:
        if plan.order == "maps":
            yield passed[0]
        return
    sizes = [k for k in range(1, plan.rounds + 1) if plan.rounds % k == 0]
    most = max(k for k in sizes if replace(plan, per_block=k).chunk_words(0) <= half)
    if plan.order == "weights" or most == plan.rounds:
        yield replace(plan, per_block=most)
    if plan.order == "maps" and plan.rounds > 1:
        # Units that share kernels make few channels a round: enough rounds to a block to load while they compute.
        yield replace(plan, per_block=min(most, max(k for k in sizes if k <= 4)) if plan.takes_rows else 1)


def _tiled(plan: Plan) -> Plan | None:
    """Return the plan with the fewest tiles that fit; hand-written code takes its parts where memory keeps up."""
    most = ceil(plan.task.OH / _grain(plan))
    least = next((n for n in range(1, most + 1) if _cut(plan, n).fits), None)
    if least is None:
        return None
    parts = min(plan.schedule.parts, most)
    if parts <= 1 or plan.order != "maps" or plan.task.kind == "pool":
        return _cut(plan, least)
    for wanted in range(parts, 1, -1):
        count = wanted * ceil(least / wanted) if plan.resident else max(wanted, least)
        if count > most:
            continue
        found = replace(_cut(plan, count), reload_every=ceil(least / wanted))
        guess = estimate(found)
        if found.fits and guess.memory_cycles <= guess.cycles:
            return found
    return _cut(plan, least)


def _grain(plan: Plan) -> int:
    """Rows that come together: one for every unit where they take rows."""
    return plan.machine.units if plan.takes_rows else 1


def _cut(plan: Plan, count: int) -> Plan:
    tiles, pooled, grain = [], 0, _grain(plan)
    for low, high in split(ceil(plan.task.OH / grain), count):
        first, end = low * grain, min(high * grain, plan.task.OH)
        rows = (0, 0)
        if plan.pool:
            done = sum((p * plan.pool.stride + plan.pool.kh) <= end or end == plan.task.OH for p in range(plan.pool.OH))
            rows, pooled = (pooled, done), done
        tiles.append(Tile(first, end, rows))
    return replace(plan, tiles=tuple(tiles))
