"""Modules and networks as labelled data: GPU alone against hybrid, by reading, by objective; the Pareto front."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hetcnn import onnx_io, zoo
from hetcnn.errors import unknown
from hetcnn.network import Network
from hetcnn.papers.hybrid.graph import MODULES, NAMES, NETWORKS, Module, modules, of_paper
from hetcnn.papers.hybrid.machine import BOARD, Constants, constants
from hetcnn.papers.hybrid.search import OBJECTIVES, Options, best, options
from hetcnn.papers.hybrid.shared import one_configuration
from hetcnn.papers.published import published
from hetcnn.papers.results import variable
from hetcnn.platform import Platform

__all__ = [
    "READINGS",
    "module_figure",
    "module_table",
    "pareto",
    "partition_table",
    "published_range",
    "reduction",
    "reductions",
    "resolution",
    "scored",
]

FloatArray = NDArray[np.float64]

READINGS = ("modules", "modules on the FPGA", "whole network", "one configuration")
"""What the abstract's reductions may be taken over; the first is the one that is scored."""


# --- modules -------------------------------------------------------------------------------------------------------


def _text(module: Module, found: Options, i: int) -> str:
    """The choice in words: each layer that the FPGA has a part of, with its share."""
    named = [
        f"{module.nodes[n].name.rpartition('/')[2]} {100 * share:.0f} %"
        for n, share in zip(module.major, found.shares[i], strict=True)
        if share > 0
    ]
    return ", ".join(named) or "all on the GPU"


def _row(module: Module, objective: str, c: Constants | None) -> dict[str, Any]:
    found, i = best(module, objective, c)
    macs = np.array([module.nodes[n].macs for n in module.major], float)
    latency, energy = float(found.latency[0, i]), float(found.energy[0, i])
    return {
        "gpu_latency": float(found.gpu_latency[0]),
        "gpu_energy": float(found.gpu_energy[0]),
        "hybrid_latency": latency,
        "hybrid_energy": energy,
        "latency_reduction": 100 * (1 - latency / float(found.gpu_latency[0])),
        "energy_reduction": 100 * (1 - energy / float(found.gpu_energy[0])),
        "gpu_power": float(found.gpu_energy[0] / found.gpu_latency[0]),
        "hybrid_power": energy / latency,
        "macs_on_fpga": 100 * float((found.shares[i] * macs).sum() / macs.sum()),
        "alms": float(found.alms[0, i]),
        "m20k": float(found.m20k[0, i]),
        "moved": float(found.moved[0, i]),
        "name": module.name,
        "on_the_fpga": _text(module, found, i),
    }


_COLUMNS = {
    "gpu_latency": ("s", "latency, GPU alone"),
    "gpu_energy": ("J", "energy, GPU alone"),
    "hybrid_latency": ("s", "latency, hybrid"),
    "hybrid_energy": ("J", "energy, hybrid"),
    "latency_reduction": ("%", "latency reduction"),
    "energy_reduction": ("%", "energy reduction"),
    "gpu_power": ("W", "mean power, GPU alone"),
    "hybrid_power": ("W", "mean power, hybrid"),
    "macs_on_fpga": ("%", "MACs on the FPGA"),
    "alms": ("ALM", "ALMs used"),
    "m20k": ("blocks", "M20K blocks used"),
    "moved": ("B", "bytes over the link"),
    "name": ("text", "module"),
    "on_the_fpga": ("text", "on the FPGA"),
}


def partition_table(
    network: Network | str,
    *,
    objective: str = "product",
    by: str = "names",
    board: Platform | str = BOARD,
    given: Constants | None = None,
) -> xr.Dataset:
    """Return the best partition of every module of any network: one of the paper, of the zoo, or an ONNX file's path.

    Each module is judged by itself: the whole FPGA, input and output in the host's memory. `objective` is "energy",
    "latency" or "product"; `by` as in `graph.modules`; `board` a shipped board, a board file's path or a platform with
    one GPU and one FPGA behind a link; `given` are constants in place of the board's.
    """
    chosen = [m for m in modules(_graph(network), by=by) if m.major]
    machine = given or constants(board)
    rows = [_row(m, objective, machine) for m in chosen]
    columns = {k: variable("module", [r[k] for r in rows], *labels) for k, labels in _COLUMNS.items() if k != "name"}
    title = f"{_graph(network).name}: least {'energy x latency' if objective == 'product' else objective}"
    return xr.Dataset(columns, {"module": [m.name for m in chosen]}, {"title": title})


def _graph(network: Network | str) -> Network:
    if not isinstance(network, str):
        return network
    return onnx_io.load(network) if network.endswith(".onnx") else zoo.load(NETWORKS.get(network, network))


