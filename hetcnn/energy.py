"""Energy of a power rail and of a frame: static power, dynamic power while busy, energy per op and per byte.

Pure formulas on arrays that broadcast. Watts, seconds, joules, J/op and J/B throughout.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetcnn.units import non_negative, positive

__all__ = ["Energy", "average_power", "energy_delay_product", "frames_per_joule", "rail_energy", "total"]

FloatArray = NDArray[np.float64]


class Energy(NamedTuple):
    """The parts of an energy in joules: static power over the time, dynamic power while busy, ops, bytes."""

    static: FloatArray
    busy: FloatArray
    ops: FloatArray
    bytes: FloatArray

    @property
    def dynamic(self) -> FloatArray:
        """All but the static part."""
        return np.asarray(self.busy + self.ops + self.bytes)

    @property
    def total(self) -> FloatArray:
        """The sum of all parts."""
        return np.asarray(self.static + self.dynamic)


def rail_energy(
    time: ArrayLike,
    *,
    static: ArrayLike = 0.0,
    dynamic: ArrayLike = 0.0,
    busy: ArrayLike = 0.0,
    per_op: ArrayLike = 0.0,
    ops: ArrayLike = 0.0,
    per_byte: ArrayLike = 0.0,
    nbytes: ArrayLike = 0.0,
) -> Energy:
    """Return the energy that one rail draws: static x time + dynamic x busy + per_op x ops + per_byte x nbytes.

    time: seconds that the rail is on; busy: seconds that what it feeds works; static, dynamic: W; per_op: J/op;
    per_byte: J/B. Raises HetcnnError for NaN and negative arguments.

    >>> parts = rail_energy(0.01, static=0.3, dynamic=2.0, busy=0.004, per_byte=1e-10, nbytes=1e7)
    >>> [round(float(joules), 6) for joules in (parts.static, parts.busy, parts.bytes, parts.total)]
    [0.003, 0.008, 0.001, 0.012]
    """
    return Energy(
        _product("static", static, "time", time),
        _product("dynamic", dynamic, "busy", busy),
        _product("per_op", per_op, "ops", ops),
        _product("per_byte", per_byte, "nbytes", nbytes),
    )


def total(rails: Iterable[Energy]) -> Energy:
    """Return the sum over rails, part by part.

    >>> rails = [rail_energy(2.0, static=1.0), rail_energy(2.0, static=0.5, dynamic=4.0, busy=1.0)]
    >>> float(total(rails).static), float(total(rails).total)
    (3.0, 7.0)
    """
    zero = np.zeros(())
    summed = Energy(zero, zero, zero, zero)
    for rail in rails:
        summed = Energy(*(np.asarray(a + b) for a, b in zip(summed, rail, strict=True)))
    return summed


def frames_per_joule(energy: ArrayLike) -> FloatArray:
    """Return frames per joule of an energy per frame in J.

    >>> float(frames_per_joule(0.025))
    40.0
    """
    return np.asarray(1.0 / positive("energy", energy))


def average_power(energy: ArrayLike, time: ArrayLike) -> FloatArray:
    """Return the mean power in W over `time`.

    >>> float(average_power(0.012, 0.004))
    3.0
    """
    return np.asarray(non_negative("energy", energy) / positive("time", time))


def energy_delay_product(energy: ArrayLike, latency: ArrayLike) -> FloatArray:
    """Return energy x latency of a frame in J s, lower is better.

    >>> float(energy_delay_product(0.5, 0.25))
    0.125
    """
    return _product("energy", energy, "latency", latency)


def _product(name: str, rate: ArrayLike, of: str, amount: ArrayLike) -> FloatArray:
    a, b = np.broadcast_arrays(non_negative(name, rate), non_negative(of, amount))
    with np.errstate(invalid="ignore"):
        return np.where(a == 0, 0.0, a * b)  # 0 W over an infinite time (a device that cannot run a layer) is 0 J
