"""Claim id -> the function that gives the model's value. The ids are those of `data/papers/synergy/claims.toml`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.papers import Value
from hetcnn.papers.published import number
from hetcnn.papers.synergy import figures, power, tables
from hetcnn.papers.synergy.machine import NETWORKS

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CLAIMS"]

Entry = tuple[str, Callable[[], Value]]


@cache
def _data(table: Callable[[], xr.Dataset]) -> xr.Dataset:
    # Some two hundred claims read the same few tables.
    return table()


def _cell(table: Callable[[], xr.Dataset], name: str, /, **labels: Any) -> Callable[[], Value]:
    """Return a function that reads one cell of a table or figure."""

    def read() -> Value:
        value = _data(table)[name].sel(labels).item()
        return value if isinstance(value, str) else float(value)

    return read


def _over(table: Callable[[], xr.Dataset], name: str, how: Callable[[Any], Any]) -> Callable[[], Value]:
    """Return a function that sums up a variable over the networks."""
    return lambda: float(how(_data(table)[name].to_numpy()))


def _networks() -> Iterator[Entry]:
    for n in NETWORKS:
        yield f"table2.{n}.conv", _cell(tables.table_2, "conv", network=n)
        yield f"table2.{n}.layers", _cell(tables.table_2, "layers", network=n)
        yield f"work.{n}", _cell(tables.table_2, "work", network=n)


def _speedups() -> Iterator[Entry]:
    for n in NETWORKS:
        yield f"fig9.{n}.original", _cell(figures.figure_9, "original", network=n)
        yield f"fig9.{n}.synergy", _cell(figures.figure_9, "throughput", network=n)
        yield f"fig9.{n}.speedup", _cell(figures.figure_9, "speedup", network=n)
        for e in figures.ENGINES:
            yield f"fig11.{n}.{e}", _cell(figures.figure_11, "speedup", network=n, engines=e)
            yield f"fig12.{n}.{e}", _cell(figures.figure_12, "speedup", network=n, engines=e)
        for d in ("sf", "sc", "synergy"):
            yield f"fig13.{n}.{d}", _cell(figures.figure_13, "speedup", network=n, design=d)
        yield f"table5.{n}", _cell(tables.table_5, "clusters", network=n)
    for e in figures.ENGINES:
        yield f"fig11.mean.{e}", _cell(figures.figure_11, "mean", engines=e)
        yield f"fig12.mean.{e}", _cell(figures.figure_12, "mean", engines=e)
    yield "text.mean_speedup", _cell(figures.figure_12, "mean", engines="het")
    yield "text.lowest_rate", _over(figures.figure_9, "throughput", np.min)
    yield "text.highest_rate", _over(figures.figure_9, "throughput", np.max)
    yield "text.mean_utilisation", _cell(tables.table_6, "mean", design="synergy")
    for what, figure in (("latency", figures.figure_11), ("throughput", figures.figure_12)):
        yield f"text.het_over_fpga.{what}.mean", partial(het_over_fpga, figure, np.mean)
        yield f"text.het_over_fpga.{what}.max", partial(het_over_fpga, figure, np.max)
    yield "text.gain_over_sf", _cell(figures.figure_13, "gain", over="sf")
    yield "text.gain_over_sc", _cell(figures.figure_13, "gain", over="sc")
    yield "text.sf_mean", published_sf_mean


def het_over_fpga(figure: Callable[[], xr.Dataset], how: Callable[[Any], Any]) -> float:
    """Return the mean or the greatest gain in % of all engines over CPU + FPGA."""
    gain = _data(figure)["speedup"]
    return float(how((100 * (gain.sel(engines="het") / gain.sel(engines="fpga") - 1)).to_numpy()))


def published_sf_mean() -> float:
    """Return the mean of Fig. 13's seven SF speed-ups, as published."""
    return float(np.mean([number("synergy", f"fig13.{n}.sf") for n in NETWORKS]))


def _energy() -> Iterator[Entry]:
    for n in NETWORKS:
        for rail in power.RAILS:
            yield f"fig10.{n}.{rail}", _cell(figures.figure_10, "power", network=n, rail=rail)
        yield f"fig10.{n}.total", _cell(figures.figure_10, "total", network=n)
        for column in (
            "original",
            "synergy",
            "reduction",
            "original_gops_per_watt",
            "efficiency_gain",
        ):
            yield f"table3.{n}.{column}", _cell(tables.table_3, column, network=n)
        efficiency = _cell(tables.table_3, "synergy_gops_per_watt", network=n)
        if n in ("cifar_darknet", "mpcnn"):  # the rows that the shift leaves alone
            yield f"table3.{n}.synergy_gops_per_watt", efficiency
        else:
            yield f"table3.{n}.synergy_gops_per_watt", partial(printed_efficiency, n)
            yield f"table3.{n}.corrected_gops_per_watt", efficiency
        if n not in tables.TABLE4:
            yield f"fig9.{n}.gops", _cell(figures.figure_9, "gops", network=n)
    yield "table3.mean_reduction", _cell(tables.table_3, "mean_reduction")
    yield "text.mean_efficiency_gain", _over(tables.table_3, "efficiency_gain", np.mean)
    yield "text.lowest_energy", _over(tables.table_3, "synergy", np.min)
    yield "text.highest_energy", _over(tables.table_3, "synergy", np.max)
    yield "text.mean_power", _over(figures.figure_10, "total", np.mean)
    yield "text.fpga_share", fpga_share
    yield "text.original_power", lambda: float(np.mean(tables.original_power()))
    yield "text.power_increase", power_increase
    # Fig. 10's power over Fig. 9's rate is on file as published; this is what Table 3 prints instead.
    yield "fig10.cifar_alex_plus.closure", lambda: number("synergy", "table3.cifar_alex_plus.synergy")
    yield "text.original_is_cpu_neon", lambda: "single-threaded Darknet"


def printed_efficiency(name: str) -> float:
    """Return Synergy's Gop/s/W by Table 3's other columns: the original's times the printed gain.

    >>> round(printed_efficiency("mnist"), 2)          # 0.20 x 4.96; the row prints 0.78
    0.99
    """
    original, gain = (number("synergy", f"table3.{name}.{k}") for k in ("original_gops_per_watt", "efficiency_gain"))
    return original * gain


def fpga_share() -> float:
    """Return the fabric's share of the mean power in %."""
    watts = _data(figures.figure_10)["power"].mean("network")
    return float(100 * watts.sel(rail="fpga") / watts.sum())


def power_increase() -> float:
    """Return how much more power in % Synergy takes than the original."""
    mean = float(_data(figures.figure_10)["total"].mean())
    return 100 * (mean / number("synergy", "text.original_power") - 1)


def _table_4() -> Iterator[Entry]:
    for n in tables.TABLE4:
        for column in ("latency", "rate", "gops", "energy"):
            yield f"table4.{n}.{column}", _cell(tables.table_4, column, network=n)
    for n in ("mnist", "mpcnn"):
        yield f"text.over_fpgaconvnet.{n}", _cell(tables.table_4, "over_fpgaconvnet", rival_network=n)


_GROUPS = (_networks, _speedups, _energy, _table_4)
CLAIMS: dict[str, Callable[[], Value]] = {name: function for group in _GROUPS for name, function in group()}
