"""Pooling: as a task of its own, and between the rows of the convolution that it is fused with."""

from __future__ import annotations

from hetcnn.papers.snowflake import registers as reg
from hetcnn.papers.snowflake.emit import Emitter
from hetcnn.papers.snowflake.plan import Tile
from hetcnn.papers.snowflake.registers import Rows
from hetcnn.papers.snowflake.rows import RowCode
from hetcnn.papers.snowflake.tasks import Edge, Task

__all__ = ["PoolCode"]


class PoolCode(RowCode):
    """Rows of largest words."""

    def _pool_rows(self, e: Emitter, tile: Tile, base: int) -> None:
        """A pooling of its own: every unit its rows, padding rows loaded as the lowest word."""
        task, plan = self.task, self.plan
        width = task.W * task.C
        e.li(reg.DEPTH, task.C)
        for rows in self._row_runs(tile, 0):
            e.li(reg.ROW, base + rows.first * task.stride * width)
            with e.loop(reg.RY, rows.count):
                e.emit("ADDI", reg.RO, reg.STAGE)
                for column in task.columns:
                    at = (column.first * task.stride - task.left + column.start) * task.C
                    self._max(e, task, column, task.kh, (reg.ROW, at), width, task.C)
                e.add(reg.ROW, reg.ROW, task.stride * width)
                self._store_row(e, tile, rows.units, task.OW, reg.STAGE, plan.row_stage)

    def _max(
        self, e: Emitter, pool: Task, column: Edge, taps: int, at: tuple[int, int], width: int, depth: int
    ) -> None:
        """One run of pooled pixels from a register plus offset; `width` words between rows, `depth` between pixels."""
        e.add(reg.RM, *at)
        e.li(reg.RL, column.taps * depth)
        if column.count > 1:
            e.li(reg.RX, column.count)
        start = len(e)
        step = pool.stride * depth - (taps - 1) * width
        for i in range(taps):
            flags = (("first",) if i == 0 else ()) + (("last",) if i + 1 == taps else ())
            e.emit("MAX", reg.RM, reg.DEPTH, reg.RL, reg.RO, flags=flags)
            e.add(reg.RM, reg.RM, width if i + 1 < taps else step)
        self._advance(e, column.count, start, None)

    def _carry_after(self, tile: Tile) -> int:
        """Rows at the end of a tile that the next tile's pooling needs."""
        assert self.plan.pool is not None
        return max(tile.end - tile.pooled[1] * self.plan.pool.stride, 0)

    def _pooled_round(self, e: Emitter, tile: Tile, base: int) -> None:
        """One round's rows with their pooling in between, and what the next tile needs again moved to the front."""
        plan, pool = self.plan, self.plan.pool
        assert pool is not None
        e.li(reg.DEPTH, plan.pixel_words)
        e.li(reg.POOLED, self.stage)
        e.add(reg.STAGE, reg.REGION, self.carry * plan.row_stage)
        items = self._interleaved(tile)
        at = 0
        while at < len(items):
            length, times = _repeats(items[at:], pool.stride + 1)
            self._repeat(e, tile, base, items[at : at + length], times)
            at += length * times
        first, end = tile.pooled
        e.add(reg.OUT, reg.OUT, plan.lanes - (end - first) * self.row_out)
        after = self._carry_after(tile) if tile.end < self.task.OH else 0
        if after:
            e.add(reg.RM, reg.REGION, (tile.rows + self.carry - after) * plan.row_stage)
            e.li(reg.RL, after * plan.row_stage)
            e.emit("TMOV", reg.RM, reg.REGION, reg.RL)
        e.add(reg.REGION, reg.REGION, plan.region)

    def _interleaved(self, tile: Tile) -> list[Rows]:
        """Rows of results (units > 0) and pooled rows (units 0), these a row late: their words are written by then."""
        pool = self.plan.pool
        assert pool is not None
        every = [
            Rows(runs.first + i, 1, runs.edge, runs.units)
            for runs in self._row_runs(tile, 0)
            for i in range(runs.count)
        ]
        taps = {r.first + i: r.taps for r in pool.rows for i in range(r.count)}
        waiting = list(range(*tile.pooled))
        items = []
        for row in every:
            items.append(row)
            while waiting and waiting[0] * pool.stride + taps[waiting[0]] - 1 < tile.first + row.first:
                p = waiting.pop(0)
                items.append(Rows(p, 1, Edge(0, 1, 0, taps[p]), 0))
        return items + [Rows(p, 1, Edge(0, 1, 0, taps[p]), 0) for p in waiting]

    def _repeat(self, e: Emitter, tile: Tile, base: int, items: list[Rows], times: int) -> None:
        plan, pool = self.plan, self.plan.pool
        assert pool is not None
        rows = next((i for i in items if i.units), None)
        pooled = next((i for i in items if not i.units), None)
        if rows is not None:
            e.li(reg.ROW, base + self._map_offset(tile, rows, 0))
        if pooled is not None:
            origin = tile.first - self.carry
            e.add(reg.POOL_ROW, reg.REGION, (pooled.first * pool.stride - origin) * plan.row_stage)
        with e.loop(reg.RY, times):
            for item in items:
                if item.units:
                    self._row(e, item.edge, 0)
                    e.add(reg.STAGE, reg.STAGE, plan.row_stage)
                    continue
                e.emit("ADDI", reg.RO, reg.POOLED)
                for column in pool.columns:
                    at = (reg.POOL_ROW, column.first * pool.stride * plan.pixel_words)
                    self._max(e, pool, column, item.edge.taps, at, plan.row_stage, plan.pixel_words)
                e.add(reg.POOL_ROW, reg.POOL_ROW, pool.stride * plan.row_stage)
                self._store_row(e, tile, (1 << self.machine.units) - 1, pool.OW, reg.POOLED, plan.pooled_stage)


def _repeats(items: list[Rows], period: int) -> tuple[int, int]:
    """Return the length of the pattern that items begin with, and how often it comes: `period` items, or one."""
    keys = [(i.edge.start, i.edge.taps, i.units) for i in items]
    for length in (period, 1):
        pattern, times = keys[:length], 1
        while keys[times * length : (times + 1) * length] == pattern:
            times += 1
        one_kind = len({k for k in pattern if k[2]}) == 1 and sum(not k[2] for k in pattern) == 1
        if length == 1 or (times > 1 and one_kind):
            return length, times
    raise AssertionError(items)
