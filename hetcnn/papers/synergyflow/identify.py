"""What the two published gains pin down and what they leave open: sensitivity, and which assumptions meet both.

Nothing here is scored. The machine is calibrated anew on AlexNet's gain wherever an assumption moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import xarray as xr

from hetcnn.errors import HetcnnError
from hetcnn.papers.published import number
from hetcnn.papers.results import variable
from hetcnn.papers.synergyflow import model
from hetcnn.papers.synergyflow.calibration import CALIBRATED_ON, SIDES, calibrate, calibrated, provisions
from hetcnn.papers.synergyflow.figures import mean_gain
from hetcnn.papers.synergyflow.machine import Machine, assumptions, provisioned
from hetcnn.papers.synergyflow.schedule import event_period
from hetcnn.papers.synergyflow.workload import NETWORKS, OTHERS

__all__ = ["batch_map", "identifiability", "over_provision", "published_gains", "sensitivity", "subsets"]

AGREES = 0.10
"""Relative distance from the published mean within which a set of assumptions is called consistent with it."""


LARGEST = 5
"""Networks in the largest set."""


class Story(NamedTuple):
    """One reading of what the average was taken over and of the machine: how to get a mean gain from a machine."""

    mean: Callable[[Machine], float]
    change: dict[str, float]


def pair_mean(machine: Machine, networks: tuple[str, ...] = NETWORKS) -> float:
    """Return the mean gain of AlexNet beside each network (itself included), layer- and model-level together."""
    return float(np.mean([model.pair_gain(CALIBRATED_ON, n, machine) for n in networks]))


def stories() -> dict[str, Story]:
    """Return the readings of the identifiability figure by name; the first is the scorecard's."""
    two, three = NETWORKS[:2], NETWORKS[:3]
    return {
        "the fixed set": Story(mean_gain, {}),
        f"{' and '.join(two)} alone": Story(lambda m: mean_gain(m, two), {}),
        "without resnet-50": Story(lambda m: mean_gain(m, three), {}),
        "alexnet beside each": Story(pair_mean, {}),
        "batch 16, activations off chip": Story(mean_gain, {"batch": 16, "off_chip": 1.0}),
        "rigid FC at 5 % of the array": Story(mean_gain, {"rigid_fc": 0.05}),
    }


def over_provision() -> xr.Dataset:
    """Return AlexNet's gain and the mean over the fixed set against kappa, and where the board file stands."""
    kappa, machine = provisions(), provisioned()
    rows = [machine.provisioned_at(float(k)) for k in kappa]
    found = [[model.gain(n, m) for m in rows] for n in NETWORKS]
    target = number("synergyflow", "abstract.alexnet.gain")
    near = [int(np.argmin(np.abs(np.log(kappa / calibrated(side).provision)))) for side in SIDES]
    published = np.full(np.shape(found), np.nan)
    published[NETWORKS.index(CALIBRATED_ON), near] = target
    label = {"units": "1", "long_name": "weights per MAC slot, kappa"}
    return xr.Dataset(
        {
            "gain": variable("network provision", found, "%", "gain of elastic over rigid"),
            "published": variable("network provision", published, "%", "gain, published", reading_error=0.05),
            "mean_gain": variable("provision", np.mean(found, axis=0), "%", "mean gain over the fixed set"),
        },
        {"network": list(NETWORKS), "provision": ("provision", kappa, label)},
        {"title": "Gain over the provisioning", "board": machine.provision},
    )


def identifiability() -> xr.Dataset:
    """Return, for each reading, the mean gain and AlexNet's gain as kappa runs from 0.01 to 1: one loop each.

    A reading is consistent with both published gains where its loop passes through (67.2, 33.8).
    """
    kappa, told = np.geomspace(0.01, 1.0, 161), stories()
    alexnet, mean = np.empty((2, len(told), len(kappa)))
    for i, story in enumerate(told.values()):
        machine = provisioned(**story.change)
        rows = [machine.provisioned_at(float(k)) for k in kappa]
        alexnet[i] = [model.gain(CALIBRATED_ON, m) for m in rows]
        mean[i] = [story.mean(m) for m in rows]
    at = [[_mean_at(story, side) for side in SIDES] for story in told.values()]
    each = [[_gains_at(story, side) for side in SIDES] for story in told.values()]
    label = {"units": "1", "long_name": "weights per MAC slot, kappa"}
    return xr.Dataset(
        {
            "mean_gain": variable("reading provision", mean, "%", "mean gain"),
            "alexnet_gain": variable("reading provision", alexnet, "%", "gain of AlexNet"),
            "calibrated_gain": variable("reading side network", each, "%", "gain, calibrated on AlexNet"),
            "calibrated_mean_gain": variable("reading side", at, "%", "mean gain, calibrated on AlexNet"),
        },
        {
            "reading": list(told),
            "provision": ("provision", kappa, label),
            "side": list(SIDES),
            "network": list(NETWORKS),
        },
        {"title": "Which readings meet both published gains"},
    )


def published_gains() -> tuple[list[float], list[float]]:
    """Return the point (AlexNet's gain, mean gain) that a reading has to pass through, as lists of one."""
    return [number("synergyflow", "abstract.alexnet.gain")], [number("synergyflow", "abstract.mean_gain")]


def _mean_at(story: Story, side: str) -> float:
    machine = _calibrated(provisioned(**story.change), side)
    return np.nan if machine is None else story.mean(machine)


def _gains_at(story: Story, side: str) -> list[float]:
    machine = _calibrated(provisioned(**story.change), side)
    return [np.nan if machine is None else model.gain(n, machine) for n in NETWORKS]


