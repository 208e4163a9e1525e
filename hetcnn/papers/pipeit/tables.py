"""The paper's tables as labelled data, and the designs (configuration and throughput) behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from hetcnn import fit, zoo
from hetcnn.papers.pipeit import power
from hetcnn.papers.pipeit.layers import NETWORKS, ZOO, layer_table
from hetcnn.papers.pipeit.search import (
    Configuration,
    TimeMatrix,
    design_space,
    exact_optimum,
    merge_stage,
    parse_configuration,
    pipeline_count,
)
from hetcnn.papers.pipeit.times import (
    CORES,
    FIG3,
    NOMINAL,
    Assumptions,
    LittleCore,
    big_core,
    core_parts,
    derived,
    little_core,
    multi_core,
    predicted,
    small_frames_per_second,
)
from hetcnn.papers.published import numbers, published
from hetcnn.papers.results import variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DESIGNS",
    "TIMES",
    "Design",
    "best_design",
    "equation_2",
    "layer_times",
    "node_count",
    "prediction_error",
    "table_1",
    "table_3",
    "table_4",
    "table_5",
    "table_6",
    "table_7",
    "table_8",
]

Times = Literal["derived", "predicted"]
TIMES: tuple[Times, ...] = ("derived", "predicted")
How = Literal["paper", "algorithm_3", "optimum"]
DESIGNS: tuple[How, ...] = ("paper", "algorithm_3", "optimum")
_STAGES = tuple((kind, cores) for kind in "Bs" for cores in CORES)


@dataclass(frozen=True)
class Design:
    """A configuration with the times of its stages."""

    configuration: Configuration
    stage_times: tuple[float, ...]

    @property
    def throughput(self) -> float:
        """Frames/s (Eq. 11)."""
        return 1 / max(self.stage_times)

    def stage_macs(self, network: str) -> list[tuple[str, float]]:
        """Return each stage's cluster and MACs per frame."""
        macs = layer_table(network).macs
        spans = pairwise(self.configuration.boundaries)
        return [(s.kind, float(macs[a:b].sum())) for s, (a, b) in zip(self.configuration.stages, spans, strict=True)]

    def power(self, network: str) -> float:
        """Return the active power in watts at this throughput."""
        return power.pipeline_power(self.stage_macs(network), self.throughput)


def layer_times(network: str, times: Times, given: Assumptions = NOMINAL) -> TimeMatrix:
    """Return the derived or the predicted (anchored) layer times of one network."""
    return derived(network, given) if times == "derived" else predicted(network, given)


@cache
def best_design(
    network: str, times: Times, how: How, *, big: int = 4, small: int = 4, given: Assumptions = NOMINAL
) -> Design:
    """Return the paper's own configuration (Table V or VI), Algorithm 3's result, or the exact optimum."""
    matrix = layer_times(network, times, given)
    if how == "paper":
        table = "table6" if times == "derived" else "table5"
        found = parse_configuration(str(published("pipeit")[f"{table}.{network}"]))
    else:
        found = (merge_stage if how == "algorithm_3" else exact_optimum)(matrix, big, small)
    return Design(found, tuple(matrix.stage_times(found).tolist()))


# --- Table I and Eq. 2 ---------------------------------------------------------------------------------------------


def node_count(network: str) -> int:
    """Return the nodes of the library's graph as Table I counts them.

    Every operator but concatenation, splitting, dropout and batch normalisation; grouped convolutions are one node, and
    flattening is part of a fully connected layer that follows it. The rule was found by counting (it is exact for four
    of the five networks); the paper does not print one.
    """
    graph = zoo.load(ZOO[network])
    left_out = {"Concat", "Split", "BatchNormalization", "Dropout"}
    into_fc = {t.name for layer in graph if layer.kind == "fc" for t in layer.data}
    nodes = [x for x in graph if x.op not in left_out and not (x.op == "Flatten" and x.outputs[0].name in into_fc)]
    return len(nodes) - sum(layer.op == "Split" for layer in graph)


