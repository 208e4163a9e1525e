"""The loops over rows, pixels and traces of a convolution."""

from __future__ import annotations

from itertools import groupby

from hetcnn.papers.snowflake import registers as reg
from hetcnn.papers.snowflake.emit import SCRATCH, Emitter
from hetcnn.papers.snowflake.loads import Loads
from hetcnn.papers.snowflake.plan import Tile
from hetcnn.papers.snowflake.registers import Rows
from hetcnn.papers.snowflake.tasks import Edge

__all__ = ["RowCode"]


class RowCode(Loads):
    """Rows of results into the stage."""

    def _row_runs(self, tile: Tile, row_pass: int) -> list[Rows]:
        """Runs of a tile's rows with the same taps in this pass and the same units at work."""
        plan = self.plan
        low, high = plan.row_passes[row_pass]
        found = []
        for row in range(plan.unit_rows(tile)):
            if plan.takes_rows:
                edge = Edge(0, 1, 0, high - low)
                ranges = [plan.unit_range(tile, u) for u in range(self.machine.units)]
                units = sum(1 << u for u, (a, b) in enumerate(ranges) if a + row < b)
            else:
                y = tile.first + row
                at = next(r for r in self.task.rows if r.first <= y < r.first + r.count)
                start = max(at.start, low)
                edge = Edge(0, 1, start - low, max(min(at.start + at.taps, high) - start, 0))
                units = (1 << self.machine.units) - 1
            found.append((edge, units))
        runs, row = [], 0
        for (edge, units), group in groupby(found):
            count = len(list(group))
            runs.append(Rows(row, count, edge, units))
            row += count
        return runs

    def _rows(self, e: Emitter, tile: Tile, base: int, row_pass: int, rows: Rows) -> None:
        task, plan = self.task, self.plan
        e.li(reg.ROW, base + self._map_offset(tile, rows, row_pass))
        final = row_pass + 1 == plan.passes
        with e.loop(reg.RY, rows.count):
            self._aim(e, final)
            self._row(e, rows.edge, row_pass)
            if plan.passes > 1:
                e.add(reg.PARTIAL, reg.PARTIAL, 2 * plan.row_stage)
            if task.residual and final:
                e.add(reg.RES, reg.RES, plan.row_stage)
            if final:
                self._store_row(e, tile, rows.units, self.task.OW, reg.STAGE, plan.row_stage)

    def _map_offset(self, tile: Tile, rows: Rows, row_pass: int) -> int:
        """Words from the start of a tile's map to the first row that `rows` read."""
        task, plan = self.task, self.plan
        low = plan.map_rows(tile, 0)[0]
        top = (tile.first + rows.first) * task.stride - task.top + plan.row_passes[row_pass][0] + rows.edge.start - low
        return max(top, 0) * task.W * task.C

    def _row(self, e: Emitter, edge: Edge, row_pass: int) -> None:
        """One row of results into the stage; ROW goes on to the next one."""
        e.emit("ADDI", reg.RO, reg.STAGE)
        for column in self.task.columns:
            self._columns(e, column, edge, row_pass)
        e.add(reg.ROW, reg.ROW, self.task.stride * self.task.W * self.task.C)

    def _aim(self, e: Emitter, final: bool) -> None:
        """Tell the vector unit how far residuals and partial sums are from the stage."""
        if self.task.residual and final:
            e.emit("MULI", SCRATCH, reg.STAGE, imm=-1)
            e.emit("ADD", SCRATCH, SCRATCH, reg.RES)
            e.set("residual", SCRATCH)
        if self.plan.passes > 1:
            e.emit("MULI", SCRATCH, reg.STAGE, imm=-2)
            e.emit("ADD", SCRATCH, SCRATCH, reg.PARTIAL)
            e.set("partial", SCRATCH)

    def _columns(self, e: Emitter, column: Edge, rows: Edge, row_pass: int) -> None:
        """One run of output pixels in a row with the same taps."""
        task, plan = self.task, self.plan
        traces, width = rows.taps, task.W * task.C
        words = 1 if plan.mode == "coop" else self.machine.macs
        at = (column.first * task.stride - task.left + column.start) * task.C
        span = (
            f"pixel {column.first}"
            if column.count == 1
            else f"pixels {column.first} to {column.first + column.count - 1}"
        )
        e.note(f"{span}: {traces} traces of {column.taps * task.C} words")
        e.add(reg.RM, reg.ROW, at)
        e.li(reg.RL, column.taps * task.C if traces else 0)
        kernel = rows.start * plan.row_words + column.start * task.C * words
        traces = max(traces, 1)
        step = task.stride * task.C - (traces - 1) * width
        if self.in_registers:
            for i in range(traces):
                e.add(reg.FIRST_POINTER + i, reg.KERNEL, kernel + i * plan.row_words)
        else:
            e.add(reg.RW, reg.KERNEL, kernel)
        if column.count > 1:
            e.li(reg.RX, column.count)
        start = len(e)
        for i in range(traces):
            weights = reg.FIRST_POINTER + i if self.in_registers else reg.RW
            e.emit("MAC", reg.RM, weights, reg.RL, reg.RO, flags=self._flags(i, traces, row_pass))
            if not self.in_registers:
                e.add(reg.RM, reg.RM, width if i + 1 < traces else step)
                e.add(reg.RW, reg.RW, plan.row_words if i + 1 < traces else -(traces - 1) * plan.row_words)
            elif i + 1 < traces:
                e.add(reg.RM, reg.RM, width)
        self._advance(e, column.count, start, step if self.in_registers else None)

    def _advance(self, e: Emitter, count: int, start: int, step: int | None) -> None:
        """End of a pixel: on to the next one, with the additions in the delay slots where the schedule fills them."""
        work = [("ADDI", reg.RM, reg.RM, step)] if step is not None else []
        work.append(("ADDI", reg.RO, reg.RO, self.plan.pixel_words))
        if count > 1 and self.schedule.fill_slots:
            e.emit("ADDI", reg.RX, reg.RX, imm=-1)
            e.emit("BGT", reg.RX, reg.ZERO, imm=start - len(e))
            for op, rd, ra, imm in work:
                e.emit(op, rd, ra, imm=imm)
            e.slots(len(work))
            return
        for op, rd, ra, imm in work:
            e.emit(op, rd, ra, imm=imm)
        if count > 1:
            e.emit("ADDI", reg.RX, reg.RX, imm=-1)
            e.emit("BGT", reg.RX, reg.ZERO, imm=start - len(e))
            e.slots()

    def _flags(self, i: int, traces: int, row_pass: int) -> tuple[str, ...]:
        first, last = i == 0, i + 1 == traces
        final = row_pass + 1 == self.plan.passes
        on = {
            "coop": self.plan.mode == "coop",
            "first": first,
            "last": last,
            "relu": last and final and self.task.relu,
            "add": last and final and bool(self.task.residual),
            "pin": first and row_pass > 0,
            "pout": last and not final,
        }
        return tuple(name for name, set_ in on.items() if set_)
