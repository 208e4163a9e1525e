import numpy as np
import onnx
import pytest
from onnx import helper

from hetcnn.errors import HetcnnError
from hetcnn.kernels import cast


def test_the_numbers_of_types_are_onnxs():
    known = {v: k for k, v in onnx.TensorProto.DataType.items() if k != "UNDEFINED"}
    assert cast.TYPES.keys() >= known.keys()
    for number in known:
        assert cast.dtype_of(number) == helper.tensor_dtype_to_np_dtype(number)
    with pytest.raises(HetcnnError, match="element type 99"):
        cast.dtype_of(99)


NUMBERS = ["float32", "float64", "float16", "int8", "int32", "int64", "uint8", "bool"]


@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("target", NUMBERS)
def test_conversions_agree_with_onnx_runtime(source, target, runtime):
    x = np.array([0, 1, 2.75, 100.5], np.float64).astype(source)
    number = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    (want,) = runtime("Cast", [x], {"to": number})
    got = cast.cast(x, to=number)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_text_and_back():
    x = np.array([[1.5, -2.0]], np.float32)
    words = cast.cast(x, to=8)
    assert words.dtype == object
    np.testing.assert_array_equal(cast.cast(words, to=1), x)
    assert cast.cast(np.array(["7", "-3"], object), to=6).tolist() == [7, -3]
    assert cast.cast(np.array(["2.9"], object), to=6).tolist() == [2]
    with pytest.raises(HetcnnError, match="no number"):
        cast.cast(np.array(["seven"], object), to=6)


def test_eight_bit_floats_saturate_on_demand():
    x = np.array([1e6, -1e6, 448.0, np.nan], np.float32)  # e4m3fn ends at 448
    held = cast.cast(x, to=17).astype(np.float32)
    np.testing.assert_array_equal(held, [448, -448, 448, np.nan])
    lost = cast.cast(x, to=17, saturate=0).astype(np.float32)
    np.testing.assert_array_equal(lost, [np.nan, np.nan, 448, np.nan])


@pytest.mark.parametrize(("mode", "want"), [("up", [1, 2, 2, 4]), ("down", [1, 1, 1, 2]), ("nearest", [1, 1, 2, 4])])
def test_powers_of_two_round_as_told(mode, want):
    x = np.array([1.0, 1.25, 1.5, 3.25], np.float32)
    assert cast.cast(x, to=24, round_mode=mode).astype(np.float32).tolist() == want


def test_integer_ranges():
    for name, want in (("int8", (-128, 127)), ("uint16", (0, 65535)), ("int64", (-(2**63), 2**63 - 1))):
        assert cast.integer_range(np.dtype(name)) == want
    assert cast.integer_range(cast.dtype_of(26)) == (-2, 1)
    with pytest.raises(HetcnnError, match="float32"):
        cast.integer_range(np.dtype("float32"))


def test_bits_are_kept():
    x = np.array([-1, 1], np.int32)
    assert cast.bit_cast(x, to=12).tolist() == [2**32 - 1, 1]
    with pytest.raises(HetcnnError, match="same size"):
        cast.bit_cast(x, to=7)
