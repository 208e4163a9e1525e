import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hetcnn.errors import HetcnnError
from hetcnn.kernels import backend
from hetcnn.kernels.backend import HetcnnBackend


def model_of(nodes, inputs, outputs, initializers=(), opset=17):
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph(nodes, "g", infos, results, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


SCALE = numpy_helper.from_array(np.array([2.0], np.float32), "w")
MUL = helper.make_node("Mul", ["x", "w"], ["y"], name="mul")


def test_a_model_runs_again_and_again():
    prepared = backend.prepare(model_of([MUL], [("x", [1, 2])], ["y"], [SCALE]))
    for value in (1.0, 3.0):
        outputs = prepared.run([np.full((1, 2), value, np.float32)])
        assert outputs[0].tolist() == [[2 * value] * 2]
    assert prepared.run({"x": np.zeros((1, 2), np.float32)})[0].tolist() == [[0, 0]]
    assert backend.run_model(prepared_model(), np.ones((1, 2), np.float32))[0].tolist() == [[2, 2]]


def prepared_model():
    return model_of([MUL], [("x", [1, 2])], ["y"], [SCALE])


@pytest.mark.parametrize("shape", [["N", 2], None, [None, 2]])
def test_open_sizes_are_taken_as_they_come(shape):
    prepared = backend.prepare(model_of([MUL], [("x", shape)], ["y"], [SCALE]))
    for batch in (1, 5):
        assert prepared.run([np.ones((batch, 2), np.float32)])[0].shape == (batch, 2)


def test_weights_listed_among_the_inputs_are_no_inputs():
    model = model_of([MUL], [("x", [1, 2]), ("w", [1])], ["y"], [SCALE])
    for direct in (False, True):
        assert HetcnnBackend.prepare(model, direct=direct).run([np.ones((1, 2), np.float32)])[0].tolist() == [[2, 2]]


def test_constants_in_the_graph_both_ways():
    nodes = [
        helper.make_node("Constant", [], ["w"], value_floats=[2.0, 3.0]),
        helper.make_node("Neg", ["w"], ["v"]),
        helper.make_node("Mul", ["x", "v"], ["y"]),
    ]
    model = model_of(nodes, [("x", [1, 2])], ["y"])
    for direct in (False, True):
        assert HetcnnBackend.prepare(model, direct=direct).run([np.ones((1, 2), np.float32)])[0].tolist() == [[-2, -3]]


def test_local_functions_are_expanded():
    double = helper.make_function(
        "mine", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = model_of([helper.make_node("Double", ["x"], ["y"], domain="mine")], [("x", [2])], ["y"]).graph
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[double], ir_version=8)
    for direct in (False, True):
        assert HetcnnBackend.prepare(model, direct=direct).run([np.ones(2, np.float32)])[0].tolist() == [2, 2]


def test_sparse_weights_are_filled_in():
    values = numpy_helper.from_array(np.array([5.0], np.float32), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1]), "places"), [2])
    model = model_of([MUL], [("x", [1, 2])], ["y"])
    model.graph.sparse_initializer.append(sparse)
    for direct in (False, True):
        assert HetcnnBackend.prepare(model, direct=direct).run([np.ones((1, 2), np.float32)])[0].tolist() == [[0, 5]]


def test_single_nodes():
    node = helper.make_node("MaxPool", ["x"], ["y", "at"], kernel_shape=[2], strides=[2])
    y, at = backend.run_node(node, [np.array([[[1.0, 4.0, 2.0, 3.0]]], np.float32)])
    assert (y.tolist(), at.tolist()) == ([[[4, 3]]], [[[1, 3]]])
    old = helper.make_node("Softmax", ["x"], ["y"])
    whole = backend.run_node(old, {"x": np.zeros((1, 2, 2))}, opset_version=11)[0]
    assert whole.tolist() == [[[0.25, 0.25], [0.25, 0.25]]]
    clip = helper.make_node("Clip", ["x", "", "high"], ["y"])
    assert backend.run_node(clip, [np.array([1.0, 9.0]), np.array(6.0)])[0].tolist() == [1, 6]


def test_only_the_cpu():
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    with pytest.raises(HetcnnError, match="device 'CUDA': only CPU"):
        backend.prepare(prepared_model(), "CUDA")
    with pytest.raises(HetcnnError, match="device 'CUDA': only CPU"):
        backend.run_node(helper.make_node("Relu", ["x"], ["y"]), [np.ones(1)], "CUDA")


def test_compatibility_is_known_beforehand():
    assert HetcnnBackend.is_compatible(prepared_model())
    unknown = model_of([helper.make_node("Trilu", ["x"], ["y"], name="cut")], [("x", [1, 2])], ["y"], [SCALE])
    assert not HetcnnBackend.is_compatible(unknown)
    for direct in (False, True):
        with pytest.raises(HetcnnError, match="layer 'cut': unsupported operator 'Trilu'"):
            HetcnnBackend.prepare(unknown, direct=direct)


@pytest.mark.parametrize("direct", [False, True])
def test_what_is_wrong_is_one_line(direct):
    dangling = model_of([MUL], [("x", [1, 2])], ["y"])
    with pytest.raises(HetcnnError, match="'w'"):
        HetcnnBackend.prepare(dangling, direct=direct).run([np.ones((1, 2), np.float32)])
    outside = model_of([MUL], [("x", [1, 2])], ["y"], [SCALE])
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(HetcnnError, match="outside"):
        HetcnnBackend.prepare(outside, direct=direct)
    with pytest.raises(HetcnnError, match="shape"):
        HetcnnBackend.prepare(prepared_model(), direct=direct).run([np.ones((1, 3), np.float32)])


def test_a_model_of_nothing_but_strings_passes_them_on():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [2])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [2])],
    )
    model = helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    assert backend.run_model(model, [np.array(["a", "b"])])[0].tolist() == ["a", "b"]
