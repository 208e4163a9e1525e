"""Which function computes which operator: the one table that the interpreter, the engine and the backend read.

An operator's function takes its inputs in order and its attributes by their ONNX names. ONNX moved some values from
attributes to inputs between versions (the `axes` of Squeeze, the `pads` of Pad); with parameters named alike one
function serves both.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels import (
    activation,
    cast,
    convolution,
    creation,
    elementwise,
    fixed_point,
    indexing,
    linear,
    normalisation,
    pooling,
    quantised,
    reduction,
    resize,
    shape,
)
from hetcnn.kernels.arrays import Array

__all__ = ["FIXED_POINT", "Operator", "operator", "operators", "supports"]

Operator = Callable[[Sequence[Array | None], Mapping[str, Any]], tuple[Array, ...]]
"""(inputs, attributes) -> outputs; an absent optional input is None."""

FIXED_POINT = fixed_point.DOMAIN
"""The domain of the fixed-point operators; ONNX's own have the domain ""."""

_Function = Callable[..., Any]


def _dropout(
    x: Array, ratio: Any = 0.5, training_mode: Any = None, *, seed: int | None = None, outputs: int = 1
) -> tuple[Array, ...]:
    """Return x at inference; in training a share `ratio` of its elements becomes 0, the others grow to make up for it.

    Training draws from the generator of ONNX's reference, so that a `seed` gives its numbers.
    """
    share = 0.5 if ratio is None else float(np.asarray(ratio).item())
    if training_mode is None or not np.any(training_mode) or share == 0:
        return (x, np.ones(x.shape, bool))[: max(outputs, 1)]
    kept = np.asarray(np.random.RandomState(seed).uniform(0, 1.0, x.shape) >= share)
    return (np.asarray(kept * x / (1 - share), x.dtype), kept)[: max(outputs, 1)]


def _old_batch_normalization(*inputs: Array, is_test: int = 1, spatial: int = 1, **attrs: Any) -> tuple[Array, ...]:
    if not spatial or not is_test:
        raise HetcnnError(f"spatial={spatial}, is_test={is_test}: only inference with a mean per channel is supported")
    return normalisation.batch_normalization(*inputs, **attrs)


def _max_pool(x: Array, *, storage_order: int = 0, outputs: int = 1, **attrs: Any) -> tuple[Array, ...]:
    if outputs > 1:
        return pooling.max_pool_indices(x, storage_order=storage_order, **attrs)
    return (pooling.max_pool(x, **attrs),)


