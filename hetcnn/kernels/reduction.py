"""Reductions: one number out of all those along some axes, and where the largest or smallest one stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hetcnn.kernels.arrays import Array, axes_of, axis_of

__all__ = [
    "argmax",
    "argmin",
    "cumsum",
    "reduce_l1",
    "reduce_l2",
    "reduce_log_sum",
    "reduce_log_sum_exp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "reduce_sum_square",
]

Reduction = Callable[..., Array]


def _reduction(inner: Callable[[Array, tuple[int, ...], bool], Any], doc: str, alone: Any = None) -> Reduction:
    """Return the ONNX operator around `inner(x, axes, keepdims)`; `alone` is what happens with no axis to reduce."""

    def reduction(
        x: Array, axes: Iterable[int] | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        chosen = () if axes is None else axes_of(axes, x.ndim)
        if not chosen and noop_with_empty_axes:
            return x if alone is None else np.asarray(alone(x))
        return np.asarray(inner(x, chosen or tuple(range(x.ndim)), bool(keepdims)), x.dtype)

    reduction.__doc__ = doc
    return reduction


_OPTIONS = """

    `axes`: default all, or none with `noop_with_empty_axes`; reduced axes stay with size 1 unless `keepdims=0`."""

reduce_sum = _reduction(
    lambda x, axes, keep: x.sum(axis=axes, keepdims=keep, dtype=x.dtype),
    f"""Return the sum along axes.{_OPTIONS}

    >>> reduce_sum(np.array([[1, 2], [3, 4]]), [1], keepdims=0).tolist()
    [3, 7]
    """,
)
reduce_mean = _reduction(
    lambda x, axes, keep: x.mean(axis=axes, keepdims=keep),
    f"""Return the mean along axes.{_OPTIONS}

    >>> reduce_mean(np.array([[1.0, 2.0], [3.0, 4.0]]), [0]).tolist()
    [[2.0, 3.0]]
    """,
)
reduce_prod = _reduction(
    lambda x, axes, keep: x.prod(axis=axes, keepdims=keep, dtype=x.dtype),
    f"""Return the product along axes.{_OPTIONS}

    >>> reduce_prod(np.array([2, 3, 4]), keepdims=0).tolist()
    24
    """,
)


def _extreme(x: Array, low: bool) -> Any:
    """What the maximum (`low`) or minimum of nothing is."""
    if x.dtype.kind in "iu":
        return np.iinfo(x.dtype).min if low else np.iinfo(x.dtype).max
    if x.dtype.kind == "b":
        return not low
    return -np.inf if low else np.inf


reduce_max = _reduction(
    lambda x, axes, keep: x.max(axis=axes, keepdims=keep, initial=_extreme(x, low=True)),
    f"""Return the largest element along axes.{_OPTIONS}

    >>> reduce_max(np.array([[1, 5], [3, 4]]), [1], keepdims=0).tolist()
    [5, 4]
    """,
)
reduce_min = _reduction(
    lambda x, axes, keep: x.min(axis=axes, keepdims=keep, initial=_extreme(x, low=False)),
    f"""Return the smallest element along axes.{_OPTIONS}

    >>> reduce_min(np.array([[1, 5], [3, 4]]), [1], keepdims=0).tolist()
    [1, 3]
    """,
)
reduce_l1 = _reduction(
    lambda x, axes, keep: np.abs(x).sum(axis=axes, keepdims=keep),
    f"""Return the sum of |x| along axes.{_OPTIONS}

    >>> reduce_l1(np.array([3, -4]), keepdims=0).tolist()
    7
    """,
    np.abs,
)
reduce_l2 = _reduction(
    lambda x, axes, keep: np.sqrt((x * x).sum(axis=axes, keepdims=keep)),
    f"""Return the square root of the sum of x^2 along axes.{_OPTIONS}

    >>> reduce_l2(np.array([3.0, -4.0]), keepdims=0).tolist()
    5.0
    """,
    np.abs,
)
reduce_sum_square = _reduction(
    lambda x, axes, keep: (x * x).sum(axis=axes, keepdims=keep),
    f"""Return the sum of x^2 along axes.{_OPTIONS}

    >>> reduce_sum_square(np.array([3, -4]), keepdims=0).tolist()
    25
    """,
    np.square,
)
reduce_log_sum = _reduction(
    lambda x, axes, keep: np.log(x.sum(axis=axes, keepdims=keep)),
    f"""Return the logarithm of the sum along axes.{_OPTIONS}

    >>> reduce_log_sum(np.array([0.25, 0.75]), keepdims=0).tolist()
    0.0
    """,
    np.log,
)


def _log_sum_exp(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(top.dtype)
    return np.log(np.exp(x - top).sum(axis=axes, keepdims=keep)) + (top if keep else top.squeeze(axes))


reduce_log_sum_exp = _reduction(
    _log_sum_exp,
    f"""Return the logarithm of the sum of exp(x) along axes, without overflow.{_OPTIONS}

    >>> reduce_log_sum_exp(np.array([1000.0, 1000.0]), keepdims=0).round(4).tolist()      # 1000 + log 2
    1000.6931
    """,
    lambda x: x,
)


def _arg(x: Array, axis: int, keepdims: int, last: int, pick: Callable[..., Any]) -> Array:
    axis = axis_of(axis, x.ndim)
    found = pick(np.flip(x, axis) if last else x, axis=axis, keepdims=bool(keepdims))
    return np.asarray(x.shape[axis] - 1 - found if last else found, np.int64)


def argmax(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    """Return where the largest element along one axis stands, as int64: of equals the first, or the last.

    >>> x = np.array([1, 5, 5])
    >>> argmax(x, keepdims=0).tolist(), argmax(x, keepdims=0, select_last_index=1).tolist()
    (1, 2)
    """
    return _arg(x, axis, keepdims, select_last_index, np.argmax)


def argmin(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    """Return where the smallest element along one axis stands, as int64: of equals the first, or the last.

    >>> argmin(np.array([[3, 1, 1]]), axis=1, keepdims=0).tolist()
    [1]
    """
    return _arg(x, axis, keepdims, select_last_index, np.argmin)


def cumsum(x: Array, axis: Array | int, *, exclusive: int = 0, reverse: int = 0) -> Array:
    """Return the running sum along one axis; `exclusive` leaves each element itself out, `reverse` starts at the end.

    >>> cumsum(np.array([1, 2, 3]), 0).tolist(), cumsum(np.array([1, 2, 3]), 0, exclusive=1, reverse=1).tolist()
    ([1, 3, 6], [5, 3, 0])
    """
    along = axis_of(int(np.asarray(axis).item()), x.ndim)
    ahead = np.flip(x, along) if reverse else x
    y = np.cumsum(ahead, axis=along, dtype=x.dtype)
    y = y - ahead if exclusive else y
    return np.flip(y, along) if reverse else y
