"""The exercises of the notebook: `EXERCISES[n].check(answer)` says right or not yet, never the answer."""

from __future__ import annotations

from hetcnn.papers.exercises import Exercise
from hetcnn.papers.synergy.designs import Design, run
from hetcnn.papers.synergy.fitting import machine
from hetcnn.papers.synergy.machine import stages

__all__ = ["EXERCISES"]


def _steps_of_the_second_convolution() -> float:
    """Steps of a frame in MNIST's second convolution."""
    second = [s for s in stages("mnist") if s.jobs][1]
    return float(second.jobs * second.steps)


def _greatest_static_rate() -> float:
    """Steps per second of six F-PEs that never wait, overheads aside."""
    return 6 / machine().f_pe


def _gain_of_stealing() -> float:
    """Gain in % of stealing over the static default for CIFAR_Alex."""
    rates = [run(machine(), "cifar_alex", Design(stealing=s)).rate for s in (True, False)]
    return 100 * (rates[0] / rates[1] - 1)


EXERCISES = {
    1: Exercise(
        "How many steps are all jobs together of MNIST's second convolution (14 x 14 pixels, 5 x 5 taps of 32 maps, "
        "64 maps out)?",
        _steps_of_the_second_convolution,
        rtol=0,
        hint="N, K and M of the product, each cut into tiles of 32 and rounded up",
    ),
    2: Exercise(
        "How many steps per second do six F-PEs do that never wait, with an initiation interval of 16 and no overhead?",
        _greatest_static_rate,
        hint="a step is 32 x 32 times the interval, at 100 MHz",
    ),
    3: Exercise(
        "By how many per cent does stealing raise CIFAR_Alex's throughput over the static default? Use the explorer's "
        "numbers.",
        _gain_of_stealing,
        rtol=0.05,
        hint="two runs of the same clusters, stealing off and on",
    ),
}
