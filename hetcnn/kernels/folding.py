"""Folding batch normalisation into the convolution before it: the same function with a layer less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.network import Layer, Network, Tensor

__all__ = ["channel_affine", "fold_batch_norm", "foldable"]


def channel_affine(layer: Layer, weights: dict[str, Array]) -> tuple[Array, Array]:
    """Return a batch normalisation as y = a*x + c per channel, in float64: a = scale/sqrt(var + eps), c = B - a*mean.

    >>> from hetcnn.builder import Builder
    >>> b = Builder("bn", (1, 1, 1, 1))
    >>> net = b.build(b.batch_norm(b.input, epsilon=0.0, name="n"))
    >>> parts = {"n.scale": 3.0, "n.bias": 1.0, "n.mean": 5.0, "n.var": 4.0}
    >>> [v.tolist() for v in channel_affine(net["n"], {k: np.array([v]) for k, v in parts.items()})]
    [[1.5], [-6.5]]
    """
    names = [t.name for t in layer.inputs[1:5] if t is not None]
    scale, bias, mean, var = (np.asarray(weights[name], np.float64) for name in names)
    factor = scale / np.sqrt(var + float(layer.attrs.get("epsilon", 1e-5)))
    return factor, bias - factor * mean


def foldable(network: Network) -> dict[str, Layer]:
    """Return name of a convolution -> the batch normalisation that alone reads its result, all weights constant."""
    outputs = {t.name for t in network.outputs}
    found: dict[str, Layer] = {}
    for layer in network.layers:
        if layer.op != "BatchNormalization" or layer.domain or len(layer.data) != 1 or layer.attrs.get("training_mode"):
            continue
        source = network.producers.get(layer.data[0].name)
        if source is None or source.op != "Conv" or source.domain or len(source.data) != 1:
            continue
        written = source.outputs[0].name
        if len(network.consumers[written]) == 1 and written not in outputs:
            found[source.name] = layer
    return found


def fold_batch_norm(network: Network) -> Network:
    """Return the network with every batch normalisation that follows a convolution folded into its weights.

    W' = a*W and B' = a*B + c with a, c as `channel_affine` gives them; the convolution then writes what the
    normalisation wrote. Weights are computed at once, in float64, and stored in their own type. Raises HetcnnError
    for a weight that the network does not carry.

    >>> from hetcnn import zoo
    >>> len(zoo.load("resnet-18", seed=0)), len(fold_batch_norm(zoo.load("resnet-18", seed=0)))
    (70, 50)
    """
    pairs = foldable(network)
    gone = {layer.name for layer in pairs.values()}
    weights: dict[str, Array] = {}
    layers = []
    for layer in network.layers:
        if layer.name in pairs:
            layers.append(_folded(layer, pairs[layer.name], network, weights))
        elif layer.name not in gone:
            layers.append(layer)
    kept = {t.name for layer in layers for t in layer.inputs if t is not None and t.constant}
    names = [name for name in network.weights if name in kept]
    return replace(network, layers=tuple(layers), weights={**{n: network.weights[n] for n in names}, **weights})


def _folded(conv: Layer, norm: Layer, network: Network, weights: dict[str, Array]) -> Layer:
    factor, offset = channel_affine(norm, _read(norm, network))
    given = _read(conv, network)
    x, w, *_ = conv.inputs
    assert w is not None
    old, *rest = given.values()
    bias = rest[0].astype(np.float64) if rest else 0.0
    kernel = Tensor(f"{conv.name}/folded.weight", w.shape, w.dtype, constant=True)
    shift = Tensor(f"{conv.name}/folded.bias", offset.shape, w.dtype, constant=True)
    weights[kernel.name] = (old * factor.reshape(-1, *(1,) * (old.ndim - 1))).astype(old.dtype)
    weights[shift.name] = np.asarray(bias * factor + offset, old.dtype)
    return replace(conv, inputs=(x, kernel, shift), outputs=norm.outputs[:1])


def _read(layer: Layer, network: Network) -> dict[str, Array]:
    names = [t.name for t in layer.inputs[1:] if t is not None]
    for name in names:
        if name not in network.weights:
            raise HetcnnError(f"layer '{layer.name}' ({layer.op}) reads the weight '{name}', which is not carried")
    return {name: np.asarray(network.weights[name]) for name in names}
