"""First passes of the compiler: from a network to the machine's tasks, with ReLU and residual additions fused.

A task is one convolution or one max pooling with all that its write-back does. Concatenation is no task: its parts are
written side by side. Averages, linear layers and softmax at the end, and local response normalisation, stay with the
host processor, as they do in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

from hetcnn.errors import HetcnnError
from hetcnn.network import Layer, Network, Tensor

__all__ = ["Edge", "Graph", "Storage", "Task", "edges", "parse"]

_RENAMES = frozenset({"Dropout", "Identity"})
_TAIL = frozenset({"AveragePool", "Conv", "Flatten", "FromFixed", "Gemm", "GlobalAveragePool", "MatMul", "Relu"})
_HOST = frozenset({"FromFixed", "LRN", "ToFixed"})
_ANYWHERE_AT_THE_END = _TAIL | _HOST | _RENAMES | {"Add", "Reshape", "Softmax", "Squeeze"}


@dataclass(frozen=True)
class Edge:
    """Outputs in a row (`first`, `count`) for which the same taps (`start`, `taps`) lie on the map."""

    first: int
    count: int
    start: int
    taps: int


def edges(out: int, size: int, kernel: int, stride: int, before: int) -> tuple[Edge, ...]:
    """Return how many taps of each output lie on the map, in runs: what is left when padding is skipped.

    >>> [(e.first, e.count, e.start, e.taps) for e in edges(13, 13, 3, 1, 1)]
    [(0, 1, 1, 2), (1, 11, 0, 3), (12, 1, 0, 2)]
    """
    found = []
    for position in range(out):
        at = position * stride - before
        start, end = max(0, -at), min(kernel, size - at)
        found.append((start, max(end - start, 0)))
    runs, first = [], 0
    for (start, taps), group in groupby(found):
        count = len(list(group))
        runs.append(Edge(first, count, start, taps))
        first += count
    return tuple(runs)


@dataclass(frozen=True)
class Task:
    """A convolution or max pooling as the machine runs it; sizes in pixels, channels and taps.

    `source`, `target`, `residual` name tensors, `weight` and `bias` constants; `layers` are the network's layers in it.
    """

    name: str
    kind: str
    source: str
    target: str
    H: int
    W: int
    C: int
    OH: int
    OW: int
    OC: int
    kh: int
    kw: int
    stride: int
    top: int
    left: int
    layers: tuple[str, ...]
    weight: str = ""
    bias: str = ""
    relu: bool = False
    residual: str = ""
    shift: int = 8
    bias_shift: int = 8
    skip: int = 1
    """Only every so many pixels of the source are loaded: a 1x1 convolution reads no others."""

    @cached_property
    def rows(self) -> tuple[Edge, ...]:
        """Runs of output rows with the same taps on the map."""
        return edges(self.OH, self.H, self.kh, self.stride, self.top)

    @cached_property
    def columns(self) -> tuple[Edge, ...]:
        """Runs of output columns with the same taps on the map."""
        return edges(self.OW, self.W, self.kw, self.stride, self.left)

    @property
    def macs(self) -> int:
        """MACs without those on padding: C * OC * (valid rows of taps) * (valid columns of taps); 0 for pooling."""
        if self.kind != "conv":
            return 0
        rows, columns = (sum(e.count * e.taps for e in runs) for runs in (self.rows, self.columns))
        return self.C * self.OC * rows * columns

    @property
    def ops(self) -> int:
        """Two per MAC."""
        return 2 * self.macs

    @property
    def trace(self) -> int:
        """Words of a whole trace: one row of the kernel, C * kw."""
        return self.C * self.kw

    def input_rows(self, first: int, end: int) -> tuple[int, int]:
        """Return the rows of the map that output rows first to end need, clipped to the map."""
        low = first * self.stride - self.top
        high = (end - 1) * self.stride - self.top + self.kh
        return max(low, 0), min(high, self.H)


@dataclass(frozen=True)
class Storage:
    """Where a tensor lies: in the array `base` of `pitch` channels, from `channel` on."""

    base: str
    channel: int
    pitch: int


@dataclass(frozen=True)
class Graph:
    """The machine's tasks and the host's layers in order, and where every tensor lies."""

    network: Network
    steps: tuple[Task | Layer, ...]
    storage: dict[str, Storage] = field(repr=False)
    shapes: dict[str, tuple[int, int, int]] = field(repr=False)
    names: dict[str, str] = field(repr=False)
    """Tensors that are another one's memory under a second name."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The machine's tasks."""
        return tuple(step for step in self.steps if isinstance(step, Task))

    @property
    def host(self) -> tuple[str, ...]:
        """Names of the layers that the host processor runs, outside the machine's time."""
        return tuple(step.name for step in self.steps if isinstance(step, Layer))

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)


