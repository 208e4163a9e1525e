"""Text with units in, SI floats inside, readable text out: the only place where units are converted.

>>> parse("25.6 GB/s", "bandwidth")
25600000000.0
>>> si(0.0032, "s")
'3.2 ms'
"""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from dataclasses import dataclass
from decimal import Decimal, DecimalException

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetcnn.errors import HetcnnError, unknown

__all__ = ["DIMENSIONS", "Quantity", "brief", "convert", "non_negative", "parse", "positive", "si"]

_DECIMAL = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_SMALL = {"m": -3, "u": -6, "µ": -6, "μ": -6, "n": -9, "p": -12, "f": -15}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}

_OPS = {"op": 1, "ops": 1, "OP": 1, "FLOP": 1, "MAC": 2}


def _decimal(unit: str, factor: Decimal | int = 1, *, small: bool = True) -> dict[str, Decimal]:
    prefixes = _DECIMAL | _SMALL if small else _DECIMAL
    return {prefix + unit: Decimal(10) ** power * factor for prefix, power in prefixes.items()}


def _data(per: str = "") -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for unit, size in (("B", Decimal(1)), ("bit", Decimal("0.125"))):
        found |= _decimal(unit + per, size, small=False)
        found |= {prefix + unit + per: Decimal(2) ** power * size for prefix, power in _BINARY.items()}
    return found


def _op_rate() -> dict[str, Decimal]:
    return {u: f for op, n in _OPS.items() for u, f in _decimal(op + "/s", n, small=False).items()}


def _energy_per_op() -> dict[str, Decimal]:
    return {u: f for op, n in _OPS.items() for u, f in _decimal("J/" + op, 1 / Decimal(n)).items()}


_UNITS: dict[str, dict[str, Decimal]] = {
    "time": _decimal("s") | {"min": Decimal(60), "h": Decimal(3600)},
    "frequency": _decimal("Hz", small=False),
    "data": _data(),
    "bandwidth": _data("/s"),
    "power": _decimal("W"),
    "energy": _decimal("J") | {"Wh": Decimal(3600)},
    "op_rate": _op_rate(),
    "energy_per_op": _energy_per_op(),
    "energy_per_byte": _decimal("J/B") | _decimal("J/bit", 8),
    "ratio": {"": Decimal(1), "%": Decimal("0.01")},
    "count": {"": Decimal(1)},
}
_NOUN = {
    "time": "a time",
    "frequency": "a frequency",
    "data": "a data size",
    "bandwidth": "a bandwidth",
    "power": "a power",
    "energy": "an energy",
    "op_rate": "an op rate",
    "energy_per_op": "an energy per op",
    "energy_per_byte": "an energy per byte",
    "ratio": "a ratio",
    "count": "a count",
}
DIMENSIONS: dict[str, str] = {
    "time": "s",
    "frequency": "Hz",
    "data": "B",
    "bandwidth": "B/s",
    "power": "W",
    "energy": "J",
    "op_rate": "op/s",
    "energy_per_op": "J/op",
    "energy_per_byte": "J/B",
    "ratio": "",
    "count": "",
}
"""Dimension -> the SI unit of its values inside the library."""

_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)\s*(.*?)\s*", re.DOTALL)
_NOT_FINITE = re.compile(r"\s*[+-]?(nan|inf|infinity)\b.*", re.IGNORECASE | re.DOTALL)


def parse(text: str, dimension: str) -> float:
    """Return the value of `text` in the SI unit of `dimension`; 1 MAC is 2 ops, GB is 1e9 B and GiB is 2**30 B.

    Raises HetcnnError for another dimension, an unknown or missing unit, NaN, infinity, and a negative number
    (a ratio may be negative) or a count that is not whole.

    >>> parse("100 MHz", "frequency"), parse("2 GMAC/s", "op_rate"), parse("37 %", "ratio")
    (100000000.0, 4000000000.0, 0.37)
    """
    if dimension not in _UNITS:
        raise unknown("dimension", dimension, _UNITS)
    if _NOT_FINITE.fullmatch(text):
        raise _wrong(dimension, text, "; it must be a finite number")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise _wrong(dimension, text, _example(dimension))
    number, unit = match.groups()
    scale = _UNITS[dimension].get(unit)
    if scale is None:
        raise _wrong(dimension, text, _hint(dimension, unit))
    try:
        value = float(Decimal(number) * scale)
    except (DecimalException, OverflowError):
        value = math.inf
    return _checked(value, dimension, text)


