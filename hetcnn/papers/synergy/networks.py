"""The seven benchmarks of Synergy, rebuilt: the paper prints layer counts and implies work, no shapes.

Each entry names its source and says what is guessed. Layer counts equal Table 2 (the paper counts convolution,
pooling, normalisation, fully connected, dropout and softmax layers; activations belong to their layer), and the work of
a frame lies within 10 % of what the paper's own Gop/s and frame rates imply. Where several shapes are admissible, the
nominal one is the closest to the named source; the others show how much rests on the guess. They were settled before
any rate of the machine was fitted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError, unknown
from hetcnn.network import Network, Tensor

__all__ = ["BENCHMARKS", "Reconstruction", "layer_count", "load", "variants"]


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One admissible shape of a benchmark.

    `layers`: c32k5 is a convolution of 32 maps and 5x5 taps, zero-padded to keep its size ("v": not padded), p3s2 a max
    pooling of 3x3 with stride 2 ("c": sizes round up), f10 fully connected, n normalisation across maps, a global
    average, d dropout, s softmax.
    """

    image: tuple[int, int, int]
    layers: str
    source: str
    guess: str


_CAFFE = "Caffe's examples/cifar10"
BENCHMARKS: dict[str, tuple[Reconstruction, ...]] = {
    "cifar_darknet": (
        Reconstruction(
            (3, 32, 32),
            "c32k3 p2 c64k3 p2 c128k3 p2 c10k1 a s",
            "Darknet's CIFAR-10 tutorial networks: 3x3 convolutions that double their maps, 1x1 classifier, average",
            "numbers of maps",
        ),
        Reconstruction(
            (3, 28, 28),
            "c32k3 p2 c64k3 p2 c128k3 p2 c256k3 a s",
            "the same on the 28x28 crops that Darknet trains CIFAR-10 with",
            "numbers of maps, crop, 3x3 instead of a 1x1 classifier",
        ),
    ),
    "cifar_alex": (
        Reconstruction(
            (3, 32, 32),
            "c32k5v p3s2 c32k5 p3s2 c64k5 p3s2 f10 s",
            "cuda-convnet's CIFAR-10 network: 5x5 convolutions of 32, 32 and 64 maps, 3x3/2 pooling",
            "no padding of the first convolution; all three padded would be 31 % too much work",
        ),
        Reconstruction(
            (3, 32, 32),
            "c16k5 p2 c32k5 p2 c64k5 p2 f10 s",
            "the same depth with maps that double",
            "16, 32 and 64 maps, 2x2 pooling",
        ),
    ),
    "cifar_alex_plus": (
        Reconstruction(
            (3, 32, 32),
            "c64k5v p3s2 c64k5 p3s2 c128k5 p3s2 f64 f10 s",
            "CIFAR_Alex with twice the maps and one more fully connected layer",
            "which numbers double; 64 units",
        ),
        Reconstruction(
            (3, 32, 32),
            "c32k5 p2 c64k5 p2 c128k5 p2 f64 f10 s",
            "the second CIFAR_Alex with twice the maps and one more fully connected layer",
            "32, 64 and 128 maps, 64 units",
        ),
    ),
    "cifar_full": (
        Reconstruction(
            (3, 32, 32),
            "c32k5 p3s2c n c32k5 p3s2c n c64k5 p3s2c f10",
            f"{_CAFFE}/cifar10_full: 5x5 convolutions of 32, 32 and 64 maps, 3x3/2 pooling, two normalisations",
            "nothing; the ninth layer could also be softmax, without one of the normalisations",
        ),
        Reconstruction(
            (3, 32, 32),
            "c32k5 p2 c32k5 p2 c64k5 p2 f64 f10 s",
            f"{_CAFFE}/cifar10_quick: the same convolutions, two fully connected layers",
            "2x2 pooling",
        ),
    ),
    "mnist": (
        Reconstruction(
            (1, 28, 28),
            "c32k5 p2 c64k5 p2 f128 f10 s",
            "LeNet's layers with the 32 and 64 maps of the usual tutorial networks, padded",
            "numbers of maps, 128 units",
        ),
        Reconstruction(
            (1, 28, 28),
            "c32k5 p2 c64k5 p2 d f10 s",
            "the same with dropout and one fully connected layer",
            "numbers of maps, dropout as the seventh layer",
        ),
    ),
    "svhn": (
        Reconstruction(
            (3, 32, 32),
            "c32k5 p2 c32k5 p2 c64k5 p2 f10 s",
            "cuda-convnet's layers on 32x32 street-view digits",
            "everything: the paper names only the data set",
        ),
        Reconstruction(
            (3, 32, 32),
            "c32k5 p2 c64k5v p2 c64k5 p2 f10 s",
            "32, 64 and 64 maps",
            "everything: the paper names only the data set",
        ),
    ),
    "mpcnn": (
        Reconstruction(
            (1, 28, 28),
            "c20k5 p2 c32k5 p2 c32k5 p2 f300 f6 s",
            "max-pooling network for hand gestures (Nagi et al. 2011): 28x28, 20 maps first, 300 units, 6 classes",
            "32 maps in the second and third convolution, padding",
        ),
        Reconstruction(
            (1, 48, 48),
            "c20k5v p2 c20k5v p2 c20k5v p2 f300 f6 s",
            "20 maps in every convolution, larger images, no padding",
            "48x48 images",
        ),
    ),
}
"""The benchmarks of Table 2, the nominal reconstruction first."""


def variants(name: str) -> int:
    """Return how many reconstructions of a benchmark there are."""
    return len(_of(name))


def _of(name: str) -> tuple[Reconstruction, ...]:
    if name not in BENCHMARKS:
        raise unknown("benchmark of Synergy", name, BENCHMARKS)
    return BENCHMARKS[name]


def layer_count(name: str, variant: int = 0) -> int:
    """Return the layers as Table 2 counts them.

    >>> layer_count("cifar_full"), layer_count("mnist")
    (9, 7)
    """
    return len(_of(name)[variant].layers.split())


@cache
def load(name: str, variant: int = 0) -> Network:
    """Return a benchmark as a network, batch 1; `variant` 0 is the nominal reconstruction.

    >>> load("cifar_full").macs           # Caffe's cifar10_full: 12.298 M
    12298240
    """
    entries = _of(name)
    if not 0 <= variant < len(entries):
        raise HetcnnError(f"benchmark {name}: variant {variant}; it has {len(entries)}, counted from 0")
    b = Builder(f"{name}-{variant}" if variant else name, (1, *entries[variant].image))
    x = b.input
    for place, word in enumerate(entries[variant].layers.split()):
        x = _layer(b, x, word, place)
    return b.build(x)


def _layer(b: Builder, x: Tensor, word: str, place: int) -> Tensor:
    if match := re.fullmatch(r"c(\d+)k(\d+)(v?)", word):
        maps, taps = int(match[1]), int(match[2])
        return b.relu(b.conv(x, maps, taps, pad=0 if match[3] else taps // 2, name=f"conv{place}"))
    if match := re.fullmatch(r"p(\d)(?:s(\d))?(c?)", word):
        return b.max_pool(x, int(match[1]), stride=int(match[2] or match[1]), ceil_mode=bool(match[3]))
    if match := re.fullmatch(r"f(\d+)", word):
        return b.fc(x if len(x.shape) == 2 else b.flatten(x), int(match[1]), name=f"fc{place}")
    simple = {
        "n": lambda: b.lrn(x, 3),
        "a": lambda: b.flatten(b.global_avg_pool(x)),
        "d": lambda: b.dropout(x),
        "s": lambda: b.softmax(x),
    }
    return simple[word]()
