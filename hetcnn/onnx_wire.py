"""The bytes of an ONNX file: skim its structure without copying its weights, and read a weight when it is asked for.

Parsing a whole ModelProto copies every weight. `skim` walks the protobuf wire format on a memory map instead, leaves
the large payloads where they are, and returns a small ModelProto whose large tensors carry a mark in their doc string.
"""

from __future__ import annotations

import mmap
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from hetcnn.errors import HetcnnError

__all__ = ["MAX_ELEMENTS", "Payload", "Skimmed", "Source", "fields", "skim"]

MAX_ELEMENTS = 2**40
"""A tensor with more elements than this is a mistake or an attack, not a layer."""

_KEEP = 1024  # bytes; smaller payloads stay: shapes and axes are among them
_MAX_ENTRIES = 1_000_000
_FULL_COUNT = 1 << 20  # a structure below this size cannot grow beyond a few hundred MB when parsed

# Field numbers of onnx.proto
_GRAPH, _NODE, _INITIALIZER, _ATTRIBUTE, _TENSOR, _FUNCTION, _FUNCTION_NODE, _SUBGRAPH = 7, 1, 5, 5, 5, 25, 7, 6
_PAYLOADS = frozenset({4, 5, 6, 7, 9, 10, 11})  # float, int32, string, int64, raw, double and uint64 data
_DOC_STRING, _RAW_DATA = 12, 9

# The messages inside each message, for counting the parts of an untrusted structure.
_VALUE: dict[int, Any] = {2: {1: {2: {1: {}}}}}
_ATTR: dict[int, Any] = {5: {}, 10: {}}
_NODE_SCHEMA: dict[int, Any] = {5: _ATTR, 9: {}}
_GRAPH_SCHEMA: dict[int, Any] = {
    1: _NODE_SCHEMA,
    5: {13: {}, 16: {}},
    11: _VALUE,
    12: _VALUE,
    13: _VALUE,
    14: {},
    15: {},
}
_ATTR[6] = _ATTR[11] = _GRAPH_SCHEMA
_MODEL_SCHEMA: dict[int, Any] = {7: _GRAPH_SCHEMA, 8: {}, 14: {}, 20: {}, 25: {7: _NODE_SCHEMA, 9: {}, 11: _ATTR}}


@dataclass
class Source:
    """The bytes of a file (memory-mapped) or of a bytes object; pickles as its path."""

    path: Path | None
    data: bytes = b""
    _view: memoryview | None = field(default=None, repr=False, compare=False)

    @property
    def view(self) -> memoryview:
        """The bytes, read-only; a file is mapped on first use."""
        if self._view is None:
            self._view = memoryview(self.data) if self.path is None else _map(self.path)
        return self._view

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "data": self.data, "_view": None}