def table_1() -> xr.Dataset:
    """Return the sizes of the networks: major layers, all nodes, kinds of major layers, MACs."""
    layers = [layer_table(n) for n in NETWORKS]
    kinds = {k: [int(t.where(k).sum()) for t in layers] for k in ("conv", "dw", "fc")}
    conv_macs = [float(t.macs[~t.where("fc")].sum()) for t in layers]
    return xr.Dataset(
        {
            "major": variable("network", [len(t) for t in layers], "layers", "major layers"),
            "nodes": variable("network", [node_count(n) for n in NETWORKS], "nodes", "nodes of the graph"),
            **{k: variable("network", v, "layers", f"major layers of kind {k}") for k, v in kinds.items()},
            "conv_macs": variable("network", conv_macs, "MAC", "MACs of convolutions"),
            "macs": variable("network", [float(t.macs.sum()) for t in layers], "MAC", "MACs of all layers"),
            "published_major": variable(
                "network", numbers("pipeit", [f"table1.{n}.major" for n in NETWORKS]), "layers", "published"
            ),
            "published_nodes": variable(
                "network", numbers("pipeit", [f"table1.{n}.nodes" for n in NETWORKS]), "nodes", "published"
            ),
        },
        {"network": list(NETWORKS)},
        {"title": "Table I: network sizes"},
    )


def equation_2() -> xr.Dataset:
    """Return the number of pipelines of each length (Eq. 1) and of design points of each network (Eq. 2)."""
    lengths = list(range(2, 9))
    return xr.Dataset(
        {
            "pipelines": variable("stages", [pipeline_count(p) for p in lengths], "pipelines", "pipelines (Eq. 1)"),
            "design_points": variable(
                "network", [design_space(len(layer_table(n))) for n in NETWORKS], "design points", "size (Eq. 2)"
            ),
        },
        {"stages": lengths, "network": list(NETWORKS)},
        {"title": "Eqs. 1 and 2: size of the design space"},
    )


# --- Table III -----------------------------------------------------------------------------------------------------


def prediction_error(network: str, stage: tuple[str, int], *, held_out: bool = False) -> float:
    """Return the mean absolute error in % of the predicted times of a network's convolutions on one stage.

    Against the derived times (the paper's measured ones are not published), not anchored. Depthwise and fully
    connected layers are left out, as in Table III.
    """
    conv = layer_table(network).where("conv")
    ours = predicted(network, anchored=False, held_out=held_out).row(stage)[conv]
    return float(100 * np.mean(np.abs(ours / derived(network).row(stage)[conv] - 1)))


def table_3() -> xr.Dataset:
    """Return the prediction errors, fitted on all networks and with the network held out, beside the paper's."""
    columns = [f"{h}{k}" for k, h in _STAGES]
    error = [[prediction_error(n, s) for s in _STAGES] for n in NETWORKS]
    held_out = [[prediction_error(n, s, held_out=True) for s in _STAGES] for n in NETWORKS]
    theirs = [numbers("pipeit", [f"table3.{n}.{c}" for c in columns]) for n in NETWORKS]
    return xr.Dataset(
        {
            "error": variable("network cores", error, "%", "mean absolute error"),
            "held_out_error": variable("network cores", held_out, "%", "mean absolute error, network held out"),
            "published": variable("network cores", theirs, "%", "mean absolute error, published", reading_error=0.05),
            "whole_network_error": variable("network", _network_errors(held_out=True), "%", "error on 4B, held out"),
        },
        {"network": list(NETWORKS), "cores": columns},
        {"title": "Table III: prediction error of convolution times"},
    )


def _network_errors(*, held_out: bool) -> list[float]:
    """Return the signed error in % of each whole network on four Big cores, not anchored."""

    def error(network: str) -> float:
        ours = predicted(network, anchored=False, held_out=held_out).row(("B", 4)).sum()
        return float(100 * (ours / derived(network).row(("B", 4)).sum() - 1))

    return [error(n) for n in NETWORKS]


