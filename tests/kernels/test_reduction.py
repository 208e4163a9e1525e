import itertools
from math import exp, log, prod, sqrt

import numpy as np
import pytest

from hetcnn.errors import HetcnnError
from hetcnn.kernels import reduction
from hetcnn.kernels.registry import operator

DEFINITIONS = {
    "ReduceL1": lambda v: sum(map(abs, v)),
    "ReduceL2": lambda v: sqrt(sum(u * u for u in v)),
    "ReduceLogSum": lambda v: log(sum(v)),
    "ReduceLogSumExp": lambda v: log(sum(map(exp, v))),
    "ReduceMax": max,
    "ReduceMean": lambda v: sum(v) / len(v),
    "ReduceMin": min,
    "ReduceProd": prod,
    "ReduceSum": sum,
    "ReduceSumSquare": lambda v: sum(u * u for u in v),
}
AXES = [None, (0,), (1, 2), (-1,), (0, 1, 2)]


def reduce_loops(x, axes, keepdims, definition):
    over = set(range(x.ndim)) if axes is None else {a % x.ndim for a in axes}
    y = np.empty([1 if i in over else n for i, n in enumerate(x.shape)])
    for place in itertools.product(*map(range, y.shape)):
        ranges = [range(n) if i in over else [place[i]] for i, n in enumerate(x.shape)]
        y[place] = definition([float(x[at]) for at in itertools.product(*ranges)])
    return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in over])


@pytest.mark.parametrize("op", DEFINITIONS)
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions_are_their_definitions(op, axes, keepdims):
    x = np.random.default_rng(0).random((2, 3, 4)) + 0.5
    want = reduce_loops(x, axes, keepdims, DEFINITIONS[op])
    given = [x] if axes is None else [x, np.array(axes)]
    (got,) = operator(op, opset=18)(given, {"keepdims": keepdims})
    np.testing.assert_allclose(got, want, rtol=1e-12)
    attrs = {"keepdims": keepdims} | ({} if axes is None else {"axes": axes})
    np.testing.assert_array_equal(operator(op, opset=11)([x], attrs)[0], got)


@pytest.mark.parametrize("op", DEFINITIONS)
def test_no_axes_means_all_or_none(op, runtime):
    x = np.random.default_rng(0).random((2, 3)).astype(np.float32) + np.float32(0.5)
    empty = np.array([], np.int64)
    (got,) = operator(op, opset=18)([x, empty], {"noop_with_empty_axes": 1})
    assert got.shape == x.shape
    (got,) = operator(op, opset=18)([x, empty], {})
    np.testing.assert_allclose(got, runtime(op, [x, empty], opset=18)[0], rtol=1e-5)


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin"])
def test_integers_stay_integers(op, runtime):
    x = np.array([[1, -2, 3], [4, 5, -6]], np.int32)
    (got,) = operator(op, opset=13)([x], {"keepdims": 0})
    assert got.dtype == np.int32
    assert got == runtime(op, [x], {"keepdims": 0}, opset=13)[0]


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("last", [0, 1])
def test_places_of_extremes_agree_with_onnx_runtime(op, axis, last, runtime):
    x = np.random.default_rng(0).integers(0, 3, (4, 5)).astype(np.float32)  # with many ties
    for keepdims in (0, 1):
        attrs = {"axis": axis, "select_last_index": last, "keepdims": keepdims}
        np.testing.assert_array_equal(operator(op)([x], attrs)[0], runtime(op, [x], attrs)[0])


def test_log_sum_exp_does_not_overflow():
    x = np.array([[1e4, 1e4], [-1e4, -np.inf]])
    np.testing.assert_allclose(reduction.reduce_log_sum_exp(x, [1], keepdims=0), [1e4 + log(2), -1e4])


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sums_agree_with_onnx_runtime(exclusive, reverse, runtime):
    x = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    attrs = {"exclusive": exclusive, "reverse": reverse}
    got = reduction.cumsum(x, np.array(1), **attrs)
    np.testing.assert_array_equal(got, runtime("CumSum", [x, np.array(1)], attrs)[0])


def test_an_axis_beyond_the_shape_is_one_line():
    with pytest.raises(HetcnnError, match="axis 3: expected -2 to 1 for a tensor of 2 axes"):
        reduction.reduce_sum(np.zeros((2, 2)), [3])
    with pytest.raises(HetcnnError, match="axis -3"):
        reduction.argmax(np.zeros((2, 2)), axis=-3)