def _calibrated(machine: Machine, side: str) -> Machine | None:
    """The machine on one side, or None where no bandwidth gives AlexNet its gain there."""
    try:
        return calibrate(machine, side, number("synergyflow", "abstract.alexnet.gain"))
    except HetcnnError:
        return None


def batch_map() -> xr.Dataset:
    """Return the mean gain over batch and share of activations off the chip, calibrated anew; NaN where it cannot be.

    `bandwidth` is what the board then has to have with its assumed multipliers; `scheduled_mean_gain`, at the largest
    batch, is what the event schedule reaches with one division of the array for all layers.
    """
    shares, batches = (0.0, 0.25, 0.5, 0.75, 1.0), (1, 2, 4, 8, 16)
    grid = [
        [[_calibrated(provisioned(batch=b, off_chip=share), side) for b in batches] for share in shares]
        for side in SIDES
    ]
    mean = [[[np.nan if m is None else mean_gain(m) for m in row] for row in rows] for rows in grid]
    bandwidth = [[[np.nan if m is None else m.bandwidth for m in row] for row in rows] for rows in grid]
    last = [rows[-1][-1] for rows in grid]
    reached = [np.nan if m is None else float(np.mean([event_gain(n, m) for n in NETWORKS])) for m in last]
    return xr.Dataset(
        {
            "mean_gain": variable("side off_chip batch", mean, "%", "mean gain over the fixed set"),
            "bandwidth": variable("side off_chip batch", bandwidth, "B/s", "bandwidth behind it"),
            "scheduled_mean_gain": variable("side", reached, "%", "mean gain by events, batch 16, all off chip"),
        },
        {
            "side": list(SIDES),
            "off_chip": ("off_chip", list(shares), {"units": "1", "long_name": "activations off chip"}),
            "batch": ("batch", list(batches), {"units": "frames", "long_name": "batch"}),
        },
        {"title": "Mean gain over batch and activations off the chip"},
    )


def event_gain(network: str, machine: Machine) -> float:
    """Return the gain in % of the event schedule; 0 where dividing does not pay."""
    return max(0.0, 100 * (model.rigid_seconds(network, machine) / event_period(network, machine) - 1))


def subsets() -> xr.Dataset:
    """Return the mean gain of every set of two to five networks with AlexNet in it: each alone, each beside AlexNet."""
    rest = [n for n in (*NETWORKS, *OTHERS) if n != CALIBRATED_ON]
    sets = [(CALIBRATED_ON, *some) for size in range(1, LARGEST) for some in combinations(rest, size)]
    levels: dict[str, Callable[[str, Machine], float]] = {
        "layer": model.gain,
        "both": lambda n, m: model.pair_gain(CALIBRATED_ON, n, m),
    }
    each = {
        (side, level): {n: value(n, calibrated(side)) for n in (CALIBRATED_ON, *rest)}
        for side in SIDES
        for level, value in levels.items()
    }
    found = np.array([[[np.mean([each[s, v][n] for n in some]) for some in sets] for v in levels] for s in SIDES])
    target = number("synergyflow", "abstract.mean_gain")
    agree = np.abs(found - target) <= AGREES * target
    return xr.Dataset(
        {
            "mean_gain": variable("side level set", found, "%", "mean gain"),
            "consistent": variable("side level set", agree.astype(int), "1", "within 10 % of the published mean"),
            "share_consistent": variable("side level", 100 * agree.mean(axis=-1), "%", "share of sets within 10 %"),
            "size": variable("set", [len(some) for some in sets], "1", "networks in the set"),
        },
        {"side": list(SIDES), "level": list(levels), "set": [" + ".join(some) for some in sets]},
        {"title": "Mean gain of other sets of networks"},
    )


def _moved() -> Iterator[tuple[str, str, dict[str, float]]]:
    yield "nominal", SIDES[0], {}
    for name, entry in assumptions().items():
        for value in entry["range"]:
            side = str(value) if name == "side" else SIDES[0]
            yield f"{name} = {value}", side, {} if name == "side" else {name: value}


def sensitivity() -> xr.Dataset:
    """Return the headline for each assumption over its range, one at a time, calibrated anew; NaN where it cannot be.

    `uncalibrated_alexnet_gain` is what the board file's own bandwidth gives, before any calibration.
    """
    rows = list(_moved())
    target = number("synergyflow", "abstract.mean_gain")
    found: dict[str, list[float]] = {"mean_gain": [], "provision": [], "bandwidth": [], "uncalibrated_alexnet_gain": []}
    for _, side, change in rows:
        board = provisioned(**change)
        machine = _calibrated(board, side)
        found["mean_gain"].append(np.nan if machine is None else mean_gain(machine))
        found["provision"].append(np.nan if machine is None else machine.provision)
        found["bandwidth"].append(np.nan if machine is None else machine.bandwidth)
        found["uncalibrated_alexnet_gain"].append(model.gain(CALIBRATED_ON, board))
    meaning = {
        "mean_gain": ("%", "mean gain over the fixed set"),
        "provision": ("1", "calibrated kappa"),
        "bandwidth": ("B/s", "bandwidth behind the calibrated kappa"),
        "uncalibrated_alexnet_gain": ("%", "gain of AlexNet at the board file's bandwidth"),
    }
    columns = {name: variable("assumption", found[name], *units) for name, units in meaning.items()}
    columns["published_mean_gain"] = variable("assumption", [target] * len(rows), "%", "mean gain, published")
    return xr.Dataset(columns, {"assumption": [name for name, _, _ in rows]}, {"title": "Sensitivity of the mean gain"})
