"""Shapes of every tensor of an ONNX graph, operator by operator, with ONNX's own inference.

Where an operator is unknown, or its output depends on data, a shape is assumed and said so; nothing crashes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from hetcnn.errors import HetcnnError
from hetcnn.network import Tensor
from hetcnn.onnx_weights import decode, dtype_name, evaluate, type_number
from hetcnn.onnx_wire import MAX_ELEMENTS

__all__ = ["Node", "ShapeTable", "checked", "find_schema", "has_subgraph", "tensor_type"]

_SMALL = 1024  # elements of a constant whose value a shape may depend on
_MAX_CHAIN = 64
_MAX_AXES = 32  # NumPy's own limit for many years
_POSITIVE = frozenset({"blocksize", "dilations", "group", "kernel_shape", "num_outputs", "strides"})

_VALUE_OPS = frozenset(
    {"Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Flatten"}
    | {"Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod"}
    | {"Mul", "Neg", "Not", "Or", "Pow", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"}
    | {"Reshape", "Round", "ScatterND", "Shape", "Sign", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub"}
    | {"Sum", "Tile", "Transpose", "Unsqueeze", "Where"}
)
"""Operators by which exporters compute shapes at run time."""

onnx.defs.get_schema("Conv")  # ONNX registers its operators at the first question (8 ms): part of the import


@dataclass(frozen=True)
class Node:
    """A NodeProto in plain Python; "" marks an absent optional input or output."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    proto: onnx.NodeProto

    @property
    def title(self) -> str:
        """The operator with its domain, as notes name it."""
        return f"{self.domain}::{self.op}" if self.domain else self.op

    @cached_property
    def has_subgraph(self) -> bool:
        """Whether the operator runs a graph of its own (If, Loop, Scan)."""
        return has_subgraph(self.attrs)


def has_subgraph(attrs: Mapping[str, Any]) -> bool:
    """Return whether a layer's attributes hold graphs."""
    return any(isinstance(v, onnx.GraphProto) or (isinstance(v, tuple) and _any_graph(v)) for v in attrs.values())


def _any_graph(values: tuple[Any, ...]) -> bool:
    return any(isinstance(v, onnx.GraphProto) for v in values)