def _map(path: Path) -> memoryview:
    try:
        if not path.is_file():
            raise HetcnnError(f"no file '{path}'" if not path.exists() else f"'{path}' is not a regular file")
        if not path.stat().st_size:
            raise HetcnnError(f"'{path}' is empty")
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        if isinstance(error, HetcnnError):
            raise
        raise HetcnnError(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from None


def fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (field number, wire type, start of the key, start of the value, end of the value) of one message.

    >>> list(fields(memoryview(bytes([0x08, 0x96, 0x01, 0x12, 0x01, 0x41])), 0, 6))
    [(1, 0, 0, 1, 3), (2, 2, 3, 5, 6)]
    """
    at = start
    while at < end:
        key_at = at
        key, at = _varint(data, at, end)
        wire = key & 7
        if wire == 2:
            size, at = _varint(data, at, end)
            stop = at + size
        elif wire == 0:
            _, stop = _varint(data, at, end)
        elif wire in (1, 5):
            stop = at + (8 if wire == 1 else 4)
        else:
            raise HetcnnError(f"not an ONNX model: byte {key_at} is no protobuf field")
        if stop > end:
            raise HetcnnError(f"not an ONNX model, or cut short: the field at byte {key_at} ends beyond byte {end}")
        yield key >> 3, wire, key_at, at, stop
        at = stop


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    if at < end and data[at] < 128:
        return data[at], at + 1
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise HetcnnError(f"not an ONNX model, or cut short at byte {at}")


def _encode(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


@dataclass(frozen=True)
class Payload:
    """Where one large tensor stays: the range of its TensorProto, and of its raw data if it has any."""

    message: tuple[int, int]
    raw: tuple[int, int] | None


@dataclass(frozen=True)
class Skimmed:
    """A ModelProto without its large payloads, and where they are."""

    model: onnx.ModelProto
    source: Source
    payloads: tuple[Payload, ...]
    token: str

    def payload(self, tensor: onnx.TensorProto) -> Payload | None:
        """Return where the payload of `tensor` stays, or None if `tensor` still holds it."""
        mark = tensor.doc_string
        return self.payloads[int(mark[len(self.token) :])] if mark.startswith(self.token) else None


class _Skimmer:
    def __init__(self, source: Source) -> None:
        self.data = source.view
        self.payloads: list[Payload] = []
        self.token = f"hetcnn-{secrets.token_hex(8)}:"
        self.entries = 0

    def rewrite(self, start: int, end: int, handlers: Mapping[int, Callable[[int, int], bytes | None]]) -> bytes | None:
        """Return one message with some of its submessages replaced, or None if none needs to be."""
        out = bytearray()
        run = start
        for number, wire, key_at, at, stop in fields(self.data, start, end):
            self.entries += 1
            if self.entries > _MAX_ENTRIES:
                raise HetcnnError(f"not a CNN: the model's graph has more than {_MAX_ENTRIES} entries")
            handler = handlers.get(number) if wire == 2 else None
            new = handler(at, stop) if handler else None
            if new is not None:
                out += self.data[run:key_at]
                out += _encode(number << 3 | 2) + _encode(len(new)) + new
                run = stop
        if run == start:
            return None
        out += self.data[run:end]
        return bytes(out)

    def model(self, start: int, end: int) -> bytes | None:
        return self.rewrite(start, end, {_GRAPH: self.graph, _FUNCTION: self.function})

    def function(self, start: int, end: int) -> bytes | None:
        return self.rewrite(start, end, {_FUNCTION_NODE: self.node}) if end - start > _KEEP else None

    def graph(self, start: int, end: int) -> bytes | None:
        return self.rewrite(start, end, {_NODE: self.node, _INITIALIZER: self.tensor})

    def node(self, start: int, end: int) -> bytes | None:
        return self.rewrite(start, end, {_ATTRIBUTE: self.attribute}) if end - start > _KEEP else None

    def attribute(self, start: int, end: int) -> bytes | None:
        return self.rewrite(start, end, {_TENSOR: self.tensor}) if end - start > _KEEP else None

    def tensor(self, start: int, end: int) -> bytes | None:
        if end - start <= _KEEP:
            return None
        small = bytearray()
        raw = None
        for number, wire, key_at, at, stop in fields(self.data, start, end):
            self.entries += 1
            if number == _RAW_DATA and wire == 2:
                raw = (at, stop)
            if number not in _PAYLOADS and number != _DOC_STRING:
                small += self.data[key_at:stop]
        mark = f"{self.token}{len(self.payloads)}".encode()
        self.payloads.append(Payload((start, end), raw))
        return bytes(small) + _encode(_DOC_STRING << 3 | 2) + _encode(len(mark)) + mark


def skim(source: Source) -> Skimmed:
    """Return the model of `source` without copying its large tensors.

    Raises HetcnnError if the bytes are no ONNX model, are cut short, or hold an absurd number of parts.
    """
    skimmer = _Skimmer(source)
    try:
        structure = skimmer.model(0, len(skimmer.data)) or bytes(skimmer.data)
        if len(structure) > _FULL_COUNT:
            _count(memoryview(structure), 0, len(structure), _MODEL_SCHEMA, 0)
        model = onnx.ModelProto.FromString(structure)
    except (DecodeError, RecursionError, MemoryError, UnicodeDecodeError) as error:
        raise HetcnnError(f"not an ONNX model: {str(error).splitlines()[0] if str(error) else 'broken'}") from None
    if not model.HasField("graph") or (not model.graph.node and not model.graph.output):
        raise HetcnnError("not an ONNX model: it has no graph")
    return Skimmed(model, source, tuple(skimmer.payloads), skimmer.token)


def _count(data: memoryview, start: int, end: int, schema: Mapping[int, Any], total: int) -> int:
    for number, wire, _, at, stop in fields(data, start, end):
        total += 1
        if total > _MAX_ENTRIES:
            raise HetcnnError(f"not a CNN: the model's graph has more than {_MAX_ENTRIES} entries")
        if wire == 2 and number in schema:
            total = _count(data, at, stop, schema[number], total)
    return total
