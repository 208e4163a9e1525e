"""The exercises of the notebook, on the shipped record: `EXERCISES[n].check(answer)` says right or not yet."""

from __future__ import annotations

import numpy as np

from hetcnn.host.cut import layer_cuts
from hetcnn.papers.exercises import Exercise
from hetcnn.papers.host.comparison import shipped
from hetcnn.zoo import load

__all__ = ["EXERCISES"]


def _time_of_weights() -> float:
    """Milliseconds that reading VGG-16's fc6 takes at the memory's measured price per byte."""
    fc6 = next(line for line in shipped().major("vgg-16") if line.layer == "fc6")
    return 1e3 * fc6.time


def _cuts_of_googlenet() -> float:
    return float(len(layer_cuts(load("googlenet"))))


def _bound_of_the_best_split() -> float:
    """The highest rate that two equal cores can reach with ResNet-50's measured layers, wherever it is cut."""
    kernels = shipped().kernels("resnet-50")
    edges = np.searchsorted(kernels.positions, layer_cuts(load("resnet-50")))
    before = np.array([kernels.time[:e].sum() for e in edges])
    return float(1 / np.maximum(before, kernels.time.sum() - before).min())


EXERCISES = {
    1: Exercise(
        "How many milliseconds did VGG-16's first fully connected layer, fc6, take on the recorded machine?",
        _time_of_weights,
        rtol=0.02,
        hint="study.layers('vgg-16') has the measured times in seconds",
    ),
    2: Exercise(
        "In how many ways can GoogLeNet be cut into two stages?",
        _cuts_of_googlenet,
        rtol=0,
        hint="a cut falls before a layer with MACs, and both stages need one",
    ),
    3: Exercise(
        "Two cores, no losses: what is the highest rate (frames/s) that any cut of ResNet-50 can reach on the recorded "
        "machine, by its measured layer times?",
        _bound_of_the_best_split,
        rtol=0.01,
        hint="the slower of the two stages counts; its time is a sum of layer times, minor layers ride along",
    ),
}
