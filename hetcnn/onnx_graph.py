"""An ONNX graph in plain Python: its nodes with their attributes, in topological order, functions inlined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from hetcnn.errors import HetcnnError
from hetcnn.onnx_shapes import Node
from hetcnn.onnx_weights import decode
from hetcnn.onnx_wire import Skimmed

__all__ = ["captured", "inline_functions", "read_nodes", "text", "topological"]

_MAX_NODES = 100_000
_Kind = onnx.AttributeProto


def text(value: str | bytes) -> str:
    """Return a string of the file; protobuf hands out bytes where it is not UTF-8."""
    if isinstance(value, bytes):
        raise HetcnnError(f"not an ONNX model: the name {value[:40]!r} is not UTF-8")
    return value


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its local functions expanded in place of their calls.

    Raises HetcnnError for functions that call themselves or expand to more than 100,000 nodes.
    """
    if not model.functions:
        return model
    bodies = {_key(f.domain, f.name, f.overload): list(_calls(f.node)) for f in model.functions}
    sizes: dict[tuple[str, ...], int] = {}
    try:
        order = list(
            TopologicalSorter({k: [c for c in calls if c in bodies] for k, calls in bodies.items()}).static_order()
        )
    except CycleError as error:
        names = " -> ".join(text(key[1]) for key in error.args[1])
        raise HetcnnError(f"the model's functions call each other in a circle: {names}") from None
    for key in order:
        sizes[key] = sum(sizes.get(call, 1) for call in bodies[key])
    if sum(sizes.get(call, 1) for call in _calls(model.graph.node)) > _MAX_NODES:
        raise HetcnnError(f"the model's functions expand to more than {_MAX_NODES} nodes")
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except Exception as error:  # the C++ inliner's exceptions are not public
        detail = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise HetcnnError(f"cannot inline the model's functions: {detail}") from error


def _key(*parts: str) -> tuple[str, ...]:
    return parts


def _calls(found: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, ...]]:
    for node in found:
        yield _key(node.domain, node.op_type, node.overload)
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs] if attribute.type in (_Kind.GRAPH, _Kind.GRAPHS) else ():
                yield from _calls(graph.node)


def read_nodes(graph: onnx.GraphProto, skimmed: Skimmed) -> list[Node]:
    """Return the graph's nodes with attributes as plain values and unique names."""
    if len(graph.node) > _MAX_NODES:
        raise HetcnnError(f"not a CNN: the graph has {len(graph.node)} nodes, at most {_MAX_NODES} are read")
    taken: set[str] = set()
    return [_node(proto, skimmed, taken) for proto in graph.node]


def _node(proto: onnx.NodeProto, skimmed: Skimmed, taken: set[str]) -> Node:
    inputs, outputs = tuple(map(text, proto.input)), tuple(map(text, proto.output))
    op, domain = text(proto.op_type), text(proto.domain)
    name = _unique(text(proto.name) or _derived(op, outputs), taken)
    if not any(outputs):
        raise HetcnnError(f"layer '{name}' ({op}) has no output")
    if domain == "ai.onnx":
        domain = proto.domain = ""
    if op == "Constant" and not domain:  # its value may be a large weight: left where it is
        return Node(name, op, domain, inputs, outputs, {}, proto)
    attrs = {text(a.name): _value(a, skimmed) for a in proto.attribute}
    return Node(name, op, domain, inputs, outputs, attrs, proto)


def _derived(op: str, outputs: Sequence[str]) -> str:
    first = next(filter(None, outputs), "")
    return f"{op}_{first}" if not first or first.isdigit() else first


def _unique(name: str, taken: set[str]) -> str:
    found, count = name, 2
    while found in taken:
        found, count = f"{name}_{count}", count + 1
    taken.add(found)
    return found


