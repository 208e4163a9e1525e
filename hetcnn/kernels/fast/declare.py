"""Go over the fused steps once and declare jobs: what each reads and writes, and how its kernel is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.kernels.fast import algorithms
from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.dense import Dense
from hetcnn.kernels.fast.fuse import Step
from hetcnn.kernels.fast.im2col import Stem
from hetcnn.kernels.fast.jobs import PIXEL, Job, Raw, finish, seconds
from hetcnn.kernels.fast.layout import Read, Region, Source, Value
from hetcnn.kernels.fast.memory import Shelf, Store
from hetcnn.kernels.fast.pixelwise import Add, Clamp, Copy, ResponseNorm, Scale, Softmax
from hetcnn.kernels.fast.pointwise import rows_of
from hetcnn.kernels.fast.pools import AveragePool, GlobalAverage, MaxPool
from hetcnn.kernels.fast.tape import Array, Kernel, Workspace
from hetcnn.network import Network, Tensor

__all__ = ["Declarer"]


class Declarer:
    """The jobs, producers and arrays of a network for one batch size; `weights` keeps laid-out weights."""

    def __init__(self, network: Network, batch: int, weights: Shelf, choice: str) -> None:
        self.network, self.batch, self.weights, self.choice = network, batch, weights, choice
        self.planned = network.inputs[0].shape[0] if network.inputs and network.inputs[0].shape else 1
        self.jobs: list[Job] = []
        self.sources: list[Source] = []
        self.values: dict[str, Value] = {}
        self.raws: list[Raw] = []
        self.converted: dict[tuple[str, bool], Value] = {}
        self.timed: dict[ConvSpec, algorithms.Algorithm] = {}
        self.constant_bytes = 0
        self.inputs = {tensor.name: self._input(tensor) for tensor in network.inputs}

    def declare(self, step: Step) -> None:
        """Declare one step."""
        _DECLARE[step.op](self, step)

    def _input(self, tensor: Tensor) -> Raw:
        self.values[tensor.name] = self._new_raw(tensor)
        raw = self.values[tensor.name].raw
        assert isinstance(raw, Raw)
        return raw

    # -- values ---------------------------------------------------------------------------------------------------

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """The tensor's shape for this batch."""
        if self.batch == self.planned or tensor.constant or not tensor.shape or tensor.shape[0] != self.planned:
            return tensor.shape
        return (self.batch, *tensor.shape[1:])

    def _new_raw(self, tensor: Tensor, shape: tuple[int, ...] | None = None) -> Value:
        shape = self.shape(tensor) if shape is None else shape
        size = -(-prod(shape) * np.dtype(tensor.dtype).itemsize // 4)
        now = len(self.jobs)
        raw = Raw(shape, tensor.dtype, Store(max(size, 1), now, now))
        self.raws.append(raw)
        return Value(shape, raw=raw)

    def _new_image(self, name: str, c: int, h: int, w: int, shape: tuple[int, ...], *, free: bool = False) -> Source:
        region = Region(self.batch, h, w, c)
        source = Source(len(self.sources), region, c, len(self.jobs), free)
        self.sources.append(source)
        self.values[name] = Value(shape, source.channels, (self.batch, h, w))
        return source

    def _read(self, value: Value, **wishes: Any) -> Read:
        assert value.channels is not None
        return Read(value.channels, value.image, **wishes)

    def _image(self, name: str) -> Value:
        """The tensor as an image, converted from ONNX's layout if it is raw."""
        value = self.values[name]
        if value.channels is not None:
            return value
        if (name, True) not in self.converted:
            n, c, h, w = (*value.shape, 1, 1)[:4]
            raw: Raw = value.raw
            raw.store.live(len(self.jobs))
            source = self._new_image(name, c, h, w, value.shape)
            made, self.values[name] = self.values[name], value

            def build(_: list[Workspace]) -> Kernel:
                assert raw.array is not None
                pixels = raw.array.reshape(n, c, h, w).transpose(0, 2, 3, 1)
                return Copy(name, "to NHWC", [(pixels, source.target)])

            self.jobs.append(Job(None, [], build, [source]))
            self.converted[name, True] = made
        return self.converted[name, True]

    def _raw(self, name: str, dtype: str = "float32") -> Value:
        """The tensor as an array in ONNX's layout."""
        value = self.values[name]
        if value.channels is None:
            value.raw.store.live(len(self.jobs))
            return value
        if (name, False) not in self.converted:
            read = self._read(value)
            made = self._new_raw(Tensor(name, value.shape, dtype), value.shape)

            def build(_: list[Workspace]) -> Kernel:
                n, h, w = value.image
                target = made.raw.array.reshape(n, -1, h, w)
                return Copy(name, "to NCHW", [(read.view().transpose(0, 3, 1, 2), target)])

            self.jobs.append(Job(None, [read], build))
            self.converted[name, False] = made
        found = self.converted[name, False]
        found.raw.store.live(len(self.jobs))
        return found

    def output(self, tensor: Tensor) -> tuple[Callable[[], NDArray[Any]], tuple[int, ...]]:
        """The tensor as a view to read after a run, once memory is given out, and its shape."""
        value = self.values[tensor.name]
        if value.channels is None:
            value.raw.store.live(1 << 30)
            return lambda: value.raw.array.reshape(value.shape), value.shape
        read = self._read(value)
        self.jobs.append(Job(None, [read], lambda _: Kernel(tensor.name, "output", [[]])))
        return lambda: read.view().transpose(0, 3, 1, 2), value.shape

    # -- steps ----------------------------------------------------------------------------------------------------

    def conv(self, step: Step) -> None:
        """Declare a convolution."""
        value = self.values[step.inputs[0]]
        weight = step.weight
        assert weight is not None
        groups = step.attrs["groups"]
        n, c, h, w = value.shape
        names = {k: step.attrs[k] for k in ("kernel", "stride", "pads", "dilation")}
        spec = ConvSpec(n, h, w, c, len(weight), groups=groups, **names)
        residual = None
        if value.channels is None and algorithms.is_stem(spec):
            reads: list[Read] = []
            algorithm = None
            value.raw.store.live(len(self.jobs))
        else:
            value = self._image(step.inputs[0])
            algorithm = self._choose(spec)
            wishes = {"pads": algorithm.pads(spec), "flat": algorithm.flat(spec)}
            reads = [self._read(value, any_order=groups == 1 or spec.depthwise, **wishes)]
        if step.residual is not None:
            residual = self._read(self._image(step.residual))
            reads.append(residual)
        free = residual is None and groups == 1
        out = self._new_image(step.outputs[0], spec.co, spec.oh, spec.ow, (n, spec.co, spec.oh, spec.ow), free=free)
        if algorithm is None:
            self._stem(step, spec, value, out, residual)
            return

        def build(spaces: list[Workspace]) -> Kernel:
            order = reads[0].order
            assert algorithm is not None
            assert order is not None
            laid = self._weights(step, algorithm.name, spec, order, out.order, algorithm.weights)
            end = finish(job, out, residual)
            return algorithm.kernel(step.name, spec, reads[0].view(algorithm.pads(spec)), out.target, laid, end, spaces)

        job = Job(step, reads, build, [out], algorithm.space(spec), seconds(spec))
        self.jobs.append(job)

    def _choose(self, spec: ConvSpec) -> algorithms.Algorithm:
        if self.choice == "shape":
            return algorithms.choose(spec)
        if spec not in self.timed:
            self.timed[spec] = algorithms.fastest(spec)
        return self.timed[spec]

    def _stem(self, step: Step, spec: ConvSpec, value: Value, out: Source, residual: Read | None) -> None:
        def build(spaces: list[Workspace]) -> Kernel:
            laid = self._weights(step, "stem", spec, np.arange(spec.c), out.order, Stem.weights)
            end = finish(job, out, residual)
            x = value.raw.array.reshape(value.shape)
            planes = np.zeros(Stem.planes(spec), np.float32)
            self.constant_bytes += planes.nbytes
            return Stem(step.name, spec, x, out.target, laid, end, spaces, planes)

        job = Job(step, [residual] if residual else [], build, [out], Stem.workspace(spec), seconds(spec))
        self.jobs.append(job)

    def _weights(
        self, step: Step, name: str, spec: ConvSpec, before: Any, after: Any, lay: Callable[[ConvSpec, Array], Array]
    ) -> Array:
        """Weights with channels in the order of their neighbours, laid out for an algorithm; kept for others."""
        weight = step.weight
        assert weight is not None
        blocks = algorithms.layout_key(name, spec)
        key = (step.name, name, blocks, before.tobytes(), after.tobytes())
        if key not in self.weights:
            if not np.array_equal(after, np.arange(after.size)):
                weight = weight[after]
            if spec.groups == 1 and not np.array_equal(before, np.arange(before.size)):
                weight = weight[:, before]
            self.weights[key] = lay(spec, np.asarray(weight, np.float32))
        return self.weights[key]

    def dense(self, step: Step) -> None:
        """Declare a fully connected layer."""
        value = self._image(step.inputs[0])
        weight = step.weight
        assert weight is not None
        assert value.channels is not None
        n, h, w = value.image
        c, m = value.channels.size, len(weight)
        read = self._read(value, any_order=True, flat=True)
        out = self._new_image(step.outputs[0], m, 1, 1, (n, m))
        space = Dense.workspace(n, c * h * w, m)

        def build(spaces: list[Workspace]) -> Kernel:
            x, order = read.view(), read.order
            assert order is not None
            key = (step.name, "dense", Dense.blocks(n, c * h * w, m), order.tobytes())
            if key not in self.weights:
                matrix = weight
                if h * w > 1 or not np.array_equal(order, np.arange(c)):
                    matrix = weight.reshape(m, c, h * w)[:, order].transpose(0, 2, 1).reshape(m, -1)
                self.weights[key] = Dense.weights(n, np.asarray(matrix, np.float32))
            bias, act, _ = finish(job, out, None)
            return Dense(step.name, x, out.target[:, 0, 0], self.weights[key], (bias, act), spaces)

        job = Job(step, [read], build, [out], space, 4 * weight.size / 15e9)
        self.jobs.append(job)

    def pool(self, step: Step) -> None:
        """Declare a maximum or average pool."""
        value = self._image(step.inputs[0])
        n, c, h, w = value.shape
        names = {k: step.attrs[k] for k in ("kernel", "stride", "pads")}
        spec = ConvSpec(n, h, w, c, c, **names)
        read = self._read(value)
        out = self._new_image(step.outputs[0], c, spec.oh, spec.ow, (n, c, spec.oh, spec.ow))

        def build(spaces: list[Workspace]) -> Kernel:
            if step.op == "max":
                return MaxPool(step.name, spec, read.view(), out.target, spaces)
            shares = AveragePool.weights(spec, step.attrs["include"])
            return AveragePool(step.name, spec, read.view(), out.target, spaces, shares)

        self.jobs.append(Job(step, [read], build, [out], MaxPool.workspace(spec), n * c * h * w * 2 * PIXEL))

    def gap(self, step: Step) -> None:
        """Declare a global average."""
        value = self._image(step.inputs[0])
        n, c, *_ = value.shape
        read = self._read(value, flat=True)
        out = self._new_image(step.outputs[0], c, 1, 1, (n, c, 1, 1))
        self.jobs.append(
            Job(
                step,
                [read],
                lambda _: GlobalAverage(step.name, read.view(), out.target, rows_of(read.view()), 1),
                [out],
            )
        )

    def pixels(self, step: Step) -> None:
        """Add, clamp, scale, lrn, softmax: output like the input."""
        value = self._image(step.inputs[0])
        if step.op == "softmax" and value.image[1:] != (1, 1):
            return self.other(step)
        assert value.channels is not None
        reads = [self._read(self._image(name)) for name in step.inputs]
        _, h, w = value.image
        c = value.channels.size
        out = self._new_image(step.outputs[0], c, h, w, value.shape)
        space = ResponseNorm.workspace(c, w) if step.op == "lrn" else 0

        def build(spaces: list[Workspace]) -> Kernel:
            x, y, workers = reads[0].view(), out.target, len(spaces)
            if step.op == "add":
                return Add(step.name, x, reads[1].view(), y, step.act, workers)
            if step.op == "lrn":
                return ResponseNorm(step.name, x, y, step.attrs["settings"], spaces)
            if step.op == "softmax":
                return Softmax(step.name, x[:, 0, 0], y[:, 0, 0], workers)
            if step.op == "scale":
                assert step.weight is not None
                assert step.bias is not None
                return Scale(step.name, x, y, step.weight, step.bias, step.act, workers)
            assert step.act is not None
            return Clamp(step.name, x, y, step.act, workers)

        self.jobs.append(Job(step, reads, build, [out], space, prod(value.shape) * PIXEL))
        return None

    def concat(self, step: Step) -> None:
        """List the channels of all inputs."""
        values = [self._image(name) for name in step.inputs]
        channels = np.concatenate([v.channels for v in values if v.channels is not None])
        n, h, w = values[0].image
        self.values[step.outputs[0]] = Value((n, channels.size, h, w), channels, (n, h, w))

    def pick(self, step: Step) -> None:
        """List channels in another order: a split or a shuffle."""
        value = self._image(step.inputs[0])
        assert value.channels is not None
        n, h, w = value.image
        for name, picks in zip(step.outputs, step.attrs["picks"], strict=True):
            self.values[name] = Value((n, picks.size, h, w), value.channels[picks], value.image)

    def same(self, step: Step) -> None:
        """Give the tensor one more name."""
        self.values[step.outputs[0]] = self.values[step.inputs[0]]

    def view(self, step: Step) -> None:
        """Declare a change of shape: nothing, for an image that is only flattened."""
        value, shape = self.values[step.inputs[0]], self.shape(step.layer.outputs[0])
        flat = (self.batch, prod(value.shape[1:]))
        flattened = shape == flat or (shape == (*flat, 1, 1) and value.image[1:] == (1, 1))
        if value.channels is not None and (flattened or shape == value.shape):
            self.values[step.outputs[0]] = Value(shape, value.channels, value.image)
            return
        raw = self._raw(step.inputs[0])
        self.values[step.outputs[0]] = Value(shape, raw=raw.raw)

    def other(self, step: Step) -> None:
        """A layer without a fast path: its operator's function, on arrays in ONNX's layout."""
        from hetcnn.kernels.registry import operator

        layer = step.layer
        try:
            function = operator(layer.op, layer.domain, self._opset(layer.domain), len(layer.outputs))
        except HetcnnError as error:
            raise HetcnnError(f"layer '{layer.name}': {error}") from None
        constants = self.network.weights
        inputs: list[Any] = []
        for t in layer.inputs:
            if t is None:
                inputs.append(None)
            elif t.constant:
                if t.name not in constants:
                    raise HetcnnError(f"layer '{layer.name}': the weight '{t.name}' is missing")
                inputs.append(np.asarray(constants[t.name]))
            else:
                inputs.append(self._raw(t.name, t.dtype))
        outputs = [self._new_raw(t) if t.name else None for t in layer.outputs]
        for t, value in zip(layer.outputs, outputs, strict=True):
            if value is not None:
                self.values[t.name] = value

        def build(_: list[Workspace]) -> Kernel:
            given = [v.raw.array.reshape(v.shape) if isinstance(v, Value) else v for v in inputs]
            targets = [None if v is None else v.raw.array for v in outputs]
            call = partial(_call, layer.name, function, given, dict(layer.attrs), targets)
            return Kernel(layer.name, f"operator {layer.op}", [[call]])

        self.jobs.append(Job(step, [], build))

    def _opset(self, domain: str) -> int:
        return self.network.opset if domain in ("", "ai.onnx") else int(self.network.domains.get(domain, 1))


def _call(name: str, function: Any, inputs: list[Any], attrs: dict[str, Any], targets: list[Any]) -> None:
    """Run an operator's function and keep what it returns."""
    try:
        results = function(inputs, attrs)
    except HetcnnError as error:
        raise HetcnnError(f"layer '{name}': {error}") from None
    for result, target in zip(results, targets, strict=False):
        if target is not None:
            if np.shape(result) != target.shape:
                raise HetcnnError(
                    f"layer '{name}': its output has the shape {np.shape(result)}; the network says {target.shape}"
                )
            np.copyto(target, result, casting="same_kind")


_DECLARE: Mapping[str, Callable[[Declarer, Step], None]] = {
    "add": Declarer.pixels,
    "clamp": Declarer.pixels,
    "concat": Declarer.concat,
    "conv": Declarer.conv,
    "dense": Declarer.dense,
    "gap": Declarer.gap,
    "lrn": Declarer.pixels,
    "max": Declarer.pool,
    "mean": Declarer.pool,
    "other": Declarer.other,
    "pick": Declarer.pick,
    "same": Declarer.same,
    "scale": Declarer.pixels,
    "softmax": Declarer.pixels,
    "view": Declarer.view,
}
