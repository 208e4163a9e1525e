"""A task cut to fit the buffers: mode, tiles of rows, rounds of output channels, blocks of kernels, and their order.

Cooperative mode ("coop"): the 16 MACs of a vMAC take 16 words of one trace, so a vMAC makes one output channel.
Independent mode ("indep"): every MAC makes its own channel from one word at a time. The four units share either maps
(each makes other channels: 16 a round in cooperative mode) or kernels (each takes other rows: 4 channels a round in
cooperative mode, 64 in independent mode).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil

from hetcnn.papers.snowflake.config import LINE, Machine, Mode, Order, Schedule
from hetcnn.papers.snowflake.tasks import Task

__all__ = ["PAGE", "Plan", "Step", "Tile", "line_count", "split"]

PAGE = 128
"""Words in which the dispatch tracks loads; areas that load while their neighbours are read start on a new one."""


def line_count(words: int) -> int:
    """Return the lines of a trace: its words, rounded up to 16.

    >>> line_count(33), line_count(576)             # AlexNet: conv1's 11 x 3, conv3's 3 x 192
    (3, 36)
    """
    return -(-words // LINE)


def split(total: int, parts: int) -> tuple[tuple[int, int], ...]:
    """Return `total` rows in runs that differ by one at most, longer ones first.

    >>> split(13, 3)
    ((0, 5), (5, 9), (9, 13))
    """
    short, longer = divmod(total, parts)
    ends = [short * i + min(i, longer) for i in range(parts + 1)]
    return tuple(pairwise(ends))


@dataclass(frozen=True)
class Tile:
    """Output rows `first` to `end`; `pooled` are the rows of a fused pooling that they complete."""

    first: int
    end: int
    pooled: tuple[int, int] = (0, 0)

    @property
    def rows(self) -> int:
        """Number of output rows."""
        return self.end - self.first


@dataclass(frozen=True)
class Step:
    """One tile with a run of blocks; `load_map` and `load_weights` say what comes from memory for it."""

    tile: int
    block: int
    blocks: int
    load_map: bool
    load_weights: bool


@dataclass(frozen=True)
class Plan:
    """A task on a machine: `row_passes` are runs of kernel rows whose weights are in the buffer at a time."""

    task: Task
    machine: Machine
    schedule: Schedule
    mode: Mode
    takes_rows: bool
    """Whether the units share kernels and take different rows, or share maps and take different channels."""
    order: Order
    tiles: tuple[Tile, ...]
    per_block: int
    row_passes: tuple[tuple[int, int], ...]
    reload_every: int = 0
    """Tiles after which weights that would stay are streamed again; 0: never."""
    pool: Task | None = None
    double_maps: bool = True
    """Whether the next tile loads while this one computes; if not, a tile may take the whole buffer."""

    # --- channels ---------------------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        """Output channels of one unit in a round (words of a pixel that it writes)."""
        return self.machine.vmacs * (1 if self.mode == "coop" else self.machine.macs)

    @property
    def lanes(self) -> int:
        """Output channels of a round."""
        return self.channels * (1 if self.takes_rows else self.machine.units)

    @property
    def rounds(self) -> int:
        """Rounds of output channels; 1 for pooling."""
        return ceil(self.task.OC / self.lanes) if self.task.kind == "conv" else 1

    @property
    def blocks(self) -> int:
        """Blocks of kernels that are loaded together."""
        return ceil(self.rounds / self.per_block)

    @property
    def passes(self) -> int:
        """Passes over the kernel's rows, with partial sums in between."""
        return len(self.row_passes)

    # --- weights ----------------------------------------------------------------------------------------------------

    @property
    def row_words(self) -> int:
        """Words of one kernel row in a vMAC: whole lines."""
        words = LINE * line_count(self.task.trace)
        return words if self.mode == "coop" else words * self.machine.macs

    def kernel_words(self, row_pass: int) -> int:
        """Words of one round's kernel rows in a vMAC."""
        first, end = self.row_passes[row_pass]
        return (end - first) * self.row_words

    @property
    def bias_words(self) -> int:
        """Words at the head of a chunk that hold its biases, in whole lines."""
        return LINE * (line_count(self.per_block) if self.mode == "coop" else self.per_block)

    def chunk_words(self, row_pass: int) -> int:
        """Words that one vMAC loads for one block and pass."""
        return self.bias_words + self.per_block * self.kernel_words(row_pass)

    @property
    def streams(self) -> int:
        """Distinct vMACs' weights: those of all units, or of one where units share kernels."""
        return self.machine.vmacs * (1 if self.takes_rows else self.machine.units)

    @property
    def weight_words(self) -> int:
        """Words of all weights and biases, read once; 0 for pooling."""
        if self.task.kind != "conv":
            return 0
        return self.blocks * self.streams * sum(self.chunk_words(p) for p in range(self.passes))

    # --- maps -------------------------------------------------------------------------------------------------------

    def unit_rows(self, tile: Tile) -> int:
        """Output rows of a tile that each unit takes."""
        return ceil(tile.rows / self.machine.units) if self.takes_rows else tile.rows

    def unit_range(self, tile: Tile, unit: int) -> tuple[int, int]:
        """Return the output rows of one unit; they may be none."""
        if not self.takes_rows:
            return tile.first, tile.end
        each = self.unit_rows(tile)
        return min(tile.first + unit * each, tile.end), min(tile.first + (unit + 1) * each, tile.end)

    def map_rows(self, tile: Tile, unit: int) -> tuple[int, int]:
        """Return the rows of the map in one unit's buffer; where units take rows, padding is among them."""
        if not self.takes_rows:
            return self.task.input_rows(tile.first, tile.end)
        first, end = self.unit_range(tile, unit)
        low = first * self.task.stride - self.task.top
        return low, low + ((end - first - 1) * self.task.stride + self.task.kh if end > first else 0)

    def tile_words(self, tile: Tile) -> int:
        """Words of a tile's map in the fullest unit."""
        if self.takes_rows:
            rows = (self.unit_rows(tile) - 1) * self.task.stride + self.task.kh
        else:
            low, high = self.task.input_rows(tile.first, tile.end)
            rows = high - low
        return rows * self.task.W * self.task.C

    @property
    def pixel_words(self) -> int:
        """Words of a result's pixel in one unit."""
        return self.task.C if self.task.kind == "pool" else self.channels

    @property
    def row_stage(self) -> int:
        """Words of one row of results in a unit."""
        words = self.task.OW * self.pixel_words
        return PAGE * ceil(words / PAGE) if self.pool else words

    @property
    def carried(self) -> int:
        """Rows of results that the next tile's pooling needs again."""
        return max(self.pool.kh - self.pool.stride, 0) + 1 if self.pool else 0

    @property
    def region(self) -> int:
        """Words in which one round's rows wait for pooling."""
        return (max(t.rows for t in self.tiles) + self.carried) * self.row_stage if self.pool else 0

    @property
    def pooled_stage(self) -> int:
        """Words of one row of pooled results in a unit."""
        return self.pool.OW * self.pixel_words if self.pool else 0

    @property
    def stage_words(self) -> int:
        """Words of the maps buffer that hold results, residuals and partial sums."""
        if self.pool:
            return self.rounds * self.region + 2 * self.pooled_stage
        areas = (2 if self.task.residual else 0) + (2 if self.passes > 1 else 0)
        return 2 * self.row_stage + (areas * self.area + PAGE if areas else 0)

    @property
    def area(self) -> int:
        """Words of one round's residuals of a tile, in whole pages; partial sums take twice as many."""
        return PAGE * ceil(max(self.unit_rows(t) for t in self.tiles) * self.row_stage / PAGE)

    @property
    def slot(self) -> int:
        """Words from one tile's place in the maps buffer to the next tile's, in whole pages."""
        return PAGE * ceil(max(self.tile_words(t) for t in self.tiles) / PAGE)

    @property
    def slots(self) -> int:
        """Tiles in the buffer at a time."""
        return 2 if self.double_maps and len(self.tiles) > 1 else 1

    @property
    def fits(self) -> bool:
        """Whether a tile fits a bank, two tiles and the stage the buffer, and a chunk of weights half of its buffer."""
        chunks = self.task.kind == "pool" or all(
            self.chunk_words(p) <= self.machine.weights // 2 for p in range(self.passes)
        )
        most = max(self.tile_words(t) for t in self.tiles)
        bank = self.machine.bank
        tiles = most <= (bank if self.double_maps else 2 * bank)
        return chunks and tiles and self.slots * self.slot + self.stage_words <= 2 * bank

    # --- order ------------------------------------------------------------------------------------------------------

    @property
    def resident(self) -> bool:
        """Whether all weights are in the buffers at once."""
        return self.blocks * self.passes == 1

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Tiles and blocks in order: a tile stays and all blocks pass, or a block stays and all tiles pass."""
        return tuple(self._steps())

    def _steps(self) -> Iterator[Step]:
        count = len(self.tiles)
        if self.order == "maps":
            for t in range(count):
                again = not self.resident or t == 0 or (self.reload_every > 0 and t % self.reload_every == 0)
                yield Step(t, 0, self.blocks, load_map=True, load_weights=again)
            return
        for b in range(self.blocks):
            for t in range(count):
                yield Step(t, b, 1, load_map=count > 1 or b == 0, load_weights=t == 0)