def find_schema(op: str, domain: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return ONNX's definition of an operator, or None if it has none.

    >>> find_schema("Conv", "", 17).since_version, find_schema("Conv", "com.example", 1)
    (11, None)
    """
    try:
        return onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None


def checked(tensor: Tensor) -> Tensor:
    """Return `tensor`, or raise HetcnnError if its shape is absurd."""
    if len(tensor.shape) > _MAX_AXES:
        raise HetcnnError(f"tensor '{tensor.name}' has {len(tensor.shape)} axes; at most {_MAX_AXES} are allowed")
    if any(d < 0 for d in tensor.shape) or prod(d or 1 for d in tensor.shape) > MAX_ELEMENTS:
        shape = "x".join(map(str, tensor.shape))
        raise HetcnnError(f"tensor '{tensor.name}' has shape {shape}; sizes are 0 or more, elements at most 2**40")
    return tensor


def tensor_type(tensor: Tensor) -> onnx.TypeProto:
    """Return the ONNX type of a tensor."""
    number = type_number(tensor.dtype, f"tensor '{tensor.name}'")
    return onnx.helper.make_tensor_type_proto(number, tensor.shape)


@dataclass
class ShapeTable:
    """What is known of every tensor so far.

    `values` holds small constants, `hints` what the file itself says of tensors that cannot be inferred; `inexact` are
    the tensors whose shape was taken from a hint or assumed, and all that follow from them.
    """

    opset: int
    domains: Mapping[str, int]
    tensors: dict[str, Tensor]
    values: dict[str, onnx.TensorProto]
    hints: Mapping[str, Tensor]
    unknown: Counter[str] = field(default_factory=Counter)
    assumed: list[str] = field(default_factory=list)
    inexact: set[str] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)
    _types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    _producers: dict[str, Node] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Infer the outputs of `node`; all its inputs must be known.

        Raises HetcnnError if ONNX's rules forbid the operator on these inputs.
        """
        _check_attributes(node)
        self._producers.update((name, node) for name in node.outputs)
        version = self.domains.get(node.domain, 1) if node.domain else self.opset
        schema = None if node.has_subgraph else find_schema(node.op, node.domain, version)
        if schema is None:
            self.unknown[node.title] += 1
        found = {} if schema is None else self._infer(node, schema)
        doubtful = not self.inexact.isdisjoint(node.inputs)
        for name in filter(None, node.outputs):
            trusted = name in found and not (doubtful and name in self.hints)
            self.tensors[name] = checked(found[name] if trusted else self._assume(node, name))
            if doubtful:
                self.inexact.add(name)

    def _infer(self, node: Node, schema: onnx.defs.OpSchema) -> dict[str, Tensor]:
        try:
            found = self._run(node.proto, schema)
            if all(name in found for name in node.outputs if name) or not self._find_values(node):
                return found
        except Exception as error:  # the C++ inference has several exception types, none of them public
            if not self._find_values(node):
                return self._second_try(node, schema, error)
        try:
            return self._run(node.proto, schema)
        except Exception as error:
            return self._second_try(node, schema, error)

    def _second_try(self, node: Node, schema: onnx.defs.OpSchema, error: Exception) -> dict[str, Tensor]:
        """Leave out attributes that the operator does not have (old exporters wrote some), or give up."""
        if isinstance(error, HetcnnError):
            raise error
        if self.inexact.intersection(node.inputs):
            return {}
        extra = sorted(set(node.attrs) - set(schema.attributes))
        if extra:
            proto = onnx.NodeProto()
            proto.CopyFrom(node.proto)
            del proto.attribute[:]
            proto.attribute.extend(a for a in node.proto.attribute if a.name not in extra)
            try:
                found = self._run(proto, schema)
            except Exception as again:
                error = again
            else:
                self.ignored.update(f"{node.title}.{name}" for name in extra)
                return found
        detail = (str(error).splitlines() or [type(error).__name__])[0].removeprefix("[ShapeInferenceError] ")
        shapes = ", ".join(str(self.tensors[n].shape) for n in node.inputs if n)
        raise HetcnnError(f"layer '{node.name}' ({node.title}) on {shapes or 'nothing'}: {detail[:200]}") from error

    def _run(self, proto: onnx.NodeProto, schema: onnx.defs.OpSchema) -> dict[str, Tensor]:
        types = {name: self._type(name) for name in proto.input if name}
        data = {name: self.values[name] for name in types if name in self.values}
        found = {}
        for name, kind in shape_inference.infer_node_outputs(schema, proto, types, data).items():
            tensor = _concrete(name, kind) if name else None
            if tensor is not None:
                found[name], self._types[name] = tensor, kind
        return found

    def _type(self, name: str) -> onnx.TypeProto:
        if name not in self._types:
            self._types[name] = tensor_type(self.tensors[name])
        return self._types[name]

    def _assume(self, node: Node, name: str) -> Tensor:
        self._types.pop(name, None)
        if name in self.hints:
            self.inexact.add(name)
            return self.hints[name]
        first = next((self.tensors[n] for n in node.inputs if n), Tensor("", ()))
        if node.op == "BatchNormalization" and not node.domain:  # the statistics that old opsets could put out
            return Tensor(name, first.shape[1:2], first.dtype)
        if node.op != "Dropout" or node.domain:  # its mask has its input's shape by definition
            self.assumed.append(name)
            self.inexact.add(name)
        return Tensor(name, first.shape, first.dtype)

    def _find_values(self, node: Node) -> bool:
        """Compute the small inputs on which the shape of `node` may depend; return whether any was new."""
        before = len(self.values)
        for name in filter(None, node.inputs):
            self._value(name, _MAX_CHAIN)
        return len(self.values) > before

    def _value(self, name: str, chain: int) -> onnx.TensorProto | None:
        if name in self.values:
            return self.values[name]
        node = self._producers.get(name)
        if node is None or node.domain or node.op not in _VALUE_OPS or not chain or name in self.inexact:
            return None
        if any(self.tensors[n].size > _SMALL for n in node.outputs if n):
            return None
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for n in filter(None, node.inputs):
            if node.op in ("Shape", "Size") and n not in self.inexact:
                arrays[n] = np.broadcast_to(np.int8(0), self.tensors[n].shape)
                continue
            value = self._value(n, chain - 1)
            if value is None:
                return None
            arrays[n] = decode(value)
        try:
            results = evaluate(node.proto, arrays, self.opset)
        except HetcnnError:
            return None
        if any(array.size > _SMALL or array.shape != self.tensors[n].shape for n, array in results.items()):
            return None
        self.values.update((n, numpy_helper.from_array(array, n)) for n, array in results.items())
        return self.values.get(name)

    @property
    def notes(self) -> list[str]:
        """What had to be assumed, one sentence each."""
        found = []
        if self.unknown:
            listed = ", ".join(f"{op} x{count}" for op, count in sorted(self.unknown.items()))
            found.append(f"unknown operators, counted as traffic only: {listed}")
        if self.assumed:
            found.append(f"shape assumed to be the first input's: {_listed(self.assumed)}")
        if self.ignored:
            found.append(f"attributes that the operator does not have, ignored: {_listed(sorted(self.ignored))}")
        return found


def _listed(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _concrete(name: str, kind: onnx.TypeProto) -> Tensor | None:
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if not kind.tensor_type.elem_type or not all(d.HasField("dim_value") for d in dims):
        return None
    dtype = dtype_name(kind.tensor_type.elem_type, f"tensor '{name}'")
    return Tensor(name, tuple(d.dim_value for d in dims), dtype)


def _check_attributes(node: Node) -> None:
    """Refuse what ONNX's inference would turn into huge allocations or divisions by zero."""
    if node.domain:
        return
    for key in _POSITIVE.intersection(node.attrs):
        value = node.attrs[key]
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, int) or not 0 < number < 2**31:
                rule = "it must be whole numbers from 1 to 2**31 - 1"
                raise HetcnnError(f"layer '{node.name}' ({node.op}): {key} = {value}; {rule}")
    parts = node.attrs.get("num_outputs", len(node.outputs)) if node.op == "Split" else len(node.outputs)
    if parts != len(node.outputs):
        raise HetcnnError(f"layer '{node.name}' (Split): num_outputs = {parts}, but it has {len(node.outputs)} outputs")
