from dataclasses import replace

import numpy as np
import pytest

from hetcnn import onnx_io, zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.kernels.interpreter import Interpreter, Port, run
from hetcnn.network import Layer, Network, Tensor
from hetcnn.random_weights import with_random_weights


def tiny():
    b = Builder("tiny", (2, 3, 6, 6))
    x = b.relu(b.conv(b.input, 4, 3, name="conv"), name="relu")
    return with_random_weights(b.build(b.fc(b.global_avg_pool(x, name="gap"), 5, name="fc")))


@pytest.mark.parametrize("name", zoo.names())
def test_every_network_of_the_zoo_agrees_with_onnx_runtime(name, runtime_model):
    size = {"lenet-5": 28, "alexnet-caffe": 67}.get(name, 64)
    network = zoo.load(name, image=size, seed=0)
    x = np.random.default_rng(0).standard_normal(network.inputs[0].shape, np.float32)
    (want,) = runtime_model(onnx_io.to_model(network), {"input": x}).values()
    (got,) = run(network, x).values()
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def test_inputs_come_in_order_by_name_or_alone():
    network = tiny()
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)
    results = [run(network, feed)["fc"] for feed in (x, [x], {"input": x})]
    assert results[0].shape == (2, 5)
    assert all((r == results[0]).all() for r in results)


def test_the_activations_are_all_results_in_order():
    network = tiny()
    x = np.ones((2, 3, 6, 6), np.float32)
    seen = dict(Interpreter.of(network).activations(x))
    assert list(seen) == ["input", "conv", "relu", "gap", "fc/flatten", "fc"]
    np.testing.assert_array_equal(seen["relu"], np.maximum(seen["conv"], 0))
    np.testing.assert_allclose(seen["gap"][..., 0, 0], seen["relu"].mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(seen["fc"], run(network, x)["fc"])


def test_a_tensor_is_dropped_after_its_last_reader():
    """A chain of a hundred ReLUs never holds more than two of its tensors."""
    b = Builder("chain", (1, 4))
    x = b.input
    for _ in range(100):
        x = b.relu(x)
    interpreter = Interpreter.of(b.build(x))
    values = interpreter._start(np.zeros((1, 4), np.float32))
    most = max(len(values) for _ in interpreter._steps(values, keep=frozenset(interpreter.outputs)))
    assert most <= 3
    assert list(values) == ["relu100"]


def test_outputs_may_also_be_read_inside_and_be_inputs():
    b = Builder("both", (1, 2))
    x = b.relu(b.input, name="a")
    network = b.build(x, b.add(x, x, name="twice"), b.input)
    values = run(network, np.array([[-1, 3]], np.float32))
    assert {k: v.tolist() for k, v in values.items()} == {"a": [[0, 3]], "twice": [[0, 6]], "input": [[-1, 3]]}


def test_a_second_run_starts_afresh():
    interpreter = Interpreter.of(tiny())
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)
    first = interpreter.run(x)["fc"]
    assert not np.allclose(interpreter.run(2 * x)["fc"], first)
    np.testing.assert_array_equal(interpreter.run(x)["fc"], first)


def test_a_result_is_no_view_of_an_input_or_a_weight():
    b = Builder("views", (1, 4))
    network = b.build(b.reshape(b.input, (2, 2), name="y"), b.input)
    x = np.ones((1, 4), np.float32)
    results = run(network, x)
    x[:] = 7
    assert all((y == 1).all() for y in results.values())


def one(op, inputs, outputs, **options):
    layer = Layer("the-node", op, inputs, outputs, options.pop("attrs", {}), options.pop("domain", ""))
    data = tuple(dict.fromkeys(t for t in inputs if t is not None and not t.constant))
    return Network("broken", data, (layer,), outputs, **options)


X, Y = Tensor("x", (1, 3)), Tensor("y", (1, 3))
W = Tensor("w", (3, 3), constant=True)
GOOD = np.zeros((1, 3), np.float32)


@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (one("Relu", (X,), (Y,)), {"z": GOOD}, "unknown input 'z'.*Known: x"),
        (one("Relu", (X,), (Y,)), {}, "input 'x' is missing; the network needs x"),
        (one("Relu", (X,), (Y,)), [GOOD, GOOD], "2 inputs; the network needs 1: x"),
        (one("Relu", (X,), (Y,)), GOOD[:, :2], r"input 'x' has shape \(1, 2\); the network needs \(1, 3\)"),
        (one("Relu", (X,), (Y,)), GOOD.astype(float), "input 'x' is float64; the network needs float32"),
        (one("Relu", (X,), (Y,)), [[["a"]]], "input 'x' is .*; the network needs float32"),
        (one("Rely", (X,), (Y,)), GOOD, "layer 'the-node': unsupported operator 'Rely'; the nearest .* is 'Relu'"),
        (one("Relu", (X,), (Y,), domain="com.acme"), GOOD, "layer 'the-node': unsupported operator 'com.acme::Relu'"),
        (
            one("MatMul", (X, W), (Y,)),
            GOOD,
            r"layer 'the-node' \(MatMul\) reads the weight 'w', which network 'broken'",
        ),
        (
            one("MatMul", (X, W), (Y,), weights={"w": np.zeros((3, 2), np.float32)}),
            GOOD,
            r"layer 'the-node' \(MatMul\): weight 'w' is float32 \(3, 2\); the network needs float32 \(3, 3\)",
        ),
        (
            one("MatMul", (X, X), (Y,)),
            GOOD,
            r"layer 'the-node' \(MatMul\): shapes \(1, 3\) and \(1, 3\) do not multiply",
        ),
        (one("Relu", (X,), (Y,), attrs={"alpha": 1}), GOOD, r"layer 'the-node' \(Relu\): .*unexpected.*'alpha'"),
        (one("Conv", (X,), (Y,)), GOOD, r"layer 'the-node' \(Conv\): .*missing.*'w'"),
        (one("MaxPool", (X,), (Y,)), GOOD, r"layer 'the-node' \(MaxPool\): "),
        (one("Add", (X, X, X), (Y,)), GOOD, r"layer 'the-node' \(Add\): Add takes 2 inputs"),
        (one("Relu", (X,), (Y, Tensor("z", (1, 3)))), GOOD, r"layer 'the-node' \(Relu\) has 2 outputs, not 1"),
        (one("Sub", (X, X), (Y,), attrs={"axis": 1}), GOOD, r"layer 'the-node' \(Sub\): "),
    ],
)
def test_every_mistake_is_one_line_that_names_the_node(network, inputs, message):
    with pytest.raises(HetcnnError, match=message) as caught:
        run(network, inputs)
    assert "\n" not in str(caught.value)


def test_a_domain_can_be_no_onnx_domain():
    network = one("Relu", (X,), (Y,))
    network = replace(network, layers=(replace(network.layers[0], domain="ai.onnx"),))
    assert run(network, GOOD)["y"].shape == (1, 3)


def test_open_sizes_take_any_number():
    port = Port("x", "float32", (None, 3))
    assert port.checked(np.zeros((7, 3), np.float32)).shape == (7, 3)
    with pytest.raises(HetcnnError, match=r"needs \(any, 3\)"):
        port.checked(np.zeros((7, 4), np.float32))