def _value(attribute: onnx.AttributeProto, skimmed: Skimmed) -> Any:
    kind = attribute.type or _kind_of_old(attribute)
    if kind == _Kind.INT:
        return attribute.i
    if kind == _Kind.INTS:
        return tuple(attribute.ints)
    if kind == _Kind.FLOAT:
        return _shortest(attribute.f)
    if kind == _Kind.FLOATS:
        return tuple(map(_shortest, attribute.floats))
    if kind == _Kind.STRING:
        return _string(attribute.s)
    if kind == _Kind.STRINGS:
        return tuple(map(_string, attribute.strings))
    if kind == _Kind.TENSOR:
        return decode(_whole(attribute.t, skimmed))
    if kind == _Kind.TENSORS:
        return tuple(decode(_whole(t, skimmed)) for t in attribute.tensors)
    name = onnx.AttributeProto.AttributeType.Name(kind).lower() if kind in range(1, 15) else ""
    single = {"graph": "g", "sparse_tensor": "sparse_tensor", "type_proto": "tp"}.get(name)
    if single:
        return getattr(attribute, single)
    if name in ("graphs", "sparse_tensors", "type_protos"):
        return tuple(getattr(attribute, name))
    raise HetcnnError(f"attribute '{text(attribute.name)}' has no value")


def _kind_of_old(attribute: onnx.AttributeProto) -> int:
    """Files of the first IR version do not say the type of an attribute."""
    for field, kind in (("f", _Kind.FLOAT), ("i", _Kind.INT), ("s", _Kind.STRING), ("t", _Kind.TENSOR)):
        if attribute.HasField(field):
            return int(kind)
    for field, kind in (("floats", _Kind.FLOATS), ("ints", _Kind.INTS), ("strings", _Kind.STRINGS)):
        if len(getattr(attribute, field)):
            return int(kind)
    return 0


def _shortest(number: float) -> float:
    """Return the shortest decimal that is the same float32: 1e-4, not 9.999999747378752e-05."""
    return float(str(np.float32(number)))


def _string(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _whole(tensor: onnx.TensorProto, skimmed: Skimmed) -> onnx.TensorProto:
    payload = skimmed.payload(tensor)
    if payload is None:
        return tensor
    start, stop = payload.message
    whole = onnx.TensorProto()
    try:
        whole.ParseFromString(bytes(skimmed.source.view[start:stop]))
        return whole
    except DecodeError:
        raise HetcnnError(f"the tensor at byte {start} is broken") from None


def captured(node: Node) -> set[str]:
    """Return the names that the subgraphs of a node read from the graph around it."""
    graphs = [a.g for a in node.proto.attribute if a.type == _Kind.GRAPH]
    graphs += [g for a in node.proto.attribute if a.type == _Kind.GRAPHS for g in a.graphs]
    return set().union(*map(_free, graphs)) if graphs else set()


def _free(graph: onnx.GraphProto) -> set[str]:
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    read = {name for node in graph.node for name in node.input} | {v.name for v in graph.output}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs] if attribute.type in (_Kind.GRAPH, _Kind.GRAPHS) else ():
                read |= _free(inner)
    return {text(name) for name in read - own if name}


def topological(found: Sequence[Node], known: Iterable[str]) -> tuple[list[Node], bool]:
    """Return the nodes in an order in which every name is written before it is read, and whether they had to be moved.

    Raises HetcnnError for names written twice or never, and for cycles.
    """
    producers = _producers(found, known)
    reads = [[*filter(None, node.inputs), *sorted(captured(node) if node.has_subgraph else ())] for node in found]
    for node, names in zip(found, reads, strict=True):
        for name in names:
            if name not in producers:
                raise HetcnnError(f"layer '{node.name}' ({node.op}) reads '{name}', which nothing writes")
    if all(producers[name] < i for i, names in enumerate(reads) for name in names):
        return list(found), False
    edges = {i: {p for name in names if (p := producers[name]) >= 0} for i, names in enumerate(reads)}
    try:
        return [found[i] for i in TopologicalSorter(edges).static_order()], True
    except CycleError as error:
        circle = " -> ".join(found[i].name for i in error.args[1][:8])
        raise HetcnnError(f"the graph has a cycle: {circle}; a network must be acyclic") from None


def _producers(found: Sequence[Node], known: Iterable[str]) -> Mapping[str, int]:
    producers = dict.fromkeys(known, -1)
    for i, node in enumerate(found):
        for name in filter(None, node.outputs):
            if name in producers:
                raise HetcnnError(f"layer '{node.name}' ({node.op}) writes '{name}', which is already defined")
            producers[name] = i
    return producers
