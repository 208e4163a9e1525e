"""The paper's worked example of the search (ResNet-50, p. 10), the order of stages (Eq. 10), and LeNet."""

from __future__ import annotations

from functools import cache

import numpy as np
import xarray as xr

from hetcnn.papers.pipeit.layers import NETWORKS
from hetcnn.papers.pipeit.search import Step, exact_optimum, merge_stage
from hetcnn.papers.pipeit.tables import Times, layer_times
from hetcnn.papers.pipeit.times import CORES, predicted
from hetcnn.papers.published import numbers
from hetcnn.papers.results import variable

__all__ = ["last_layer", "lenet_benefit", "search_steps", "stage_order", "trace"]

STEPS = ("first_split", "first_sweep", "converged", "first_merge")
"""The moments of the search that the paper describes."""


@cache
def search_steps(network: str = "resnet50", times: Times = "predicted") -> tuple[Step, ...]:
    """Return every step of Algorithm 3 on one network."""
    steps: list[Step] = []
    merge_stage(layer_times(network, times), trace=steps)
    return tuple(steps)


def _moments(times: Times) -> dict[str, Step]:
    """Return the steps at the moments that the paper describes."""
    steps = search_steps("resnet50", times)
    actions = [s.action for s in steps]
    converged = [s for s in steps if s.action == "converged"]
    first_merge_done = next((i for i, a in enumerate(actions) if a.startswith("merge")), None)
    after = [s for s in steps[first_merge_done:] if s.action == "converged"] if first_merge_done is not None else []
    return {
        "first_split": steps[0],
        "first_sweep": steps[actions.index("sweep 1")],
        "converged": converged[0],
        **({"first_merge": after[0]} if after else {}),
    }


def last_layer(step: str, stage: int, times: Times = "predicted") -> int | None:
    """Return the last layer (from 1) of one stage at one moment of the search on ResNet-50, None if never reached."""
    moments = _moments(times)
    if step not in moments:
        return None
    return moments[step].configuration.boundaries[stage]


def trace() -> xr.Dataset:
    """Return the last layer of each stage at the moments the paper describes, ours beside the paper's."""
    stages = range(1, 6)
    ours = [[[last_layer(s, i, t) or np.nan for i in stages] for s in STEPS] for t in ("derived", "predicted")]
    theirs = [numbers("pipeit", [f"trace.{s}.{i}" for i in stages]) for s in STEPS]
    theirs[0][0] = numbers("pipeit", ["trace.first_split"])[0]
    return xr.Dataset(
        {
            "last_layer": variable("times step stage", np.array(ours, float), "layer", "last layer of the stage"),
            "published": variable("step stage", theirs, "layer", "last layer of the stage, published"),
        },
        {"times": ["derived", "predicted"], "step": list(STEPS), "stage": list(stages)},
        {"title": "Section VI: the search on ResNet-50"},
    )


def stage_order() -> str:
    """Return the kinds of stage from fast to slow by their mean whole-network time, as Eq. 10 writes it.

    Each network counts alike: times are relative to its time on four Big cores.
    """
    kinds = [(k, h) for k in "Bs" for h in CORES]
    relative = {
        s: np.mean([predicted(n).row(s).sum() / predicted(n).row(("B", 4)).sum() for n in NETWORKS]) for s in kinds
    }
    return "<".join(f"{k}{h}" for k, h in sorted(relative, key=lambda s: relative[s]))


def lenet_benefit() -> float:
    """Return the benefit in % of the best pipeline for LeNet-5 over four Big cores (regression alone)."""
    matrix = predicted("lenet-5", anchored=False)
    best = exact_optimum(matrix)
    return float(100 * (matrix.throughput(best) * matrix.row(("B", 4)).sum() - 1))
