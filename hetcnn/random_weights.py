"""Seeded random weights under which activations neither explode nor vanish, for any network.

The second moment of every tensor is estimated through the graph (He's argument); each convolution or product then gets
weights of variance 1 / (fan-in x second moment of its input), so that its output has unit variance.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from math import log, pi, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.network import Layer, Network, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["random_weights", "with_random_weights"]


class _Power(NamedTuple):
    """Estimated second moment of a tensor, and the part of it that positive values hold (half of it, or all)."""

    square: float
    positive: float


_SPREAD = 0.1  # standard deviation of biases and running means, in units of the activations'


def with_random_weights(network: Network, seed: int = 0) -> Network:
    """Return the same network carrying seeded random weights in place of its own.

    >>> from hetcnn import zoo
    >>> net = with_random_weights(zoo.load("lenet-5"), seed=1)
    >>> net.weights["conv1.weight"].shape
    (6, 1, 5, 5)
    """
    return network.with_weights(random_weights(network, seed))


def random_weights(network: Network, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return name -> array for every constant of the network.

    A tensor depends on the seed and its own name only. Bounds, shapes and other constants that are no parameters keep
    the values that the network carries; He et al., "Delving deep into rectifiers", Eq. 10, for ReLU networks.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise HetcnnError(f"network '{network.name}': seed {seed!r}; it must be a whole number from 0")
    arrays: dict[str, NDArray[Any]] = {}
    powers = {t.name: _symmetric(1.0) for t in network.inputs}
    for layer in network.layers:
        trained = {t.name for t in layer.parameters} | {t.name for t in _statistics(layer)}
        given = [powers.get(t.name, _symmetric(1.0)) for t in layer.data] or [_symmetric(1.0)]
        for position, tensor in enumerate(layer.inputs):
            if tensor is None or not tensor.constant or tensor.name in arrays:
                continue
            if tensor.name in trained and "float" in tensor.dtype and tensor.shape:
                rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
                values = _values(rng, layer, position, tensor, given[0].square)
                arrays[tensor.name] = values.astype(tensor.dtype, copy=False)
            elif tensor.name in network.weights:
                arrays[tensor.name] = network.weights[tensor.name]
        powers |= dict.fromkeys((t.name for t in layer.outputs), _power(layer, given))
    return arrays


def _statistics(layer: Layer) -> list[Tensor]:
    return [t for t in layer.inputs[3:5] if t is not None] if layer.op == "BatchNormalization" else []


def _values(rng: np.random.Generator, layer: Layer, position: int, tensor: Tensor, power: float) -> NDArray[Any]:
    """Return the values of one constant input of a layer whose data has the second moment `power`."""
    gemm = layer.gemm
    if gemm is not None:
        deviation = max(gemm.K * power, 1e-12) ** -0.5 if position < 2 else _SPREAD
        return _normal(rng, tensor) * np.float32(deviation)
    if layer.op == "BatchNormalization":
        if position == 4:
            return _near_one(rng, tensor) * np.float32(power)
        return _near_one(rng, tensor) if position == 1 else _normal(rng, tensor) * np.float32(_SPREAD * power**0.5)
    if layer.op in ("Mul", "Div"):
        return _near_one(rng, tensor)
    if layer.op == "PRelu":
        return _near_one(rng, tensor) * np.float32(0.25)
    return (
        _near_one(rng, tensor) if layer.kind == "norm" and position == 1 else _normal(rng, tensor) * np.float32(_SPREAD)
    )


def _normal(rng: np.random.Generator, tensor: Tensor) -> NDArray[np.float32]:
    return rng.standard_normal(tensor.shape, np.float32)


def _near_one(rng: np.random.Generator, tensor: Tensor) -> NDArray[np.float32]:
    return np.float32(0.75) + np.float32(0.5) * rng.random(tensor.shape, np.float32)


def _power(layer: Layer, given: list[_Power]) -> _Power:
    """Return the estimated moments of a layer's output, given those of its data inputs."""
    if layer.gemm is not None:
        return _symmetric(1 + _SPREAD**2)
    rule = None if layer.domain else _RULES.get(layer.op)
    return rule(layer, given) if rule else given[0]


def _symmetric(square: float) -> _Power:
    return _Power(square, square / 2)


def _sum(_: Layer, given: list[_Power]) -> _Power:
    return _Power(sum(p.square for p in given), sum(p.positive for p in given))


def _mean(layer: Layer, given: list[_Power]) -> _Power:
    sizes = [t.size / max(sum(d.size for d in layer.data), 1) for t in layer.data]
    pairs = list(zip(given, sizes, strict=True))
    return _Power(sum(p.square * s for p, s in pairs), sum(p.positive * s for p, s in pairs))


def _product(_: Layer, given: list[_Power]) -> _Power:
    return _symmetric(prod(p.square for p in given))


def _rectified(_: Layer, given: list[_Power]) -> _Power:
    return _Power(given[0].positive, given[0].positive)


def _maximum(layer: Layer, given: list[_Power]) -> _Power:
    taps = max(prod(layer.attrs.get("kernel_shape", ())), 1)
    square = given[0].square * (1 + 1.5 * log(taps))  # of 4 or 9 rectified normals
    return _Power(square, square)


def _average(layer: Layer, given: list[_Power]) -> _Power:
    taps = prod(layer.attrs.get("kernel_shape", layer.data[0].shape[2:]))
    positive = (
        2 * given[0].positive / max(given[0].square, 1e-12) - 1
    )  # 1 for rectified values, whose squared mean is 1/pi of it
    share = positive / pi
    square = given[0].square * (share + (1 - share) / max(taps, 1))
    return _Power(square, square * (1 + positive) / 2)


def _response(layer: Layer, given: list[_Power]) -> _Power:
    bias, alpha, beta = (float(layer.attrs.get(k, d)) for k, d in (("bias", 1.0), ("alpha", 1e-4), ("beta", 0.75)))
    factor = (bias + alpha * given[0].square) ** (-2 * beta)
    return _Power(given[0].square * factor, given[0].positive * factor)


_RULES: dict[str, Callable[[Layer, list[_Power]], _Power]] = {
    "Add": _sum,
    "AveragePool": _average,
    "BatchNormalization": lambda *_: _symmetric(1.06),  # what the spread of its four weights adds
    "Clip": _rectified,
    "Concat": _mean,
    "GlobalAveragePool": _average,
    "GroupNormalization": lambda *_: _symmetric(1.0),
    "InstanceNormalization": lambda *_: _symmetric(1.0),
    "LRN": _response,
    "LayerNormalization": lambda *_: _symmetric(1.0),
    "MaxPool": _maximum,
    "Mul": _product,
    "Relu": _rectified,
    "Sigmoid": lambda *_: _Power(0.3, 0.3),
    "Softmax": lambda *_: _Power(1.0, 1.0),
    "Sum": _sum,
    "Tanh": lambda _, given: _symmetric(given[0].square / (1 + given[0].square)),
}
