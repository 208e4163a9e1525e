"""A measured machine as a board file, like those that ship: every number with how it was measured and its spread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hetcnn import platform
from hetcnn.host import energy
from hetcnn.host.measure import Figure, Measured
from hetcnn.platform import Platform
from hetcnn.units import si

__all__ = ["MOST_CORES", "to_platform", "to_toml", "write"]

MOST_CORES = 4
"""Cores that become devices of their own; more make the search for pipelines slow and the file long."""


def to_toml(measured: Measured) -> str:
    """Return the board file: one device per core, and where it was measured ONNX Runtime on the first core."""
    return "\n".join(_lines(measured)) + "\n"


def to_platform(measured: Measured, key: str = "my-machine") -> Platform:
    """Return the machine as a `Platform`, for everything that takes a board."""
    return platform.parse(to_toml(measured).encode(), f"{key}.toml")


def write(measured: Measured, path: Path) -> Path:
    """Write the board file whole or not at all; returns its path."""
    text = to_toml(measured)
    platform.parse(text.encode(), path.name)  # never write what would not be read back
    temporary = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


def _text(value: str) -> str:
    return json.dumps(re.sub(r"\s+", " ", value), ensure_ascii=False)


def _quantity(name: str, figure: Figure, unit: str) -> str:
    return f"{name} = {{ value = {_text(_digits(figure.value, unit))}, source = {_text(figure.source)} }}"


def _digits(value: float, unit: str) -> str:
    return f"{value:.4g}" if not unit else si(value, unit, 4).replace(",", "")


def _lines(measured: Measured) -> Iterator[str]:
    machine = measured.machine
    cores = len(machine.cores)
    yield f"title = {_text(f'{machine.processor}, {cores} cores')}"
    about = (
        f"Measured by 'hetcnn measure' in {measured.seconds:.0f} s. {machine}. Peaks are the best float32 product of "
    )
    about += (
        "several shapes; efficiencies are medians over layers of made-up networks in hetcnn's NumPy engine, over the "
    )
    about += "peak. Spread: uncertainty of the median."
    yield f"about = {_text(about)}"
    yield ""
    yield "[memories.dram]"
    yield 'title = "Main memory"'
    yield _quantity("bandwidth", measured.bandwidth(max(measured.threads)), "B/s")
    if machine.memory:
        yield f'capacity = {{ value = "{machine.memory} B", source = "reported by the system" }}'
    for number in range(1, min(cores, MOST_CORES) + 1):
        yield from _core(measured, number)
    yield from _rails(min(cores, MOST_CORES))


def _core(measured: Measured, number: int) -> Iterator[str]:
    peak, kinds = measured.peak(1), measured.kinds
    yield ""
    yield f"[devices.core-{number}]"
    yield f'title = "Core {number}, NumPy engine, one thread"'
    yield 'kind = "cpu"'
    yield 'memories = ["dram"]'
    yield 'cores = { value = 1, source = "one thread on one of the cores that the system reports" }'
    yield _quantity("peak", peak, "op/s")
    yield _quantity("launch", measured.call, "s")
    caches = {f"l{c.level}": c.size for c in measured.machine.caches}
    yield f"[devices.core-{number}.bandwidth]"
    bandwidth = measured.bandwidth(1)
    total = measured.bandwidth(max(measured.threads))
    yield _quantity("dram", bandwidth if bandwidth.value <= total.value else total, "B/s")
    if caches:
        yield f"[devices.core-{number}.buffers]"
        for name, size in caches.items():
            yield f'{name} = {{ value = "{size // 1024} KiB", source = "reported by the system" }}'
    yield from _efficiency(number, kinds, peak)


def _efficiency(number: int, kinds: Mapping[str, Figure], peak: Figure) -> Iterator[str]:
    if kinds:
        yield f"[devices.core-{number}.efficiency]"
    for kind, figure in kinds.items():
        share = min(figure.value / peak.value, 1.0)
        yield f"{kind} = {{ value = {share:.4g}, source = {_text(figure.source)} }}"


def _rails(cores: int) -> Iterator[str]:
    """The processor's package as a rail, where its energy counter can be read."""
    counter = next(iter(energy.counters()), None)
    if counter is None:
        return
    idle, busy = energy.idle_and_busy(counter)
    feeds = ", ".join(f'"core-{number}"' for number in range(1, cores + 1))
    yield ""
    yield "[rails.package]"
    yield f"title = {_text(counter.name)}"
    yield f"feeds = [{feeds}]"
    yield _quantity("static", idle, "W")
    yield _quantity("dynamic", busy, "W")
