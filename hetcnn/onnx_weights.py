"""The weights of an ONNX file as a mapping that decodes an array only when it is asked for.

Nothing is read at load: an entry knows where its bytes stay, or from which operator it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from hetcnn.errors import HetcnnError
from hetcnn.network import Tensor, element_bits
from hetcnn.onnx_wire import Skimmed, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Computed",
    "Entry",
    "Folder",
    "Weights",
    "decode",
    "dtype_name",
    "evaluate",
    "sparse_entry",
    "tensor_entry",
    "type_number",
]

_MAX_COMPUTED = 2**28  # elements of a folded or densified constant; a stored one is limited by its file
_PAYLOAD_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_NAMES: dict[int, str] = {
    number: "object" if name == "STRING" else np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)).name
    for name, number in onnx.TensorProto.DataType.items()
    if name != "UNDEFINED"
}
_NUMBERS = {name: number for number, name in _NAMES.items()}


def dtype_name(number: int, what: str) -> str:
    """Return the NumPy name of an ONNX element type; strings are 'object'.

    >>> dtype_name(1, "tensor 'x'")
    'float32'
    """
    if number not in _NAMES:
        raise HetcnnError(f"{what}: element type {number} is unknown; ONNX has 1 (float) to {max(_NAMES)}")
    return _NAMES[number]


def type_number(dtype: str, what: str) -> int:
    """Return the ONNX element type of a NumPy dtype name.

    >>> type_number("int64", "tensor 'x'")
    7
    """
    if dtype not in _NUMBERS:
        raise HetcnnError(f"{what}: ONNX has no element type '{dtype}'; it has {', '.join(_NUMBERS)}")
    return _NUMBERS[dtype]


def decode(proto: onnx.TensorProto) -> NDArray[Any]:
    """Return the array of a TensorProto that holds its elements itself."""
    try:
        return np.asarray(numpy_helper.to_array(proto))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise HetcnnError(f"tensor '{proto.name!s}' cannot be decoded: {_first_line(error)}") from None


def evaluate(node: onnx.NodeProto, inputs: Mapping[str, NDArray[Any]], opset: int) -> dict[str, NDArray[Any]]:
    """Run one standard operator on arrays with ONNX's reference implementation.

    >>> node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    >>> evaluate(node, {"a": np.array([1, 2]), "b": np.array([10])}, 17)["c"].tolist()
    [11, 12]
    """
    from onnx.reference import ReferenceEvaluator

    names = [name for name in node.output if name]
    reads, writes = ([onnx.ValueInfoProto(name=name) for name in group] for group in (inputs, names))
    graph = onnx.helper.make_graph([node], "constant", reads, writes)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(names, dict(inputs))
    except Exception as error:  # every operator of the reference fails in its own way on hostile input
        raise HetcnnError(f"cannot compute '{names[0]}' ({node.op_type}): {_first_line(error)}") from error
    return {name: np.asarray(value) for name, value in zip(names, results, strict=True)}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@dataclass(frozen=True)
class Computed:
    """One output of an operator whose inputs are all constant."""

    node: onnx.NodeProto
    output: Tensor
    opset: int

    def array(self, weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the operator; a constant fill takes no memory."""
        _bounded(self.output.shape, self.output.name)
        if self.node.op_type == "ConstantOfShape":
            values = [decode(a.t) for a in self.node.attribute if a.name == "value"]
            fill = values[0].reshape(-1)[0] if values and values[0].size else np.float32(0)
            return np.broadcast_to(fill, self.output.shape)
        return evaluate(self.node, {n: weights[n] for n in self.node.input if n}, self.opset)[self.output.name]


def _bounded(shape: tuple[int, ...], name: str) -> None:
    if any(d < 0 for d in shape) or prod(shape) > _MAX_COMPUTED:
        raise HetcnnError(f"constant '{name}' has shape {shape}; at most 2**28 elements are computed")


Entry = Computed | Callable[[], "NDArray[Any]"]
"""Something that produces one array."""