def convert(raw: object, dimension: str) -> float:
    """Return `raw`, text with a unit or (for a ratio or a count) a bare number, in the SI unit of `dimension`.

    >>> convert(4, "count"), convert("2.36 GHz", "frequency")
    (4.0, 2360000000.0)
    """
    if isinstance(raw, str):
        return parse(raw, dimension)
    if dimension not in _UNITS:
        raise unknown("dimension", dimension, _UNITS)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise _wrong(dimension, raw, _example(dimension))
    if DIMENSIONS[dimension]:
        raise _wrong(dimension, raw, _hint(dimension, ""))
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    return _checked(value, dimension, raw)


def _checked(value: float, dimension: str, raw: object) -> float:
    if not math.isfinite(value):
        raise _wrong(dimension, raw, "; it must be a finite number")
    if value < 0 and dimension != "ratio":
        raise _wrong(dimension, raw, "; it must not be negative")
    if dimension == "count" and value != int(value):
        raise _wrong(dimension, raw, "; it must be a whole number")
    return value


def _wrong(dimension: str, raw: object, hint: str = "") -> HetcnnError:
    given = f"'{brief(raw)}'" if isinstance(raw, str) else brief(raw)
    return HetcnnError(f"expected {_NOUN[dimension]}, got {given}{hint}")


def brief(raw: object, most: int = 40) -> str:
    """Return anything a user wrote as one printable line of at most `most` characters, for error messages.

    >>> brief("two\\nlines"), brief([1, 2])
    ('two lines', '[1, 2]')
    """
    if isinstance(raw, str):
        line = " ".join("".join(c if c.isprintable() else " " for c in raw[: 5 * most]).split())
        return line if len(line) <= most else line[: most - 3] + "..."
    try:
        return brief(reprlib.repr(raw), most)
    except ValueError:  # an int of more than 4300 digits has no repr
        return "a number of thousands of digits"


def _hint(dimension: str, unit: str) -> str:
    if not unit:
        return f"; give its unit, such as '{_usual(dimension)}'"
    if any(unit in units for units in _UNITS.values()):
        return ""
    if dimension == "count":
        return "; a count has no unit"
    near = difflib.get_close_matches(unit, _UNITS[dimension], n=1, cutoff=0.5)
    folded = [known for known in _UNITS[dimension] if known.lower() == unit.lower()]
    return f"; did you mean '{(folded or near or [_usual(dimension)])[0]}'?"


def _usual(dimension: str) -> str:
    prefix = {"frequency": "M", "time": "m", "energy": "m", "power": "", "ratio": "%", "count": ""}.get(dimension, "G")
    return ("p" if dimension.startswith("energy_per") else prefix) + DIMENSIONS[dimension]


def _example(dimension: str) -> str:
    return f"; write it like '{'4' if dimension == 'count' else '1.5 ' + _usual(dimension)}'"


def si(value: float, unit: str = "", digits: int = 3) -> str:
    """Return `value`, in the SI unit `unit`, as text with the prefix that leaves one to three digits before the point.

    Bytes, ops, hertz and pure numbers take no prefix below one, seconds none above; a plain number takes none at all.

    >>> si(25.6e9, "B/s"), si(1.5e-4, "J"), si(80330), si(0.134, "%")
    ('25.6 GB/s', '150 µJ', '80,330', '13.4 %')
    """
    if not math.isfinite(value):
        return f"{value} {unit}".rstrip()
    if unit == "%":
        return f"{_plain(100 * value, digits)} %"
    if unit == "" or value == 0:
        return f"{_plain(value, max(digits, 4))} {unit}".rstrip()
    scaled = [(value / 10**e if e >= 0 else value * 10**-e, prefix) for prefix, e in _prefixes(unit)]
    number, prefix = next((s for s in scaled if abs(float(f"{s[0]:.{digits}g}")) < 1000), scaled[-1])
    return f"{_plain(number, digits)} {prefix}{unit}"


def _prefixes(unit: str) -> list[tuple[str, int]]:
    small = [("f", -15), ("p", -12), ("n", -9), ("µ", -6), ("m", -3)]
    if unit[0] not in "sJW":
        small = []
    return small + [(p, e) for p, e in _DECIMAL.items() if e == 0 or unit != "s"]


def _plain(value: float, digits: int) -> str:
    rounded = float(f"{value:.{digits}g}") if abs(value) < 1000 else value
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{rounded:.{digits + 4}f}".rstrip("0").rstrip(".")


