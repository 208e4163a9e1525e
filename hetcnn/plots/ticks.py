"""Axes that label themselves: SI prefixes, names with units from xarray attributes, readable logarithmic ticks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axis import XAxis
from matplotlib.ticker import AutoLocator, FixedLocator, Formatter, FuncFormatter, LogLocator, NullFormatter

from hetcnn.units import si

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from numpy.typing import ArrayLike

__all__ = [
    "axis_label",
    "linear_axis",
    "log_axis",
    "log_log",
    "name_and_unit",
    "named_axis",
    "number_text",
    "si_scale",
    "takes_prefix",
]

_PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
_SCALED_UNITS = frozenset({"s", "B", "ops", "op", "J", "W", "Hz", "MAC", "MACs", "bit", "V", "A"})


def _exponent(value: float) -> int:
    """The multiple of three whose prefix leaves one to three digits before the point."""
    if value == 0 or not math.isfinite(value):
        return 0
    # Rounding first: log10(1000) is 2.9999999999999996 on some C libraries.
    return int(min(max(math.floor(round(math.log10(abs(value)), 9) / 3) * 3, -12), 15))


def takes_prefix(unit: str) -> bool:
    """Whether SI prefixes suit the unit: "B/s" yes, "frames/s", "ops/B" and "%" no.

    >>> takes_prefix("B/s"), takes_prefix("frames/s"), takes_prefix("ops/B")
    (True, False, False)
    """
    head, _, per = unit.partition("/")
    return head in _SCALED_UNITS and per not in ("B", "byte")


def si_scale(values: ArrayLike, unit: str) -> tuple[float, str]:
    """Return the factor and the prefixed unit that suit the largest of the values.

    >>> si_scale([0.002, 0.0435], "s")
    (0.001, 'ms')
    >>> si_scale([4.0, 11.8], "frames/s")
    (1.0, 'frames/s')
    """
    sizes = np.abs(np.asarray(values, dtype=float))
    sizes = sizes[np.isfinite(sizes)]
    exponent = _exponent(float(sizes.max())) if sizes.size and takes_prefix(unit) else 0
    return float(f"1e{exponent}"), _PREFIXES[exponent] + unit


def number_text(value: float, unit: str = "", digits: int = 3) -> str:
    """Return a value in the unit of its data as text, with a prefix where one suits; "%" data hold percentages.

    >>> number_text(25.6e9, "B/s"), number_text(11.8, "frames/s"), number_text(13.2, "%")
    ('25.6 GB/s', '11.8 frames/s', '13.2 %')
    """
    if takes_prefix(unit):
        return si(value, unit, digits)
    rounded = float(f"{value:.{digits}g}") if abs(value) < 1000 else value
    return f"{si(rounded)} {unit}".rstrip()


def name_and_unit(data: xr.DataArray) -> tuple[str, str]:
    """Return an array's long name and unit from its attributes, its own name where it has no long one."""
    unit = str(data.attrs.get("units", ""))
    name = str(data.attrs.get("long_name") or data.name or "")
    return name.replace("_", " "), "" if unit == "1" else unit


def axis_label(name: str, unit: str) -> str:
    """Return "name (unit)", or the name alone for a number without unit.

    >>> axis_label("throughput", "frames/s"), axis_label("split ratio", "")
    ('throughput (frames/s)', 'split ratio')
    """
    return f"{name} ({unit})" if unit else name


def _label(axis: Axis, name: str, unit: str) -> None:
    if name:
        axis.set_label_text(axis_label(name, unit))


def linear_axis(axis: Axis, values: ArrayLike, name: str, unit: str) -> None:
    """Label a linear axis; data stay in SI base units and the ticks show one prefixed unit: "time (ms)"."""
    factor, shown = si_scale(values, unit)
    _label(axis, name, shown)
    axis.set_major_locator(_ScaledLocator(factor))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{round(v / factor, 9):g}".replace("-", "−")))


