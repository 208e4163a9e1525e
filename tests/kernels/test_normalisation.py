import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels import normalisation as norm

quick = settings(derandomize=True, deadline=None, max_examples=40)


def lrn_loops(x, size, alpha, beta, bias):
    y = np.empty_like(x)
    channels = x.shape[1]
    for n, c, *at in itertools.product(*map(range, x.shape)):
        low, high = max(0, c - (size - 1) // 2), min(channels - 1, c + (size - 1) - (size - 1) // 2)
        square = sum(x[(n, j, *at)] ** 2 for j in range(low, high + 1))
        y[(n, c, *at)] = x[(n, c, *at)] / (bias + alpha / size * square) ** beta
    return y


@quick
@given(st.integers(1, 7), st.integers(1, 6), st.floats(0.01, 2), st.sampled_from([0.5, 0.75, 1.0]))
def test_lrn_is_the_definition(channels, size, alpha, beta):
    x = np.random.default_rng(channels).standard_normal((2, channels, 3, 2))
    options = {"size": size, "alpha": alpha, "beta": beta, "bias": 1.5}
    np.testing.assert_allclose(norm.lrn(x, **options), lrn_loops(x, **options), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5])  # ONNX Runtime refuses even sizes
def test_lrn_agrees_with_onnx_runtime(runtime, size):
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 5)).astype(np.float32)
    attrs = {"size": size, "alpha": 0.1, "beta": 0.75, "bias": 2.0}
    np.testing.assert_allclose(norm.lrn(x, **attrs), runtime("LRN", [x], attrs)[0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (2, 4, 3, 2), (2, 4, 2, 2, 3)])
def test_batch_norm_is_the_formula_per_channel(shape, runtime):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    scale, b, mean, var = (rng.random(4, np.float32) + np.float32(0.5) for _ in range(4))
    want = np.empty_like(x)
    for c in range(4):
        want[:, c] = (x[:, c] - mean[c]) / np.sqrt(var[c] + 1e-3) * scale[c] + b[c]
    (got,) = norm.batch_normalization(x, scale, b, mean, var, epsilon=1e-3)
    np.testing.assert_allclose(got, want, atol=1e-5)
    inputs = [x, scale, b, mean, var]
    np.testing.assert_allclose(got, runtime("BatchNormalization", inputs, {"epsilon": 1e-3})[0], atol=1e-5)


def test_training_normalises_by_the_batch_and_moves_the_running_statistics():
    x = np.array([[[1.0, 3.0]], [[5.0, 7.0]]])  # mean 4, variance 5
    one = np.ones(1)
    y, mean, var = norm.batch_normalization(
        x, one, 0 * one, 0 * one, one, epsilon=0.0, momentum=0.9, training_mode=1, outputs=3
    )
    np.testing.assert_allclose(y.ravel(), (np.array([1, 3, 5, 7]) - 4) / 5**0.5)
    np.testing.assert_allclose([mean[0], var[0]], [0.4, 0.9 + 0.5])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm_standardises_each_group(groups):
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 2)) * 3 + 7
    y = norm.group_normalization(x, np.ones(4), np.zeros(4), num_groups=groups, epsilon=0.0)
    parts = y.reshape(3, groups, -1)
    np.testing.assert_allclose(parts.mean(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(parts.var(axis=2), 1, atol=1e-12)


def test_one_group_per_channel_is_instance_norm():
    rng = np.random.default_rng(0)
    x, scale, b = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal(3), rng.standard_normal(3)
    want = norm.instance_normalization(x, scale, b)
    np.testing.assert_allclose(norm.group_normalization(x, scale, b, num_groups=3), want, atol=1e-12)


def test_instance_and_layer_norm_agree_with_onnx_runtime(runtime):
    rng = np.random.default_rng(0)
    x, scale, b = (rng.standard_normal(s).astype(np.float32) for s in ((2, 3, 4, 5), (3,), (3,)))
    want = runtime("InstanceNormalization", [x, scale, b])[0]
    np.testing.assert_allclose(norm.instance_normalization(x, scale, b), want, atol=1e-5)
    scale, b = (rng.standard_normal((4, 5)).astype(np.float32) for _ in range(2))
    wants = runtime("LayerNormalization", [x, scale, b], {"axis": 2}, outputs=3)
    for got, want in zip(norm.layer_normalization(x, scale, b, axis=2, outputs=3), wants, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_lp_normalisation_gives_unit_vectors(runtime):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_allclose(np.abs(norm.lp_normalization(x, axis=0, p=1)).sum(axis=0), 1, rtol=1e-6)
    want = runtime("LpNormalization", [x], {"axis": 1, "p": 2})[0]
    np.testing.assert_allclose(norm.lp_normalization(x, axis=1), want, atol=1e-6)


def test_rms_norm_divides_by_the_root_mean_square():
    x = np.random.default_rng(0).standard_normal((3, 4))
    y = norm.rms_normalization(x, np.ones(4), epsilon=0.0)
    np.testing.assert_allclose((y * y).mean(axis=1), 1)


def test_parameters_of_the_wrong_length_are_one_line():
    three = np.ones(3)
    with pytest.raises(HetcnnError, match="one per channel"):
        norm.batch_normalization(np.zeros((1, 2, 4)), three, three, three, three)
    with pytest.raises(HetcnnError, match="num_groups 3"):
        norm.group_normalization(np.zeros((1, 4, 4)), three, three, num_groups=3)
    with pytest.raises(HetcnnError, match="size 0"):
        norm.lrn(np.zeros((1, 4, 4)), size=0)