def mean_prediction_error(kind: str) -> float:
    """Return the mean error in % over the networks and core counts of one cluster, weighted by convolutions."""
    weights = [float(layer_table(n).where("conv").sum()) for n in NETWORKS]
    errors = [np.mean([prediction_error(n, (kind, h)) for h in CORES]) for n in NETWORKS]
    return float(np.average(errors, weights=weights))


# --- Tables IV to VI -----------------------------------------------------------------------------------------------


def table_4() -> xr.Dataset:
    """Return throughput: four Big cores, four Small cores, and Pipe-it in three designs with two kinds of times.

    `scale` is the four-Big-core baseline that sets absolute times: Table IV's, and Fig. 3's beside it. Benefits are
    over the same scale's Big column.
    """
    scales = {"table4": NOMINAL, "fig3": FIG3}
    pipeit = np.array(
        [
            [[[best_design(n, t, d, given=g).throughput for d in DESIGNS] for t in TIMES] for n in NETWORKS]
            for g in scales.values()
        ]
    )
    big = np.array([[1 / derived(n, g).row(("B", 4)).sum() for n in NETWORKS] for g in scales.values()])
    small = np.array([[1 / derived(n, g).row(("s", 4)).sum() for n in NETWORKS] for g in scales.values()])
    theirs = np.stack([_column("pipeit_measured"), _column("pipeit")], axis=1)
    dims = "scale network times design"
    return xr.Dataset(
        {
            "big": variable("scale network", big, "frames/s", "throughput, four Big cores"),
            "small": variable("scale network", small, "frames/s", "throughput, four Small cores"),
            "pipeit": variable(dims, pipeit, "frames/s", "throughput, Pipe-it"),
            "benefit": variable(dims, 100 * (pipeit / big[..., None, None] - 1), "%", "benefit over four Big cores"),
            "published_big": variable(
                "network", _column("big"), "frames/s", "four Big cores, published", reading_error=0.05
            ),
            "published_small": variable(
                "network", _column("small"), "frames/s", "four Small cores, published", reading_error=0.05
            ),
            "published_pipeit": variable("network times", theirs, "frames/s", "Pipe-it, published", reading_error=0.05),
            "published_benefit": variable("network", _column("benefit"), "%", "benefit, published", reading_error=0.05),
        },
        {"scale": list(scales), "network": list(NETWORKS), "times": list(TIMES), "design": list(DESIGNS)},
        {"title": "Table IV: throughput"},
    )


def _column(name: str) -> NDArray[np.float64]:
    return numbers("pipeit", [f"table4.{n}.{name}" for n in NETWORKS])


def _configurations(times: Times, title: str) -> xr.Dataset:
    designs = [[best_design(n, times, d) for d in DESIGNS] for n in NETWORKS]
    stages = [[d.configuration.name for d in row] for row in designs]
    layers = [[d.configuration.layers for d in row] for row in designs]
    rate = [[d.throughput for d in row] for row in designs]
    return xr.Dataset(
        {
            "configuration": variable(
                "network design", [[str(d.configuration) for d in r] for r in designs], "configuration", "configuration"
            ),
            "pipeline": variable("network design", stages, "stages", "pipeline"),
            "layers": variable("network design", layers, "layers", "layers of each stage"),
            "throughput": variable("network design", rate, "frames/s", "throughput"),
        },
        {"network": list(NETWORKS), "design": list(DESIGNS)},
        {"title": title},
    )


def table_5() -> xr.Dataset:
    """Return the configurations found with predicted layer times: the paper's, Algorithm 3's, the optimum."""
    return _configurations("predicted", "Table V: configurations from predicted layer times")


def table_6() -> xr.Dataset:
    """Return the configurations found with derived layer times: the paper's (measured), Algorithm 3's, the optimum."""
    return _configurations("derived", "Table VI: configurations from measured layer times")


# --- Table VII -----------------------------------------------------------------------------------------------------


