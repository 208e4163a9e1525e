"""The tables of Synergy, one function each: the model's values beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from hetcnn.papers.published import number, numbers, published
from hetcnn.papers.results import variable
from hetcnn.papers.synergy import networks, power
from hetcnn.papers.synergy.custom import best_custom, best_free, cluster_name, parse_clusters
from hetcnn.papers.synergy.designs import Design, run
from hetcnn.papers.synergy.figures import speedup
from hetcnn.papers.synergy.fitting import RATES, fitted, machine
from hetcnn.papers.synergy.machine import NETWORKS, frame_ops, original_seconds, stages

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TABLE4", "guesses", "parameters", "shapes", "table_2", "table_3", "table_4", "table_5", "table_6"]

TABLE4 = ("mnist", "cifar_full", "mpcnn")


def table_2() -> xr.Dataset:
    """Return the benchmarks as rebuilt: layers as Table 2 counts them, work of a frame, and the nominal source."""
    conv = [sum(layer.kind == "conv" for layer in networks.load(n)) for n in NETWORKS]
    layers = [networks.layer_count(n) for n in NETWORKS]
    work = [networks.load(n).ops / 1e6 for n in NETWORKS]
    sources = np.array([networks.BENCHMARKS[n][0].source for n in NETWORKS])
    guesses = np.array([networks.BENCHMARKS[n][0].guess for n in NETWORKS])
    return xr.Dataset(
        {
            "conv": variable("network", conv, "layers", "convolutions"),
            "published_conv": variable("network", _of("table2.{}.conv"), "layers", "convolutions, published"),
            "layers": variable("network", layers, "layers", "layers"),
            "published_layers": variable("network", _of("table2.{}.layers"), "layers", "layers, published"),
            "work": variable("network", work, "Mop", "work of a frame"),
            "published_work": variable("network", _of("work.{}"), "Mop", "work of a frame, implied"),
            "source": variable("network", sources, "text", "rebuilt from"),
            "guess": variable("network", guesses, "text", "guessed"),
        },
        {"network": list(NETWORKS)},
        {"title": "Table 2: benchmarks"},
    )


def guesses() -> list[str]:
    """Return a line for every admissible shape of every benchmark: its source and what is guessed."""
    return [
        f"{name}, shape {v}: {shape.source}; guessed: {shape.guess}"
        for name in NETWORKS
        for v, shape in enumerate(networks.BENCHMARKS[name])
    ]


def shapes() -> xr.Dataset:
    """Return jobs and steps of each convolution of every admissible shape, as text."""
    width = max(networks.variants(n) for n in NETWORKS)
    text = np.full((len(NETWORKS), width), "", dtype=object)
    steps = np.full((len(NETWORKS), width), np.nan)
    for row, name in enumerate(NETWORKS):
        for v in range(networks.variants(name)):
            mine = [s for s in stages(name, v) if s.jobs]
            text[row, v] = ", ".join(f"{s.jobs}x{s.steps}" for s in mine)
            steps[row, v] = sum(s.jobs * s.steps for s in mine)
    return xr.Dataset(
        {
            "jobs": variable("network shape", text.astype(str), "jobs x steps", "jobs and steps of the convolutions"),
            "steps": variable("network shape", steps, "steps", "32 x 32 x 32 steps of a frame"),
        },
        {"network": list(NETWORKS), "shape": list(range(width))},
        {"title": "Jobs of the rebuilt networks"},
    )


def _of(pattern: str, names: Sequence[str] = NETWORKS) -> NDArray[np.float64]:
    return numbers("synergy", [pattern.format(n) for n in names])


def parameters() -> xr.Dataset:
    """Return the fitted rates with their units, bounds and meaning."""
    found = fitted()
    return xr.Dataset(
        {
            "value": variable("parameter", list(found.values), "unit of the row", "value"),
            "unit": variable("parameter", np.array([p.unit for p in RATES]), "text", "unit"),
            "lower": variable("parameter", [p.lower for p in RATES], "unit of the row", "lower bound"),
            "upper": variable("parameter", [p.upper for p in RATES], "unit of the row", "upper bound"),
            "meaning": variable("parameter", np.array([p.meaning for p in RATES]), "text", "meaning"),
        },
        {"parameter": [p.name for p in RATES]},
        {"title": "Fitted rates"},
    )


def table_3() -> xr.Dataset:
    """Return energy per frame of the original Darknet and of Synergy, the reduction, and performance per watt."""
    made = machine()
    original = np.array([1e3 * power.original_energy(n) for n in NETWORKS])
    synergy = np.array([1e3 * power.synergy_energy(made, n) for n in NETWORKS])
    work = np.array([frame_ops(n) / 1e6 for n in NETWORKS])
    reduction = 100 * (1 - synergy / original)
    mean = float(reduction.mean())
    two = {"reading_error": 0.005}
    return xr.Dataset(
        {
            "original": variable("network", original, "mJ/frame", "energy, original Darknet"),
            "published_original": variable(
                "network", _of("table3.{}.original"), "mJ/frame", "original, published", **two
            ),
            "synergy": variable("network", synergy, "mJ/frame", "energy, Synergy"),
            "published_synergy": variable("network", _of("table3.{}.synergy"), "mJ/frame", "Synergy, published", **two),
            "reduction": variable("network", reduction, "%", "energy reduction"),
            "published_reduction": variable("network", _of("table3.{}.reduction"), "%", "reduction, published", **two),
            "original_gops_per_watt": variable("network", work / original, "Gop/s/W", "performance per watt, original"),
            "synergy_gops_per_watt": variable("network", work / synergy, "Gop/s/W", "performance per watt, Synergy"),
            "published_synergy_gops_per_watt": variable(
                "network", _of("table3.{}.synergy_gops_per_watt"), "Gop/s/W", "performance per watt, published", **two
            ),
            "efficiency_gain": variable("network", original / synergy, "1", "gain in performance per watt"),
            "mean_reduction": variable((), mean, "%", "mean energy reduction"),
        },
        {"network": list(NETWORKS)},
        {"title": "Table 3: energy and performance per watt"},
    )


def table_4() -> xr.Dataset:
    """Return Synergy's columns of Table 4: non-pipelined latency, throughput, Gop/s and energy per frame."""
    made = machine()
    rate = np.array([run(made, n, Design()).rate for n in TABLE4])
    work = np.array([frame_ops(n) / 1e9 for n in TABLE4])
    rows = {
        "latency": ([1e3 * run(made, n, Design(pipelined=False)).latency for n in TABLE4], "ms", "latency"),
        "rate": (rate, "frames/s", "throughput"),
        "gops": (work * rate, "Gop/s", "performance"),
        "energy": ([1e3 * power.synergy_energy(made, n) for n in TABLE4], "mJ/frame", "energy per frame"),
    }
    ours = {k: variable("network", v, u, name) for k, (v, u, name) in rows.items()}
    theirs = {
        f"published_{k}": variable("network", _of(f"table4.{{}}.{k}", TABLE4), u, f"{name}, published")
        for k, (_, u, name) in rows.items()
    }
    over = [float(work[i] * rate[i]) / number("synergy", f"table4.fpgaconvnet.{TABLE4[i]}.gops") for i in (0, 2)]
    gain = variable("rival_network", over, "1", "Gop/s over fpgaConvNet's")
    coords = {"network": list(TABLE4), "rival_network": [TABLE4[0], TABLE4[2]]}
    return xr.Dataset({**ours, **theirs, "over_fpgaconvnet": gain}, coords, {"title": "Table 4: Synergy's columns"})


