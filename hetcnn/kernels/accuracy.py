"""How many bits a network needs: what it answers on words of few bits beside what it answers in float.

Four ways to spend the bits (`SCHEMES`):

- `Q8.n`: fixed point with 8 bits before the point in every tensor and the rest after it; at 16 bits Q8.8.
- `fixed-point`: words too, but each tensor has the power of two that its range asks for.
- `int-per-tensor`: any scale per tensor, with a zero point for activations, as int8 runtimes do it.
- `int-per-channel`: the same, with one scale per filter of each weight.

The first two run on integers as `hetcnn.kernels.fixed_point` defines them, the last two at 8 bits as ONNX's integer
operators. At other widths, for which there are no operators, integers are simulated in float32: the same codes,
with products summed as float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hetcnn import images
from hetcnn.errors import HetcnnError, unknown
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.calibrate import ranges
from hetcnn.kernels.engine import Engine
from hetcnn.kernels.folding import fold_batch_norm
from hetcnn.kernels.to_fixed_point import FixedRewriter
from hetcnn.kernels.to_int8 import Int8Rewriter, Range
from hetcnn.network import Layer, Network, Tensor

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SCHEMES", "against_bits", "photographs", "quantised", "simulated"]

SCHEMES = ("Q8.n", "fixed-point", "int-per-tensor", "int-per-channel")
"""The ways to spend bits, from the simplest hardware to the most careful."""

Runner = Callable[[Network], Callable[[Array], Array]]
"""Makes a network ready: network -> (input -> its first output)."""


def photographs(augmentations: int = 3, *, seed: int = 0, size: int = 224) -> dict[str, Array]:
    """Return scikit-image's photographs and seeded variations of each as inputs of EfficientNet-Lite.

    Raises HetcnnError where scikit-image is not installed.
    """
    found = {}
    for i, name in enumerate(images.photographs()):
        pixels = images.photograph(name)
        found[name] = images.prepare(pixels, size)
        for j, varied in enumerate(images.augmented(pixels, augmentations, seed + 1000 * i), start=1):
            found[f"{name} {j}"] = images.prepare(varied, size)
    return found


@dataclass(frozen=True)
class _Calibrated:
    """A float network with batch normalisation folded, and the range of each of its tensors."""

    network: Network
    ranges: Mapping[str, Range]

    @classmethod
    def on(cls, network: Network, samples: Sequence[Array]) -> _Calibrated:
        folded = fold_batch_norm(network)
        return cls(folded, ranges(folded, samples))

    def quantised(self, scheme: str, bits: int) -> Network | None:
        """Return the network in one scheme, or None where the scheme has no such width."""
        if scheme == "Q8.n":
            return self._words(bits, bits - 8) if bits >= 8 else None
        if scheme == "fixed-point":
            return self._words(bits, None)
        per_channel = scheme == "int-per-channel"
        if bits == 8:
            return Int8Rewriter(self.network, self.ranges, per_channel=per_channel).rewrite()
        return _Simulation(self.network, self.ranges, bits, per_channel).network()

    def _words(self, bits: int, fraction: int | None) -> Network:
        return FixedRewriter(self.network, self.ranges, bits=bits, fraction=fraction).rewrite()


def _checked(scheme: str, bits: int) -> None:
    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)) or not 2 <= bits <= 16:
        raise HetcnnError(f"bits {bits!r}; a width is a whole number from 2 to 16")


def quantised(network: Network, samples: Sequence[Array], scheme: str, bits: int) -> Network:
    """Return a float network in one of the `SCHEMES`, with `bits` per weight and activation, calibrated on samples.

    Raises HetcnnError for an unknown scheme, for bits outside 2 to 16, and for Q8.n with fewer than 8.
    """
    _checked(scheme, bits)
    found = _Calibrated.on(network, samples).quantised(scheme, int(bits))
    if found is None:
        raise HetcnnError(f"Q8.n in {bits} bits; it has 8 before the point: give 8 to 16, or take 'fixed-point'")
    return found


def simulated(network: Network, samples: Sequence[Array], bits: int, *, per_channel: bool = True) -> Network:
    """Return a float network that rounds as integers of `bits` would: a plain ONNX network of float operators.

    Every weight of a convolution or fully connected layer, and every activation that such a layer reads or (after its
    ReLU) writes, becomes scale * (q - zero point) with q of `bits` bits; sums and biases stay float.
    """
    _checked(SCHEMES[-1], bits)
    calibrated = _Calibrated.on(network, samples)
    return _Simulation(calibrated.network, calibrated.ranges, int(bits), per_channel).network()


class _Simulation:
    """The walk that puts rounding between the layers of a network."""

    def __init__(self, network: Network, found: Mapping[str, Range], bits: int, per_channel: bool) -> None:
        self.original, self.ranges, self.bits, self.per_channel = network, found, bits, per_channel
        self.layers: list[Layer] = []
        self.weights = dict(network.weights)
        self.rounded: dict[str, Tensor] = {}

    def network(self) -> Network:
        """Return the network with the rounding in it."""
        pending: set[str] = set()
        for layer in self.original.layers:
            product = self._is_product(layer)
            self._emit(layer, product)
            result = layer.outputs[0]
            if product or any(t.name in pending for t in layer.data):
                if self._feeds_relu(result):
                    pending.add(result.name)
                else:  # the result exists as integers only: whoever reads it reads rounded values
                    exact = replace(result, name=f"{result.name}/exact")
                    self.layers[-1] = replace(self.layers[-1], outputs=(exact,))
                    self._round(exact, result)
        return replace(self.original, layers=tuple(self.layers), weights=self.weights)

    @staticmethod
    def _is_product(layer: Layer) -> bool:
        weight = layer.inputs[1] if len(layer.inputs) > 1 else None
        data = len(layer.data) == 1 and layer.data[0] is layer.inputs[0]
        return layer.op in ("Conv", "Gemm") and not layer.domain and data and weight is not None and weight.constant

    def _feeds_relu(self, tensor: Tensor) -> bool:
        readers = self.original.consumers.get(tensor.name, ())
        alone = len(readers) == 1 and all(t.name != tensor.name for t in self.original.outputs)
        return alone and readers[0].op in ("Relu", "Clip") and len(readers[0].data) == 1

    def _emit(self, layer: Layer, product: bool) -> None:
        inputs = [self._read(t, product) for t in layer.inputs]
        if product:
            weight = inputs[1]
            assert weight is not None
            values = np.asarray(self.original.weights[weight.name])
            inputs[1] = replace(weight, name=f"{layer.name}/rounded.weight")
            rows_first = layer.op == "Conv" or bool(layer.attrs.get("transB", 0))
            self.weights[f"{layer.name}/rounded.weight"] = self._rounded_weight(values, 0 if rows_first else 1)
        self.layers.append(replace(layer, inputs=tuple(inputs)))

    def _read(self, tensor: Tensor | None, product: bool) -> Tensor | None:
        if tensor is None or tensor.constant:
            return tensor
        if not product:
            return tensor
        if tensor.name not in self.rounded:
            self._round(tensor, replace(tensor, name=f"{tensor.name}/rounded"))
        return self.rounded[tensor.name]

    def _rounded_weight(self, values: Array, axis: int) -> Array:
        """Round to -(2^(bits-1) - 1) ... 2^(bits-1) - 1 steps; filters lie along `axis`."""
        others = tuple(i for i in range(values.ndim) if i != axis) if self.per_channel else None
        most = 2 ** (self.bits - 1) - 1
        largest = np.abs(values).max(axis=others, keepdims=True)
        scale = np.where(largest > 0, largest / most, 1).astype(np.float32)
        return np.asarray(np.clip(np.rint(values / scale), -most, most) * scale, values.dtype)

    def _round(self, x: Tensor, result: Tensor) -> None:
        """Emit result = scale * clip(round(x / scale), low, high), with the zero point taken off both bounds."""
        name = result.name.removesuffix("/rounded")
        low, high = min(self.ranges[name][0], 0.0), max(self.ranges[name][1], 0.0)
        steps = 2**self.bits - 1
        scale = np.float32((high - low) / steps) or np.float32(1)
        first = np.float32(np.clip(np.rint(low / scale), -steps, 0))
        bounds = [self._constant(f"{name}/{key}", v) for key, v in (("low", first), ("high", first + steps))]
        unit = self._constant(f"{name}/scale", scale)
        for op, extra in (("Div", [unit]), ("Round", []), ("Clip", bounds), ("Mul", [unit])):
            y = result if op == "Mul" else replace(x, name=f"{name}/{op.lower()}")
            self.layers.append(Layer(f"{name}/round/{op.lower()}", op, (x, *extra), (y,)))
            x = y
        self.rounded[name] = result

    def _constant(self, name: str, value: np.float32) -> Tensor:
        self.weights[name] = np.asarray(value, np.float32)
        return Tensor(name, (), "float32", constant=True)


def _on_engine(network: Network) -> Callable[[Array], Array]:
    engine = Engine(network)
    return lambda x: next(iter(engine.run(x).values()))


def against_bits(
    network: Network,
    samples: Mapping[str, Array],
    *,
    bits: Iterable[int] = (4, 6, 8, 12, 16),
    schemes: Sequence[str] = SCHEMES,
    calibration: Sequence[Array] | None = None,
    labels: Mapping[str, int] | None = None,
    run: Runner = _on_engine,
) -> xr.Dataset:
    """Return how often, and how closely, a network on few bits answers as it does in float.

    `samples` are inputs of the network by name, one image each; `calibration` those that ranges are taken from (by
    default the samples whose names have no space: not the variations of `photographs`); what goes beyond these ranges
    saturates, and that error stays however many bits there are. The Dataset has `agreement`
    (share of images with the float network's top class) and `error` (root mean square of the output's error over that
    of the output) by scheme and bits, NaN where a scheme has no such width; `choice` and `float_choice`, the top
    classes by image; `simulated`, whether integers were simulated; with `labels` (image -> true class) `accuracy` and
    `float_accuracy` over the images that have one. `run` makes a network ready to run, by default an `Engine`.
    """
    import xarray as xr

    widths = list(bits)
    for scheme in schemes:
        for width in widths:
            _checked(scheme, width)
    _check_samples(network, samples, labels)
    names = list(samples)
    calibrated = _Calibrated.on(network, list(calibration or [x for n, x in samples.items() if " " not in n]))
    want = _outputs(run(calibrated.network), samples)
    choice = np.full((len(schemes), len(widths), len(names)), -1, np.int64)
    error = np.full(choice.shape[:2], np.nan)
    for i, scheme in enumerate(schemes):
        for j, width in enumerate(widths):
            coded = calibrated.quantised(scheme, int(width))
            if coded is not None:
                got = _outputs(run(coded), samples)
                choice[i, j] = got.argmax(axis=1)
                error[i, j] = np.sqrt(np.mean((got - want) ** 2) / (np.mean(want**2) or 1.0))
    known = ~np.isnan(error)
    best = want.argmax(axis=1)
    pair, text = ("scheme", "bits"), "share of images with the top class of the float network"
    integers = np.array([[s.startswith("int") and w != 8 for w in widths] for s in schemes])
    variables = {
        "agreement": (pair, np.where(known, (choice == best).mean(axis=2), np.nan), _attrs(text)),
        "error": (pair, error, _attrs("error of the output over the output, both root mean square")),
        "choice": ((*pair, "image"), choice, _attrs("top class; -1 where there is none")),
        "float_choice": ("image", best, _attrs("top class of the float network")),
        "simulated": (pair, integers, _attrs("integers simulated in float32")),
    }
    if labels:
        has = [i for i, name in enumerate(names) if name in labels]
        truth = np.array([labels[names[i]] for i in has])
        hits = np.where(known, (choice[:, :, has] == truth).mean(axis=2), np.nan)
        variables["accuracy"] = (pair, hits, _attrs("share of labelled images with the right top class"))
        variables["float_accuracy"] = ((), float((best[has] == truth).mean()), _attrs("the same of the float network"))
    coords = {
        "scheme": ("scheme", list(schemes)),
        "bits": ("bits", widths, {"units": "bit", "long_name": "bits per weight and activation"}),
        "image": ("image", names),
    }
    return xr.Dataset(variables, coords, {"network": network.name})


def _attrs(long_name: str) -> dict[str, str]:
    return {"units": "1", "long_name": long_name}


def _check_samples(network: Network, samples: Mapping[str, Array], labels: Mapping[str, int] | None) -> None:
    port = network.inputs[0]
    if len(network.inputs) != 1 or port.shape[:1] != (1,):
        raise HetcnnError(
            f"network '{network.name}' has inputs {[t.shape for t in network.inputs]}; one of batch 1 is needed"
        )
    if not samples:
        raise HetcnnError("no samples; give at least one image")
    for name, x in samples.items():
        if x.shape != port.shape or x.dtype.name != port.dtype:
            raise HetcnnError(
                f"sample '{name}' is {x.dtype.name} {x.shape}; the network needs {port.dtype} {port.shape}"
            )
    for name in labels or ():
        if name not in samples:
            raise unknown("image in labels", name, samples)


def _outputs(run: Callable[[Array], Array], samples: Mapping[str, Array]) -> Array:
    """Return the first output of every sample as rows, in float64."""
    return np.stack([run(x).reshape(-1).astype(np.float64) for x in samples.values()])
