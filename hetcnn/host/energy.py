"""Measured energy: the processor's own counters (RAPL), and logs of tegrastats and of INA power monitors.

Where there is no counter, `counters()` is empty and `reason()` says why; nothing is estimated in its place.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.host.measure import Figure

__all__ = ["Counter", "PowerLog", "counters", "energy_of", "idle_and_busy", "read_ina", "read_tegrastats", "reason"]

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """An energy counter: microjoules that wrap around after `wraps`."""

    name: str
    path: Path
    wraps: int

    def read(self) -> int:
        """The counter now, in microjoules."""
        return int((self.path / "energy_uj").read_text())

    def between(self, before: int, after: int) -> float:
        """Joules between two readings, at most one turn apart.

        >>> Counter("package-0", Path("."), 1_000_000).between(900_000, 100_000)
        0.2
        """
        return ((after - before) % self.wraps if self.wraps else after - before) / 1e6


def counters(folder: Path = POWERCAP) -> list[Counter]:
    """Return the processor's energy counters that can be read: whole packages first, then their parts."""
    found = []
    for entry in sorted(folder.glob("*:*")):
        try:
            counter = Counter(
                (entry / "name").read_text().strip(), entry, int((entry / "max_energy_range_uj").read_text())
            )
            counter.read()
        except (OSError, ValueError):
            continue
        found.append(counter)
    return sorted(found, key=lambda c: (not c.name.startswith("package"), c.path.name))


def reason(folder: Path = POWERCAP) -> str:
    """Return what there is to say of energy on this machine, in a sentence."""
    found = counters(folder)
    if found:
        return f"energy counters: {', '.join(c.name for c in found)}"
    if any(folder.glob("*:*")):
        return "energy counters are there but only root may read them; no energy is measured"
    return "this machine offers no energy counter; no energy is measured"


def energy_of(task: Callable[[], object], *, seconds: float = 1.0, counter: Counter | None = None) -> Figure | None:
    """Return joules per call of `task`, called for about `seconds`; None where there is no counter."""
    counter = counter or next(iter(counters()), None)
    if counter is None:
        return None
    samples = []
    for _ in range(5):
        count, start, before = 0, time.perf_counter(), counter.read()
        while time.perf_counter() - start < seconds / 5 or not count:
            task()
            count += 1
        samples.append(counter.between(before, counter.read()) / count)
    values = np.array(samples)
    half_width = float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / 2
    middle = float(np.median(values))
    return Figure(middle, half_width / max(middle, 1e-12) / len(values) ** 0.5, len(values), f"counter {counter.name}")


def idle_and_busy(counter: Counter, seconds: float = 1.0) -> tuple[Figure, Figure]:
    """Return the power in W while this process sleeps, and what one busy thread adds to it."""

    def power(wait: Callable[[], object]) -> float:
        start, before = time.perf_counter(), counter.read()
        wait()
        return counter.between(before, counter.read()) / (time.perf_counter() - start)

    def work() -> None:
        a, end = np.ones((512, 512), np.float32), time.perf_counter() + seconds / 3
        while time.perf_counter() < end:
            a @ a

    idle = [power(lambda: time.sleep(seconds / 3)) for _ in range(3)]
    busy = [power(work) for _ in range(3)]
    low, high = float(np.median(idle)), float(np.median(busy))
    spreads = [float(np.ptp(values)) / 2 / max(float(np.median(values)), 1e-12) for values in (idle, busy)]
    what = f"counter {counter.name}"
    return (
        Figure(low, spreads[0], 3, f"{what}, this process asleep"),
        Figure(max(high - low, 0.0), spreads[1], 3, f"{what}, one thread multiplying, less that asleep"),
    )


@dataclass(frozen=True)
class PowerLog:
    """Power over time: seconds since the start, and watts of every rail."""

    time: NDArray[np.float64]
    power: Mapping[str, NDArray[np.float64]]

    def energy(self, rail: str, start: float = -np.inf, end: float = np.inf) -> float:
        """Joules that a rail drew between two times: the trapezoidal rule over the samples in between."""
        if rail not in self.power:
            from hetcnn.errors import unknown

            raise unknown("rail", rail, self.power)
        inside = (self.time >= start) & (self.time <= end)
        return float(np.trapezoid(self.power[rail][inside], self.time[inside]))


