"""A `Network` as an ONNX model: its operators as they are, its weights as initialisers, or as inputs if it has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hetcnn.errors import HetcnnError
from hetcnn.network import Layer, Network, Tensor
from hetcnn.onnx_shapes import find_schema, tensor_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["to_model"]

_MIN_IR = 8  # initialisers need not be listed as inputs, and every current runtime reads it
_MAX_BYTES = 2**31 - 2**24  # protobuf's limit, and room for the structure


def to_model(network: Network) -> onnx.ModelProto:
    """Return the network as an ONNX model.

    Weights that the network does not carry become inputs of the graph. Raises HetcnnError for an array whose shape or
    type is not its tensor's, and for more weights than protobuf's 2 GiB.

    >>> from hetcnn import zoo
    >>> model = to_model(zoo.load("lenet-5"))
    >>> [i.name for i in model.graph.input][:2]
    ['input', 'conv1.weight']
    """
    constants = _constants(network)
    size = sum(t.nbytes for t in constants.values() if t.name in network.weights)
    if size > _MAX_BYTES:
        raise HetcnnError(f"network '{network.name}' has {size / 1e9:.1f} GB of weights; one ONNX file holds 2.1 GB")
    stored = [_initializer(t, network.weights[t.name]) for t in constants.values() if t.name in network.weights]
    missing = [t for t in constants.values() if t.name not in network.weights]
    outputs = {t.name for t in network.outputs}
    inner = [t for layer in network.layers for t in layer.outputs if t.name and t.name not in outputs]
    graph = helper.make_graph(
        [_node(layer, network.opset) for layer in network.layers],
        network.name,
        [_info(t) for t in (*network.inputs, *missing)],
        [_info(t) for t in network.outputs],
        stored,
        value_info=[_info(t) for t in inner],
    )
    used = {layer.domain for layer in network.layers if layer.domain}
    versions = {"": network.opset, **dict.fromkeys(sorted(used), 1), **network.domains}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    ir_version = max(_MIN_IR, helper.find_min_ir_version_for(imports, ignore_unknown=True))
    return helper.make_model(graph, opset_imports=imports, producer_name="hetcnn", ir_version=ir_version)


def _constants(network: Network) -> dict[str, Tensor]:
    read = [t for layer in network.layers for t in layer.inputs if t is not None]
    found = {t.name: t for t in (*read, *network.outputs) if t.constant}
    inner = {name for layer in network.layers for name in _captured(layer)}
    for name in sorted(inner - found.keys()):
        if name in network.weights:
            array = network.weights[name]
            found[name] = Tensor(name, array.shape, array.dtype.name, constant=True)
    return found


def _captured(layer: Layer) -> set[str]:
    values = (v if isinstance(v, tuple) else (v,) for v in layer.attrs.values())
    graphs = [item for value in values for item in value if isinstance(item, onnx.GraphProto)]
    return {name for graph in graphs for node in graph.node for name in node.input if name}


def _initializer(tensor: Tensor, array: NDArray[Any]) -> onnx.TensorProto:
    if array.shape != tensor.shape or array.dtype.name != tensor.dtype:
        given, wanted = f"{array.dtype.name} {array.shape}", f"{tensor.dtype} {tensor.shape}"
        raise HetcnnError(f"weight '{tensor.name}' is {given}; the network needs {wanted}")
    return numpy_helper.from_array(np.asarray(array), tensor.name)


def _info(tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_value_info(tensor.name, tensor_type(tensor))


def _node(layer: Layer, opset: int) -> onnx.NodeProto:
    node = onnx.NodeProto(name=layer.name, op_type=layer.op, domain=layer.domain)
    node.input.extend("" if t is None else t.name for t in layer.inputs)
    node.output.extend(t.name for t in layer.outputs)
    schema = find_schema(layer.op, layer.domain, opset)
    kinds: Mapping[str, Any] = schema.attributes if schema else {}
    for key, value in layer.attrs.items():
        node.attribute.append(_attribute(layer, key, value, kinds[key].type.value if key in kinds else None))
    return node


def _attribute(layer: Layer, key: str, value: Any, kind: int | None) -> onnx.AttributeProto:
    if kind == onnx.AttributeProto.FLOAT:
        value = float(value)
    elif kind == onnx.AttributeProto.FLOATS:
        value = [float(v) for v in value]
    elif isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    elif isinstance(value, tuple):
        value = [numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for v in value]
    if kind is None and value == []:
        kind = onnx.AttributeProto.INTS
    try:
        return helper.make_attribute(key, value, attr_type=kind)
    except (TypeError, ValueError) as error:
        raise HetcnnError(f"layer '{layer.name}' ({layer.op}): {key} = {value!r}: {error}") from None
