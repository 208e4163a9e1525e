"""What direct hardware mapping (DHM) costs: constant multipliers, adder chains, window buffers, registers, M20K blocks.

Every weight is a constant of the circuit. A weight of `bits` bits that rounds to 0 needs no hardware; the share that
does not is the one fitted law, the rest is arithmetic. Measured rows: `data/papers/hybrid/fitter_reports.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetcnn import data, fit

__all__ = [
    "M20K_BITS",
    "Cost",
    "Law",
    "Report",
    "adder_alms",
    "cost",
    "design_alms",
    "fitted",
    "fitted_law",
    "held_out",
    "m20k_of_report",
    "multiplier_alms",
    "reports",
]

FloatArray = NDArray[np.float64]

_MOST_BITS = 16
M20K_BITS = 20 * 1024
_MLAB_BITS, _MLAB_ALMS = 640, 10
"""Vendor's device handbook: a memory LAB holds 640 bits and takes 10 ALMs."""


@dataclass(frozen=True)
class Law:
    """The fitted parameters: `kappa`, `beta` (share of weights that are not null), `register`, `window`.

    Weights have a spread of about 1 / sqrt(operands); those below half a step round to 0. The share left is
    exp(-sparsity (kappa 2^(1 - bits) sqrt(operands))^beta). `register`: registers per bit of an adder; `window`: ALMs
    per bit of a window register.
    """

    kappa: float
    beta: float
    register: float
    window: float

    def density(self, operands: ArrayLike, bits: ArrayLike, sparsity: ArrayLike = 1.0) -> FloatArray:
        """Return the share of weights that are not null.

        >>> float(Law(0.0, 1.0, 1.0, 1.0).density(9, 8))
        1.0
        """
        step = self.kappa * 2.0 ** (1 - np.asarray(bits, float)) * np.sqrt(np.asarray(operands, float))
        return np.asarray(np.exp(-np.asarray(sparsity) * step**self.beta))


class Cost(NamedTuple):
    """Resources of a layer: ALMs by part, weights that need hardware, registers, M20K blocks and bits of its lines."""

    scm: FloatArray
    moa: FloatArray
    window: FloatArray
    nonzero: FloatArray
    registers: FloatArray
    m20k: FloatArray
    line_bits: FloatArray

    @property
    def alms(self) -> FloatArray:
        """ALMs in all, no DSP block used."""
        return np.asarray(self.scm + self.moa + self.window)

    def alms_with(self, multipliers: ArrayLike) -> FloatArray:
        """Return the ALMs where DSP multipliers, with the adders of their chain, take over so many weights."""
        taken = np.minimum(np.asarray(multipliers, float), self.nonzero)
        left = 1 - taken / np.maximum(self.nonzero, 1e-12)
        return np.asarray((self.scm + self.moa) * left + self.window)


def adder_alms(operands: ArrayLike, width: ArrayLike) -> FloatArray:
    """Return the ALMs of a chain of adders over `operands` numbers, `width` bits wide: two bits an ALM.

    >>> float(adder_alms(9, 16))                 # 8 adders of 8 ALMs; measured: 65
    64.0
    """
    return np.asarray(np.maximum(np.asarray(operands, float) - 1, 0) * np.asarray(width, float) / 2)


@cache
def _multiplier_table() -> FloatArray:
    """Mean ALMs of a constant multiplier by bits, over all constants from 1 to 2^(bits - 1) - 1."""
    table = np.zeros(_MOST_BITS + 1)
    for bits in range(2, _MOST_BITS + 1):
        constants = np.arange(1, 2 ** (bits - 1))
        # w xor 3w has a bit for every nonzero digit of w's canonical signed-digit form.
        digits = np.bitwise_count(constants ^ (3 * constants)).astype(float)
        adders = np.ceil((digits - 1) / 2)  # an ALM adds three numbers
        table[bits] = float(np.mean(adders * (bits + np.ceil(np.log2(constants))) / 2))
    return table