_STAMP = re.compile(r"^(\d\d)-(\d\d)-(\d{4}) (\d\d):(\d\d):(\d\d)")
_RAIL = re.compile(r"\b((?:VDD|VIN|POM|VDDQ)\w*|CPU_GPU_CV|SYS5V|[A-Z0-9_]*5V\w*) (\d+)(?:mW)?/(\d+)(?:mW)?")


def read_tegrastats(path: Path, *, interval: float = 1.0) -> PowerLog:
    """Read a log of NVIDIA's tegrastats: rails as `VDD_CPU 534/540`, milliwatts now and on average.

    Lines that begin with a date and time carry their own time; others come `interval` seconds apart (tegrastats'
    --interval). Raises HetcnnError for a file without any rail.
    """
    times: list[float] = []
    rows: list[dict[str, float]] = []
    for line in _text(path).splitlines():
        rails = {name: float(now) / 1000 for name, now, _ in _RAIL.findall(line)}
        if rails:
            times.append(_stamp(line) if _STAMP.match(line) else len(rows) * interval)
            rows.append(rails)
    if not rows:
        raise HetcnnError(f"{path}: no rail such as 'VDD_CPU 534/540' in it; expected the output of tegrastats")
    return _log(times, rows)


def _stamp(line: str) -> float:
    import datetime

    match = _STAMP.match(line)
    assert match is not None
    month, day, year, hour, minute, second = (int(part) for part in match.groups())
    return datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC).timestamp()


_COLUMN = re.compile(r"(.+?)[ _]*[(\[]?\b(s|ms|us|W|mW|uW|V|mV|A|mA)\b[)\]]?")


def read_ina(path: Path) -> PowerLog:
    """Read a CSV log of INA219, INA226 or INA3221 power monitors, one line per sample.

    The first column is the time with its unit, such as `time (ms)`; the others are rails with theirs: `cpu (mW)`, or
    a pair `cpu (V)` and `cpu (mA)` that is multiplied. Raises HetcnnError for another header and for cells that are no
    numbers.
    """
    rows = list(csv.reader(_text(path).splitlines()))
    if len(rows) < 2:
        raise HetcnnError(f"{path}: {len(rows)} lines; expected a header and one line per sample")
    heads = [_COLUMN.fullmatch(cell.strip()) for cell in rows[0]]
    if any(head is None for head in heads):
        wrong = next(cell for cell, head in zip(rows[0], heads, strict=True) if head is None)
        raise HetcnnError(f"{path}: column '{wrong}': expected a name and a unit, such as 'time (ms)' or 'cpu (mW)'")
    named = [(head[1].strip(), head[2]) for head in heads if head is not None]
    try:
        values = np.array([[float(cell) for cell in row] for row in rows[1:] if row], float)
    except ValueError as error:
        raise HetcnnError(f"{path}: {error}; expected numbers below the header") from None
    if values.shape[1] != len(named):
        raise HetcnnError(f"{path}: {values.shape[1]} cells in a line, {len(named)} columns in the header")
    return PowerLog(_scaled(values[:, 0], named[0][1]), _power_of(named[1:], values[:, 1:]))


def _scaled(values: NDArray[np.float64], unit: str) -> NDArray[np.float64]:
    factor = {"m": 1e-3, "u": 1e-6}.get(unit[0] if len(unit) > 1 else "", 1.0)
    return np.asarray(values * factor)


def _power_of(named: list[tuple[str, str]], values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    columns: dict[str, dict[str, NDArray[np.float64]]] = {}
    for (name, unit), column in zip(named, values.T, strict=True):
        columns.setdefault(name, {})[unit[-1]] = _scaled(column, unit)
    return {
        name: c["W"] if "W" in c else c["V"] * c["A"] for name, c in columns.items() if "W" in c or {"V", "A"} <= set(c)
    }


def _log(times: list[float], rows: list[dict[str, float]]) -> PowerLog:
    names = list(dict.fromkeys(name for row in rows for name in row))
    power = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    return PowerLog(np.array(times) - times[0], power)


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HetcnnError(f"{path}: {error}") from None
