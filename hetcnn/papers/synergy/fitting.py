"""The five fitted rates of Synergy's machine, what they were fitted on, and the error of networks that were left out.

Calibrations: the seven original Darknet rates (Fig. 9: they set the denominators), the fourteen non-pipelined speed-ups
of NEON and of the fabric (Fig. 11), and one number of Fig. 12, the mean of its FPGA column, which tells the overhead of
a job from the software. The fit uses the closed forms of `machine`; the simulation is not fitted to anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hetcnn import fit
from hetcnn.errors import unknown
from hetcnn.papers.published import number
from hetcnn.papers.synergy.machine import (
    NETWORKS,
    NOMINAL,
    Assumptions,
    Machine,
    Parameters,
    original_seconds,
    stages,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FITTED_ON", "RATES", "SHAPES", "fitted", "machine"]

Shapes = tuple[int, ...]
SHAPES: Shapes = (0,) * len(NETWORKS)
"""The nominal reconstruction of each network."""

RATES = (
    fit.Parameter("neon", 50, 500, 150, "us/step", "a NEON thread's 32 x 32 x 32 step"),
    fit.Parameter("im2col", 1, 100, 25, "ns/element", "im2col"),
    fit.Parameter("output", 5, 500, 100, "ns/element", "bias, activation and scaling of an output"),
    fit.Parameter("job", 0, 2500, 800, "us/job", "overhead of a job: hand-over, first fetch, write-back"),
    fit.Parameter("mac", 1, 30, 8, "ns/MAC", "scalar products on one core"),
)
_UNIT = np.array([1e-6, 1e-9, 1e-9, 1e-6, 1e-9])

FITTED_ON = (
    *(f"fig11.{n}.neon" for n in NETWORKS),
    *(f"fig11.{n}.fpga" for n in NETWORKS),
    *(f"fig9.{n}.original" for n in NETWORKS),
    "fig12.mean.fpga",
)


@cache
def fitted(given: Assumptions = NOMINAL, shapes: Shapes = SHAPES, left_out: str = "") -> fit.Fit:
    """Return the fit under some assumptions and shapes, without one network if `left_out` names it."""
    if left_out and left_out not in NETWORKS:
        raise unknown("benchmark of Synergy", left_out, NETWORKS)
    used = [(n, stages(n, v)) for n, v in zip(NETWORKS, shapes, strict=True) if n != left_out]
    names = [n for n, _ in used]

    def residuals(values: NDArray[np.float64]) -> NDArray[np.float64]:
        made = Machine(_rates(values), given)
        model = [made.latency(layers, given.neon_threads, 0, 0) for _, layers in used]
        model += [made.latency(layers, 0, 2, 6) for _, layers in used]
        off = np.log(np.array(model) / seconds)
        original = np.log([made.original(layers) for _, layers in used]) - np.log([original_seconds(n) for n in names])
        speedups = [
            original_seconds(n) / made.frame_bound(layers, ((0, 2, 6),), [0] * _convolutions(layers))
            for n, layers in used
        ]
        # One mean stands for as many numbers as there are networks.
        mean = np.sqrt(len(used)) * np.log(np.mean(speedups) / target)
        return np.concatenate([off, original, [mean]])

    seconds = np.array(
        [original_seconds(n) / number("synergy", f"fig11.{n}.{c}") for c in ("neon", "fpga") for n in names]
    )
    target = _fpga_mean(names)
    claims = [c for c in FITTED_ON if not left_out or f".{left_out}." not in c]
    return fit.least_squares(residuals, RATES, fitted_on=claims)


def _fpga_mean(names: Sequence[str]) -> float:
    """Fig. 12's mean FPGA speed-up; a network that is left out is taken out of the mean as well."""
    if len(names) == len(NETWORKS):
        return number("synergy", "fig12.mean.fpga")
    return float(np.mean([number("synergy", f"fig12.{n}.fpga") for n in names]))


def _convolutions(layers: Sequence[object]) -> int:
    return sum(bool(getattr(stage, "jobs", 0)) for stage in layers)


def _rates(values: Sequence[float] | NDArray[np.float64]) -> Parameters:
    return Parameters(*(np.asarray(values, float) * _UNIT).tolist())


@cache
def machine(given: Assumptions = NOMINAL, shapes: Shapes = SHAPES, left_out: str = "") -> Machine:
    """Return the machine with fitted rates, to four digits.

    The solver's last digits differ from computer to computer, and would decide which of two jobs comes first.
    """
    return Machine(_rates([float(f"{v:.4g}") for v in fitted(given, shapes, left_out).values]), given)