def multiplier_alms(bits: ArrayLike) -> FloatArray:
    """Return the mean ALMs of a constant multiplier of `bits` x `bits`, over positive constants.

    A constant with d nonzero signed digits is a sum of d shifted inputs: ceil((d - 1) / 2) three-input adders of
    bits + log2(constant) bits, two bits an ALM. Powers of two are wires.

    >>> float(multiplier_alms(3))                # 1, 2: wires; 3 = 4 - 1: one adder of 3 + 2 bits, 2.5 ALMs
    0.8333333333333334
    """
    whole = np.clip(np.rint(np.asarray(bits, float)), 2, _MOST_BITS).astype(np.intp)
    return np.asarray(_multiplier_table()[whole])


def cost(
    law: Law,
    *,
    kernel: ArrayLike,
    channels: ArrayLike,
    filters: ArrayLike,
    width: ArrayLike,
    bits: ArrayLike,
    windows: ArrayLike | None = None,
    sparsity: ArrayLike = 1.0,
    lines_in_logic: bool = False,
) -> Cost:
    """Return the resources of one convolution mapped to hardware.

    kernel: side of the window; channels: those that one filter reads (1 for depthwise layers); filters; width: of the
    input plane in pixels; windows: channels that need a window buffer (`channels` unless given); `lines_in_logic` puts
    the line buffers into memory LABs.

    scm = density W multiplier_alms(bits), moa = density W (2 bits + ceil(log2 n)) / 2 with n = kernel^2 channels
    operands and W = n filters weights; K - 1 lines of width - K pixels for each channel, an M20K block a line or more.
    """
    k, c, m, w, b = (np.asarray(v, float) for v in (kernel, channels, filters, width, bits))
    operands = k * k * c
    nonzero = law.density(operands, b, sparsity) * operands * m
    adder = 2 * b + np.ceil(np.log2(np.maximum(operands, 1)))
    buffered = c if windows is None else np.asarray(windows, float)
    lines = buffered * (k - 1)
    line = np.maximum(w - k, 0) * b
    window_bits = buffered * k * k * b
    logic = lines * line / _MLAB_BITS * _MLAB_ALMS if lines_in_logic else 0.0
    return Cost(
        scm=np.asarray(nonzero * multiplier_alms(b)),
        moa=np.asarray(nonzero * adder / 2),
        window=np.asarray(law.window * window_bits + logic),
        nonzero=np.asarray(nonzero),
        registers=np.asarray(law.register * nonzero * adder + window_bits),
        m20k=np.zeros_like(lines) if lines_in_logic else np.asarray(lines * np.ceil(line / M20K_BITS)),
        line_bits=np.asarray(lines * line),
    )


# --- the measured rows and the fit ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """One measured row; see the head of the data file."""

    row: str
    group: str
    bits: int
    kernel: int
    channels: int
    filters: int
    image: int
    scm: float
    moa: float
    window: float
    registers: float
    m20k: int
    design: float
    layer: float | None

    @property
    def alms(self) -> float:
        """ALMs of the three parts together."""
        return self.scm + self.moa + self.window

    def cost(self, law: Law, *, lines_in_logic: bool = False) -> Cost:
        """Return what the model says of this row."""
        shape = {"kernel": self.kernel, "channels": self.channels, "filters": self.filters, "width": self.image}
        return cost(law, **shape, bits=self.bits, lines_in_logic=lines_in_logic)


