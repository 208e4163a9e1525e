"""ONNX in and out: real graphs, every way a file may lack something, and files that mean harm."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
from collections import Counter
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hetcnn import onnx_io, zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.network import Network
from hetcnn.random_weights import with_random_weights

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
NEWEST = onnx.defs.onnx_opset_version()
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name: str, shape, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def array(name: str, values, dtype="float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return array(name, np.random.default_rng(0).standard_normal(shape))


def model(nodes, inputs, outputs, initializers=(), *, opset: int = 17, **options) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers, value_info=options.pop("value_info", ()))
    domains = {n.domain for n in nodes if n.domain}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in sorted(domains))]
    return helper.make_model(graph, opset_imports=imports, **options)


def load(proto: onnx.ModelProto, **options) -> Network:
    return onnx_io.load(proto.SerializeToString(), **options)


def conv_model(batch="N", side: int | str = 8, **options) -> onnx.ModelProto:
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv", kernel_shape=[3, 3])]
    inputs = [value("x", [batch, 3, side, side])]
    return model(nodes, inputs, [value("y", None)], [weight("w", 4, 3, 3, 3), weight("b", 4)], **options)


CONV_MACS = 36 * 27 * 4

# Real graphs


def counted_by_runtime(path: Path) -> int:
    """Run the file with every convolution and product as an output, and count from the arrays' shapes."""
    proto = onnx.load(path)
    major = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    fills = {n.output[0]: tuple(stored[n.input[0]]) for n in proto.graph.node if n.op_type == "ConstantOfShape"}
    reshaped = {
        n.output[0]: tuple(stored[n.input[1]])
        for n in proto.graph.node
        if n.input[0] in fills and n.op_type == "Reshape"
    }
    weights = fills | reshaped
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in major)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name not in stored}
    arrays = session.run(None, feeds)
    total = 0
    for node, found in zip(major, arrays, strict=True):
        shape = weights[node.input[1]]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        depth = prod(shape[1:]) if node.op_type == "Conv" or transposed else shape[0]
        total += found.size * int(depth)
    return total


@pytest.mark.parametrize("path", LIGHT, ids=lambda p: p.stem)
def test_light_models_have_the_macs_that_onnx_runtime_executes(path):
    network = onnx_io.load(path)
    assert network.macs == counted_by_runtime(path)
    assert network.name == path.stem
    assert network.notes == ()
    assert onnx_io.unknown_operators(network) == Counter()
    assert all(layer.op != "ConstantOfShape" for layer in network)  # folded into weights


def test_nine_light_models_are_shipped():
    assert len(LIGHT) == 9


def test_light_models_by_hand():
    by_name = {path.stem.removeprefix("light_"): onnx_io.load(path) for path in LIGHT}
    vgg = [(224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), *[(56, 256, 256)] * 3]
    vgg += [(28, 256, 512), *[(28, 512, 512)] * 3, *[(14, 512, 512)] * 4]
    convs = sum(side * side * depth * 9 * maps for side, depth, maps in vgg)
    assert by_name["vgg19"].macs == convs + 25088 * 4096 + 4096 * 4096 + 4096 * 1000
    assert by_name["vgg19"].params == 143_667_240
    assert by_name["resnet50"].macs == zoo.load("resnet-50").macs
    assert by_name["resnet50"].params == zoo.load("resnet-50").params
    assert by_name["squeezenet"].macs == zoo.load("squeezenet-1.1").macs
    assert by_name["inception_v1"].params == zoo.load("googlenet").params
    assert by_name["bvlc_alexnet"].params == zoo.load("alexnet-caffe").params


def test_computed_weights_have_their_values():
    network = onnx_io.load(next(p for p in LIGHT if "densenet" in p.stem))
    proto = onnx.load(next(p for p in LIGHT if "densenet" in p.stem))
    fill = next(n for n in proto.graph.node if n.op_type == "ConstantOfShape")
    constant = numpy_helper.to_array(fill.attribute[0].t)
    found = network.weights[fill.output[0]]
    assert (found == constant).all()
    assert found.size > 1
    unsqueezed = next(n for n in proto.graph.node if n.op_type == "Unsqueeze").output[0]
    assert network.weights[unsqueezed].ndim == 3


# Weights


def big_model(path: Path) -> onnx.ModelProto:
    proto = onnx_io.to_model(zoo.load("squeezenet-1.1", seed=1))
    onnx.save(proto, path)
    return proto


def test_weights_are_views_of_the_file_and_equal_it(tmp_path):
    proto = big_model(tmp_path / "m.onnx")
    network = onnx_io.load(tmp_path / "m.onnx")
    for tensor in proto.graph.initializer:
        expected, found = numpy_helper.to_array(tensor), network.weights[tensor.name]
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    kernel = network.weights["conv10.weight"]
    assert not kernel.flags.writeable
    assert not kernel.flags.owndata


