"""Times of the engines, and the schedule of one module under every choice at once.

GPU kernels run one after the other; the FPGA's layers are a pipeline of pixels beside them; the link carries one
transfer a direction at a time. All times are arrays that broadcast to (design points, choices).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.papers.hybrid.graph import Module, Node
from hetcnn.papers.hybrid.machine import Constants

__all__ = ["Schedule", "fpga_seconds", "gpu_seconds", "tile_use"]

FloatArray = NDArray[np.float64]
Array = Any  # floats and arrays that broadcast to (design points, choices)


def gpu_seconds(node: Node, share: Array, c: Constants) -> tuple[Array, Array]:
    """Return (working, launching) seconds of a layer of which the GPU computes `share` of the filters.

    working = max(ops / (peak x efficiency x tile use), bytes / (bandwidth x its share)); launching: once a kernel.
    Minor layers that nothing fuses are kernels of their own, in the proportion that `fusion` leaves.
    """
    word, rate = c.word, c.bandwidth * c.gpu_memory
    read = node.inputs * (share if node.kind == "dw" else 1.0)
    working = (read + (node.outputs + node.weights) * share) * (word / rate)
    if node.major:
        efficiency = {"dw": c.gpu_dw, "fc": c.gpu_fc}.get(node.kind, c.gpu_conv)
        use = tile_use(node, share, c) if node.kind == "conv" else 1.0
        working = np.maximum(share / use * (2 * node.macs / (c.peak * efficiency)), working)
    launching = np.where(np.asarray(share) > 0, c.gpu_launch, 0.0)
    for size in node.riders:
        working = working + share * ((1 - c.fusion) * 2 * size * word / rate)
        launching = launching + np.where(np.asarray(share) > 0, (1 - c.fusion) * c.gpu_launch, 0.0)
    return np.where(np.asarray(share) > 0, working, 0.0), launching


def tile_use(node: Node, share: Array, c: Constants) -> Array:
    """Return the share of the tiles' pixels and filters that a convolution fills.

    >>> from hetcnn.papers.hybrid.machine import constants
    >>> float(tile_use(Node("c", "conv", (-1,), 0, 0, macs=1, filters=48, rows=64), 1.0, constants()))  # 48/64, 64/128
    0.375
    """
    filters = np.maximum(node.filters * np.asarray(share), 1.0)
    across = filters / (np.ceil(filters / c.tile_filters) * c.tile_filters)
    down = node.rows / (np.ceil(node.rows / c.tile_pixels) * c.tile_pixels)
    return across * down


def fpga_seconds(node: Node, c: Constants) -> tuple[Array, Array]:
    """Return (all pixels, fill) seconds of a layer as hardware: one pixel a clock; window and adder chain to fill.

    fill = (kernel // 2 (width + 1) + operands + 1) clocks: half a window of lines, then one adder after the other.

    >>> from hetcnn.papers.hybrid.machine import constants
    >>> layer = Node("c", "conv", (-1,), 0, 0, macs=1, kernel=3, channels=2, pixels=100, width=10)
    >>> [round(float(t) * 80e6) for t in fpga_seconds(layer, constants())]        # 10 + 1, then 18 operands, and 1
    [100, 30]
    """
    fill = node.kernel // 2 * (node.width + 1) + node.operands + 1
    return node.pixels / c.fpga_clock, fill / c.fpga_clock


class Schedule:
    """The schedule of one module under every choice: all arrays are (design points, choices)."""

    def __init__(self, module: Module, shares: FloatArray, c: Constants) -> None:
        self.module, self.c = module, c
        zero = np.zeros((1, len(shares)))
        column = {i: k for k, i in enumerate(module.major)}
        self.share = [shares[None, :, column[i]] if i in column else zero for i in range(len(module.nodes))]
        self.zero: Array = zero
        self.gpu_free: Array = zero
        self.in_free: Array = zero
        self.out_free: Array = zero
        self.busy: Array = zero
        self.moved: Array = zero
        self.on_host: dict[int, Array] = {}  # when the GPU's part of a source is in host memory
        self.back: dict[int, Array] = {}  # when the FPGA's part of it has come back there
        self.stream: dict[int, tuple[Array, Array]] = {}  # first and last pixel of the FPGA's part, on the FPGA
        self.sent: dict[int, tuple[Array, Array]] = {}  # first and last pixel of the GPU's part, on the FPGA

    def run(self) -> tuple[FloatArray, FloatArray]:
        """Return (latency, energy-relevant busy seconds of the GPU)."""
        for k, _ in enumerate(self.module.inputs, 1):
            self.on_host[-k] = self.zero
            self._send(-k, self.module.inputs[k - 1])
        for i, node in enumerate(self.module.nodes):
            self._gpu(i, node)
            self._fpga(i, node)
            self._send(i, node.outputs)
            self._return(i, node.outputs)
        end = self.gpu_free
        for source in self.module.outputs:
            end = np.maximum(end, self._at(self.back, source))
        working, launching = self._tail()
        self.busy = self.busy + working + self.c.launch_power * launching
        return np.asarray(end + working + launching), np.asarray(self.busy)

    def _tail(self) -> tuple[Array, Array]:
        """Concatenations and splits, kernels of their own in the proportion that nothing fuses."""
        left = 1 - self.c.fusion
        rate = self.c.bandwidth * self.c.gpu_memory
        working = left * sum(self.module.tail) * 2 * self.c.word / rate
        return working, left * len(self.module.tail) * self.c.gpu_launch

    def _at(self, times: dict[int, Array], source: int) -> Array:
        return times.get(source, self.zero)

    def _of(self, source: int) -> Array:
        """The share of a source's channels that the FPGA makes; the module's inputs are all on the host."""
        return self.share[source] if source >= 0 else self.zero

    def _readers(self, source: int) -> list[tuple[int, Node]]:
        return [(i, node) for i, node in enumerate(self.module.nodes) if source in node.sources]

    def _gpu(self, i: int, node: Node) -> None:
        share = 1 - self.share[i]
        active = share > 0
        ready = self.zero
        for source in node.sources:
            ready = np.maximum(ready, self._at(self.on_host, source))
            ready = np.maximum(ready, self._at(self.back, source))
        working, launching = gpu_seconds(node, share, self.c)
        end = np.maximum(ready, self.gpu_free) + working + launching
        self.on_host[i] = np.where(active, end, 0.0)
        self.gpu_free = np.where(active, end, self.gpu_free)
        self.busy = self.busy + np.where(active, working + self.c.launch_power * launching, 0.0)

    def _fpga(self, i: int, node: Node) -> None:
        if not node.major:
            return
        first = last = self.zero
        for source in node.sources:
            for known in (self.stream, self.sent):
                if source in known:
                    first = np.maximum(first, known[source][0])
                    last = np.maximum(last, known[source][1])
        pixels, fill = fpga_seconds(node, self.c)
        first = first + fill
        here = self.share[i] > 0
        self.stream[i] = np.where(here, first, 0.0), np.where(here, np.maximum(last + fill, first + pixels), 0.0)

    def _send(self, source: int, elements: int) -> None:
        """Move to the FPGA what its readers there need of the GPU's part."""
        own = self._of(source)
        need = self.zero
        for i, node in self._readers(source):
            theirs = self.share[i]
            wanted = np.maximum(theirs - own, 0.0) if node.kind == "dw" else np.where(theirs > 0, 1 - own, 0.0)
            need = np.maximum(need, wanted)
        if not need.any():
            return
        start = np.maximum(self.on_host[source], self.in_free)
        first, last = self._transfer(start, start, need * elements)
        self.sent[source] = np.where(need > 0, first, 0.0), np.where(need > 0, last, 0.0)
        self.in_free = np.where(need > 0, last, self.in_free)

    def _return(self, i: int, elements: int) -> None:
        """Move to the host what readers there, or the module's output, need of the FPGA's part."""
        if i not in self.stream:
            return
        own = self.share[i]
        need = own if i in self.module.outputs else self.zero
        for k, node in self._readers(i):
            theirs = self.share[k]
            wanted = np.maximum(own - theirs, 0.0) if node.kind == "dw" else np.where(theirs < 1, own, 0.0)
            need = np.maximum(need, wanted)
        if not need.any():
            return
        first, last = self.stream[i]
        begin = self.c.overlap * first + (1 - self.c.overlap) * last
        _, end = self._transfer(np.maximum(begin, self.out_free), last, need * elements)
        self.back[i] = np.where(need > 0, end, 0.0)
        self.out_free = np.where(need > 0, end, self.out_free)

    def _transfer(self, start: Array, available: Array, elements: Array) -> tuple[Array, Array]:
        """First and last pixel of a transfer at the other side, no earlier than its last pixel is there to be sent.

        A conversion between the number formats, where it is a kernel of its own, adds its time and the GPU's work.
        """
        c = self.c
        some = elements > 0
        # Numbers of a design point first: the products with all choices are what takes time.
        convert = elements * (c.cast * (c.word + c.fpga_word) / (c.bandwidth * c.gpu_memory))
        launch = np.where(some, c.cast * c.gpu_launch, 0.0)
        self.busy = self.busy + convert + c.launch_power * launch
        duration = elements * (c.fpga_word / c.link_bandwidth)
        self.moved = self.moved + elements * c.fpga_word
        begin = start + convert + launch + c.set_up
        last = np.maximum(begin + duration, available + convert + launch)
        return begin + (1 - c.overlap) * duration, last