@cache
def reports() -> tuple[Report, ...]:
    """Return the measured rows."""
    text = data.path("papers", "hybrid", "fitter_reports.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    whole = ("bits", "kernel", "channels", "filters", "image", "m20k")
    parts = ("scm", "moa", "window", "registers", "design")
    return tuple(
        _report(r, {k: int(r[k]) for k in whole}, {k: float(r[k]) for k in parts}) for r in csv.DictReader(lines)
    )


def _report(r: Mapping[str, str], whole: Mapping[str, Any], parts: Mapping[str, Any]) -> Report:
    # A blank: the report has only the whole design.
    return Report(r["row"], r["group"], **whole, **parts, layer=float(r["layer"]) if r["layer"] else None)


PARAMETERS = (
    fit.Parameter("kappa", 0.1, 50, 3, "1", "half a step over the spread of the weights, per sqrt(operands)"),
    fit.Parameter("beta", 0.1, 2, 0.6, "1", "shape of the weights' distribution near 0"),
)
_OTHER = (
    fit.Parameter("register", 0.1, 2, 1, "1", "registers per bit of an adder"),
    fit.Parameter("window", 0.1, 5, 1, "ALM/bit", "ALMs per bit of a window register"),
)


def _weights(rows: Sequence[Report]) -> FloatArray:
    """Twins, the rows of one group, count as one."""
    groups = [r.group for r in rows]
    return np.array([groups.count(g) ** -0.5 for g in groups])


@cache
def fitted(groups: tuple[str, ...] | None = None) -> tuple[Law, fit.Fit]:
    """Fit the law on the measured rows of some groups (all unless given).

    kappa and beta on multipliers and adders; then registers per bit and window ALMs, each by itself. Residuals are
    logarithms of model over measured.
    """
    rows = [r for r in reports() if groups is None or r.group in groups]
    scale = _weights(rows)

    def parts(values: FloatArray) -> FloatArray:
        law = Law(float(values[0]), float(values[1]), 1.0, 1.0)
        costs = [r.cost(law) for r in rows]
        scm = [np.log(float(c.scm) / r.scm) for c, r in zip(costs, rows, strict=True)]
        moa = [np.log(float(c.moa) / r.moa) for c, r in zip(costs, rows, strict=True)]
        return np.concatenate([scale * scm, scale * moa])

    names = [f"dhm.{r.row}.{part}" for part in ("scm", "moa") for r in rows]
    found = fit.least_squares(parts, PARAMETERS, fitted_on=names)

    def rest(values: FloatArray) -> FloatArray:
        law = Law(found["kappa"], found["beta"], float(values[0]), float(values[1]))
        costs = [r.cost(law, lines_in_logic=r.m20k == 0) for r in rows]
        registers = [np.log(float(c.registers) / r.registers) for c, r in zip(costs, rows, strict=True)]
        window = [np.log(float(c.window) / r.window) for c, r in zip(costs, rows, strict=True)]
        return np.concatenate([scale * registers, scale * window])

    names = [f"dhm.{r.row}.{part}" for part in ("registers", "window") for r in rows]
    other = fit.least_squares(rest, _OTHER, fitted_on=names)
    law = Law(found["kappa"], found["beta"], other["register"], other["window"])
    both = fit.Fit(
        found.parameters + other.parameters,
        found.values + other.values,
        np.concatenate([found.residuals, other.residuals]),
        found.fitted_on + other.fitted_on,
    )
    return law, both


def fitted_law() -> Law:
    """Return the law fitted on all rows."""
    return fitted()[0]


def _law_without(group: str) -> Law:
    return fitted(tuple(dict.fromkeys(r.group for r in reports() if r.group != group)))[0]


@cache
def held_out() -> dict[str, Cost]:
    """Return, for each row, what the law says that was fitted without the row's group."""
    return {r.row: r.cost(_law_without(r.group), lines_in_logic=r.m20k == 0) for r in reports()}


def _design(row: str) -> list[Report]:
    """The convolutions of a report's whole design: LeNet's has two, of one word length."""
    by_name = {r.row: r for r in reports()}
    chosen = [by_name[row]]
    if row.startswith("lenet-conv2"):
        chosen.append(replace(by_name["lenet-conv1-8b"], bits=by_name[row].bits))
    return chosen


def design_alms(row: str) -> float:
    """Return the ALMs of a report's whole design by the law that was fitted without the row's group."""
    first, *others = _design(row)
    law = _law_without(first.group)
    return float(held_out()[row].alms + sum(r.cost(law).alms for r in others))


def m20k_of_report(row: str) -> int:
    """Return the M20K blocks that the line buffers of a report's whole design need."""
    return round(sum(float(r.cost(fitted_law()).m20k) for r in _design(row)))
