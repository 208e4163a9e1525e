"""A board: devices, memories, links and power rails, read from TOML, every number with its source or its range.

A number in a board file is a table `{ value = "2.36 GHz", source = "..." }`, or an assumption
`{ value = "29.8 GB/s", assumed = ["20 GB/s", "29.9 GB/s"], why = "..." }`. Inside the library it is a `Quantity` in SI.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from hetcnn import data
from hetcnn.errors import HetcnnError, unknown
from hetcnn.parts import Device, Kind, Link, MajorKind, Memory, Part, Rail, named
from hetcnn.units import Quantity, brief, si

__all__ = ["Assumption", "Device", "Link", "Memory", "Platform", "Rail", "load", "names", "parse"]

_MAX_BYTES = 1_000_000
_COMMA = re.compile(r"(, got '[-+]?\d+,\d[^']*').*")


class Assumption(NamedTuple):
    """A number neither published nor measured: where it stands, its value, its range (SI) and the reason."""

    path: str
    value: float
    low: float
    high: float
    why: str


class Platform(Part):
    """A board. The first memory is the host memory, where frames lie: every device reads it, or reaches it by a link.

    >>> board = load("hikey970")
    >>> board.devices["a73"].clock.value, board.devices["a73"].cores.value
    (2360000000.0, 4.0)
    """

    key: str
    title: str
    about: str = ""
    memories: Annotated[Mapping[str, Memory], named("memory")]
    devices: Annotated[Mapping[str, Device], named("device")]
    links: Annotated[Mapping[str, Link], named("link")] = Field(default_factory=dict)
    rails: Annotated[Mapping[str, Rail], named("rail")] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for table in ("memories", "devices"):
            if not getattr(self, table):
                raise HetcnnError(f"{table}: a board has at least one")
        every = [*self.devices, *self.memories, *self.links]
        if twice := sorted({name for name in every if every.count(name) > 1}):
            raise HetcnnError(f"'{twice[0]}' names two parts; devices, memories and links need different names")
        for name, device in self.devices.items():
            self._check_device(name, device)
        parts = [*self.devices, *self.memories]
        for name, link in self.links.items():
            _all_known(f"links.{name}.ends", "device or memory", link.ends, parts)
            if link.ends[0] == link.ends[1]:
                raise HetcnnError(f"links.{name}.ends: a link joins two different parts, got '{link.ends[0]}' twice")
        for name, rail in self.rails.items():
            _all_known(f"rails.{name}.feeds", "device, memory or link", rail.feeds, [*parts, *self.links])
        return self

    def _check_device(self, name: str, device: Device) -> None:
        _all_known(f"devices.{name}.memories", "memory", device.memories, self.memories)
        if device.shares is not None:
            others = [other for other in self.devices if other != name]
            _all_known(f"devices.{name}.shares", "other device", (device.shares,), others)
        if self.host not in device.memories and self.link_of(name) is None:
            raise HetcnnError(
                f"devices.{name}: it does not read '{self.host}', the first memory, and no link reaches it; "
                f"add '{self.host}' to its 'memories' or a link with '{name}' as one end"
            )

    @property
    def host(self) -> str:
        """Name of the memory where frames lie: the first of the file."""
        return next(iter(self.memories))

    @property
    def static_power(self) -> float:
        """Watts drawn by all rails when nothing runs."""
        return sum(float(rail.static) for rail in self.rails.values())

    def device(self, name: str) -> Device:
        """Return a device by name."""
        if name not in self.devices:
            raise unknown(f"device of {self.key}", name, self.devices)
        return self.devices[name]

    def bandwidths(self, device: str) -> dict[str, float]:
        """Memory name -> bytes/s that `device` draws from it at most."""
        engine = self.device(device)
        rates = {name: float(self.memories[name].bandwidth) for name in engine.memories}
        return {name: min(rate, float(engine.bandwidth.get(name, rate))) for name, rate in rates.items()}

    def link_of(self, device: str) -> Link | None:
        """The link that a frame crosses to reach `device`; None for a device that reads the host memory itself."""
        engine = self.device(device)
        if self.host in engine.memories:
            return None
        near = {device, *engine.memories}
        return next((link for link in self.links.values() if near & set(link.ends)), None)

    def value(self, path: str) -> float:
        """Return one number on file in SI.

        >>> load("zc706").value("devices.snowflake.clock")
        250000000.0
        """
        return float(self._quantity(path))

    def _quantity(self, path: str) -> Quantity:
        known = dict(self.quantities())
        if path not in known:
            raise unknown(f"number of {self.key}", brief(path), known)
        return known[path]

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Yield (path, quantity) for every number on file, such as ("devices.a73.clock", 2.36 GHz)."""
        return _walk(self, "")

    def assumptions(self) -> list[Assumption]:
        """Return what is neither published nor measured, each with its range: the input of a sensitivity plot."""
        return [
            Assumption(path, q.value, q.low, q.high, q.why)
            for path, q in self.quantities()
            if q.low is not None and q.high is not None
        ]

    def with_value(self, path: str, value: float | str) -> Platform:
        """Return a copy with one number changed, given in SI or as text with a unit.

        An assumed range widens to hold the new value. Raises HetcnnError for an unknown path or an invalid value.

        >>> float(load("hikey970").with_value("devices.a73.clock", "1 GHz").devices["a73"].clock)
        1000000000.0
        """
        old = self._quantity(path)
        try:
            changed: Platform = _replaced(self, path.split("."), old.with_value(value))
        except ValidationError as error:
            raise HetcnnError(f"{self.key}: {path}: {_first_error(error, where=False)}") from None
        except HetcnnError as error:
            raise HetcnnError(f"{self.key}: {path}: {error}") from None
        return changed

    def __str__(self) -> str:
        lines = [f"{self.key}: {self.title}"]
        lines += [f"  {name}: {d.title}, {d.kind}, {si(d.peak_ops, 'op/s')}" for name, d in self.devices.items()]
        lines += [f"  {name}: {m.title}, {m.bandwidth}" for name, m in self.memories.items()]
        lines += [f"  {name}: {k.title}, {' - '.join(k.ends)}, {k.bandwidth}" for name, k in self.links.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Platform {self.key}: {', '.join(self.devices)}>"

    def _repr_html_(self) -> str:
        from hetcnn.plots.tables import platform_html

        html: str = platform_html(self)
        return html


def names() -> list[str]:
    """Return the names of the shipped boards."""
    return sorted(file.stem for file in data.path("platforms").glob("*.toml"))


def load(name_or_path: str | os.PathLike[str]) -> Platform:
    """Return a shipped board by name, or read a board file.

    Raises HetcnnError, one line with the file's name and the field, for anything that is not a valid board.
    """
    text = os.fspath(name_or_path)
    if text in names():
        return _read(data.path("platforms", f"{text}.toml"))
    if text.endswith(".toml") or "/" in text or os.sep in text or Path(text).is_file():
        return _read(Path(text))
    raise unknown("platform", brief(text), names())


def _read(file: Path) -> Platform:
    try:
        if file.is_dir():
            raise HetcnnError(f"{brief(str(file), 200)}: a folder, not a board file")
        with file.open("rb") as handle:
            content = handle.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, HetcnnError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        shown = brief(str(file), 200)
        raise HetcnnError(f"cannot read board file '{shown}': {reason}. Shipped boards: {', '.join(names())}") from None
    return parse(content, file.name)


def parse(content: bytes, filename: str) -> Platform:
    """Return the board that the bytes of a TOML file describe; its key is the file's name without the suffix."""
    try:
        return _build(content, Path(filename).stem)
    except HetcnnError as error:
        raise HetcnnError(" ".join(f"{brief(filename)}: {error}".split())) from None


def _build(content: bytes, key: str) -> Platform:
    if len(content) > _MAX_BYTES:
        raise HetcnnError(f"larger than {_MAX_BYTES:,} bytes, which no board file is")
    try:
        raw = tomllib.loads(content.decode())
    except RecursionError:
        raise HetcnnError("not a TOML file: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and integers of thousands of digits
        raise HetcnnError(f"not a TOML file: {error}") from None
    if "key" in raw:
        raise HetcnnError("key: the file's name is the board's key; remove the field")
    try:
        return Platform.model_validate({"key": key, **raw})
    except ValidationError as error:
        raise HetcnnError(_first_error(error)) from None


def _first_error(error: ValidationError, *, where: bool = True) -> str:
    # A misspelt field is both unknown and missing: the unknown one names the remedy.
    found = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    path = ".".join(brief(str(part)) for part in found[0]["loc"])
    message = _explain(found[0])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{path}: {message}{more}" if path and where else message + more


def _explain(detail: ErrorDetails) -> str:
    loc, given = detail["loc"], detail["input"]
    if detail["type"] == "value_error":
        said = str(detail["ctx"]["error"])
        return _COMMA.sub(r"\1; the decimal separator is a point, and thousands have none", said)
    if detail["type"] == "extra_forbidden":
        return str(unknown("field", brief(str(loc[-1])), _fields(str(loc[0]) if len(loc) > 1 else "")))
    if detail["type"] == "missing":
        return "missing; the field is required"
    if detail["type"] == "literal_error" and isinstance(given, str):
        what, kinds = ("layer", MajorKind) if "runs" in loc else ("device", Kind)
        return str(unknown(f"kind of {what}", brief(given), get_args(kinds)))
    expected = {"string_type": "text", "literal_error": "text", "tuple_type": "a list", "model_type": "a table"}
    if detail["type"] in expected:
        return f"expected {expected[detail['type']]}, got {brief(given)}"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {brief(given)}"


def _fields(table: str) -> list[str]:
    parts: dict[str, type[Part]] = {"memories": Memory, "devices": Device, "links": Link, "rails": Rail}
    return [name for name in parts.get(table, Platform).model_fields if name != "key"]


def _all_known(path: str, what: str, given: tuple[str, ...], choices: Mapping[str, object] | list[str]) -> None:
    for name in given:
        if name not in choices:
            raise HetcnnError(f"{path}: {unknown(what, brief(name), choices)}")


def _walk(node: object, path: str) -> Iterator[tuple[str, Quantity]]:
    if isinstance(node, Quantity):
        yield path, node
    elif isinstance(node, BaseModel | Mapping):
        items = node.items() if isinstance(node, Mapping) else node
        for name, child in items:
            yield from _walk(child, f"{path}.{name}" if path else str(name))


def _replaced(node: Any, parts: list[str], new: Quantity) -> Any:
    if not parts:
        return new
    name, rest = parts[0], parts[1:]
    if isinstance(node, Mapping):
        return {**node, name: _replaced(node[name], rest, new)}
    return type(node).model_validate({**dict(node), name: _replaced(getattr(node, name), rest, new)})
