"""Build a `Network` layer by layer: short methods that infer every shape exactly.

Each method takes tensors, adds one ONNX operator (or a usual few) and returns its output. Weights have shapes only
until `hetcnn.random_weights` or the caller gives them values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.network import Layer, Network, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Builder", "Pad", "Size", "window_out"]

Size = int | tuple[int, int]
"""One number for both axes, or (height, width)."""

Pad = int | tuple[int, int] | tuple[int, int, int, int] | str
"""One number for all sides, (height, width), ONNX's (top, left, bottom, right), or "same" as TensorFlow pads."""


def window_out(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    pads: tuple[int, int] = (0, 0),
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Return how many times a window fits along one axis.

    floor((size + pads - dilation*(kernel - 1) - 1) / stride) + 1; with `ceil_mode` rounded up, but no window starts
    in the padding after the data. Raises HetcnnError if not even one fits.

    >>> window_out(224, 7, stride=2, pads=(3, 3)), window_out(112, 3, stride=2, ceil_mode=True)
    (112, 56)
    """
    if min(size, kernel, stride, dilation) < 1 or min(pads) < 0:
        raise HetcnnError(
            f"size {size}, kernel {kernel}, stride {stride}, dilation {dilation}: 1 or more; pads {pads}: 0 or more"
        )
    room = size + sum(pads) - dilation * (kernel - 1) - 1
    if room < 0:
        raise HetcnnError(
            f"a window of {dilation * (kernel - 1) + 1} does not fit into {size} with padding {sum(pads)}"
        )
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pads[0] else count


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


class Builder:
    """A network in the making; `input` is its input tensor, in NCHW.

    >>> b = Builder("tiny", (1, 3, 8, 8))
    >>> x = b.relu(b.conv(b.input, 16, 3, pad=1, name="conv1"))
    >>> net = b.build(b.fc(b.global_avg_pool(x), 10, name="fc2"))
    >>> net.macs                                 # 64 pixels x 27 taps x 16 maps + 16 x 10
    27808
    """

    def __init__(
        self, name: str, input_shape: Sequence[int], *, input_name: str = "input", dtype: str = "float32"
    ) -> None:
        if not input_shape or any(not isinstance(d, int) or d < 1 for d in input_shape):
            raise HetcnnError(f"network '{name}': input shape {tuple(input_shape)}; sizes are whole numbers from 1")
        self.name = name
        self.input = Tensor(input_name, tuple(input_shape), dtype)
        self._layers: list[Layer] = []
        self._weights: dict[str, NDArray[Any]] = {}
        self._counts: dict[str, int] = {}

    def build(self, *outputs: Tensor) -> Network:
        """Return the network that ends in `outputs`."""
        return Network(self.name, (self.input,), tuple(self._layers), outputs, dict(self._weights))

    def op(
        self,
        op: str,
        inputs: Sequence[Tensor],
        shapes: Sequence[Sequence[int]],
        attrs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
    ) -> tuple[Tensor, ...]:
        """Add any operator whose output shapes you know, and return its outputs."""
        name = name or self._next(op.lower())
        dtype = inputs[0].dtype
        names = [name] if len(shapes) == 1 else [f"{name}:{i}" for i in range(len(shapes))]
        outputs = tuple(Tensor(n, tuple(shape), dtype) for n, shape in zip(names, shapes, strict=True))
        self._layers.append(Layer(name, op, tuple(inputs), outputs, dict(attrs or {})))
        return outputs

    def constant(self, values: Any, name: str, dtype: str = "int64") -> Tensor:
        """Return a constant that belongs to the network's structure (a shape, a bound), not to its training."""
        array = np.asarray(values, dtype)
        self._weights[name] = array
        return Tensor(name, array.shape, dtype, constant=True)

    def weight(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return a trained weight, still without values."""
        return Tensor(name, tuple(shape), self.input.dtype, constant=True)

    def _next(self, prefix: str) -> str:
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}{self._counts[prefix]}"

    def _same(self, op: str, x: Tensor, name: str, attrs: Mapping[str, Any] | None = None, *extra: Tensor) -> Tensor:
        return self.op(op, (x, *extra), (x.shape,), attrs, name=name)[0]

    # Convolutions and matrix products

    def conv(
        self,
        x: Tensor,
        maps: int,
        kernel: Size,
        *,
        stride: Size = 1,
        pad: Pad = 0,
        dilation: Size = 1,
        group: int = 1,
        bias: bool = True,
        name: str = "",
    ) -> Tensor:
        """Add a convolution with `maps` output channels; `group=x.shape[1]` makes it depthwise."""
        name = name or self._next("conv")
        depth = self._channels(x, name)
        if group < 1 or depth % group or maps % group or maps < 1:
            raise HetcnnError(f"layer '{name}': {depth} channels and {maps} maps must be multiples of group {group}")
        kernel, attrs, pixels = self._window(x, kernel, stride, pad, name, dilation=_pair(dilation))
        inputs = [x, self.weight(f"{name}.weight", (maps, depth // group, *kernel))]
        inputs += [self.weight(f"{name}.bias", (maps,))] if bias else []
        return self.op("Conv", inputs, ((x.shape[0], maps, *pixels),), {**attrs, "group": group}, name=name)[0]

    def conv_relu(self, x: Tensor, maps: int, kernel: Size, *, name: str, **options: Any) -> Tensor:
        """Add a convolution with bias and a ReLU."""
        return self.relu(self.conv(x, maps, kernel, name=name, **options), name=f"{name}/relu")

    def conv_bn(self, x: Tensor, maps: int, kernel: Size, *, name: str, **options: Any) -> Tensor:
        """Add a convolution without bias and a batch normalisation."""
        return self.batch_norm(self.conv(x, maps, kernel, bias=False, name=name, **options), name=f"{name}/bn")

    def conv_bn_relu(self, x: Tensor, maps: int, kernel: Size, *, name: str, **options: Any) -> Tensor:
        """Add a convolution without bias, a batch normalisation and a ReLU."""
        return self.relu(self.conv_bn(x, maps, kernel, name=name, **options), name=f"{name}/relu")

    def conv_bn_relu6(self, x: Tensor, maps: int, kernel: Size, *, name: str, **options: Any) -> Tensor:
        """Add a convolution without bias, a batch normalisation and a ReLU that stops at 6."""
        return self.relu6(self.conv_bn(x, maps, kernel, name=name, **options), name=f"{name}/relu6")

    def fc(self, x: Tensor, maps: int, *, bias: bool = True, name: str = "") -> Tensor:
        """Add a fully connected layer (Gemm); an input of more than two axes is flattened first."""
        name = name or self._next("fc")
        x = x if len(x.shape) == 2 else self.flatten(x, name=f"{name}/flatten")
        inputs = [x, self.weight(f"{name}.weight", (maps, x.shape[1]))]
        inputs += [self.weight(f"{name}.bias", (maps,))] if bias else []
        return self.op("Gemm", inputs, ((x.shape[0], maps),), {"transB": 1}, name=name)[0]

    def _channels(self, x: Tensor, name: str) -> int:
        if len(x.shape) != 4:
            raise HetcnnError(f"layer '{name}': its input '{x.name}' has shape {x.shape}; it must be NCHW")
        return x.shape[1]

    def _window(
        self,
        x: Tensor,
        kernel: Size,
        stride: Size,
        pad: Pad,
        name: str,
        *,
        dilation: Size | None = None,
        ceil: bool = False,
    ) -> tuple[tuple[int, int], dict[str, Any], tuple[int, ...]]:
        """Return kernel, attributes and output size of a sliding window."""
        self._channels(x, name)
        kernel, strides, steps = _pair(kernel), _pair(stride), _pair(dilation or 1)
        pads = _pads(pad, x.shape[2:], kernel, strides, steps)
        try:
            pixels = tuple(
                window_out(
                    x.shape[2 + i],
                    kernel[i],
                    stride=strides[i],
                    pads=(pads[i], pads[2 + i]),
                    dilation=steps[i],
                    ceil_mode=ceil,
                )
                for i in range(2)
            )
        except HetcnnError as error:
            raise HetcnnError(f"layer '{name}': {error}") from None
        attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        return kernel, attrs | ({} if dilation is None else {"dilations": steps}), pixels

    # Pooling

    def max_pool(
        self, x: Tensor, kernel: Size, *, stride: Size, pad: Pad = 0, ceil_mode: bool = False, name: str = ""
    ) -> Tensor:
        """Add a max pooling."""
        name = name or self._next("maxpool")
        _, attrs, pixels = self._window(x, kernel, stride, pad, name, ceil=ceil_mode)
        return self.op("MaxPool", (x,), ((*x.shape[:2], *pixels),), {**attrs, "ceil_mode": int(ceil_mode)}, name=name)[
            0
        ]

    def avg_pool(
        self,
        x: Tensor,
        kernel: Size,
        *,
        stride: Size,
        pad: Pad = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
        name: str = "",
    ) -> Tensor:
        """Add an average pooling; padding counts as zeros only with `count_include_pad`."""
        name = name or self._next("averagepool")
        _, attrs, pixels = self._window(x, kernel, stride, pad, name, ceil=ceil_mode)
        attrs |= {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad)}
        return self.op("AveragePool", (x,), ((*x.shape[:2], *pixels),), attrs, name=name)[0]

    def global_avg_pool(self, x: Tensor, *, name: str = "") -> Tensor:
        """Add the average over all pixels of each channel; the output is (N, C, 1, 1)."""
        return self.op("GlobalAveragePool", (x,), ((*x.shape[:2], 1, 1),), name=name)[0]

    # Normalisation and activation

    def batch_norm(self, x: Tensor, *, epsilon: float = 1e-5, name: str = "") -> Tensor:
        """Add an inference batch normalisation: scale, bias, mean and variance per channel."""
        name = name or self._next("batchnormalization")
        parts = [self.weight(f"{name}.{part}", (x.shape[1],)) for part in ("scale", "bias", "mean", "var")]
        return self._same("BatchNormalization", x, name, {"epsilon": epsilon}, *parts)

    def lrn(
        self, x: Tensor, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, name: str = ""
    ) -> Tensor:
        """Add a local response normalisation across channels."""
        return self._same("LRN", x, name, {"size": size, "alpha": alpha, "beta": beta, "bias": k})

    def relu(self, x: Tensor, *, name: str = "") -> Tensor:
        """Add max(x, 0)."""
        return self._same("Relu", x, name)

    def relu6(self, x: Tensor, *, name: str = "") -> Tensor:
        """Add min(max(x, 0), 6), ONNX's Clip."""
        return self.clip(x, 0.0, 6.0, name=name)

    def clip(self, x: Tensor, low: float, high: float, *, name: str = "") -> Tensor:
        """Add min(max(x, low), high)."""
        bounds = [self.constant(v, f"bound_{v:g}", x.dtype) for v in (low, high)]
        return self._same("Clip", x, name, None, *bounds)

    def tanh(self, x: Tensor, *, name: str = "") -> Tensor:
        """Add the hyperbolic tangent."""
        return self._same("Tanh", x, name)

    def sigmoid(self, x: Tensor, *, name: str = "") -> Tensor:
        """Add 1 / (1 + exp(-x))."""
        return self._same("Sigmoid", x, name)

    def softmax(self, x: Tensor, *, axis: int = 1, name: str = "") -> Tensor:
        """Add a softmax over one axis."""
        return self._same("Softmax", x, name, {"axis": axis})

    def dropout(self, x: Tensor, *, name: str = "") -> Tensor:
        """Add a dropout, which does nothing at inference."""
        return self._same("Dropout", x, name)

    # Joining and rearranging

    def add(self, *tensors: Tensor, name: str = "") -> Tensor:
        """Add the element-wise sum of two or more tensors of one shape, or of shapes that broadcast."""
        return self._join("Add" if len(tensors) == 2 else "Sum", tensors, name)

    def mul(self, a: Tensor, b: Tensor, *, name: str = "") -> Tensor:
        """Add the element-wise product."""
        return self._join("Mul", (a, b), name)

    def _join(self, op: str, tensors: Sequence[Tensor], name: str) -> Tensor:
        name = name or self._next(op.lower())
        try:
            shape = np.broadcast_shapes(*(t.shape for t in tensors))
        except ValueError:
            shapes = ", ".join(str(t.shape) for t in tensors)
            raise HetcnnError(f"layer '{name}' ({op}): shapes {shapes} do not broadcast") from None
        return self.op(op, tensors, (shape,), name=name)[0]

    def concat(self, *tensors: Tensor, axis: int = 1, name: str = "") -> Tensor:
        """Add the concatenation along one axis."""
        name = name or self._next("concat")
        first = tensors[0].shape
        axis = self._axis(tensors[0], axis, name)
        if any(t.shape[:axis] + t.shape[axis + 1 :] != first[:axis] + first[axis + 1 :] for t in tensors):
            shapes = ", ".join(str(t.shape) for t in tensors)
            raise HetcnnError(f"layer '{name}' (Concat): shapes {shapes} differ outside axis {axis}")
        shape = (*first[:axis], sum(t.shape[axis] for t in tensors), *first[axis + 1 :])
        return self.op("Concat", tensors, (shape,), {"axis": axis}, name=name)[0]

    def split(self, x: Tensor, parts: int | Sequence[int] = 2, *, axis: int = 1, name: str = "") -> tuple[Tensor, ...]:
        """Add a split into equal `parts`, or into parts of the given sizes."""
        name = name or self._next("split")
        axis = self._axis(x, axis, name)
        sizes = [x.shape[axis] // parts] * parts if isinstance(parts, int) else list(parts)
        if sum(sizes) != x.shape[axis] or min(sizes) < 1:
            raise HetcnnError(f"layer '{name}' (Split): cannot split {x.shape[axis]} into {parts}")
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        inputs = [x] if isinstance(parts, int) else [x, self.constant(sizes, f"{name}.split")]
        return self.op("Split", inputs, shapes, {"axis": axis}, name=name)

    def slice(self, x: Tensor, start: int, stop: int, *, axis: int = 1, step: int = 1, name: str = "") -> Tensor:
        """Add the slice [start:stop:step] along one axis, with Python's rules and a positive step."""
        name = name or self._next("slice")
        axis = self._axis(x, axis, name)
        if step < 1:
            raise HetcnnError(f"layer '{name}' (Slice): step {step}; it must be 1 or more")
        size = len(range(*slice(start, stop, step).indices(x.shape[axis])))
        parts = {"starts": start, "ends": stop, "axes": axis, "steps": step}
        inputs = [self.constant([value], f"{name}.{key}") for key, value in parts.items()]
        return self.op("Slice", (x, *inputs), ((*x.shape[:axis], size, *x.shape[axis + 1 :]),), name=name)[0]

    def flatten(self, x: Tensor, *, name: str = "") -> Tensor:
        """Add the reshape to (N, everything else)."""
        return self.op("Flatten", (x,), ((x.shape[0], prod(x.shape[1:])),), {"axis": 1}, name=name)[0]

    def reshape(self, x: Tensor, shape: Sequence[int], *, name: str = "") -> Tensor:
        """Add a reshape; one size may be -1."""
        name = name or self._next("reshape")
        known = prod(d for d in shape if d != -1)
        full = [x.size // known if d == -1 and known else d for d in shape]
        if prod(full) != x.size or list(shape).count(-1) > 1:
            raise HetcnnError(f"layer '{name}' (Reshape): {x.shape} has {x.size} elements, {tuple(shape)} does not fit")
        return self.op("Reshape", (x, self.constant(shape, f"{name}.shape")), (full,), name=name)[0]

    def transpose(self, x: Tensor, order: Sequence[int], *, name: str = "") -> Tensor:
        """Add a transposition: axis i of the output is axis order[i] of the input."""
        name = name or self._next("transpose")
        if sorted(order) != list(range(len(x.shape))):
            raise HetcnnError(f"layer '{name}' (Transpose): {tuple(order)} is no order of {len(x.shape)} axes")
        return self.op("Transpose", (x,), ([x.shape[i] for i in order],), {"perm": tuple(order)}, name=name)[0]

    def channel_shuffle(self, x: Tensor, groups: int = 2, *, name: str = "") -> Tensor:
        """Add ShuffleNet's channel shuffle: reshape to (groups, C / groups), swap the two, reshape back."""
        name = name or self._next("shuffle")
        batch, channels, *pixels = x.shape
        if groups < 1 or channels % groups:
            raise HetcnnError(f"layer '{name}': {channels} channels are no multiple of {groups} groups")
        y = self.reshape(x, (batch, groups, channels // groups, *pixels), name=f"{name}/split")
        y = self.transpose(y, (0, 2, 1, *range(3, len(y.shape))), name=f"{name}/swap")
        return self.reshape(y, x.shape, name=f"{name}/join")

    def pad(self, x: Tensor, pads: tuple[int, int, int, int], *, name: str = "") -> Tensor:
        """Add zeros around the image: (top, left, bottom, right)."""
        name = name or self._next("pad")
        top, left, bottom, right = pads
        batch, maps, height, width = x.shape
        edges = self.constant((0, 0, top, left, 0, 0, bottom, right), f"{name}.pads")
        shape = (batch, maps, height + top + bottom, width + left + right)
        return self.op("Pad", (x, edges), (shape,), {"mode": "constant"}, name=name)[0]

    def _axis(self, x: Tensor, axis: int, name: str) -> int:
        rank = len(x.shape)
        if not -rank <= axis < rank:
            raise HetcnnError(f"layer '{name}': axis {axis} of a tensor with {rank} axes")
        return axis % rank


def _pads(
    pad: Pad, size: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    if isinstance(pad, int):
        return (pad, pad, pad, pad)
    if isinstance(pad, tuple):
        return pad if len(pad) == 4 else (*pad, *pad)
    if pad != "same":
        raise HetcnnError(f"pad '{pad}'; it is a number, 2 or 4 numbers, or 'same'")
    total = [
        max((-(-size[i] // stride[i]) - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - size[i], 0)
        for i in range(2)
    ]
    top, left = total[0] // 2, total[1] // 2
    return (top, left, total[0] - top, total[1] - left)
