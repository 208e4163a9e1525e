"""ONNX files in and out: `load` makes a `Network` of a file without touching its weights, `save` writes one.

A file may have its weights or not; symbolic dimensions are set with `dims`; unknown operators are counted as traffic.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sized
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from hetcnn.errors import HetcnnError
from hetcnn.network import Layer, Network, Tensor
from hetcnn.onnx_export import to_model
from hetcnn.onnx_graph import inline_functions, read_nodes, text, topological
from hetcnn.onnx_inputs import Dims, guess_weights, read_hints, read_inputs
from hetcnn.onnx_shapes import Node, ShapeTable, checked, find_schema, has_subgraph
from hetcnn.onnx_weights import Computed, Entry, Folder, Weights, dtype_name, sparse_entry, tensor_entry
from hetcnn.onnx_wire import Skimmed, Source, skim

__all__ = ["load", "save", "to_model", "unknown_operators"]

_NEVER_FOLDED = frozenset(
    {"Bernoulli", "DequantizeLinear", "DynamicQuantizeLinear", "Multinomial", "QuantizeLinear", "RandomNormal"}
    | {"RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Random operators, and the quantisers: they say that a weight is stored in one byte."""

_UNCOUNTED = frozenset({"Attention", "DFT", "DeformConv", "Einsum", "GRU", "LSTM", "RNN", "STFT"})


def load(
    source: str | Path | bytes, *, dims: Dims | None = None, name: str | None = None, weightless_inputs: bool = True
) -> Network:
    """Return the network of an ONNX file (path or bytes), its weights still unread.

    `dims` sets symbolic sizes: `{"N": 1}`, `{"image.2": 224}` (an axis), `{"image": (1, 3, 224, 224)}` (all of them); a
    symbolic batch alone becomes 1. Graph inputs that only serve as weights are taken for missing weights unless
    `weightless_inputs` is false. `Network.notes` says what was assumed. Raises HetcnnError for anything that is no
    valid model, for sizes nobody gave, and for external data outside the file's folder.

    >>> from hetcnn import zoo
    >>> load(to_model(zoo.load("lenet-5")).SerializeToString()).macs
    416520
    """
    if isinstance(source, bytes):
        origin, folder, stem = Source(None, source), Folder(None), ""
    else:
        path = Path(source)
        origin, folder, stem = Source(path), Folder(path.parent), path.stem
    try:
        skimmed = skim(origin)
        model = inline_functions(skimmed.model)
        importer = _Importer(replace(skimmed, model=model), folder, weightless_inputs)
        return importer.network(name or stem or text(model.graph.name) or "network", dims)
    except HetcnnError as error:
        message = " ".join(str(error).splitlines())  # a name in the file may hold a line break
        named = isinstance(source, bytes) or str(path) in message
        raise HetcnnError(message if named else f"{path}: {message}") from error.__cause__
    except UnicodeError:
        raise HetcnnError("not an ONNX model: a name is not UTF-8") from None


