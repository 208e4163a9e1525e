"""Resizing images: every output pixel is a weighted sum of input pixels, one axis after the other.

Per axis this is a small matrix: row o holds the weights of all input pixels for output pixel o. Choosing a
coordinate rule places output pixels on the input; choosing a kernel (nearest, linear, cubic) weighs the neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import floor
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError, unknown
from hetcnn.kernels.arrays import Array, axes_of, sum_type

__all__ = ["axis_weights", "coordinates", "nearest_index", "resize", "upsample"]


def coordinates(rule: str, count: int, size: int, scale: float, roi: tuple[float, float] = (0.0, 1.0)) -> Array:
    """Return where each of `count` output pixels lies on an input axis of `size` pixels, as ONNX names the rules.

    half_pixel: pixels are squares, x = (o + 1/2)/scale - 1/2. asymmetric: x = o/scale. align_corners: the corner
    pixels' centres coincide. tf_crop_and_resize: as align_corners, over a part `roi` of the axis.

    >>> coordinates("half_pixel", 4, 2, 2.0).tolist(), coordinates("align_corners", 3, 5, 0.6).tolist()
    ([-0.25, 0.25, 0.75, 1.25], [0.0, 2.0, 4.0])
    """
    if rule not in _RULES:
        raise unknown("coordinate_transformation_mode", rule, _RULES)
    return np.asarray(_RULES[rule](np.arange(count, dtype=float), _Axis(size, scale, *roi)))


class _Axis(NamedTuple):
    """An input axis: its size, how much larger the output is, and which part of it is wanted (0 to 1: all)."""

    size: int
    scale: float
    start: float
    end: float

    @property
    def scaled(self) -> float:
        return self.scale * self.size


def _half_pixel(o: Array, axis: _Axis) -> Any:
    return (o + 0.5) / axis.scale - 0.5


def _symmetric(o: Array, axis: _Axis) -> Any:
    return _half_pixel(o, axis) + axis.size / 2 * (1 - len(o) / axis.scaled)


def _torch_half_pixel(o: Array, axis: _Axis) -> Any:
    return _half_pixel(o, axis) if axis.scaled != 1 else np.full(len(o), -0.5)


def _align_corners(o: Array, axis: _Axis) -> Any:
    return o * ((axis.size - 1) / (axis.scaled - 1)) if axis.scaled != 1 else o * 0


def _crop(o: Array, axis: _Axis) -> Any:
    part, start = (axis.end - axis.start) * (axis.size - 1), axis.start * (axis.size - 1)
    return start + (o * (part / (axis.scaled - 1)) if axis.scaled != 1 else part / 2 + o * 0)


_RULES: Mapping[str, Callable[[Array, _Axis], Any]] = MappingProxyType(
    {
        "align_corners": _align_corners,
        "asymmetric": lambda o, axis: o / axis.scale,
        "half_pixel": _half_pixel,
        "half_pixel_symmetric": _symmetric,
        "pytorch_half_pixel": _torch_half_pixel,
        "tf_crop_and_resize": _crop,
        "tf_half_pixel_for_nn": lambda o, axis: (o + 0.5) / axis.scale,
    }
)

_NEAREST: Mapping[str, Callable[[Array], Any]] = MappingProxyType(
    {
        "ceil": np.ceil,
        "floor": np.floor,
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    }
)


def nearest_index(x: Array, size: int, rule: str = "round_prefer_floor") -> Array:
    """Return the pixel nearest to each position, held inside the axis; `rule` decides for positions half-way.

    >>> nearest_index(np.array([-0.25, 0.5, 1.75]), 2).tolist()
    [0, 0, 1]
    """
    if rule not in _NEAREST:
        raise unknown("nearest_mode", rule, _NEAREST)
    return np.asarray(np.clip(_NEAREST[rule](x), 0, size - 1)).astype(np.int64)


def axis_weights(
    x: Array, size: int, kernel: Callable[[Array], Array], radius: int, *, shrink: float = 1.0, exclude: bool = False
) -> Array:
    """Return the matrix (positions, size) of the weight of every pixel at every position on an axis.

    A pixel at distance d weighs kernel(d), zero beyond `radius`. `shrink` < 1 widens the kernel by 1/shrink, so that
    a smaller image averages instead of skipping (antialiasing). Pixels beyond an end repeat the last one, or with
    `exclude` weigh nothing.

    >>> axis_weights(np.array([0.25, 1.0]), 2, linear_kernel, 1).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    first = np.floor(x - radius / shrink) + 1
    near = first[:, None] + np.arange(2 * int(np.ceil(radius / shrink)) + 1)
    weights = kernel((near - x[:, None]) * shrink)
    if exclude:
        weights = np.where((near >= 0) & (near < size), weights, 0)
    if exclude or shrink < 1:
        weights = weights / weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(x), size))
    np.add.at(matrix, (np.arange(len(x))[:, None], np.clip(near, 0, size - 1).astype(int)), weights)
    return matrix


