"""Claim id -> the function that gives the model's value. The ids are those of `data/papers/synergyflow/claims.toml`."""

from __future__ import annotations

from collections.abc import Callable

from hetcnn import platform
from hetcnn.papers import Value
from hetcnn.papers.synergyflow import model
from hetcnn.papers.synergyflow.calibration import CALIBRATED_ON, nominal
from hetcnn.papers.synergyflow.figures import mean_gain
from hetcnn.papers.synergyflow.machine import BOARD, DEVICE
from hetcnn.papers.synergyflow.workload import NETWORKS

__all__ = ["CLAIMS"]


def largest_gain() -> str:
    """Return the network of the fixed set with the largest gain."""
    return max(NETWORKS, key=lambda network: model.gain(network, nominal()))


CLAIMS: dict[str, Callable[[], Value]] = {
    "abstract.clock": lambda: platform.load(BOARD).value(f"devices.{DEVICE}.clock") / 1e6,
    "abstract.alexnet.gain": lambda: model.gain(CALIBRATED_ON, nominal()),
    "abstract.mean_gain": lambda: mean_gain(nominal()),
    "abstract.largest_gain": largest_gain,
}
