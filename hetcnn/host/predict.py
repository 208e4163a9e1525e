"""Two predictors of layer times: the paper's polynomial in a layer's dimensions, and one of what the engine does.

The paper (Pipe-it, Eq. 5) fits one polynomial in N, K and M to all convolutions. Here the engine has five ways to run a
convolution, and each is a list of NumPy calls known beforehand, so `TapeModel` prices what is on the list: per call,
per float copied or passed over, Eq. 5's terms per *matrix product* with one set for small, large and vector products,
and per byte that comes from afar, before a kernel or in the midst of it. One set of prices is fitted to all kernels;
each algorithm's own set stays near it where it has little data of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hetcnn import fit, gemm
from hetcnn.errors import HetcnnError
from hetcnn.host.layers import Kernels, Line

__all__ = ["PaperModel", "Settings", "TapeModel", "fit_paper", "fit_tape"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """The three choices of the fit that nothing measured decides.

    `strength`: weight of the common prices in an algorithm's own, as so many kernels in which a term has its usual
    share. `robust`: relative error from which a kernel pulls no harder; a few are slow for reasons that no term knows.
    `least`: kernels from which an algorithm has prices of its own.
    """

    strength: float = 0.3
    robust: float = 0.1
    least: int = 8


@dataclass(frozen=True)
class TapeModel:
    """Seconds per unit of each of `work.TERMS`: common prices, and those of algorithms with enough data."""

    common: FloatArray
    own: Mapping[str, FloatArray] = field(default_factory=dict)
    points: int = 0

    def prices(self, algorithm: str) -> FloatArray:
        """The prices that hold for an algorithm."""
        return self.own.get(algorithm, self.common)

    def kernel_times(self, kernels: Kernels) -> FloatArray:
        """Return the predicted seconds of each kernel on one thread."""
        pairs = zip(kernels.algorithms, kernels.work, strict=True)
        return np.array([float(self.prices(algorithm) @ row) for algorithm, row in pairs])

    def line_times(self, kernels: Kernels, lines: Sequence[Line]) -> FloatArray:
        """Return the predicted seconds of each layer."""
        times = self.kernel_times(kernels)
        return np.array([times[list(line.kernels)].sum() for line in lines])


def fit_tape(measured: Sequence[Kernels], settings: Settings | None = None) -> TapeModel:
    """Fit the prices to measured kernels; relative errors, large ones linearly (see `fit.nonnegative_towards`).

    A kernel counts by its share of its network's time, and a network as often as it has kernels: an error of a kernel
    that takes long is one of the whole network.
    """
    chosen = settings or Settings()
    if not measured:
        raise HetcnnError("0 networks to learn from; give at least one with measured times")
    work = np.concatenate([k.work for k in measured])
    times = np.maximum(np.concatenate([k.time for k in measured]), 1e-7)
    counts = np.concatenate([k.time / k.time.mean() for k in measured])
    algorithms = np.array([a for k in measured for a in k.algorithms])
    common = fit.nonnegative_towards(work, times, counts=counts, robust=chosen.robust)
    squares = counts[:, None] * (work / times[:, None]) ** 2
    usual = np.sqrt(np.mean(squares, axis=0))
    own = {}
    for name in sorted(set(algorithms)):
        mine = algorithms == name
        if mine.sum() >= chosen.least:
            weight = chosen.strength**0.5 * np.maximum(usual, np.sqrt(np.mean(squares[mine], axis=0)))
            mine_alone = {"counts": counts[mine], "robust": chosen.robust}
            own[name] = fit.nonnegative_towards(work[mine], times[mine], common, weight, **mine_alone)
    return TapeModel(common, own, len(times))


@dataclass(frozen=True)
class PaperModel:
    """Pipe-it's predictor: Eq. 5 for convolutions and, apart, for depthwise ones; FC time linear in the weights."""

    conv: FloatArray
    dw: FloatArray
    fc: FloatArray

    def line_times(self, lines: Sequence[Line]) -> FloatArray:
        """Return the predicted seconds of each layer with MACs; NaN for others, of which the paper says nothing."""
        return np.array([self._time(line) for line in lines])

    def _time(self, line: Line) -> float:
        if line.kind == "fc":
            return float(self.fc @ [line.K * line.M, 1.0])
        if not line.kind:
            return float("nan")
        return float(gemm.single_core_time(line.N, line.K, line.M, self.conv if line.kind == "conv" else self.dw))


def fit_paper(lines: Sequence[Line]) -> PaperModel:
    """Fit Eq. 5 (Pipe-it, Sec. V) to measured layers: b >= 0, least squares of the relative error."""

    def polynomial(kind: str) -> FloatArray:
        rows = [line for line in lines if line.kind == kind]
        if not rows:
            return np.zeros(len(gemm.TERMS))
        terms = gemm.terms(*(np.array([getattr(line, name) for line in rows]) for name in "NKM"))
        return fit.nonnegative(terms, np.array([line.time for line in rows]))

    rows = [line for line in lines if line.kind == "fc"]
    size = np.array([[line.K * line.M, 1.0] for line in rows]).reshape(-1, 2)
    fc = fit.nonnegative(size, np.array([line.time for line in rows])) if rows else np.zeros(2)
    return PaperModel(polynomial("conv"), polynomial("dw"), fc)
