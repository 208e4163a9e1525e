"""Cut a network: the places where it may be split, and the part between two of them as a network of its own."""

from __future__ import annotations

from collections.abc import Iterable

from hetcnn.errors import HetcnnError
from hetcnn.network import Network, Tensor

__all__ = ["layer_cuts", "part"]


def layer_cuts(network: Network) -> list[int]:
    """Return where a split may fall, as indices of layers: before each layer with MACs but the first.

    >>> from hetcnn import zoo
    >>> net = zoo.load("lenet-5")
    >>> [net.layers[i].name for i in layer_cuts(net)]
    ['conv2', 'fc3', 'fc4', 'fc5']
    """
    starts = []
    position = 0
    for segment in network.segments:
        starts.append(position)
        position += len(segment)
    return starts[1:]


def part(network: Network, first: int, end: int) -> Network:
    """Return layers first to end - 1 as a network: its inputs come from before, its outputs are read after.

    Raises HetcnnError for a range without layers.
    """
    if not 0 <= first < end <= len(network):
        raise HetcnnError(
            f"network '{network.name}': layers {first}:{end}; it has 0:{len(network)}, and a part has some"
        )
    chosen = network.layers[first:end]
    made = {t.name for layer in chosen for t in layer.outputs}
    inputs = _distinct(t for layer in chosen for t in layer.data if t.name not in made)
    later = {t.name for layer in network.layers[end:] for t in layer.data} | {t.name for t in network.outputs}
    outputs = _distinct(t for layer in chosen for t in layer.outputs if t.name in later)
    needed = {t.name for layer in chosen for t in layer.inputs if t is not None and t.constant}
    weights = {name: array for name, array in network.weights.items() if name in needed}
    name = f"{network.name}[{first}:{end}]"
    return Network(name, inputs, chosen, outputs, weights, opset=network.opset, domains=network.domains)


def _distinct(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple({t.name: t for t in tensors}.values())
