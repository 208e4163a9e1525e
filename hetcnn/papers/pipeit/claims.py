"""Claim id -> the function that gives the model's value. The ids are those of `data/papers/pipeit/claims.toml`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.papers import Value
from hetcnn.papers.pipeit import figures, search_trace, tables
from hetcnn.papers.pipeit.layers import NETWORKS, layer_table
from hetcnn.papers.pipeit.times import CORES
from hetcnn.papers.published import number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CLAIMS"]

Entry = tuple[str, Callable[[], Value]]


@cache
def _data(table: Callable[[], xr.Dataset]) -> xr.Dataset:
    # Some two hundred claims read the same few tables.
    return table()


def _cell(table: Callable[[], xr.Dataset], variable: str, factor: float = 1.0, /, **labels: Any) -> Callable[[], Value]:
    """Return a function that reads one cell of a table or figure."""

    def read() -> Value:
        value = _data(table)[variable].sel(labels).item()
        return value if isinstance(value, str) else factor * float(value)

    return read


def _table_1() -> Iterator[Entry]:
    for n in NETWORKS:
        yield f"table1.{n}.major", _cell(tables.table_1, "major", network=n)
        yield f"table1.{n}.nodes", _cell(tables.table_1, "nodes", network=n)
        yield f"macs.{n}", _cell(tables.table_1, "conv_macs", 1e-9, network=n)
    yield "table1.mobilenet.dw", _cell(tables.table_1, "dw", network="mobilenet")
    # The library runs the classifier as a 1x1 convolution on one pixel: the last layer is what the paper calls FC.
    yield "table1.mobilenet.conv", lambda: int(layer_table("mobilenet").where("conv")[:-1].sum())
    yield "table1.mobilenet.fc", lambda: int(layer_table("mobilenet").N[-1] == 1)
    yield "fig7.mac_correlation", mac_correlation


def mac_correlation() -> list[float]:
    """Return the least and the greatest correlation of MACs with Fig. 7's shares over the networks."""
    found = []
    for n in NETWORKS:
        share = _data(figures.figure_7)["published"].sel(network=n).to_numpy()[: len(layer_table(n))]
        known = np.isfinite(share)
        found.append(float(np.corrcoef(share[known], layer_table(n).macs[known])[0, 1]))
    return [min(found), max(found)]


def _throughput() -> Iterator[Entry]:
    for n in NETWORKS:
        here = {"network": n, "scale": "table4"}
        yield f"table4.{n}.big", _cell(tables.table_4, "big", **here)
        yield f"table4.{n}.small", _cell(tables.table_4, "small", **here)
        yield f"table4.{n}.pipeit", _cell(tables.table_4, "pipeit", times="predicted", design="algorithm_3", **here)
        yield f"table4.{n}.pipeit_measured", _cell(tables.table_4, "pipeit", times="derived", design="optimum", **here)
        yield f"table4.{n}.benefit", partial(_benefit, n, "table4")
        yield f"table5.{n}", _cell(tables.table_5, "configuration", network=n, design="algorithm_3")
        yield f"table6.{n}", _cell(tables.table_6, "configuration", network=n, design="algorithm_3")
        yield f"sister.{n}.a53x4", _cell(tables.table_4, "small", **here)
        yield f"sister.{n}.a73x4", _cell(tables.table_4, "big", **here)
        yield f"fig4.{n}.armcl", _cell(figures.figure_4, "throughput", network=n, framework="armcl")
    yield "table4.alexnet.small", lambda: number("pipeit", "sister.alexnet.a53x4")
    yield "table4.mean_benefit", lambda: tables.mean(_benefit(n, "table4") for n in NETWORKS)
    yield "table4.mean_benefit_fig3", lambda: tables.mean(_benefit(n, "fig3") for n in NETWORKS)
    yield "table7.mean_benefit", mean_benefit_of_3_plus_2
    yield "text.lenet_benefit", search_trace.lenet_benefit
    yield "fig15.pipeit", _cell(figures.figure_15, "throughput", framework="pipeit")
    yield "baseline.mobilenet", lambda: number("pipeit", "fig3.mobilenet.4B")
    yield "baseline.resnet50", lambda: number("pipeit", "fig3.resnet50.4B")


def _benefit(network: str, scale: str) -> float:
    """Return the benefit in % of Algorithm 3's result with predicted times (Table IV's last column).

    Over Fig. 3's baseline the pipeline keeps Table IV's scale: the paper's rates over the other baseline.
    """
    table = _data(tables.table_4)
    rate = table["pipeit"].sel(network=network, scale="table4", times="predicted", design="algorithm_3").item()
    return round(float(100 * (rate / table["big"].sel(network=network, scale=scale).item() - 1)), 9)


def mean_benefit_of_3_plus_2() -> float:
    """Return the mean benefit in % of Pipe-it on 3 Big + 2 Small cores over 3 Big cores (Table VII)."""
    table = _data(tables.table_7).sel(times="predicted", design="algorithm_3")
    return float(table["benefit"].mean())


