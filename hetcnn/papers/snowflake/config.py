"""What the compiler and the machine know of the hardware, and the two ways of writing code for it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from hetcnn import data, platform
from hetcnn.errors import HetcnnError, unknown
from hetcnn.platform import Platform
from hetcnn.units import positive

__all__ = ["COMPILED", "HAND", "Machine", "Schedule", "assumptions", "machine"]

Mode = Literal["coop", "indep"]
Order = Literal["maps", "weights"]
_MODES, _ORDERS = ("coop", "indep"), ("maps", "weights")


WORD = 2
"""Bytes of a word: the machine computes on int16."""

LINE = 16
"""Words of a line, what a trace decoder fetches in a cycle; one for each MAC of a vMAC."""

_WHOLE = {
    "units": 1,
    "vmacs": 1,
    "macs": 1,
    "bank": 1,
    "weights": 2,
    "ports": 1,
    "latency": 0,
    "queue": 1,
    "stores_first": 0,
}
"""The fields that count something, and their least values."""


@dataclass(frozen=True)
class Machine:
    """One cluster: units of vMACs of MACs, buffers in 16-bit words, memory in bytes per cycle, overheads in cycles."""

    clock: float
    units: int
    vmacs: int
    macs: int
    bank: int
    """Words of one of the two banks of a unit's maps buffer."""
    weights: int
    """Words of a vMAC's weights buffer; one half computes while the other one loads."""
    bandwidth: float
    """Bytes per second of the memory."""
    ports: int
    port_width: float
    """Bytes per cycle of one load port."""
    latency: int
    """Cycles from a load's last byte to the buffer being usable, and from a store's issue to its first byte."""
    queue: int
    """Vector instructions that wait in front of a trace decoder before the control core stalls."""
    stores_first: int
    """1: the memory serves a store before loads that wait; 0: in order of issue, loads that wait for a buffer too."""

    def __post_init__(self) -> None:
        for name in ("clock", "bandwidth", "port_width"):
            value = float(positive(name, getattr(self, name)))
            if value == float("inf"):
                raise HetcnnError(f"{name} must be finite, got {value}")
        for name, low in _WHOLE.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise HetcnnError(f"{name} {value!r}: expected a whole number from {low}")
        if self.macs != LINE:
            raise HetcnnError(f"macs {self.macs}: expected {LINE}; a line of the buffers has one word for each")
        for name in ("units", "vmacs", "ports"):
            if getattr(self, name) > 4:
                raise HetcnnError(f"{name} {getattr(self, name)}: at most 4; the instructions have four bits for them")

    @property
    def bytes_per_cycle(self) -> float:
        """Memory bandwidth in bytes per cycle."""
        return self.bandwidth / self.clock

    @property
    def peak_macs(self) -> int:
        """MACs per cycle."""
        return self.units * self.vmacs * self.macs

    @property
    def peak_ops(self) -> float:
        """Ops per second, two per MAC.

        >>> machine().peak_ops / 1e9
        128.0
        """
        return 2 * self.peak_macs * self.clock


@dataclass(frozen=True)
class Schedule:
    """How code is written: what the programmer or compiler does, not what the machine is.

    `pointers`: "running" adds to two addresses after every trace; "registers" keeps the address of every kernel row in
    a register. `fill_slots`: useful work after a branch, or four NOPs. `fuse_pool`: pool before storing, where a unit
    has all it needs. `parts`: maps stay and all kernels are streamed so many times where memory keeps up; 0: no wish.
    `balance`: spread loads over the ports. `double_buffer`: load the next tile and kernels while computing; `across`:
    the next layer's first ones too, if they are in memory.
    """

    name: str
    pointers: Literal["running", "registers"] = "running"
    fill_slots: bool = False
    fuse_pool: bool = False
    parts: int = 0
    mode: Mode | Literal["best"] = "best"
    order: Order | Literal["best"] = "best"
    balance: bool = True
    double_buffer: bool = True
    across: bool = False

    def __post_init__(self) -> None:
        known = {"pointers": ("running", "registers"), "mode": ("best", *_MODES), "order": ("best", *_ORDERS)}
        for field, choices in known.items():
            if getattr(self, field) not in choices:
                raise unknown(field, str(getattr(self, field)), choices)
        if not isinstance(self.parts, int) or self.parts < 0:
            raise HetcnnError(f"parts {self.parts}: expected a whole number from 0")


COMPILED = Schedule("compiled")
HAND = Schedule("hand", pointers="registers", fill_slots=True, fuse_pool=True, parts=3, across=True)


@cache
def assumptions() -> tuple[dict[str, Any], ...]:
    """Return what is neither published nor measured, from `data/papers/snowflake/assumptions.toml`."""
    with data.path("papers", "snowflake", "assumptions.toml").open("rb") as file:
        return tuple(tomllib.load(file)["assumption"])


def machine(board: Platform | str = "zc706", **changes: float) -> Machine:
    """Return the machine of a board file with a device `snowflake`; `changes` replace fields.

    >>> found = machine()
    >>> found.peak_macs, found.bank, found.weights, found.bytes_per_cycle
    (256, 32768, 8192, 16.8)
    """
    if isinstance(board, str):
        board = platform.load(board)
    value, device = board.value, "devices.snowflake"
    word = value(f"{device}.word")
    if word != WORD:
        raise HetcnnError(f"{board.key}: {device}.word {word:g} B: expected {WORD} B; the machine computes on int16")
    nominal = {a["name"]: a["nominal"] for a in assumptions()}
    found = Machine(
        clock=value(f"{device}.clock"),
        units=int(value(f"{device}.resources.units")),
        vmacs=int(value(f"{device}.resources.vmacs_per_unit")),
        macs=int(value(f"{device}.resources.macs_per_vmac")),
        bank=int(value(f"{device}.buffers.maps_per_unit") / word / 2),
        weights=int(value(f"{device}.buffers.weights_per_vmac") / word),
        bandwidth=value(f"memories.{board.host}.bandwidth"),
        ports=int(value(f"{device}.resources.load_ports")),
        port_width=nominal["port_width"],
        latency=int(nominal["latency"]),
        queue=int(nominal["queue"]),
        stores_first=int(nominal["stores_first"]),
    )
    for name in changes:
        if name not in found.__dataclass_fields__:
            raise unknown("field of a machine", name, found.__dataclass_fields__)
    return replace(found, **changes)  # type: ignore[arg-type]
