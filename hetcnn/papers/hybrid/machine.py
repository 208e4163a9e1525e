"""The numbers that the model takes from a board file and from the declared assumptions, and the box of their ranges."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetcnn import platform
from hetcnn.errors import HetcnnError, unknown
from hetcnn.papers.assumed import declared
from hetcnn.papers.hybrid.resources import M20K_BITS
from hetcnn.platform import Device, Platform

__all__ = ["BOARD", "Constants", "Range", "box", "constants", "nominal", "sampled"]

BOARD = "tx2-cyclone10gx"
Value = float | NDArray[np.float64]

_DIVISORS = {"bandwidth", "gpu_peak", "gpu_word", "gpu_conv", "gpu_dw", "gpu_fc", "gpu_memory"}
_DIVISORS |= {"tile_pixels", "tile_filters", "fpga_clock", "fpga_word", "alms", "link_bandwidth"}


@dataclass(frozen=True)
class Constants:
    """Numbers of one machine, each a float or an array of design points (points, 1); SI units.

    `gpu_peak` is the rate in float32; half precision (`gpu_word` below 3 bytes) has twice the rate. `fpga_dynamic` is
    drawn with all logic at work. The last ten are those of `data/papers/hybrid/assumptions.toml`. Raises HetcnnError
    for NaN, a negative number, and 0 where it is divided by.
    """

    bandwidth: Value
    gpu_peak: Value
    gpu_word: Value
    gpu_launch: Value
    gpu_conv: Value
    gpu_dw: Value
    gpu_fc: Value
    gpu_dynamic: Value
    host_static: Value
    fpga_clock: Value
    fpga_word: Value
    fpga_launch: Value
    fpga_static: Value
    fpga_dynamic: Value
    alms: Value
    m20k: Value
    multipliers: Value
    link_bandwidth: Value
    link_latency: Value
    gpu_memory: Value
    tile_pixels: Value
    tile_filters: Value
    fusion: Value
    launch_power: Value
    cast: Value
    overlap: Value
    fill: Value
    dsp: Value
    sparsity: Value

    def __post_init__(self) -> None:
        for f in fields(self):
            value = np.asarray(getattr(self, f.name))
            least = "above 0" if f.name in _DIVISORS else "from 0 up"
            ok = value.dtype.kind in "fiu" and bool(np.all(value > 0 if f.name in _DIVISORS else value >= 0))
            if not ok:
                raise HetcnnError(f"constant {f.name}: expected a number {least}, got {getattr(self, f.name)!r}")

    @property
    def word(self) -> Value:
        """Bytes of an element on the GPU: 4, or 2 in half precision."""
        return np.where(np.asarray(self.gpu_word) < 3, 2.0, 4.0)

    @property
    def peak(self) -> Value:
        """The GPU's peak in ops/s at its precision."""
        return np.asarray(4.0 * self.gpu_peak / self.word, np.float64)

    @property
    def bits(self) -> Value:
        """Bits of an element on the FPGA."""
        return np.asarray(np.rint(8 * np.asarray(self.fpga_word)), np.float64)

    @property
    def set_up(self) -> Value:
        """Seconds before the first byte of a transfer: start of the DMA and latency of the link."""
        return self.fpga_launch + self.link_latency

    def changed(self, **values: Any) -> Constants:
        """Return a copy with some numbers changed; raises HetcnnError for an unknown name."""
        names = [f.name for f in fields(self)]
        for name in values:
            if name not in names:
                raise unknown("constant", name, names)
        return replace(self, **values)


class Range(NamedTuple):
    """One assumption: the field of `Constants`, where it stands, its nominal value, its range, the reason."""

    name: str
    where: str
    nominal: float
    low: float
    high: float
    why: str

    @property
    def logarithmic(self) -> bool:
        """Whether it spans a decade or nearly so: it is then sampled by its logarithm."""
        return self.low > 0 and self.high >= 5 * self.low


def _one(board: Platform, kind: str) -> str:
    found = [name for name, device in board.devices.items() if device.kind == kind]
    if len(found) != 1:
        raise HetcnnError(f"{board.key}: the hybrid needs one device of kind '{kind}', found {len(found)}")
    return found[0]


