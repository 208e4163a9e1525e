"""What the model says, as labelled data; published values beside it where there are any (the abstract's two gains).

The paper's own figures and tables are not at hand, so these carry names of their own. Every function gives both
solutions of the calibration along `side`; the scorecard reads the nominal one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from hetcnn import platform
from hetcnn.papers.published import number
from hetcnn.papers.results import variable
from hetcnn.papers.synergyflow import division, model
from hetcnn.papers.synergyflow.calibration import CALIBRATED_ON, SIDES, at_batch, calibrated, nominal, ridge
from hetcnn.papers.synergyflow.division import Part
from hetcnn.papers.synergyflow.machine import BOARD, DEVICE, Machine, assumptions, provisioned
from hetcnn.papers.synergyflow.schedule import DESIGNS, event_period, event_schedule, profile
from hetcnn.papers.synergyflow.workload import NETWORKS, OTHERS, workload

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "abstract",
    "calibration_table",
    "divisions",
    "gains",
    "layer_table",
    "mixes",
    "over_batch",
    "over_time",
    "pairs",
    "rooflines",
    "throughputs",
    "utilisations",
]

BATCHES = (1, 2, 4, 8, 16)
RESOURCES = ("array", "memory")
_BOTH = ("rigid", "elastic")
_POINTS = 240


def mean_gain(machine: Machine, networks: Sequence[str] = NETWORKS) -> float:
    """Return the mean gain in % over networks, layer-level parallelism alone."""
    return float(np.mean([model.gain(network, machine) for network in networks]))


def abstract(*, scored: bool = False) -> xr.Dataset:
    """Return the abstract's numbers: AlexNet's gain, the mean gain, and the network that gains most.

    `scored` gives the nominal solution alone, the one that the scorecard reads.
    """
    sides = [str(assumptions()["side"]["nominal"])] if scored else list(SIDES)
    machines = [calibrated(side) for side in sides]
    most = [max(NETWORKS, key=lambda n, m=m: model.gain(n, m)) for m in machines]  # type: ignore[misc]
    return xr.Dataset(
        {
            "alexnet_gain": variable("side", [model.gain(CALIBRATED_ON, m) for m in machines], "%", "gain of AlexNet"),
            "mean_gain": variable("side", [mean_gain(m) for m in machines], "%", "mean gain over the fixed set"),
            "largest_gain": variable("side", most, "network", "network with the largest gain"),
        },
        {"side": sides},
        {"title": "The abstract's gains"},
    )


def gains() -> xr.Dataset:
    """Return the gain of each network by layer-level parallelism, and the mean over the fixed set (abstract)."""
    everybody = (*NETWORKS, *OTHERS)
    found = [[model.gain(n, calibrated(side)) for n in everybody] for side in SIDES]
    published = [number("synergyflow", "abstract.alexnet.gain") if n == CALIBRATED_ON else np.nan for n in everybody]
    mean = number("synergyflow", "abstract.mean_gain")
    means = [mean_gain(calibrated(side)) for side in SIDES]
    return xr.Dataset(
        {
            "gain": variable("side network", found, "%", "gain of elastic over rigid"),
            "published": variable("network", published, "%", "gain, published", reading_error=0.05),
            "mean_gain": variable("side", means, "%", f"mean gain over {', '.join(NETWORKS)}"),
            "published_mean_gain": variable("side", [mean] * 2, "%", "mean gain, published", reading_error=0.05),
        },
        {"side": list(SIDES), "network": list(everybody)},
        {"title": "Gain by layer-level parallelism"},
    )


def calibration_table() -> xr.Dataset:
    """Return kappa and what it means on the board: the two solutions beside AlexNet's ridge and the provisioning."""
    solutions = {side: calibrated(side) for side in SIDES}
    before = provisioned()
    rows = {**solutions, "ridge of AlexNet": before.provisioned_at(ridge(before)), "board file": before}
    columns = {
        "provision": ("1", "weights per MAC slot, kappa", [m.provision for m in rows.values()]),
        "bandwidth": ("B/s", "bandwidth at the nominal batch", [m.bandwidth for m in rows.values()]),
        "multipliers": ("1", "multipliers at the board's bandwidth", [_multipliers(m) for m in rows.values()]),
        "alexnet_gain": ("%", "gain of AlexNet", [model.gain(CALIBRATED_ON, m) for m in rows.values()]),
        "mean_gain": ("%", "mean gain over the fixed set", [mean_gain(m) for m in rows.values()]),
    }
    return xr.Dataset(
        {name: variable("machine", values, unit, text) for name, (unit, text, values) in columns.items()},
        {"machine": list(rows)},
        {"title": "The calibrated number"},
    )


