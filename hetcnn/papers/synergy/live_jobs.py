"""Convolutions cut into Synergy's jobs: one tile of the output with its whole k loop, and the software around them.

The matrix product of a convolution is C (M x N) = A (M x K) B (K x N), with A the filters and B the image after im2col
(M maps, K taps, N pixels). A job computes one tile of C and writes it once. Tiles at the edges are cut off where the
paper fills them up with zeros: the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.convolution import conv_window, im2col
from hetcnn.kernels.interpreter import Interpreter, Step, constants_of
from hetcnn.kernels.windows import Window, pad_spatial
from hetcnn.network import Layer, Network

__all__ = ["Multiply", "Operands", "Stage", "cut", "step_by_step", "whole"]


class Operands(NamedTuple):
    """What the jobs of one layer and frame share: B after im2col, (K, N), and C, (M, N), NaN where no job was yet."""

    columns: Array
    result: Array


@dataclass(frozen=True, eq=False)
class Stage:
    """One convolution as jobs, and the layers up to the next one as software of its thread.

    tiles: (rows, columns) of C for each job. tile: edge of a tile, and of a step of the k loop.
    """

    name: str
    layer: Layer
    filters: Array
    bias: Array
    window: Window
    tile: int
    tiles: tuple[tuple[slice, slice], ...]
    software: tuple[Step, ...]
    constants: Mapping[str, Array]
    output: str

    @property
    def steps(self) -> int:
        """Steps of the k loop of each job, ceil(K / tile)."""
        return -(-int(self.filters.shape[1]) // self.tile)

    def before(self, x: Array) -> Operands:
        """Return the operands of one image (1, C, H, W): the software before the jobs, im2col."""
        columns = im2col(pad_spatial(x, self.window)[0], self.window)
        return Operands(columns, np.full((self.filters.shape[0], columns.shape[1]), np.nan, columns.dtype))

    def convolved(self, operands: Operands) -> Array:
        """Return the convolution's output (1, M, H, W), bias added, of operands whose jobs are done."""
        return (operands.result + self.bias[:, None]).reshape(1, -1, *self.window.out)

    def after(self, operands: Operands) -> Array:
        """Return what the next stage reads: the software after the jobs (bias, activation, pooling, classifier)."""
        values = {**self.constants, self.layer.outputs[0].name: self.convolved(operands)}
        for step in self.software:
            values.update(step(values))
        return values[self.output]


Multiply = Callable[[Stage, Operands, int], None]
"""Does one job: (stage, operands, number of the tile)."""


def whole(stage: Stage, operands: Operands, tile: int) -> None:
    """Do a job as one matrix product; its k loop runs inside the BLAS."""
    rows, columns = stage.tiles[tile]
    operands.result[rows, columns] = stage.filters[rows] @ operands.columns[:, columns]


def step_by_step(stage: Stage, operands: Operands, tile: int) -> None:
    """Do a job as the paper lists it: fetch a tile of A and of B, add their product to c, and write c back once."""
    rows, columns = stage.tiles[tile]
    c = np.zeros_like(operands.result[rows, columns])
    for k in range(0, stage.filters.shape[1], stage.tile):
        c += stage.filters[rows, k : k + stage.tile] @ operands.columns[k : k + stage.tile, columns]
    operands.result[rows, columns] = c


def cut(network: Network, tile: int = 32) -> tuple[Stage, ...]:
    """Return a stage for each convolution of a network that carries weights and is a chain from one to the next.

    jobs = ceil(M / tile) ceil(N / tile). Raises HetcnnError for another network, for grouped convolutions, batches.

    >>> from hetcnn.papers.synergy import networks
    >>> from hetcnn.random_weights import with_random_weights
    >>> [(len(s.tiles), s.steps) for s in cut(with_random_weights(networks.load("cifar_alex")))]    # 784/32, 75/32
    [(25, 3), (6, 25), (4, 25)]
    """
    if tile < 1:
        raise HetcnnError(f"tile: {tile}; expected a whole number from 1 up (the paper's: 32)")
    starts = [i for i, layer in enumerate(network.layers) if layer.kind == "conv" and layer.op == "Conv"]
    if not starts or starts[0] != 0 or len(network.inputs) != 1 or len(network.outputs) != 1:
        raise HetcnnError(f"network '{network.name}': expected one input, a convolution first, and one output")
    steps, constants = Interpreter.of(network).steps, constants_of(network)
    ends = [*starts[1:], len(network.layers)]
    given = network.inputs[0].name
    found = []
    for start, end in zip(starts, ends, strict=True):
        output = network.outputs[0].name if end == len(network.layers) else network.layers[end].data[0].name
        _check_chain(network, network.layers[start:end], given, output)
        found.append(_stage(network.layers[start], constants, tile, steps[start + 1 : end], output))
        given = output
    return tuple(found)


def _check_chain(network: Network, layers: Sequence[Layer], given: str, output: str) -> None:
    known = {given}
    for layer in layers:
        strange = next((t.name for t in layer.data if t.name not in known), None)
        if strange is not None or (layer is not layers[0] and layer.kind in ("conv", "dw")):
            why = f"reads '{strange}' past a convolution" if strange else "is a grouped or transposed convolution"
            raise HetcnnError(f"network '{network.name}': layer '{layer.name}' {why}; expected a chain of convolutions")
        known = known - {given} | {t.name for t in layer.outputs}
    if output not in known:
        where = f"past the convolution '{layers[0].name}'"
        raise HetcnnError(f"network '{network.name}': reads '{output}' {where}; expected a chain of convolutions")


def _stage(layer: Layer, constants: Mapping[str, Array], tile: int, software: Sequence[Step], output: str) -> Stage:
    data, weight, *bias = layer.inputs
    assert data is not None
    assert weight is not None
    filters = constants[weight.name]
    maps = filters.shape[0]
    if data.shape[0] != 1 or layer.attrs.get("group", 1) != 1:
        raise HetcnnError(f"layer '{layer.name}': data {data.shape}, filters {weight.shape}; expected 1 image, 1 group")
    where = {name: layer.attrs[name] for name in ("strides", "pads", "dilations", "auto_pad") if name in layer.attrs}
    window = conv_window(np.empty(data.shape, filters.dtype), filters, 1, None, **where)
    rows = [slice(i, min(i + tile, maps)) for i in range(0, maps, tile)]
    pixels = int(np.prod(window.out))
    columns = [slice(i, min(i + tile, pixels)) for i in range(0, pixels, tile)]
    return Stage(
        name=layer.name,
        layer=layer,
        filters=np.ascontiguousarray(filters.reshape(maps, -1)),
        bias=constants[bias[0].name] if bias and bias[0] is not None else np.zeros(maps, filters.dtype),
        window=window,
        tile=tile,
        tiles=tuple(product(rows, columns)),
        software=tuple(software),
        constants={name: constants[name] for step in software for name in step.inputs if name in constants},
        output=output,
    )
