"""Time of `hetcnn reproduce` and of the command line, from process start to its end."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5


def seconds(*arguments: str) -> float:
    """Time of one command; its output is thrown away, its exit code does not matter here."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hetcnn", *arguments], capture_output=True, check=False)
    return time.perf_counter() - start


def run() -> list[tuple[str, float, str]]:
    """Cold and warm reproduction into a temporary folder, and the bare command."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        cold = seconds("reproduce", "--out", out)
        warm = statistics.median(seconds("reproduce", "--out", out) for _ in range(RUNS))
    bare = statistics.median(seconds("--help") for _ in range(RUNS))
    return [
        ("reproduce, first run", cold, "s"),
        (f"reproduce, repeated (median of {RUNS})", warm, "s"),
        ("first run / repeated", cold / warm, "x"),
        (f"hetcnn --help (median of {RUNS})", bare, "s"),
    ]
