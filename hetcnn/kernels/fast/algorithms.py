"""The choice of algorithm for a convolution: by its shape, or by trying."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hetcnn.kernels.fast import product
from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.depthwise import Depthwise
from hetcnn.kernels.fast.im2col import Im2col
from hetcnn.kernels.fast.layout import NO_PADS, Pads
from hetcnn.kernels.fast.memory import aligned
from hetcnn.kernels.fast.pointwise import Pointwise
from hetcnn.kernels.fast.tape import Act, Array, Kernel, Workspace
from hetcnn.kernels.fast.winograd import Winograd

__all__ = ["Algorithm", "candidates", "choose", "estimate", "fastest", "is_stem", "layout_key"]


@dataclass(frozen=True)
class Algorithm:
    """A way to convolve: its padding, scratch memory, weight layout and kernel."""

    name: str
    kernel: Callable[..., Kernel]
    weights: Callable[[ConvSpec, Array], Array]
    space: Callable[[ConvSpec], int]
    pads: Callable[[ConvSpec], Pads]
    flat: Callable[[ConvSpec], bool] = lambda _: False


def _own(spec: ConvSpec) -> Pads:
    return spec.pads


IM2COL = Algorithm("im2col", Im2col, Im2col.weights, Im2col.workspace, _own)
POINTWISE = Algorithm(
    "1x1",
    Pointwise,
    Pointwise.weights,
    Pointwise.workspace,
    lambda _: NO_PADS,
    lambda spec: spec.stride == (1, 1),
)
DEPTHWISE = Algorithm("depthwise", Depthwise, Depthwise.weights, Depthwise.workspace, Depthwise.pads)
WINOGRAD = {
    m: Algorithm(
        f"winograd{m}",
        partial(Winograd, m=m),
        partial(Winograd.weights, m=m),
        partial(Winograd.workspace, m=m),
        partial(Winograd.pads, m=m),
    )
    for m in (2, 4)
}


COPY = 0.1e-9
"""Seconds to copy one float into the cache-resident workspace."""
READ = 4 / 15e9
"""Seconds to read one weight from memory."""


def is_stem(spec: ConvSpec) -> bool:
    """Whether to read the image as it comes, in NCHW."""
    return spec.c <= 4 and spec.groups == 1 and spec.dilation == (1, 1) and spec.taps > 1


def candidates(spec: ConvSpec) -> list[Algorithm]:
    """Every algorithm that applies."""
    if spec.depthwise:
        return [DEPTHWISE, IM2COL]
    if spec.pointwise:
        return [POINTWISE]
    return [IM2COL, *(WINOGRAD.values() if Winograd.fits(spec) else ())]


def choose(spec: ConvSpec) -> Algorithm:
    """The algorithm for a convolution, by its shape."""
    found = candidates(spec)
    return found[0] if spec.groups > 1 else min(found, key=lambda algorithm: estimate(algorithm, spec))


def fastest(spec: ConvSpec, repeats: int = 3) -> Algorithm:
    """The algorithm that runs fastest here and now, each tried on ones; the first time of each does not count."""
    found = candidates(spec)
    return found[0] if len(found) == 1 else min(found, key=lambda algorithm: _time(algorithm, spec, repeats))


def _time(algorithm: Algorithm, spec: ConvSpec, repeats: int) -> float:
    top, left, bottom, right = algorithm.pads(spec)
    x = np.ones((spec.n, top + spec.h + bottom, left + spec.w + right, spec.c), np.float32)
    out = np.empty((spec.n, spec.oh, spec.ow, spec.co), np.float32)
    weights = algorithm.weights(spec, np.ones((spec.co, spec.c // spec.groups, *spec.kernel), np.float32))
    finish = (np.ones(spec.co, np.float32), Act(0.0, np.inf), None)
    kernel = algorithm.kernel("", spec, x, out, weights, finish, [Workspace(aligned(algorithm.space(spec)))])
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        kernel.run()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def estimate(algorithm: Algorithm, spec: ConvSpec) -> float:
    """Seconds that a dense convolution may take: products, copies and reading the weights, at usual rates.

    Only the order of the candidates matters; the rates were measured on AVX-512 processors of 2023.
    """
    pixels = spec.n * spec.oh * spec.ow
    if algorithm is IM2COL:
        k = spec.taps * spec.c // spec.groups
        rate = 150e9 * min(pixels / 128, 1) ** 0.5
        return float(2 * k * spec.co * pixels / rate + k * spec.groups * pixels * COPY + k * spec.co * READ)
    m = int(algorithm.name[-1])
    a2, tiles = (m + 2) ** 2, spec.n * -(-spec.oh // m) * -(-spec.ow // m)
    transforms = 2 * tiles * a2 * (a2 * spec.c + m * m * spec.co) / 120e9
    rate = 160e9 * min(spec.c / 32, 1) * min(tiles / 48, 1) ** 0.5
    products = 2 * a2 * tiles * spec.c * spec.co / rate
    copies = (a2 * tiles * spec.c + 4 * pixels * spec.co) * COPY
    return float(transforms + products + copies + a2 * spec.c * spec.co * READ)


def layout_key(name: str, spec: ConvSpec) -> Any:
    """What the layout of weights depends on besides the algorithm."""
    if name in ("1x1", "im2col"):
        return product.blocks(spec.n * spec.oh * spec.ow, spec.taps * spec.c, spec.co)
    if name.startswith("winograd"):
        return Winograd.block(spec, int(name[-1]))
    return Depthwise.columns(spec) if name == "depthwise" else None
