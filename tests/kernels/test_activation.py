from math import erf, exp, log, pi, sqrt, tanh

import numpy as np
import pytest

from hetcnn.errors import HetcnnError
from hetcnn.kernels import activation as act
from hetcnn.kernels.registry import operator

POINTS = [-30.0, -3.5, -1.0, -0.5, -1e-3, 0.0, 1e-3, 0.4, 1.0, 2.9, 3.0, 6.5, 30.0]

SCALAR = {  # the definition of one number, in plain Python
    "Celu": (lambda v, alpha: max(0, v) + min(0, alpha * (exp(v / alpha) - 1)), {"alpha": 2.0}),
    "Elu": (lambda v, alpha: v if v > 0 else alpha * (exp(v) - 1), {"alpha": 1.5}),
    "Erf": (erf, {}),
    "Gelu": (lambda v: v * 0.5 * (1 + erf(v / sqrt(2))), {}),
    "HardSigmoid": (lambda v, alpha, beta: max(0, min(1, alpha * v + beta)), {"alpha": 0.3, "beta": 0.4}),
    "HardSwish": (lambda v: v * max(0, min(1, v / 6 + 0.5)), {}),
    "LeakyRelu": (lambda v, alpha: v if v >= 0 else alpha * v, {"alpha": 0.2}),
    "Mish": (lambda v: v * tanh(log(1 + exp(v))), {}),
    "Relu": (lambda v: max(v, 0), {}),
    "Selu": (lambda v, alpha, gamma: gamma * (v if v > 0 else alpha * (exp(v) - 1)), {"alpha": 1.6, "gamma": 1.1}),
    "Shrink": (
        lambda v, bias, lambd: v + bias if v < -lambd else v - bias if v > lambd else 0,
        {"bias": 0.3, "lambd": 1.2},
    ),
    "Sigmoid": (lambda v: 1 / (1 + exp(-v)), {}),
    "Softplus": (lambda v: log(1 + exp(v)), {}),
    "Softsign": (lambda v: v / (1 + abs(v)), {}),
    "Tanh": (tanh, {}),
    "ThresholdedRelu": (lambda v, alpha: v if v > alpha else 0, {"alpha": 0.7}),
}


@pytest.mark.parametrize("op", SCALAR)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_every_element_is_the_definition(op, dtype):
    definition, attrs = SCALAR[op]
    x = np.array(POINTS, dtype).reshape(1, -1)
    (y,) = operator(op, opset=20)([x], attrs)
    assert y.dtype == dtype
    assert y.shape == x.shape
    want = [definition(float(v), **attrs) for v in x.ravel()]
    accuracy = {np.float64: 1e-12, np.float32: 1e-6, np.float16: 2e-3}[dtype]
    np.testing.assert_allclose(y.ravel(), np.array(want), rtol=accuracy, atol=accuracy)


@pytest.mark.parametrize("op", [op for op in SCALAR if op not in ("Gelu", "Mish")])
def test_onnx_runtime_agrees(op, runtime):
    x = np.array(POINTS, np.float32)
    attrs = SCALAR[op][1]
    (got,) = operator(op)([x], attrs)
    np.testing.assert_allclose(got, runtime(op, [x], attrs)[0], rtol=1e-5, atol=2e-6)


def test_gelu_with_tanh_is_its_formula_and_near_the_exact_one():
    x = np.array(POINTS)
    want = [0.5 * v * (1 + tanh(sqrt(2 / pi) * (v + 0.044715 * v**3))) for v in POINTS]
    np.testing.assert_allclose(act.gelu(x, approximate="tanh"), want, atol=1e-12)
    np.testing.assert_allclose(act.gelu(x, approximate="tanh"), act.gelu(x), atol=1e-3)
    with pytest.raises(HetcnnError, match="approximate 'tan'"):
        act.gelu(x, approximate="tan")


def test_nothing_overflows():
    x = np.array([-1e30, -1e4, 1e4, 1e30], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert act.sigmoid(x).tolist() == [0, 0, 1, 1]
        assert act.softplus(x).tolist() == [0, 0, 1e4, float(np.float32(1e30))]
        assert act.elu(x)[:2].tolist() == [-1, -1]
        assert act.softmax(x[None]).tolist() == [[0, 0, 0, 1]]


def test_prelu_has_one_slope_per_channel():
    x = -np.ones((1, 3, 2, 2))
    slope = np.array([0.1, 0.2, 0.3])
    assert act.prelu(x, slope.reshape(3, 1, 1))[0, :, 0, 0].tolist() == [-0.1, -0.2, -0.3]
    assert act.prelu(x, slope)[0, :, 1, 1].tolist() == [-0.1, -0.2, -0.3]


@pytest.mark.parametrize(("low", "high", "want"), [(None, 2, [-5, 0, 2]), (-1, None, [-1, 0, 5]), (3, 1, [1, 1, 1])])
def test_clip_holds_between_its_bounds(low, high, want, runtime):
    x = np.array([-5, 0, 5], np.float32)
    bounds = [None if b is None else np.array(b, np.float32) for b in (low, high)]
    assert act.clip(x, *bounds).tolist() == want
    assert runtime("Clip", [x, *bounds])[0].tolist() == want


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_agrees_with_onnx_runtime_before_and_after_opset_13(op, axis, opset, runtime):
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    if opset < 13 and axis < 0 and op == "Hardmax":
        axis = 2
    (want,) = runtime(op, [x], {"axis": axis}, opset=opset)
    np.testing.assert_allclose(operator(op, opset=opset)([x], {"axis": axis})[0], want, atol=1e-6)
    (want,) = runtime(op, [x], {}, opset=opset)
    np.testing.assert_allclose(operator(op, opset=opset)([x], {})[0], want, atol=1e-6)


def test_softmax_is_a_distribution_that_shifts_do_not_change():
    x = np.random.default_rng(0).standard_normal((3, 5)) * 10
    y = act.softmax(x)
    np.testing.assert_allclose(y.sum(axis=1), 1)
    np.testing.assert_allclose(act.softmax(x + 500), y, rtol=1e-9)
    np.testing.assert_allclose(np.exp(act.log_softmax(x)), y, rtol=1e-9)
    loops = [[exp(v) / sum(exp(u) for u in row) for v in row] for row in x.tolist()]
    np.testing.assert_allclose(y, loops, rtol=1e-9)