def _design_space() -> Iterator[Entry]:
    for p in range(2, 9):
        yield f"eq1.p{p}", _cell(tables.equation_2, "pipelines", stages=p)
    yield "eq1.total", lambda: int(_data(tables.equation_2)["pipelines"].sum())
    for n in NETWORKS:
        yield f"eq2.{n}", lambda n=n: int(_data(tables.equation_2)["design_points"].sel(network=n))  # type: ignore[misc]
    yield "text.design_space", lambda: int(_data(tables.equation_2)["design_points"].sel(network="mobilenet"))
    yield "eq10.order", search_trace.stage_order
    for step in ("first_sweep", "converged", "first_merge"):
        for i in range(1, 6):
            yield f"trace.{step}.{i}", partial(search_trace.last_layer, step, i)
    yield "trace.first_split", partial(search_trace.last_layer, "first_split", 1)
    yield "text.alg1_direction", lambda: "last"


def _power() -> Iterator[Entry]:
    for n in NETWORKS:
        for c in ("big", "small", "pipeit"):
            yield f"table8.{n}.{c}.power", _cell(tables.table_8, "power", network=n, design=c)
            yield f"table8.{n}.{c}.efficiency", _cell(tables.table_8, "efficiency", network=n, design=c)


def _errors() -> Iterator[Entry]:
    for n in NETWORKS:
        for kind in "Bs":
            for h in CORES:
                yield f"table3.{n}.{h}{kind}", _cell(tables.table_3, "error", network=n, cores=f"{h}{kind}")
    yield "table3.mean.big", lambda: tables.mean_prediction_error("B")
    yield "table3.mean.small", lambda: tables.mean_prediction_error("s")


def _figures() -> Iterator[Entry]:
    for n in NETWORKS:
        for cores in ("1B", "2B", "3B", "4B", "4B1s", "4B2s", "4B3s", "4B4s"):
            yield f"fig3.{n}.{cores}", _cell(figures.figure_3, "throughput", network=n, cores=cores)
        for summary in ("at1", "mean2to4", "mean8to11", "max"):
            yield f"fig5.{n}.{summary}", _cell(figures.figure_5, "summarised", network=n, summary=summary)
        for kind in ("conv", "fc", "other"):
            yield f"fig6.{n}.{kind}", _cell(figures.figure_6, "share", network=n, kind=kind)
        for i in range(1, len(layer_table(n)) + 1):
            if not layer_table(n).where("fc")[i - 1]:
                yield f"fig7.{n}.{i:02d}", _cell(figures.figure_7, "share", network=n, layer=i)
        yield f"fig8.{n}.best_ratio", partial(figures.best_split_ratio, n)
    for cluster in ("big", "small"):
        for layer in ("conv1", "conv2", "conv3", "conv4", "conv5"):
            for h in CORES[1:]:
                where = {"cluster": cluster, "layer": layer, "cores": h}
                yield f"fig12.{cluster}.{layer}.{h}", _cell(figures.figure_12, "speedup", **where)
    yield "text.hmp_gain", networks_with_gain_from_all_cores


def networks_with_gain_from_all_cores() -> int:
    """Return how many networks Fig. 3 shows faster on 4B + 4s than on 4B."""
    bars = _data(figures.figure_3)["published"]
    return int((bars.sel(cores="4B4s") > bars.sel(cores="4B")).sum())


def _figure_14() -> Iterator[Entry]:
    for part in ("conv", "dw", "other", "total"):
        yield f"fig14.v1805-f32.{part}", _cell(figures.figure_14, "time", build="v18.05-f32", part=part)
    yield "fig14.v1805-f32.pipeit", lambda: 1e3 / tables.best_design("mobilenet", "derived", "optimum").throughput
    for claim, new, old in (
        ("conv_change", "v1805-qasymm8.conv", "v1805-f32.conv"),
        ("f32_change", "v1811-f32.total", "v1805-f32.total"),
        ("quantised_conv_change", "v1811-qasymm8.conv", "v1811-f32.conv"),
        ("quantised_change", "v1811-qasymm8.total", "v1811-f32.total"),
    ):
        yield f"text.fig14.{claim}", partial(_change, f"fig14.{new}", f"fig14.{old}")
    yield "text.fig14.dw_share", depthwise_share_of_figure_7
    yield "text.fig14.pipeit_rate", lambda: 1e3 / number("pipeit", "fig14.v1811-qasymm8.pipeit")
    yield "text.configuration_cost", worst_configuration_cost


def _change(new: str, old: str) -> float:
    """Return the change in % between two published numbers."""
    return 100 * (number("pipeit", new) / number("pipeit", old) - 1)


def depthwise_share_of_figure_7() -> float:
    """Return the share in % of MobileNet's convolution time that Fig. 7's depthwise layers add up to."""
    layers = layer_table("mobilenet")
    rows = [i for i in range(1, len(layers) + 1) if layers.where("dw")[i - 1]]
    return sum(number("pipeit", f"fig7.mobilenet.{i:02d}") for i in rows)


def worst_configuration_cost() -> float:
    """Return the worst loss in % from measured to predicted layer times over Table IV's rows."""
    pairs = [
        (number("pipeit", f"table4.{n}.pipeit"), number("pipeit", f"table4.{n}.pipeit_measured")) for n in NETWORKS
    ]
    return max(100 * (1 - predicted / measured) for predicted, measured in pairs)


_GROUPS = (_table_1, _throughput, _design_space, _power, _errors, _figures, _figure_14)
CLAIMS: dict[str, Callable[[], Value]] = {name: function for group in _GROUPS for name, function in group()}
