"""Layers and networks: a graph with shapes, exact MACs, bytes, GEMM dimensions and arithmetic intensity.

A `Network` is a directed acyclic graph whose nodes are `Layer`s and whose edges are `Tensor`s. Operator names and
attributes are ONNX's, so the same object is analysed, executed, compiled and written out. All counts are exact
Python integers; 1 MAC = 2 ops; one element of float32 is 4 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VIEW_OPS", "GemmShape", "Layer", "Network", "Tensor", "element_bits"]

VIEW_OPS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"})
"""Operators that rename memory, or read its shape, and move nothing."""

_KINDS = {
    "pool": {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"},
    "norm": {"BatchNormalization", "InstanceNormalization", "LRN", "LayerNormalization"},
    "act": {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "LogSoftmax", "PRelu", "Relu", "Selu"}
    | {"Sigmoid", "Softmax", "Softplus", "Tanh"},
    "add": {"Add", "Div", "Mul", "Sub", "Sum", "Max", "Min"},
    "move": {"Concat", "DepthToSpace", "Gather", "Pad", "Resize", "Slice", "SpaceToDepth", "Split", "Transpose"},
    "view": set(VIEW_OPS),
}
_KIND_OF_OP = {op: kind for kind, ops in _KINDS.items() for op in ops}

_CONVS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "QLinearConv"})
_WEIGHT_AT = dict.fromkeys(("Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger"), 1)
_WEIGHT_AT |= dict.fromkeys(("QLinearConv", "QLinearMatMul"), 3)  # scales and zero points stand between

_SETTINGS: Mapping[str, Set[int]] = {
    "BatchNormalization": {3, 4},
    "Clip": {1, 2},
    "ConvInteger": {2, 3},
    "DequantizeLinear": {1, 2},
    "Dropout": {1, 2},
    "MatMulInteger": {2, 3},
    "Pad": {1, 2, 3},
    "QLinearConv": {1, 2, 4, 5, 6, 7},
    "QLinearMatMul": {1, 2, 4, 5, 6, 7},
    "QuantizeLinear": {1, 2},
    "Resize": {1, 2, 3},
    "Upsample": {1},
}
"""Constant inputs that are no parameters: bounds, ratios, scales, and the running statistics of batch norm."""

_BITS = {"bfloat16": 16, "float4_e2m1fn": 4, "int2": 2, "int4": 4, "uint2": 2, "uint4": 4}


def element_bits(dtype: str) -> int:
    """Return the bits of one element; types of less than a byte are packed, as in ONNX.

    >>> element_bits("float32"), element_bits("int4")
    (32, 4)
    """
    return _BITS.get(dtype) or (8 if dtype.startswith("float8") else 8 * np.dtype(dtype).itemsize)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        x, y = np.asarray(a), np.asarray(b)
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    return bool(a == b)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One edge of the graph: a name, a concrete shape and a NumPy dtype name; `constant` marks weights.

    >>> Tensor("x", (1, 3, 224, 224)).nbytes
    602112
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    constant: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return (self.size * element_bits(self.dtype) + 7) // 8


class GemmShape(NamedTuple):
    """A layer as `groups` matrix products of (N, K) by (K, M): Pipe-it's Eqs 3-4.

    N is rows of the image matrix (batch x output pixels), K = Fw*Fh*Fd, M = output maps (per group).
    """

    N: int
    K: int
    M: int
    groups: int = 1

    @property
    def macs(self) -> int:
        """N*K*M over all groups."""
        return self.N * self.K * self.M * self.groups


@dataclass(frozen=True)
class Layer:
    """One operator with the shapes of everything it reads and writes.

    `inputs` may hold None for an absent optional input, as in ONNX; an absent optional output is a tensor without a
    name and without elements.

    >>> x, w, y = Tensor("x", (1, 3, 8, 8)), Tensor("w", (16, 3, 3, 3), constant=True), Tensor("y", (1, 16, 6, 6))
    >>> conv = Layer("conv", "Conv", (x, w), (y,), {"kernel_shape": (3, 3)})
    >>> conv.macs, conv.gemm                     # 36 pixels x 27 taps x 16 maps
    (15552, GemmShape(N=36, K=27, M=16, groups=1))
    """

    name: str
    op: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    domain: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        mine, theirs = ((x.name, x.op, x.domain, x.inputs, x.outputs, tuple(sorted(x.attrs))) for x in (self, other))
        return mine == theirs and all(_same(self.attrs[key], other.attrs[key]) for key in self.attrs)

    @property
    def kind(self) -> str:
        """The class of layer: conv, dw, fc, pool, norm, act, add, move, view or other."""
        if self.domain:
            return "other"
        if self.op in _CONVS:
            shape = self.gemm
            depthwise = shape is not None and shape.groups > 1 and self._weight.shape[1] == 1
            return "dw" if depthwise else "conv"
        return "fc" if self.gemm is not None else _KIND_OF_OP.get(self.op, "other")

    @property
    def _weight(self) -> Tensor:
        return self._operand(_WEIGHT_AT[self.op], "weight")

    def _operand(self, position: int, what: str) -> Tensor:
        found = self.inputs[position] if len(self.inputs) > position else None
        if found is None:
            raise HetcnnError(f"layer '{self.name}': {self.op} needs its {what} as input {position}")
        return found

    @cached_property
    def gemm(self) -> GemmShape | None:
        """The layer as matrix products, or None for a layer without MACs."""
        if self.domain or self.op not in _WEIGHT_AT:
            return None
        data, weight, out = self._operand(0, "data"), self._weight, self.outputs[0]
        if self.op in _CONVS:
            if min(len(data.shape), len(weight.shape)) < 2 or len(out.shape) < 2:
                raise HetcnnError(f"layer '{self.name}': {self.op} needs data and weight of rank 3 or more")
            return self._conv_gemm(data, weight, out)
        if self.op == "Gemm":
            rows, columns = out.shape
            return GemmShape(rows, data.size // rows if rows else 0, columns)
        if not data.shape or not weight.shape:
            return None
        columns = weight.shape[-1] if len(weight.shape) > 1 else 1
        return GemmShape(out.size // max(columns, 1), data.shape[-1], columns)

    def _conv_gemm(self, data: Tensor, weight: Tensor, out: Tensor) -> GemmShape:
        groups = int(self.attrs.get("group", 1))
        first, second, *taps = weight.shape
        if self.op == "ConvTranspose":  # weight is (in, out / groups, taps); one product per input pixel
            return GemmShape(data.shape[0] * prod(data.shape[2:]), first // groups, second * prod(taps), groups)
        return GemmShape(out.shape[0] * prod(out.shape[2:]), second * prod(taps), first // groups, groups)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations; 0 for layers that are only traffic."""
        return self.gemm.macs if self.gemm else 0

    @property
    def ops(self) -> int:
        """Operations, two per MAC."""
        return 2 * self.macs

    @property
    def params(self) -> int:
        """Number of trained parameters, biases included.

        Not among them: shapes and indices, bounds and ratios, batch norm's running statistics.
        """
        return sum(t.size for t in self.parameters)

    @property
    def parameters(self) -> list[Tensor]:
        """The inputs that are trained parameters; see `params`."""
        settings = _SETTINGS.get(self.op, set())
        found = [t for i, t in enumerate(self.inputs) if t is not None and t.constant and i not in settings]
        return [t for t in found if t.dtype.startswith(("float", "bfloat")) or self._is_integer_weight(t)]

    def _is_integer_weight(self, tensor: Tensor) -> bool:
        quantised_bias = self.op == "QLinearConv" and tensor is self.inputs[-1] and len(self.inputs) == 9
        return quantised_bias or (tensor.dtype != "bool" and element_bits(tensor.dtype) <= 8)

    @property
    def _constants(self) -> list[Tensor]:
        return [t for t in self.inputs if t is not None and t.constant]

    @property
    def data(self) -> tuple[Tensor, ...]:
        """The inputs that are not weights."""
        return tuple(t for t in self.inputs if t is not None and not t.constant)

    @property
    def _is_view(self) -> bool:
        return self.op in VIEW_OPS and not self.domain

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights read once; 0 for a view."""
        return 0 if self._is_view else sum(t.nbytes for t in self._constants)

    @property
    def input_bytes(self) -> int:
        """Bytes of activations read once; 0 for a view."""
        return 0 if self._is_view else sum(t.nbytes for t in self.data)

    @property
    def output_bytes(self) -> int:
        """Bytes of activations written once; 0 for a view."""
        return 0 if self._is_view else sum(t.nbytes for t in self.outputs)

    @property
    def bytes(self) -> int:
        """Compulsory traffic: weights and inputs read once, outputs written once."""
        return self.weight_bytes + self.input_bytes + self.output_bytes

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in ops/byte; 0 for a layer without MACs."""
        return self.ops / self.bytes if self.bytes else 0.0


