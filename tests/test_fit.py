"""Fits recover known parameters, respect bounds, and agree with an independent solver."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from hetcnn import fit
from hetcnn.errors import HetcnnError


def test_least_squares_recovers_known_parameters():
    x = np.linspace(1, 5, 20)
    y = 2.5 * x**1.3
    parameters = [fit.Parameter("a", 0, 10, 1), fit.Parameter("n", 0, 3, 1)]
    found = fit.least_squares(lambda p: p[0] * x ** p[1] / y - 1, parameters, fitted_on=["fig"])
    assert found["a"] == pytest.approx(2.5, rel=1e-6)
    assert found["n"] == pytest.approx(1.3, rel=1e-6)
    assert found.worst_error < 1e-6
    assert found.at_bounds() == ()


def test_a_parameter_on_its_bound_is_named():
    found = fit.least_squares(lambda p: p - 5.0, [fit.Parameter("a", 0, 1, 0.5)])
    assert found.at_bounds() == ("a",)
    assert found["a"] == pytest.approx(1.0, abs=1e-5)


def test_nonnegative_agrees_with_a_bounded_solver():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (60, 4)) * [1, 1e3, 1e6, 1e-3]
    y = x @ [1.0, 2e-3, 0.0, 5e2] * rng.uniform(0.9, 1.1, 60)
    reference = lsq_linear(x / y[:, None], np.ones(60), bounds=(0, np.inf), tol=1e-14).x
    ours = fit.nonnegative(x, y)
    cost = lambda b: np.sum((x @ b / y - 1) ** 2)  # noqa: E731
    assert (ours >= 0).all()
    assert cost(ours) <= cost(reference) * (1 + 1e-9)


def test_data_must_be_positive():
    with pytest.raises(HetcnnError, match="positive and finite"):
        fit.nonnegative([[1.0]], [0.0])


def test_start_must_lie_within_the_bounds():
    with pytest.raises(HetcnnError, match=r"parameter a: the start 3 must lie within its bounds \[0, 1\]"):
        fit.Parameter("a", 0, 1, 3)