def _multipliers(machine: Machine) -> float:
    """How many multipliers give the same kappa at the bandwidth of the board file and the same batch."""
    board = platform.load(BOARD)
    return float(board.value(f"devices.{DEVICE}.cores")) * provisioned().bandwidth / machine.bandwidth


def layer_table(network: str = CALIBRATED_ON, machine: Machine | None = None) -> xr.Dataset:
    """Return c and m of every layer for one batch on the whole machine, and MACs per byte of what it reads."""
    at, layers = machine or nominal(), workload(network)
    need = model.demand(layers, at)
    return xr.Dataset(
        {
            "kind": variable("layer", list(layers.kinds), "name", "kind of layer"),
            "macs": variable("layer", layers.macs, "MAC", "MACs per frame"),
            "weights": variable("layer", layers.weights, "1", "weights"),
            "array_time": variable("layer", need.array, "s", "time of the whole array, c"),
            "memory_time": variable("layer", need.memory, "s", "time of the whole memory path, m"),
            "rigid_time": variable("layer", np.maximum(need.array, need.memory), "s", "time on the rigid machine"),
        },
        {"layer": list(layers.names)},
        {"title": f"{network}: what each layer asks for, one batch"},
    )


def divisions() -> xr.Dataset:
    """Return the optimal division, its period in closed form and by events, and the best fixed division."""
    closed = [[model.elastic(n, calibrated(side)) for n in NETWORKS] for side in SIDES]
    periods = [[[event_period(n, calibrated(side), design) for design in DESIGNS] for n in NETWORKS] for side in SIDES]
    formula = [[_closed_periods(n, calibrated(side)) for n in NETWORKS] for side in SIDES]
    fixed = [
        [division.best_fixed(*model.parts(n, calibrated(side)), calibrated(side).reconfiguration) for n in NETWORKS]
        for side in SIDES
    ]
    both, each = "side network", "side network design"
    return xr.Dataset(
        {
            "array_share": variable(both, [[d.array for d in row] for row in closed], "1", "array, CONV part"),
            "memory_share": variable(both, [[d.memory for d in row] for row in closed], "1", "bytes, CONV part"),
            "bound": variable(both, [[d.bound for d in row] for row in closed], "name", "busy all the time"),
            "period": variable(each, formula, "s", "time per batch, closed form"),
            "event_period": variable(each, periods, "s", "time per batch, event schedule"),
            "fixed_array_share": variable(both, [[f[1] for f in row] for row in fixed], "1", "array, fixed division"),
            "fixed_memory_share": variable(both, [[f[2] for f in row] for row in fixed], "1", "path, fixed division"),
        },
        {"side": list(SIDES), "network": list(NETWORKS), "design": list(DESIGNS)},
        {"title": "Division between the CONV and the FC part"},
    )


def _closed_periods(network: str, machine: Machine) -> list[float]:
    fixed = division.best_fixed(*model.parts(network, machine), machine.reconfiguration)[0]
    return [model.rigid_seconds(network, machine), fixed, model.elastic(network, machine).period]


