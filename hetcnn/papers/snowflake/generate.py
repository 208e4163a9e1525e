"""The last pass: instructions for one planned task."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

from hetcnn.papers.snowflake.emit import SCRATCH, Emitter
from hetcnn.papers.snowflake.isa import DELAY_SLOTS
from hetcnn.papers.snowflake.layout import Layout
from hetcnn.papers.snowflake.plan import PAGE, Plan, Tile
from hetcnn.papers.snowflake.tasks import Edge, Task

__all__ = ["Generator"]

ZERO, RM, RW, RL, RO, RX, RY, RB, RK = range(9)
ROW, KERNEL, OUT, HALF, NEXT, WPTR, _, WLEN, LEN, BIAS, STAGE, REGION, FIRST_POINTER = range(9, 22)
RLEN, RLEFT, RPTR, RES, PARTIAL, DEPTH, AREA = 25, 26, 27, 28, 29, 30, 31
POOLED, POOL_ROW = 28, 29  # no residuals or partial sums where pooling is fused


@dataclass(frozen=True)
class _Rows:
    """Output rows of a tile that run the same code: `first` and `count` within a unit, taps, units that store."""

    first: int
    count: int
    edge: Edge
    units: int


class Generator:
    """Writes the instructions of one task into an emitter."""

    def __init__(self, plan: Plan, layout: Layout, place: int = 0, *, fence: bool = True) -> None:
        self.plan, self.task, self.layout = plan, plan.task, layout
        self.machine, self.schedule = plan.machine, plan.schedule
        self.last = plan.pool or plan.task
        self.buffer = 2 * self.machine.bank
        self.stage = self.buffer - plan.stage_words
        self.pitch = layout.pitch(self.last.target)
        self.row_out = self.last.OW * self.pitch
        self.width = min(plan.lanes, plan.task.OC) if plan.task.kind == "conv" else plan.task.C
        # Addresses in registers need one for every kernel row; with residuals fewer are free.
        most = 4 if self.task.residual or plan.passes > 1 else 11
        self.in_registers = self.schedule.pointers == "registers" and self.task.kh <= most
        self.carry = 0
        self.fence = fence
        # The other place than the last task's tile has, so that loading need not wait for it.
        self.place = place if 2 * plan.slot + plan.stage_words <= self.buffer else 0

    # --- the task ---------------------------------------------------------------------------------------------------

    def run(self, e: Emitter) -> None:
        """Emit the whole task."""
        e.note(f"{self.task.name}: {self.plan.mode}, {len(self.plan.tiles)} tiles, {self.plan.blocks} blocks")
        e.set_to("shift", self.task.shift)
        e.set_to("bias_shift", self.task.bias_shift)
        e.set_to("chunk", self.plan.pixel_words)
        e.set_to("pitch", self.pitch)
        e.li(STAGE, self.stage)
        if self.task.kind == "conv":
            e.note("first kernels, while the last task's results are still on their way")
            e.li(WPTR, self.layout.weights[self.task.name])
            self._load_weights(e, 0)
        if self.fence:
            e.set("fence", ZERO)
        steps = self.plan.steps
        bank = self.place
        for i, step in enumerate(steps):
            if i == 0 or (step.load_map and not self.plan.double_maps):
                self._load_tile(e, self.plan.tiles[step.tile], bank)
            self._start_tile(e, self.plan.tiles[step.tile], step.block)
            after = steps[i + 1] if i + 1 < len(steps) else None
            ahead = after is not None and after.load_map and self.plan.double_maps
            if ahead and after is not None:
                self._load_tile(e, self.plan.tiles[after.tile], 1 - bank)
            self._step(e, i, bank * self.plan.slot)
            bank = 1 - bank if ahead else bank
        self.place = bank

    def _step(self, e: Emitter, index: int, base: int) -> None:
        step = self.plan.steps[index]
        tile = self.plan.tiles[step.tile]
        e.note(f"{self.task.name}: rows {tile.first} to {tile.end - 1}")
        if self.task.kind == "pool":
            self._pool_rows(e, tile, base)
            return
        more = any(s.load_weights for s in self.plan.steps[index + 1 :])
        if self.plan.blocks > 1 and self.plan.order == "maps":
            self._stream(e, tile, base, more)
        else:
            fresh = step.load_weights
            for p in range(self.plan.passes):
                if fresh:
                    self._swap(e)
                ahead = fresh and self.schedule.double_buffer
                if ahead:
                    self._prefetch(e, p, step.block, more)
                self._chunk(e, tile, base, p, step.block)
                if fresh and not ahead:
                    self._prefetch(e, p, step.block, more)
        if self.plan.pool:
            self.carry = self._carry_after(tile)

    def _start_tile(self, e: Emitter, tile: Tile, block: int) -> None:
        first = tile.pooled[0] if self.plan.pool else tile.first
        channel = block * self.plan.per_block * self.plan.lanes
        e.li(OUT, self.layout.address(self.last.target) + first * self.row_out + channel)
        e.set_to("width", self.width)
        if self.plan.pool:
            e.li(REGION, self._regions)
        if self.task.residual:
            e.li(RPTR, self.layout.address(self.task.residual) + channel)
            e.li(AREA, self._areas[0])
            rounds = self.plan.rounds if self.plan.order == "maps" else self.plan.per_block
            e.li(RLEFT, rounds)
            self._load_residual(e, tile)

    def _stream(self, e: Emitter, tile: Tile, base: int, more: bool) -> None:
        """All blocks past one tile, as a loop if the code is short enough and no block is short of channels."""

        def body(e: Emitter, block: int | None) -> None:
            for p in range(self.plan.passes):
                self._swap(e)
                if self.schedule.double_buffer:
                    self._prefetch(e, p, block, more)
                self._chunk(e, tile, base, p, block)
                if not self.schedule.double_buffer:
                    self._prefetch(e, p, block, more)

        short = self.task.OC % self.plan.lanes != 0
        e.repeat(RB, self.plan.blocks, body, unroll=short)

    # --- loads ------------------------------------------------------------------------------------------------------

    def _load_tile(self, e: Emitter, tile: Tile, bank: int) -> None:
        """Load a tile's map, in pieces for the ports; where units take rows, each its own with padding."""
        width, base = self.task.W * self.task.C, bank * self.plan.slot
        source = self.layout.address(self.task.source)
        e.note(f"{self.task.name}: load the map of rows {tile.first} to {tile.end - 1} into place {bank}")
        if self.task.skip > 1:
            self._load_pixels(e, tile, base)
            return
        if not self.plan.takes_rows:
            low, high = self.plan.map_rows(tile, 0)
            words = (high - low) * width
            cuts = [words * i // self.machine.ports // 16 * 16 for i in range(self.machine.ports)] + [words]
            for first, end in pairwise(cuts):
                self._load(e, base + first, source + low * width + first, end - first, (1 << self.machine.units) - 1)
            return
        fill = self.layout.zeros if self.task.kind == "conv" else self.layout.lowest
        for unit in range(self.machine.units):
            low, high = self.plan.map_rows(tile, unit)
            parts = [
                (low, min(high, 0), True),
                (max(low, 0), min(high, self.task.H), False),
                (max(low, self.task.H), high, True),
            ]
            for first, end, padding in parts:
                if end > first:
                    at = fill if padding else source + first * width
                    self._load(e, base + (first - low) * width, at, (end - first) * width, 1 << unit)

    def _load_pixels(self, e: Emitter, tile: Tile, base: int) -> None:
        """Load only the pixels that a 1x1 convolution with a stride reads, row by row."""
        task, plan = self.task, self.plan
        source, width = self.layout.address(task.source), self.layout.width(task.source)
        for setting, value in (("pitch", task.skip * task.C), ("width", task.C), ("chunk", task.C)):
            e.set_to(setting, value)
        for unit in range(self.machine.units) if plan.takes_rows else (0,):
            low, high = plan.map_rows(tile, unit)
            for row in range(low, high):
                mask = 1 << unit if plan.takes_rows else (1 << self.machine.units) - 1
                e.li(RM, base + (row - low) * task.W * task.C)
                e.li(RW, source + row * task.skip * width * task.C)
                e.li(LEN, task.W)
                e.emit("LD", RM, RW, LEN, flags=("strided",), units=mask, port=e.port(task.W * task.C))
        for setting, value in (("pitch", self.pitch), ("width", self.width), ("chunk", plan.pixel_words)):
            e.set_to(setting, value)

    def _load(self, e: Emitter, buffer: int, memory: int, words: int, units: int) -> None:
        if words > 0:
            e.li(RM, buffer)
            e.li(RW, memory)
            e.li(LEN, words)
            e.emit("LD", RM, RW, LEN, units=units, port=e.port(words))

    def _load_weights(self, e: Emitter, row_pass: int) -> None:
        """Load one chunk into the half of the weights buffers that is not in use: one stream per vMAC."""
        words = self.plan.chunk_words(row_pass)
        e.li(WLEN, words)
        self._load_streams(e, words)

    def _load_streams(self, e: Emitter, words: int) -> None:
        every = (1 << self.machine.units) - 1
        for stream in range(self.plan.streams):
            unit, vmac = divmod(stream, self.machine.vmacs)
            units = every if self.plan.takes_rows else 1 << unit
            e.emit("LD", NEXT, WPTR, WLEN, flags=("weights",), units=units, vmacs=1 << vmac, port=e.port(words))
            e.emit("ADD", WPTR, WPTR, WLEN)

    def _swap(self, e: Emitter) -> None:
        e.emit("ADDI", SCRATCH, HALF)
        e.emit("ADDI", HALF, NEXT)
        e.emit("ADDI", NEXT, SCRATCH)

    def _prefetch(self, e: Emitter, row_pass: int, block: int | None, more: bool) -> None:
        """Load the chunk that follows: the next pass, the next block, or the first one for the next tile."""
        if row_pass + 1 < self.plan.passes:
            self._load_weights(e, row_pass + 1)
            return
        if block is None:
            words = self.plan.chunk_words(0)
            e.li(WLEN, words)
            e.emit("ADDI", SCRATCH, RB, imm=-1)
            rest = e.sub()
            if more:
                rest.li(WPTR, self.layout.weights[self.task.name])
            else:
                rest.li(WLEN, 0)
            e.emit("BGT", SCRATCH, ZERO, imm=DELAY_SLOTS + 1 + len(rest))
            e.slots()
            e.take(rest)
            self._load_streams(e, words)
            return
        final = block + 1 == self.plan.blocks
        if self.plan.order == "weights" and final:
            return
        if final and more:
            e.li(WPTR, self.layout.weights[self.task.name])
        if not final or more:
            self._load_weights(e, 0)

    # --- residuals and partial sums ---------------------------------------------------------------------------------

    @property
    def _areas(self) -> tuple[int, int, int]:
        """Addresses of the two areas of residuals and of the partial sums, after the stage of results."""
        first = -(-(self.stage + 2 * self.plan.row_stage) // PAGE) * PAGE
        second = first + self.plan.area
        return first, second, (second + self.plan.area if self.task.residual else first)

    @property
    def _regions(self) -> int:
        return self.stage + 2 * self.plan.pooled_stage

    def _load_residual(self, e: Emitter, tile: Tile) -> None:
        """Load one round's residuals of a tile into the area that is next; RPTR is at its first channel."""
        task, plan = self.task, self.plan
        pitch = self.layout.pitch(task.residual)
        e.set_to("pitch", pitch)
        units = range(self.machine.units) if plan.takes_rows else range(1)
        for unit in units:
            first, end = plan.unit_range(tile, unit)
            if end > first:
                words = (end - first) * task.OW * plan.lanes
                mask = 1 << unit if plan.takes_rows else (1 << self.machine.units) - 1
                e.li(RLEN, (end - first) * task.OW)
                e.add(RW, RPTR, first * task.OW * pitch)
                e.emit("LD", AREA, RW, RLEN, flags=("strided",), units=mask, port=e.port(words))
        e.set_to("pitch", self.pitch)

    def _next_residual(self, e: Emitter, tile: Tile) -> None:
        """At the start of a round: use the area that was loaded, and load the next round's into the other one."""
        first, second, _ = self._areas
        e.emit("ADDI", RES, AREA)
        e.emit("MULI", AREA, AREA, imm=-1)
        e.add(AREA, AREA, first + second)
        e.emit("ADDI", RPTR, RPTR, imm=self.plan.lanes)
        e.emit("ADDI", RLEFT, RLEFT, imm=-1)
        rest = e.sub()
        self._load_residual(rest, tile)
        e.emit("BLE", RLEFT, ZERO, imm=DELAY_SLOTS + 1 + len(rest))
        e.slots()
        e.take(rest)

    # --- convolution ------------------------------------------------------------------------------------------------

    def _chunk(self, e: Emitter, tile: Tile, base: int, row_pass: int, block: int | None) -> None:
        """All rounds of one block of kernels over one tile."""
        plan = self.plan
        e.emit("ADDI", BIAS, HALF)
        e.add(KERNEL, HALF, plan.bias_words)
        short = self.task.OC % plan.lanes if block is not None and block + 1 == plan.blocks else 0
        full = plan.per_block - 1 if short else plan.per_block

        def body(e: Emitter, _: int | None) -> None:
            self._round(e, tile, base, row_pass)

        e.repeat(RK, full, body, unroll=False)
        if short:
            e.set_to("width", short)
            self._round(e, tile, base, row_pass)

    def _round(self, e: Emitter, tile: Tile, base: int, row_pass: int) -> None:
        plan, final = self.plan, row_pass + 1 == self.plan.passes
        e.set("bias", BIAS)
        if self.task.residual and final:
            self._next_residual(e, tile)
        if plan.passes > 1:
            e.li(PARTIAL, self._areas[2])
        if plan.pool:
            self._pooled_round(e, tile, base)
        else:
            for rows in self._row_runs(tile, row_pass):
                self._rows(e, tile, base, row_pass, rows)
        if final and not plan.pool:
            done = plan.unit_rows(tile)
            e.add(OUT, OUT, plan.lanes - done * self.row_out)
        e.add(KERNEL, KERNEL, plan.kernel_words(row_pass))
        e.emit("ADDI", BIAS, BIAS, imm=1 if plan.mode == "coop" else self.machine.macs)

    def _row_runs(self, tile: Tile, row_pass: int) -> list[_Rows]:
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
            runs.append(_Rows(row, count, edge, units))
            row += count
        return runs

    def _rows(self, e: Emitter, tile: Tile, base: int, row_pass: int, rows: _Rows) -> None:
        task, plan = self.task, self.plan
        e.li(ROW, base + self._map_offset(tile, rows, row_pass))
        final = row_pass + 1 == plan.passes
        with e.loop(RY, rows.count):
            self._aim(e, final)
            self._row(e, rows.edge, row_pass)
            if plan.passes > 1:
                e.add(PARTIAL, PARTIAL, 2 * plan.row_stage)
            if task.residual and final:
                e.add(RES, RES, plan.row_stage)
            if final:
                self._store_row(e, tile, rows.units, self.task.OW, STAGE, plan.row_stage)

    def _map_offset(self, tile: Tile, rows: _Rows, row_pass: int) -> int:
        """Words from the start of a tile's map to the first row that `rows` read."""
        task, plan = self.task, self.plan
        low = plan.map_rows(tile, 0)[0]
        top = (tile.first + rows.first) * task.stride - task.top + plan.row_passes[row_pass][0] + rows.edge.start - low
        return max(top, 0) * task.W * task.C

    def _row(self, e: Emitter, edge: Edge, row_pass: int) -> None:
        """One row of results into the stage; ROW goes on to the next one."""
        e.emit("ADDI", RO, STAGE)
        for column in self.task.columns:
            self._columns(e, column, edge, row_pass)
        e.add(ROW, ROW, self.task.stride * self.task.W * self.task.C)

    def _aim(self, e: Emitter, final: bool) -> None:
        """Tell the vector unit how far residuals and partial sums are from the stage."""
        if self.task.residual and final:
            e.emit("MULI", SCRATCH, STAGE, imm=-1)
            e.emit("ADD", SCRATCH, SCRATCH, RES)
            e.set("residual", SCRATCH)
        if self.plan.passes > 1:
            e.emit("MULI", SCRATCH, STAGE, imm=-2)
            e.emit("ADD", SCRATCH, SCRATCH, PARTIAL)
            e.set("partial", SCRATCH)

    def _store_row(self, e: Emitter, tile: Tile, units: int, pixels: int, at: int, stage: int) -> None:
        """Store one staged row (of every unit at work), and turn to the other row of the stage."""
        plan = self.plan
        e.li(LEN, pixels)
        if not plan.takes_rows:
            e.emit("ST", at, OUT, LEN, flags=("strided",), units=units, port=e.port(pixels * plan.lanes))
        else:
            each = plan.unit_rows(tile) * self.row_out
            for unit in range(self.machine.units):
                if units >> unit & 1:
                    e.add(RW, OUT, unit * each)
                    words = pixels * plan.pixel_words
                    e.emit("ST", at, RW, LEN, flags=("strided",), units=1 << unit, port=e.port(words))
        e.emit("MULI", at, at, imm=-1)
        e.add(at, at, 2 * self.stage + stage)
        e.add(OUT, OUT, self.row_out)

    def _columns(self, e: Emitter, column: Edge, rows: Edge, row_pass: int) -> None:
        """One run of output pixels in a row with the same taps."""
        task, plan = self.task, self.plan
        traces, width = rows.taps, task.W * task.C
        words = 1 if plan.mode == "coop" else self.machine.macs
        at = (column.first * task.stride - task.left + column.start) * task.C
        e.add(RM, ROW, at)
        e.li(RL, column.taps * task.C if traces else 0)
        kernel = rows.start * plan.row_words + column.start * task.C * words
        traces = max(traces, 1)
        step = task.stride * task.C - (traces - 1) * width
        if self.in_registers:
            for i in range(traces):
                e.add(FIRST_POINTER + i, KERNEL, kernel + i * plan.row_words)
        else:
            e.add(RW, KERNEL, kernel)
        if column.count > 1:
            e.li(RX, column.count)
        start = len(e)
        for i in range(traces):
            weights = FIRST_POINTER + i if self.in_registers else RW
            e.emit("MAC", RM, weights, RL, RO, flags=self._flags(i, traces, row_pass))
            if not self.in_registers:
                e.add(RM, RM, width if i + 1 < traces else step)
                e.add(RW, RW, plan.row_words if i + 1 < traces else -(traces - 1) * plan.row_words)
            elif i + 1 < traces:
                e.add(RM, RM, width)
        self._advance(e, column.count, start, step if self.in_registers else None)

    def _advance(self, e: Emitter, count: int, start: int, step: int | None) -> None:
        """End of a pixel: on to the next one, with the additions in the delay slots where the schedule fills them."""
        work = [("ADDI", RM, RM, step)] if step is not None else []
        work.append(("ADDI", RO, RO, self.plan.pixel_words))
        if count > 1 and self.schedule.fill_slots:
            e.emit("ADDI", RX, RX, imm=-1)
            e.emit("BGT", RX, ZERO, imm=start - len(e))
            for op, rd, ra, imm in work:
                e.emit(op, rd, ra, imm=imm)
            e.slots(len(work))
            return
        for op, rd, ra, imm in work:
            e.emit(op, rd, ra, imm=imm)
        if count > 1:
            e.emit("ADDI", RX, RX, imm=-1)
            e.emit("BGT", RX, ZERO, imm=start - len(e))
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

    # --- pooling ----------------------------------------------------------------------------------------------------

    def _pool_rows(self, e: Emitter, tile: Tile, base: int) -> None:
        """A pooling of its own: every unit its rows, padding rows loaded as the lowest word."""
        task, plan = self.task, self.plan
        width = task.W * task.C
        e.li(DEPTH, task.C)
        for rows in self._row_runs(tile, 0):
            e.li(ROW, base + rows.first * task.stride * width)
            with e.loop(RY, rows.count):
                e.emit("ADDI", RO, STAGE)
                for column in task.columns:
                    at = (column.first * task.stride - task.left + column.start) * task.C
                    self._max(e, task, column, task.kh, (ROW, at), width, task.C)
                e.add(ROW, ROW, task.stride * width)
                self._store_row(e, tile, rows.units, task.OW, STAGE, plan.row_stage)

    def _max(
        self, e: Emitter, pool: Task, column: Edge, taps: int, at: tuple[int, int], width: int, depth: int
    ) -> None:
        """One run of pooled pixels from a register plus offset; `width` words between rows, `depth` between pixels."""
        e.add(RM, *at)
        e.li(RL, column.taps * depth)
        if column.count > 1:
            e.li(RX, column.count)
        start = len(e)
        step = pool.stride * depth - (taps - 1) * width
        for i in range(taps):
            flags = (("first",) if i == 0 else ()) + (("last",) if i + 1 == taps else ())
            e.emit("MAX", RM, DEPTH, RL, RO, flags=flags)
            e.add(RM, RM, width if i + 1 < taps else step)
        self._advance(e, column.count, start, None)

    def _carry_after(self, tile: Tile) -> int:
        """Rows at the end of a tile that the next tile's pooling needs."""
        assert self.plan.pool is not None
        return max(tile.end - tile.pooled[1] * self.plan.pool.stride, 0)

    def _pooled_round(self, e: Emitter, tile: Tile, base: int) -> None:
        """One round's rows with their pooling in between, and what the next tile needs again moved to the front."""
        plan, pool = self.plan, self.plan.pool
        assert pool is not None
        e.li(DEPTH, plan.pixel_words)
        e.li(POOLED, self.stage)
        e.add(STAGE, REGION, self.carry * plan.row_stage)
        items = self._interleaved(tile)
        at = 0
        while at < len(items):
            length, times = _repeats(items[at:], pool.stride + 1)
            self._repeat(e, tile, base, items[at : at + length], times)
            at += length * times
        first, end = tile.pooled
        e.add(OUT, OUT, plan.lanes - (end - first) * self.row_out)
        after = self._carry_after(tile) if tile.end < self.task.OH else 0
        if after:
            e.add(RM, REGION, (tile.rows + self.carry - after) * plan.row_stage)
            e.li(RL, after * plan.row_stage)
            e.emit("TMOV", RM, REGION, RL)
        e.add(REGION, REGION, plan.region)

    def _interleaved(self, tile: Tile) -> list[_Rows]:
        """Rows of results (units > 0) and pooled rows (units 0), these a row late: their words are written by then."""
        pool = self.plan.pool
        assert pool is not None
        every = [
            _Rows(runs.first + i, 1, runs.edge, runs.units)
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
                items.append(_Rows(p, 1, Edge(0, 1, 0, taps[p]), 0))
        return items + [_Rows(p, 1, Edge(0, 1, 0, taps[p]), 0) for p in waiting]

    def _repeat(self, e: Emitter, tile: Tile, base: int, items: list[_Rows], times: int) -> None:
        plan, pool = self.plan, self.plan.pool
        assert pool is not None
        rows = next((i for i in items if i.units), None)
        pooled = next((i for i in items if not i.units), None)
        if rows is not None:
            e.li(ROW, base + self._map_offset(tile, rows, 0))
        if pooled is not None:
            origin = tile.first - self.carry
            e.add(POOL_ROW, REGION, (pooled.first * pool.stride - origin) * plan.row_stage)
        with e.loop(RY, times):
            for item in items:
                if item.units:
                    self._row(e, item.edge, 0)
                    e.add(STAGE, STAGE, plan.row_stage)
                    continue
                e.emit("ADDI", RO, POOLED)
                for column in pool.columns:
                    at = (POOL_ROW, column.first * pool.stride * plan.pixel_words)
                    self._max(e, pool, column, item.edge.taps, at, plan.row_stage, plan.pixel_words)
                e.add(POOL_ROW, POOL_ROW, pool.stride * plan.row_stage)
                self._store_row(e, tile, (1 << self.machine.units) - 1, pool.OW, POOLED, plan.pooled_stage)


def _repeats(items: list[_Rows], period: int) -> tuple[int, int]:
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
