"""From a float network to integers: calibrate on sample inputs, rewrite, and see the error layer by layer.

>>> from hetcnn import zoo
>>> net, images = zoo.load("lenet-5", seed=0), np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
>>> worst = layer_errors(fixed_point(net, images), images).relative.max()
>>> 0.0 < float(worst) < 0.05
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.fixed_point import Format, from_fixed
from hetcnn.kernels.folding import fold_batch_norm
from hetcnn.kernels.interpreter import Feed, Interpreter
from hetcnn.kernels.rewriting import Rewriter
from hetcnn.kernels.to_fixed_point import FixedRewriter
from hetcnn.kernels.to_int8 import Int8, Int8Rewriter, Range
from hetcnn.network import Network

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LayerErrors", "Quantised", "Samples", "agreement", "fixed_point", "int8", "layer_errors", "ranges"]

Samples = Array | Sequence[Feed] | Mapping[str, Array]
"""Inputs to calibrate on: those of one run, or a list with those of several."""


@dataclass(frozen=True)
class Quantised:
    """A network on integers, the float network that it came from (batch normalisation folded), and its codes.

    `codes` has the code of each tensor, by its name in the float network, that exists as integers, and `names` what it
    is called in the integer network.
    """

    network: Network
    original: Network
    codes: Mapping[str, Int8 | Format] = field(repr=False)
    names: Mapping[str, str] = field(repr=False)

    def decode(self, name: str, values: Array) -> Array:
        """Return the integers of a tensor as the float numbers that they stand for."""
        code = self.codes[name]
        return from_fixed(values, fraction=code.fraction) if isinstance(code, Format) else code.decode(values)


def _runs(samples: Samples) -> list[Feed]:
    return list(samples) if isinstance(samples, (list, tuple)) else [samples]  # type: ignore[list-item]


def ranges(network: Network, samples: Samples) -> dict[str, Range]:
    """Return the smallest and largest value of every float tensor over all samples.

    >>> from hetcnn.builder import Builder
    >>> b = Builder("tiny", (1, 3))
    >>> ranges(b.build(b.relu(b.input, name="y")), np.array([[-1, 0, 2]], np.float32))
    {'input': (-1.0, 2.0), 'y': (0.0, 2.0)}
    """
    interpreter = Interpreter.of(network)
    found: dict[str, Range] = {}
    for feed in _runs(samples):
        for name, values in interpreter.activations(feed):
            if values.size == 0 or values.dtype.kind != "f":
                continue
            low, high = float(values.min()), float(values.max())
            if not np.isfinite([low, high]).all():
                raise HetcnnError(f"tensor '{name}' holds {low:g} to {high:g}; calibration needs finite samples")
            before = found.get(name, (low, high))
            found[name] = (min(low, before[0]), max(high, before[1]))
    if not found:
        raise HetcnnError(f"network '{network.name}': calibration needs at least one sample")
    return found


def int8(network: Network, samples: Samples, *, per_channel: bool = True) -> Quantised:
    """Return a float network on ONNX's int8 operators, its ranges taken from samples.

    The result is a plain ONNX network: other runtimes run it too. `per_channel` gives every filter its own scale.
    Raises HetcnnError for missing weights, and for samples that do not fit or are not finite.
    """
    folded = fold_batch_norm(network)
    return _quantised(folded, Int8Rewriter(folded, ranges(folded, samples), per_channel=per_channel))


def fixed_point(
    network: Network, samples: Samples | None = None, *, bits: int = 16, fraction: int | None = 8
) -> Quantised:
    """Return a float network on fixed-point words, as `hetcnn.kernels.fixed_point` defines them; Q8.8 by default.

    With `fraction=None` each tensor has the fraction that its range over the samples asks for; one fraction for all
    needs no samples. Raises HetcnnError as `int8` does, and for words of fewer than 2 or more than 16 bits.
    """
    Format(bits, fraction or 0)
    if samples is None and fraction is None:
        raise HetcnnError("fraction=None: a fraction for each tensor needs samples to find its range")
    folded = fold_batch_norm(network)
    found = {} if samples is None else ranges(folded, samples)
    return _quantised(folded, FixedRewriter(folded, found, bits=bits, fraction=fraction))


def _quantised(original: Network, rewriter: Rewriter[Int8] | Rewriter[Format]) -> Quantised:
    network = rewriter.rewrite()
    codes = {name: coded.code for name, coded in rewriter.codes.items()}
    return Quantised(network, original, codes, {name: coded.tensor.name for name, coded in rewriter.codes.items()})


@dataclass(frozen=True)
class LayerErrors:
    """The error of every tensor that exists as integers, in the order of the layers that write them; one array each.

    `scale` is the root mean square of the float values, `rms` that of the error, `largest` the largest error and
    `clipped` the share of float values beyond what the codes can express.
    """

    layers: tuple[str, ...]
    ops: tuple[str, ...]
    scale: Array
    rms: Array
    largest: Array
    clipped: Array

    @property
    def relative(self) -> Array:
        """Error over signal, both root mean square."""
        return np.asarray(self.rms / np.where(self.scale > 0, self.scale, 1))

    @property
    def sqnr(self) -> Array:
        """Signal to quantisation noise in dB: 20 log10(scale / rms); about 6 dB per bit."""
        with np.errstate(divide="ignore"):
            return np.asarray(-20 * np.log10(self.relative))

    def dataset(self) -> xr.Dataset:
        """Return the errors as an xarray Dataset along `layer`."""
        import xarray as xr

        def variable(values: Array, units: str, long_name: str) -> tuple[str, Array, dict[str, str]]:
            return ("layer", values, {"units": units, "long_name": long_name})

        return xr.Dataset(
            {
                "scale": variable(self.scale, "1", "root mean square of the float values"),
                "rms": variable(self.rms, "1", "root mean square error"),
                "largest": variable(self.largest, "1", "largest error"),
                "relative": variable(self.relative, "1", "error over signal"),
                "sqnr": variable(self.sqnr, "dB", "signal to quantisation noise"),
                "clipped": variable(self.clipped, "1", "share of values beyond the codes"),
            },
            coords={"layer": list(self.layers), "op": ("layer", list(self.ops))},
        )


def layer_errors(quantised: Quantised, inputs: Feed) -> LayerErrors:
    """Run both networks on the same inputs and compare every tensor that exists as integers.

    Errors are those of the whole chain up to a layer, not of the layer alone.
    """
    exact = {n: v for n, v in Interpreter.of(quantised.original).activations(inputs) if n in quantised.codes}
    place = {coded: name for name, coded in quantised.names.items()}
    producers = quantised.original.producers
    rows: list[tuple[str, str, float, float, float, float]] = []
    for coded, values in Interpreter.of(quantised.network).activations(inputs):
        name = place.get(coded)
        if name is None:
            continue
        want, code = exact.pop(name).astype(np.float64), quantised.codes[name]
        error = quantised.decode(name, values) - want
        beyond = (want < code.low - _half(code)) | (want > code.high + _half(code))
        layer = producers.get(name)
        title, op = (layer.name, layer.op) if layer else (name, "input")
        rows.append((title, op, _rms(want), _rms(error), float(np.abs(error).max()), float(beyond.mean())))
    columns = list(zip(*rows, strict=True))
    return LayerErrors(columns[0], columns[1], *(np.array(column) for column in columns[2:]))


def _half(code: Int8 | Format) -> float:
    return (code.scale if isinstance(code, Int8) else code.resolution) / 2


def _rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def agreement(quantised: Quantised, samples: Samples) -> float:
    """Return the share of images for which both networks name the same class, the largest of their first output.

    >>> from hetcnn import zoo
    >>> net = zoo.load("lenet-5", seed=0)
    >>> image = np.random.default_rng(1).random((1, 1, 28, 28), np.float32)
    >>> agreement(int8(net, image), image)
    1.0
    """
    pair = [Interpreter.of(network) for network in (quantised.original, quantised.network)]
    hits: list[Array] = []
    for feed in _runs(samples):
        one, other = (next(iter(i.run(feed).values())) for i in pair)
        hits.append(one.reshape(len(one), -1).argmax(axis=1) == other.reshape(len(other), -1).argmax(axis=1))
    return float(np.concatenate(hits).mean())