@dataclass
class _Importer:
    skimmed: Skimmed
    folder: Folder
    weightless_inputs: bool
    constants: dict[str, Tensor] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    values: dict[str, onnx.TensorProto] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def network(self, name: str, dims: Dims | None) -> Network:
        graph = self.skimmed.model.graph
        opset, domains = self.opsets()
        for proto in graph.initializer:
            self.constant(text(proto.name), proto)
        for sparse in graph.sparse_initializer:
            self.sparse(text(sparse.values.name), sparse)
        nodes = [node for node in read_nodes(graph, self.skimmed) if not self.is_constant(node)]
        found = [info for info in graph.input if info.name not in self.constants]
        names = [text(info.name) for info in found]
        guessed = guess_weights(names, nodes) if self.weightless_inputs else set()
        inputs, sizes = read_inputs(found, guessed, dims)
        self.notes += sizes.notes
        self.constants |= {t.name: t for t in inputs if t.constant}
        known = {t.name: t for t in inputs} | self.constants
        if len(known) < len(inputs) + len(self.constants) - len(guessed):
            raise HetcnnError("not a valid ONNX model: two inputs have the same name")
        nodes, moved = topological(nodes, known)
        if moved:
            self.notes.append("the file's nodes are not in topological order; they were sorted")
        shapes = ShapeTable(opset, domains, known, self.values, read_hints(graph, sizes))
        for node in nodes:
            shapes.add(node)
        outputs = [text(info.name) for info in graph.output]
        kept = set(outputs)
        layers = [layer for node in nodes if (layer := self.layer(node, shapes, kept)) is not None]
        self.notes += shapes.notes
        return self.finish(name, inputs, layers, outputs, shapes)

    def opsets(self) -> tuple[int, dict[str, int]]:
        versions = {text(o.domain): o.version for o in self.skimmed.model.opset_import}
        newest = onnx.defs.onnx_opset_version()
        opset = versions.pop("", versions.pop("ai.onnx", newest))
        if not 0 < opset < 1000 or not all(0 < v < 2**31 for v in versions.values()):
            raise HetcnnError(f"not a valid ONNX model: opset {opset}; the newest known is {newest}")
        if opset > newest:
            self.notes.append(f"opset {opset} is newer than the installed onnx knows; read as opset {newest}")
        return opset, versions

    def constant(self, name: str, proto: onnx.TensorProto) -> None:
        """Register a stored tensor as a weight."""
        if not name or name in self.constants:
            raise HetcnnError(f"not a valid ONNX model: a stored tensor is named '{name}'; names must be unique")
        dtype = dtype_name(proto.data_type, f"tensor '{name}'")
        tensor = self.constants[name] = checked(Tensor(name, tuple(proto.dims), dtype, constant=True))
        entry = tensor_entry(proto, tensor, self.skimmed, self.folder)
        if entry is not None:
            self.entries[name] = entry
            if self.skimmed.payload(proto) is None and proto.data_location != onnx.TensorProto.EXTERNAL:
                self.values[name] = proto

    def sparse(self, name: str, proto: onnx.SparseTensorProto) -> None:
        dtype = dtype_name(proto.values.data_type, f"tensor '{name}'")
        if not name or name in self.constants:
            raise HetcnnError(f"not a valid ONNX model: a stored tensor is named '{name}'; names must be unique")
        self.constants[name] = checked(Tensor(name, tuple(proto.dims), dtype, constant=True))
        self.entries[name] = sparse_entry(proto)

    def is_constant(self, node: Node) -> bool:
        """Register the output of a Constant operator as a weight."""
        if node.op != "Constant" or node.domain:
            return False
        output = node.outputs[0]
        attribute = next(iter(node.proto.attribute), None)
        if len(node.proto.attribute) != 1 or attribute is None:
            raise HetcnnError(f"layer '{node.name}' (Constant) needs exactly one attribute, its value")
        if attribute.HasField("sparse_tensor"):
            self.sparse(output, attribute.sparse_tensor)
        else:
            self.constant(output, _constant_value(attribute, node.name))
        return True

    def layer(self, node: Node, shapes: ShapeTable, outputs: set[str]) -> Layer | None:
        """Return the layer of a node, or None if its inputs are all constant: its outputs are then weights."""
        if self.folds(node, shapes.opset, outputs):
            self.fold(node, shapes)
            return None
        tensors = shapes.tensors
        inputs = tuple(tensors[n] if n else None for n in node.inputs)
        written = tuple(tensors[n] if n else Tensor("", (0,)) for n in node.outputs)
        layer = Layer(node.name, node.op, inputs, written, node.attrs, node.domain)
        _validate(layer, exact=not shapes.inexact.intersection(node.inputs))
        return layer

    def folds(self, node: Node, opset: int, outputs: set[str]) -> bool:
        reads = [n for n in node.inputs if n]
        plain = not node.domain and node.op not in _NEVER_FOLDED and not node.has_subgraph
        return (
            plain
            and bool(reads)
            and all(n in self.constants for n in reads)
            and not outputs.intersection(node.outputs)
            and find_schema(node.op, "", opset) is not None
        )

    def fold(self, node: Node, shapes: ShapeTable) -> None:
        available = all(n in self.entries for n in node.inputs if n)
        for name in filter(None, node.outputs):
            tensor = replace(shapes.tensors[name], constant=True)
            self.constants[name] = shapes.tensors[name] = tensor
            if available:
                self.entries[name] = Computed(node.proto, tensor, shapes.opset)

    def finish(
        self, name: str, inputs: list[Tensor], layers: list[Layer], outputs: list[str], shapes: ShapeTable
    ) -> Network:
        tensors = shapes.tensors
        for output in outputs:
            if output not in tensors:
                raise HetcnnError(f"the graph's output '{output}' is written by no layer")
        read = {t.name: t for layer in layers for t in layer.inputs if t is not None and t.constant}
        missing = [n for n in read if n not in self.entries]
        if missing:
            self.notes.append(f"{len(missing)} of {len(read)} weights are not in the file, {missing[0]} for instance")
        uncounted = sorted({layer.op for layer in layers if not layer.domain} & _UNCOUNTED)
        if uncounted:
            self.notes.append(f"operators whose arithmetic is not counted: {', '.join(uncounted)}")
        return Network(
            name,
            tuple(t for t in inputs if not t.constant),
            tuple(layers),
            tuple(tensors[n] for n in outputs),
            Weights(self.entries),
            tuple(self.notes),
            shapes.opset,
            dict(shapes.domains),
        )


