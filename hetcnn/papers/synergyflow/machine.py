"""The machine: the board's array and memory, and what the paper leaves open, each on file with a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from hetcnn import platform
from hetcnn.errors import HetcnnError, unknown
from hetcnn.papers.assumed import declared

__all__ = ["BOARD", "DEVICE", "Machine", "assumptions", "provisioned"]

BOARD = "p395-ab"
DEVICE = "elastic"


@dataclass(frozen=True)
class Machine:
    """An array of multipliers and a memory.

    mac_rate: peak MAC/s; bandwidth: B/s; word: B; batch: frames that share one reading of the weights; efficiency:
    share of the peak by kind of layer (1 where absent); reconfiguration: s at every layer of a divided array; off_chip:
    share of activations that goes through memory; rigid_fc: share of the array that the rigid one keeps busy in FC
    layers. Raises HetcnnError for numbers that are not positive, shares beyond 1 and parts of a frame.
    """

    mac_rate: float
    bandwidth: float
    word: float = 2.0
    batch: int = 1
    efficiency: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    reconfiguration: float = 0.0
    off_chip: float = 0.0
    rigid_fc: float = 1.0

    def __post_init__(self) -> None:
        for name in ("mac_rate", "bandwidth", "word", "batch", "rigid_fc"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise HetcnnError(f"machine: {name}: expected a finite number above 0, got {value!r}")
        if self.batch != round(self.batch):
            raise HetcnnError(f"machine: batch: expected a whole number of frames, got {self.batch}")
        if not 0 <= self.reconfiguration < float("inf"):
            raise HetcnnError(f"machine: reconfiguration: expected seconds from 0 up, got {self.reconfiguration}")
        if not 0 <= self.off_chip <= 1 or self.rigid_fc > 1:
            raise HetcnnError(f"machine: shares are from 0 to 1, got {self.off_chip:g} and {self.rigid_fc:g}")
        for kind, share in self.efficiency.items():
            if not 0 < share <= 1:
                raise HetcnnError(f"machine: efficiency of {kind}: expected a share above 0, at most 1, got {share:g}")

    @property
    def provision(self) -> float:
        """The calibrated number kappa: weights that arrive per MAC slot, for each frame of a batch.

        kappa = bandwidth x batch / (word x MAC rate).

        >>> Machine(mac_rate=1e9, bandwidth=0.5e9, word=2, batch=4).provision      # 0.5 B x 4 / 2 B
        1.0
        """
        return self.bandwidth * self.batch / (self.word * self.mac_rate)

    def provisioned_at(self, provision: float) -> Machine:
        """Return the machine with another bandwidth, so that `provision` is as given; all else is kept."""
        return replace(self, bandwidth=provision * self.word * self.mac_rate / self.batch)

    def rate(self, kind: str) -> float:
        """MAC/s that the whole array reaches on one kind of layer."""
        return self.mac_rate * self.efficiency.get(kind, 1.0)


def assumptions() -> Mapping[str, Mapping[str, Any]]:
    """Return name -> the entry of `data/papers/synergyflow/assumptions.toml`: nominal, range, unit, why."""
    return declared("synergyflow")


def provisioned(**changed: float) -> Machine:
    """Return the machine as the board file provisions it, before any calibration, with the nominal assumptions.

    `changed` moves assumptions by name: batch, off_chip, rigid_fc, and the board's cores, conv_efficiency, word,
    reconfiguration. Raises HetcnnError for another name.
    """
    board = platform.load(BOARD)
    known = assumptions()
    own = {name: known[name]["nominal"] for name in ("batch", "off_chip", "rigid_fc")}
    in_board = {name: str(entry["path"]) for name, entry in known.items() if "path" in entry}
    for name, value in changed.items():
        if name not in own and name not in in_board:
            raise unknown("assumption", name, (*own, *in_board))
        if name in in_board:
            board = board.with_value(in_board[name], value)
    engine = board.device(DEVICE)
    own |= {name: value for name, value in changed.items() if name in own}
    return Machine(
        mac_rate=engine.peak_ops / 2,
        bandwidth=min(board.bandwidths(DEVICE).values()),
        word=float(engine.word) if engine.word is not None else 2.0,
        efficiency=MappingProxyType({kind: float(share) for kind, share in engine.efficiency.items()}),
        reconfiguration=float(engine.launch) if engine.launch is not None else 0.0,
        **own,
    )
