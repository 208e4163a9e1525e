"""Fitting the formulas' parameters to data: named, bounded, with the claims they were fitted on, cross-validated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hetcnn.errors import HetcnnError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Fit", "Parameter", "least_squares", "leave_one_out", "nonnegative", "nonnegative_towards"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter to fit: its name, bounds, unit and meaning; the search starts at `start`."""

    name: str
    lower: float
    upper: float
    start: float
    unit: str = "1"
    meaning: str = ""

    def __post_init__(self) -> None:
        if not self.lower <= self.start <= self.upper or not self.lower < self.upper:
            raise HetcnnError(
                f"parameter {self.name}: the start {self.start:g} must lie within its bounds [{self.lower:g}, "
                f"{self.upper:g}]"
            )


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted parameters, what they were fitted on and what is left over.

    `residuals` are relative (model / data - 1 or their logarithms), in the order of `fitted_on` where both have one
    entry per datum.
    """

    parameters: tuple[Parameter, ...]
    values: tuple[float, ...]
    residuals: NDArray[np.float64]
    fitted_on: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        return dict(zip((p.name for p in self.parameters), self.values, strict=True))[name]

    @property
    def mean_error(self) -> float:
        """Mean absolute residual."""
        return float(np.mean(np.abs(self.residuals)))

    @property
    def worst_error(self) -> float:
        """Greatest absolute residual."""
        return float(np.max(np.abs(self.residuals)))

    def at_bounds(self) -> tuple[str, ...]:
        """Return the names of parameters that ended on a bound: they are decided by it, not by the data."""
        pairs = zip(self.parameters, self.values, strict=True)
        return tuple(p.name for p, v in pairs if min(v - p.lower, p.upper - v) <= 1e-6 * (p.upper - p.lower))


def least_squares(
    residuals: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    parameters: Sequence[Parameter],
    *,
    fitted_on: Iterable[str] = (),
    robust: float | None = None,
) -> Fit:
    """Minimise the sum of squared residuals within the parameters' bounds.

    `residuals(values)` returns one number per datum, best relative ones; those beyond `robust` count linearly.

    >>> slope = Parameter("slope", 0, 10, 1)
    >>> fit = least_squares(lambda p: p[0] * np.array([1.0, 2.0]) / np.array([3.0, 6.0]) - 1, [slope])
    >>> round(fit["slope"], 6)
    3.0
    """
    from scipy.optimize import least_squares as solve

    lower, upper, start = (np.array([getattr(p, k) for p in parameters], float) for k in ("lower", "upper", "start"))
    exact = 1e-12
    found = solve(
        residuals,
        start,
        bounds=(lower, upper),
        x_scale=upper - lower,
        loss="linear" if robust is None else "soft_l1",
        f_scale=robust or 1.0,
        xtol=exact,
        ftol=exact,
        gtol=exact,
    )
    # The solver stops just inside its bounds; a parameter that the data push against one is reported on it.
    span = upper - lower
    values = np.where(found.x - lower < 1e-9 * span, lower, np.where(upper - found.x < 1e-9 * span, upper, found.x))
    return Fit(tuple(parameters), tuple(values.tolist()), np.asarray(found.fun), tuple(fitted_on))


def nonnegative(regressors: ArrayLike, data: ArrayLike) -> NDArray[np.float64]:
    """Return the coefficients b >= 0 that minimise the relative error of `regressors @ b` against `data`.

    `regressors` has shape (points, terms), `data` (points,), positive.

    >>> nonnegative([[1.0, 0.0], [1.0, 2.0]], [3.0, 7.0]).round(6).tolist()
    [3.0, 2.0]
    """
    from scipy.optimize import nnls

    x, y = np.asarray(regressors, float), np.asarray(data, float)
    if np.any(~np.isfinite(y)) or np.any(y <= 0):
        raise HetcnnError(f"fit: data must be positive and finite for relative errors, got {y.min():g}")
    # Columns differ by many orders of magnitude; without scaling nnls stops at its tolerance.
    relative = x / y[:, None]
    scale = np.maximum(np.abs(relative).max(axis=0), np.finfo(float).tiny)
    solution, _ = nnls(relative / scale, np.ones_like(y))
    return np.asarray(solution / scale)


def nonnegative_towards(
    regressors: ArrayLike,
    data: ArrayLike,
    prior: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    *,
    counts: ArrayLike | None = None,
    robust: float = 0.1,
    rounds: int = 6,
) -> NDArray[np.float64]:
    """Return coefficients b >= 0 of small relative error that stay near `prior` where the data say little.

    Minimises sum_i c_i h((x_i b) / y_i - 1) + sum_t weight_t^2 (b_t - prior_t)^2, with h quadratic up to `robust`,
    linear beyond (Huber), by `rounds` of reweighting. regressors: (points, terms); prior, weight: (terms,), none
    without them; counts c: (points,), 1 each without them.

    >>> nonnegative_towards([[1.0, 0.0], [2.0, 0.0]], [3.0, 6.0], prior=[0.0, 5.0], weight=[0.0, 1.0]).round(6).tolist()
    [3.0, 5.0]
    >>> nonnegative_towards([[1.0], [1.0]], [1.0, 2.0], counts=[0.0, 1.0]).round(6).tolist()
    [2.0]
    """
    from scipy.optimize import nnls

    x, y = np.asarray(regressors, float), np.asarray(data, float)
    if np.any(~np.isfinite(y)) or np.any(y <= 0):
        raise HetcnnError(f"fit: data must be positive and finite for relative errors, got {y.min():g}")
    pull = np.zeros(x.shape[1]) if weight is None else np.asarray(weight, float)
    goal = np.zeros(x.shape[1]) if prior is None else np.asarray(prior, float)
    relative = x / y[:, None]
    # Columns differ by many orders of magnitude; without scaling nnls stops at its tolerance.
    scale = np.maximum(np.maximum(np.abs(relative).max(axis=0), pull), np.finfo(float).tiny)
    given = np.ones_like(y) if counts is None else np.sqrt(np.asarray(counts, float))
    trust = given
    b = goal
    for _ in range(rounds):
        rows = np.concatenate([relative / scale * trust[:, None], np.diag(pull / scale)])
        b = nnls(rows, np.concatenate([trust, pull * goal]))[0] / scale
        left = np.abs(relative @ b - 1)
        trust = given * np.sqrt(np.minimum(1.0, robust / np.maximum(left, robust * 1e-6)))
    return np.asarray(b)


def leave_one_out(
    groups: Sequence[str], train: Callable[[Sequence[str]], T], error: Callable[[T, str], float]
) -> dict[str, float]:
    """Return each group's error under a model that was trained on all the other groups.

    >>> data = {"a": 1.0, "b": 2.0, "c": 3.0}
    >>> mean = lambda names: sum(data[n] for n in names) / len(names)
    >>> leave_one_out("abc", mean, lambda model, name: model - data[name])
    {'a': 1.5, 'b': 0.0, 'c': -1.5}
    """
    return {group: error(train([g for g in groups if g != group]), group) for group in groups}
