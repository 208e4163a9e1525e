"""Where everything lies in memory: tensors depth-minor, weights in the order in which they are loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.network import Network
from hetcnn.papers.snowflake.plan import Plan
from hetcnn.papers.snowflake.tasks import Graph, Task

__all__ = ["Layout", "lay_out", "weight_image"]

LOWEST = -(2**15)


@dataclass(frozen=True)
class Layout:
    """Word addresses: of tensors (`pixel` 0, channel 0), of each task's weights, and of rows of padding to load."""

    graph: Graph = field(repr=False)
    tensors: dict[str, int] = field(repr=False)
    weights: dict[str, int] = field(repr=False)
    zeros: int
    lowest: int
    fill: int
    words: int

    def address(self, tensor: str) -> int:
        """Return the address of a tensor's first word."""
        place = self.graph.storage[tensor]
        return self.tensors[place.base] + place.channel

    def width(self, tensor: str) -> int:
        """Return the pixels of a row."""
        return self.graph.shapes[tensor][1]

    def pitch(self, tensor: str) -> int:
        """Return the words from pixel to pixel."""
        return self.graph.storage[tensor].pitch


def lay_out(graph: Graph, plans: list[Plan]) -> Layout:
    """Return addresses for all tensors that the machine touches and for all weights."""
    at = 0
    tensors: dict[str, int] = {}
    touched = [name for task in graph for name in (task.source, task.target, task.residual) if name]
    for name in touched:
        base = graph.storage[name].base
        if base not in tensors:
            height, width, channels = graph.shapes[base]
            tensors[base], at = at, at + -(-height * width * channels // 16) * 16
    weights = {}
    for plan in plans:
        weights[plan.task.name], at = at, at + plan.weight_words
    padded = [p.task for p in plans if p.takes_rows]
    fill = max((t.W * t.C * max(t.top, t.kh - 1) for t in padded), default=0)
    return Layout(graph, tensors, weights, at, at + fill, fill, at + 2 * fill)


def weight_image(plan: Plan, network: Network) -> NDArray[np.int16]:
    """Return a task's weights as they lie in memory: block by block, pass by pass, one stream per vMAC.

    A stream is a chunk: the biases of its rounds, then each round's kernel rows, every row in whole lines; in
    independent mode 16 kernels side by side.
    """
    task = plan.task
    kernels, biases = _constant(network, task, task.weight), _constant(network, task, task.bias)
    padded = plan.rounds * plan.lanes
    # (OC, C, kh, kw) -> (OC, kh, kw * C): one row of a kernel is one trace, depth first.
    rows = kernels.transpose(0, 2, 3, 1).reshape(task.OC, task.kh, task.trace)
    width = -(-task.trace // 16) * 16
    whole = np.zeros((padded, task.kh, width), np.int16)
    whole[: task.OC, :, : task.trace] = rows
    heads = np.zeros(padded, np.int16)
    heads[: task.OC] = biases
    each = 1 if plan.mode == "coop" else plan.machine.macs
    every = whole.reshape(plan.blocks, plan.per_block, plan.streams, each, task.kh, width)
    bias = heads.reshape(plan.blocks, plan.per_block, plan.streams, each)
    image = []
    for block, p in product(range(plan.blocks), range(plan.passes)):
        first, end = plan.row_passes[p]
        for stream in range(plan.streams):
            head = np.zeros(plan.bias_words, np.int16)
            head[: plan.per_block * each] = bias[block, :, stream].ravel()
            part = every[block, :, stream, :, first:end].transpose(0, 2, 3, 1)  # round, row, word, MAC
            image += [head, part.ravel()]
    return np.concatenate(image)


def _constant(network: Network, task: Task, name: str) -> NDArray[np.int16]:
    if not name:
        return np.zeros(task.OC, np.int16)
    if name not in network.weights:
        raise HetcnnError(f"layer '{task.name}': network '{network.name}' carries no weight '{name}'")
    array = np.asarray(network.weights[name])
    if array.dtype != np.int16:
        raise HetcnnError(f"layer '{task.name}': weight '{name}' is {array.dtype.name}; the machine computes on int16")
    return array
