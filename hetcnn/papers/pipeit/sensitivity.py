"""What was fitted, on what, and how far the headlines move when an assumption moves."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import xarray as xr

from hetcnn import gemm
from hetcnn.papers.assumed import declared
from hetcnn.papers.pipeit import power
from hetcnn.papers.pipeit.kernel_level import remote_cost
from hetcnn.papers.pipeit.layers import NETWORKS
from hetcnn.papers.pipeit.tables import best_design
from hetcnn.papers.pipeit.times import (
    NOMINAL,
    Assumptions,
    big_core,
    big_frames_per_second,
    derived,
    little_core,
    multi_core,
    small_frames_per_second,
)
from hetcnn.papers.results import variable

__all__ = ["parameters", "sensitivity", "variants"]


@cache
def variants() -> dict[str, Assumptions]:
    """Return the nominal choice and each assumption over its range, one at a time, by name.

    From `data/papers/pipeit/assumptions.toml`.
    """
    moved = {f"{k} = {v}": replace(NOMINAL, **{k: v}) for k, a in declared("pipeit").items() for v in a["range"]}
    return {"nominal": NOMINAL, **moved}


def sensitivity() -> xr.Dataset:
    """Return the mean benefit over Table IV's Big column, and the fit of the Small cores, for each assumption."""

    def benefit(times: str, how: str, given: Assumptions) -> float:
        rates = [best_design(n, times, how, given=given).throughput for n in NETWORKS]
        return 100 * float(np.mean(np.array(rates) / [big_frames_per_second(n) for n in NETWORKS] - 1))

    def small_error(given: Assumptions) -> float:
        off = [derived(n, given).row(("s", 4)).sum() * small_frames_per_second(n, given) - 1 for n in NETWORKS]
        return 100 * float(np.mean(np.abs(off)))

    columns = {
        "predicted_algorithm_3": [benefit("predicted", "algorithm_3", g) for g in variants().values()],
        "derived_optimum": [benefit("derived", "optimum", g) for g in variants().values()],
    }
    errors = [small_error(g) for g in variants().values()]
    return xr.Dataset(
        {
            **{k: variable("assumption", v, "%", f"mean benefit, {k.replace('_', ' ')}") for k, v in columns.items()},
            "small_error": variable("assumption", errors, "%", "mean error of the Small cores' rates"),
        },
        {"assumption": list(variants())},
        {"title": "Sensitivity of the mean benefit"},
    )


def parameters() -> xr.Dataset:
    """Return every fitted parameter with its value, unit and what it was fitted on."""
    scaling, scaled_on = multi_core()
    core, (little, _) = big_core(), little_core()
    on_times = "derived times of all networks (Figs. 6, 7, Table IV Big)"
    on_scaling = "Figs. 3 (1B-4B) and 12 (Big), Eq. 5"
    rows: list[tuple[str, float, str, str]] = [("row tile ts", scaling.tile, "rows", on_scaling)]
    rows += [(p.name, v, p.unit, on_scaling) for p, v in zip(scaled_on.parameters, scaled_on.values, strict=True)]
    rows += [
        (f"b{i} ({t})", float(b), "s", on_times) for i, (t, b) in enumerate(zip(gemm.TERMS, core.b, strict=True), 1)
    ]
    rows += [
        ("depthwise", core.dw, "s/B", "derived times of MobileNet"),
        ("fully connected", core.fc, "s/weight", "Fig. 6, AlexNet"),
        ("minor layers", core.minor, "s/B", "Fig. 6"),
        ("A53 movement", little.movement, "1", "Table IV Small (AlexNet: the later paper's)"),
        ("remote data", remote_cost()[0], "1", "Fig. 5, ratios 2 to 4"),
    ]
    for kind, column in (("B", "Big"), ("s", "Small")):
        cluster = power.cluster_power(kind)
        rows += [
            (f"{column} cluster on", cluster.constant, "W", f"Table VIII {column}"),
            (f"{column} energy", cluster.per_mac, "J/MAC", f"Table VIII {column}"),
        ]
    names, values, units, source = zip(*rows, strict=True)
    return xr.Dataset(
        {
            "value": variable("parameter", list(values), "see unit", "value"),
            "unit": variable("parameter", list(units), "text", "unit"),
            "fitted_on": variable("parameter", list(source), "text", "fitted on"),
        },
        {"parameter": list(names)},
        {"title": "Fitted parameters"},
    )