@dataclass(frozen=True)
class Network:
    """A CNN as a graph of layers in topological order.

    `weights` maps the names of constant tensors to arrays; it may be empty (shapes alone are enough to analyse).
    `notes` says what an importer had to assume. `opset` is the version of ONNX's operators, `domains` that of others'.
    """

    name: str
    inputs: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[Tensor, ...]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)
    notes: tuple[str, ...] = ()
    opset: int = 17
    domains: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        defined = {t.name for t in self.inputs}
        names: set[str] = set()
        for layer in self.layers:
            if layer.name in names:
                raise HetcnnError(f"network '{self.name}': two layers are named '{layer.name}'; names must be unique")
            names.add(layer.name)
            for tensor in layer.data:
                if tensor.name not in defined:
                    raise HetcnnError(
                        f"network '{self.name}': layer '{layer.name}' reads '{tensor.name}', which no earlier layer "
                        "writes; the graph must be acyclic and in topological order"
                    )
            defined.update(t.name for t in layer.outputs)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        if name not in self._by_name:
            raise unknown(f"layer of {self.name}", name, self._by_name)
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @property
    def macs(self) -> int:
        """MACs of one run over the whole batch."""
        return sum(layer.macs for layer in self.layers)

    @property
    def ops(self) -> int:
        """Operations, two per MAC."""
        return 2 * self.macs

    @cached_property
    def params(self) -> int:
        """Number of trained parameters; one that several layers share counts once."""
        shared = {t.name: t for layer in self.layers for t in layer.parameters}
        return sum(t.size for t in shared.values())

    @cached_property
    def major_layers(self) -> tuple[Layer, ...]:
        """The layers with MACs, in order: the places where a pipeline may be split."""
        return tuple(layer for layer in self.layers if layer.macs)

    @cached_property
    def segments(self) -> tuple[tuple[Layer, ...], ...]:
        """The layers cut before every major layer: each major layer with the minor ones that ride with it.

        Minor layers before the first major one ride with it.
        """
        cuts = [i for i, layer in enumerate(self.layers) if layer.macs]
        starts = [0, *cuts[1:]]
        return tuple(self.layers[a:b] for a, b in zip(starts, [*starts[1:], len(self.layers)], strict=True) if b > a)

    @cached_property
    def consumers(self) -> dict[str, tuple[Layer, ...]]:
        """Tensor name -> the layers that read it."""
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for name in {t.name for t in layer.data}:
                found.setdefault(name, []).append(layer)
        return {name: tuple(layers) for name, layers in found.items()}

    @cached_property
    def producers(self) -> dict[str, Layer]:
        """Tensor name -> the layer that writes it; inputs and weights have none."""
        return {t.name: layer for layer in self.layers for t in layer.outputs}

    def with_weights(self, weights: Mapping[str, NDArray[Any]]) -> Network:
        """Return the same graph carrying `weights`."""
        return replace(self, weights=weights)

    def cut_bytes(self, position: int) -> int:
        """Bytes of activations alive between layers `position - 1` and `position`: what a split there has to move.

        A tensor that several later layers read moves once.
        """
        before = {t.name: t for layer in self.layers[:position] for t in layer.outputs}
        before |= {t.name: t for t in self.inputs}
        wanted = {t.name for layer in self.layers[position:] for t in layer.data}
        wanted |= {t.name for t in self.outputs}
        return sum(before[name].nbytes for name in wanted if name in before)

    def __repr__(self) -> str:
        counts = f"{self.macs / 1e6:,.1f} M MACs, {self.params / 1e6:,.2f} M parameters"
        return f"<Network {self.name}: {len(self)} layers, {counts}>"

    def __str__(self) -> str:
        from hetcnn.text import network_text

        return network_text(self)

    def _repr_html_(self) -> str:
        from hetcnn.plots.tables import network_html

        return network_html(self)
