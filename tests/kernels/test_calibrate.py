import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest

from hetcnn import onnx_io, zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.kernels import calibrate, fixed_point
from hetcnn.kernels.calibrate import agreement, layer_errors, ranges
from hetcnn.kernels.interpreter import Interpreter, run
from hetcnn.kernels.to_int8 import Int8
from hetcnn.random_weights import with_random_weights


def images(network, count=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(network.inputs[0].shape, np.float32) for _ in range(count)]


def everything():
    """All the patterns at once: fused and free ReLUs, sums, products, concatenation, pools, moves, host operators."""
    b = Builder("everything", (1, 3, 12, 12))
    x = b.conv_bn_relu6(b.input, 8, 3, pad=1, name="stem")
    y = b.conv_relu(x, 8, 3, pad=1, name="left")
    z = b.conv(x, 8, 1, name="right")
    x = b.relu(b.add(y, z, name="sum"), name="sum/relu")
    x = b.concat(
        x,
        b.conv(x, 4, 1, name="narrow"),
        b.conv_relu(x, 4, 1, name="wide"),
        b.dropout(b.max_pool(b.conv(x, 8, 1, name="own"), 3, stride=1, pad=1, name="pool")),
        name="concat",
    )
    x = b.channel_shuffle(x, 2, name="shuffle")
    left, right = b.split(x, 2, name="split")
    x = b.mul(left, b.sigmoid(right, name="gate"), name="product")
    x = b.batch_norm(x, name="norm")
    x = b.lrn(b.avg_pool(x, 2, stride=2, name="average"), 3, name="lrn")
    x = b.dropout(b.global_avg_pool(x, name="gap"), name="dropout")
    return with_random_weights(b.build(b.softmax(b.fc(x, 5, name="fc"), name="softmax")), seed=3)


