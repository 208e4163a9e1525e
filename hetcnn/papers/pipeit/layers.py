"""The paper's five networks as arrays: what a layer-time model may look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from hetcnn import zoo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hetcnn.network import Layer

__all__ = ["NETWORKS", "ZOO", "LayerTable", "layer_table"]

ZOO = {
    "alexnet": "alexnet-caffe",
    "googlenet": "googlenet",
    "mobilenet": "mobilenet-v1",
    "resnet50": "resnet-50-armcl",
    "squeezenet": "squeezenet-1.0",
}
"""The paper's networks and their names in the zoo."""
NETWORKS = tuple(ZOO)


@dataclass(frozen=True)
class LayerTable:
    """The major layers of one network as arrays: what a layer-time model may look at."""

    names: tuple[str, ...]
    kind: NDArray[np.str_]
    N: NDArray[np.float64]
    K: NDArray[np.float64]
    M: NDArray[np.float64]
    macs: NDArray[np.float64]
    moved: NDArray[np.float64]
    """Bytes of activations that the layer itself reads and writes."""
    riding: NDArray[np.float64]
    """Bytes that the minor layers riding with it read and write."""

    def __len__(self) -> int:
        return len(self.names)

    def where(self, kind: str) -> NDArray[np.bool_]:
        """Return the mask of one kind of layer: conv, dw or fc."""
        return np.asarray(self.kind == kind)


@cache
def layer_table(network: str) -> LayerTable:
    """Return the major layers of one of the paper's networks (any zoo name works)."""
    segments = zoo.load(ZOO.get(network, network)).segments
    major = [next(layer for layer in segment if layer.macs) for segment in segments]
    shapes = [layer.gemm for layer in major]
    return LayerTable(
        tuple(layer.name for layer in major),
        np.array([layer.kind for layer in major]),
        _column(s.N for s in shapes if s),
        _column(s.K for s in shapes if s),
        _column(s.M * s.groups for s in shapes if s),
        _column(layer.macs for layer in major),
        _column(layer.input_bytes + layer.output_bytes for layer in major),
        _column(sum(_touched(x) for x in segment if not x.macs) for segment in segments),
    )


def _touched(layer: Layer) -> int:
    """Return the bytes that a minor layer's loops read and write: a window reads each input once per tap."""
    taps = prod(layer.attrs.get("kernel_shape", ())) if layer.kind == "pool" else int(layer.attrs.get("size", 1))
    return taps * layer.output_bytes + layer.bytes if taps > 1 else layer.bytes


def _column(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), float)