def over_batch() -> xr.Dataset:
    """Return gain and throughput of the same hardware with another batch: FC layers read their weights less often.

    `gain_over_frames` is over a rigid machine that takes its frames one by one.
    """
    machines = [[at_batch(calibrated(side), b) for b in BATCHES] for side in SIDES]
    found = [[[model.gain(n, m) for m in row] for n in NETWORKS] for row in machines]
    rates = [[[_rates(n, m) for m in row] for n in NETWORKS] for row in machines]
    used = [[[model.utilisation(n, m) for m in row] for n in NETWORKS] for row in machines]
    unbatched = 100 * (np.array(rates)[..., 1] / np.array(rates)[:, :, :1, 0] - 1)
    return xr.Dataset(
        {
            "gain": variable("side network batch", found, "%", "gain of elastic over rigid"),
            "mean_gain": variable("side batch", np.mean(found, axis=1), "%", "mean gain over the fixed set"),
            "gain_over_frames": variable("side network batch", unbatched, "%", "gain over rigid at batch 1"),
            "throughput": variable("side network batch design", rates, "frames/s", "throughput"),
            "utilisation": variable("side network batch design resource", used, "1", "share of time busy"),
        },
        {
            "side": list(SIDES),
            "network": list(NETWORKS),
            "batch": ("batch", list(BATCHES), {"units": "frames", "long_name": "batch"}),
            "design": list(_BOTH),
            "resource": list(RESOURCES),
        },
        {"title": "Gain over the batch, same hardware"},
    )


def _rates(network: str, machine: Machine) -> tuple[float, float]:
    """Frames/s, rigid and elastic."""
    rigid, elastic = model.rigid_seconds(network, machine), model.elastic(network, machine).period
    return machine.batch / rigid, machine.batch / elastic


def throughputs() -> xr.Dataset:
    """Return frames/s, ops/s and bytes/s of both machines; the scale rests on the board's assumed multipliers."""
    rates = np.array([[_rates(n, calibrated(side)) for n in NETWORKS] for side in SIDES])
    ops = np.array([2.0 * workload(n).macs.sum() for n in NETWORKS])
    moved = np.array([[_bytes_per_frame(n, calibrated(side)) for n in NETWORKS] for side in SIDES])
    late = [[[event_schedule(n, calibrated(s), d).latency for d in _BOTH] for n in NETWORKS] for s in SIDES]
    dims = "side network design"
    return xr.Dataset(
        {
            "throughput": variable(dims, rates, "frames/s", "throughput"),
            "performance": variable(dims, rates * ops[:, None], "ops/s", "performance"),
            "traffic": variable(dims, rates * moved[..., None], "B/s", "memory traffic"),
            "latency": variable(dims, late, "s", "from a batch's entry to its exit, event schedule"),
        },
        {"side": list(SIDES), "network": list(NETWORKS), "design": list(_BOTH)},
        {"title": "Throughput on the board as assumed"},
    )


def _bytes_per_frame(network: str, machine: Machine) -> float:
    whole = division.joined(model.parts(network, machine))
    return whole.M * machine.bandwidth / machine.batch


def utilisations() -> xr.Dataset:
    """Return the mean utilisation of array and memory path, rigid and elastic; of the rigid one also in each phase."""
    used = [[model.utilisation(n, calibrated(side)) for n in NETWORKS] for side in SIDES]
    phases = [[[_busy(p) for p in model.parts(n, calibrated(side))] for n in NETWORKS] for side in SIDES]
    return xr.Dataset(
        {
            "utilisation": variable("side network design resource", used, "1", "share of time busy"),
            "rigid_phase": variable("side network phase resource", phases, "1", "share of time busy, rigid, by phase"),
        },
        {
            "side": list(SIDES),
            "network": list(NETWORKS),
            "design": list(_BOTH),
            "phase": ["conv", "fc"],
            "resource": list(RESOURCES),
        },
        {"title": "Utilisation"},
    )


def _busy(part: Part) -> list[float]:
    """Shares of its time on the rigid machine that a part keeps the array and the memory path busy."""
    return [part.C / division.rigid_time(part), part.M / division.rigid_time(part)]


def over_time(network: str = CALIBRATED_ON, machine: Machine | None = None) -> xr.Dataset:
    """Return utilisation over the steady period of each design, from the event schedule, on a common time axis.

    The axis is as long as the rigid machine's period; the divided designs repeat theirs.
    """
    at = machine or nominal()
    whole = model.rigid_seconds(network, at)
    times = (np.arange(_POINTS) + 0.5) * whole / _POINTS
    found = []
    for design in DESIGNS:
        seen = profile(network, at, design)
        found.append(seen.at(times % float(seen.edges[-1] - seen.edges[0])))
    return xr.Dataset(
        {"utilisation": variable("design resource time", found, "1", "share of the whole in use")},
        {
            "design": list(DESIGNS),
            "resource": list(RESOURCES),
            "time": ("time", times, {"units": "s", "long_name": "time"}),
        },
        {"title": f"{network}: utilisation over time"},
    )


