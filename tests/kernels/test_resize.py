from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels.resize import axis_weights, coordinates, cubic_kernel, linear_kernel, resize, upsample

RULES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def nearest_loops(x, out, rule, rounding):
    """One axis, one pixel at a time."""
    y = []
    for o in range(out):
        at = position(rule, o, len(x), out)
        whole = {
            "floor": floor(at),
            "ceil": ceil(at),
            "round_prefer_floor": ceil(at - 0.5),
            "round_prefer_ceil": floor(at + 0.5),
        }[rounding]
        y.append(x[min(max(whole, 0), len(x) - 1)])
    return y


def linear_loops(x, out, rule):
    y = []
    for o in range(out):
        at = position(rule, o, len(x), out)
        left = floor(at)
        a, b = (x[min(max(i, 0), len(x) - 1)] for i in (left, left + 1))
        y.append(a + (at - left) * (b - a))
    return y


def position(rule, o, size, out):
    scale = out / size
    if rule == "align_corners":
        return o * (size - 1) / (out - 1) if out > 1 else 0
    if rule == "asymmetric":
        return o / scale
    if rule == "pytorch_half_pixel" and out == 1:
        return -0.5
    return (o + 0.5) / scale - 0.5


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.integers(1, 6), st.integers(1, 12), st.sampled_from(RULES), st.sampled_from(NEAREST))
def test_every_pixel_of_an_axis_is_the_definition(size, out, rule, rounding):
    x = np.random.default_rng(size).standard_normal(size)
    options = {"sizes": np.array([out]), "coordinate_transformation_mode": rule}
    got = resize(x, **options, mode="linear")
    np.testing.assert_allclose(got, linear_loops(x.tolist(), out, rule), atol=1e-12)
    at = [position(rule, o, size, out) for o in range(out)]
    if all(abs(p * 2 - round(p * 2)) > 1e-9 or p * 2 == round(p * 2) for p in at):  # no tie decided by a rounding error
        got = resize(x, **options, nearest_mode=rounding)
        assert got.tolist() == nearest_loops(x.tolist(), out, rule, rounding)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.5, 1.5), (3.0, 0.75)])
def test_images_agree_with_onnx_runtime(mode, rule, scales, runtime):
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 8)).astype(np.float32)
    factors = np.array([1, 1, *scales], np.float32)
    attrs = {"mode": mode, "coordinate_transformation_mode": rule}
    (want,) = runtime("Resize", [x, None, factors], attrs)
    np.testing.assert_allclose(resize(x, None, factors, **attrs), want, atol=2e-5)


def test_antialiasing_agrees_with_onnx_runtime(runtime):
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    attrs = {"mode": "linear", "antialias": 1}
    sizes = np.array([1, 1, 4, 4])
    want = runtime("Resize", [x, None, None, sizes], attrs, opset=18)[0][..., 1:-1, 1:-1]
    got = resize(x, None, None, sizes, **attrs)[..., 1:-1, 1:-1]  # at the border ONNX's own reference differs
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_upsample_repeats_pixels(runtime):
    x = np.arange(6.0, dtype=np.float32).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(upsample(x, [1, 1, 2, 3]), x.repeat(2, axis=2).repeat(3, axis=3))
    scales = np.array([1, 1, 2, 3], np.float32)
    for mode in ("nearest", "linear"):
        want = runtime("Upsample", [x, scales], {"mode": mode}, opset=9)[0]
        np.testing.assert_allclose(upsample(x, scales, mode=mode), want, atol=1e-5)


def test_weights_of_a_position_add_up_to_one():
    x = coordinates("half_pixel", 7, 5, 7 / 5)
    for kernel, radius in ((linear_kernel, 1), (cubic_kernel, 2)):
        for shrink in (1.0, 0.4):
            for exclude in (False, True):
                matrix = axis_weights(x, 5, kernel, radius, shrink=shrink, exclude=exclude)
                np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_a_constant_image_stays_constant_and_a_ramp_a_ramp():
    assert (resize(np.full((1, 1, 5, 5), 7.0), scales=np.array([1, 1, 2.2, 0.6]), mode="cubic").round(12) == 7).all()
    ramp = resize(np.arange(4.0), sizes=np.array([7]), mode="linear", coordinate_transformation_mode="align_corners")
    np.testing.assert_allclose(np.diff(ramp), 0.5)


def test_policies_keep_the_proportions():
    x = np.zeros((4, 8))
    sizes = np.array([8, 10])
    assert resize(x, sizes=sizes, keep_aspect_ratio_policy="not_larger").shape == (5, 10)
    assert resize(x, sizes=sizes, keep_aspect_ratio_policy="not_smaller").shape == (8, 16)
    assert resize(x, sizes=np.array([3]), axes=[1]).shape == (4, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected one of them"),
        ({"scales": np.array([2.0])}, "with 2 numbers"),
        ({"scales": np.array([0.0, 1.0])}, "above 0"),
        ({"sizes": np.array([1, 1]), "mode": "lanczos"}, "unknown mode 'lanczos'"),
        ({"sizes": np.array([1, 1]), "coordinate_transformation_mode": "half"}, "did you mean 'half_pixel'"),
        ({"sizes": np.array([1, 1]), "nearest_mode": "round"}, "unknown nearest_mode"),
        ({"sizes": np.array([1, 1]), "keep_aspect_ratio_policy": "fit"}, "unknown keep_aspect"),
        ({"sizes": np.array([1, 1]), "coordinate_transformation_mode": "tf_crop_and_resize"}, "needs roi"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options, message):
    with pytest.raises(HetcnnError, match=message):
        resize(np.zeros((2, 3)), **options)
