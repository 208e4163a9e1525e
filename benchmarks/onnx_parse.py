"""How long a ResNet-18 file with its weights takes to become a `Network`, and how long plain parsing takes."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx

from hetcnn import onnx_io, zoo

RUNS = 15


def median_ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def run() -> list[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet-18.onnx"
        onnx_io.save(zoo.load("resnet-18", seed=0), path)
        size = path.stat().st_size / 1e6
        start = time.perf_counter()
        onnx_io.load(path)
        first = 1e3 * (time.perf_counter() - start)
        ours, plain = median_ms(lambda: onnx_io.load(path)), median_ms(lambda: onnx.load(path))
    label = f"ResNet-18 with weights ({size:.0f} MB)"
    return [
        (f"{label}: hetcnn.onnx_io.load, median of {RUNS}", ours, "ms"),
        (f"{label}: hetcnn.onnx_io.load, first call", first, "ms"),
        (f"{label}: onnx.load, median of {RUNS}", plain, "ms"),
    ]


if __name__ == "__main__":
    for label, value, unit in run():
        print(f"{label}: {value:.2f} {unit}")