def test_load_does_not_read_the_weights(tmp_path):
    big_model(tmp_path / "m.onnx")  # 5 MB
    onnx_io.load(tmp_path / "m.onnx")
    tracemalloc.start()
    try:
        network = onnx_io.load(tmp_path / "m.onnx")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(a.nbytes for a in network.weights.values()) > 4.9e6
    assert peak < 1e6


def test_a_loaded_network_pickles_as_a_reference_to_its_file(tmp_path):
    big_model(tmp_path / "m.onnx")
    network = onnx_io.load(tmp_path / "m.onnx")
    data = pickle.dumps(network)
    assert len(data) < 500_000
    again = pickle.loads(data)
    assert again.layers == network.layers
    assert np.array_equal(again.weights["conv10.weight"], network.weights["conv10.weight"])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int32", "bool", "bfloat16", "int4", "uint4"])
@pytest.mark.parametrize("size", [3, 5001])
@pytest.mark.parametrize("raw", [True, False])
def test_every_element_type_in_raw_and_typed_fields(dtype, size, raw):
    number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = (np.arange(size) % 7).astype(dtype)
    tensor = numpy_helper.from_array(values, "c") if raw else helper.make_tensor("c", number, [size], values.tolist())
    proto = model([helper.make_node("Identity", ["c"], ["y"])], [], [value("y", None, number)], [tensor], opset=21)
    network = load(proto)
    assert network.weights["c"].tolist() == values.tolist()
    assert network.layers[0].inputs[0].dtype == dtype


def test_constant_nodes_become_weights():
    big = weight("", 300, 4)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=big),
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        helper.make_node("Gemm", ["x", "w", "b"], ["y"]),
    ]
    network = load(model(nodes, [value("x", [2, 300])], [value("y", None)]))
    assert [layer.op for layer in network] == ["Gemm"]
    assert network.macs == 2 * 300 * 4
    assert network.params == 1204
    assert np.array_equal(network.weights["w"], numpy_helper.to_array(big))
    assert network.weights["b"].tolist() == [1, 2, 3, 4]


def test_operators_on_constants_are_folded():
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("Identity", ["wt"], ["wi"]),
        helper.make_node("MatMul", ["x", "wi"], ["y"]),
    ]
    network = load(model(nodes, [value("x", [1, 3])], [value("y", None)], [weight("w", 5, 3)]))
    assert [layer.op for layer in network] == ["MatMul"]
    assert network.params == 15
    assert np.array_equal(network.weights["wi"], network.weights["w"].T)


def test_initialisers_listed_as_inputs():
    proto = conv_model(batch=1, ir_version=3)
    proto.graph.input.extend([value("w", [4, 3, 3, 3]), value("b", [4])])
    network = load(proto)
    assert [t.name for t in network.inputs] == ["x"]
    assert (network.macs, network.params) == (CONV_MACS, 112)


def test_weights_that_are_graph_inputs():
    proto = conv_model(batch=1)
    del proto.graph.initializer[:]
    proto.graph.input.extend([value("w", [4, 3, 3, 3]), value("b", [4])])
    network = load(proto)
    assert (network.macs, network.params) == (CONV_MACS, 112)
    assert [t.name for t in network.inputs] == ["x"]
    assert len(network.weights) == 0
    assert "2 of 2 weights are not in the file" in network.notes[0]
    kept = load(proto, weightless_inputs=False)
    assert [t.name for t in kept.inputs] == ["x", "w", "b"]
    assert kept.macs == CONV_MACS


def test_weights_whose_data_is_missing():
    proto = conv_model(batch=1)
    proto.graph.initializer[0].ClearField("raw_data")
    network = load(proto)
    assert (network.macs, network.params) == (CONV_MACS, 112)
    assert "w" not in network.weights
    assert "1 of 2 weights are not in the file, w for instance" in network.notes[0]


# Sizes


def test_symbolic_batch_becomes_one_with_a_note_or_what_dims_say():
    assert load(conv_model()).macs == CONV_MACS
    assert "batch 'N' of input 'x' set to 1; set it with dims={'N': 1}" in load(conv_model()).notes
    four = load(conv_model(), dims={"N": 4})
    assert (four.macs, four.notes) == (4 * CONV_MACS, ())
    assert load(conv_model(batch=None)).macs == CONV_MACS  # nameless
    assert load(conv_model(batch=None), dims={"x.0": 4}).macs == 4 * CONV_MACS


