import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels import indexing
from hetcnn.kernels.registry import operator

quick = settings(derandomize=True, deadline=None, max_examples=60)


def test_what_is_split_can_be_joined():
    x = np.arange(42).reshape(2, 7, 3)
    for parts in (indexing.split(x, [1, 4, 2], axis=1), indexing.split(x, axis=-2, num_outputs=3)):
        np.testing.assert_array_equal(indexing.concat(*parts, axis=1), x)
    assert [p.shape[1] for p in indexing.split(x, axis=1, num_outputs=3)] == [3, 3, 1]


def test_before_opset_18_the_number_of_outputs_says_how_to_split():
    x = np.arange(6.0)
    assert [p.tolist() for p in operator("Split", opset=13, outputs=3)([x], {"axis": 0})] == [[0, 1], [2, 3], [4, 5]]
    assert [p.tolist() for p in operator("Split", opset=11, outputs=2)([x], {"split": (1, 5)})] == [
        [0],
        [1, 2, 3, 4, 5],
    ]


def test_parts_that_do_not_fit_are_one_line():
    with pytest.raises(HetcnnError, match="do not add up to the 6 elements"):
        indexing.split(np.zeros(6), [1, 2])
    with pytest.raises(HetcnnError, match=r"\(1, 2\), \(1, 3\)"):
        indexing.concat(np.zeros((1, 2)), np.zeros((1, 3)), axis=0)


@quick
@given(st.integers(-12, 12), st.integers(-12, 12), st.sampled_from([-3, -2, -1, 1, 2, 3]), st.integers(-2, 1))
def test_slices_follow_pythons_rules(start, end, step, axis):
    x = np.arange(30).reshape(5, 6)
    want = x[start:end:step] if axis in (0, -2) else x[:, start:end:step]
    np.testing.assert_array_equal(indexing.cut(x, [start], [end], [axis], [step]), want)


def test_both_forms_of_slice(runtime):
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    attrs = {"starts": (0, -3), "ends": (1, 1000), "axes": (1, 2)}
    (old,) = operator("Slice", opset=9)([x], attrs)
    (new,) = operator("Slice")([x, *(np.array(attrs[k]) for k in ("starts", "ends", "axes"))], {})
    np.testing.assert_array_equal(old, x[:, 0:1, -3:])
    np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(runtime("Slice", [x, *map(np.array, attrs.values())])[0], new)
    with pytest.raises(HetcnnError, match="no step 0"):
        indexing.cut(x, [0], [1], [0], [0])
    with pytest.raises(HetcnnError, match="only 3 axes"):
        indexing.cut(x, [0] * 4, [1] * 4)


def pad_loops(x, before, after, mode, value):
    """Look every element up: inside, mirrored, at the edge, or around."""
    n = len(x)
    y = []
    for i in range(-before, n + after):
        if 0 <= i < n:
            y.append(x[i])
        elif mode == "constant":
            y.append(value)
        elif mode == "edge":
            y.append(x[0 if i < 0 else n - 1])
        elif mode == "wrap":
            y.append(x[i % n])
        else:
            period = 2 * (n - 1)
            j = i % period
            y.append(x[j if j < n else period - j])
    return y


@quick
@given(
    st.integers(2, 5), st.integers(0, 4), st.integers(0, 4), st.sampled_from(["constant", "reflect", "edge", "wrap"])
)
def test_padding_is_the_definition(size, before, after, mode):
    x = list(range(1, size + 1))
    got = indexing.pad(np.array(x), [before, after], 9, mode=mode)
    assert got.tolist() == pad_loops(x, before, after, mode, 9)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padding_agrees_with_onnx_runtime(mode, runtime):
    x = np.arange(24.0, dtype=np.float32).reshape(1, 2, 3, 4)
    pads = np.array([0, 0, 1, 2, 0, 0, 2, 1])
    value = np.array(7, np.float32) if mode == "constant" else None
    got = indexing.pad(x, pads, value, mode=mode)
    inputs = [x, pads] if value is None else [x, pads, value]
    np.testing.assert_array_equal(got, runtime("Pad", inputs, {"mode": mode})[0])


def test_negative_padding_crops_and_axes_choose():
    x = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(indexing.pad(x, [-1, 0, 0, -2]), x[1:, :2])
    np.testing.assert_array_equal(indexing.pad(x, [1, -1], axes=[-1])[:, 0], 0)
    with pytest.raises(HetcnnError, match="expected 4"):
        indexing.pad(x, [1, 1])
    with pytest.raises(HetcnnError, match="unknown mode 'zero'"):
        indexing.pad(x, [1, 1, 1, 1], mode="zero")


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gathering_is_the_definition(axis, runtime):
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    indices = np.array([[1, 0], [-1, 1]])
    y = indexing.gather(x, indices, axis=axis)
    at = axis % 3
    for place in itertools.product(*map(range, y.shape)):
        index = indices[place[at : at + 2]]
        assert y[place] == x[(*place[:at], index, *place[at + 2 :])]
    np.testing.assert_array_equal(y, runtime("Gather", [x, indices], {"axis": axis})[0])


@pytest.mark.parametrize("axis", [0, 1])
def test_gathering_elements_is_the_definition(axis, runtime):
    x = np.arange(9.0, dtype=np.float32).reshape(3, 3)
    indices = np.array([[1, -1, 0], [2, 0, 0]])
    y = indexing.gather_elements(x, indices, axis=axis)
    for i, j in itertools.product(range(2), range(3)):
        k = indices[i, j]
        assert y[i, j] == (x[k, j] if axis == 0 else x[i, k])
    np.testing.assert_array_equal(y, runtime("GatherElements", [x, indices], {"axis": axis})[0])


@pytest.mark.parametrize("batch_dims", [0, 1])
def test_gathering_slices_agrees_with_onnx_runtime(batch_dims, runtime):
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    indices = np.array([[[1, 0]], [[0, -1]]])
    y = indexing.gather_nd(x, indices, batch_dims=batch_dims)
    np.testing.assert_array_equal(y, runtime("GatherND", [x, indices], {"batch_dims": batch_dims})[0])


@pytest.mark.parametrize("function", [indexing.gather, indexing.gather_elements, indexing.gather_nd])
def test_an_index_outside_is_one_line(function):
    with pytest.raises(HetcnnError, match="outside"):
        function(np.zeros((2, 3)), np.array([[5, 5]]))
