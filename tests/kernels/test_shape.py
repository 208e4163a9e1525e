import itertools

import numpy as np
import pytest

from hetcnn.errors import HetcnnError
from hetcnn.kernels import shape


@pytest.mark.parametrize(
    ("target", "want"),
    [((4, -1), (4, 6)), ((0, 12), (2, 12)), ((0, 0, 2, 2), (2, 3, 2, 2)), ((-1,), (24,)), ((24, 1), (24, 1))],
)
def test_reshape_keeps_the_order_of_elements(target, want, runtime):
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    y = shape.reshape(x, np.array(target))
    assert y.shape == want
    assert y.ravel().tolist() == list(range(24))
    assert runtime("Reshape", [x, np.array(target)])[0].shape == want


@pytest.mark.parametrize(
    ("target", "message"), [((5, 5), "24 elements"), ((-1, -1), "fit"), ((1, 1, 24, 0), "no such axis")]
)
def test_reshape_refuses_in_one_line(target, message):
    with pytest.raises(HetcnnError, match=message):
        shape.reshape(np.zeros((2, 3, 4)), target)


def test_reshape_to_nothing_needs_allowzero():
    assert shape.reshape(np.zeros((0, 3)), (3, 0), allowzero=1).shape == (3, 0)


@pytest.mark.parametrize(("axis", "want"), [(0, (1, 24)), (1, (2, 12)), (2, (6, 4)), (3, (24, 1)), (-1, (6, 4))])
def test_flatten_makes_a_matrix(axis, want, runtime):
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(shape.flatten(x, axis=axis), runtime("Flatten", [x], {"axis": axis})[0])
    assert shape.flatten(x, axis=axis).shape == want


def test_squeeze_and_unsqueeze_undo_each_other():
    x = np.zeros((3, 4))
    assert shape.unsqueeze(x, [0, 2, -1]).shape == (1, 3, 1, 4, 1)
    assert shape.squeeze(shape.unsqueeze(x, [0, 2, -1]), [0, 2, 4]).shape == x.shape
    assert shape.squeeze(np.zeros((1, 3, 1))).shape == (3,)
    with pytest.raises(HetcnnError, match="size 1"):
        shape.squeeze(x, [0])
    with pytest.raises(HetcnnError, match="once"):
        shape.unsqueeze(x, [0, 0])


@pytest.mark.parametrize("perm", list(itertools.permutations(range(3))))
def test_transpose_moves_every_element(perm):
    x = np.arange(24).reshape(2, 3, 4)
    y = shape.transpose(x, perm=perm)
    for place in itertools.product(*map(range, y.shape)):
        source = [0, 0, 0]
        for i, axis in enumerate(perm):
            source[axis] = place[i]
        assert y[place] == x[tuple(source)]


def test_transpose_reverses_by_default_and_refuses_repeats():
    assert shape.transpose(np.zeros((1, 2, 3))).shape == (3, 2, 1)
    with pytest.raises(HetcnnError, match="perm"):
        shape.transpose(np.zeros((1, 2, 3)), perm=(0, 0, 1))


@pytest.mark.parametrize("blocksize", [2, 3])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_is_the_definition(blocksize, mode, runtime):
    b, depth = blocksize, 2
    x = np.arange(b * b * depth * 6.0, dtype=np.float32).reshape(1, b * b * depth, 2, 3)
    y = shape.depth_to_space(x, blocksize=b, mode=mode)
    for c, i, j in itertools.product(range(depth), range(2 * b), range(3 * b)):
        within = i % b * b + j % b
        channel = within * depth + c if mode == "DCR" else c * b * b + within
        assert y[0, c, i, j] == x[0, channel, i // b, j // b]
    np.testing.assert_array_equal(y, runtime("DepthToSpace", [x], {"blocksize": b, "mode": mode})[0])
    np.testing.assert_array_equal(shape.space_to_depth(y, blocksize=b, mode=mode), x)


def test_space_to_depth_agrees_with_onnx_runtime(runtime):
    x = np.arange(96.0, dtype=np.float32).reshape(2, 3, 4, 4)
    np.testing.assert_array_equal(
        shape.space_to_depth(x, blocksize=2), runtime("SpaceToDepth", [x], {"blocksize": 2})[0]
    )


@pytest.mark.parametrize(("function", "x"), [("depth_to_space", (1, 3, 2, 2)), ("space_to_depth", (1, 4, 3, 2))])
def test_blocks_that_do_not_divide_are_one_line(function, x):
    with pytest.raises(HetcnnError, match="multiple"):
        getattr(shape, function)(np.zeros(x), blocksize=2)
    with pytest.raises(HetcnnError, match="unknown mode 'RGB'"):
        getattr(shape, function)(np.zeros((1, 4, 2, 2)), blocksize=2, mode="RGB")


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_channel_shuffle_deals_the_channels_out(groups):
    x = np.arange(6).reshape(1, 6, 1, 1)
    each = 6 // groups
    want = [g * each + i for i in range(each) for g in range(groups)]
    assert shape.channel_shuffle(x, groups).ravel().tolist() == want
    back = shape.channel_shuffle(shape.channel_shuffle(x, groups), each)
    np.testing.assert_array_equal(back, x)


def test_expand_and_tile_agree_with_onnx_runtime(runtime):
    x = np.arange(6.0, dtype=np.float32).reshape(2, 1, 3)
    for target in ([4, 3], [5, 2, 4, 3], [1]):
        np.testing.assert_array_equal(shape.expand(x, target), runtime("Expand", [x, np.array(target)])[0])
    repeats = np.array([2, 1, 2])
    np.testing.assert_array_equal(shape.tile(x, repeats), runtime("Tile", [x, repeats])[0])
    with pytest.raises(HetcnnError, match="does not expand"):
        shape.expand(x, [3, 1, 1])
    with pytest.raises(HetcnnError, match="repeats"):
        shape.tile(x, [2])


def test_shapes_and_sizes_are_int64():
    x = np.zeros((2, 3, 4))
    assert shape.shape(x).dtype == shape.size(x).dtype == np.int64
    assert shape.shape(x, start=-2, end=-1).tolist() == [3]
    assert int(shape.size(x)) == 24
