"""The model's results as labelled data: resources against the fitter reports, DHM against GPU, modules, networks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hetcnn import zoo
from hetcnn.network import Network
from hetcnn.papers.hybrid import resources
from hetcnn.papers.hybrid.graph import MODULES, NAMES, NETWORKS, Module, Node, modules, of_paper
from hetcnn.papers.hybrid.machine import Constants, box, nominal
from hetcnn.papers.hybrid.schedule import fpga_seconds, gpu_seconds
from hetcnn.papers.hybrid.search import OBJECTIVES, Options, best, layer_cost, options
from hetcnn.papers.hybrid.shared import one_configuration
from hetcnn.papers.published import published
from hetcnn.papers.results import variable

__all__ = [
    "READINGS",
    "assumptions",
    "dhm_cost",
    "fitter_reports",
    "module_figure",
    "module_table",
    "parameters",
    "pareto",
    "partition_table",
    "published_range",
    "reduction",
    "reductions",
    "resolution",
]

FloatArray = NDArray[np.float64]

READINGS = ("modules", "modules on the FPGA", "whole network", "one configuration")
"""What the abstract's reductions may be taken over; the first is the one that is scored."""


# --- resources -----------------------------------------------------------------------------------------------------


def fitter_reports() -> xr.Dataset:
    """Return the measured rows beside the law fitted on all of them, and beside the law fitted without the row."""
    rows, law = resources.reports(), resources.fitted_law()
    costs = [r.cost(law, lines_in_logic=r.m20k == 0) for r in rows]
    left = resources.held_out()
    parts = ("scm", "moa", "window")
    ours = [[float(getattr(k, p)) for p in parts] for k in costs]
    theirs = [[getattr(r, p) for p in parts] for r in rows]
    measured, held = np.array([r.alms for r in rows]), np.array([float(left[r.row].alms) for r in rows])
    registers = np.array([r.registers for r in rows])
    held_registers = np.array([float(left[r.row].registers) for r in rows])
    density = [float(law.density(r.kernel**2 * r.channels, r.bits)) for r in rows]
    return xr.Dataset(
        {
            "part": variable("row kind", ours, "ALM", "ALMs by part"),
            "published_part": variable("row kind", theirs, "ALM", "ALMs by part, measured"),
            "alms": variable("row", [float(k.alms) for k in costs], "ALM", "ALMs"),
            "held_out": variable("row", held, "ALM", "ALMs, row left out"),
            "published": variable("row", measured, "ALM", "ALMs, measured"),
            "held_out_error": variable("row", 100 * (held / measured - 1), "%", "error of the row left out"),
            "nonzero": variable("row", [100 * d for d in density], "%", "weights that need hardware"),
            "registers": variable("row", [float(k.registers) for k in costs], "registers", "registers"),
            "published_registers": variable("row", registers, "registers", "registers, measured"),
            "held_out_registers_error": variable(
                "row", 100 * (held_registers / registers - 1), "%", "error of registers, row left out"
            ),
            "m20k": variable("row", [resources.m20k_of_report(r.row) for r in rows], "blocks", "M20K blocks"),
            "published_m20k": variable("row", [r.m20k for r in rows], "blocks", "M20K blocks, measured"),
        },
        {"row": [r.row for r in rows], "kind": list(parts)},
        {"title": "Resources of direct hardware mapping"},
    )


def parameters() -> xr.Dataset:
    """Return the fitted parameters, their units and what each was fitted on."""
    _, found = resources.fitted()
    on = ["multipliers and adders"] * 2 + ["registers", "window buffers"]
    return xr.Dataset(
        {
            "value": variable("parameter", list(found.values), "see unit", "value"),
            "unit": variable("parameter", [p.unit for p in found.parameters], "text", "unit"),
            "meaning": variable("parameter", [p.meaning for p in found.parameters], "text", "meaning"),
            "fitted_on": variable("parameter", on, "text", "fitted on"),
        },
        {"parameter": [p.name for p in found.parameters]},
        {"title": "Fitted parameters"},
    )


def assumptions() -> xr.Dataset:
    """Return every assumption: nominal value, range, where it stands, and why."""
    rows = box()
    columns: dict[str, Any] = {
        k: variable("assumption", [getattr(r, k) for r in rows], "SI", f"{k} value") for k in ("nominal", "low", "high")
    }
    columns |= {k: variable("assumption", [getattr(r, k) for r in rows], "text", k) for k in ("where", "why")}
    return xr.Dataset(columns, {"assumption": [r.name for r in rows]}, {"title": "Assumptions"})


# --- DHM against GPU -----------------------------------------------------------------------------------------------


def dhm_cost(
    kernels: Sequence[int] = (1, 3, 5),
    filters: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256),
    *,
    channels: Sequence[int] = (3, 16, 64),
    image: Sequence[int] = (224, 112, 56, 28),
    given: Constants | None = None,
) -> xr.Dataset:
    """Return one convolution as hardware and on the GPU: resources, latency, energy, over the number of filters.

    `image` is the side of the input plane, stride 1 and same padding. The FPGA's latency is one pixel a clock with the
    fill of the pipeline; `_with_link` adds the transfers there and back, overlapped as the assumptions say. Its energy
    is the FPGA's rail alone, the GPU's that of the whole module. `fits` is 1 where the device holds the layer.

    >>> one = dhm_cost((3,), (16,), channels=(16,), image=(56,))
    >>> round(float(one["latency_fpga"].squeeze()) * 80e6)        # 56 x 56 pixels, a line and a window, 144 operands
    3338
    """
    c = nominal() if given is None else given
    axes = [np.asarray(a, float) for a in (kernels, filters, channels, image)]
    shape = tuple(len(a) for a in axes)
    out = {name: np.full(shape, np.nan) for name in _LAYER_COLUMNS}
    for index in np.ndindex(*shape):
        k, m, ch, side = (int(a[i]) for a, i in zip(axes, index, strict=True))
        for name, value in _one_layer(_plain_conv(k, m, ch, side), c).items():
            out[name][index] = value
    dims = "kernel filters channels image"
    columns = {name: variable(dims, values, *_LAYER_COLUMNS[name]) for name, values in out.items()}
    coords = {"kernel": list(kernels), "filters": list(filters), "channels": list(channels), "image": list(image)}
    return xr.Dataset(columns, coords, {"title": "Direct hardware mapping against the GPU"})


