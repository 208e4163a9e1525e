"""The machine at hand: measured once per process, short or long, and compared."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from hetcnn import zoo
from hetcnn.host import designs, energy, study
from hetcnn.host.flow import Flow
from hetcnn.host.machine import describe
from hetcnn.host.measure import Figure, Measured, measure
from hetcnn.host.pipelines import Pipeline, run_pipeline, stages_of
from hetcnn.papers.host.comparison import Comparison

__all__ = ["energy_per_frame", "here", "last", "rates", "run_best"]

SHORT = ("squeezenet-1.1", "mobilenet-v2")
LONG = ("squeezenet-1.1", "mobilenet-v2", "googlenet", "resnet-18", "resnet-50", "alexnet")


def here(*networks: str, quick: bool = True) -> Comparison:
    """Return the comparison on this machine, measured when it is first asked for: a few networks when `quick`.

    `networks` are measured besides the usual ones.
    """
    return _measured(tuple(dict.fromkeys((*networks, *(SHORT if quick else LONG)))), quick)


@cache
def _measured(networks: tuple[str, ...], quick: bool) -> Comparison:
    sizes = (12, 2, 4, 2, 1, 0.06) if quick else (32, 3, 8, 5, 2, 0.3)
    names = ("made_up", "passes", "runs", "rounds", "neighbours", "seconds")
    found = Comparison(study.study(networks, **dict(zip(names, sizes, strict=True))))  # type: ignore[arg-type]
    _LAST[:] = [found]
    return found


_LAST: list[Comparison] = []
"""The last comparison that was measured in this process: what the live claims speak of."""


def last() -> Comparison:
    """Return the last comparison measured in this process, a short one made now where there is none."""
    return _LAST[0] if _LAST else _measured(SHORT[:1], True)


def run_best(network: str, comparison: Comparison, frames: int = 30) -> Flow:
    """Run the predicted best pipeline of two stages on this machine; one stage where there is one core."""
    model = zoo.load(network, seed=0)
    cuts = comparison.cuts(network)
    kernels, times = comparison.kernels(network), comparison.times(network)
    chosen = designs.best_split(kernels, times, cuts) if len(describe().cores) > 1 else ()
    return run_pipeline(model, stages_of(model, chosen), frames)


def energy_per_frame(network: str, comparison: Comparison) -> Figure | None:
    """Return the joules per frame of one thread, by the processor's counter; None where there is none."""
    if not energy.counters():
        return None
    model = zoo.load(network, seed=0)
    line = Pipeline(model, stages_of(model, ()))
    frames = max(3, int(0.1 / comparison.kernels(network).total))
    found = energy.energy_of(lambda: line.run(frames))
    return None if found is None else replace(found, value=found.value / frames)


@cache
def rates(*, quick: bool = True) -> Measured:
    """Return the rates of this machine: products, memory, calls; measured once per process."""
    return measure(quick=quick)