def table_5() -> xr.Dataset:
    """Return the best custom clusters, the paper's, and the speed-up at either; and what a free mapping would add."""
    made = machine()
    best = [best_custom(made, n) for n in NETWORKS]
    theirs = [str(published("synergy")[f"table5.{n}"]) for n in NETWORKS]
    at_theirs = [
        speedup(made, n, Design(parse_clusters(c), stealing=False)) for n, c in zip(NETWORKS, theirs, strict=True)
    ]
    free = [speedup(made, n, best_free(made, n)) for n in NETWORKS]
    ours = [speedup(made, n, b) for n, b in zip(NETWORKS, best, strict=True)]
    return xr.Dataset(
        {
            "clusters": variable(
                "network", np.array([cluster_name(b.clusters) for b in best]), "clusters", "best custom clusters"
            ),
            "published": variable("network", np.array(theirs), "clusters", "custom clusters, published"),
            "speedup": variable("network", ours, "1", "speed-up at the best clusters"),
            "speedup_at_published": variable("network", at_theirs, "1", "speed-up at the published clusters"),
            "speedup_free": variable("network", free, "1", "speed-up with a free mapping"),
        },
        {"network": list(NETWORKS)},
        {"title": "Table 5: custom clusters"},
    )


def table_6() -> xr.Dataset:
    """Return the utilisation of the accelerators: mean over 2 NEON and 8 PEs of the time with a job."""
    made = machine()
    modes = ("non-pipelined", "sf", "sc", "synergy")
    share = np.empty((len(NETWORKS), len(modes)))
    for row, n in enumerate(NETWORKS):
        designs = (Design(pipelined=False), Design(stealing=False), best_custom(made, n), Design())
        share[row] = [100 * run(made, n, d).utilisation.mean() for d in designs]
    return xr.Dataset(
        {
            "utilisation": variable("network design", share, "%", "accelerator utilisation"),
            "mean": variable("design", share.mean(axis=0), "%", "mean accelerator utilisation"),
        },
        {"network": list(NETWORKS), "design": list(modes)},
        {"title": "Table 6: accelerator utilisation"},
    )


def original_power() -> list[float]:
    """Return the power in W of the original that Table 3's energies and Fig. 9's rates imply."""
    return [1e-3 * number("synergy", f"table3.{n}.original") / original_seconds(n) for n in NETWORKS]
