"""A network as modules (fire module, bottleneck, unit), each a small graph of layers that two engines can share.

A module is a contiguous range of layers. Batch norm and activation ride with the layer before them; views cost nothing;
a concatenation only joins names. What is left are nodes: layers with weights, and minor layers that stay on the GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod

from hetcnn import zoo
from hetcnn.errors import HetcnnError, unknown
from hetcnn.network import Layer, Network, Tensor

__all__ = ["MODULES", "NAMES", "NETWORKS", "Module", "Node", "modules", "of_paper"]

NETWORKS = {"squeezenet": "squeezenet-1.0", "mobilenetv2": "mobilenet-v2", "shufflenetv2": "shufflenet-v2"}
"""The paper's networks and their names in the zoo."""

NAMES = {"squeezenet": "SqueezeNet", "mobilenetv2": "MobileNetV2", "shufflenetv2": "ShuffleNetV2"}
"""Their names as one writes them."""

MODULES = {"squeezenet": "fire module", "mobilenetv2": "bottleneck", "shufflenetv2": "unit"}
"""What a module of each network is called."""


@dataclass(frozen=True)
class Node:
    """One layer of a module: sizes are elements or counts; `sources` index nodes (0 up) or inputs (-1, -2, ...).

    `channels`: those that one filter reads; `windows`: those that need a window buffer; `pixels` and `width` of the
    input plane; `rows`: pixels of the output plane; `riders`: elements of the output of each minor layer that rides.
    """

    name: str
    kind: str
    sources: tuple[int, ...]
    inputs: int
    outputs: int
    macs: int = 0
    weights: int = 0
    kernel: int = 1
    channels: int = 1
    windows: int = 1
    filters: int = 1
    pixels: int = 1
    width: int = 1
    rows: int = 1
    riders: tuple[int, ...] = ()

    @property
    def major(self) -> bool:
        """Whether it has weights: only such a layer can be mapped to hardware."""
        return self.macs > 0

    @property
    def operands(self) -> int:
        """Products that one filter adds up."""
        return self.kernel * self.kernel * self.channels


@dataclass(frozen=True)
class Module:
    """A small graph: nodes in topological order, elements of its inputs, the sources that it hands on.

    `tail` holds the elements of concatenations and splits: kernels of their own where nothing fuses them.
    """

    name: str
    network: str
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tail: tuple[int, ...] = ()

    @property
    def major(self) -> tuple[int, ...]:
        """Indices of the nodes with weights."""
        return tuple(i for i, node in enumerate(self.nodes) if node.major)

    @property
    def shape(self) -> tuple[object, ...]:
        """Everything but the names: modules of one shape have one optimum."""
        plain = tuple((n.kind, n.sources, *(getattr(n, k) for k in _SIZES), n.riders) for n in self.nodes)
        return plain, self.inputs, self.outputs, self.tail


_SIZES = ("inputs", "outputs", "macs", "weights", "kernel", "channels", "windows", "filters", "pixels", "width", "rows")


def modules(network: Network, *, by: str = "names") -> tuple[Module, ...]:
    """Return the modules of any network, in order.

    `by` "names": layers whose names share the part before the last "/" of a layer with weights, such as "fire2";
    "cuts": the ranges between tensors that alone are alive, joined until each has three layers with weights.
    Raises HetcnnError for another rule and for a batch above 1.
    """
    if by not in ("names", "cuts"):
        raise HetcnnError(f"modules: by '{by}'; expected 'names' or 'cuts'")
    if any(t.shape and t.shape[0] != 1 for t in network.inputs):
        raise HetcnnError(f"network '{network.name}': the hybrid runs one frame at a time; use batch 1")
    ranges = _by_names(network) if by == "names" else _by_cuts(network)
    return tuple(_module(network, name, a, b) for name, a, b in ranges)


@cache
def of_paper(network: str) -> tuple[Module, ...]:
    """Return the modules of one of the paper's networks, without stem and classifier; HetcnnError for another name."""
    if network not in NETWORKS:
        raise unknown("network of the paper", network, NETWORKS)
    return tuple(m for m in modules(zoo.load(NETWORKS[network])) if len(m.major) > 1)


def _by_names(network: Network) -> list[tuple[str, int, int]]:
    prefixes = {_prefix(layer.name) for layer in network.major_layers if "/" in layer.name}
    ranges: list[tuple[str, int, int]] = []
    for i, layer in enumerate(network.layers):
        key = _key(layer.name, prefixes)
        if ranges and ranges[-1][0] == key:
            ranges[-1] = (key, ranges[-1][1], i + 1)
        else:
            ranges.append((key, i, i + 1))
    return ranges


def _prefix(name: str) -> str:
    return name.rpartition("/")[0]