def linear_kernel(d: Array) -> Array:
    """Return max(0, 1 - |d|), the triangle.

    >>> linear_kernel(np.array([0.0, -0.25, 2.0])).tolist()
    [1.0, 0.75, 0.0]
    """
    return np.asarray(np.maximum(1 - np.abs(d), 0))


def cubic_kernel(d: Array, a: float = -0.75) -> Array:
    """Return Keys' cubic: (a+2)|d|^3 - (a+3)|d|^2 + 1 up to 1, a|d|^3 - 5a|d|^2 + 8a|d| - 4a up to 2, then 0.

    >>> cubic_kernel(np.array([0.0, 1.0, 1.5]), a=-0.5).tolist()
    [1.0, 0.0, -0.0625]
    """
    d = np.abs(d)
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0))


def resize(
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: str = "stretch",
) -> Array:
    """Return x with some axes resized, by `scales` or to `sizes`; `axes` default to all.

    `mode` nearest, linear or cubic; for the rest see `coordinates`, `nearest_index` and `axis_weights`.

    >>> resize(np.array([[[[1, 2]]]]), scales=np.array([1, 1, 1, 2.0])).tolist()
    [[[[1, 1, 2, 2]]]]
    """
    along = tuple(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    factors, lengths = _targets(x, along, scales, sizes, keep_aspect_ratio_policy)
    kernels = {"linear": (linear_kernel, 1), "cubic": (lambda d: cubic_kernel(d, cubic_coeff_a), 2)}
    if mode not in ("nearest", *kernels):
        raise unknown("mode", mode, ("nearest", *kernels))
    crops = coordinate_transformation_mode == "tf_crop_and_resize"
    if crops and (roi is None or len(roi) != 2 * len(along)):
        raise HetcnnError("tf_crop_and_resize needs roi: the starts of all axes, then the ends")
    y, outside = x, np.zeros((1,) * x.ndim, bool)
    for i, (axis, factor, length) in enumerate(zip(along, factors, lengths, strict=True)):
        part = (float(roi[i]), float(roi[i + len(along)])) if crops and roi is not None else (0.0, 1.0)
        if factor == 1 and length == x.shape[axis] and part == (0.0, 1.0):
            continue
        size = x.shape[axis]
        at = coordinates(coordinate_transformation_mode, length, size, factor, part)
        if crops:
            lost = (at < 0) | (at > size - 1)
            outside = outside | lost.reshape(-1, *(1,) * (x.ndim - axis - 1))
        if mode == "nearest":
            y = np.take(y, nearest_index(at, size, nearest_mode), axis=axis)
            continue
        kernel, radius = kernels[mode]
        shrink = min(factor, 1.0) if antialias else 1.0
        y = _apply(axis_weights(at, size, kernel, radius, shrink=shrink, exclude=bool(exclude_outside)), y, axis)
    return np.asarray(np.where(outside, extrapolation_value, y) if outside.any() else y).astype(x.dtype)


def _apply(matrix: Array, y: Array, axis: int) -> Array:
    kind = sum_type(y.dtype) if y.dtype.kind not in "iub" else np.dtype(np.float64)
    product = np.tensordot(matrix.astype(kind), y.astype(kind, copy=False), axes=(1, axis))
    return np.moveaxis(product, 0, axis)


def _targets(
    x: Array, axes: tuple[int, ...], scales: Array | None, sizes: Array | None, policy: str
) -> tuple[list[float], list[int]]:
    """Return the factor and the new length of each axis."""
    lengths = [x.shape[axis] for axis in axes]
    given = [None if v is None or np.size(v) == 0 else np.asarray(v).tolist() for v in (scales, sizes)]
    if (given[0] is None) == (given[1] is None) or len(given[0] or given[1] or ()) != len(axes):
        raise HetcnnError(f"scales {given[0]}, sizes {given[1]}: expected one of them, with {len(axes)} numbers")
    if given[0] is not None:
        if min(given[0]) <= 0:
            raise HetcnnError(f"scales {given[0]}: expected numbers above 0")
        return given[0], [floor(n * s) for n, s in zip(lengths, given[0], strict=True)]
    wanted = [int(v) for v in given[1] or ()]
    factors = [w / n for w, n in zip(wanted, lengths, strict=True)]
    if policy == "stretch":
        return factors, wanted
    if policy not in ("not_larger", "not_smaller"):
        raise unknown("keep_aspect_ratio_policy", policy, ("stretch", "not_larger", "not_smaller"))
    common = min(factors) if policy == "not_larger" else max(factors)
    return [common] * len(axes), [floor(common * n + 0.5) for n in lengths]


def upsample(x: Array, scales: Iterable[float], *, mode: str = "nearest") -> Array:
    """Return x enlarged by one factor per axis, as ONNX had it before Resize: pixel o comes from position o/scale.

    >>> upsample(np.array([[1, 2]]), [1.0, 2.0]).tolist()
    [[1, 1, 2, 2]]
    """
    rules = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return resize(x, None, np.asarray(list(scales)), mode="linear" if mode == "bilinear" else mode, **rules)  # type: ignore[arg-type]
