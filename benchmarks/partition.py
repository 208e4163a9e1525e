"""The exact optima: three clusters in all orders (goal 5 ms), and Pipe-it's 64 pipelines over eight cores (100 ms)."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from hetcnn import partition
from hetcnn.papers.pipeit.search import TimeMatrix, exact_optimum, merge_stage

__all__ = ["run"]

RUNS = 50


def run() -> list[tuple[str, float, str]]:
    """Return (label, value, unit): medians of many calls in this process, after a first one."""
    rng = np.random.default_rng(0)
    clusters = rng.random((3, 53))
    cores = _layer_times(rng, 58)
    return [
        ("exact optimum, 53 layers, 3 clusters, all orders", _ms(lambda: partition.best_over_orders(clusters)), "ms"),
        ("exact optimum, 58 layers, 8 cores, all 64 pipelines", _ms(lambda: exact_optimum(cores)), "ms"),
        ("Pipe-it's Algorithm 3 on the same layers", _ms(lambda: merge_stage(cores)), "ms"),
    ]


def _layer_times(rng: np.random.Generator, layers: int) -> TimeMatrix:
    big, slower, serial = rng.random(layers), rng.uniform(2, 5, layers), rng.uniform(0, 0.4, layers)
    one = {"B": big, "s": big * slower}
    times = {(kind, n): one[kind] * (serial + (1 - serial) / n) for kind in "Bs" for n in range(1, 5)}
    return TimeMatrix(tuple(f"layer {i + 1}" for i in range(layers)), times)


def _ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times[1:])


if __name__ == "__main__":
    for label, value, unit in run():
        print(f"{label}: {value:.3f} {unit}")