def non_negative(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return a formula's argument as a float array; HetcnnError names it when any element is NaN or negative.

    >>> non_negative("ops", [1, 2]).tolist()
    [1.0, 2.0]
    """
    array = np.asarray(value, dtype=np.float64)
    return _all_valid(name, array, array >= 0, "at least 0")


def positive(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return a formula's argument as a float array; HetcnnError names it when any element is NaN or not above 0.

    >>> positive("peak", 1e9).item()
    1000000000.0
    """
    array = np.asarray(value, dtype=np.float64)
    return _all_valid(name, array, array > 0, "above 0")


def _all_valid(name: str, array: NDArray[np.float64], valid: NDArray[np.bool_], rule: str) -> NDArray[np.float64]:
    if not np.all(valid):
        raise HetcnnError(f"{name} must be {rule}, got {array[~np.asarray(valid)].flat[0]:g}")
    return array


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its dimension and where it comes from: a `source`, or an assumption (`low`, `high`, `why`).

    `value`, `low` and `high` are in the SI unit of the dimension.

    >>> q = Quantity.read({"value": "2.36 GHz", "source": "data sheet"}, "frequency")
    >>> float(q), str(q), q.provenance
    (2360000000.0, '2.36 GHz', 'data sheet')
    """

    value: float
    dimension: str
    source: str = ""
    low: float | None = None
    high: float | None = None
    why: str = ""

    @classmethod
    def read(cls, raw: object, dimension: str) -> Quantity:
        """Build a quantity from a table `{value, source}` or `{value, assumed = [low, high], why}`."""
        keys = ("value", "source", "assumed", "why")
        if not isinstance(raw, dict):
            raise _wrong(dimension, raw, "; write a table { value = ..., source = ... }")
        for key in raw:
            if key not in keys:
                raise unknown("field", brief(str(key)), keys)
        if "value" not in raw:
            raise HetcnnError("'value' is missing")
        if ("source" in raw) == ("assumed" in raw):
            raise HetcnnError("give exactly one of 'source' (where the number stands) and 'assumed' (its range)")
        value = convert(raw["value"], dimension)
        if "source" in raw:
            if "why" in raw:
                raise HetcnnError("'why' explains an assumption; a number with a 'source' has none")
            return cls(value, dimension, source=_text(raw, "source"))
        low, high = _range(raw["assumed"], dimension)
        quantity = cls(value, dimension, low=low, high=high, why=_text(raw, "why"))
        if not low <= value <= high:
            raise HetcnnError(f"{quantity} is outside its assumed range {quantity.range_text}")
        return quantity

    def with_value(self, value: float | str) -> Quantity:
        """Return a copy with another value, in SI or as text with a unit; an assumed range widens to hold it."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        new = _checked(float(value), self.dimension, value) if number else convert(value, self.dimension)
        if self.low is None or self.high is None:
            return Quantity(new, self.dimension, source=f"changed by hand from {self} ({self.source})")
        return Quantity(new, self.dimension, low=min(self.low, new), high=max(self.high, new), why=self.why)

    @property
    def assumed(self) -> bool:
        """Whether the number is neither published nor measured."""
        return self.low is not None

    @property
    def unit(self) -> str:
        """The SI unit of `value`."""
        return DIMENSIONS[self.dimension]

    @property
    def range_text(self) -> str:
        """The assumed range as text, empty for a sourced number."""
        if self.low is None or self.high is None:
            return ""
        return f"{self._format(self.low)} to {self._format(self.high)}"

    @property
    def provenance(self) -> str:
        """The source, or "assumed (range): why"."""
        return f"assumed ({self.range_text}): {self.why}" if self.assumed else self.source

    def _format(self, value: float) -> str:
        if self.dimension == "data":
            for prefix, power in reversed(_BINARY.items()):
                whole, rest = divmod(value, 2**power)
                if rest == 0 and 0 < whole < 1024:
                    return f"{whole:.0f} {prefix}B"
        return si(value, self.unit, 4)

    def __str__(self) -> str:
        return self._format(self.value)

    def __float__(self) -> float:
        return self.value


def _text(raw: dict[str, object], key: str) -> str:
    if key not in raw:
        raise HetcnnError(f"'{key}' is missing; say in words where the number comes from")
    value = raw[key]
    if not isinstance(value, str) or not value.strip():
        raise HetcnnError(f"'{key}' has to say in words where the number comes from, got '{brief(value)}'")
    return value.strip()


def _range(raw: object, dimension: str) -> tuple[float, float]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise HetcnnError(f"'assumed' is a range [low, high], got {brief(raw)}")
    low, high = (convert(end, dimension) for end in raw)
    if low > high:
        raise HetcnnError(f"'assumed' is a range [low, high], got {brief(raw)}; its ends are in the wrong order")
    return low, high