_ONCE: Mapping[str, _Function] = MappingProxyType(
    {
        **elementwise.UFUNCS,
        "ArgMax": reduction.argmax,
        "ArgMin": reduction.argmin,
        "AveragePool": pooling.average_pool,
        "BatchNormalization": normalisation.batch_normalization,
        "BitCast": cast.bit_cast,
        "BitShift": elementwise.bit_shift,
        "Cast": cast.cast,
        "CastLike": cast.cast_like,
        "Celu": activation.celu,
        "Clip": activation.clip,
        "Concat": indexing.concat,
        "Constant": creation.constant,
        "ConstantOfShape": creation.constant_of_shape,
        "Conv": convolution.conv,
        "ConvInteger": quantised.conv_integer,
        "ConvTranspose": convolution.conv_transpose,
        "CumSum": reduction.cumsum,
        "DepthToSpace": shape.depth_to_space,
        "DequantizeLinear": quantised.dequantize_linear,
        "Div": elementwise.divide,
        "Dropout": _dropout,
        "DynamicQuantizeLinear": quantised.dynamic_quantize_linear,
        "Elu": activation.elu,
        "Erf": activation.erf,
        "Expand": shape.expand,
        "EyeLike": creation.eye_like,
        "Flatten": shape.flatten,
        "Gather": indexing.gather,
        "GatherElements": indexing.gather_elements,
        "GatherND": indexing.gather_nd,
        "Gelu": activation.gelu,
        "Gemm": linear.gemm,
        "GlobalAveragePool": pooling.global_average_pool,
        "GlobalLpPool": pooling.global_lp_pool,
        "GlobalMaxPool": pooling.global_max_pool,
        "GroupNormalization": normalisation.group_normalization,
        "HardSigmoid": activation.hard_sigmoid,
        "HardSwish": activation.hard_swish,
        "Hardmax": activation.hardmax,
        "Identity": shape.identity,
        "InstanceNormalization": normalisation.instance_normalization,
        "IsInf": elementwise.is_inf,
        "LRN": normalisation.lrn,
        "LayerNormalization": normalisation.layer_normalization,
        "LeakyRelu": activation.leaky_relu,
        "LpNormalization": normalisation.lp_normalization,
        "LpPool": pooling.lp_pool,
        "MatMul": linear.matmul,
        "MatMulInteger": quantised.matmul_integer,
        "Max": elementwise.maximum,
        "MaxPool": _max_pool,
        "Mean": elementwise.mean,
        "MeanVarianceNormalization": normalisation.mean_variance_normalization,
        "Min": elementwise.minimum,
        "Mish": activation.mish,
        "Mod": elementwise.modulo,
        "PRelu": activation.prelu,
        "Pad": indexing.pad,
        "Pow": elementwise.power,
        "QLinearConv": quantised.qlinear_conv,
        "QLinearMatMul": quantised.qlinear_matmul,
        "QuantizeLinear": quantised.quantize_linear,
        "RMSNormalization": normalisation.rms_normalization,
        "Range": creation.span,
        "Reciprocal": elementwise.reciprocal,
        "ReduceL1": reduction.reduce_l1,
        "ReduceL2": reduction.reduce_l2,
        "ReduceLogSum": reduction.reduce_log_sum,
        "ReduceLogSumExp": reduction.reduce_log_sum_exp,
        "ReduceMax": reduction.reduce_max,
        "ReduceMean": reduction.reduce_mean,
        "ReduceMin": reduction.reduce_min,
        "ReduceProd": reduction.reduce_prod,
        "ReduceSum": reduction.reduce_sum,
        "ReduceSumSquare": reduction.reduce_sum_square,
        "Relu": activation.relu,
        "Reshape": shape.reshape,
        "Resize": resize.resize,
        "Selu": activation.selu,
        "Shape": shape.shape,
        "Shrink": activation.shrink,
        "Sigmoid": activation.sigmoid,
        "Size": shape.size,
        "Slice": indexing.cut,
        "Softplus": activation.softplus,
        "Softsign": activation.softsign,
        "SpaceToDepth": shape.space_to_depth,
        "Split": indexing.split,
        "Squeeze": shape.squeeze,
        "Sum": elementwise.total,
        "Swish": activation.swish,
        "ThresholdedRelu": activation.thresholded_relu,
        "Tile": shape.tile,
        "Transpose": shape.transpose,
        "Unsqueeze": shape.unsqueeze,
        "Upsample": resize.upsample,
        "Where": elementwise.where,
    }
)

_BEFORE: Mapping[str, tuple[tuple[int, _Function], ...]] = MappingProxyType(
    {
        **{
            op: ((7, elementwise.aligned(_ONCE[op])),)
            for op in ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
        },
        "BatchNormalization": ((9, _old_batch_normalization),),
        "Concat": ((4, lambda *arrays, axis=1: indexing.concat(*arrays, axis=axis)),),
        "Hardmax": ((13, lambda x, axis=1: activation.hardmax(shape.flatten(x, axis=axis)).reshape(x.shape)),),
        "LogSoftmax": ((13, activation.log_softmax_of_rows),),
        "Resize": ((11, lambda x, scales, mode="nearest": resize.upsample(x, scales, mode=mode)),),
        "Softmax": ((13, activation.softmax_of_rows),),
    }
)
"""Operators that meant something else before an opset: (that opset, what they were)."""

_NEW: Mapping[str, _Function] = MappingProxyType(
    {**_ONCE, "LogSoftmax": activation.log_softmax, "Softmax": activation.softmax}
)

_DOMAINS: Mapping[str, Mapping[str, _Function]] = MappingProxyType(
    {"": _NEW, "ai.onnx": _NEW, FIXED_POINT: fixed_point.OPERATORS}
)

