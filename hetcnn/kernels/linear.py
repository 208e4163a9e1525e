"""Matrix products: fully connected layers, general and batched."""

from __future__ import annotations

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array, sum_type

__all__ = ["gemm", "linear", "matmul"]


def matmul(a: Array, b: Array) -> Array:
    """Return the matrix product over the last two axes; leading axes broadcast, vectors are rows and columns.

    Y[..., i, j] = sum over k of A[..., i, k] * B[..., k, j].

    >>> matmul(np.array([[1, 2]]), np.array([[3], [4]])).tolist()
    [[11]]
    """
    kind = sum_type(np.result_type(a, b))
    try:
        y = np.matmul(a.astype(kind, copy=False), b.astype(kind, copy=False))
    except ValueError:
        raise HetcnnError(f"shapes {a.shape} and {b.shape} do not multiply") from None
    return np.asarray(y, a.dtype)


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """Return alpha * A' B' + beta * C, where A' and B' are A (N, K) and B (K, M), or their transposes.

    A fully connected layer is a Gemm with transB=1: its weights are (M, K), and C is its bias (M,).

    >>> x, weights, bias = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([1.0, 2.0])
    >>> gemm(x, weights, bias, transB=1).tolist()
    [[12.0, 19.0]]
    """
    if a.ndim != 2 or b.ndim != 2:
        raise HetcnnError(f"shapes {a.shape} and {b.shape}: expected two matrices")
    y = matmul(a.T if transA else a, b.T if transB else b)
    if alpha != 1:
        y = y * a.dtype.type(alpha)
    if c is None or beta == 0:
        return y
    try:
        return np.asarray(y + (c if beta == 1 else c * c.dtype.type(beta)), a.dtype)
    except ValueError:
        raise HetcnnError(f"the bias {c.shape} does not broadcast to the product {y.shape}") from None


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return x W^T + b: x (..., K), W (M, K), b (M,) -> (..., M); a dense layer as most frameworks have it.

    >>> linear(np.array([1.0, 2.0]), np.array([[3.0, 4.0]]), np.array([0.5])).tolist()
    [11.5]
    """
    y = matmul(x, weight.T)
    return y if bias is None else np.asarray(y + bias)