class Weights(Mapping[str, "NDArray[Any]"]):
    """Constant name -> array, read from the file on access.

    Arrays that stay in a file are read-only views of it. The mapping pickles as the path of the file.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> NDArray[Any]:
        entry = self._entries[name]
        try:
            return entry.array(self) if isinstance(entry, Computed) else entry()
        except RecursionError:
            raise HetcnnError(f"constant '{name}' is computed through too long a chain of operators") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Weights({len(self)} constants, read on access)"


def tensor_entry(proto: onnx.TensorProto, tensor: Tensor, skimmed: Skimmed, folder: Folder) -> Entry | None:
    """Return where the elements of a TensorProto are, or None if they are missing.

    Raises HetcnnError if the elements are too few or too many, or stay outside the model's folder.
    """
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _external(proto, tensor, folder)
    payload = skimmed.payload(proto)
    if payload is not None:
        if payload.raw is None:
            return partial(_message, skimmed.source, *payload.message)
        return _place(skimmed.source, *payload.raw, tensor)
    if proto.HasField("raw_data") and len(proto.raw_data) != tensor.nbytes:
        raise _mismatch(tensor, len(proto.raw_data))
    if tensor.size and not any(len(getattr(proto, name)) for name in _PAYLOAD_FIELDS):
        return None
    return partial(decode, proto)


def sparse_entry(proto: onnx.SparseTensorProto) -> Entry:
    """Return an entry that fills in the zeros of a sparse tensor on access."""
    return partial(_dense, proto)


def _dense(proto: onnx.SparseTensorProto) -> NDArray[Any]:
    shape = tuple(proto.dims)
    _bounded(shape, proto.values.name)
    values, indices = decode(proto.values), decode(proto.indices)
    dense = np.zeros(shape, values.dtype)
    try:
        dense[np.unravel_index(indices, shape) if indices.ndim == 1 else tuple(indices.T)] = values
    except (IndexError, ValueError):
        raise HetcnnError(f"sparse tensor '{proto.values.name}': an index lies outside {shape}") from None
    return dense


def _message(source: Source, start: int, stop: int) -> NDArray[Any]:
    try:
        return decode(onnx.TensorProto.FromString(bytes(source.view[start:stop])))
    except DecodeError:
        raise HetcnnError(f"the tensor at byte {start} is broken") from None


def _place(source: Source, start: int, stop: int, tensor: Tensor) -> Entry:
    if stop - start != tensor.nbytes or tensor.dtype == "object":
        raise _mismatch(tensor, stop - start)
    return partial(_packed if element_bits(tensor.dtype) % 8 else _stored, source, start, tensor)


def _stored(source: Source, start: int, tensor: Tensor) -> NDArray[Any]:
    flat: NDArray[Any] = np.frombuffer(source.view, np.dtype(tensor.dtype), tensor.size, start)
    return flat.reshape(tensor.shape)


def _packed(source: Source, start: int, tensor: Tensor) -> NDArray[Any]:
    raw = bytes(source.view[start : start + tensor.nbytes])
    number = type_number(tensor.dtype, f"tensor '{tensor.name}'")
    return decode(onnx.TensorProto(name=tensor.name, data_type=number, dims=tensor.shape, raw_data=raw))


def _mismatch(tensor: Tensor, found: int) -> HetcnnError:
    kind = f"{tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}"
    return HetcnnError(f"tensor '{tensor.name}' ({kind}) needs {tensor.nbytes} B, the file has {found} B")


class Folder:
    """The model's folder, the only place where external weights may be; None for a model that came as bytes."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._sources: dict[str, Source | None] = {}

    def source(self, location: str) -> Source | None:
        """Return a file of the folder, None if there is none; raise HetcnnError for a place outside."""
        if location not in self._sources:
            wanted = Path(location)
            if not location or {"\0", "\\"} & set(location) or wanted.is_absolute() or ".." in wanted.parts:
                raise _outside(location)
            self._sources[location] = None if self.path is None else _inside(self.path, wanted)
        return self._sources[location]


def _outside(location: str) -> HetcnnError:
    rule = "only files inside it are read (no '..', no absolute path, no link out)"
    return HetcnnError(f"external data {location[:200]!r} lies outside the model's folder; {rule}")


def _inside(folder: Path, wanted: Path) -> Source | None:
    try:
        root = folder.resolve(strict=True)
        real = (root / wanted).resolve()
        exists = real.exists()
    except (OSError, RuntimeError, ValueError):
        raise _outside(str(wanted)) from None
    if not real.is_relative_to(root):
        raise _outside(str(wanted))
    if not exists:
        return None
    source = Source(real)
    _ = source.view  # mapped now: what was checked is what will be read
    return source


def _external(proto: onnx.TensorProto, tensor: Tensor, folder: Folder) -> Entry | None:
    settings = {entry.key: entry.value for entry in proto.external_data}
    location = str(settings.get("location", ""))
    source = folder.source(location)
    if source is None:
        return None
    total = len(source.view)
    try:
        start = int(settings.get("offset") or 0)
        length = int(settings.get("length") or total - start)
    except ValueError:
        raise HetcnnError(f"external data '{location}': offset and length must be whole numbers") from None
    if start < 0 or length < 0 or start + length > total:
        wanted = f"'{tensor.name}' wants bytes {start} to {start + length}"
        raise HetcnnError(f"external data '{location}' has {total} B; {wanted}")
    return _place(source, start, start + length, tensor)