def parse(network: Network) -> Graph:
    """Return the tasks of a network; raise HetcnnError naming the first layer that the machine cannot run, and why.

    >>> from hetcnn import zoo
    >>> [task.name for task in parse(zoo.load("alexnet"))][:3]
    ['conv1', 'maxpool1', 'conv2']
    """
    return _Parser(network).parse()


class _Parser:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.steps: list[Task | Layer] = []
        self.maker: dict[str, int] = {}  # tensor -> its task's place in steps
        self.alias: dict[str, str] = {}
        self.on_host: set[str] = set()
        self.joined: dict[str, Storage] = {}

    def parse(self) -> Graph:
        for layer in self.network.layers:
            self._step(layer)
        self._require_machine_work()
        shapes = {self._of(t.name): _hwc(t) for t in self._tensors() if len(t.shape) == 4}
        storage = {name: self._storage(name, shape[2]) for name, shape in shapes.items()}
        names = {name: self._of(name) for name in self.alias}
        return Graph(self.network, tuple(self.steps), storage, shapes, names)

    def _tensors(self) -> list[Tensor]:
        return [*self.network.inputs, *(t for layer in self.network.layers for t in layer.outputs)]

    def _storage(self, name: str, channels: int) -> Storage:
        part = self.joined.get(name)
        if part is None:
            return Storage(name, 0, channels)
        outer = self._storage(part.base, part.pitch)
        return Storage(outer.base, outer.channel + part.channel, outer.pitch)

    def _require_machine_work(self) -> None:
        if not any(isinstance(step, Task) for step in self.steps):
            raise HetcnnError(f"network '{self.network.name}': no convolution or max pooling for the machine to run")

    def _of(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def _step(self, layer: Layer) -> None:
        handler = {
            "Conv": self._conv,
            "MaxPool": self._pool,
            "Relu": self._relu,
            "BatchNormalization": self._batch_norm,
            "Add": self._add,
            "Concat": self._concat,
        }.get(layer.op)
        data = [self._of(t.name) for t in layer.data]
        if layer.op in _RENAMES and not self.on_host.intersection(data):
            self.alias[layer.outputs[0].name] = data[0]
        elif self.on_host.intersection(data) or handler is None:
            self._keep_on_host(layer, data)
        else:
            handler(layer)

    def _keep_on_host(self, layer: Layer, data: Sequence[str]) -> None:
        """Leave a layer to the host if the machine's work does not depend on it, or for LRN and changes of format."""
        known = _ANYWHERE_AT_THE_END if self.on_host.intersection(data) or layer.op in _TAIL else _HOST | {"Softmax"}
        spatial = layer.op == "Conv" and layer.data[0].shape[2:] != (1, 1)
        if layer.op not in known or spatial:
            raise self._refuse(layer, f"{layer.op} is no operation of the machine")
        self.steps.append(layer)
        for t in layer.outputs:
            if layer.op not in ("LRN", "ToFixed"):
                self.on_host.add(t.name)
        if layer.op == "FromFixed":  # what follows may be LRN, which goes back to the machine
            self.on_host.discard(layer.outputs[0].name)

    def _refuse(self, layer: Layer, why: str) -> HetcnnError:
        return HetcnnError(f"layer '{layer.name}': {why}")

    def _window(self, layer: Layer) -> tuple[int, int, int, int, int]:
        """Return kernel, stride and padding before."""
        kernel = layer.attrs.get("kernel_shape") or (layer.inputs[1].shape[2:] if layer.inputs[1:] else None)  # type: ignore[union-attr]
        x, y = layer.data[0], layer.outputs[0]
        if len(x.shape) != 4 or x.shape[0] != 1:
            raise self._refuse(layer, f"data of shape {x.shape}; the machine runs one image (1, C, H, W)")
        if kernel is None:
            raise self._refuse(layer, "no kernel_shape")
        strides = tuple(layer.attrs.get("strides", (1, 1)))
        if strides[0] != strides[1]:
            raise self._refuse(layer, f"strides {strides}; the machine's loops need one stride")
        if any(d != 1 for d in layer.attrs.get("dilations", (1, 1))):
            raise self._refuse(layer, "dilated taps are no contiguous trace")
        if layer.attrs.get("auto_pad", "NOTSET") != "NOTSET":
            raise self._refuse(layer, "auto_pad; give the padding in numbers")
        top, left = tuple(layer.attrs.get("pads", (0, 0, 0, 0)))[:2]
        empty = any(
            e.taps == 0
            for e in (
                *edges(y.shape[2], x.shape[2], kernel[0], strides[0], top),
                *edges(y.shape[3], x.shape[3], kernel[1], strides[0], left),
            )
        )
        if empty:
            raise self._refuse(layer, "a window lies wholly on padding")
        return int(kernel[0]), int(kernel[1]), int(strides[0]), int(top), int(left)

    def _task(self, layer: Layer, kind: str) -> Task:
        kh, kw, stride, top, left = self._window(layer)
        x, y = layer.data[0], layer.outputs[0]
        (H, W, C), (OH, OW, OC) = _hwc(x), _hwc(y)
        source, target = self._of(x.name), y.name
        return Task(layer.name, kind, source, target, H, W, C, OH, OW, OC, kh, kw, stride, top, left, (layer.name,))

    def _emit(self, task: Task) -> None:
        self.maker[task.target] = len(self.steps)
        self.steps.append(task)

    def _conv(self, layer: Layer) -> None:
        if layer.attrs.get("group", 1) != 1:
            raise self._refuse(layer, f"{layer.attrs['group']} groups; a trace runs over all channels of a pixel")
        names = [t.name if t is not None else "" for t in layer.inputs[1:]]
        task = self._task(layer, "conv")
        if task.kh == task.kw == 1 and task.stride > 1 and task.top == task.left == 0:
            task = replace(task, H=task.OH, W=task.OW, stride=1, skip=task.stride)
        shift, bias_shift = (int(layer.attrs.get(key, 8)) for key in ("shift", "bias_shift"))
        bias = names[1] if names[1:] else ""
        self._emit(replace(task, weight=names[0], bias=bias, shift=shift, bias_shift=bias_shift))

    def _pool(self, layer: Layer) -> None:
        self._emit(self._task(layer, "pool"))

    def _sole(self, name: str) -> Task | None:
        """Return the convolution whose result only this layer reads, or None."""
        place = self.maker.get(name)
        task = self.steps[place] if place is not None else None
        readers = [r for r in self.network.layers if name in {self._of(t.name) for t in r.data}]
        if not isinstance(task, Task) or task.kind != "conv" or len(readers) != 1:
            return None
        return None if name in {self._of(t.name) for t in self.network.outputs} else task

    def _fuse(self, layer: Layer, task: Task, **changes: object) -> None:
        place = self.maker.pop(task.target)
        target = layer.outputs[0].name
        self.steps[place] = replace(task, target=target, layers=(*task.layers, layer.name), **changes)  # type: ignore[arg-type]
        self.maker[target] = place

    def _relu(self, layer: Layer) -> None:
        task = self._sole(self._of(layer.data[0].name))
        if task is None or task.relu:
            raise self._refuse(layer, "ReLU is part of a convolution's write-back, and no convolution ends here alone")
        self._fuse(layer, task, relu=True)

    def _batch_norm(self, layer: Layer) -> None:
        task = self._sole(self._of(layer.data[0].name))
        if task is None or task.relu or task.residual:
            raise self._refuse(layer, "batch normalisation must follow a convolution, into which it is folded")
        self._fuse(layer, task)

    def _add(self, layer: Layer) -> None:
        names = [self._of(t.name) for t in layer.data]
        if len(names) != 2 or layer.data[0].shape != layer.data[1].shape:
            raise self._refuse(layer, "the machine adds two maps of one shape")
        for mine, other in (names, names[::-1]):
            task = self._sole(mine)
            known = self.maker.get(other, -1) < self.maker.get(mine, -1)
            if task is not None and known and not task.relu and not task.residual:
                self._fuse(layer, task, residual=other)
                return
        raise self._refuse(layer, "a sum is part of the convolution that comes last in it, and none ends here alone")

    def _concat(self, layer: Layer) -> None:
        if layer.attrs.get("axis") not in (1, -3):
            raise self._refuse(layer, "only channels can lie side by side")
        out, at = layer.outputs[0], 0
        for tensor in layer.data:
            name = self._of(tensor.name)
            readers = [r for r in self.network.layers if name in {self._of(t.name) for t in r.data}]
            if name not in self.maker or name in self.joined or len(readers) != 1:
                raise self._refuse(layer, f"'{tensor.name}' has other readers, so it cannot be written in place")
            self.joined[name] = Storage(out.name, at, out.shape[1])
            at += tensor.shape[1]
        self.maker[out.name] = max(self.maker[self._of(t.name)] for t in layer.data)


def _hwc(tensor: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = tensor.shape
    return height, width, channels
