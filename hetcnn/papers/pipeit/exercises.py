"""The exercises of the notebook: `EXERCISES[n].check(answer)` says right or not yet, never the answer."""

from __future__ import annotations

from hetcnn import gemm
from hetcnn.papers.exercises import Exercise
from hetcnn.papers.pipeit.layers import layer_table
from hetcnn.papers.pipeit.search import design_space
from hetcnn.papers.pipeit.times import derived, multi_core

__all__ = ["EXERCISES"]


def _rounds_lost() -> float:
    """How much slower four cores are on a 7x7 layer than a factor of four promises."""
    tile = multi_core()[0].tile
    return float(4 * gemm.multi_core_time(1.0, 49, 4, tile=tile))


def _best_two_stage_rate() -> float:
    """AlexNet's best rate on B4-s4, by trying every split."""
    times = derived("alexnet")
    big, small = times.row(("B", 4)), times.row(("s", 4))
    return max(float(1 / max(big[:k].sum(), small[k:].sum())) for k in range(1, len(big)))


EXERCISES = {
    1: Exercise(
        "A convolution on 7 x 7 pixels runs on four cores. By which factor is it slower than a quarter of its "
        "single-core time?",
        _rounds_lost,
        hint="count the row tiles, then the rounds of four",
    ),
    2: Exercise(
        "How many design points has MobileNet on 3 Big + 2 Small cores?",
        lambda: float(design_space(len(layer_table("mobilenet")), 3, 2)),
        rtol=0,
        hint="Equation 2 with other numbers of cores",
    ),
    3: Exercise(
        "AlexNet runs on B4-s4. What is the highest rate (frames/s) that any split can reach, with derived times?",
        _best_two_stage_rate,
        rtol=0.005,
        hint="one of the fully connected layers moves to the Small cores; which one must not?",
    ),
}
