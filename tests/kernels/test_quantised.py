import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels import quantised as q

quick = settings(derandomize=True, deadline=None, max_examples=40)
BYTES = st.sampled_from(["int8", "uint8"])


def conv_integer_loops(x, w, zx, zw, strides, pads):
    """One output at a time, in Python's unbounded integers; padding is the real 0."""
    n, _, height, width = x.shape
    maps, depth, kh, kw = w.shape
    out = [(height + pads[0] + pads[2] - kh) // strides[0] + 1, (width + pads[1] + pads[3] - kw) // strides[1] + 1]
    y = np.zeros((n, maps, *out), object)
    for b, m, i, j in itertools.product(range(n), range(maps), *map(range, out)):
        for c, k, t in itertools.product(range(depth), range(kh), range(kw)):
            row, column = i * strides[0] + k - pads[0], j * strides[1] + t - pads[1]
            if 0 <= row < height and 0 <= column < width:
                y[b, m, i, j] += (int(x[b, c, row, column]) - int(zx)) * (int(w[m, c, k, t]) - int(zw[m]))
    return y


def integers(rng, dtype, shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


@quick
@given(BYTES, BYTES, st.integers(0, 2**16), st.integers(1, 2), st.integers(0, 1), st.booleans())
def test_integer_convolution_is_exact(of_x, of_w, seed, stride, pad, per_channel):
    rng = np.random.default_rng(seed)
    x, w = integers(rng, of_x, (2, 3, 5, 4)), integers(rng, of_w, (4, 3, 3, 2))
    zx, zw = integers(rng, of_x, ()), integers(rng, of_w, (4,) if per_channel else ())
    where = {"strides": (stride, 1), "pads": (pad, 0, 0, pad)}
    want = conv_integer_loops(x, w, zx, np.broadcast_to(zw, 4), **where)
    got = q.conv_integer(x, w, zx, zw, **where)
    assert got.dtype == np.int32
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize(
    ("largest", "weight"), [(255, 2**24 // 255), (255, 2**24 // 255 + 1), (2**15, 2**38), (2**16, 2**38)]
)
def test_the_type_of_sums_holds_every_integer_up_to_the_bound(largest, weight):
    kind = q.exact_type(largest, weight)
    bound = largest * weight
    below = [bound - 1, bound] if kind == np.float32 else [bound]
    assert all(int(kind.type(v)) == v for v in below)
    cheaper = {"float64": np.float32, "int64": np.float64}.get(kind.name)
    if cheaper:  # it would have been wrong: an odd integer below the bound is lost
        assert int(cheaper(bound - 1 + bound % 2)) != bound - 1 + bound % 2 or bound == 2 ** (
            24 if kind == np.float64 else 53
        )


def test_the_bounds_are_strict():
    for bound, below, at in ((2**24, "float32", "float64"), (2**53, "float64", "int64")):
        assert q.exact_type(1, bound - 1) == below
        assert q.exact_type(bound, 1) == at


def test_long_sums_of_large_products_are_exact():
    """A sum of 4096 products of 255 * 127 is beyond float32's 2^24, and odd."""
    x, w = np.full((1, 4096, 1, 1), 255, np.uint8), np.full((1, 4096, 1, 1), 127, np.int8)
    w[0, 0] = 126
    assert int(q.conv_integer(x, w).item()) == 255 * 127 * 4096 - 255
    assert int(q.matmul_integer(x.reshape(1, -1), w.reshape(-1, 1)).item()) == 255 * 127 * 4096 - 255


def test_sums_wrap_at_32_bits():
    a, b = np.full((1, 2**16 + 2), 255, np.uint8), np.full((2**16 + 2, 1), 255, np.uint8)
    total = 255 * 255 * (2**16 + 2)
    assert int(q.matmul_integer(a, b).item()) == total - 2**32


@quick
@given(st.integers(0, 2**16), st.sampled_from(["int8", "uint8"]), st.booleans(), st.booleans())
def test_integer_products_agree_with_onnx_runtime(runtime, seed, of_a, by_row, by_column):
    rng = np.random.default_rng(seed)
    a, b = integers(rng, of_a, (2, 3, 5)), integers(rng, "int8", (5, 4))
    za, zb = integers(rng, of_a, ()), integers(rng, "int8", (4,) if by_column else ())
    (want,) = runtime("MatMulInteger", [a, b, za, zb])
    np.testing.assert_array_equal(q.matmul_integer(a, b, za, zb), want)
    if by_row:
        rows = integers(rng, of_a, (3,))
        want = [(a[:, i].astype(int) - rows[i]) @ (b.astype(int) - zb) for i in range(3)]
        np.testing.assert_array_equal(q.matmul_integer(a, b, rows, zb), np.stack(want, axis=1))


@quick
@given(st.integers(0, 2**16), BYTES, st.booleans(), st.booleans(), st.sampled_from([1, 2]))
def test_qlinear_conv_agrees_with_onnx_runtime(runtime, seed, of_x, per_channel, biased, group):
    rng = np.random.default_rng(seed)
    x, w = integers(rng, of_x, (1, 4, 7, 6)), integers(rng, "int8", (6, 4 // group, 3, 3))
    zx, zy = integers(rng, of_x, ()), integers(rng, of_x, ())
    count = (6,) if per_channel else ()
    sx, sy = np.float32(rng.uniform(0.01, 0.1)), np.float32(rng.uniform(0.5, 4))
    sw, zw = rng.uniform(0.01, 0.1, count).astype(np.float32), np.zeros(count, np.int8)
    inputs = [x, sx, zx, w, sw, zw, sy, zy]
    if biased:
        inputs.append(rng.integers(-1000, 1000, 6).astype(np.int32))
    attrs = {"pads": [1, 0, 1, 1], "strides": [2, 1], "group": group}
    (want,) = runtime("QLinearConv", inputs, attrs)
    got = q.qlinear_conv(*map(np.asarray, inputs), **attrs)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@quick
@given(st.integers(0, 2**16), BYTES, st.booleans())
def test_qlinear_matmul_agrees_with_onnx_runtime(runtime, seed, of_a, per_column):
    rng = np.random.default_rng(seed)
    a, b = integers(rng, of_a, (3, 8)), integers(rng, "int8", (8, 5))
    columns = (5,) if per_column else ()
    sa, sy = np.float32(rng.uniform(0.01, 0.1)), np.float32(rng.uniform(0.2, 2))
    sb, zb = rng.uniform(0.01, 0.1, columns).astype(np.float32), np.zeros(columns, np.int8)
    inputs = [a, sa, integers(rng, of_a, ()), b, sb, zb, sy, integers(rng, of_a, ())]
    np.testing.assert_array_equal(q.qlinear_matmul(*map(np.asarray, inputs)), runtime("QLinearMatMul", inputs)[0])


def test_rounding_comes_before_the_zero_point():
    """2.5 and 3.5 round to the even 2 and 4; adding an odd zero point first would make 3.5 of 2.5, and round to 4."""
    got = q.requantise(np.array([5, 7], np.int32), np.float32(0.5), np.int8(1), np.dtype(np.int8))
    assert got.tolist() == [3, 5]


def test_scales_are_combined_in_onnx_runtimes_order(runtime):
    """157506 * (sx * sw / sy) is 56.5 to seven places: with sx * (sw / sy) or sx / sy * sw it rounds to 56."""
    sx, sw, sy = np.float32(0.06732655), np.float32(0.0034280804), np.float32(0.64340734)
    x, w = np.full((1, 6), 255, np.uint8), np.array([[127], [127], [127], [127], [109], [0]], np.int8)
    x[0, 5], w[5] = 156, 1
    assert int(q.matmul_integer(x, w).item()) == 157491  # of 157506; 15 more
    w[5] = 0
    x[0, 5], w[5] = 171, 1
    inputs = [x, sx, np.uint8(0), w, sw, np.int8(0), sy, np.uint8(0)]
    assert int(q.matmul_integer(x, w).item()) == 157506
    assert q.qlinear_matmul(*map(np.asarray, inputs)).item() == runtime("QLinearMatMul", inputs)[0].item() == 57


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("per_axis", [False, True])
def test_quantising_agrees_with_onnx_runtime_and_is_undone_to_half_a_step(dtype, per_axis, runtime):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, 4, 5)) * 3).astype(np.float32)
    scale = rng.uniform(0.05, 0.1, (4,) if per_axis else ()).astype(np.float32)
    zero = rng.integers(1, 20, scale.shape).astype(dtype)
    (want,) = runtime("QuantizeLinear", [x, scale, zero], {"axis": 1}, opset=21)
    got = q.quantize_linear(x, scale, zero, axis=1)
    np.testing.assert_array_equal(got, want)
    back = q.dequantize_linear(got, scale, zero, axis=1)
    np.testing.assert_allclose(back, runtime("DequantizeLinear", [got, scale, zero], {"axis": 1}, opset=21)[0])
    inside = (got > np.iinfo(dtype).min) & (got < np.iinfo(dtype).max)
    assert (np.abs(back - x) <= scale.reshape(-1, 1) / 2 + 1e-6)[inside].all()
    assert inside.mean() > 0.5


def test_blocks_have_their_own_scale():
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    got = q.quantize_linear(x, np.array([[1.0, 2.0, 0.5]]), np.zeros((1, 3), np.int8), axis=1, block_size=2)
    assert got.tolist() == [[1, 2, 2, 2, 10]]  # 3 / 2 rounds to the even 2
    back = q.dequantize_linear(got, np.array([[1.0, 2.0, 0.5]], np.float32), axis=1, block_size=2)
    assert back.tolist() == [[1, 2, 4, 4, 5]]


@pytest.mark.parametrize("low", [-3.0, 0.5, -5.0])
def test_dynamic_quantisation_agrees_with_onnx_runtime(low, runtime):
    x = np.linspace(low, low + 4, 11, dtype=np.float32).reshape(1, 11)
    for got, want in zip(q.dynamic_quantize_linear(x), runtime("DynamicQuantizeLinear", [x], outputs=3), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_wrong_types_and_shapes_are_one_line():
    x = np.zeros((1, 2, 3), np.float32)
    with pytest.raises(HetcnnError, match="expected integers"):
        q.conv_integer(x, x)
    with pytest.raises(HetcnnError, match="expected 1 or 2"):
        q.quantize_linear(x, np.ones(3, np.float32), axis=1)