_LAYER_COLUMNS = {
    "alms": ("ALM", "ALMs, no DSP block used"),
    "alms_with_dsp": ("ALM", "ALMs, DSP blocks used first"),
    "registers": ("registers", "registers"),
    "m20k": ("blocks", "M20K blocks"),
    "nonzero": ("weights", "weights that need hardware"),
    "fits": ("1", "whether the device holds the layer"),
    "latency_fpga": ("s", "latency on the FPGA"),
    "latency_fpga_with_link": ("s", "latency on the FPGA, with the link"),
    "latency_gpu": ("s", "latency on the GPU"),
    "energy_fpga": ("J", "energy of the FPGA"),
    "energy_fpga_with_link": ("J", "energy of the FPGA, with the link"),
    "energy_gpu": ("J", "energy of the GPU's module"),
    "speedup": ("1", "GPU's latency over the FPGA's"),
    "energy_ratio": ("1", "GPU's energy over the FPGA's"),
}


def _plain_conv(kernel: int, filters: int, channels: int, side: int) -> Node:
    pixels, weights = side * side, kernel * kernel * channels * filters
    return Node(
        *("conv", "conv", (-1,), channels * pixels, filters * pixels),
        macs=weights * pixels,
        weights=weights,
        kernel=kernel,
        channels=channels,
        windows=channels,
        filters=filters,
        pixels=pixels,
        width=side,
        rows=pixels,
    )


def _one_layer(node: Node, c: Constants) -> dict[str, float]:
    cost = layer_cost(node, c)
    with_dsp = float(cost.alms_with(c.multipliers * c.dsp))
    working, launching = (float(t) for t in gpu_seconds(node, 1.0, c))
    pixels, fill = (float(t) for t in fpga_seconds(node, c))
    whole = Module("layer", "", (node,), (node.inputs,), (0,))
    free = options(whole, c.changed(alms=np.inf, m20k=np.inf), (0.0, 1.0))
    dynamic = float(c.fpga_dynamic) * pixels * float(cost.alms) / float(c.alms)
    alone, with_link = pixels + fill, float(free.latency[0, -1])
    energy = float(c.fpga_static) * alone + dynamic
    gpu = working + launching
    gpu_energy = float(c.host_static) * gpu + float(c.gpu_dynamic) * (working + float(c.launch_power) * launching)
    return {
        "alms": float(cost.alms),
        "alms_with_dsp": with_dsp,
        "registers": float(cost.registers),
        "m20k": float(cost.m20k),
        "nonzero": float(cost.nonzero),
        "fits": float(with_dsp <= float(c.alms * c.fill) and float(cost.m20k) <= float(c.m20k)),
        "latency_fpga": alone,
        "latency_fpga_with_link": with_link,
        "latency_gpu": gpu,
        "energy_fpga": energy,
        "energy_fpga_with_link": float(c.fpga_static) * with_link + dynamic,
        "energy_gpu": gpu_energy,
        "speedup": gpu / alone,
        "energy_ratio": gpu_energy / energy,
    }


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
    "macs_on_fpga": ("%", "MACs on the FPGA"),
    "alms": ("ALM", "ALMs used"),
    "m20k": ("blocks", "M20K blocks used"),
    "moved": ("B", "bytes over the link"),
    "name": ("text", "module"),
    "on_the_fpga": ("text", "on the FPGA"),
}


def partition_table(
    network: Network | str, *, objective: str = "product", given: Constants | None = None, by: str = "names"
) -> xr.Dataset:
    """Return the best partition of every module of any network, a name of the zoo or of the paper included.

    Each module is judged by itself: the whole FPGA, input and output in the host's memory. `objective` is "energy",
    "latency" or "product"; `by` as in `modules.modules`; `given` the constants of a machine.
    """
    graph = zoo.load(NETWORKS.get(network, network)) if isinstance(network, str) else network
    chosen = [m for m in modules(graph, by=by) if m.major]
    rows = [_row(m, objective, given) for m in chosen]
    columns = {k: variable("module", [r[k] for r in rows], *labels) for k, labels in _COLUMNS.items() if k != "name"}
    return xr.Dataset(columns, {"module": [m.name for m in chosen]}, {"title": f"{graph.name}: {objective} least"})


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


def reductions() -> xr.Dataset:
    """Return the reductions of the three networks by reading and objective, the abstract's ranges beside them."""
    found = np.array([[[reduction(n, o, r) for o in OBJECTIVES] for r in READINGS] for n in NETWORKS])
    ends = np.array([[published_range(n, m) for m in ("energy", "latency")] for n in NETWORKS])
    span = np.array([[_span(n, o) for o in OBJECTIVES] for n in NETWORKS])
    dims = "network reading objective"
    return xr.Dataset(
        {
            "energy": variable(dims, found[..., 0], "%", "energy reduction"),
            "latency": variable(dims, found[..., 1], "%", "latency reduction"),
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
