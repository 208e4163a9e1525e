import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels import elementwise
from hetcnn.kernels.registry import operator

PAIRS = ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "Mod", "PRelu"]


@pytest.mark.parametrize("op", PAIRS)
@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((4, 1, 3), (2, 1)), ((), (2, 2))])
def test_broadcasting_agrees_with_onnx_runtime(op, shapes, runtime):
    if op == "PRelu" and shapes[0] != np.broadcast_shapes(*shapes):
        return
    rng = np.random.default_rng(0)
    a, b = (rng.random(s, np.float32) + np.float32(0.5) for s in shapes)
    attrs = {"fmod": 1} if op == "Mod" else {}
    (want,) = runtime(op, [a, b], attrs)
    (got,) = operator(op)([a, b], attrs)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(-128, 127), st.integers(-128, 127).filter(bool))
def test_integer_division_cuts_towards_zero(a, b):
    want = int(a / b)
    if want == 128:
        return
    assert int(elementwise.divide(np.array(a, np.int8), np.array(b, np.int8))) == want
    assert int(elementwise.modulo(np.array(a), np.array(b), fmod=1)) == a - b * want
    assert int(elementwise.modulo(np.array(a), np.array(b))) == a % b


@pytest.mark.parametrize(
    "op", ["Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Reciprocal", "Round", "Sign", "Sin", "Sqrt"]
)
def test_functions_of_one_number_agree_with_onnx_runtime(op, runtime):
    x = np.array([0.25, 0.5, 1.5, 2.5, 3.999], np.float32)
    x = x if op == "Sqrt" else np.concatenate([x, -x])
    np.testing.assert_allclose(operator(op)([x], {})[0], runtime(op, [x])[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"])
def test_comparisons_agree_with_onnx_runtime(op, runtime):
    a, b = np.array([[1.0, 2.0, 3.0]], np.float32), np.array([[2.0], [np.nan]], np.float32)
    np.testing.assert_array_equal(operator(op)([a, b], {})[0], runtime(op, [a, b])[0])


def test_sums_and_means_of_many_operands():
    arrays = [np.full((2, 1), v) for v in (1.0, 2.0, 6.0)]
    assert elementwise.total(*arrays, np.zeros(3)).tolist() == [[9.0] * 3] * 2
    assert elementwise.mean(*arrays).tolist() == [[3.0]] * 2
    assert elementwise.total(arrays[0]).tolist() == [[1.0]] * 2
    with pytest.raises(HetcnnError, match="no operands"):
        elementwise.total()


def test_powers_keep_the_type_of_the_base(runtime):
    base, exponent = np.array([1, 2, 3], np.int64), np.array([2, 2, 3], np.float32)
    (want,) = runtime("Pow", [base, exponent])
    got = elementwise.power(base, exponent)
    assert got.dtype == want.dtype == np.int64
    assert got.tolist() == want.tolist() == [1, 4, 27]


def test_before_opset_7_operands_are_aligned_by_an_axis():
    a, b = np.zeros((2, 3, 4, 5)), np.arange(12.0).reshape(3, 4)
    (y,) = operator("Add", opset=6)([a, b], {"broadcast": 1, "axis": 1})
    assert y.shape == a.shape
    np.testing.assert_array_equal(y[1, :, :, 2], b)
    with pytest.raises(HetcnnError, match="broadcast=1"):
        operator("Mul", opset=6)([a, b], {})


def test_selection_and_infinities():
    x = np.array([-np.inf, np.nan, 1.0, np.inf])
    assert elementwise.is_inf(x).tolist() == [True, False, False, True]
    assert elementwise.is_inf(x, detect_positive=0).tolist() == [True, False, False, False]
    assert elementwise.where(np.array([[True], [False]]), np.array([1, 2]), np.array(0)).tolist() == [[1, 2], [0, 0]]


def test_bits_move_left_and_right():
    x = np.array([1, 128, 255], np.uint8)
    two = np.array([1, 1, 4], np.uint8)
    assert elementwise.bit_shift(x, two, direction="LEFT").tolist() == [2, 0, 240]
    assert elementwise.bit_shift(x, two, direction="RIGHT").tolist() == [0, 64, 15]
    with pytest.raises(HetcnnError, match="direction 'UP'"):
        elementwise.bit_shift(x, two, direction="UP")
