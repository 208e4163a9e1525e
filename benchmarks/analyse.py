"""Time from process start: `import hetcnn`, and `hetcnn analyse` on a ResNet-18 file with its weights."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

__all__ = ["run"]

IMPORTS = 9
ANALYSES = 7


def run() -> list[tuple[str, float, str]]:
    """Return (label, value, unit): medians of several fresh processes, the first one (cold caches) left out."""
    python = _seconds([sys.executable, "-c", "pass"], IMPORTS)
    importing = _seconds([sys.executable, "-c", "import hetcnn"], IMPORTS)
    with tempfile.TemporaryDirectory() as folder:
        file = _resnet18(Path(folder) / "resnet-18.onnx")
        megabytes = file.stat().st_size / 1e6
        command = [sys.executable, "-m", "hetcnn", "analyse", str(file), "--platform", "hikey970"]
        analysing = _seconds(command, ANALYSES)
    return [
        ("bare Python, process start to end", python, "s"),
        ("import hetcnn, process start to end", importing, "s"),
        (f"hetcnn analyse on ResNet-18 ({megabytes:.0f} MB), process start to table", analysing, "s"),
    ]


def _resnet18(file: Path) -> Path:
    from hetcnn import onnx_io, zoo

    onnx_io.save(zoo.load("resnet-18", seed=0), file)
    return file


def _seconds(command: Sequence[str], runs: int) -> float:
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return median(times[1:])


if __name__ == "__main__":
    for label, value, unit in run():
        print(f"{label}: {value:.3f} {unit}")
