"""Few bits: rounding by hand, against the integer operators and ONNX Runtime, and on photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from hetcnn import images, onnx_io, zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.kernels import accuracy
from hetcnn.kernels.interpreter import Interpreter
from hetcnn.network import Network

RNG = np.random.default_rng(0)


def tiny() -> Network:
    """A residual block and a classifier, with random weights."""
    b = Builder("tiny", (1, 3, 12, 12))
    x = b.conv_relu(b.input, 8, 3, pad=1, name="stem")
    y = b.conv(b.relu6(b.conv(x, 8, 3, pad=1, group=8, name="dw"), name="dw6"), 8, 1, name="pw")
    x = b.conv_relu(b.add(x, y, name="sum"), 8, 3, stride=2, name="last")
    return zoo_weights(b.build(b.fc(b.global_avg_pool(x), 5, name="fc")))


def zoo_weights(network: Network) -> Network:
    from hetcnn.random_weights import with_random_weights

    return with_random_weights(network, 3)


def inputs(count: int) -> list[Any]:
    return list(RNG.standard_normal((count, 1, 3, 12, 12)).astype(np.float32))


def relative(got: Any, want: Any) -> float:
    return float(np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)))


def test_rounding_by_hand() -> None:
    """A 1x1 convolution with 3 bits: weights of -3..3 steps of 0.5, inputs of 0..7 steps, results of -7..0 or so."""
    b = Builder("one", (1, 1, 1, 4))
    net = b.build(b.conv(b.input, 1, 1, bias=False, name="c"))
    net = net.with_weights({"c.weight": np.full((1, 1, 1, 1), 1.5, np.float32)})
    x = np.array([0, 1.2, 3.4, 7.0], np.float32).reshape(1, 1, 1, 4)
    got = Interpreter.of(accuracy.simulated(net, [x], 3)).run(x)["c"]
    # inputs 0, 1, 3, 7; times 1.5: 0, 1.5, 4.5, 10.5; the result ranged over 0 to 10.5: steps of 1.5
    assert got.reshape(-1).tolist() == [0, 1.5, 4.5, 10.5]
    beyond = np.array([-5, 0.4, 6.5, 9.0], np.float32).reshape(1, 1, 1, 4)  # saturates at 0 and 7; 6.5 goes to even
    got = Interpreter.of(accuracy.simulated(net, [x], 3)).run(beyond)["c"]
    assert got.reshape(-1).tolist() == [0, 0, 9.0, 10.5]


def test_the_zero_point_is_rounded() -> None:
    """2 bits over -1.4 to 1.6: steps of 1, and 0 lies 1.4 steps above the lowest code, that is 1."""
    b = Builder("one", (1, 1, 1, 4))
    net = b.build(b.relu(b.conv(b.input, 1, 1, bias=False, name="c"), name="y"))
    net = net.with_weights({"c.weight": np.ones((1, 1, 1, 1), np.float32)})
    x = np.array([-1.4, -0.4, 0.6, 1.6], np.float32).reshape(1, 1, 1, 4)
    values = dict(Interpreter.of(accuracy.simulated(net, [x], 2)).activations(x))
    assert values["input/rounded"].reshape(-1).tolist() == [-1, 0, 1, 2]
    np.testing.assert_allclose(values["y"].reshape(-1), [0, 0, 1.0667, 1.6], atol=1e-4)  # steps of 1.6 / 3


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [2, 5])
def test_weights_and_activations_have_that_many_values(bits: int, per_channel: bool) -> None:
    net, xs = tiny(), inputs(3)
    rounded = accuracy.simulated(net, xs, bits, per_channel=per_channel)
    for layer in rounded.layers:
        if layer.op in ("Conv", "Gemm"):
            weight = np.asarray(rounded.weights[layer.inputs[1].name])
            filters = weight.reshape(len(weight), -1) if per_channel else weight.reshape(1, -1)
            for row in filters:
                steps = row / np.abs(row).max() * (2 ** (bits - 1) - 1)
                np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    values = dict(Interpreter.of(rounded).activations(xs[0]))
    products = [layer for layer in rounded.layers if layer.op in ("Conv", "Gemm")]
    for layer in products:
        assert len(np.unique(values[layer.inputs[0].name])) <= 2**bits, layer.name
    assert len(np.unique(values["fc"])) <= 2**bits
    assert len(np.unique(values["fc/exact"])) == 5


@pytest.mark.parametrize("per_channel", [True, False])
def test_simulated_8_bits_are_the_integer_operators(per_channel: bool) -> None:
    """Both round the same numbers to the same codes; float sums may flip a tie, by one step of the output."""
    net, xs = tiny(), inputs(8)
    scheme = "int-per-channel" if per_channel else "int-per-tensor"
    integers = accuracy.quantised(net, xs, scheme, 8)
    assert {"QLinearConv", "QuantizeLinear"} <= {layer.op for layer in integers.layers}
    one, other = Interpreter.of(integers), Interpreter.of(accuracy.simulated(net, xs, 8, per_channel=per_channel))
    pairs = [(one.run(x)["fc"], other.run(x)["fc"]) for x in xs]
    want = np.concatenate([Interpreter.of(net).run(x)["fc"] for x in xs])
    step = (max(want.max(), 0) - min(want.min(), 0)) / 255
    differences = np.concatenate([np.abs(a - b).reshape(-1) for a, b in pairs])
    assert differences.max() <= 1.001 * step
    assert (differences > 0.1 * step).mean() < 0.2


def test_onnx_runtime_runs_the_simulation_too() -> None:
    net, xs = tiny(), inputs(4)
    rounded = accuracy.simulated(net, xs, 6)
    session = onnxruntime.InferenceSession(onnx_io.to_model(rounded).SerializeToString())
    own = Interpreter.of(rounded)
    assert [t.name for t in rounded.outputs] == [t.name for t in net.outputs]
    for x in xs:
        want = session.run(None, {"input": x})[0]
        step = np.abs(want).max() / 31
        assert np.abs(own.run(x)["fc"] - want).max() <= 2 * step


def test_two_more_bits_quarter_the_error() -> None:
    """Uniform rounding: the error halves with each bit, whatever the scheme's scales."""
    net, xs = tiny(), inputs(12)
    for scheme in ("fixed-point", "int-per-tensor", "int-per-channel"):
        want = np.concatenate([Interpreter.of(net).run(x)["fc"] for x in xs])
        error = {}
        for bits in (6, 10, 14):
            run = Interpreter.of(accuracy.quantised(net, xs, scheme, bits))
            error[bits] = relative(np.concatenate([run.run(x)["fc"] for x in xs]), want)
        assert 16 / 2 < error[6] / error[10] < 16 * 2, (scheme, error)
        assert 16 / 2 < error[10] / error[14] < 16 * 2, (scheme, error)