def module_figure(network: str, objective: str = "product") -> xr.Dataset:
    """Return energy and latency of the modules of one of the paper's networks, on the GPU alone and on the hybrid."""
    rows = [_row(m, objective, None) for m in of_paper(network)]
    systems = {"GPU alone": "gpu", "hybrid": "hybrid"}
    found = {k: [[r[f"{s}_{k}"] for s in systems.values()] for r in rows] for k in ("energy", "latency")}
    units = {"energy": "J", "latency": "s"}
    return xr.Dataset(
        {k: variable("module system", v, units[k], f"{k} of a module") for k, v in found.items()},
        {"module": [r["name"] for r in rows], "system": list(systems)},
        {"title": f"{NAMES[network]}: modules"},
    )


@cache
def module_table() -> xr.Dataset:
    """Return energy and latency of every module of the paper's networks, GPU alone and hybrid, for each objective."""
    width = max(len(of_paper(n)) for n in NETWORKS)
    shape = (len(NETWORKS), len(OBJECTIVES), width)
    text = ("name", "on_the_fpga")
    out: dict[str, NDArray[Any]] = {
        k: np.full(shape, "", dtype=object) if k in text else np.full(shape, np.nan) for k in _COLUMNS
    }
    for a, network in enumerate(NETWORKS):
        for b, objective in enumerate(OBJECTIVES):
            for i, module in enumerate(of_paper(network)):
                for k, value in _row(module, objective, None).items():
                    out[k][a, b, i] = value
    columns = {
        k: variable("network objective module", v.astype(str) if k in text else v, *_COLUMNS[k]) for k, v in out.items()
    }
    coords = {"network": list(NETWORKS), "objective": list(OBJECTIVES), "module": np.arange(1, width + 1)}
    return xr.Dataset(columns, coords, {"title": "Modules: GPU alone and hybrid"})


# --- networks ------------------------------------------------------------------------------------------------------


def _sums(network: str, objective: str, reading: str) -> tuple[float, float, float, float]:
    """GPU's energy and latency, hybrid's energy and latency, summed over what a reading takes."""
    if reading not in READINGS:
        raise unknown("reading", reading, READINGS)
    if reading == "one configuration":
        return one_configuration(network, objective)
    chosen = [(best(m, objective), m) for m in of_paper(network)]
    if reading == "modules on the FPGA":
        chosen = [((o, i), m) for (o, i), m in chosen if o.shares[i].any()]
    gpu = [(float(o.gpu_energy[0]), float(o.gpu_latency[0])) for (o, _), _ in chosen]
    ours = [(float(o.energy[0, i]), float(o.latency[0, i])) for (o, i), _ in chosen]
    if reading == "whole network":
        for module in modules(zoo.load(NETWORKS[network])):
            if len(module.major) <= 1:
                found = options(module, shares=(0.0,))
                gpu.append((float(found.gpu_energy[0]), float(found.gpu_latency[0])))
                ours.append((float(found.energy[0, 0]), float(found.latency[0, 0])))
    sums = [*np.sum(gpu, axis=0), *np.sum(ours, axis=0)] if gpu else [np.nan] * 4
    return float(sums[0]), float(sums[1]), float(sums[2]), float(sums[3])


@cache
def reduction(network: str, objective: str = "product", reading: str = "modules") -> tuple[float, float]:
    """Return the reduction of (energy, latency) in %: 100 (1 - hybrid / GPU alone)."""
    gpu_energy, gpu_latency, energy, latency = _sums(network, objective, reading)
    return 100 * (1 - energy / gpu_energy), 100 * (1 - latency / gpu_latency)


def _span(network: str, objective: str) -> tuple[list[float], list[float]]:
    """The least and the greatest reduction of (energy, latency) over the modules."""
    rows = [_row(m, objective, None) for m in of_paper(network)]
    columns = [[r[k] for r in rows] for k in ("energy_reduction", "latency_reduction")]
    return [min(c) for c in columns], [max(c) for c in columns]


def published_range(network: str, measure: str) -> tuple[float, float]:
    """Return the abstract's range of one reduction in %, both ends alike for a single number."""
    value = published("hybrid")[f"{network}.{measure}"]
    ends = value if isinstance(value, list) else [value, value]
    return float(ends[0]), float(ends[1])


def scored() -> xr.Dataset:
    """Return the six reductions that the scorecard reads: sums over the modules, least energy x latency."""
    found = np.array([reduction(n) for n in NETWORKS])
    return xr.Dataset(
        {
            "energy": variable("network", found[:, 0], "%", "energy reduction"),
            "latency": variable("network", found[:, 1], "%", "latency reduction"),
        },
        {"network": list(NETWORKS)},
        {"title": "Abstract: reduction by the hybrid, as scored"},
    )


