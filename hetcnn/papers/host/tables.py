"""What was measured beside what was predicted, as labelled data; of the shipped record unless another is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hetcnn.host.designs import segment_calls, segment_times
from hetcnn.host.record import Run
from hetcnn.host.work import TERMS
from hetcnn.papers.host.comparison import Comparison, shipped
from hetcnn.papers.results import variable

__all__ = [
    "DESIGNS",
    "best_splits",
    "by_algorithm",
    "designs",
    "layer_errors",
    "layers",
    "mixed",
    "prices",
    "splits",
    "together",
]

FORMS = ("tape", "paper")
DESIGNS = ("single", "split", "threads", "replicas")


def layers(network: str, comparison: Comparison | None = None) -> xr.Dataset:
    """Return every layer with MACs of a network: measured and predicted time, operations and compulsory bytes."""
    found = comparison or shipped()
    lines, kernels = found.major(network), found.kernels(network)
    algorithms = [", ".join(dict.fromkeys(kernels.algorithms[i] for i in line.kernels)) for line in lines]
    spread = [float(np.sqrt(np.mean(kernels.spread[list(line.kernels)] ** 2))) for line in lines]
    measured = np.array([line.time for line in lines])
    return xr.Dataset(
        {
            "measured": variable("layer", measured, "s", "measured time, one thread"),
            "measured_error": variable("layer", spread * measured, "s", "uncertainty of the measured time"),
            "tape": variable("layer", found.tape.line_times(kernels, lines), "s", "predicted from the engine's calls"),
            "paper": variable("layer", found.paper.line_times(lines), "s", "predicted by the paper's form"),
            "ops": variable("layer", [line.ops for line in lines], "ops", "operations, two per MAC"),
            "bytes": variable("layer", [line.bytes for line in lines], "B", "weights, input and output, each once"),
            "kind": variable("layer", [line.kind for line in lines], "kind", "kind of layer"),
            "algorithm": variable("layer", algorithms, "algorithm", "what the engine runs"),
        },
        {"layer": [line.layer for line in lines]},
        {"title": f"{network}: layer times"},
    )


def layer_errors(comparison: Comparison | None = None) -> xr.Dataset:
    """Return the errors of both predictors on layers that no fit has seen, in the form of Pipe-it's Table III."""
    found = comparison or shipped()
    errors = {form: [100 * np.abs(found.errors(n, form)) for n in found.networks] for form in FORMS}
    table = np.array([[errors[form][i] for form in FORMS] for i in range(len(found.networks))], dtype=object)
    middle = [[float(np.median(cell)) for cell in row] for row in table]
    mean = [[float(np.mean(cell)) for cell in row] for row in table]
    whole = [100 * found.whole_error(n) for n in found.networks]
    counts = [len(found.major(n)) for n in found.networks]
    return xr.Dataset(
        {
            "median_error": variable("network form", middle, "%", "median absolute error of layer times"),
            "mean_error": variable("network form", mean, "%", "mean absolute error of layer times"),
            "whole_error": variable("network", whole, "%", "error of the whole network, tape form"),
            "layers": variable("network", counts, "layers", "layers with MACs"),
            "all_layers": variable(
                "form",
                [float(np.median(np.concatenate(errors[form]))) for form in FORMS],
                "%",
                "median absolute error over all layers of all networks",
            ),
        },
        {"network": list(found.networks), "form": list(FORMS)},
        {"title": "Errors of layer times on networks that no fit has seen, one thread"},
    )


def prices(comparison: Comparison | None = None) -> xr.Dataset:
    """Return what each term costs for each algorithm: the common price first."""
    found = comparison or shipped()
    rows = {"common": found.tape.common, **found.tape.own}
    unit = "s per unit of the term"
    table = np.array([rows[name] for name in rows])
    return xr.Dataset(
        {"price": variable("algorithm term", table, unit, "price")},
        {"algorithm": list(rows), "term": list(TERMS)},
        {"title": "Prices of the predictor's terms"},
    )