NETWORKS = {
    "everything": everything,
    **{n: (lambda n=n: zoo.load(n, image=48, seed=0)) for n in ("resnet-18", "shufflenet-v2")},
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


@pytest.mark.parametrize("per_channel", [True, False])
def test_int8_networks_are_onnx_and_onnx_runtime_computes_the_same(network, per_channel, runtime_model):
    samples = images(network)
    small = calibrate.int8(network, samples, per_channel=per_channel).network
    model = onnx_io.to_model(small)
    onnx.checker.check_model(model, full_check=True)
    x = images(network, seed=9)[0]
    (want,) = runtime_model(model, {"input": x}).values()
    (got,) = run(small, x).values()
    # every integer is the same; the float operators in between may round a value that lies between two codes otherwise
    np.testing.assert_allclose(got, want, atol=2e-3 * want.max())
    assert [t.name for t in small.outputs] == ["softmax"]


def test_int8_layers_chain_on_codes():
    """What is joined shares a code, pools and moves need none of their own, and weights use all of their range."""
    network = everything()
    small = calibrate.int8(network, images(network)).network
    for name in ("pool", "concat", "shuffle/swap", "split"):
        assert {t.dtype for t in (*small[name].data, *small[name].outputs)} == {"int8"}
    for layer in small.layers:
        if layer.op == "QLinearConv":
            codes = small.weights[f"{layer.name}/weight"]
            assert (np.abs(codes.astype(int)).reshape(len(codes), -1).max(axis=1) == 127).all()


def test_int8_weights_are_a_quarter():
    network = zoo.load("shufflenet-v2", image=64, seed=0)
    samples = images(network)
    small = calibrate.int8(network, samples)
    size = sum(w.nbytes for w in small.network.weights.values())
    assert size < 0.35 * sum(w.nbytes for w in small.original.weights.values())


@pytest.mark.parametrize(("bits", "fraction"), [(16, 8), (16, None), (12, None)])
def test_fixed_point_networks_compute_on_words(network, bits, fraction):
    samples = images(network)
    fixed = calibrate.fixed_point(network, samples, bits=bits, fraction=fraction)
    machine = {"Conv", "Gemm", "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Mul", "Clip"}
    for layer in fixed.network.layers:
        if layer.op in machine:
            assert layer.domain == fixed_point.DOMAIN
            assert {t.dtype for t in (*layer.inputs, *layer.outputs)} == {"int16"}
    most = 2 ** (bits - 1)
    for _, values in Interpreter.of(fixed.network).activations(samples[0]):
        if values.dtype == np.int16:
            assert values.min() >= -most
            assert values.max() < most
    error = layer_errors(fixed, samples[0]).relative.max()
    assert error < {(16, 8): 0.15, (16, None): 0.002, (12, None): 0.05}[bits, fraction]


def test_more_bits_mean_less_error(network):
    samples = images(network)
    errors = [
        np.median(layer_errors(calibrate.fixed_point(network, samples, bits=bits, fraction=None), samples[0]).relative)
        for bits in (8, 11, 14)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert 4 < coarse / fine < 16  # three bits: eight times


def test_one_scale_per_filter_is_more_accurate_than_one_for_all():
    network = everything()
    weights = dict(network.weights)
    weights["left.weight"] = weights["left.weight"] * np.logspace(-2, 0, 8, dtype=np.float32).reshape(-1, 1, 1, 1)
    network, samples = network.with_weights(weights), images(network)
    whole, each = (layer_errors(calibrate.int8(network, samples, per_channel=p), samples[0]) for p in (False, True))
    at = whole.layers.index("left/relu")
    assert each.relative[at] < whole.relative[at]


def test_errors_of_exact_networks_are_zero_and_of_coarse_ones_predictable():
    """One identity convolution: the error is that of rounding to multiples of 1/256, uniform over half a step."""
    b = Builder("identity", (1, 1, 64, 64))
    network = b.build(b.conv(b.input, 1, 1, bias=False, name="c"))
    network = network.with_weights({"c.weight": np.ones((1, 1, 1, 1), np.float32)})
    x = np.random.default_rng(0).uniform(-1, 1, (1, 1, 64, 64)).astype(np.float32)
    errors = layer_errors(calibrate.fixed_point(network, x), x)
    assert errors.layers == ("input", "c")
    np.testing.assert_allclose(errors.rms, 2**-8 / 12**0.5, rtol=0.03)
    assert (errors.largest <= 2**-9).all()
    np.testing.assert_allclose(errors.sqnr, 20 * np.log10(3**-0.5 / (2**-8 / 12**0.5)), atol=0.3)
    on_grid = (np.round(x * 256) / 256).astype(np.float32)
    assert layer_errors(calibrate.fixed_point(network, on_grid), on_grid).largest.tolist() == [0, 0]


def test_one_fraction_for_all_needs_no_samples():
    network = everything()
    x = images(network)[0]
    (one,), (other,) = (run(calibrate.fixed_point(network, s).network, x).values() for s in (None, x))
    np.testing.assert_array_equal(one, other)


def test_values_beyond_the_words_are_reported_as_clipped():
    b = Builder("large", (1, 1, 2, 2))
    network = b.build(b.conv(b.input, 1, 1, bias=False, name="c"))
    network = network.with_weights({"c.weight": np.full((1, 1, 1, 1), 100, np.float32)})
    x = np.array([1, 1.2, 1.4, 1.6], np.float32).reshape(1, 1, 2, 2)
    errors = layer_errors(calibrate.fixed_point(network, x), x)
    assert errors.clipped.tolist() == [0, 0.5]
    assert errors.largest[1] == pytest.approx(160 - fixed_point.Q8_8.high, rel=1e-3)


def test_errors_come_as_a_labelled_dataset():
    network = everything()
    samples = images(network)
    found = layer_errors(calibrate.int8(network, samples), samples[0]).dataset()
    assert found.sizes["layer"] == len(found.op) > 5
    assert found.sqnr.attrs["units"] == "dB"
    assert (found.relative == found.rms / found.scale).all()


def test_calibration_sees_the_extremes_of_all_samples():
    b = Builder("tiny", (1, 2))
    network = b.build(b.relu(b.input, name="y"))
    samples = [np.array([[-1, 2]], np.float32), np.array([[-5, 1]], np.float32)]
    assert ranges(network, samples) == {"input": (-5, 2), "y": (0, 2)}


@pytest.mark.parametrize("values", [(-1.0, 2.0), (0.0, 6.0), (-3.0, -1.0), (0.0, 0.0), (0.5, 9.0)])
def test_int8_codes_hold_the_range_and_zero_exactly(values):
    code = Int8.of(values)
    assert code.decode(np.array(code.zero_point, np.int8)) == 0
    assert code.low <= min(values[0], 0) + code.scale / 2
    assert code.high >= max(values[1], 0) - code.scale / 2


def test_agreement_counts_the_images_of_a_batch():
    network = zoo.load("lenet-5", seed=0, batch=8)
    x = np.random.default_rng(0).random((8, 1, 28, 28), np.float32)
    exact = calibrate.fixed_point(network, x, fraction=None)
    assert agreement(exact, x) == 1.0
    blind = replace(exact, network=exact.network.with_weights({k: v * 0 for k, v in exact.network.weights.items()}))
    assert agreement(blind, x) < 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, x: calibrate.int8(zoo.load("lenet-5"), x), "weight 'conv1.weight'"),
        (lambda n, x: calibrate.int8(n, x * np.nan), "needs finite samples"),
        (lambda n, x: calibrate.int8(n, []), "at least one sample"),
        (lambda n, x: calibrate.int8(n, x[:, :, :9]), "input 'input' has shape"),
        (lambda n, x: calibrate.fixed_point(n, x, bits=1), "2 to 16"),
        (lambda n, x: calibrate.fixed_point(n, fraction=None), "needs samples"),
    ],
)
def test_mistakes_are_one_line(call, message):
    network = zoo.load("lenet-5", seed=0)
    with pytest.raises(HetcnnError, match=message):
        call(network, images(network)[0])