def test_symbolic_image():
    with pytest.raises(HetcnnError, match=r"input 'x' has shape \(N, 3, S, S\): 'S' has no size; .*dims=\{'S': 224\}"):
        load(conv_model(side="S"))
    assert load(conv_model(side="S"), dims={"S": 8}).macs == CONV_MACS
    assert load(conv_model(side="S"), dims={"x": (2, 3, 8, 8)}).macs == 2 * CONV_MACS


def test_dims_mistakes():
    with pytest.raises(HetcnnError, match="unknown dimension 'M'"):
        load(conv_model(), dims={"M": 1})
    for wrong in (0, -1, 1.5, "1", True):
        with pytest.raises(HetcnnError, match="a size is a whole number from 1"):
            load(conv_model(), dims={"N": wrong})
    with pytest.raises(HetcnnError, match=r"input 'x' has 4 axes, got \(1, 3\)"):
        load(conv_model(), dims={"x": (1, 3)})


def test_input_without_shape():
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [value("x", None)], [value("y", None)])
    with pytest.raises(HetcnnError, match=r"input 'x' has no shape; give it one, for instance dims=\{'x':"):
        load(proto)
    assert load(proto, dims={"x": (2, 5)}).outputs[0].shape == (2, 5)


def test_shapes_computed_by_the_graph():
    """x.view(x.size(0), -1), and an image doubled by way of floating point: what exporters write for dynamic sizes."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Unsqueeze", ["batch", "axis"], ["batch1"]),
        helper.make_node("Concat", ["batch1", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["x", "flat"], ["y"]),
        helper.make_node("Slice", ["shape", "two", "four"], ["image"]),
        helper.make_node("Cast", ["image"], ["image_f"], to=FLOAT),
        helper.make_node("Mul", ["image_f", "double"], ["bigger_f"]),
        helper.make_node("Floor", ["bigger_f"], ["floor"]),
        helper.make_node("Cast", ["floor"], ["bigger"], to=INT64),
        helper.make_node("Slice", ["shape", "nil", "two"], ["front"]),
        helper.make_node("Concat", ["front", "bigger"], ["sizes"], axis=0),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["z"]),
    ]
    constants = [array("zero", 0, "int64"), array("double", 2.0)]
    constants += [array(n, [v], "int64") for n, v in (("axis", 0), ("rest", -1), ("nil", 0), ("two", 2), ("four", 4))]
    network = load(model(nodes, [value("x", ["N", 3, 5, 7])], [value("y", None), value("z", None)], constants))
    assert [t.shape for t in network.outputs] == [(1, 105), (1, 3, 10, 14)]
    assert sum(layer.bytes for layer in network if layer.op == "Shape") == 0


# Opsets


def graph_at(opset: int) -> onnx.ModelProto:
    """One network as each opset writes it: bounds, axes, pads, ratios and scales move from attributes to inputs."""
    constants = [weight("w", 8, 3, 3, 3), *(weight(n, 8) for n in "sbmv"), weight("fc", 5, 8)]
    modern: dict[str, list[str]] = {"clip": [], "up": [], "pad": [], "squeeze": [], "mean": []}

    def constant(key: str, name: str, values, dtype: str) -> None:
        constants.append(array(name, values, dtype))
        modern[key].append(name)

    scales, pads = [1.0, 1.0, 2.0, 2.0], [0, 0, 1, 1, 0, 0, 1, 1]
    attrs: dict[str, dict] = {key: {} for key in modern}
    if opset < 11:
        attrs["clip"], attrs["pad"] = {"min": 0.0, "max": 6.0}, {"pads": pads}
    else:
        constant("clip", "low", 0.0, "float32")
        constant("clip", "high", 6.0, "float32")
        constant("pad", "pads", pads, "int64")
    if opset < 9:
        attrs["up"] = {"scales": scales}
    else:
        if opset in (11, 12):
            constant("up", "roi", [], "float32")
        elif opset > 12:
            modern["up"].append("")
        constant("up", "scales", scales, "float32")
    if opset < 13:
        attrs["squeeze"] = {"axes": [2, 3]}
    else:
        constant("squeeze", "axes", [2, 3], "int64")
    if opset < 18:
        attrs["mean"] = {"axes": [2, 3], "keepdims": 1}
    else:
        modern["mean"].append("axes")
    nodes = [
        helper.make_node("Pad", ["x", *modern["pad"]], ["padded"], **attrs["pad"]),
        helper.make_node("Conv", ["padded", "w"], ["conv"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["conv", "s", "b", "m", "v"], ["bn"]),
        helper.make_node("Clip", ["bn", *modern["clip"]], ["clip"], **attrs["clip"]),
        helper.make_node("Upsample" if opset < 10 else "Resize", ["clip", *modern["up"]], ["up"], **attrs["up"]),
        helper.make_node("MaxPool", ["up"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Dropout", ["pool"], ["drop"]),
        helper.make_node("ReduceMean", ["drop", *modern["mean"]], ["mean"], **attrs["mean"]),
        helper.make_node("Squeeze", ["mean", *modern["squeeze"]], ["flat"], **attrs["squeeze"]),
        helper.make_node("Gemm", ["flat", "fc"], ["logits"], transB=1)
        if opset >= 11
        else helper.make_node("Gemm", ["flat", "fc", "zero"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    if opset < 11:
        constants.append(weight("zero", 5))
    return model(nodes, [value("x", [1, 3, 16, 16])], [value("y", [1, 5])], constants, opset=opset)


@pytest.mark.parametrize("opset", range(7, NEWEST + 1))
def test_the_same_network_at_every_opset(opset):
    proto = graph_at(opset)
    onnx.checker.check_model(proto)
    network = load(proto)
    assert network.macs == 64 * 27 * 8 + 8 * 5
    shapes = [layer.outputs[0].shape for layer in network]
    assert shapes == [
        (1, 3, 18, 18),
        *[(1, 8, 8, 8)] * 3,
        (1, 8, 16, 16),
        *[(1, 8, 8, 8)] * 2,
        (1, 8, 1, 1),
        (1, 8),
        (1, 5),
        (1, 5),
    ]
    assert (network.opset, network.notes) == (opset, ())
    again = load(onnx_io.to_model(network))
    assert (again.layers, again.opset) == (network.layers, opset)


def test_an_opset_of_the_future_is_noted():
    network = load(conv_model(batch=1, opset=NEWEST + 3, ir_version=10))
    assert network.macs == CONV_MACS
    assert f"opset {NEWEST + 3} is newer than the installed onnx knows" in network.notes[0]


# Unknown operators


def unknown_model(**options) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Swirl", ["x"], ["a"], domain="com.example", twist=3),
        helper.make_node("Swirl", ["a"], ["b"], domain="com.example"),
        helper.make_node("Fizz", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["y"], name="conv"),
    ]
    return model(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], [weight("w", 4, 3, 3, 3)], **options)


def test_unknown_operators_are_listed_and_counted_as_traffic():
    network = load(unknown_model())
    assert onnx_io.unknown_operators(network) == Counter({"com.example::Swirl": 2, "Fizz": 1})
    assert "unknown operators, counted as traffic only: Fizz x1, com.example::Swirl x2" in network.notes
    assert "shape assumed to be the first input's: a, b, c" in network.notes
    swirl = network.layers[0]
    assert (swirl.macs, swirl.kind, swirl.bytes) == (0, "other", 2 * 4 * 192)
    assert network.macs == CONV_MACS
    assert network.domains == {"com.example": 1}


def test_value_info_beats_the_assumption():
    network = load(unknown_model(value_info=[value("c", ["n", 3, 4, 4])]), dims=None)
    assert network["conv"].outputs[0].shape == (1, 4, 6, 6)  # 'n' is no symbol of an input: the hint is incomplete
    network = load(unknown_model(value_info=[value("c", [1, 3, 4, 4])]))
    assert network["conv"].outputs[0].shape == (1, 4, 2, 2)
    assert "shape assumed to be the first input's: a, b" in network.notes


def test_analysis_survives_shapes_that_an_unknown_operator_made_wrong():
    nodes = [
        helper.make_node("Swirl", ["x"], ["a"], domain="com.example"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="conv"),
        helper.make_node("Reshape", ["b", "shape"], ["y"], name="reshape"),
    ]
    constants = [weight("w", 4, 5, 3, 3), array("shape", [7, 11], "int64")]
    network = load(model(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], constants))
    assert network["conv"].macs == 36 * 45 * 4
    assert network.outputs[0].shape == (7, 11)


def test_subgraphs_count_as_unknown_and_survive_a_round_trip():
    then = helper.make_graph([helper.make_node("Add", ["x", "k"], ["t"])], "then", [], [value("t", [2])])
    other = helper.make_graph([helper.make_node("Relu", ["x"], ["e"])], "else", [], [value("e", [2])])
    nodes = [helper.make_node("If", ["cond"], ["y"], then_branch=then, else_branch=other)]
    inputs = [value("cond", [], TensorProto.BOOL), value("x", [2])]
    network = load(model(nodes, inputs, [value("y", [2])], [array("k", [1.0, 2.0])]))
    assert onnx_io.unknown_operators(network) == Counter({"If": 1})
    assert network.outputs[0].shape == (2,)
    proto = onnx_io.to_model(network)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"cond": np.array(True), "x": np.array([3, 4], np.float32)})
    assert found[0].tolist() == [4, 6]


def test_local_functions_are_inlined():
    body = [helper.make_node("Relu", ["i"], ["h"]), helper.make_node("Conv", ["h", "k"], ["o"])]
    function = helper.make_function("local", "Block", ["i", "k"], ["o"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("Block", ["x", "w"], ["y"], domain="local")]
    proto = model(
        nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], [weight("w", 4, 3, 3, 3)], functions=[function]
    )
    network = load(proto)
    assert [layer.op for layer in network] == ["Relu", "Conv"]
    assert network.macs == CONV_MACS


# Structure


def test_everything_of_a_layer_is_kept():
    nodes = [
        helper.make_node("Resize", ["x", "", "s"], ["r"], mode="cubic", cubic_coeff_a=-0.5),
        helper.make_node("LSTM", ["q", "W", "R"], ["", "h"], hidden_size=3, activations=["Tanh", "Tanh", "Relu"]),
        helper.make_node("ConstantOfShape", ["n"], ["c"], value=array("", [0.25])),
    ]
    inputs = [value("x", [1, 1, 2, 2]), value("q", [4, 1, 2]), value("n", [1], INT64)]
    constants = [array("s", [1, 1, 2, 2]), weight("W", 1, 12, 2), weight("R", 1, 12, 3)]
    proto = model(nodes, inputs, [value("r", None), value("h", None), value("c", [5])], constants)
    resize, lstm, fill = load(proto).layers
    assert resize.inputs[1] is None
    assert dict(resize.attrs) == {"mode": "cubic", "cubic_coeff_a": -0.5}
    assert [(t.name, t.shape) for t in lstm.outputs] == [("", (0,)), ("h", (1, 1, 3))]
    assert lstm.attrs["activations"] == ("Tanh", "Tanh", "Relu")
    assert fill.attrs["value"].tolist() == [0.25]
    assert fill.outputs[0].shape == (5,)
    assert load(onnx_io.to_model(load(proto))).layers == (resize, lstm, fill)


def test_scalars_have_no_axes():
    network = load(
        model([helper.make_node("Add", ["x", "one"], ["y"])], [value("x", [])], [value("y", [])], [array("one", 1.0)])
    )
    assert network.outputs[0].shape == network.inputs[0].shape == ()


def test_names_are_made_unique():
    nodes = [helper.make_node("Relu", ["x"], ["7"]), helper.make_node("Relu", ["7"], ["out"], name="r")]
    nodes += [helper.make_node("Relu", ["out"], ["y"], name="r")]
    names = [layer.name for layer in load(model(nodes, [value("x", [1])], [value("y", [1])]))]
    assert names == ["Relu_7", "r", "r_2"]


def test_nodes_out_of_order_are_sorted():
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Sigmoid", ["x"], ["a"])]
    network = load(model(nodes, [value("x", [1])], [value("y", [1])]))
    assert [layer.op for layer in network] == ["Sigmoid", "Relu"]
    assert "not in topological order" in network.notes[0]


def test_save_writes_what_load_reads(tmp_path):
    network = zoo.load("shufflenet-v2", seed=2)
    onnx_io.save(network, tmp_path / "net.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    back = onnx_io.load(tmp_path / "net.onnx", name="shufflenet-v2")
    assert back == network
    assert set(back.weights) == set(network.weights)
    assert all(np.array_equal(back.weights[n], network.weights[n]) for n in back.weights)


def test_save_mistakes(tmp_path):
    network = zoo.load("lenet-5")
    with pytest.raises(HetcnnError, match="cannot write"):
        onnx_io.save(network, tmp_path / "none" / "net.onnx")
    wrong = network.with_weights({"conv1.weight": np.zeros((6, 1, 3, 3), np.float32)})
    with pytest.raises(HetcnnError, match=r"weight 'conv1.weight' is float32 \(6, 1, 3, 3\); the network needs"):
        onnx_io.save(wrong, tmp_path / "net.onnx")
    b = Builder("giant", (1, 2**15))
    giant = b.build(b.fc(b.input, 2**15)).with_weights({"fc1.weight": np.broadcast_to(np.float32(0), (2**15, 2**15))})
    with pytest.raises(HetcnnError, match=r"network 'giant' has .* of weights; one ONNX file holds"):
        onnx_io.save(giant, tmp_path / "net.onnx")
    assert not any(tmp_path.iterdir())


# External data


def external_model(folder: Path, location: str = "w.bin", **settings: str) -> Path:
    proto = conv_model(batch=1)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **settings}.items():
        tensor.external_data.add(key=key, value=text)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_weights_are_read_from_the_models_folder(tmp_path):
    kernel = np.random.default_rng(3).standard_normal((4, 3, 3, 3), np.float32)
    (tmp_path / "w.bin").write_bytes(b"skip" * 4 + kernel.tobytes() + b"rest")
    network = onnx_io.load(external_model(tmp_path, offset="16", length="432"))
    assert np.array_equal(network.weights["w"], kernel)
    assert network.macs == CONV_MACS


def test_external_file_that_is_missing_leaves_the_shapes(tmp_path):
    network = onnx_io.load(external_model(tmp_path))
    assert network.macs == CONV_MACS
    assert "1 of 2 weights are not in the file" in network.notes[0]


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "sub/../../w.bin", "", "link.bin", "linked/w.bin", "..\\w"]
)
def test_nothing_outside_the_folder_is_read(tmp_path, location):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(432))
    (inside / "link.bin").symlink_to(tmp_path / "w.bin")
    (inside / "linked").symlink_to(tmp_path, target_is_directory=True)
    path = external_model(inside, location)
    with pytest.raises(HetcnnError, match="lies outside the model's folder") as caught:
        onnx_io.load(path)
    assert "\n" not in str(caught.value)
    if location in ("../w.bin", "/etc/passwd", ""):
        with pytest.raises(HetcnnError, match="lies outside the model's folder"):
            onnx_io.load(path.read_bytes())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": "8"}, r"tensor 'w' \(float32 4x3x3x3\) needs 432 B, the file has 424 B"),
        ({"offset": "-4", "length": "432"}, "'w.bin' has 432 B; 'w' wants bytes -4 to 428"),
        ({"length": "9999999999999"}, "wants bytes 0 to 9999999999999"),
        ({"offset": "four"}, "offset and length must be whole numbers"),
    ],
)
def test_external_ranges_are_checked(tmp_path, options, message):
    (tmp_path / "w.bin").write_bytes(bytes(432))
    with pytest.raises(HetcnnError, match=message):
        onnx_io.load(external_model(tmp_path, **options))


# Files that mean harm


def one_line(proto_or_bytes, match: str, **options) -> None:
    data = proto_or_bytes if isinstance(proto_or_bytes, bytes) else proto_or_bytes.SerializeToString()
    with pytest.raises(HetcnnError, match=match) as caught:
        onnx_io.load(data, **options)
    assert "\n" not in str(caught.value)


def test_no_file_or_no_model(tmp_path):
    with pytest.raises(HetcnnError, match=r"no file '.*none\.onnx'"):
        onnx_io.load(tmp_path / "none.onnx")
    with pytest.raises(HetcnnError, match="is not a regular file"):
        onnx_io.load(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(HetcnnError, match="is empty"):
        onnx_io.load(tmp_path / "empty.onnx")
    (tmp_path / "text.onnx").write_text("this is no model\n" * 10)
    with pytest.raises(HetcnnError, match=r"text\.onnx: not an ONNX model"):
        onnx_io.load(tmp_path / "text.onnx")
    one_line(b"", "no graph")
    one_line(weight("w", 40, 40), "not an ONNX model")  # a protobuf, but of another kind
    one_line(LIGHT[0].with_name("light_bvlc_alexnet_output_0.pb").read_bytes(), "not an ONNX model")


def test_every_truncation_is_an_error():
    data = conv_model(batch=1).SerializeToString()
    for size in range(len(data) - 20):
        with pytest.raises(HetcnnError):
            onnx_io.load(data[:size])


def test_cycles_and_names_that_nothing_or_too_much_writes():
    io = [value("x", [1])], [value("y", [1])]
    circle = [helper.make_node("Add", ["x", "b"], ["a"], name="p"), helper.make_node("Relu", ["a"], ["b"], name="q")]
    one_line(model([*circle, helper.make_node("Relu", ["b"], ["y"])], *io), "the graph has a cycle: (p -> q|q -> p)")
    one_line(model([helper.make_node("Add", ["x", "y"], ["y"], name="p")], *io), "cycle")
    one_line(
        model([helper.make_node("Relu", ["z"], ["y"], name="p")], *io), r"layer 'p' \(Relu\) reads 'z', which nothing"
    )
    twice = [helper.make_node("Relu", ["x"], ["y"], name=n) for n in "pq"]
    one_line(model(twice, *io), "layer 'q' .* writes 'y', which is already defined")
    one_line(model([helper.make_node("Relu", ["x"], ["a"])], *io), "output 'y' is written by no layer")
    one_line(model([helper.make_node("Relu", ["x"], [])], *io), "has no output")


@pytest.mark.parametrize(
    "shape", [[1, 3, -8, 8], [1, 3, 2**41], [2**21, 2**20], [2**62, 2**62, 2**62], [0, 2**62], [1] * 60]
)
def test_absurd_shapes(shape):
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [value("x", shape)], [value("y", None)])
    one_line(proto, "tensor 'x' has (shape .*sizes are 0 or more, elements at most|60 axes)")
    tensor = TensorProto(name="x", dims=shape, data_type=FLOAT)
    one_line(model([helper.make_node("Relu", ["x"], ["y"])], [], [value("y", None)], [tensor]), "tensor 'x' has")


HARM = {
    "tile": (helper.make_node("Tile", ["x", "c"], ["y"]), [2**30, 2**30]),
    "expand": (helper.make_node("Expand", ["x", "c"], ["y"]), [2**30, 2**30]),
    "fill": (helper.make_node("ConstantOfShape", ["c"], ["y"]), [2**30, 2**30]),
    "split": (helper.make_node("Split", ["x"], ["y"], num_outputs=2**31 - 1, axis=0), [1]),
    "stride": (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], strides=[0, 0]), [1]),
    "kernel": (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2**40, 1]), [1]),
    "depth": (helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=0), [1]),
    "axis": (helper.make_node("Softmax", ["x"], ["y"], axis=99), [1]),
    "inputs": (helper.make_node("Conv", ["x"], ["y"]), [1]),
    "pad": (helper.make_node("Pad", ["x", "c"], ["y"]), [0, 2**60, 0, 2**60]),
}


@pytest.mark.parametrize("name", HARM)
def test_huge_repeats_and_impossible_attributes(name):
    node, constant = HARM[name]
    proto = model([node], [value("x", [4, 4])], [value("y", None)], [array("c", constant, "int64")], opset=18)
    one_line(proto, "layer|tensor 'y' has")


def test_shapes_that_contradict_each_other():
    io = [value("x", [1, 3, 8, 8])], [value("y", None)]
    one_line(
        model([helper.make_node("Conv", ["x", "w"], ["y"])], *io, [weight("w", 4, 5, 3, 3)]), "channels do not fit"
    )
    one_line(model([helper.make_node("Conv", ["x", "w"], ["y"])], *io, [weight("w", 4, 3, 9, 9)]), "does not fit into")
    gemm = [helper.make_node("Gemm", ["x", "w"], ["y"])]
    one_line(
        model(gemm, [value("x", [2, 3])], [value("y", None)], [weight("w", 4, 5)]),
        "layer 'y' .Gemm. on .2, 3., .4, 5.: Dimension mismatch",
    )


def test_wrong_weights():
    proto = conv_model(batch=1)
    proto.graph.initializer[0].raw_data = bytes(431)
    one_line(proto, r"tensor 'w' \(float32 4x3x3x3\) needs 432 B, the file has 431 B")
    proto = conv_model(batch=1)
    proto.graph.initializer[0].data_type = 99
    one_line(proto, "element type 99 is unknown")
    proto = conv_model(batch=1)
    proto.graph.initializer.append(weight("w", 2))
    one_line(proto, "a stored tensor is named 'w'; names must be unique")


def test_functions_that_never_end():
    def function(name: str, *calls: str) -> onnx.FunctionProto:
        body = [
            helper.make_node(c, ["i" if k == 0 else f"v{k - 1}"], [f"v{k}"], domain="f") for k, c in enumerate(calls)
        ]
        body.append(helper.make_node("Relu", [f"v{len(calls) - 1}" if calls else "i"], ["o"]))
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        return helper.make_function("f", name, ["i"], ["o"], body, imports)

    nodes = [helper.make_node("F0", ["x"], ["y"], domain="f")]
    io = [value("x", [1])], [value("y", [1])]
    one_line(model(nodes, *io, functions=[function("F0", "F1"), function("F1", "F0")]), "call each other in a circle")
    bomb = [function(f"F{i}", *[f"F{i + 1}"] * 10) for i in range(20)] + [function("F20")]
    one_line(model(nodes, *io, functions=bomb), "functions expand to more than 100000 nodes")


def test_more_parts_than_any_network_has():
    nodes = b"\x0a\x00" * 1_100_000  # empty nodes, two bytes each
    length = onnx.GraphProto(name="x" * 2_200_000).SerializeToString()[1:5]
    one_line(b"\x3a" + length + nodes + b"\x12\x00", "not a CNN|not an ONNX model|more than")


@pytest.mark.skipif(sys.platform != "linux", reason="address-space limits are Linux's")
def test_hostile_files_take_no_memory(tmp_path):
    """All of the above again, in a process that may not grow beyond 1.5 GB of address space."""
    import subprocess

    for name, (node, constant) in HARM.items():
        proto = model([node], [value("x", [4, 4])], [value("y", None)], [array("c", constant, "int64")], opset=18)
        (tmp_path / f"{name}.onnx").write_bytes(proto.SerializeToString())
    code = (
        "import pathlib, resource, sys; from hetcnn import onnx_io; from hetcnn.errors import HetcnnError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1536 << 20,) * 2)\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).glob('*.onnx')):\n"
        "    try: onnx_io.load(path)\n"
        "    except HetcnnError: print(path.stem)\n"
    )
    environment = {
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": "/usr/bin",
        "PYTHONPATH": str(Path(onnx_io.__file__).parents[1]),
    }
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == sorted(HARM), done.stderr


def seed_models() -> list[bytes]:
    b = Builder("small", (1, 4, 12, 12))
    x = b.conv_bn_relu6(b.input, 8, 3, pad=1, stride=2, name="c1")
    left, right = b.split(x, 2)
    x = b.channel_shuffle(b.concat(left, b.conv(right, 4, 3, pad=1, group=4)))
    x = b.slice(b.lrn(b.max_pool(x, 3, stride=2, ceil_mode=True)), 0, 4)
    small = b.build(b.softmax(b.fc(b.dropout(b.global_avg_pool(b.pad(x, (1, 1, 1, 1)))), 10)))
    protos = [onnx_io.to_model(small), onnx_io.to_model(with_random_weights(small)), conv_model(), unknown_model()]
    return [p.SerializeToString() for p in (*protos, graph_at(9), graph_at(18))]


SEEDS = seed_models()
EDIT = st.tuples(
    st.floats(0, 1), st.sampled_from(["set", "delete", "insert", "copy", "cut"]), st.binary(min_size=1, max_size=12)
)


def edited(data: bytes, edits) -> bytes:
    out = bytearray(data)
    for place, kind, new in edits:
        at = int(place * len(out))
        if kind == "set":
            out[at : at + len(new)] = new
        elif kind == "delete":
            del out[at : at + len(new)]
        elif kind == "insert":
            out[at:at] = new
        elif kind == "copy":
            out[at:at] = out[at // 2 : at // 2 + 8 * len(new)]
        else:
            del out[at:]
    return bytes(out)


def survives(data: bytes) -> None:
    try:
        network = onnx_io.load(data)
    except HetcnnError as error:
        assert "\n" not in str(error)  # noqa: PT017  # either outcome is right
    else:
        assert network.macs >= 0
        assert network.params >= 0
        assert all(layer.bytes >= 0 for layer in network)
        assert sum(map(len, network.segments)) == len(network)
        onnx_io.unknown_operators(network)


@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SEEDS), st.lists(EDIT, min_size=1, max_size=4))
def test_edited_bytes_end_in_a_network_or_an_error(data, edits):
    survives(edited(data, edits))


NUMBERS = st.sampled_from([0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63), 2**63 - 1])
OPS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})


@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SEEDS), st.integers(0, 10**6), st.sampled_from(range(8)), NUMBERS, st.sampled_from(OPS))
def test_edited_graphs_end_in_a_network_or_an_error(data, index, kind, number, op):
    proto = onnx.ModelProto.FromString(data)
    graph = proto.graph
    node = graph.node[index % len(graph.node)]
    tensor = graph.initializer[index % len(graph.initializer)] if graph.initializer else TensorProto()
    dims = graph.input[0].type.tensor_type.shape.dim
    if kind == 0:
        node.op_type = op
    elif kind == 1 and node.attribute:
        attribute = node.attribute[index % len(node.attribute)]
        attribute.i = number
        attribute.ints[:] = [number for _ in attribute.ints]
    elif kind == 2 and node.attribute:
        del node.attribute[index % len(node.attribute)]
    elif kind == 3 and node.input:
        node.input[index % len(node.input)] = graph.node[index // 7 % len(graph.node)].output[0]
    elif kind == 4 and tensor.dims:
        tensor.dims[index % len(tensor.dims)] = number
    elif kind == 5 and tensor.data_type == INT64:
        tensor.raw_data = np.full(len(tensor.raw_data) // 8, number, np.int64).tobytes()
    elif kind == 6:
        dims[index % len(dims)].dim_value = number
    else:
        proto.opset_import[0].version = number
    survives(proto.SerializeToString())


def test_dims_of_the_wrong_kind_are_told():
    with pytest.raises(HetcnnError, match=r"'x' is an input with 4 axes; give all its sizes, e\.g\. dims=\{'x': \(3,"):
        load(conv_model(), dims={"x": 3})
    with pytest.raises(HetcnnError, match=r"'N' is one dimension, got \(2, 3\); e\.g\. dims=\{'N': 2\}"):
        load(conv_model(), dims={"N": (2, 3)})
    with pytest.raises(HetcnnError, match=r"unknown dimension 'M'; Known: N, x$"):
        load(conv_model(), dims={"M": 1})
    with pytest.raises(HetcnnError, match=r"unknown dimension 'N'; this model has no symbolic dimension; inputs: x$"):
        load(conv_model(batch=1), dims={"N": 1})
    vector = model([helper.make_node("Relu", ["v"], ["y"])], [value("v", ["L"])], [value("y", ["L"])])
    assert load(vector, dims={"v": 5}).outputs[0].shape == (5,)
