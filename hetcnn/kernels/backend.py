"""The `onnx.backend` interface: run ONNX models and single nodes, so that ONNX's own conformance suite runs here.

A model is read through `hetcnn.onnx_io` into a `Network`; what that does not read (sizes nobody gave) is prepared
from the graph itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from hetcnn import onnx_io
from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.interpreter import Interpreter, Port, bind
from hetcnn.kernels.registry import supports
from hetcnn.onnx_graph import inline_functions, read_nodes, topological
from hetcnn.onnx_weights import Weights, decode, dtype_name, sparse_entry
from hetcnn.onnx_wire import Skimmed, Source

__all__ = ["HetcnnBackend", "Prepared", "interpreter_of_graph", "prepare", "run_model", "run_node", "supports_device"]


class Prepared(BackendRep):
    """A model ready to run."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter

    def run(self, inputs: Any, **_: Any) -> tuple[Array, ...]:
        """Return the outputs as a named tuple; inputs are one array, several in order, or name -> array."""
        results = self.interpreter.run(inputs)
        return tuple(namedtupledict("Outputs", list(results))(*results.values()))


class HetcnnBackend(Backend):
    """ONNX's backend interface over the plain operators; the device is the CPU."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> bool:
        """Return whether every operator of a model is supported."""
        nodes = inline_functions(model).graph.node
        return cls.supports_device(device) and all(supports(n.op_type, n.domain) for n in nodes)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether `device` is the CPU.

        >>> HetcnnBackend.supports_device("CPU"), HetcnnBackend.supports_device("CUDA")
        (True, False)
        """
        return device.split(":")[0] == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", *, direct: bool = False, **_: Any) -> Prepared:
        """Return a model ready to run; `direct` skips `hetcnn.onnx_io` and takes the graph as it stands.

        Raises HetcnnError for an invalid model, an unsupported operator or device, and missing weights.
        """
        if not cls.supports_device(device):
            raise HetcnnError(f"device '{device}': only CPU is supported")
        if direct or _is_open(model):
            return Prepared(interpreter_of_graph(model))
        return Prepared(Interpreter.of(onnx_io.load(model.SerializeToString(), weightless_inputs=False)))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> tuple[Array, ...]:
        """Prepare a model and run it once."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Any = None,  # noqa: ARG003 (ONNX's signature; shapes are not needed)
        **options: Any,
    ) -> tuple[Array, ...]:
        """Run one operator on arrays, given in order or by name.

        >>> relu = onnx.helper.make_node("Relu", ["x"], ["y"])
        >>> HetcnnBackend.run_node(relu, [np.array([-1.0, 2.0])])[0].tolist()
        [0.0, 2.0]
        """
        if not cls.supports_device(device):
            raise HetcnnError(f"device '{device}': only CPU is supported")
        names = [name for name in dict.fromkeys(node.input) if name]
        arrays = inputs if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
        ports = [Port(name, np.asarray(arrays[name]).dtype.name, None) for name in names]
        graph = onnx.helper.make_graph([node], "node", [onnx.ValueInfoProto(name=n) for n in names], [])
        opset = int(options.get("opset_version", onnx.defs.onnx_opset_version()))
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, opset)])
        interpreter = interpreter_of_graph(model, ports, [n for n in node.output if n])
        return Prepared(interpreter).run(arrays)


def _is_open(model: onnx.ModelProto) -> bool:
    """Return whether an input's sizes are not known in advance, or an input is no tensor."""
    given = {tensor.name for tensor in model.graph.initializer}
    return any(info.name not in given and not _fixed(info) for info in model.graph.input)


def _fixed(info: onnx.ValueInfoProto) -> bool:
    tensor = info.type.tensor_type
    return tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)


def interpreter_of_graph(
    model: onnx.ModelProto, ports: Sequence[Port] | None = None, outputs: Sequence[str] | None = None
) -> Interpreter:
    """Return the interpreter of a model's graph without knowing any shape in advance."""
    graph = inline_functions(model).graph
    whole = Skimmed(model, Source(None), (), "\0")  # nothing was left out of it
    constants = {tensor.name: _stored(tensor) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        constants |= Weights({sparse.values.name: sparse_entry(sparse)})
    if ports is None:
        ports = [_port(info) for info in graph.input if info.name not in constants]
    nodes, _ = topological(read_nodes(graph, whole), [*constants, *(port.name for port in ports)])
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    steps = []
    for node in nodes:
        attrs = node.attrs if node.op != "Constant" else {a.name: _constant(a) for a in node.proto.attribute}
        steps.append(bind(node.name, node.op, node.domain, node.inputs, node.outputs, attrs, opsets))
    return Interpreter(ports, steps, outputs or [info.name for info in graph.output], constants)


def _stored(tensor: onnx.TensorProto) -> Array:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise HetcnnError(f"weight '{tensor.name}' is outside the model; load the file with its data first")
    return decode(tensor)


def _constant(attribute: onnx.AttributeProto) -> Any:
    if attribute.HasField("t"):
        return _stored(attribute.t)
    return onnx.helper.get_attribute_value(attribute)


def _port(info: onnx.ValueInfoProto) -> Port:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return Port(info.name, None, None)
    dtype = dtype_name(tensor.elem_type, f"input '{info.name}'")
    if not tensor.HasField("shape"):
        return Port(info.name, dtype, None)
    return Port(info.name, dtype, tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim))


prepare = HetcnnBackend.prepare
run_model = HetcnnBackend.run_model
run_node = HetcnnBackend.run_node
supports_device = HetcnnBackend.supports_device