def reductions() -> xr.Dataset:
    """Return the reductions of the three networks by reading and objective, the abstract's ranges beside them."""
    found = np.array([[[reduction(n, o, r) for o in OBJECTIVES] for r in READINGS] for n in NETWORKS])
    ends = np.array([[published_range(n, m) for m in ("energy", "latency")] for n in NETWORKS])
    order = [1, 0, 3, 2]  # of the sums, to that of the columns: latency before energy
    sums = np.array([[[_sums(n, o, r) for o in OBJECTIVES] for r in READINGS] for n in NETWORKS])[..., order]
    span = np.array([[_span(n, o) for o in OBJECTIVES] for n in NETWORKS])
    dims = "network reading objective"
    return xr.Dataset(
        {
            "energy": variable(dims, found[..., 0], "%", "energy reduction"),
            "latency": variable(dims, found[..., 1], "%", "latency reduction"),
            **{k: variable(dims, sums[..., i], *labels) for i, (k, labels) in enumerate(list(_COLUMNS.items())[:4])},
            "published_energy_low": variable("network", ends[:, 0, 0], "%", "energy reduction, published, low end"),
            "published_energy_high": variable("network", ends[:, 0, 1], "%", "energy reduction, published, high end"),
            "published_latency_low": variable("network", ends[:, 1, 0], "%", "latency reduction, published, low end"),
            "published_latency_high": variable("network", ends[:, 1, 1], "%", "latency reduction, published, high end"),
            "least_module_energy": variable(
                "network objective", span[..., 0, 0], "%", "energy reduction, least module"
            ),
            "most_module_energy": variable("network objective", span[..., 1, 0], "%", "energy reduction, best module"),
            "least_module_latency": variable(
                "network objective", span[..., 0, 1], "%", "latency reduction, least module"
            ),
            "most_module_latency": variable(
                "network objective", span[..., 1, 1], "%", "latency reduction, best module"
            ),
            "module": variable("network", [MODULES[n] for n in NETWORKS], "text", "module"),
        },
        {"network": list(NETWORKS), "reading": list(READINGS), "objective": list(OBJECTIVES)},
        {"title": "Abstract: reduction by the hybrid"},
    )


@cache
def resolution() -> xr.Dataset:
    """Return the reductions as the search tries finer shares of a layer's filters: how exact its grid is."""
    grids = {"default": (None, None), "sixteenths": (_steps(16), _steps(4))}
    found = np.zeros((len(NETWORKS), len(grids), 2))
    for a, network in enumerate(NETWORKS):
        for b, (few, many) in enumerate(grids.values()):
            sums = np.zeros(4)
            for module in of_paper(network):
                o = options(module, shares=few if len(module.major) <= 3 else many)
                i = int(o.best()[0])
                sums += [o.gpu_energy[0], o.gpu_latency[0], o.energy[0, i], o.latency[0, i]]
            found[a, b] = 100 * (1 - sums[2:] / sums[:2])
    return xr.Dataset(
        {
            "energy": variable("network shares", found[..., 0], "%", "energy reduction"),
            "latency": variable("network shares", found[..., 1], "%", "latency reduction"),
        },
        {"network": list(NETWORKS), "shares": list(grids)},
        {"title": "Resolution of the search"},
    )


def _steps(count: int) -> tuple[float, ...]:
    return tuple(i / count for i in range(count + 1))


def pareto() -> xr.Dataset:
    """Return the Pareto front of each network: energy and latency over all its modules, relative to GPU alone.

    Every combination of the modules' own choices counts; the front of a sum is made of points of the fronts.
    """
    fronts = {n: _network_front(n) for n in NETWORKS}
    width = max(len(f) for f in fronts.values())
    points = np.full((len(NETWORKS), width, 2), np.nan)
    for i, front in enumerate(fronts.values()):
        points[i, : len(front)] = front
    return xr.Dataset(
        {
            "latency": variable("network point", points[..., 0], "%", "latency, of GPU alone"),
            "energy": variable("network point", points[..., 1], "%", "energy, of GPU alone"),
        },
        {"network": list(NETWORKS), "point": np.arange(width)},
        {"title": "Pareto front: energy against latency"},
    )


def _network_front(network: str, most: int = 200) -> FloatArray:
    total = np.zeros((1, 2))
    gpu = np.zeros(2)
    for module in of_paper(network):
        found, _ = best(module)
        kept = found.front()
        points = np.stack([found.latency[0, kept], found.energy[0, kept]], axis=1)
        total = _undominated((total[:, None] + points[None]).reshape(-1, 2))
        gpu += [float(found.gpu_latency[0]), float(found.gpu_energy[0])]
    shown = total if len(total) <= most else total[np.linspace(0, len(total) - 1, most).round().astype(int)]
    return np.asarray(100 * shown / gpu)


def _undominated(points: FloatArray) -> FloatArray:
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    least = np.minimum.accumulate(ordered[:, 1])
    first = np.concatenate([[True], ordered[1:, 1] < least[:-1]])
    return np.asarray(ordered[first])
