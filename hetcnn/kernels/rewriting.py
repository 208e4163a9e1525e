"""Turning a float network into one that computes on coded tensors (small integers), layer by layer.

A tensor may exist as floats (under its own name), as codes (its name and "/q"), or both; whichever form a layer asks
for is made from the other when it is missing. So layers on codes chain without conversions, and what has no coded
form runs on floats in between.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.network import Layer, Network, Tensor

__all__ = ["MOVES", "Coded", "Rewriter"]

MOVES = frozenset(
    {"DepthToSpace", "Dropout", "Flatten", "Identity", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze"}
    | {"Transpose", "Unsqueeze"}
)
"""Operators that only move the elements of their first input: they run on codes as they are."""

Code = TypeVar("Code")


@dataclass(frozen=True)
class Coded(Generic[Code]):
    """A tensor of codes, and what they stand for."""

    tensor: Tensor
    code: Code


class Rewriter(ABC, Generic[Code]):
    """The walk over a network; a subclass says what a code is and which operators have a coded form."""

    suffix = "/q"

    def __init__(self, network: Network) -> None:
        self.network = network
        self.layers: list[Layer] = []
        self.weights: dict[str, Array] = {}
        self.floats: dict[str, Tensor] = {t.name: t for t in network.inputs}
        self.codes: dict[str, Coded[Code]] = {}
        self.done: set[str] = set()
        self._names = {layer.name for layer in network.layers}

    @property
    @abstractmethod
    def rules(self) -> Mapping[str, Callable[[Layer], bool]]:
        """Operator -> method that emits a layer's coded form, or returns False if this layer has none."""

    @abstractmethod
    def encoding(self, tensor: Tensor) -> tuple[Code, str, str, Sequence[Tensor], Mapping[str, Any], str]:
        """Return how to code a float tensor: code, operator, domain, extra inputs, attributes, dtype of the codes."""

    @abstractmethod
    def decoding(self, coded: Coded[Code]) -> tuple[str, str, Sequence[Tensor], Mapping[str, Any]]:
        """Return how to get floats back: operator, domain, extra inputs, attributes."""

    def rewrite(self) -> Network:
        """Return the rewritten network; its inputs and outputs keep their names and stay floats."""
        for layer in self.network.layers:
            if layer.name in self.done:
                continue
            rule = None if layer.domain else self.rules.get(layer.op, self._move if layer.op in MOVES else None)
            if rule is None or not rule(layer):
                self._on_floats(layer)
        outputs = tuple(self.float(t) for t in self.network.outputs)
        return replace(self.network, layers=tuple(self.layers), outputs=outputs, weights=self.weights)

    def array(self, tensor: Tensor) -> Array:
        """Return the values of a constant."""
        if tensor.name not in self.network.weights:
            raise HetcnnError(f"network '{self.network.name}' does not carry the weight '{tensor.name}'")
        return np.asarray(self.network.weights[tensor.name])

    def constant(self, name: str, values: Array) -> Tensor:
        """Store values under a name, and return their tensor."""
        self.weights[name] = values
        return Tensor(name, values.shape, values.dtype.name, constant=True)

    def emit(
        self,
        name: str,
        op: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        attrs: Mapping[str, Any],
        domain: str = "",
    ) -> None:
        """Append a layer."""
        self.layers.append(Layer(name, op, tuple(inputs), tuple(outputs), dict(attrs), domain))

    def new_name(self, wanted: str) -> str:
        """Return a layer name that is still free."""
        name, count = wanted, 2
        while name in self._names:
            name, count = f"{wanted}_{count}", count + 1
        self._names.add(name)
        return name

    def write(self, tensor: Tensor, code: Code, dtype: str) -> Tensor:
        """Register that a tensor now exists as codes, and return their tensor."""
        coded = Tensor(f"{tensor.name}{self.suffix}", tensor.shape, dtype)
        self.codes[tensor.name] = Coded(coded, code)
        return coded

    def coded(self, tensor: Tensor) -> Coded[Code]:
        """Return a tensor as codes, coding it first if need be."""
        if tensor.name not in self.codes:
            code, op, domain, extra, attrs, dtype = self.encoding(tensor)
            inputs = [self.floats[tensor.name], *extra]
            out = self.write(tensor, code, dtype)
            self.emit(self.new_name(f"{tensor.name}/encode"), op, inputs, [out], attrs, domain)
        return self.codes[tensor.name]

    def float(self, tensor: Tensor) -> Tensor:
        """Return a tensor as floats, decoding it first if need be."""
        if tensor.constant:
            return self.constant(tensor.name, self.array(tensor))
        if tensor.name not in self.floats:
            coded = self.codes[tensor.name]
            op, domain, extra, attrs = self.decoding(coded)
            self.emit(self.new_name(f"{tensor.name}/decode"), op, [coded.tensor, *extra], [tensor], attrs, domain)
            self.floats[tensor.name] = tensor
        return self.floats[tensor.name]

    def only_reader(self, tensor: Tensor) -> Layer | None:
        """Return the one layer that reads a tensor, or None if several do, or the caller of the network too."""
        readers = self.network.consumers.get(tensor.name, ())
        wanted = any(t.name == tensor.name for t in self.network.outputs)
        return readers[0] if len(readers) == 1 and not wanted else None

    def _on_floats(self, layer: Layer) -> None:
        inputs = [None if t is None else self.float(t) for t in layer.inputs]
        self.emit(layer.name, layer.op, inputs, layer.outputs, layer.attrs, layer.domain)
        self.floats |= {t.name: t for t in layer.outputs if t.name}

    def _move(self, layer: Layer) -> bool:
        """Move codes instead of floats, if the data exist as codes."""
        first, *rest = layer.inputs
        if first is None or first.name not in self.codes or any(t is not None and not t.constant for t in rest):
            return False
        coded = self.codes[first.name]
        outputs = [self.write(t, coded.code, coded.tensor.dtype) for t in layer.outputs]
        inputs = [None if t is None else self.float(t) for t in rest]
        if layer.op == "Dropout":  # defined on floats only
            self.emit(layer.name, "Identity", [coded.tensor], outputs[:1], {})
        else:
            self.emit(layer.name, layer.op, [coded.tensor, *inputs], outputs, layer.attrs)
        return True