def _paths(board: Platform) -> dict[str, str]:
    """Field of `Constants` -> path in the board file, for the numbers that stand there as they are."""
    gpu, fpga = _one(board, "gpu"), _one(board, "fpga")
    link = board.link_of(fpga)
    if link is None:
        raise HetcnnError(f"{board.key}: no link joins '{fpga}' to '{board.host}'; add one under [links]")
    key = next(k for k, known in board.links.items() if known is link)
    return {
        "bandwidth": f"memories.{board.host}.bandwidth",
        "gpu_word": f"devices.{gpu}.word",
        "gpu_launch": f"devices.{gpu}.launch",
        "gpu_conv": f"devices.{gpu}.efficiency.conv",
        "gpu_dw": f"devices.{gpu}.efficiency.dw",
        "gpu_fc": f"devices.{gpu}.efficiency.fc",
        "gpu_dynamic": f"rails.{_rail(board, gpu)}.dynamic",
        "fpga_clock": f"devices.{fpga}.clock",
        "fpga_word": f"devices.{fpga}.word",
        "fpga_launch": f"devices.{fpga}.launch",
        "fpga_static": f"rails.{_rail(board, fpga)}.static",
        "fpga_dynamic": f"rails.{_rail(board, fpga)}.dynamic",
        "alms": f"devices.{fpga}.resources.alm",
        "multipliers": f"devices.{fpga}.resources.multipliers18",
        "link_bandwidth": f"links.{key}.bandwidth",
        "link_latency": f"links.{key}.latency",
    }


_OPTIONAL = {"gpu_word": 4.0, "gpu_launch": 0.0, "gpu_conv": 1.0, "gpu_dw": 1.0, "gpu_fc": 1.0, "fpga_word": 1.0}
_OPTIONAL |= {"fpga_launch": 0.0, "gpu_dynamic": 0.0, "fpga_dynamic": 0.0, "multipliers": 0.0, "link_latency": 0.0}


def _rail(board: Platform, device: str) -> str:
    for name, rail in board.rails.items():
        if device in rail.feeds:
            return name
    raise HetcnnError(f"{board.key}: no rail feeds '{device}'; its energy is unknown")


def constants(board: str | Platform = BOARD, **changes: Any) -> Constants:
    """Return the constants of a board with one GPU and one FPGA behind a link; `changes` replace fields.

    Raises HetcnnError for a board without them, and for FPGA resources that the file does not name.

    >>> constants().alms, constants(fpga_clock=1e8).fpga_clock
    (80330.0, 100000000.0)
    """
    given = platform.load(board) if isinstance(board, str) else board
    known = dict(given.quantities())
    paths = _paths(given)
    found: dict[str, Any] = {}
    for name, path in paths.items():
        if path in known:
            found[name] = float(known[path])
        elif name in _OPTIONAL:
            found[name] = _OPTIONAL[name]
        else:
            raise HetcnnError(f"{given.key}: {path}: missing; direct hardware mapping needs it")
    gpu, fpga = _one(given, "gpu"), _one(given, "fpga")
    found["gpu_peak"] = given.device(gpu).peak_ops
    found["m20k"] = _blocks(given.device(fpga))
    found["host_static"] = given.static_power - found["fpga_static"]
    found |= {a["name"]: float(a["nominal"]) for a in declared("hybrid").values()}
    return Constants(**found).changed(**changes)


def _blocks(fpga: Device) -> float:
    # A board without M20K blocks has none: only windows of one row fit.
    return float(fpga.buffers["m20k"]) * 8 // M20K_BITS if "m20k" in fpga.buffers else 0.0


@cache
def nominal() -> Constants:
    """Return the nominal constants of the paper's machine."""
    return constants()


@cache
def box(board: str = BOARD) -> tuple[Range, ...]:
    """Return every assumption that the model uses: those of the board file, then those of the assumptions file."""
    given = platform.load(board)
    field_of = {path: name for name, path in _paths(given).items()}
    ours = [
        Range(field_of[a.path], a.path, a.value, a.low, a.high, a.why)
        for a in given.assumptions()
        if a.path in field_of
    ]
    theirs = [
        Range(a["name"], a["title"], float(a["nominal"]), float(a["range"][0]), float(a["range"][1]), a["why"])
        for a in declared("hybrid").values()
    ]
    return (*ours, *theirs)


def sampled(unit: NDArray[np.float64], ranges: tuple[Range, ...]) -> dict[str, Value]:
    """Return the values of points of the unit cube (points, ranges), each as an array (points, 1)."""
    found: dict[str, Value] = {}
    for i, r in enumerate(ranges):
        u = unit[:, i : i + 1]
        spread = r.low * (r.high / r.low) ** u if r.logarithmic else r.low + (r.high - r.low) * u
        found[r.name] = spread
    return found
