"""The last pass: instructions for one planned task."""

from __future__ import annotations

from hetcnn.papers.snowflake import registers as reg
from hetcnn.papers.snowflake.emit import SCRATCH, Emitter
from hetcnn.papers.snowflake.isa import DELAY_SLOTS
from hetcnn.papers.snowflake.plan import Tile
from hetcnn.papers.snowflake.pooled import PoolCode

__all__ = ["Generator"]


class Generator(PoolCode):
    """Writes the instructions of one task into an emitter."""

    def run(self, e: Emitter) -> None:
        """Emit the whole task."""
        e.note(f"{self.task.name}: {self.plan.mode}, {len(self.plan.tiles)} tiles, {self.plan.blocks} blocks")
        e.set_to("shift", self.task.shift)
        e.set_to("bias_shift", self.task.bias_shift)
        e.set_to("chunk", self.plan.pixel_words)
        e.set_to("pitch", self.pitch)
        e.li(reg.STAGE, self.stage)
        if self.task.kind == "conv" and not self.has_weights:  # the last task's results are still on their way
            self.load_first_weights(e)
        if self.fence:
            e.set("fence", reg.ZERO)
        steps = self.plan.steps
        place = self.place
        for i, step in enumerate(steps):
            if (i == 0 and not self.has_map) or (i > 0 and step.load_map and not self.plan.double_maps):
                self._load_tile(e, self.plan.tiles[step.tile], place)
            if i == 0 and self.task.kind == "pool":
                self.follow_with_weights(e)
            self._start_tile(e, self.plan.tiles[step.tile], step.block)
            after = steps[i + 1] if i + 1 < len(steps) else None
            ahead = after is not None and after.load_map and self.plan.double_maps
            if ahead and after is not None:
                self._load_tile(e, self.plan.tiles[after.tile], 1 - place)
            if after is None:
                self.follow_with_map(e, self.plan.tiles[step.tile], place * self.plan.slot)
            self._step(e, i, place * self.plan.slot)
            place = 1 - place if ahead else place

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
        e.li(reg.OUT, self.layout.address(self.last.target) + first * self.row_out + channel)
        e.set_to("width", self.width)
        if self.plan.pool:
            e.li(reg.REGION, self._regions)
        if self.task.residual:
            e.li(reg.RPTR, self.layout.address(self.task.residual) + channel)
            e.li(reg.AREA, self._areas[0])
            rounds = self.plan.rounds if self.plan.order == "maps" else self.plan.per_block
            e.li(reg.RLEFT, rounds)
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
        e.repeat(reg.RB, self.plan.blocks, body, unroll=short)

    def _swap(self, e: Emitter) -> None:
        e.note("the other half of the weights buffers")
        e.emit("ADDI", SCRATCH, reg.HALF)
        e.emit("ADDI", reg.HALF, reg.NEXT)
        e.emit("ADDI", reg.NEXT, SCRATCH)

    def _prefetch(self, e: Emitter, row_pass: int, block: int | None, more: bool) -> None:
        """Load the chunk that follows: the next pass, the next block, or the first one for the next tile."""
        if row_pass + 1 < self.plan.passes:
            self._load_weights(e, row_pass + 1)
            return
        if block is None:
            words = self.plan.chunk_words(0)
            e.li(reg.WLEN, words)
            e.emit("ADDI", SCRATCH, reg.RB, imm=-1)
            rest = e.sub()
            if more:
                rest.li(reg.WPTR, self.layout.weights[self.task.name])
            else:
                self.follow_with_weights(rest)
                rest.li(reg.WLEN, 0)
            e.emit("BGT", SCRATCH, reg.ZERO, imm=DELAY_SLOTS + 1 + len(rest))
            e.slots()
            e.take(rest)
            self._load_streams(e, words)
            return
        final = block + 1 == self.plan.blocks
        if final and (self.plan.order == "weights" or not more):
            self.follow_with_weights(e)
            return
        if final:
            e.li(reg.WPTR, self.layout.weights[self.task.name])
        self._load_weights(e, 0)

    def _chunk(self, e: Emitter, tile: Tile, base: int, row_pass: int, block: int | None) -> None:
        """All rounds of one block of kernels over one tile."""
        plan = self.plan
        e.emit("ADDI", reg.BIAS, reg.HALF)
        e.add(reg.KERNEL, reg.HALF, plan.bias_words)
        short = self.task.OC % plan.lanes if block is not None and block + 1 == plan.blocks else 0
        full = plan.per_block - 1 if short else plan.per_block

        def body(e: Emitter, _: int | None) -> None:
            self._round(e, tile, base, row_pass)

        e.repeat(reg.RK, full, body, unroll=False)
        if short:
            e.set_to("width", short)
            self._round(e, tile, base, row_pass)

    def _round(self, e: Emitter, tile: Tile, base: int, row_pass: int) -> None:
        plan, final = self.plan, row_pass + 1 == self.plan.passes
        e.note(f"a round of {plan.lanes} channels")
        e.set("bias", reg.BIAS)
        if self.task.residual and final:
            self._next_residual(e, tile)
        if plan.passes > 1:
            e.li(reg.PARTIAL, self._areas[2])
        if plan.pool:
            self._pooled_round(e, tile, base)
        else:
            for rows in self._row_runs(tile, row_pass):
                self._rows(e, tile, base, row_pass, rows)
        if final and not plan.pool:
            done = plan.unit_rows(tile)
            e.add(reg.OUT, reg.OUT, plan.lanes - done * self.row_out)
        e.add(reg.KERNEL, reg.KERNEL, plan.kernel_words(row_pass))
        e.emit("ADDI", reg.BIAS, reg.BIAS, imm=1 if plan.mode == "coop" else self.machine.macs)
