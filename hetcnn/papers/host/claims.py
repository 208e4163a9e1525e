"""Claim id -> the function that gives its value. The ids are those of `data/papers/host/claims.toml`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from hetcnn.host.study import NETWORKS
from hetcnn.papers import Value
from hetcnn.papers.host.comparison import Comparison, shipped
from hetcnn.papers.host.live import last

__all__ = ["CLAIMS"]

Entry = tuple[str, Callable[[], Value]]
Source = Callable[[], Comparison]


def layers_median(source: Source, form: str = "tape") -> float:
    """Return the median absolute error in % over all layers with MACs of all known networks."""
    found = source()
    return 100 * float(np.median(np.abs(np.concatenate([found.errors(n, form) for n in found.networks]))))


def layers_mean(source: Source, form: str = "tape") -> float:
    """Return the mean absolute error in %, as Table III has it."""
    found = source()
    return 100 * float(np.mean(np.abs(np.concatenate([found.errors(n, form) for n in found.networks]))))


def networks_median(source: Source) -> float:
    """Return the median over the networks of the absolute error of a whole run in %."""
    found = source()
    return 100 * float(np.median([abs(found.whole_error(n)) for n in found.networks]))


def rate_error(source: Source, network: str, design: str) -> float | None:
    """Return predicted over measured frames/s of the chosen design, in % of the measured."""
    found = source()
    run = found.chosen(network, design)
    return None if run is None else 100 * (found.predicted(run) / run.rate - 1)


def rates_median(source: Source, design: str) -> float | None:
    """Return the median over the networks of the absolute error of predicted frames/s in %; None without any run."""
    found = source()
    errors = [rate_error(source, n, design) for n in found.networks]
    known = [abs(e) for e in errors if e is not None]
    return float(np.median(known)) if known else None


def behind_median(source: Source, design: str) -> float | None:
    """Return the median over the networks of what the chosen design loses to the best measured one, in %."""
    found = source()
    known = [found.behind(n, design) for n in found.networks if found.record.runs_of(n, design)]
    return 100 * float(np.median(known)) if known else None


def _recorded() -> Iterator[Entry]:
    yield "recorded.layers.median_error", partial(layers_median, shipped)
    yield "recorded.networks.median_error", partial(networks_median, shipped)
    for n in NETWORKS:
        yield f"recorded.layers.{n}", partial(_layers_of, n)
        yield f"recorded.networks.{n}", partial(_whole_of, n)
        yield f"recorded.pipelines.{n}", partial(rate_error, shipped, n, "split")
        yield f"recorded.best_split.{n}", partial(_behind_of, n)
    yield "recorded.form.ours", partial(layers_mean, shipped)
    yield "recorded.form.paper", partial(layers_mean, shipped, "paper")
    yield "recorded.pipelines.median_error", partial(rates_median, shipped, "split")
    yield "recorded.threads.median_error", partial(rates_median, shipped, "threads")
    yield "recorded.mixed.median_error", partial(rates_median, shipped, "mixed")
    yield "recorded.mixed.best_split", partial(behind_median, shipped, "mixed")


def _layers_of(network: str) -> float:
    return 100 * float(np.median(np.abs(shipped().errors(network))))


def _whole_of(network: str) -> float:
    return 100 * shipped().whole_error(network)


def _behind_of(network: str) -> float:
    return 100 * shipped().behind(network, "split")


def _live() -> Iterator[Entry]:
    yield "live.layers.median_error", partial(layers_median, last)
    yield "live.networks.median_error", partial(networks_median, last)
    yield "live.pipelines.median_error", partial(rates_median, last, "split")
    yield "live.best_split", partial(behind_median, last, "split")


CLAIMS: dict[str, Callable[[], Value]] = {name: function for group in (_recorded, _live) for name, function in group()}
