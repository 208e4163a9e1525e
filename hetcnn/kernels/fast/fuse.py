"""From a `Network` to the steps of the engine: batch norm folded, bias, clamp and residual fused into convolutions.

    bn(W x + b) = (s W) x + s (b - mean) + beta,   s = gamma / sqrt(var + eps)

Dropout and Identity vanish; channel shuffles, splits and concatenations become permutations of channels that later
convolutions take into their weights. What has no fast path becomes an "other" step, run by the operator's function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.kernels.fast.tape import Act, Array
from hetcnn.network import Layer, Network, Tensor

__all__ = ["Step", "fuse"]


@dataclass
class Step:
    """One operation on named tensors; `layers` are the network's layers that it stands for.

    `op` is conv, dense, max, mean, gap, add, clamp, scale, lrn, softmax, concat, pick, view, same or other.
    """

    op: str
    layer: Layer
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    weight: Array | None = None
    bias: Array | None = None
    act: Act | None = None
    residual: str | None = None
    layers: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first layer's name: the one that a message should point at."""
        return self.layer.name


def fuse(network: Network) -> list[Step]:
    """Return the network as fused steps in topological order."""
    return _Fuser(network).run()


class _Fuser:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.steps: list[Step] = []
        self.made: dict[str, int] = {}
        self.kept = {t.name for t in network.outputs}
        self.uses: dict[str, int] = {}
        for layer in network.layers:
            for t in layer.data:
                self.uses[t.name] = self.uses.get(t.name, 0) + 1

    def run(self) -> list[Step]:
        for layer in self.network.layers:
            rule = None if layer.domain else _RULES.get(layer.op)
            step = rule(self, layer) if rule else None
            if step is None and not (rule and self._absorbed(layer)):
                step = Step("other", layer, [t.name for t in layer.data], [t.name for t in layer.outputs])
            if step is not None:
                step.layers = [layer.name]
                self.made |= dict.fromkeys(step.outputs, len(self.steps))
                self.steps.append(step)
        return _shuffles(self.steps, self.uses, self.kept)

    def _absorbed(self, layer: Layer) -> bool:
        return layer.outputs[0].name in self.made

    def constant(self, layer: Layer, position: int) -> NDArray[Any] | None:
        """The constant at an input, or None where there is none; an error where the network lacks its values."""
        tensor = layer.inputs[position] if len(layer.inputs) > position else None
        if tensor is None or not tensor.constant:
            return None
        if tensor.name not in self.network.weights:
            raise HetcnnError(
                f"layer '{layer.name}': the weight '{tensor.name}' is missing; load the network with weights, or give "
                "random ones with a seed"
            )
        return np.asarray(self.network.weights[tensor.name])

    def before(self, tensor: Tensor, *ops: str) -> Step | None:
        """The step that makes `tensor`, if it may still be changed: nobody else reads it, no clamp follows yet."""
        at = self.made.get(tensor.name)
        if at is None or self.uses.get(tensor.name) != 1 or tensor.name in self.kept:
            return None
        step = self.steps[at]
        return step if step.op in ops and step.act is None else None

    def extend(self, step: Step, layer: Layer) -> None:
        """Let the step stand for one layer more."""
        at = self.made.pop(step.outputs[0])
        step.outputs = [layer.outputs[0].name]
        step.layers.append(layer.name)
        self.made[step.outputs[0]] = at


def _is_image(*tensors: Tensor | None) -> bool:
    return all(t is not None and len(t.shape) == 4 and t.dtype == "float32" and t.size for t in tensors)


def _conv(fuser: _Fuser, layer: Layer) -> Step | None:
    x, w = layer.inputs[0], layer.inputs[1]
    weight = fuser.constant(layer, 1)
    bias = fuser.constant(layer, 2)
    has_bias = len(layer.inputs) > 2 and layer.inputs[2] is not None
    if (
        weight is None
        or not _is_image(x, w, layer.outputs[0])
        or (has_bias and bias is None)
        or x is None
        or x.constant
    ):
        return None
    attrs = _window(layer, x, (int(weight.shape[2]), int(weight.shape[3])))
    if attrs is None:
        return None
    attrs["groups"] = int(layer.attrs.get("group", 1))
    return Step("conv", layer, [x.name], [layer.outputs[0].name], attrs, weight, bias)


