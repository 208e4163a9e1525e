"""What each layer asks of the machine: MACs, weights and activations, in exact counts, from the networks themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hetcnn import zoo
from hetcnn.errors import unknown
from hetcnn.network import Network
from hetcnn.papers.synergyflow.deeper import BUILDERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NETWORKS", "OTHERS", "Workload", "as_workload", "beside", "of_network", "workload"]

_ZOO = {"alexnet": "alexnet-caffe", "vgg-16": "vgg-16", "googlenet": "googlenet", "resnet-50": "resnet-50-v1"}

NETWORKS = tuple(_ZOO)
"""The set of the average, fixed beforehand (`data/papers/synergyflow/assumptions.toml`)."""

OTHERS = (*BUILDERS, "resnet-18", "squeezenet-1.0", "mobilenet-v1")
"""Networks of other sets: identifiability only, never scored."""


@dataclass(frozen=True, eq=False)
class Workload:
    """The layers with MACs of one network for one frame; `activations` counts elements read and written."""

    network: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    macs: NDArray[np.int64]
    weights: NDArray[np.int64]
    activations: NDArray[np.int64]

    @property
    def fc(self) -> NDArray[np.bool_]:
        """Which layers are fully connected."""
        return np.array([kind == "fc" for kind in self.kinds])

    def __len__(self) -> int:
        return len(self.names)


def of_network(network: Network) -> Workload:
    """Return the workload of any network of batch 1. Weights are counted without biases; minor layers are free.

    >>> of_network(zoo.load("lenet-5")).macs.tolist()
    [117600, 240000, 48000, 10080, 840]
    """
    layers = network.major_layers
    shapes = [layer.gemm for layer in layers]
    return Workload(
        network.name,
        tuple(layer.name for layer in layers),
        tuple(layer.kind for layer in layers),
        np.array([layer.macs for layer in layers], dtype=np.int64),
        np.array([s.K * s.M * s.groups for s in shapes if s is not None], dtype=np.int64),
        np.array([sum(t.size for t in (*layer.data, *layer.outputs)) for layer in layers], dtype=np.int64),
    )


@cache
def workload(network: str) -> Workload:
    """Return the workload of one of the paper's networks or of the others; HetcnnError for an unknown name."""
    if network not in (*NETWORKS, *OTHERS):
        raise unknown("network of this model", network, (*NETWORKS, *OTHERS))
    if network in BUILDERS:
        return of_network(BUILDERS[network]())
    return of_network(zoo.load(_ZOO.get(network, network)))


def as_workload(network: str | Workload) -> Workload:
    """Return a workload as it is, or that of a network by name."""
    return workload(network) if isinstance(network, str) else network


def beside(first: str | Workload, second: str | Workload) -> Workload:
    """Return two networks as one stream: a frame of the first and a frame of the second.

    >>> len(beside("alexnet", "vgg-16")) == len(workload("alexnet")) + len(workload("vgg-16"))
    True
    """
    one, other = as_workload(first), as_workload(second)
    return Workload(
        f"{one.network} + {other.network}",
        tuple(f"{w.network}/{i}/{name}" for i, w in enumerate((one, other)) for name in w.names),
        one.kinds + other.kinds,
        np.concatenate([one.macs, other.macs]),
        np.concatenate([one.weights, other.weights]),
        np.concatenate([one.activations, other.activations]),
    )
