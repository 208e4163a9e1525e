"""A float network as one of ONNX's integer operators: int8 activations with a zero point, int8 weights without.

Convolutions and fully connected layers become QLinearConv with int32 biases, a following ReLU or ReLU6 goes into their
output range, max pooling and moves run on the codes; the rest stays float between DequantizeLinear and QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetcnn.kernels.arrays import Array
from hetcnn.kernels.rewriting import MOVES, Coded, Rewriter
from hetcnn.network import Layer, Network, Tensor

__all__ = ["Int8", "Int8Rewriter", "Range"]

Range = tuple[float, float]
"""The smallest and the largest value that a tensor took."""

_CODE_POOL_OPSET = 12  # MaxPool takes int8 from here on


@dataclass(frozen=True)
class Int8:
    """What int8 codes stand for: r = scale * (q - zero_point).

    >>> Int8.of((0.0, 255.0))
    Int8(scale=1.0, zero_point=-128)
    """

    scale: float
    zero_point: int

    @classmethod
    def of(cls, values: Range) -> Int8:
        """Return the code that spreads a range, widened to hold 0, over -128 to 127."""
        low, high = min(values[0], 0.0), max(values[1], 0.0)
        scale = float(np.float32((high - low) / 255)) or 1.0
        return cls(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))

    @property
    def low(self) -> float:
        """The smallest number."""
        return self.scale * (-128 - self.zero_point)

    @property
    def high(self) -> float:
        """The largest number."""
        return self.scale * (127 - self.zero_point)

    def decode(self, q: Array) -> Array:
        """Return the numbers that codes stand for, as float32."""
        return (q.astype(np.float32) - self.zero_point) * np.float32(self.scale)


class Int8Rewriter(Rewriter[Int8]):
    """The rewriter to int8."""

    def __init__(self, network: Network, ranges: Mapping[str, Range], *, per_channel: bool) -> None:
        super().__init__(network)
        self.ranges = dict(ranges)
        self.per_channel = per_channel
        for layer in reversed(network.layers):
            self._share(layer)

    @property
    def rules(self) -> Mapping[str, Callable[[Layer], bool]]:
        """The operators with a form on int8."""
        return {"Conv": self._conv, "Gemm": self._gemm, "MaxPool": self._max_pool, "Concat": self._concat}

    def _share(self, layer: Layer) -> None:
        """Give what is concatenated the range of the result: with one code for all, joining moves bytes.

        It spreads to what only a move or a pooling stands before, as these keep the code that they read.
        """
        if layer.domain or not layer.data:
            return
        if layer.op == "Concat":
            self.ranges |= dict.fromkeys((t.name for t in layer.data), self.ranges[layer.outputs[0].name])
        elif (layer.op in MOVES or layer.op == "MaxPool") and self.only_reader(layer.data[0]) is not None:
            lows, highs = zip(*(self.ranges[t.name] for t in layer.outputs if t.name in self.ranges), strict=True)
            self.ranges[layer.data[0].name] = (min(lows), max(highs))

    def encoding(self, tensor: Tensor) -> tuple[Int8, str, str, Sequence[Tensor], Mapping[str, Any], str]:
        """Code with QuantizeLinear, over the range that the tensor took."""
        code = Int8.of(self.ranges[tensor.name])
        return code, "QuantizeLinear", "", self._parameters(tensor.name, code), {}, "int8"

    def decoding(self, coded: Coded[Int8]) -> tuple[str, str, Sequence[Tensor], Mapping[str, Any]]:
        """Decode with DequantizeLinear."""
        return "DequantizeLinear", "", self._parameters(coded.tensor.name.removesuffix(self.suffix), coded.code), {}

    def _parameters(self, name: str, code: Int8) -> tuple[Tensor, Tensor]:
        scale = self.constant(f"{name}/scale", np.array(code.scale, np.float32))
        return scale, self.constant(f"{name}/zero_point", np.array(code.zero_point, np.int8))

    def _conv(self, layer: Layer) -> bool:
        x, w, *rest = layer.inputs
        if x is None or x.constant or w is None or len(layer.data) != 1 or w.dtype != "float32":
            return False
        bias = rest[0] if rest else None
        y = self._destination(layer)
        self._qlinear_conv(layer, self.coded(x), self.array(w), bias, y, y.shape, layer.attrs)
        return True

    def _destination(self, layer: Layer) -> Tensor:
        """Return the tensor that a layer's codes are: its own result, or that of the ReLU that alone reads it.

        A ReLU costs nothing: the codes of its result begin at 0 (and end at 6), and the conversion saturates.
        """
        y = layer.outputs[0]
        reader = self.only_reader(y)
        if reader is None or reader.domain or reader.op not in ("Relu", "Clip") or len(reader.data) != 1:
            return y
        if reader.op == "Clip":
            low, high = (self._bound(reader, i, default) for i, default in ((1, -np.inf), (2, np.inf)))
            seen = self.ranges[reader.outputs[0].name]
            if seen[0] < low or seen[1] > high or low > 0 or high < 0:
                return y
            code = Int8.of(seen)
            if code.low < low - code.scale / 2 or code.high > high + code.scale / 2:
                return y
        elif self.ranges[reader.outputs[0].name][0] < 0:
            return y
        self.done.add(reader.name)
        return reader.outputs[0]

    def _bound(self, layer: Layer, position: int, default: float) -> float:
        tensor = layer.inputs[position] if len(layer.inputs) > position else None
        if tensor is None:
            return float(layer.attrs.get(("", "min", "max")[position], default))
        return float(self.array(tensor).item())

    def _qlinear_conv(
        self,
        layer: Layer,
        x: Coded[Int8],
        weight: Array,
        bias: Tensor | None,
        y: Tensor,
        shape: tuple[int, ...],
        attrs: Mapping[str, Any],
    ) -> Tensor:
        """Emit the integer convolution, with weights and bias coded; its result has `shape`."""
        code = Int8.of(self.ranges[y.name])
        axes = tuple(range(1, weight.ndim)) if self.per_channel else None
        largest = np.abs(weight).max(axis=axes).reshape(-1)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        steps = np.rint(weight / scale.reshape(-1, *(1,) * (weight.ndim - 1)))
        stored = np.clip(steps, -127, 127).astype(np.int8)
        scale = scale if self.per_channel else scale.reshape(())
        parts = [self.constant(f"{layer.name}/weight", stored), self.constant(f"{layer.name}/weight_scale", scale)]
        parts += [self.constant(f"{layer.name}/weight_zero_point", np.zeros(scale.shape, np.int8))]
        name = x.tensor.name.removesuffix(self.suffix)
        inputs = [x.tensor, *self._parameters(name, x.code), *parts, *self._parameters(y.name, code)]
        if bias is not None:
            units = np.float32(x.code.scale) * np.asarray(scale, np.float32)
            codes = np.clip(np.rint(self.array(bias).astype(np.float64) / units), -(2**31), 2**31 - 1)
            inputs.append(self.constant(f"{layer.name}/bias", codes.astype(np.int32)))
        out = self.write(y, code, "int8")
        if shape != y.shape:
            out = Tensor(f"{layer.name}/image{self.suffix}", shape, "int8")
        self.emit(layer.name, "QLinearConv", inputs, [out], attrs)
        return out

    def _gemm(self, layer: Layer) -> bool:
        """A fully connected layer is a 1x1 convolution of 1x1 images."""
        x, w, *rest = layer.inputs
        plain = all(layer.attrs.get(key, 1) == 1 for key in ("alpha", "beta")) and not layer.attrs.get("transA", 0)
        bias = rest[0] if rest else None
        fits = bias is None or (bias.constant and bias.size == layer.outputs[0].shape[1])
        if x is None or x.constant or w is None or not w.constant or w.dtype != "float32" or not plain or not fits:
            return False
        weight = self.array(w) if layer.attrs.get("transB", 0) else self.array(w).T
        data = self.coded(x)
        image = self._reshape(f"{layer.name}/as_image", data.tensor, (*x.shape, 1, 1))
        y = self._destination(layer)
        filters, attrs = weight[:, :, None, None], {"kernel_shape": (1, 1)}
        pixels = self._qlinear_conv(layer, Coded(image, data.code), filters, bias, y, (*y.shape, 1, 1), attrs)
        self._reshape(f"{layer.name}/as_rows", pixels, y.shape, self.codes[y.name].tensor)
        return True

    def _reshape(self, name: str, x: Tensor, shape: tuple[int, ...], out: Tensor | None = None) -> Tensor:
        out = out or Tensor(f"{name}{self.suffix}", shape, x.dtype)
        target = self.constant(f"{name}/shape", np.array(shape, np.int64))
        self.emit(self.new_name(name), "Reshape", [x, target], [out], {})
        return out

    def _max_pool(self, layer: Layer) -> bool:
        x = layer.inputs[0]
        if x is None or x.name not in self.codes or len(layer.outputs) > 1 or self.network.opset < _CODE_POOL_OPSET:
            return False
        coded = self.codes[x.name]
        out = self.write(layer.outputs[0], coded.code, "int8")
        self.emit(layer.name, "MaxPool", [coded.tensor], [out], layer.attrs)
        return True

    def _concat(self, layer: Layer) -> bool:
        if any(t is None or t.constant for t in layer.inputs) or not any(t.name in self.codes for t in layer.data):
            return False
        wanted = Int8.of(self.ranges[layer.outputs[0].name])
        if any(self.codes[t.name].code != wanted for t in layer.data if t.name in self.codes):
            return False
        parts = [self.coded(t) for t in layer.data]
        if any(part.code != wanted for part in parts):
            return False
        out = self.write(layer.outputs[0], parts[0].code, "int8")
        self.emit(layer.name, "Concat", [part.tensor for part in parts], [out], layer.attrs)
        return True