def test_q8_8_keeps_8_bits_before_the_point() -> None:
    net, xs = tiny(), inputs(2)
    formats = {
        (layer.attrs["fraction"], layer.attrs["bits"])
        for layer in accuracy.quantised(net, xs, "Q8.n", 16).layers
        if layer.op == "ToFixed"
    }
    assert formats == {(8, 16)}
    with pytest.raises(HetcnnError, match=r"Q8.n in 6 bits; it has 8 before the point"):
        accuracy.quantised(net, xs, "Q8.n", 6)


def fake(network: Network) -> Any:
    """Three classes that depend on the network's kind and on the image's first number: what a table can be made of."""

    def run(x: Any) -> Any:
        number = int(x.reshape(-1)[0])
        is_float = not any(
            op in {layer.op for layer in network.layers} for op in ("ToFixed", "QuantizeLinear", "Round")
        )
        winner = number if is_float or number else 1  # every quantised network takes class 1 for class 0
        return np.eye(3, dtype=np.float32)[[winner]] * (1 if is_float else 3)

    return run


def test_the_table_by_hand() -> None:
    net = tiny()
    samples = {name: np.full((1, 3, 12, 12), n, np.float32) for name, n in (("a", 0), ("a 1", 1), ("b", 2), ("b 1", 0))}
    found = accuracy.against_bits(net, samples, bits=(4, 8), run=fake, labels={"a": 1, "b": 2})
    assert found.float_choice.values.tolist() == [0, 1, 2, 0]
    assert np.isnan(found.agreement.sel(scheme="Q8.n", bits=4))
    assert found.choice.sel(scheme="Q8.n", bits=4).values.tolist() == [-1] * 4
    ran = found.agreement.values[~np.isnan(found.agreement.values)]
    assert ran.tolist() == [0.5] * 7  # two of four differ
    # 0: (1, 0, 0) becomes (0, 3, 0), twice; 1 and 2: 1 becomes 3; over four ones
    np.testing.assert_allclose(found.error.sel(scheme="int-per-tensor"), ((10 + 4 + 4 + 10) / 4) ** 0.5)
    assert found.accuracy.sel(scheme="Q8.n", bits=8) == 1.0
    assert found.float_accuracy == 0.5
    assert found.simulated.sel(bits=8).values.tolist() == [False] * 4
    assert found.simulated.sel(bits=4).values.tolist() == [False, False, True, True]
    for name in ("agreement", "error", "choice", "float_choice", "accuracy"):
        assert {"units", "long_name"} <= found[name].attrs.keys()
    assert found.bits.attrs["units"] == "bit"


