"""The exercises of the notebook: `EXERCISES[n].check(answer)` says right or not yet, never the answer."""

from __future__ import annotations

from hetcnn.papers.exercises import Exercise
from hetcnn.papers.synergyflow import model
from hetcnn.papers.synergyflow.calibration import CALIBRATED_ON, at_batch, calibrated, nominal
from hetcnn.papers.synergyflow.division import Part, divide

__all__ = ["EXERCISES"]


def _toy_share() -> float:
    """The CONV part's share of the array for CONV (6 s, 1 s) beside FC (2 s, 7 s)."""
    return divide(Part([6.0], [1.0]), Part([2.0], [7.0])).array


def _batch_without_gain() -> float:
    """The smallest batch at which the elastic machine gains less than 1 % on AlexNet, on the calibrated hardware."""
    machine, batch = nominal(), 1
    while model.gain(CALIBRATED_ON, at_batch(machine, batch)) >= 1.0:
        batch += 1
    return float(batch)


def _pair_on_other_side() -> float:
    """The gain of AlexNet beside GoogLeNet on the FC-bound side."""
    return model.pair_gain("alexnet", "googlenet", calibrated("fc-bound"))


EXERCISES = {
    1: Exercise(
        "CONV needs 6 s of the array and 1 s of the memory path, FC 2 s and 7 s. "
        "Which share of the array should CONV get?",
        _toy_share,
        hint="shares follow demand",
    ),
    2: Exercise(
        "On the calibrated hardware, from which batch on does AlexNet gain less than 1 %?",
        _batch_without_gain,
        rtol=0,
        hint="synergyflow.gain('alexnet', synergyflow.at_batch(synergyflow.nominal(), 2)), and so on",
    ),
    3: Exercise(
        "On the FC-bound side, how much (%) does AlexNet beside GoogLeNet gain over both in turn?",
        _pair_on_other_side,
        hint="add up c and m of both networks; what is busy all the time now?",
    ),
}
