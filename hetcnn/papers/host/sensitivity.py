"""How much rests on choices and chance: the errors over the declared ranges, and on made-up networks held out."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache

import numpy as np
import xarray as xr

from hetcnn import data
from hetcnn.host.layers import Kernels
from hetcnn.host.predict import Settings, TapeModel, fit_tape
from hetcnn.papers.host.comparison import Comparison, shipped
from hetcnn.papers.results import variable

__all__ = ["cross_validation", "sensitivity", "variants"]

FOLDS = 4
KINDS = 4
"""Made-up networks come in four kinds, in turn: every fold has all of them."""
WHOLE = 0.05
"""The aim for whole networks."""


@cache
def variants() -> dict[str, tuple[Settings, float]]:
    """Return the nominal choice and each one over its range: name -> settings, and the share of networks to fit on.

    From `data/papers/host/assumptions.toml`.
    """
    with data.path("papers", "host", "assumptions.toml").open("rb") as file:
        declared = tomllib.load(file)["assumption"]
    found: dict[str, tuple[Settings, float]] = {"nominal": (Settings(), 1.0)}
    for entry in declared:
        for value in entry["range"]:
            moved = (Settings(), value) if entry["name"] == "share" else (Settings(**{entry["name"]: value}), 1.0)
            found[f"{entry['name']} = {value:g}"] = moved
    return found


def _errors(found: Comparison, model: TapeModel, names: Sequence[str]) -> tuple[float, float, float]:
    """Median absolute errors in % over layers with MACs and whole networks, and % of the networks within `WHOLE`."""
    layers: list[float] = []
    whole = []
    for name in names:
        kernels: Kernels = {**found.record.training, **found.record.zoo}[name]
        lines = [line for line in found.record.lines[name] if line.kind]
        times = np.array([line.time for line in lines])
        layers += np.abs(model.line_times(kernels, lines) / times - 1).tolist()
        whole.append(abs(float(model.kernel_times(kernels).sum()) / kernels.total - 1))
    return 100 * float(np.median(layers)), 100 * float(np.median(whole)), 100 * float(np.mean(np.array(whole) <= WHOLE))


@cache
def _over_variants() -> list[tuple[float, float, float]]:
    found = shipped()
    training = list(found.record.training.values())
    rows = []
    for settings, share in variants().values():
        seen = [k for i, k in enumerate(training) if i // KINDS % round(1 / share) == 0]
        model = fit_tape(seen, settings)
        rows.append(_errors(found, model, found.networks))
    return rows


def sensitivity() -> xr.Dataset:
    """Return the errors on the known networks for each choice over its range."""
    layers, whole, _ = zip(*_over_variants(), strict=True)
    return xr.Dataset(
        {
            "layers": variable("assumption", list(layers), "%", "median absolute error of layer times"),
            "networks": variable("assumption", list(whole), "%", "median absolute error of whole networks"),
        },
        {"assumption": list(variants())},
        {"title": "Errors on unseen networks over the choices of the fit"},
    )


def cross_validation(comparison: Comparison | None = None) -> xr.Dataset:
    """Return the errors on made-up networks that the fit did not see, each quarter in turn, and on the known ones."""
    found = comparison or shipped()
    names = list(found.record.training)
    rows = {}
    for fold in range(FOLDS):
        held_out = [name for i, name in enumerate(names) if i // KINDS % FOLDS == fold]
        model = fit_tape([found.record.training[n] for n in names if n not in held_out])
        rows[f"made up, quarter {fold + 1}"] = _errors(found, model, held_out)
    rows["known networks"] = _errors(found, found.tape, found.networks)
    layers, whole, within = zip(*rows.values(), strict=True)
    return xr.Dataset(
        {
            "layers": variable("held_out", list(layers), "%", "median absolute error of layer times"),
            "networks": variable("held_out", list(whole), "%", "median absolute error of whole networks"),
            "within": variable("held_out", list(within), "%", "networks that are within 5 % as a whole"),
        },
        {"held_out": list(rows)},
        {"title": "Errors on networks that the fit did not see"},
    )
