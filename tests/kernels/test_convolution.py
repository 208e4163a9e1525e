import itertools
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels.convolution import conv, conv_transpose, im2col
from hetcnn.kernels.windows import window

quick = settings(derandomize=True, deadline=None, max_examples=80)


def conv_loops(x, w, b, strides, pads, dilations, group):
    """The definition, one product at a time."""
    rank = x.ndim - 2
    maps, depth, *kernel = w.shape
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    out = [(n + pads[i] + pads[rank + i] - spans[i]) // strides[i] + 1 for i, n in enumerate(x.shape[2:])]
    y = np.zeros((len(x), maps, *out))
    for n, m, *at in itertools.product(range(len(x)), range(maps), *map(range, out)):
        total = 0.0 if b is None else b[m]
        first = m // (maps // group) * depth
        for c, *tap in itertools.product(range(depth), *map(range, kernel)):
            place = [at[i] * strides[i] + tap[i] * dilations[i] - pads[i] for i in range(rank)]
            if all(0 <= p < size for p, size in zip(place, x.shape[2:], strict=True)):
                total += w[(m, c, *tap)] * x[(n, first + c, *place)]
        y[(n, m, *at)] = total
    return y


def conv_transpose_loops(x, w, b, strides, pads, dilations, group, extra):
    """Stamp by stamp, on a canvas as large as all of them need, cropped at the end."""
    rank = x.ndim - 2
    depth, per_group, *kernel = w.shape
    full = [s * (n - 1) + d * (k - 1) + 1 for n, s, d, k in zip(x.shape[2:], strides, dilations, kernel, strict=True)]
    canvas = np.zeros((len(x), per_group * group, *(f + e for f, e in zip(full, extra, strict=True))))
    for n, c, *at in itertools.product(*map(range, x.shape)):
        for m, *tap in itertools.product(range(per_group), *map(range, kernel)):
            place = [at[i] * strides[i] + tap[i] * dilations[i] for i in range(rank)]
            canvas[(n, c // (depth // group) * per_group + m, *place)] += x[(n, c, *at)] * w[(c, m, *tap)]
    cut = tuple(slice(pads[i], size - pads[rank + i]) for i, size in enumerate(canvas.shape[2:]))
    y = canvas[(slice(None), slice(None), *cut)]
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


@st.composite
def layers(draw, most_axes=3):
    rank = draw(st.integers(1, most_axes))
    axes = lambda low, high: [draw(st.integers(low, high)) for _ in range(rank)]  # noqa: E731
    kernel, strides, dilations = axes(1, 3), axes(1, 3), axes(1, 2)
    group, depth, per_group = (draw(st.integers(1, 3)) for _ in range(3))
    size = [d * (k - 1) + 1 + draw(st.integers(0, 3)) for d, k in zip(dilations, kernel, strict=True)]
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.standard_normal((draw(st.integers(1, 2)), group * depth, *size))
    w = rng.standard_normal((group * per_group, depth, *kernel))
    b = rng.standard_normal(group * per_group) if draw(st.booleans()) else None
    return x, w, b, {"strides": strides, "pads": pads, "dilations": dilations, "group": group}


@quick
@given(layers())
def test_conv_is_the_definition(layer):
    x, w, b, options = layer
    np.testing.assert_allclose(conv(x, w, b, **options), conv_loops(x, w, b, **options), rtol=0, atol=1e-12)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(layers())
def test_conv_agrees_with_onnx_runtime(runtime, layer):
    x, w, b, options = layer
    inputs = [v.astype(np.float32) for v in (x, w, b) if v is not None]
    (want,) = runtime("Conv", inputs, options)
    got = conv(*inputs, **options)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(("size", "kernel", "stride"), [((5, 6), (2, 3), (1, 2)), ((7, 7), (3, 4), (2, 3))])
def test_auto_padding_agrees_with_onnx_runtime(runtime, rule, size, kernel, stride):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((1, 2, *size), (3, 2, *kernel)))
    attrs = {"auto_pad": rule, "strides": stride}
    (want,) = runtime("Conv", [x, w], attrs)
    np.testing.assert_allclose(conv(x, w, **attrs), want, rtol=0, atol=1e-5)


def test_half_floats_are_summed_in_single_precision():
    x = np.full((1, 4096, 1), 1.0, np.float16)
    w = np.full((1, 4096, 1), 1.0, np.float16)
    x[0, 0] = 2048  # a float16 sum would stay at 2048 when 1 is added
    assert conv(x, w).dtype == np.float16
    assert float(conv(x, w)[0, 0, 0]) == 2048 + 4096  # 6143 rounds to even in float16


def test_im2col_times_filters_is_the_convolution():
    rng = np.random.default_rng(1)
    x, w = rng.integers(-3, 4, (1, 2, 4, 5)).astype(float), rng.integers(-3, 4, (3, 2, 3, 3)).astype(float)
    columns = im2col(x[0], window((4, 5), (3, 3)))
    assert columns.shape == (18, 6)
    np.testing.assert_array_equal((w.reshape(3, -1) @ columns).reshape(3, 2, 3), conv(x, w)[0])


@quick
@given(layers(most_axes=2), st.data())
def test_conv_transpose_is_its_definition(layer, data):
    x, w, b, options = layer
    group, rank = options["group"], x.ndim - 2
    weight = w.reshape(group, -1, *w.shape[1:]).swapaxes(1, 2).reshape(group * w.shape[1], -1, *w.shape[2:])
    most = [max(s, d) - 1 for s, d in zip(options["strides"], options["dilations"], strict=True)]
    extra = [data.draw(st.integers(0, m)) for m in most]
    full = [
        s * (n - 1) + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(x.shape[2:], options["strides"], options["dilations"], w.shape[2:], extra, strict=True)
    ]
    if any(f - options["pads"][i] - options["pads"][rank + i] < 1 for i, f in enumerate(full)):
        return
    want = conv_transpose_loops(x, weight, b, **options, extra=extra)
    np.testing.assert_allclose(conv_transpose(x, weight, b, **options, output_padding=extra), want, rtol=0, atol=1e-12)


@quick
@given(layers(most_axes=2))
def test_conv_transpose_is_the_adjoint_of_conv(layer):
    """<conv(x), y> = <x, conv_transpose(y)> for every x and y."""
    x, w, _, options = layer
    forward = conv(x, w, **options)
    y = np.random.default_rng(0).standard_normal(forward.shape)
    lost = [
        (n + options["pads"][i] + options["pads"][x.ndim - 2 + i] - d * (k - 1) - 1) % s
        for i, (n, d, k, s) in enumerate(
            zip(x.shape[2:], options["dilations"], w.shape[2:], options["strides"], strict=True)
        )
    ]
    # the filters (maps, depth) serve the way back as they are, and the pixels that no window reached come back as 0
    back = conv_transpose(y, w, **options, output_padding=lost)
    np.testing.assert_allclose((forward * y).sum(), (x * back).sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "attrs",
    [
        {"strides": [2, 2], "output_shape": [10, 8]},
        {"strides": [2, 2], "output_shape": [10, 8], "auto_pad": "SAME_UPPER"},
        {"strides": [3, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 3], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 2], "pads": [1, 0, 1, 2], "output_padding": [1, 0]},
        {"strides": [1, 2], "dilations": [2, 1], "group": 2},
    ],
)
def test_conv_transpose_agrees_with_onnx_runtime(runtime, attrs):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 4, 3)).astype(np.float32)
    w = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    (want,) = runtime("ConvTranspose", [x, w], attrs)
    np.testing.assert_allclose(conv_transpose(x, w, **attrs), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "w", "options", "message"),
    [
        ((1, 3, 5), (2, 2, 3), {}, "3 channels in 1 groups, filters \\(2, 2, 3\\)"),
        ((1, 4, 5), (3, 2, 3), {"group": 2}, "multiple of the groups"),
        ((1, 2), (2, 2), {}, "expected \\(N, C, D1"),
        ((1, 2, 5), (2, 2, 3), {"kernel_shape": (2,)}, "kernel_shape"),
        ((1, 2, 5), (2, 2, 7), {}, "does not fit"),
    ],
)
def test_shapes_that_do_not_fit_are_one_line(x, w, options, message):
    with pytest.raises(HetcnnError, match=message):
        conv(np.zeros(x), np.zeros(w), **options)


@pytest.mark.parametrize(
    ("w", "options", "message"),
    [((3, 2, 3), {}, "expected"), ((2, 2, 1), {"pads": (2, 2)}, "leave nothing"), ((2, 2, 3), {"pads": (1,)}, "pads")],
)
def test_conv_transpose_refuses_in_one_line(w, options, message):
    with pytest.raises(HetcnnError, match=message):
        conv_transpose(np.zeros((1, 2, 3)), np.zeros(w), **options)


def test_a_grouped_convolution_is_the_convolutions_of_its_groups():
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((2, 6, 5, 5)), rng.standard_normal((4, 3, 3, 3))
    halves = [conv(x[:, :3], w[:2]), conv(x[:, 3:], w[2:])]
    np.testing.assert_allclose(conv(x, w, group=2), np.concatenate(halves, axis=1), atol=1e-12)
    assert prod(halves[0].shape) == 2 * 2 * 9