def together(comparison: Comparison | None = None) -> xr.Dataset:
    """Return the five numbers that say how work gets slower when cores share the machine."""
    fitted = (comparison or shipped()).together.fitted
    parameters = fitted.parameters if fitted else ()
    return xr.Dataset(
        {
            "value": variable("parameter", list(fitted.values) if fitted else [], "see unit", "fitted value"),
            "unit": variable("parameter", [p.unit for p in parameters], "text", "unit"),
            "bound": variable(
                "parameter",
                ["at its bound" if fitted and p.name in fitted.at_bounds() else "" for p in parameters],
                "text",
                "whether the bound decides, not the data",
            ),
            "meaning": variable("parameter", [p.meaning for p in parameters], "text", "meaning"),
        },
        {"parameter": [p.name for p in parameters]},
        {"title": "Cores that work together"},
    )


def designs(comparison: Comparison | None = None) -> xr.Dataset:
    """Return predicted and measured frames/s of whole networks, of the chosen split, of threads and of replicas."""
    found = comparison or shipped()
    runs = [[found.chosen(n, d) for d in DESIGNS] for n in found.networks]
    return _rates(found, runs, list(found.networks), list(DESIGNS), "Designs on two cores, frames/s")


def _rates(
    found: Comparison, runs: list[list[Run | None]], networks: list[str], names: list[str], title: str
) -> xr.Dataset:
    shape = len(networks), len(names)

    def table(read: Callable[[Run], float]) -> NDArray[np.float64]:
        return np.array([[float("nan") if run is None else read(run) for run in row] for row in runs]).reshape(shape)

    words = [["" if run is None else "-".join(map(str, run.cuts)) for run in row] for row in runs]
    cut = np.array(words, dtype=str).reshape(shape)
    return xr.Dataset(
        {
            "predicted": variable("network design", table(found.predicted), "frames/s", "predicted throughput"),
            "measured": variable("network design", table(lambda r: r.rate), "frames/s", "measured throughput"),
            "measured_error": variable(
                "network design",
                table(lambda r: r.spread * r.rate),
                "frames/s",
                "uncertainty of the measured throughput",
            ),
            "error": variable(
                "network design",
                table(lambda r: 100 * (found.predicted(r) / r.rate - 1)),
                "%",
                "predicted over measured",
            ),
            "own_time": variable(
                "network design",
                table(lambda r: 1 / r.busy),
                "frames/s",
                "throughput by the processor time of the slowest stage, which other programs do not lengthen",
            ),
            "undisturbed": variable("network design", table(lambda r: r.rounds), "runs", "runs that nobody disturbed"),
            "cuts": variable("network design", cut, "layer", "indices of the layers behind each cut"),
        },
        {"network": networks, "design": names},
        {"title": title},
    )


def splits(network: str, comparison: Comparison | None = None) -> xr.Dataset:
    """Return every split that was measured of one network: the predicted best one and its neighbours."""
    found = comparison or shipped()
    found.kernels(network)
    runs = sorted(found.record.runs_of(network, "split"), key=lambda run: run.cuts)
    rate = np.array([run.rate for run in runs])
    return xr.Dataset(
        {
            "predicted": variable("cut", [found.predicted(r) for r in runs], "frames/s", "predicted throughput"),
            "measured": variable("cut", rate, "frames/s", "measured throughput"),
            "measured_error": variable("cut", [r.spread * r.rate for r in runs], "frames/s", "uncertainty"),
            "predicted_latency": variable("cut", [_latency(found, r) for r in runs], "s", "predicted latency"),
            "measured_latency": variable("cut", [r.latency for r in runs], "s", "measured latency"),
        },
        {"cut": [found.layer(network, run.cuts[0]) for run in runs]},
        {"title": f"{network} in two stages, by the layer that the second begins with"},
    )