def log_axis(axis: Axis, name: str, unit: str) -> None:
    """Label a logarithmic axis in one notation: "100 M", "1 G"; or 1, 10, 100; or powers of ten where a tick needs one.

    Short ranges get 1-2-5 ticks.
    """
    _label(axis, name, unit)
    axis.set_major_locator(_ReadableLog())
    axis.set_minor_locator(LogLocator(base=10, subs=tuple(range(2, 10)), numticks=99))
    axis.set_major_formatter(_LogText(prefixed=takes_prefix(unit)))
    axis.set_minor_formatter(NullFormatter())


def log_log(ax: Axes, x: tuple[str, str], y: tuple[str, str]) -> None:
    """Make both axes logarithmic, each labelled with its (name, unit)."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_axis(ax.xaxis, *x)
    log_axis(ax.yaxis, *y)


def named_axis(axis: Axis, names: Sequence[str], positions: ArrayLike | None = None) -> None:
    """Put one name at each position (0, 1, 2 ... unless told); of more than sixty every second, third ... shows."""
    places = np.arange(len(names)) if positions is None else np.asarray(positions, dtype=float)
    step = max(1, math.ceil(len(names) / 60))
    axis.set_major_locator(FixedLocator(list(places[::step])))
    axis.set_ticklabels(list(names)[::step])
    longest = max((len(n) for n in names), default=0)
    horizontal = isinstance(axis, XAxis)
    if horizontal and longest * len(names) > 70:
        crowded = len(names) > 24
        axis.set_tick_params(rotation=90 if crowded else 35, labelsize=6 if crowded else 8, pad=1)
        for label in axis.get_ticklabels():
            label.set_horizontalalignment("center" if crowded else "right")
            label.set_rotation_mode("default" if crowded else "anchor")
    elif not horizontal and len(names) > 24:
        axis.set_tick_params(labelsize=6, pad=1)


class _LogText(Formatter):
    """Ticks of one logarithmic axis, all in one notation."""

    def __init__(self, *, prefixed: bool) -> None:
        self._prefixed = prefixed
        self._powers = False

    def format_ticks(self, values: Any) -> list[str]:
        """Choose the notation by the ticks that show, then write all of them in it."""
        assert self.axis is not None
        low, high = sorted(self.axis.get_view_interval())
        shown = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        self._powers = any(v < 1e-4 or v >= 1e5 for v in shown if v > 0)
        return super().format_ticks(values)

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002
        if x <= 0:
            return ""
        if self._prefixed:
            return si(x, "op").removesuffix("op").rstrip() if x >= 1 else si(x, "s").removesuffix("s").rstrip()
        if not self._powers and 1e-4 <= x < 1e5:
            return f"{x:g}"
        power = math.floor(round(math.log10(x), 9))
        factor = f"{x / 10.0**power:.3g}"
        return f"$10^{{{power}}}$" if factor == "1" else rf"${factor}\cdot 10^{{{power}}}$"


class _ScaledLocator(AutoLocator):
    """Round ticks in the shown unit, whatever the SI value behind it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def tick_values(self, vmin: float, vmax: float) -> Any:
        return np.asarray(super().tick_values(vmin / self._factor, vmax / self._factor)) * self._factor


class _ReadableLog(LogLocator):
    """Decades over a wide range, 1-2-5 over a short one, round linear steps within less than one decade."""

    def __init__(self) -> None:
        super().__init__(base=10, numticks=12)

    def tick_values(self, vmin: float, vmax: float) -> Any:
        low, high = min(vmin, vmax), max(vmin, vmax)
        decades = math.log10(high / low) if low > 0 else 9.0
        if decades < 0.8:
            ticks = np.asarray(AutoLocator().tick_values(low, high))
            return ticks[ticks > 0]
        self.set_params(subs=(1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.8 else (1.0, 2.0, 5.0))
        return super().tick_values(low, high)
