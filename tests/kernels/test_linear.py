import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels.linear import gemm, linear, matmul

quick = settings(derandomize=True, deadline=None, max_examples=40)
size = st.integers(1, 5)


def matmul_loops(a, b):
    y = np.zeros((len(a), b.shape[1]))
    for i in range(len(a)):
        for j in range(b.shape[1]):
            for k in range(len(b)):
                y[i, j] += a[i, k] * b[k, j]
    return y


@quick
@given(size, size, size, st.booleans(), st.booleans(), st.sampled_from([(), (1,), "row", "column", "full"]))
def test_gemm_is_the_definition(n, k, m, flip_a, flip_b, bias):
    rng = np.random.default_rng(n + 10 * k + 100 * m)
    a, b = rng.standard_normal((n, k)), rng.standard_normal((k, m))
    shape = {"row": (m,), "column": (n, 1), "full": (n, m)}.get(bias, bias) if isinstance(bias, str) else bias
    c = rng.standard_normal(shape)
    want = 0.5 * matmul_loops(a, b) + 2 * c
    got = gemm(a.T if flip_a else a, b.T if flip_b else b, c, alpha=0.5, beta=2.0, transA=flip_a, transB=flip_b)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_gemm_agrees_with_onnx_runtime(runtime):
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(s).astype(np.float32) for s in ((3, 7), (4, 7), (4,)))
    attrs = {"transB": 1, "alpha": 1.5, "beta": 0.25}
    np.testing.assert_allclose(gemm(a, b, c, **attrs), runtime("Gemm", [a, b, c], attrs)[0], atol=1e-5)


def test_without_a_bias_or_beta_only_the_product_is_left():
    a, b = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])
    assert gemm(a, b).tolist() == gemm(a, b, np.array([np.nan]), beta=0.0).tolist() == [[11.0]]


@pytest.mark.parametrize(("a", "b"), [((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 1, 2, 3), (6, 3, 1)), ((3,), (3, 2))])
def test_matmul_broadcasts_as_onnx_runtime_does(runtime, a, b):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(a).astype(np.float32), rng.standard_normal(b).astype(np.float32)
    np.testing.assert_allclose(matmul(x, y), runtime("MatMul", [x, y])[0], atol=1e-5)


def test_half_floats_are_summed_in_single_precision():
    ones = np.ones((1, 4096), np.float16)
    ones[0, 0] = 2048
    y = matmul(ones, np.ones((4096, 1), np.float16))
    assert y.dtype == np.float16
    assert float(y[0, 0]) == 6144


def test_linear_is_a_gemm_with_transposed_weights():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4)
    np.testing.assert_allclose(linear(x, w, b), gemm(x, w, b, transB=1), atol=1e-12)


def test_shapes_that_do_not_multiply_are_one_line():
    with pytest.raises(HetcnnError, match=r"\(2, 3\) and \(4, 5\) do not multiply"):
        matmul(np.zeros((2, 3)), np.zeros((4, 5)))
    with pytest.raises(HetcnnError, match="two matrices"):
        gemm(np.zeros((2, 3, 1)), np.zeros((3, 5)))
    with pytest.raises(HetcnnError, match="bias"):
        gemm(np.zeros((2, 3)), np.zeros((3, 5)), np.zeros(4))