def _latency(found: Comparison, run: Run) -> float:
    kernels = found.kernels(run.network)
    stages = segment_times(kernels, found.times(run.network), run.cuts)
    return found.together.latency(stages, calls=segment_calls(kernels, run.cuts))


def best_splits(comparison: Comparison | None = None) -> xr.Dataset:
    """Return how far the predicted best split of each network stays behind the best of all that were measured."""
    found = comparison or shipped()
    chosen = [found.chosen(n, "split") for n in found.networks]
    best = [max(found.record.runs_of(n, "split"), key=lambda r: r.rate, default=None) for n in found.networks]
    behind = [100 * found.behind(n, "split") for n in found.networks]

    def cut(runs: Sequence[Run | None]) -> list[str]:
        return ["" if run is None else found.layer(run.network, run.cuts[0]) for run in runs]

    gain = [_gain(found, n, run) for n, run in zip(found.networks, chosen, strict=True)]
    return xr.Dataset(
        {
            "behind": variable("network", behind, "%", "predicted best split behind the best measured one"),
            "predicted_cut": variable("network", cut(chosen), "layer", "first layer of the second stage, predicted"),
            "measured_cut": variable("network", cut(best), "layer", "first layer of the second stage, best measured"),
            "gain": variable("network", gain, "x", "the predicted best split over one thread, measured"),
        },
        {"network": list(found.networks)},
        {"title": "The predicted best split against all that were measured"},
    )


def _gain(found: Comparison, network: str, run: Run | None) -> float:
    single = next(iter(found.record.runs_of(network, "single")), None)
    return float("nan") if run is None or single is None else run.rate / single.rate


MIXED = ("numpy", "onnxruntime", "chosen")


def mixed(comparison: Comparison | None = None) -> xr.Dataset:
    """Return both engines alone and the chosen design of the two together, predicted and measured."""
    found = comparison or shipped()
    names = [n for n in found.networks if found.record.runs_of(n, "mixed")]
    runs = [[*_alone(found, n), found.chosen(n, "mixed")] for n in names]
    table = _rates(found, runs, names, list(MIXED), "NumPy engine and ONNX Runtime, one core each, frames/s")
    engines = ["-".join(row[-1].engines) if row[-1] else "" for row in runs]
    behind = [100 * found.behind(n, "mixed") for n in names]
    return table.assign(
        engines=variable("network", engines, "engines", "engines of the chosen design, in order"),
        behind=variable("network", behind, "%", "chosen design behind the best measured one"),
    )


def _alone(found: Comparison, network: str) -> list[Run | None]:
    runs = found.record.runs_of(network, "mixed")
    return [next((r for r in runs if r.engines == (kind,)), None) for kind in MIXED[:2]]


def by_algorithm(comparison: Comparison | None = None) -> xr.Dataset:
    """Return the predictor's error on the kernels of each algorithm in all known networks, and their share of time."""
    found = comparison or shipped()
    rows: dict[str, list[tuple[float, float]]] = {}
    for network in found.networks:
        kernels = found.kernels(network)
        for algorithm, p, t in zip(kernels.algorithms, found.times(network), kernels.time, strict=True):
            rows.setdefault(algorithm, []).append((float(p), float(t)))
    total = sum(t for pairs in rows.values() for _, t in pairs)
    error = [float(np.median([abs(p / t - 1) for p, t in pairs])) * 100 for pairs in rows.values()]
    share = [100 * sum(t for _, t in pairs) / total for pairs in rows.values()]
    count = [len(pairs) for pairs in rows.values()]
    return xr.Dataset(
        {
            "error": variable("algorithm", error, "%", "median absolute error of kernel times"),
            "share": variable("algorithm", share, "%", "share of all networks' time"),
            "kernels": variable("algorithm", count, "kernels", "kernels"),
        },
        {"algorithm": list(rows)},
        {"title": "Errors by algorithm"},
    ).sortby("share", ascending=False)
