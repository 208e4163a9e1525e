"""Layers as labelled data: DHM's resources against the fitter reports, DHM against GPU, every layer of the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.papers.hybrid import resources
from hetcnn.papers.hybrid.graph import NETWORKS, Module, Node, of_paper
from hetcnn.papers.hybrid.machine import Constants, box, nominal
from hetcnn.papers.hybrid.schedule import fpga_seconds, gpu_seconds
from hetcnn.papers.hybrid.search import layer_cost, options
from hetcnn.papers.results import variable

__all__ = ["assumptions", "dhm_cost", "fitter_reports", "layer_table", "parameters"]


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
            "design": variable(
                "row", [resources.design_alms(r.row) for r in rows], "ALM", "ALMs of the design, row left out"
            ),
            "published_design": variable("row", [r.design for r in rows], "ALM", "ALMs of the design, measured"),
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
    is the FPGA's rail alone, the GPU's that of the whole module. `fits` is 1 where the device holds the layer. Raises
    HetcnnError for sizes that are not whole numbers from 1 up.

    >>> one = dhm_cost((3,), (16,), channels=(16,), image=(56,))
    >>> round(float(one["latency_fpga"].squeeze()) * 80e6)        # 56 x 56 pixels, a line and a window, 144 operands
    3338
    """
    c = nominal() if given is None else given
    sizes = {"kernels": kernels, "filters": filters, "channels": channels, "image": image}
    for name, values in sizes.items():
        for v in values:
            if not v >= 1 or v != round(v):
                raise HetcnnError(f"dhm_cost: {name}: expected whole numbers from 1 up, got {v}")
    axes = [np.asarray(a, float) for a in sizes.values()]
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
    whole = Module("layer", "", (replace(node, sources=(-1,)),), (node.inputs,), (0,))
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


# --- the layers of the networks ------------------------------------------------------------------------------------


@cache
def layer_table() -> xr.Dataset:
    """Return every layer with weights of the paper's modules by itself: as hardware, fitting or not, and on the GPU.

    Columns as in `dhm_cost`.
    """
    layers = {n: [(m.name, m.nodes[i]) for m in of_paper(n) for i in m.major] for n in NETWORKS}
    width = max(map(len, layers.values()))
    shape = (len(NETWORKS), width)
    out = {name: np.full(shape, np.nan) for name in _LAYER_COLUMNS}
    names: NDArray[Any] = np.full(shape, "", dtype=object)
    for a, rows in enumerate(layers.values()):
        for i, (_, node) in enumerate(rows):
            names[a, i] = node.name
            for name, value in _one_layer(node, nominal()).items():
                out[name][a, i] = value
    columns = {name: variable("network layer", values, *_LAYER_COLUMNS[name]) for name, values in out.items()}
    columns["name"] = variable("network layer", names.astype(str), "text", "layer")
    coords = {"network": list(NETWORKS), "layer": np.arange(1, width + 1)}
    return xr.Dataset(columns, coords, {"title": "Layers: as hardware and on the GPU"})