def rooflines(side: str = SIDES[0], networks: Sequence[str] = NETWORKS) -> xr.Dataset:
    """Return intensity and performance of CONV, FC and the whole, rigid and elastic: where the mix sits.

    The whole has one intensity, total ops over total bytes. The rigid machine runs it below the roof, because it stands
    at the CONV layers' point first and at the FC layers' then; the elastic one reaches the roof of the mix. NaN for a
    part without layers.
    """
    machine = calibrated(side)
    points = ("conv", "fc", "whole, rigid", "whole, elastic")
    rows = np.array([_roofline_points(n, machine) for n in networks])
    return xr.Dataset(
        {
            "intensity": variable("network point", rows[:, 0], "ops/B", "arithmetic intensity"),
            "performance": variable("network point", rows[:, 1], "ops/s", "performance"),
        },
        {"network": list(networks), "point": list(points)},
        {
            "title": "Where the layers and the mix sit",
            "peak": 2 * machine.rate("conv"),
            "bandwidth": machine.bandwidth,
        },
    )


def _roofline_points(network: str, machine: Machine) -> tuple[list[float], list[float]]:
    layers = workload(network)
    conv, fc = model.parts(network, machine)
    ops = [2.0 * machine.batch * float(layers.macs[mask].sum()) for mask in (~layers.fc, layers.fc)]
    moved = [part.M * machine.bandwidth for part in (conv, fc)]
    intensity = [o / b if b else np.nan for o, b in zip(ops, moved, strict=True)] + [sum(ops) / sum(moved)] * 2
    times = [division.rigid_time(conv), division.rigid_time(fc)]
    times += [model.rigid_seconds(network, machine), model.elastic(network, machine).period]
    done = [*ops, sum(ops), sum(ops)]
    return intensity, [o / t if t else np.nan for o, t in zip(done, times, strict=True)]


def pairs() -> xr.Dataset:
    """Return the gain of two networks side by side, one batch of each, over both in turn on the rigid machine."""
    found = [
        [[[model.pair_gain(a, b, calibrated(s), level) for b in NETWORKS] for a in NETWORKS] for level in model.LEVELS]
        for s in SIDES
    ]
    return xr.Dataset(
        {"gain": variable("side level first second", found, "%", "gain of elastic over rigid")},
        {"side": list(SIDES), "level": list(model.LEVELS), "first": list(NETWORKS), "second": list(NETWORKS)},
        {"title": "Gain of pairs of networks"},
    )


def mixes() -> xr.Dataset:
    """Return the gain of AlexNet beside another network over the share of frames that are AlexNet's.

    The elastic machine needs as long as the scarcer resource for the mix, sum s C and sum s M over both networks; the
    gain is largest where both are equal: the mix sits at the ridge. Reconfiguration is left out.
    """
    shares, partners = np.linspace(0.0, 1.0, 41), [n for n in NETWORKS if n != CALIBRATED_ON]
    found = [[[mix_gain(n, float(s), calibrated(side)) for s in shares] for n in partners] for side in SIDES]
    label = {"units": "1", "long_name": "share of frames that are AlexNet's"}
    return xr.Dataset(
        {"gain": variable("side partner share", found, "%", "gain of elastic over rigid")},
        {"side": list(SIDES), "partner": list(partners), "share": ("share", shares, label)},
        {"title": "Gain of mixes with AlexNet"},
    )


def mix_gain(partner: str, share: float, machine: Machine) -> float:
    """Return the gain in % of a stream of frames, `share` of them AlexNet's and the others of one other network."""
    weighted = []
    for network, part in ((CALIBRATED_ON, share), (partner, 1 - share)):
        conv, fc = model.parts(network, machine)
        weighted.append([Part(p.array * part, p.memory * part) for p in (conv, fc)])
    conv, fc = (division.joined([pair[k] for pair in weighted]) for k in (0, 1))
    return division.gain(conv, fc)