def _key(name: str, prefixes: set[str]) -> str:
    """The longest module name that the layer's name begins with, or its own first part."""
    parts = name.split("/")
    starts = ["/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]
    return next((s for s in starts if s in prefixes), parts[0] or name)


def _by_cuts(network: Network, most: int = 3) -> list[tuple[str, int, int]]:
    """Ranges between positions where one tensor alone is alive, joined up to `most` layers with weights."""
    last_use = {t.name: i for i, layer in enumerate(network.layers) for t in layer.data}
    last_use |= dict.fromkeys((t.name for t in network.outputs), len(network.layers))
    alive = {t.name for t in network.inputs}
    cuts = []
    for i, layer in enumerate(network.layers):
        alive |= {t.name for t in layer.outputs}
        alive = {name for name in alive if last_use.get(name, -1) > i}
        if len(alive) <= 1:
            cuts.append(i + 1)
    ranges: list[tuple[str, int, int]] = []
    start, count = 0, 0
    for first, end in zip([0, *cuts[:-1]], cuts, strict=True):
        found = sum(layer.macs > 0 for layer in network.layers[first:end])
        if count and count + found > most:
            ranges.append((network.layers[start].name, start, first))
            start, count = first, 0
        count += found
    return [*ranges, (network.layers[start].name, start, len(network.layers))]


@dataclass
class _Draft:
    """A module in the making: which sources each tensor name stands for."""

    nodes: list[Node] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    tail: list[int] = field(default_factory=list)
    of: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def sources(self, tensors: Iterable[Tensor]) -> tuple[int, ...]:
        found: list[int] = []
        for tensor in tensors:
            if tensor.name not in self.of:
                self.of[tensor.name] = (self.external(tensor.size),)
            found += self.of[tensor.name]
        return tuple(dict.fromkeys(found))

    def external(self, size: int) -> int:
        self.inputs.append(size)
        return -len(self.inputs)

    def add(self, node: Node, outputs: Sequence[Tensor]) -> None:
        self.nodes.append(node)
        self.of |= {t.name: (len(self.nodes) - 1,) for t in outputs}


def _module(network: Network, name: str, first: int, end: int) -> Module:
    draft = _Draft()
    layers = network.layers[first:end]
    for layer in layers:
        _place(draft, layer)
    later = {t.name for layer in network.layers[end:] for t in layer.data} | {t.name for t in network.outputs}
    handed = [t for layer in layers for t in layer.outputs if t.name in later]
    outputs = tuple(s for s in draft.sources(handed) if s >= 0)
    return Module(name, network.name, tuple(draft.nodes), tuple(draft.inputs), outputs, tuple(draft.tail))


def _place(draft: _Draft, layer: Layer) -> None:
    sources = draft.sources(layer.data)
    out = layer.outputs[0] if layer.outputs else None
    if out is None:
        return
    if layer.macs:
        draft.add(_major(layer, sources), layer.outputs)
    elif layer.kind == "view" or layer.op == "Concat":
        if layer.op == "Concat":
            draft.tail.append(out.size)
        draft.of |= {t.name: sources for t in layer.outputs}
    elif layer.op == "Split" and all(s < 0 for s in sources):
        draft.tail.append(sum(t.size for t in layer.outputs))
        draft.of |= {t.name: (draft.external(t.size),) for t in layer.outputs}
    elif layer.kind in ("norm", "act") and len(sources) == 1 and sources[0] >= 0 and draft.nodes[sources[0]].major:
        _ride(draft, sources[0], out.size)
        draft.of |= {t.name: sources for t in layer.outputs}
    else:
        size = sum(t.size for t in layer.data)
        draft.add(Node(layer.name, "minor", sources, size, sum(t.size for t in layer.outputs)), layer.outputs)


def _ride(draft: _Draft, index: int, size: int) -> None:
    node = draft.nodes[index]
    values = {k: getattr(node, k) for k in ("name", "kind", "sources", *_SIZES)}
    draft.nodes[index] = Node(**values, riders=(*node.riders, size))


def _major(layer: Layer, sources: tuple[int, ...]) -> Node:
    gemm = layer.gemm
    assert gemm is not None
    x, out = layer.data[0], layer.outputs[0]
    plane = x.shape[2:] if layer.kind in ("conv", "dw") else ()
    taps = [int(k) for k in layer.attrs.get("kernel_shape", ())]
    kernel = round(prod(taps) ** 0.5) if taps else 1
    channels = gemm.K // (kernel * kernel)
    return Node(
        layer.name,
        layer.kind,
        sources,
        inputs=sum(t.size for t in layer.data),
        outputs=out.size,
        macs=layer.macs,
        weights=gemm.K * gemm.M * gemm.groups,
        kernel=kernel,
        channels=channels,
        windows=channels * gemm.groups,
        filters=gemm.M * gemm.groups,
        pixels=prod(plane) if plane else 1,
        width=plane[-1] if plane else 1,
        rows=gemm.N,
    )
