"""Claim id -> the function that gives the model's value. The ids are those of `data/papers/hybrid/claims.toml`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from hetcnn.papers import Value
from hetcnn.papers.hybrid import resources
from hetcnn.papers.hybrid.graph import NETWORKS
from hetcnn.papers.hybrid.tables import reduction

__all__ = ["CLAIMS"]

Entry = tuple[str, Callable[[], Value]]


def _abstract() -> Iterator[Entry]:
    for network in NETWORKS:
        for k, measure in enumerate(("energy", "latency")):
            yield f"{network}.{measure}", partial(_reduction, network, k)


def _reduction(network: str, k: int) -> float:
    return reduction(network)[k]


def _reports() -> Iterator[Entry]:
    for report in resources.reports():
        name = f"dhm.{report.row}"
        for part in ("scm", "moa", "window", "registers"):
            yield f"{name}.{part}", partial(_part, report, part)
        yield f"{name}.held_out", partial(_held_out, report.row)
        yield f"{name}.design", partial(resources.design_alms, report.row)
        if report.layer is not None:
            yield f"{name}.layer", partial(_held_out, report.row)
        yield f"{name}.m20k", partial(resources.m20k_of_report, report.row)
    (in_logic,) = [r for r in resources.reports() if r.m20k == 0]
    yield f"dhm.{in_logic.row}.line_bits", partial(_part, in_logic, "line_bits")
    yield "dhm.adder.8b", lambda: float(resources.adder_alms(9, 8))
    yield "dhm.adder.16b", lambda: float(resources.adder_alms(9, 16))
    yield "dhm.multiplier.8b", lambda: float(resources.multiplier_alms(8))
    for name in ("multiplier.8b.negative", "multiplier.8b.most", "multiplier.8b.power_of_two"):
        yield f"dhm.{name}", _no_model
    yield "dhm.window.channel", _no_model
    yield "dhm.adder.clock", _no_model


def _no_model() -> None:
    return None


def _part(report: resources.Report, part: str) -> float:
    # Where the report has no M20K block, its lines are in logic: that is read, not predicted.
    return float(getattr(report.cost(resources.fitted_law(), lines_in_logic=report.m20k == 0), part))


def _held_out(row: str) -> float:
    return float(resources.held_out()[row].alms)


CLAIMS: dict[str, Callable[[], Value]] = {
    name: function for group in (_abstract, _reports) for name, function in group()
}