def _window(layer: Layer, x: Tensor, kernel: tuple[int, int]) -> dict[str, Any] | None:
    """Kernel, stride, dilation and pads (top, left, bottom, right) of a convolution or a pool."""
    stride = _two(layer.attrs.get("strides") or (1, 1))
    dilation = _two(layer.attrs.get("dilations") or (1, 1))
    pads = tuple(int(p) for p in layer.attrs.get("pads") or (0, 0, 0, 0))
    auto = layer.attrs.get("auto_pad", "NOTSET") or "NOTSET"
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sides = []
        for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
            total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
            sides.append((total // 2, total - total // 2)[:: 1 if auto == "SAME_UPPER" else -1])
        pads = (sides[0][0], sides[1][0], sides[0][1], sides[1][1])
    elif auto == "VALID":
        pads = (0, 0, 0, 0)
    if min(pads) < 0 or len(pads) != 4:
        return None
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "pads": pads}


def _two(values: Any) -> tuple[int, int]:
    a, b = (int(v) for v in values)
    return a, b


def _gemm(fuser: _Fuser, layer: Layer) -> Step | None:
    x, weight, bias = layer.inputs[0], fuser.constant(layer, 1), fuser.constant(layer, 2)
    attrs = layer.attrs
    has_bias = len(layer.inputs) > 2 and layer.inputs[2] is not None
    if x is None or x.constant or weight is None or (has_bias and bias is None):
        return None
    if attrs.get("transA") or x.dtype != "float32" or len(x.shape) != 2 or not layer.outputs[0].size:
        return None
    matrix = weight if attrs.get("transB") else weight.T
    if attrs.get("alpha", 1.0) != 1.0:
        matrix = matrix * np.float32(attrs["alpha"])
    if bias is not None:
        if bias.ndim > 1 and bias.shape[0] != 1:
            return None
        bias = np.broadcast_to(bias.reshape(-1) * np.float32(attrs.get("beta", 1.0)), (len(matrix),))
    return Step("dense", layer, [x.name], [layer.outputs[0].name], {}, matrix, bias)


def _batch_norm(fuser: _Fuser, layer: Layer) -> Step | None:
    values = [fuser.constant(layer, i) for i in range(1, 5)]
    x = layer.inputs[0]
    if any(v is None for v in values) or not _is_image(x) or layer.attrs.get("training_mode") or x is None:
        return None
    if len([t for t in layer.outputs if t.name]) > 1:
        return None
    gamma, beta, mean, var = (np.asarray(v, np.float64) for v in values)
    scale = gamma / np.sqrt(var + float(layer.attrs.get("epsilon", 1e-5)))
    shift = beta - mean * scale
    step = fuser.before(x, "conv")
    if step is None or step.weight is None or step.residual is not None:
        made = Step("scale", layer, [x.name], [layer.outputs[0].name])
        made.weight, made.bias = scale.astype(np.float32), shift.astype(np.float32)
        return made
    before = 0.0 if step.bias is None else step.bias
    step.weight = (step.weight * scale[:, None, None, None]).astype(np.float32)
    step.bias = (before * scale + shift).astype(np.float32)
    fuser.extend(step, layer)
    return None


def _clamped(fuser: _Fuser, layer: Layer, act: Act) -> Step | None:
    x = layer.inputs[0]
    if x is None or x.constant or x.dtype != "float32" or len(x.shape) not in (2, 4) or not x.size:
        return None
    step = fuser.before(x, "conv", "dense", "add", "scale")
    if step is None:
        return Step("clamp", layer, [x.name], [layer.outputs[0].name], act=act) if len(x.shape) == 4 else None
    step.act = act
    fuser.extend(step, layer)
    return None


def _relu(fuser: _Fuser, layer: Layer) -> Step | None:
    return _clamped(fuser, layer, Act(0.0, np.inf))


def _clip(fuser: _Fuser, layer: Layer) -> Step | None:
    bounds = []
    for position, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        value = fuser.constant(layer, position)
        given = len(layer.inputs) > position and layer.inputs[position] is not None
        if given and value is None:
            return None
        bounds.append(float(value) if value is not None else float(layer.attrs.get(name, default)))
    return _clamped(fuser, layer, Act(*bounds)) if bounds[0] <= bounds[1] else None


def _add(fuser: _Fuser, layer: Layer) -> Step | None:
    if len(layer.inputs) != 2 or len(layer.data) != 2 or not _is_image(*layer.inputs):
        return None
    a, b = layer.data
    if a.shape != b.shape:
        return None
    if a.name != b.name:
        for x, other in sorted(((a, b), (b, a)), key=lambda pair: -fuser.made.get(pair[0].name, -1)):
            step = fuser.before(x, "conv")
            if step and step.residual is None and fuser.made.get(other.name, -1) < fuser.made[x.name]:
                step.residual = other.name
                fuser.extend(step, layer)
                return None
    return Step("add", layer, [a.name, b.name], [layer.outputs[0].name])


def _pool(op: str) -> Callable[[_Fuser, Layer], Step | None]:
    def rule(_: _Fuser, layer: Layer) -> Step | None:
        x = layer.inputs[0]
        one = len([t for t in layer.outputs if t.name]) == 1
        if x is None or x.constant or not _is_image(x, layer.outputs[0]) or not one:
            return None
        attrs = _window(layer, x, _two(layer.attrs["kernel_shape"]))
        if attrs is None or attrs["dilation"] != (1, 1):
            return None
        if layer.attrs.get("ceil_mode"):
            attrs = _grown(attrs, x, layer.outputs[0]) if op == "max" else None
        if attrs is None:
            return None
        attrs["include"] = bool(layer.attrs.get("count_include_pad", 0))
        return Step(op, layer, [x.name], [layer.outputs[0].name], attrs)

    return rule


def _grown(attrs: dict[str, Any], x: Tensor, y: Tensor) -> dict[str, Any]:
    """Ceil mode as padding below and to the right; a maximum does not see it."""
    top, left, *_ = attrs["pads"]
    ends = [
        (out - 1) * s + k - size - before
        for out, s, k, size, before in zip(
            y.shape[2:], attrs["stride"], attrs["kernel"], x.shape[2:], (top, left), strict=True
        )
    ]
    return attrs | {"pads": (top, left, max(ends[0], 0), max(ends[1], 0))}


def _simple(op: str) -> Callable[[_Fuser, Layer], Step | None]:
    def rule(_: _Fuser, layer: Layer) -> Step | None:
        x = layer.inputs[0]
        if x is None or x.constant or not _is_image(x):
            return None
        return Step(op, layer, [x.name], [layer.outputs[0].name])

    return rule


def _lrn(fuser: _Fuser, layer: Layer) -> Step | None:
    step = _simple("lrn")(fuser, layer)
    if step:
        a = layer.attrs
        step.attrs["settings"] = (
            int(a["size"]),
            float(a.get("alpha", 1e-4)),
            float(a.get("beta", 0.75)),
            float(a.get("bias", 1.0)),
        )
    return step


def _same(_: _Fuser, layer: Layer) -> Step | None:
    x = layer.inputs[0]
    training = layer.op == "Dropout" and len(layer.inputs) > 2 and layer.inputs[2] is not None
    if x is None or x.constant or len([t for t in layer.outputs if t.name]) > 1 or training:
        return None
    return Step("same", layer, [x.name], [layer.outputs[0].name])


def _view(_: _Fuser, layer: Layer) -> Step | None:
    x = layer.inputs[0]
    if x is None or x.constant or len(layer.data) > 1:
        return None
    return Step("view", layer, [x.name], [layer.outputs[0].name])


def _softmax(fuser: _Fuser, layer: Layer) -> Step | None:
    x = layer.inputs[0]
    axis = int(layer.attrs.get("axis", -1 if fuser.network.opset >= 13 else 1))
    if x is None or x.constant or len(x.shape) != 2 or axis not in (1, -1) or x.dtype != "float32" or not x.size:
        return None
    return Step("softmax", layer, [x.name], [layer.outputs[0].name])


def _concat(_: _Fuser, layer: Layer) -> Step | None:
    if layer.attrs.get("axis") not in (1, -3) or not _is_image(*layer.inputs) or len(layer.data) != len(layer.inputs):
        return None
    return Step("concat", layer, [t.name for t in layer.data], [layer.outputs[0].name])


def _split(_: _Fuser, layer: Layer) -> Step | None:
    x = layer.inputs[0]
    if layer.attrs.get("axis", 0) not in (1, -3) or not _is_image(x) or x is None or x.constant:
        return None
    picks, start = [], 0
    for t in layer.outputs:
        picks.append(np.arange(start, start + t.shape[1]))
        start += t.shape[1]
    return Step("pick", layer, [x.name], [t.name for t in layer.outputs], {"picks": picks})


_RULES: Mapping[str, Callable[[_Fuser, Layer], Step | None]] = {
    "Add": _add,
    "AveragePool": _pool("mean"),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _same,
    "Flatten": _view,
    "Gemm": _gemm,
    "GlobalAveragePool": _simple("gap"),
    "Identity": _same,
    "LRN": _lrn,
    "MaxPool": _pool("max"),
    "Relu": _relu,
    "Reshape": _view,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _view,
    "Unsqueeze": _view,
}


def _shuffles(steps: list[Step], uses: Mapping[str, int], kept: set[str]) -> list[Step]:
    """Replace reshape, transpose, reshape that shuffle channels in groups by one pick of channels."""
    found: list[Step] = []
    for step in steps:
        trio = [*found[-2:], step]
        if len(trio) == 3 and _is_shuffle(trio, uses, kept):
            first = trio[0].layer
            groups, size = first.outputs[0].shape[1:3]
            order = np.arange(groups * size).reshape(groups, size).T.ravel()
            del found[-2:]
            names = [name for s in trio for name in s.layers]
            step = replace(step, op="pick", inputs=trio[0].inputs, attrs={"picks": [order]}, layers=names)
        found.append(step)
    return found


def _is_shuffle(trio: list[Step], uses: Mapping[str, int], kept: set[str]) -> bool:
    first, second, third = trio
    chained = first.outputs[0] in second.inputs and second.outputs[0] in third.inputs
    if not chained or [s.layer.op for s in trio] != ["Reshape", "Transpose", "Reshape"]:
        return False
    inner = [first.outputs[0], second.outputs[0]]
    if any(uses.get(name) != 1 or name in kept for name in inner):
        return False
    x, y, z = first.layer.data[0], first.layer.outputs[0], third.layer.outputs[0]
    shapes = len(x.shape) == 4 and len(y.shape) == 5 and x.shape == z.shape
    return (
        shapes
        and x.dtype == "float32"
        and y.shape[0] == x.shape[0]
        and y.shape[3:] == x.shape[2:]
        and tuple(second.layer.attrs.get("perm", ())) == (0, 2, 1, 3, 4)
    )
