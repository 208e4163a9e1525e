"""Which part of a module goes to the FPGA: every choice timed at once, the best kept; exact by enumeration.

A choice gives each layer with weights the share of its filters that is mapped to hardware. Times and energies are
arrays (design points, choices): one call covers a box of assumptions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError, unknown
from hetcnn.papers.hybrid import resources
from hetcnn.papers.hybrid.graph import Module, Node
from hetcnn.papers.hybrid.machine import Constants, nominal
from hetcnn.papers.hybrid.schedule import Schedule, fpga_seconds

__all__ = ["COARSE", "OBJECTIVES", "SHARES", "Options", "best", "layer_cost", "options", "shares_of"]

FloatArray = NDArray[np.float64]

SHARES = (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.5, 0.75, 1.0)
"""Shares of a layer's filters on the FPGA that are tried: fine where a large layer fits only in part."""

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
        score = self.score(objective)
        # Equal to rounding is equal: which of two twins wins must not hang on the order of a sum.
        return np.asarray(np.argmax(score <= score.min(axis=1, keepdims=True) * (1 + 1e-9), axis=1))

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


# --- resources -----------------------------------------------------------------------------------------------------


def layer_cost(node: Node, c: Constants) -> resources.Cost:
    """Return the resources of a whole layer on the FPGA."""
    return resources.cost(
        resources.fitted_law(),
        kernel=node.kernel,
        channels=node.channels,
        filters=node.filters,
        width=node.width,
        bits=c.bits,
        windows=node.windows,
        sparsity=c.sparsity,
    )


@dataclass(frozen=True)
class _Logic:
    """Resources of all choices: linear in the shares of filters, windows whole as soon as a layer has a part there."""

    alms: FloatArray
    m20k: FloatArray
    toggling: FloatArray  # ALMs at work times seconds
    fits: NDArray[np.bool_]


def _logic(module: Module, shares: FloatArray, c: Constants) -> _Logic:
    nodes = [module.nodes[i] for i in module.major]
    whole = [layer_cost(node, c) for node in nodes]
    # A depthwise layer's part needs the windows of its own channels, any other the windows of all.
    windows = np.where([node.kind == "dw" for node in nodes], shares, shares > 0).T

    def total(values: list[FloatArray], parts: FloatArray) -> FloatArray:
        if not values:
            return np.zeros((1, len(shares)))
        columns = [np.reshape(v, (-1, 1)) for v in np.broadcast_arrays(*values)]
        return np.asarray(np.concatenate(columns, axis=1) @ parts)

    seconds = [np.asarray(fpga_seconds(node, c)[0]) for node in nodes]
    weights = [k.scm + k.moa for k in whole]
    # DSP blocks take over the same share of every layer's weights.
    taken = np.minimum(c.multipliers * c.dsp / np.maximum(total([k.nonzero for k in whole], shares.T), 1e-12), 1.0)
    buffers = total([k.window for k in whole], windows)
    alms = total(weights, shares.T) * (1 - taken) + buffers
    m20k = total([k.m20k for k in whole], windows)
    toggling = total([w * t for w, t in zip(weights, seconds, strict=True)], shares.T)
    toggling = toggling + total([k.window * t for k, t in zip(whole, seconds, strict=True)], windows)
    return _Logic(alms, m20k, toggling, (alms <= c.alms * np.asarray(c.fill)) & (m20k <= np.asarray(c.m20k)))


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
    logic = _logic(module, chosen, given)
    kept = np.flatnonzero(logic.fits.any(axis=0))
    run = Schedule(module, chosen[kept], given)
    latency, busy = run.run()
    host = given.host_static * latency + given.gpu_dynamic * busy
    energy = host + given.fpga_static * latency + logic.toggling[:, kept] * (given.fpga_dynamic / given.alms)
    fits = logic.fits[:, kept]
    shape = np.broadcast_shapes(latency.shape, energy.shape, fits.shape)
    infinite = ~np.broadcast_to(fits, shape)
    return Options(
        module,
        chosen[kept],
        latency=np.where(infinite, np.inf, latency),
        energy=np.where(infinite, np.inf, energy),
        gpu_busy=np.broadcast_to(busy, shape),
        alms=np.broadcast_to(logic.alms[:, kept], shape),
        m20k=np.broadcast_to(logic.m20k[:, kept], shape),
        moved=np.broadcast_to(run.moved, shape),
        gpu_latency=np.broadcast_to(latency, shape)[:, 0],
        gpu_energy=np.broadcast_to(host, shape)[:, 0],
    )


@cache
def best(module: Module, objective: str = "product", c: Constants | None = None) -> tuple[Options, int]:
    """Return a module's choices at the nominal constants (or others) and the index of the best one."""
    found = options(module, c)
    return found, int(found.best(objective)[0])