def table_7(big: int = 3, small: int = 2, given: Assumptions = NOMINAL) -> xr.Dataset:
    """Return throughput and configuration on another mix of cores, over all its Big cores."""
    designs = {
        (t, d): [best_design(n, t, d, big=big, small=small, given=given) for n in NETWORKS]
        for t in TIMES
        for d in DESIGNS[1:]
    }

    def array(read: Callable[[Design], float | str]) -> NDArray[np.generic]:
        return np.array([[[read(designs[t, d][i]) for d in DESIGNS[1:]] for t in TIMES] for i in range(len(NETWORKS))])

    homogeneous = {
        k: np.array([[1 / layer_times(n, t, given).row((k, c)).sum() for t in TIMES] for n in NETWORKS])
        for k, c in (("B", big), ("s", small))
    }
    rate = array(lambda d: d.throughput).astype(float)
    dims = "network times design"
    return xr.Dataset(
        {
            "big": variable("network times", homogeneous["B"], "frames/s", f"throughput, {big} Big cores"),
            "small": variable("network times", homogeneous["s"], "frames/s", f"throughput, {small} Small cores"),
            "pipeit": variable(dims, rate, "frames/s", f"throughput, Pipe-it on {big}B + {small}s"),
            "benefit": variable(
                dims, 100 * (rate / homogeneous["B"][..., None] - 1), "%", f"benefit over {big} Big cores"
            ),
            "configuration": variable(dims, array(lambda d: str(d.configuration)), "configuration", "configuration"),
        },
        {"network": list(NETWORKS), "times": list(TIMES), "design": list(DESIGNS[1:])},
        {"title": f"Table VII: {big} Big + {small} Small cores"},
    )


# --- Table VIII ----------------------------------------------------------------------------------------------------


def table_8() -> xr.Dataset:
    """Return active power and frames per joule of four Big cores, four Small cores and Pipe-it (Algorithm 3)."""
    columns = ("big", "small", "pipeit")
    watts, rate = np.empty((len(NETWORKS), 3)), np.empty((len(NETWORKS), 3))
    for i, network in enumerate(NETWORKS):
        macs = layer_table(network).macs.sum()
        design = best_design(network, "predicted", "algorithm_3")
        rate[i] = 1 / derived(network).row(("B", 4)).sum(), 1 / derived(network).row(("s", 4)).sum(), design.throughput
        on_big, on_small = (power.cluster_power(k).at(macs * power.homogeneous_rate(network, k)) for k in "Bs")
        watts[i] = on_big, on_small, design.power(network)
    theirs = {
        what: [numbers("pipeit", [f"table8.{n}.{c}.{what}" for c in columns]) for n in NETWORKS]
        for what in ("power", "efficiency")
    }
    dims = "network design"
    return xr.Dataset(
        {
            "power": variable(dims, watts, "W", "active power"),
            "efficiency": variable(dims, rate / watts, "frames/J", "frames per joule"),
            "published_power": variable(dims, theirs["power"], "W", "active power, published", reading_error=0.05),
            "published_efficiency": variable(
                dims, theirs["efficiency"], "frames/J", "frames per joule, published", reading_error=0.05
            ),
        },
        {"network": list(NETWORKS), "design": list(columns)},
        {"title": "Table VIII: power and efficiency"},
    )


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean."""
    return float(np.mean(list(values)))


def held_out_small() -> dict[str, float]:
    """Return each network's relative error on four Small cores, the A53's factor fitted on the other networks."""
    scaling, _ = multi_core()

    def train(names: Sequence[str]) -> LittleCore:
        return little_core(networks=tuple(names))[0]

    def error(little: LittleCore, network: str) -> float:
        big = core_parts(network)["B"]
        seconds = little.parts(big, big_core().arithmetic_share(big.layers)).on(4, scaling).sum()
        return float(1 / seconds / small_frames_per_second(network) - 1)

    return fit.leave_one_out(NETWORKS, train, error)
