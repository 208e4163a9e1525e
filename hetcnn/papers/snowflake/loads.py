"""Loads and stores of one task: tiles of maps, chunks of kernels, residuals, rows of results."""

from __future__ import annotations

from itertools import pairwise

from hetcnn.papers.snowflake import registers as reg
from hetcnn.papers.snowflake.emit import Emitter
from hetcnn.papers.snowflake.isa import DELAY_SLOTS
from hetcnn.papers.snowflake.layout import Layout
from hetcnn.papers.snowflake.plan import PAGE, Plan, Tile

__all__ = ["Loads"]


class Loads:
    """What one task reads from memory and writes to it."""

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
        self.follow: Loads | None = None
        self.has_weights = self.has_map = False

    @property
    def last_place(self) -> int:
        """Where the last step's tile lies."""
        ahead = sum(s.load_map for s in self.plan.steps[1:]) if self.plan.double_maps else 0
        return (self.place + ahead) % 2

    def load_first_weights(self, e: Emitter) -> None:
        """Load the first chunk of kernels, be it from within the task before."""
        e.note(f"{self.task.name}: first kernels")
        e.li(reg.WPTR, self.layout.weights[self.task.name])
        self._load_weights(e, 0)

    def follow_with_weights(self, e: Emitter) -> None:
        """Load the next task's first kernels into the half that this one needs no more."""
        if self.follow is not None and self.follow.has_weights:
            with e.for_the_next():
                self.follow.load_first_weights(e)

    def follow_with_map(self, e: Emitter, tile: Tile, base: int) -> None:
        """Load the next task's first tile beside the last one, if it is in memory and there is room."""
        follow = self.follow
        if follow is None or follow.fence or follow.task.skip > 1:
            return
        first = follow.place * follow.plan.slot
        end = first + follow.plan.tile_words(follow.plan.tiles[0])
        clear = end <= base or first >= base + self.plan.tile_words(tile)
        if clear and end <= self.stage:
            with e.for_the_next():
                follow._load_tile(e, follow.plan.tiles[0], follow.place)
            follow.has_map = True

    def _load_tile(self, e: Emitter, tile: Tile, place: int) -> None:
        """Load a tile's map, in pieces for the ports; where units take rows, each its own with padding."""
        width, base = self.task.W * self.task.C, place * self.plan.slot
        source = self.layout.address(self.task.source)
        e.note(f"{self.task.name}: load the map of rows {tile.first} to {tile.end - 1} into place {place}")
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
                e.li(reg.RM, base + (row - low) * task.W * task.C)
                e.li(reg.RW, source + row * task.skip * width * task.C)
                e.li(reg.LEN, task.W)
                e.emit("LD", reg.RM, reg.RW, reg.LEN, flags=("strided",), units=mask, port=e.port(task.W * task.C))
        for setting, value in (("pitch", self.pitch), ("width", self.width), ("chunk", plan.pixel_words)):
            e.set_to(setting, value)

    def _load(self, e: Emitter, buffer: int, memory: int, words: int, units: int) -> None:
        if words > 0:
            e.li(reg.RM, buffer)
            e.li(reg.RW, memory)
            e.li(reg.LEN, words)
            e.emit("LD", reg.RM, reg.RW, reg.LEN, units=units, port=e.port(words))

    def _load_weights(self, e: Emitter, row_pass: int) -> None:
        """Load one chunk into the half of the weights buffers that is not in use: one stream per vMAC."""
        words = self.plan.chunk_words(row_pass)
        e.li(reg.WLEN, words)
        self._load_streams(e, words)

    def _load_streams(self, e: Emitter, words: int) -> None:
        every = (1 << self.machine.units) - 1
        for stream in range(self.plan.streams):
            unit, vmac = divmod(stream, self.machine.vmacs)
            units = every if self.plan.takes_rows else 1 << unit
            e.emit(
                "LD", reg.NEXT, reg.WPTR, reg.WLEN, flags=("weights",), units=units, vmacs=1 << vmac, port=e.port(words)
            )
            e.emit("ADD", reg.WPTR, reg.WPTR, reg.WLEN)

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
                e.li(reg.RLEN, (end - first) * task.OW)
                e.add(reg.RW, reg.RPTR, first * task.OW * pitch)
                e.emit("LD", reg.AREA, reg.RW, reg.RLEN, flags=("strided",), units=mask, port=e.port(words))
        e.set_to("pitch", self.pitch)

    def _next_residual(self, e: Emitter, tile: Tile) -> None:
        """At the start of a round: use the area that was loaded, and load the next round's into the other one."""
        first, second, _ = self._areas
        e.emit("ADDI", reg.RES, reg.AREA)
        e.emit("MULI", reg.AREA, reg.AREA, imm=-1)
        e.add(reg.AREA, reg.AREA, first + second)
        e.emit("ADDI", reg.RPTR, reg.RPTR, imm=self.plan.lanes)
        e.emit("ADDI", reg.RLEFT, reg.RLEFT, imm=-1)
        rest = e.sub()
        self._load_residual(rest, tile)
        e.emit("BLE", reg.RLEFT, reg.ZERO, imm=DELAY_SLOTS + 1 + len(rest))
        e.slots()
        e.take(rest)

    def _store_row(self, e: Emitter, tile: Tile, units: int, pixels: int, at: int, stage: int) -> None:
        """Store one staged row (of every unit at work), and turn to the other row of the stage."""
        plan = self.plan
        e.note("store the row")
        e.li(reg.LEN, pixels)
        if not plan.takes_rows:
            e.emit("ST", at, reg.OUT, reg.LEN, flags=("strided",), units=units, port=e.port(pixels * plan.lanes))
        else:
            each = plan.unit_rows(tile) * self.row_out
            for unit in range(self.machine.units):
                if units >> unit & 1:
                    e.add(reg.RW, reg.OUT, unit * each)
                    words = pixels * plan.pixel_words
                    e.emit("ST", at, reg.RW, reg.LEN, flags=("strided",), units=1 << unit, port=e.port(words))
        e.emit("MULI", at, at, imm=-1)
        e.add(at, at, 2 * self.stage + stage)
        e.add(reg.OUT, reg.OUT, self.row_out)
