"""How far the headlines move with the assumptions, and with the admissible shapes of the networks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import xarray as xr

from hetcnn.papers.assumed import declared
from hetcnn.papers.results import variable
from hetcnn.papers.synergy import networks, power
from hetcnn.papers.synergy.designs import Design
from hetcnn.papers.synergy.figures import speedup
from hetcnn.papers.synergy.fitting import fitted, machine
from hetcnn.papers.synergy.machine import NETWORKS, NOMINAL, Assumptions, Machine

__all__ = ["sensitivity", "shape_spread", "variants"]


@cache
def variants() -> dict[str, Assumptions]:
    """Return the nominal choice and each assumption over its range, one at a time, by name.

    From `data/papers/synergy/assumptions.toml`.
    """
    moved = {
        f"{a['name']} = {v:g}" if isinstance(v, int | float) else f"{a['name']} = {v}": replace(
            NOMINAL, **{a["name"]: v}
        )
        for a in declared("synergy").values()
        for v in a["range"]
    }
    return {"nominal": NOMINAL, **moved}


def _headlines(made: Machine) -> tuple[float, float, float]:
    """Mean speed-up, mean gain of stealing over the static default in %, mean energy reduction in %."""
    synergy = np.array([speedup(made, n, Design()) for n in NETWORKS])
    static = np.array([speedup(made, n, Design(stealing=False)) for n in NETWORKS])
    saved = [1 - power.synergy_energy(made, n) / power.original_energy(n) for n in NETWORKS]
    return float(synergy.mean()), 100 * float((synergy / static - 1).mean()), 100 * float(np.mean(saved))


def sensitivity() -> xr.Dataset:
    """Return the headlines for each assumption over its range; the rates are fitted anew each time."""
    rows = np.array([_headlines(machine(given)) for given in variants().values()])
    left = [100 * float(np.sqrt(np.mean(fitted(given).residuals ** 2))) for given in variants().values()]
    return xr.Dataset(
        {
            "speedup": variable("assumption", rows[:, 0], "1", "mean speed-up"),
            "gain": variable("assumption", rows[:, 1], "%", "mean gain of stealing over the static default"),
            "reduction": variable("assumption", rows[:, 2], "%", "mean energy reduction"),
            "residual": variable("assumption", left, "%", "error of the fit on its calibrations, root mean square"),
        },
        {"assumption": list(variants())},
        {"title": "Sensitivity to the assumptions"},
    )


def shape_spread() -> xr.Dataset:
    """Return the speed-up of each network for each admissible shape, and the spread of the headlines over all choices.

    The rates stay those of the nominal shapes, but for `refitted`: all second shapes, rates fitted anew.
    """
    made, width = machine(), max(networks.variants(n) for n in NETWORKS)
    synergy, static, joule = (np.full((len(NETWORKS), width), np.nan) for _ in range(3))
    for row, n in enumerate(NETWORKS):
        for v in range(networks.variants(n)):
            synergy[row, v] = speedup(made, n, Design(), v)
            static[row, v] = speedup(made, n, Design(stealing=False), v)
            joule[row, v] = 100 * (1 - power.synergy_energy(made, n, v) / power.original_energy(n))
    rows = np.arange(len(NETWORKS))
    choices = np.array(list(product(*(range(networks.variants(n)) for n in NETWORKS))))
    spread = np.array(
        [
            synergy[rows, choices].mean(axis=1),
            100 * (synergy / static - 1)[rows, choices].mean(axis=1),
            joule[rows, choices].mean(axis=1),
        ]
    )
    second = tuple(min(1, networks.variants(n) - 1) for n in NETWORKS)
    refitted = [speedup(machine(NOMINAL, second), n, Design(), v) for n, v in zip(NETWORKS, second, strict=True)]
    headline = ["mean speed-up", "gain over static default, %", "energy reduction, %"]
    return xr.Dataset(
        {
            "speedup": variable("network shape", synergy, "1", "throughput speed-up"),
            "refitted": variable("network", refitted, "1", "throughput speed-up, second shapes, rates fitted anew"),
            "least": variable("headline", spread.min(axis=1), "unit of the row", "least over all choices of shapes"),
            "nominal": variable("headline", spread[:, 0], "unit of the row", "nominal shapes"),
            "greatest": variable("headline", spread.max(axis=1), "unit of the row", "greatest over all choices"),
        },
        {"network": list(NETWORKS), "shape": list(range(width)), "headline": headline},
        {"title": "Spread over the admissible shapes"},
    )
