"""The parts of a board file: `Memory`, `Device`, `Link`, `Rail`, each number a `Quantity` checked for its dimension."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from hetcnn.errors import HetcnnError, unknown
from hetcnn.units import Quantity, brief

__all__ = ["Device", "Kind", "Link", "MajorKind", "Memory", "Part", "Rail", "named"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def _number(dimension: str, *, zero: bool = False, most: float | None = None) -> PlainValidator:
    def read(raw: object) -> Quantity:
        quantity = raw if isinstance(raw, Quantity) else Quantity.read(raw, dimension)
        ends = [quantity.value, *(end for end in (quantity.low, quantity.high) if end is not None)]
        if min(ends) < 0 or (min(ends) == 0 and not zero):
            raise HetcnnError(f"expected a value above 0, got {_range_or_value(quantity)}")
        if most is not None and max(ends) > most:
            raise HetcnnError(f"expected a value of at most {most:g}, got {_range_or_value(quantity)}")
        return quantity

    return PlainValidator(read)


def _range_or_value(quantity: Quantity) -> str:
    return quantity.range_text or str(quantity)


def named(what: str, choices: tuple[str, ...] = ()) -> BeforeValidator:
    """Return the check that a table's keys are names of `what`, and among `choices` where there are any."""

    def check(raw: object) -> object:
        if not isinstance(raw, Mapping):
            raise HetcnnError(f"expected a table with one entry per {what}, got {brief(raw)}")
        for name in raw:
            if choices and name not in choices:
                raise unknown(what, brief(name), choices)
            if not _NAME.fullmatch(name):
                raise HetcnnError(f"'{brief(name)}' is no name for a {what}; use up to 40 of a-z, 0-9, _ and -")
        return raw

    return BeforeValidator(check)


Bandwidth = Annotated[Quantity, _number("bandwidth")]
Count = Annotated[Quantity, _number("count")]
Data = Annotated[Quantity, _number("data")]
Frequency = Annotated[Quantity, _number("frequency")]
Power = Annotated[Quantity, _number("power", zero=True)]
Time = Annotated[Quantity, _number("time", zero=True)]

Kind = Literal["cpu", "neon", "gpu", "fpga", "npu", "accelerator"]
MajorKind = Literal["conv", "dw", "fc"]


class Part(BaseModel):
    """A frozen table of a board file; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Memory(Part):
    """A memory that devices read and write: peak bandwidth and, where known, capacity."""

    title: str
    bandwidth: Bandwidth
    capacity: Data | None = None


class Device(Part):
    """One engine of a board.

    Its peak is published (`peak`) or the product of `cores`, `clock` and `ops_per_cycle` (per core); fabric that holds
    every weight as logic has a `weight_limit` in place of `cores`, one multiplier a weight. `efficiency` is the share
    of the peak that each kind of layer reaches, 1 where absent. `runs` lists the kinds with MACs that it can run, all
    where absent. `bandwidth` caps what it draws from one of its memories. `launch` is the time to start one layer.
    `word` is the bytes of an element where the device has its own number format. `shares` names the device whose cores
    this one runs on: a pipeline uses one of the two. `buffers` are on-chip memories, `resources` counts of anything.
    """

    title: str
    kind: Kind
    memories: tuple[str, ...] = ()
    cores: Count | None = None
    clock: Frequency | None = None
    ops_per_cycle: Count | None = None
    peak: Annotated[Quantity, _number("op_rate")] | None = None
    word: Data | None = None
    launch: Time | None = None
    weight_limit: Count | None = None
    shares: str | None = None
    runs: tuple[MajorKind, ...] = get_args(MajorKind)
    efficiency: Annotated[
        Mapping[str, Annotated[Quantity, _number("ratio", most=1)]], named("kind of layer", get_args(MajorKind))
    ] = Field(default_factory=dict)
    bandwidth: Annotated[Mapping[str, Bandwidth], named("memory")] = Field(default_factory=dict)
    buffers: Annotated[Mapping[str, Data], named("buffer")] = Field(default_factory=dict)
    resources: Annotated[Mapping[str, Count], named("resource")] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.peak is None) == (self.ops_per_cycle is None):
            raise HetcnnError("give either 'peak' or 'ops_per_cycle' (with 'cores' and 'clock')")
        if self.ops_per_cycle is not None and (self.clock is None or (self.cores or self.weight_limit) is None):
            raise HetcnnError("'ops_per_cycle' needs 'cores' and 'clock' to give a peak")
        if self.weight_limit is not None and (self.cores is not None or self.ops_per_cycle is None):
            raise HetcnnError(
                "'weight_limit' counts multipliers: give 'clock' and 'ops_per_cycle', no 'cores' or 'peak'"
            )
        for name in self.bandwidth:
            if name not in self.memories:
                raise unknown("memory of this device in 'bandwidth'", name, self.memories)
        return self

    @property
    def peak_ops(self) -> float:
        """Peak rate in ops/s over all cores."""
        if self.peak is not None:
            return float(self.peak)
        parts = (self.cores or self.weight_limit, self.clock, self.ops_per_cycle)
        return math.prod(float(part) for part in parts if part is not None)

    def rate(self, kind: str, weights: int | None = None) -> float:
        """Rate in ops/s that a layer of one kind (conv, dw, fc) reaches: peak x efficiency, 0 for one it cannot run.

        On fabric that holds weights as logic only the layer's own `weights` work, and one with too many does not fit.
        """
        share = float(self.efficiency.get(kind, 1.0)) if kind in self.runs else 0.0
        if self.weight_limit is not None and weights is not None:
            limit = float(self.weight_limit)
            share *= weights / limit if weights <= limit else 0.0
        return self.peak_ops * share


class Link(Part):
    """A connection between two devices or memories; `latency` is paid once per transfer."""

    title: str
    ends: tuple[str, str]
    bandwidth: Bandwidth
    latency: Time | None = None


class Rail(Part):
    """A power supply: `static` is drawn always, `dynamic` while a part it feeds is busy, the rest per op and per byte.

    `feeds` names devices, memories and links.
    """

    title: str
    feeds: tuple[str, ...] = ()
    static: Power
    dynamic: Power | None = None
    per_op: Annotated[Quantity, _number("energy_per_op", zero=True)] | None = None
    per_byte: Annotated[Quantity, _number("energy_per_byte", zero=True)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.feeds and (self.dynamic or self.per_op or self.per_byte):
            raise HetcnnError(
                "a rail that feeds nothing has only 'static' power; name its devices or memories in 'feeds'"
            )
        return self
