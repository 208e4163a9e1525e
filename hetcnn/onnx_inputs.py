"""The inputs of an ONNX graph: which are data and which are weights, and concrete sizes for symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from hetcnn.errors import HetcnnError, unknown
from hetcnn.network import Tensor
from hetcnn.onnx_graph import text
from hetcnn.onnx_shapes import Node, checked
from hetcnn.onnx_weights import dtype_name

__all__ = ["Dims", "Sizes", "guess_weights", "read_hints", "read_inputs"]

Dims = Mapping[str, int | Sequence[int]]
"""Symbol ("N"), axis of an input ("image.2") or input ("image") -> its size, or for an input all its sizes."""

_MAX_SIZE = 2**40

_WEIGHT_POSITIONS = {
    "BatchNormalization": {1, 2, 3, 4},
    "Conv": {1, 2},
    "ConvTranspose": {1, 2},
    "Gemm": {1, 2},
    "GroupNormalization": {1, 2},
    "InstanceNormalization": {1, 2},
    "LayerNormalization": {1, 2},
    "MatMul": {1},
    "PRelu": {1},
}


def guess_weights(inputs: Sequence[str], nodes: Sequence[Node]) -> set[str]:
    """Return the graph inputs that are read as weights only; the first input is data whatever reads it."""
    as_data = {n for node in nodes for i, n in enumerate(node.inputs) if i not in _WEIGHT_POSITIONS.get(node.op, ())}
    read = {n for node in nodes for n in node.inputs}
    return {name for name in inputs[1:] if name in read - as_data}


@dataclass
class Sizes:
    """The sizes that the user gave for symbolic dimensions, and those that had to be chosen."""

    dims: Dims
    sizes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    symbols: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for key, value in self.dims.items():
            for size in value if isinstance(value, Sequence) else (value,):
                if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= _MAX_SIZE:
                    raise HetcnnError(f"dims: {key} = {value!r}; a size is a whole number from 1, e.g. dims={{'N': 1}}")

    def of(self, symbol: str) -> int | None:
        """Return the size of a symbol, or None if nobody said."""
        value = self.dims.get(symbol, self.sizes.get(symbol))
        return value if isinstance(value, int) else None


def read_inputs(
    found: Sequence[onnx.ValueInfoProto], weights: set[str], dims: Dims | None
) -> tuple[list[Tensor], Sizes]:
    """Return the graph's inputs with concrete shapes, and what was chosen.

    A symbolic batch (axis 0) alone becomes 1. Raises HetcnnError for any other symbol without a size, and for
    sizes given to names that the graph does not have, or one size to an input.
    """
    sizes = Sizes(dims or {})
    shapes = {text(info.name): _symbolic(info, sizes) for info in found}
    _check_names(sizes, shapes, weights)
    for name, shape in shapes.items():
        if name not in weights and len(shape) > 1 and isinstance(shape[0], str) and sizes.of(shape[0]) is None:
            sizes.sizes[shape[0]] = 1
            sizes.notes.append(f"batch '{shape[0]}' of input '{name}' set to 1; set it with dims={{'{shape[0]}': 1}}")
    tensors = []
    for info in found:
        name = text(info.name)
        concrete = tuple(_size(d, name, shapes[name], sizes) for d in shapes[name])
        dtype = dtype_name(info.type.tensor_type.elem_type, f"input '{name}'")
        tensors.append(checked(Tensor(name, concrete, dtype, name in weights)))
    return tensors, sizes


def _check_names(sizes: Sizes, shapes: Mapping[str, tuple[int | str, ...]], weights: set[str]) -> None:
    """Raise HetcnnError for a size whose name is no symbol and no input, or that is of the wrong one of the two."""
    for key, value in sizes.dims.items():
        shape = shapes.get(key, ())
        if key in shapes and len(shape) != 1 and isinstance(value, int) and key not in sizes.symbols:
            example = f"dims={{'{key}': {tuple(d if isinstance(d, int) else value for d in shape)}}}"
            raise HetcnnError(f"dims: '{key}' is an input with {len(shape)} axes; give all its sizes, e.g. {example}")
        if key in sizes.symbols and key not in shapes and not isinstance(value, int):
            raise HetcnnError(f"dims: '{key}' is one dimension, got {tuple(value)}; e.g. dims={{'{key}': {value[0]}}}")
        if key in sizes.symbols or key in shapes:
            continue
        inputs = [name for name in shapes if name not in weights]
        if not sizes.symbols:
            said = f"unknown dimension '{key}'; this model has no symbolic dimension"
            raise HetcnnError(f"{said}; inputs: {', '.join(inputs) or 'none'}")
        raise unknown("dimension", key, {*sizes.symbols, *inputs})


def _symbolic(info: onnx.ValueInfoProto, sizes: Sizes) -> tuple[int | str, ...]:
    name = text(info.name)
    given = sizes.dims.get(name)
    if not info.type.HasField("tensor_type"):
        raise HetcnnError(f"input '{name}' is no tensor; only tensors can be inputs")
    kind = info.type.tensor_type
    if isinstance(given, int) and len(kind.shape.dim) == 1:
        given = (given,)
    if given is not None and not isinstance(given, int):
        if kind.HasField("shape") and len(kind.shape.dim) != len(given):
            raise HetcnnError(f"dims: input '{name}' has {len(kind.shape.dim)} axes, got {tuple(given)}")
        return tuple(given)
    if not kind.HasField("shape"):
        raise HetcnnError(f"input '{name}' has no shape; give it one, for instance dims={{'{name}': (1, 3, 224, 224)}}")
    shape = tuple(_dimension(d, f"{name}.{axis}") for axis, d in enumerate(kind.shape.dim))
    sizes.symbols.update(d for d in shape if isinstance(d, str))
    return shape


def _dimension(dim: onnx.TensorShapeProto.Dimension, place: str) -> int | str:
    return dim.dim_value if dim.HasField("dim_value") else text(dim.dim_param) or place


def _size(dim: int | str, name: str, shape: tuple[int | str, ...], sizes: Sizes) -> int:
    if isinstance(dim, int):
        return dim
    size = sizes.of(dim)
    if size is None:
        missing = dict.fromkeys(d for d in shape if isinstance(d, str) and sizes.of(d) is None)
        example = ", ".join(f"'{d}': 224" for d in missing)
        written = ", ".join(map(str, shape))
        raise HetcnnError(f"input '{name}' has shape ({written}): '{dim}' has no size; set it, e.g. dims={{{example}}}")
    return size


def read_hints(graph: onnx.GraphProto, sizes: Sizes) -> dict[str, Tensor]:
    """Return the shapes that the file itself states for values inside the graph, where they are complete."""
    found: dict[str, Tensor] = {}
    for info in [*graph.value_info, *graph.output]:
        kind = info.type.tensor_type
        if not kind.elem_type or not kind.HasField("shape"):
            continue
        shape = [d.dim_value if d.HasField("dim_value") else sizes.of(text(d.dim_param)) for d in kind.shape.dim]
        concrete = [d for d in shape if d is not None]
        if len(concrete) == len(shape):
            name = text(info.name)
            found[name] = Tensor(name, tuple(concrete), dtype_name(kind.elem_type, f"value '{name}'"))
    return found
