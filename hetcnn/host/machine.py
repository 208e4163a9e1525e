"""What the machine says of itself: processor, usable cores, caches, memory, load; nothing is measured here."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from hetcnn.units import parse

__all__ = ["Cache", "Machine", "describe"]

_CPUS = Path("/sys/devices/system/cpu")
_SMALL = 256 * 1024
_LARGE = 8 * 2**20
"""Where the machine does not report its caches: a second level and a last level that most machines exceed."""


@dataclass(frozen=True)
class Cache:
    """A data cache of one core: its level and size in bytes, and how many logical processors share it."""

    level: int
    size: int
    shared_by: int = 1


@dataclass(frozen=True)
class Machine:
    """The machine as it reports itself. `cores` are the logical processors that this process may use."""

    processor: str
    system: str
    cores: tuple[int, ...]
    caches: tuple[Cache, ...]
    memory: int | None
    load: float | None

    @property
    def near(self) -> int:
        """Bytes of the second-level cache of one core."""
        return next((c.size for c in self.caches if c.level == 2), _SMALL)

    @property
    def last(self) -> int:
        """Bytes of the last-level cache."""
        return max((c.size for c in self.caches), default=_LARGE)

    def __str__(self) -> str:
        caches = ", ".join(f"L{c.level} {c.size // 1024} KiB" for c in self.caches) or "caches not reported"
        load = "" if self.load is None else f"; load {self.load:.1f}"
        return f"{self.processor}, {len(self.cores)} cores usable, {caches}{load}"


def describe() -> Machine:
    """Return what the machine reports.

    >>> len(describe().cores) >= 1
    True
    """
    cores = _cores()
    return Machine(
        _processor(),
        f"{platform.system()} {platform.machine()}",
        cores,
        _caches(_CPUS / f"cpu{cores[0]}" / "cache"),
        _memory(),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _cores() -> tuple[int, ...]:
    affinity = getattr(os, "sched_getaffinity", None)
    return tuple(sorted(affinity(0))) if affinity else tuple(range(os.cpu_count() or 1))


def _processor() -> str:
    try:
        found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return (found[1].strip() if found else platform.processor() or platform.machine()) or "unknown processor"


def _caches(folder: Path) -> tuple[Cache, ...]:
    """The data and unified caches of one core in sysfs; none where the system has no such files."""
    found = []
    for entry in sorted(folder.glob("index*")):
        try:
            kind, level, size, shared = (
                (entry / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_list")
            )
            if kind != "Instruction":
                found.append(Cache(int(level), int(parse(f"{size[:-1]} {size[-1]}iB", "data")), _count(shared)))
        except (OSError, ValueError):
            continue
    return tuple(found)


def _count(listed: str) -> int:
    """How many numbers a list such as 0-3,8 has."""
    ranges = [part.split("-") for part in listed.split(",") if part]
    return sum(int(r[-1]) - int(r[0]) + 1 for r in ranges) or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