_IGNORED = frozenset({"consumed_inputs", "stash_type"})
"""Attributes that say how to manage memory, or in what type to sum: `sum_type` decides that here."""

_IGNORED_OF: Mapping[str, frozenset[str]] = MappingProxyType(
    {"Dropout": frozenset({"is_test"}), "Gemm": frozenset({"broadcast"})}
)
"""Attributes of ONNX's first versions whose only sensible value is meant here anyway."""


def operators(domain: str = "") -> tuple[str, ...]:
    """Return the names of all supported operators of a domain.

    >>> operators()[:3]
    ('Abs', 'Acos', 'Acosh')
    """
    return tuple(sorted(_DOMAINS.get(domain, ())))


def supports(op: str, domain: str = "") -> bool:
    """Return whether there is a function for an operator.

    >>> supports("Conv"), supports("LSTM")
    (True, False)
    """
    return op in _DOMAINS.get(domain, ())


@lru_cache(maxsize=1024)
def operator(op: str, domain: str = "", opset: int = 21, outputs: int = 1) -> Operator:
    """Return the pure function of an operator as version `opset` of ONNX defines it.

    It takes the inputs (None for an absent one) and the attributes, and returns the outputs. `outputs` says how many
    are wanted: MaxPool computes its indices, and Split knows its parts, from that. Raises HetcnnError for an operator
    without a function, naming the nearest; the function itself does for attributes and shapes that do not fit.

    >>> relu = operator("Relu")
    >>> relu([np.array([-1.0, 2.0])], {})[0].tolist()
    [0.0, 2.0]
    """
    function = _find(op, domain, opset)
    counted = _takes_outputs(function)
    ignored = _IGNORED | _IGNORED_OF.get(op, frozenset())

    def run(inputs: Sequence[Array | None], attrs: Mapping[str, Any]) -> tuple[Array, ...]:
        given = {key: value for key, value in attrs.items() if key not in ignored}
        if counted:
            given["outputs"] = outputs
        if isinstance(function, np.ufunc) and (len(inputs) != function.nin or given):
            named = f" and {', '.join(given)}" if given else ""
            raise HetcnnError(f"{op} takes {function.nin} inputs and no attribute; given {len(inputs)}{named}")
        try:
            results = function(*inputs, **given)
        except TypeError as error:
            raise HetcnnError(_signature_error(function, inputs, given, error)) from error
        if isinstance(results, (tuple, list)):
            return results if isinstance(results, tuple) else (results,)
        return (np.asarray(results),)

    return run


def _find(op: str, domain: str, opset: int) -> _Function:
    table = _DOMAINS.get(domain)
    if table is None:
        known = ", ".join(f"'{name}'" for name in sorted(_DOMAINS))
        raise HetcnnError(f"unsupported operator '{domain}::{op}': operators of the domains {known} are supported")
    if op not in table:
        raise HetcnnError(f"unsupported operator '{op}'; the nearest supported one is '{_nearest(op, table)}'")
    if domain in ("", "ai.onnx"):
        for until, function in _BEFORE.get(op, ()):
            if opset < until:
                return function
    return table[op]


def _nearest(op: str, table: Mapping[str, _Function]) -> str:
    """Return the operator most like a name: one begins with the other, or they share most letters."""
    lower = {name.lower(): name for name in table}
    wanted = op.lower()
    akin = [name for name in lower if wanted.startswith(name) or (wanted and name.startswith(wanted))]
    return lower[max(akin or lower, key=lambda name: difflib.SequenceMatcher(None, wanted, name).ratio())]


def _takes_outputs(function: _Function) -> bool:
    return not isinstance(function, np.ufunc) and "outputs" in inspect.signature(function).parameters


def _signature_error(function: _Function, inputs: Sequence[Any], attrs: Mapping[str, Any], error: TypeError) -> str:
    """Say in ONNX's words why a call failed: an unknown attribute, a missing one, too many or too few inputs."""
    try:
        inspect.signature(function).bind(*inputs, **attrs)
    except ValueError:  # a ufunc has no signature
        return str(error)
    except TypeError as mismatch:
        return f"{mismatch} (inputs and attributes as ONNX names them)"
    return str(error)
