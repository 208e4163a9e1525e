"""How far the reductions move over the box of assumptions, and which assumption moves them most."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.papers.hybrid.graph import NAMES, NETWORKS, Module, of_paper
from hetcnn.papers.hybrid.machine import Constants, box, nominal, sampled
from hetcnn.papers.hybrid.search import options
from hetcnn.papers.hybrid.tables import published_range, reduction
from hetcnn.papers.results import variable

__all__ = ["RESULTS", "band", "box_reductions", "sensitivity", "sobol", "word_length"]

FloatArray = NDArray[np.float64]

RESULTS = tuple((network, measure) for network in NETWORKS for measure in ("energy", "latency"))
"""The abstract's six numbers."""

WITHIN = 2.0
"""Percentage points by which a range may be missed, as in the claims."""

_AT_ONCE = 64


def _names() -> list[str]:
    return [f"{NAMES[network]} {measure}" for network, measure in RESULTS]


def box_reductions(unit: FloatArray) -> FloatArray:
    """Return the six reductions in % at points of the unit cube over the box, (points, assumptions) -> (points, 6)."""
    chunks = [_reductions(unit[i : i + _AT_ONCE]) for i in range(0, len(unit), _AT_ONCE)]
    return np.concatenate(chunks)


def _reductions(unit: FloatArray) -> FloatArray:
    c = nominal().changed(**sampled(unit, box()))
    columns = []
    for network in NETWORKS:
        gpu_energy, gpu_latency, energy, latency = np.zeros((4, len(unit)))
        for module, count in _distinct(network):
            found = _best_of(module, c)
            gpu_energy += count * found[0]
            gpu_latency += count * found[1]
            energy += count * found[2]
            latency += count * found[3]
        columns += [100 * (1 - energy / gpu_energy), 100 * (1 - latency / gpu_latency)]
    return np.stack(columns, axis=1)


@cache
def _distinct(network: str) -> tuple[tuple[Module, int], ...]:
    """Modules of different shape, and how often each occurs."""
    counts: dict[Any, list[Any]] = {}
    for module in of_paper(network):
        counts.setdefault(module.shape, [module, 0])[1] += 1
    return tuple((module, count) for module, count in counts.values())


def _best_of(module: Module, c: Constants) -> FloatArray:
    found = options(module, c)
    rows = np.arange(len(found.latency))
    pick = found.best()
    return np.stack([found.gpu_energy, found.gpu_latency, found.energy[rows, pick], found.latency[rows, pick]])


@cache
def band(points: int = 512, seed: int = 0) -> xr.Dataset:
    """Return the six reductions over the box: quantiles, the share of the box that meets each range, the nominal point.

    A scrambled Sobol sequence, uniform in each range, in its logarithm where the range spans a factor of 5 or more;
    `points` is a power of two.
    """
    from scipy.stats import qmc

    _check_power_of_two(points)
    unit = qmc.Sobol(len(box()), rng=np.random.default_rng(seed)).random(points)
    found = box_reductions(unit)
    ends = np.array([published_range(*r) for r in RESULTS])
    met = (found >= ends[:, 0] - WITHIN) & (found <= ends[:, 1] + WITHIN)
    levels = {"low": 0.05, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "high": 0.95}
    columns: dict[str, Any] = {
        name: variable("result", np.quantile(found, q, axis=0), "%", f"reduction, quantile {q:g}")
        for name, q in levels.items()
    }
    at = [reduction(n)[0 if m == "energy" else 1] for n, m in RESULTS]
    columns |= {
        "nominal": variable("result", at, "%", "reduction, nominal"),
        "published_low": variable("result", ends[:, 0], "%", "reduction, published, low end"),
        "published_high": variable("result", ends[:, 1], "%", "reduction, published, high end"),
        "share_met": variable("result", 100 * met.mean(axis=0), "%", "share of the box that meets the range"),
        "met_together": variable("count", _together(met), "%", "share of the box that meets so many ranges or more"),
    }
    coords = {"result": _names(), "count": np.arange(1, len(RESULTS) + 1)}
    return xr.Dataset(columns, coords, {"title": "Reductions over the box of assumptions"})


def _together(met: NDArray[np.bool_]) -> list[float]:
    counts = met.sum(axis=1)
    return [100 * float(np.mean(counts >= k)) for k in range(1, len(RESULTS) + 1)]


def _check_power_of_two(points: int) -> None:
    if points < 1 or points & (points - 1):
        raise HetcnnError(f"points: expected a power of two (1, 2, 4, ...), got {points}")


@cache
def sobol(points: int = 64, seed: int = 0) -> xr.Dataset:
    """Return first-order and total Sobol indices of the six reductions for every assumption, in %, the greatest first.

    The share of the variance that an assumption explains by itself, and with all its interactions; `points` is a power
    of two, and points x (assumptions + 2) models are evaluated. Estimates of few points may fall a little below 0.
    """
    from scipy.stats import sobol_indices, uniform

    _check_power_of_two(points)
    ranges = box()
    found = sobol_indices(
        func=lambda x: box_reductions(x.T).T,
        n=points,
        dists=[cast("Any", uniform())] * len(ranges),
        rng=np.random.default_rng(seed),
    )
    first, total = (100 * np.asarray(v).T for v in (found.first_order, found.total_order))
    order = np.argsort(-total.max(axis=1), kind="stable")
    dims = "assumption result"
    return xr.Dataset(
        {
            "first": variable(dims, first[order], "%", "share of variance, by itself"),
            "total": variable(dims, total[order], "%", "share of variance, with interactions"),
        },
        {"assumption": [ranges[i].name for i in order], "result": _names()},
        {"title": "Which assumption matters most"},
    )


@cache
def sensitivity() -> xr.Dataset:
    """Return the six reductions with one assumption at an end of its range and all others nominal."""
    ranges = box()
    rows = np.zeros((len(ranges), 2, len(RESULTS)))
    for i, r in enumerate(ranges):
        for k, value in enumerate((r.low, r.high)):
            rows[i, k] = _at(nominal().changed(**{r.name: np.array([[value]])}))
    return xr.Dataset(
        {"reduction": variable("assumption end result", rows, "%", "reduction")},
        {"assumption": [r.name for r in ranges], "end": ["low", "high"], "result": _names()},
        {"title": "One assumption at a time"},
    )


@cache
def word_length() -> xr.Dataset:
    """Return the six reductions over the bits of the FPGA's numbers, all else nominal: what each range would need."""
    bits = np.arange(6, 17)
    found = [_at(nominal().changed(fpga_word=np.array([[b / 8]]))) for b in bits]
    ends = np.array([published_range(*r) for r in RESULTS])
    return xr.Dataset(
        {
            "reduction": variable("bits result", found, "%", "reduction"),
            "published_low": variable("result", ends[:, 0], "%", "reduction, published, low end"),
            "published_high": variable("result", ends[:, 1], "%", "reduction, published, high end"),
        },
        {"bits": ("bits", bits, {"units": "bit", "long_name": "bits of weights and pixels"}), "result": _names()},
        {"title": "Reductions over the word length"},
    )


def _at(c: Constants) -> FloatArray:
    out = []
    for network in NETWORKS:
        sums = sum(count * _best_of(module, c)[:, 0] for module, count in _distinct(network))
        assert isinstance(sums, np.ndarray)
        out += [100 * (1 - sums[2] / sums[0]), 100 * (1 - sums[3] / sums[1])]
    return np.array(out)