def _constant_value(attribute: onnx.AttributeProto, name: str) -> onnx.TensorProto:
    """Return the tensor of a Constant operator, whichever of its attributes it uses."""
    kind, numbers = text(attribute.name), onnx.TensorProto
    if kind == "value" and attribute.HasField("t"):
        return attribute.t
    if kind in ("value_float", "value_floats"):
        floats = [attribute.f] if kind == "value_float" else attribute.floats
        return numbers(data_type=numbers.FLOAT, float_data=floats, dims=_length(kind, floats))
    if kind in ("value_int", "value_ints"):
        ints = [attribute.i] if kind == "value_int" else attribute.ints
        return numbers(data_type=numbers.INT64, int64_data=ints, dims=_length(kind, ints))
    if kind in ("value_string", "value_strings"):
        strings = [attribute.s] if kind == "value_string" else attribute.strings
        return numbers(data_type=numbers.STRING, string_data=strings, dims=_length(kind, strings))
    raise HetcnnError(f"layer '{name}' (Constant) has the attribute '{kind}' and no value")


def _length(kind: str, items: Sized) -> list[int]:
    return [len(items)] if kind.endswith("s") else []


def _validate(layer: Layer, *, exact: bool) -> None:
    """Refuse layers whose shapes contradict each other; `exact` is false below an assumed shape."""
    try:
        gemm = layer.gemm
    except (HetcnnError, ArithmeticError, ValueError, IndexError) as error:
        detail = str(error) if isinstance(error, HetcnnError) else f"layer '{layer.name}' ({layer.op}): bad shapes"
        raise HetcnnError(detail) from None
    if gemm is None or not exact:
        return
    if layer.kind not in ("conv", "dw"):
        return
    shapes = ", ".join(str(t.shape) for t in layer.inputs if t is not None and t.shape)
    data, weight = layer.inputs[0], layer.inputs[3 if layer.op == "QLinearConv" else 1]
    assert data is not None
    assert weight is not None
    groups, transposed = gemm.groups, layer.op == "ConvTranspose"
    depth = weight.shape[0] if transposed else weight.shape[1] * groups
    maps = weight.shape[1] * groups if transposed else weight.shape[0]
    if data.shape[1] != depth or maps % groups or depth % groups:
        raise HetcnnError(f"layer '{layer.name}' ({layer.op}, group {groups}): channels do not fit: {shapes}")
    if 0 in layer.outputs[0].shape and 0 not in data.shape:
        raise HetcnnError(f"layer '{layer.name}' ({layer.op}): the kernel does not fit into its input: {shapes}")


def unknown_operators(network: Network) -> Counter[str]:
    """Return how often each operator occurs that ONNX does not define, or that runs a graph of its own.

    They are counted as traffic.

    >>> from hetcnn import zoo
    >>> unknown_operators(zoo.load("lenet-5"))
    Counter()
    """
    newest = onnx.defs.onnx_opset_version()
    found: Counter[str] = Counter()
    for layer in network.layers:
        version = network.domains.get(layer.domain, 1) if layer.domain else min(network.opset, newest)
        if has_subgraph(layer.attrs) or find_schema(layer.op, layer.domain, version) is None:
            found[f"{layer.domain}::{layer.op}" if layer.domain else layer.op] += 1
    return found


def save(network: Network, path: str | Path) -> None:
    """Write the network to an ONNX file, with its weights if it carries them.

    The file appears complete or not at all. Raises HetcnnError if it would exceed protobuf's 2 GiB.
    """
    data = to_model(network).SerializeToString()
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise HetcnnError(f"cannot write '{target}': {error.strerror}") from None
