"""The exercises of the notebook: `EXERCISES[n].check(answer)` says right or not yet, never the answer."""

from __future__ import annotations

from hetcnn import zoo
from hetcnn.papers.exercises import Exercise
from hetcnn.papers.snowflake.config import machine
from hetcnn.papers.snowflake.decisions import choices
from hetcnn.papers.snowflake.plan import line_count
from hetcnn.papers.snowflake.tasks import Task, parse

__all__ = ["EXERCISES"]


def _task(network: str, name: str) -> Task:
    return next(t for t in parse(zoo.load(network)) if t.name == name)


def _stem_efficiency() -> float:
    """Share of the MACs that a whole trace of ResNet's first layer keeps busy."""
    words = _task("resnet-18", "conv1").trace
    return 100 * words / (16 * line_count(words))


def _maps_stay() -> float:
    """Megabytes of weights that conv4 moves when maps stay."""
    return choices(_task("alexnet", "conv4"), order="maps")[0].estimate.weights / 1e6


def _bandwidth_bound() -> float:
    """Ops per byte below which the board's memory is the limit."""
    return machine().peak_ops / machine().bandwidth


EXERCISES = {
    1: Exercise(
        "ResNet's first layer has 7 x 7 taps on 3 channels. Which share of the 16 MACs, in %, does a whole trace use?",
        _stem_efficiency,
        hint="a trace is one row of the kernel; it is fetched in lines of 16 words",
    ),
    2: Exercise(
        "AlexNet's conv4 (384 channels in, 256 out, 3 x 3, 13 x 13 pixels) lets its maps stay. How many MB of weights "
        "does it move?",
        _maps_stay,
        rtol=0.02,
        hint="how many tiles of whole rows does a bank of 64 KiB force, halo included? Every tile sees all kernels",
    ),
    3: Exercise(
        "Below which arithmetic intensity, in op/B, does the ZC706's memory limit this machine?",
        _bandwidth_bound,
        hint="where both roofs meet",
    ),
}
