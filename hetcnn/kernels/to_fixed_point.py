"""A float network as one of fixed-point words (Q8.8, or a fraction fitted to each tensor), as a small machine runs it.

Convolutions, fully connected layers, sums, products, pooling, ReLU and moves compute on words; the rest (softmax, local
response normalisation, sigmoids) runs on floats in between, as on the host processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import frexp
from typing import Any

import numpy as np

from hetcnn.kernels.arrays import Array
from hetcnn.kernels.fixed_point import ACCUMULATOR_BITS, DOMAIN, Format, to_fixed
from hetcnn.kernels.folding import channel_affine
from hetcnn.kernels.rewriting import Coded, Rewriter
from hetcnn.kernels.to_int8 import Range
from hetcnn.network import Layer, Network, Tensor

__all__ = ["FixedRewriter"]

_WINDOW = ("strides", "pads", "dilations", "group", "auto_pad", "kernel_shape")


class FixedRewriter(Rewriter[Format]):
    """The rewriter to fixed point.

    Without a `fraction` each tensor has the longest that holds the range it took, and weights at most the fraction
    with which the result of their layer fits into the accumulator.
    """

    def __init__(self, network: Network, ranges: Mapping[str, Range], *, bits: int, fraction: int | None) -> None:
        super().__init__(network)
        self.ranges = ranges
        self.bits, self.fraction = bits, fraction

    @property
    def rules(self) -> Mapping[str, Callable[[Layer], bool]]:
        """The operators with a form on words."""
        same = dict.fromkeys(("AveragePool", "GlobalAveragePool", "MaxPool", "Relu"), self._unary)
        sums = dict.fromkeys(("Add", "Sum"), self._add)
        return {
            **same,
            **sums,
            "BatchNormalization": self._batch_normalization,
            "Clip": self._clip,
            "Concat": self._concat,
            "Conv": self._conv,
            "Gemm": self._gemm,
            "Mul": self._multiply,
        }

    def format_of(self, name: str) -> Format:
        """Return the format of a tensor that the network computes."""
        if self.fraction is not None:
            return Format(self.bits, self.fraction)
        return Format.holding(self._largest(name), self.bits)

    def _largest(self, name: str) -> float:
        return max(map(abs, self.ranges[name]))

    def encoding(self, tensor: Tensor) -> tuple[Format, str, str, Sequence[Tensor], Mapping[str, Any], str]:
        """Round to words."""
        code = self.format_of(tensor.name)
        return code, "ToFixed", DOMAIN, (), {"fraction": code.fraction, "bits": code.bits}, "int16"

    def decoding(self, coded: Coded[Format]) -> tuple[str, str, Sequence[Tensor], Mapping[str, Any]]:
        """Divide by 2^fraction."""
        return "FromFixed", DOMAIN, (), {"fraction": coded.code.fraction}

    def _words(self, name: str, values: Array, most: int | None = None) -> tuple[Tensor, Format]:
        """Store a constant as words, of at most `most` bits after the point."""
        code = Format(self.bits, self.fraction or 0)
        if self.fraction is None:
            code = Format.holding(float(np.abs(values).max(initial=0)), self.bits)
        if most is not None and code.fraction > most:
            code = Format(self.bits, most)
        return self.constant(name, to_fixed(values, fraction=code.fraction, bits=code.bits)), code

    def _operand(self, layer: Layer, position: int) -> Coded[Format]:
        """Return an input as words, be it data or constant."""
        tensor = layer.inputs[position]
        assert tensor is not None
        if tensor.constant:
            return Coded(*self._words(f"{layer.name}/{position}", self.array(tensor)))
        return self.coded(tensor)

    def _unary(self, layer: Layer) -> bool:
        x = layer.inputs[0]
        if x is None or x.constant or len(layer.outputs) > 1 or layer.attrs.get("storage_order"):
            return False
        coded = self.coded(x)
        out = self.write(layer.outputs[0], coded.code, "int16")
        self.emit(layer.name, layer.op, [coded.tensor], [out], layer.attrs, DOMAIN)
        return True

    def _clip(self, layer: Layer) -> bool:
        x, *bounds = layer.inputs
        if x is None or x.constant or any(b is not None and not b.constant for b in bounds):
            return False
        coded = self.coded(x)
        named = dict(zip(("min", "max"), bounds, strict=False))
        attrs = {}
        for ours, theirs in (("low", "min"), ("high", "max")):
            tensor = named.get(theirs)
            value = layer.attrs.get(theirs) if tensor is None else float(self.array(tensor).item())
            if value is not None:
                attrs[ours] = int(to_fixed(np.array(value), fraction=coded.code.fraction, bits=coded.code.bits))
        out = self.write(layer.outputs[0], coded.code, "int16")
        self.emit(layer.name, "Clip", [coded.tensor], [out], attrs, DOMAIN)
        return True

    def _mac(self, layer: Layer, op: str, weight: Array, bias: Array | None, attrs: Mapping[str, Any]) -> bool:
        """Emit a layer of multiply-accumulates on words."""
        x, y = layer.inputs[0], layer.outputs[0]
        assert x is not None
        data, code = self.coded(x), self.format_of(y.name)
        room = ACCUMULATOR_BITS - 2 - frexp(self._largest(y.name))[1] if self.fraction is None else 64
        stored, kind = self._words(f"{layer.name}/weight", weight, room - data.code.fraction)
        products = data.code.fraction + kind.fraction
        inputs = [data.tensor, stored]
        extra = {"shift": products - code.fraction, "bits": self.bits}
        if bias is not None:
            words, finer = self._words(f"{layer.name}/bias", bias, products)
            inputs.append(words)
            extra["bias_shift"] = products - finer.fraction
        self.emit(layer.name, op, inputs, [self.write(y, code, "int16")], {**attrs, **extra}, DOMAIN)
        return True

    def _conv(self, layer: Layer) -> bool:
        if len(layer.data) != 1 or layer.data[0] is not layer.inputs[0]:
            return False
        _, weight, *bias = (t for t in layer.inputs if t is not None)
        attrs = {key: layer.attrs[key] for key in _WINDOW if key in layer.attrs}
        return self._mac(layer, "Conv", self.array(weight), self.array(bias[0]) if bias else None, attrs)

    def _gemm(self, layer: Layer) -> bool:
        plain = all(layer.attrs.get(key, 1) == 1 for key in ("alpha", "beta")) and not layer.attrs.get("transA", 0)
        if not plain or len(layer.data) != 1 or layer.data[0] is not layer.inputs[0]:
            return False
        _, weight, *bias = (t for t in layer.inputs if t is not None)
        if bias and bias[0].size != layer.outputs[0].shape[1]:
            return False
        rows = self.array(weight) if layer.attrs.get("transB", 0) else self.array(weight).T
        return self._mac(layer, "Gemm", rows, self.array(bias[0]).reshape(-1) if bias else None, {})

    def _batch_normalization(self, layer: Layer) -> bool:
        """A batch normalisation on its own is a 1x1 convolution of each channel with itself."""
        x = layer.inputs[0]
        if x is None or len(layer.data) != 1 or layer.data[0] is not x or len(x.shape) < 3:
            return False
        factor, offset = channel_affine(layer, {t.name: self.array(t) for t in layer.inputs[1:] if t is not None})
        weight = factor.reshape(-1, *(1,) * (len(x.shape) - 1))
        return self._mac(layer, "Conv", weight, offset, {"group": x.shape[1]})

    def _aligned(self, layer: Layer, code: Format) -> list[Tensor]:
        """Return all inputs as words of one format."""
        found = []
        for position in range(len(layer.inputs)):
            coded = self._operand(layer, position)
            shift = coded.code.fraction - code.fraction
            if shift == 0:
                found.append(coded.tensor)
                continue
            name = self.new_name(f"{layer.name}/align{position}")
            moved = Tensor(name, coded.tensor.shape, "int16")
            self.emit(name, "Rescale", [coded.tensor], [moved], {"shift": shift, "bits": self.bits}, DOMAIN)
            found.append(moved)
        return found

    def _add(self, layer: Layer) -> bool:
        if any(t is None for t in layer.inputs):
            return False
        y = layer.outputs[0]
        code = self.format_of(y.name)
        inputs = self._aligned(layer, code)
        self.emit(layer.name, "Add", inputs, [self.write(y, code, "int16")], {"bits": self.bits}, DOMAIN)
        return True

    def _multiply(self, layer: Layer) -> bool:
        y = layer.outputs[0]
        a, b, code = self._operand(layer, 0), self._operand(layer, 1), self.format_of(y.name)
        shift = a.code.fraction + b.code.fraction - code.fraction
        attrs = {"shift": shift, "bits": self.bits}
        self.emit(layer.name, "Mul", [a.tensor, b.tensor], [self.write(y, code, "int16")], attrs, DOMAIN)
        return True

    def _concat(self, layer: Layer) -> bool:
        y = layer.outputs[0]
        code = self.format_of(y.name)
        inputs = self._aligned(layer, code)
        self.emit(layer.name, "Concat", inputs, [self.write(y, code, "int16")], layer.attrs)
        return True
