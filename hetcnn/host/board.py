"""A measured machine as a board file, like those that ship: every number with how it was measured and its spread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from hetcnn import platform
from hetcnn.host import energy
from hetcnn.host.measure import Figure, Measured
from hetcnn.platform import Platform
from hetcnn.units import si

__all__ = ["MOST_CORES", "report", "to_platform", "to_toml", "write"]

MOST_CORES = 4
"""Cores that become devices of their own; more make the search for pipelines slow and the file long."""


def to_toml(measured: Measured) -> str:
    """Return the board file: one device per core, and where it is installed ONNX Runtime on the same cores."""
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


def report(measured: Measured) -> Iterator[str]:
    """Yield every measured figure in a line: products and memory per thread count, the call, kinds of layer."""
    named: list[tuple[Figure, str]] = [(figure, "op/s") for figure in measured.gemm.values()]
    named += [(figure, "B/s") for figure in measured.memory.values()]
    named += [(measured.call, "s")]
    named += [(figure, "op/s") for kinds in measured.kinds.values() for figure in kinds.values()]
    labels = [""] * (len(named) - sum(map(len, measured.kinds.values())))
    labels += [f"{kind}, " for kinds in measured.kinds.values() for kind in kinds]
    for (figure, unit), label in zip(named, labels, strict=True):
        yield f"{_digits(figure.value, unit):>12}  {label}{figure.source}"


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
    about += "several shapes; efficiencies are medians over layers of made-up networks of each engine, over the "
    about += "peak. Spread: uncertainty of the median."
    yield f"about = {_text(about)}"
    yield ""
    yield "# Everything that was measured:"
    yield from (f"#   {line}" for line in report(measured))
    yield ""
    yield "[memories.dram]"
    yield 'title = "Main memory"'
    yield _quantity("bandwidth", _best(measured), "B/s")
    if machine.memory:
        yield f'capacity = {{ value = "{machine.memory} B", source = "reported by the system" }}'
    names = [f"{prefix}-{n}" for prefix in _engines(measured) for n in range(1, min(cores, MOST_CORES) + 1)]
    for name in names:
        yield from _core(measured, name)
    yield from _rails(names)


_ENGINES = {"core": "numpy", "ort": "onnxruntime"}
_TITLES = {"core": "NumPy engine", "ort": "ONNX Runtime"}


def _engines(measured: Measured) -> list[str]:
    """The prefixes of devices: cores with the NumPy engine, and the same cores with ONNX Runtime where it is there."""
    return ["core", *(["ort"] if measured.kinds.get("onnxruntime") else [])]


def _best(measured: Measured) -> Figure:
    """What the memory gives at best, on however many threads."""
    return max((measured.bandwidth(threads) for threads in measured.threads), key=lambda figure: figure.value)


def _core(measured: Measured, name: str) -> Iterator[str]:
    prefix, number = name.split("-")
    peak = measured.peak(1)
    yield ""
    yield f"[devices.{name}]"
    yield f'title = "Core {number}, {_TITLES[prefix]}, one thread"'
    yield 'kind = "cpu"'
    yield 'memories = ["dram"]'
    if prefix != "core":
        yield f'shares = "core-{number}"'
    yield 'cores = { value = 1, source = "one thread on one of the cores that the system reports" }'
    yield _quantity("peak", peak, "op/s")
    yield _quantity("launch", measured.call, "s")
    yield f"[devices.{name}.bandwidth]"
    yield _quantity("dram", measured.bandwidth(1), "B/s")
    if measured.machine.caches:
        yield f"[devices.{name}.buffers]"
        for cache in measured.machine.caches:
            yield f'l{cache.level} = {{ value = "{cache.size // 1024} KiB", source = "reported by the system" }}'
    kinds = measured.kinds.get(_ENGINES[prefix], {})
    if kinds:
        yield f"[devices.{name}.efficiency]"
    for kind, figure in kinds.items():
        share = min(figure.value / peak.value, 1.0)
        yield f"{kind} = {{ value = {share:.4g}, source = {_text(figure.source)} }}"


def _rails(devices: list[str]) -> Iterator[str]:
    """The processor's package as a rail, where its energy counter can be read."""
    counter = next(iter(energy.counters()), None)
    if counter is None:
        return
    idle, busy = energy.idle_and_busy(counter)
    feeds = ", ".join(f'"{name}"' for name in devices)
    yield ""
    yield "[rails.package]"
    yield f"title = {_text(counter.name)}"
    yield f"feeds = [{feeds}]"
    yield _quantity("static", idle, "W")
    yield _quantity("dynamic", busy, "W")
