"""Which part of a module goes to the FPGA: every choice timed at once, the best kept; exact by enumeration.

A choice gives each layer with weights the share of its filters that is mapped to hardware. GPU kernels run one after
the other; the FPGA's layers are a pipeline of pixels beside them; the link carries one transfer a direction at a time.
Times and energies are arrays (design points, choices): one call covers a box of assumptions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError, unknown
from hetcnn.papers.hybrid import resources
from hetcnn.papers.hybrid.graph import Module, Node
from hetcnn.papers.hybrid.machine import Constants, nominal

__all__ = ["COARSE", "OBJECTIVES", "SHARES", "Options", "best", "fpga_seconds", "gpu_seconds", "options", "shares_of"]

FloatArray = NDArray[np.float64]
Array = Any  # floats and arrays that broadcast to (design points, choices)

SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Shares of a layer's filters on the FPGA that are tried."""

COARSE = (0.0, 0.25, 0.5, 1.0)
"""Those of a module with more than three layers with weights."""

OBJECTIVES = ("energy", "latency", "product")


@dataclass(frozen=True)
class Options:
    """All choices of one module: `shares` (choices, layers with weights), the rest (design points, choices).

    energy and latency are infinite where the FPGA's resources do not suffice. `gpu_energy` and `gpu_latency` are those
    of the GPU alone, without an FPGA, (design points,).
    """

    module: Module
    shares: FloatArray
    latency: FloatArray
    energy: FloatArray
    gpu_busy: FloatArray
    alms: FloatArray
    m20k: FloatArray
    moved: FloatArray
    gpu_latency: FloatArray
    gpu_energy: FloatArray

    def best(self, objective: str = "product") -> NDArray[np.intp]:
        """Return the index of the best choice of each design point; of equal ones the first, GPU alone before all."""
        return np.asarray(np.argmin(self.score(objective), axis=1))

    def score(self, objective: str) -> FloatArray:
        """Return what is minimised: energy in J, latency in s or their product."""
        if objective not in OBJECTIVES:
            raise unknown("objective", objective, OBJECTIVES)
        return {"energy": self.energy, "latency": self.latency, "product": self.energy * self.latency}[objective]

    def front(self) -> list[int]:
        """Return the choices of the first design point that no other beats in both energy and latency."""
        order = np.lexsort((self.energy[0], self.latency[0]))
        kept: list[int] = []
        for i in order:
            if np.isfinite(self.energy[0, i]) and (not kept or self.energy[0, i] < self.energy[0, kept[-1]]):
                kept.append(int(i))
        return kept


# --- engines -------------------------------------------------------------------------------------------------------


def gpu_seconds(node: Node, share: Array, c: Constants) -> tuple[Array, Array]:
    """Return (working, launching) seconds of a layer of which the GPU computes `share` of the filters.

    working = max(ops / (peak x efficiency x tile use), bytes / (bandwidth x its share)); launching: once a kernel.
    Minor layers that nothing fuses are kernels of their own, in the proportion that `fusion` leaves.
    """
    word, rate = c.word, c.bandwidth * c.gpu_memory
    read = node.inputs * (share if node.kind == "dw" else 1.0)
    moved = (read + (node.outputs + node.weights) * share) * word
    working = moved / rate
    if node.major:
        efficiency = {"dw": c.gpu_dw, "fc": c.gpu_fc}.get(node.kind, c.gpu_conv)
        use = tile_use(node, share, c) if node.kind == "conv" else 1.0
        working = np.maximum(2 * node.macs * share / (c.peak * efficiency * use), working)
    launching = c.gpu_launch * np.where(np.asarray(share) > 0, 1.0, 0.0)
    for size in node.riders:
        working = working + (1 - c.fusion) * 2 * size * share * word / rate
        launching = launching + (1 - c.fusion) * c.gpu_launch * np.where(np.asarray(share) > 0, 1.0, 0.0)
    return np.where(np.asarray(share) > 0, working, 0.0), launching


def tile_use(node: Node, share: Array, c: Constants) -> Array:
    """Return the share of the tiles' pixels and filters that a convolution fills."""
    filters = np.maximum(node.filters * np.asarray(share), 1.0)
    across = filters / (np.ceil(filters / c.tile_filters) * c.tile_filters)
    down = node.rows / (np.ceil(node.rows / c.tile_pixels) * c.tile_pixels)
    return across * down


def fpga_seconds(node: Node, c: Constants) -> tuple[Array, Array]:
    """Return (all pixels, fill) seconds of a layer as hardware: one pixel a clock; window and adder chain to fill."""
    fill = node.kernel // 2 * (node.width + 1) + node.operands + 1
    return node.pixels / c.fpga_clock, fill / c.fpga_clock


def layer_cost(node: Node, share: Array, c: Constants) -> resources.Cost:
    """Return the resources of the share of a layer's filters that the FPGA holds."""
    return resources.cost(
        resources.fitted_law(),
        kernel=node.kernel,
        channels=node.channels,
        filters=node.filters * np.asarray(share),
        width=node.width,
        bits=c.bits,
        windows=node.windows * (np.asarray(share) if node.kind == "dw" else np.where(np.asarray(share) > 0, 1.0, 0.0)),
        sparsity=c.sparsity,
    )