def test_mistakes_are_explained() -> None:
    net, x = tiny(), inputs(1)[0]
    with pytest.raises(HetcnnError, match="unknown scheme 'int8'"):
        accuracy.against_bits(net, {"a": x}, schemes=["int8"])
    for bits in (1, 17, 8.5, True):
        with pytest.raises(HetcnnError, match="a width is a whole number from 2 to 16"):
            accuracy.against_bits(net, {"a": x}, bits=[bits])  # type: ignore[list-item]
    with pytest.raises(HetcnnError, match=r"sample 'a' is float64 \(1, 3, 12, 12\); the network needs float32"):
        accuracy.against_bits(net, {"a": x.astype(np.float64)})
    with pytest.raises(HetcnnError, match=r"sample 'a' is float32 \(3, 12, 12\)"):
        accuracy.against_bits(net, {"a": x[0]})
    with pytest.raises(HetcnnError, match="no samples"):
        accuracy.against_bits(net, {})
    with pytest.raises(HetcnnError, match="unknown image in labels 'b'"):
        accuracy.against_bits(net, {"a": x}, labels={"b": 1})
    with pytest.raises(HetcnnError, match="one of batch 1 is needed"):
        accuracy.against_bits(zoo.load("lenet-5", batch=2, seed=0), {"a": x})


def test_photographs_and_their_variations() -> None:
    found = accuracy.photographs(2)
    assert [name for name in found if " " not in name] == list(images.photographs())
    assert len(found) == 3 * len(images.photographs())
    assert all(x.shape == (1, 3, 224, 224) and x.dtype == np.float32 for x in found.values())
    np.testing.assert_array_equal(found["coffee"], images.prepare(images.photograph("coffee")))
    assert len({x.tobytes() for x in found.values()}) == len(found)
    other = accuracy.photographs(2, seed=1)
    assert not np.array_equal(found["coffee 1"], other["coffee 1"])


@pytest.mark.slow
def test_trained_weights_on_photographs() -> None:
    """What is known of this network's kind: 8 bits per channel are enough, 4 are not, and 8 per tensor lose more."""
    samples = accuracy.photographs(0)
    schemes = ("Q8.n", "int-per-tensor", "int-per-channel")
    found = accuracy.against_bits(zoo.efficientnet_lite0(pretrained=True), samples, bits=(4, 8, 16), schemes=schemes)
    known = {"chelsea": 282, "coffee": 967, "camera": 872, "rocket": 657}
    assert found.float_choice.sel(image=list(known)).values.tolist() == list(known.values())
    assert found.agreement.sel(scheme="int-per-channel", bits=8) == 1
    assert found.agreement.sel(scheme="int-per-channel", bits=16) == 1
    assert found.agreement.sel(scheme="int-per-channel", bits=4) < 0.6
    errors = found.error.sel(bits=8)
    assert errors.sel(scheme="int-per-channel") < 0.1 < errors.sel(scheme="int-per-tensor")
    assert errors.sel(scheme="int-per-tensor") < errors.sel(scheme="Q8.n")
    assert found.error.sel(scheme="int-per-channel", bits=16) < 0.01