# --- choices -------------------------------------------------------------------------------------------------------


@cache
def _grid(filters: tuple[int, ...], shares: tuple[float, ...]) -> FloatArray:
    """Every combination of shares that is a whole number of filters, once; the first leaves all on the GPU."""
    each = [sorted({round(s * m) / m for s in shares}) for m in filters]
    count = int(np.prod([len(e) for e in each]))
    if count > 50_000:
        raise HetcnnError(f"{count:,} choices in one module, at most 50,000; give fewer shares or smaller modules")
    return np.array(list(itertools.product(*each)), float).reshape(count, len(filters))


def shares_of(module: Module, shares: tuple[float, ...] | None = None) -> FloatArray:
    """Return the choices of a module, (choices, layers with weights)."""
    tried = shares or (SHARES if len(module.major) <= 3 else COARSE)
    return _grid(tuple(module.nodes[i].filters for i in module.major), tuple(tried))


def options(module: Module, c: Constants | None = None, shares: tuple[float, ...] | None = None) -> Options:
    """Return latency, energy and resources of every choice of one module.

    `shares` of filters to try: `SHARES`, or `COARSE` above three layers with weights, unless given; 0 must be one.

    >>> from hetcnn.papers.hybrid.graph import of_paper
    >>> fire = options(of_paper("squeezenet")[0])
    >>> bool(fire.latency[0, 0] == fire.gpu_latency[0])           # all on the GPU
    True
    """
    given = nominal() if c is None else c
    chosen = shares_of(module, shares)
    costs = [layer_cost(module.nodes[i], chosen[:, k], given) for k, i in enumerate(module.major)]
    alms, m20k, fits = _resources(costs, given)
    kept = np.flatnonzero(fits.any(axis=0))
    run = _Run(module, chosen[kept], given)
    latency, busy = run.schedule()
    toggling = sum(
        (
            _pick(cost.alms, kept) * fpga_seconds(module.nodes[i], given)[0]
            for cost, i in zip(costs, module.major, strict=True)
        ),
        np.zeros(1),
    )
    host = given.host_static * latency + given.gpu_dynamic * busy
    energy = host + given.fpga_static * latency + given.fpga_dynamic * toggling / given.alms
    fits = fits[:, kept]
    shape = np.broadcast_shapes(latency.shape, energy.shape, fits.shape)
    infinite = ~np.broadcast_to(fits, shape)
    return Options(
        module,
        chosen[kept],
        latency=np.where(infinite, np.inf, latency),
        energy=np.where(infinite, np.inf, energy),
        gpu_busy=np.broadcast_to(busy, shape),
        alms=np.broadcast_to(alms[:, kept], shape),
        m20k=np.broadcast_to(m20k[:, kept], shape),
        moved=np.broadcast_to(run.moved, shape),
        gpu_latency=np.broadcast_to(latency, shape)[:, 0],
        gpu_energy=np.broadcast_to(host, shape)[:, 0],
    )


def _pick(values: FloatArray, kept: NDArray[np.intp]) -> FloatArray:
    return np.asarray(values[..., kept])


def _resources(costs: list[resources.Cost], c: Constants) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """ALMs and M20K blocks of each choice, and whether they fit; DSP blocks take over what they can."""
    nonzero = sum((k.nonzero for k in costs), np.zeros(1))
    free = c.multipliers * c.dsp / np.maximum(nonzero, 1e-12)
    taken = np.minimum(free, 1.0)  # the same share of every layer's weights
    alms = sum(((k.scm + k.moa) * (1 - taken) + k.window for k in costs), np.zeros(1))
    m20k = sum((k.m20k for k in costs), np.zeros(1))
    alms, m20k = np.atleast_2d(alms), np.atleast_2d(m20k)
    fits = (alms <= c.alms * np.asarray(c.fill)) & (m20k <= np.asarray(c.m20k))
    return alms, m20k, fits


@cache
def best(module: Module, objective: str = "product", c: Constants | None = None) -> tuple[Options, int]:
    """Return a module's choices at the nominal constants (or others) and the index of the best one."""
    found = options(module, c)
    return found, int(found.best(objective)[0])


# --- the schedule --------------------------------------------------------------------------------------------------


class _Run:
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

    def schedule(self) -> tuple[FloatArray, FloatArray]:
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
        convert = c.cast * elements * (c.word + c.fpga_word) / (c.bandwidth * c.gpu_memory)
        launch = np.where(some, c.cast * c.gpu_launch, 0.0)
        self.busy = self.busy + convert + c.launch_power * launch
        duration = elements * c.fpga_word / c.link_bandwidth
        self.moved = self.moved + elements * c.fpga_word
        begin = start + convert + launch + c.set_up
        last = np.maximum(begin + duration, available + convert + launch)
        return begin + (1 - c.overlap) * duration, last
