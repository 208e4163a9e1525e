"""The NumPy engine against ONNX Runtime: whole networks, alternating in one process, medians; writes engine_results.md.

`python -m benchmarks engine` prints the figures and keeps the table beside this file.
"""

from __future__ import annotations

import gc
import platform
import time
import tracemalloc
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from hetcnn import onnx_io, zoo
from hetcnn.kernels import blas
from hetcnn.kernels.engine import Engine
from hetcnn.network import Network

__all__ = ["run"]

NETWORKS = (
    "alexnet",
    "vgg-16",
    "googlenet",
    "squeezenet-1.1",
    "resnet-18",
    "resnet-50",
    "mobilenet-v2",
    "shufflenet-v2",
)
SECONDS = 5.0
"""Time to spend on each comparison; at least 7 and at most 60 rounds."""
BATCH = 8
TABLE = Path(__file__).with_name("engine_results.md")


class Pair(NamedTuple):
    """Medians of both runtimes in seconds."""

    engine: float
    runtime: float

    @property
    def ratio(self) -> float:
        """The engine's time in units of ONNX Runtime's."""
        return self.engine / self.runtime


class Line(NamedTuple):
    """All that is measured of one network."""

    name: str
    single: Pair
    cpu: float
    pair: Pair
    batch: Pair
    error: float
    planning: float
    peak: float
    allowed: float


def run() -> list[tuple[str, float, str]]:
    """Return (label, value, unit) and write the table."""
    lines = [_measure(name) for name in NETWORKS]
    TABLE.write_text(_table(lines))
    rows: list[tuple[str, float, str]] = []
    for line in lines:
        rows += [
            (f"{line.name}: engine", 1e3 * line.single.engine, "ms"),
            (f"{line.name}: ONNX Runtime", 1e3 * line.single.runtime, "ms"),
            (f"{line.name}: ratio", line.single.ratio, "x"),
            (f"{line.name}: ratio of processor time", line.cpu, "x"),
            (f"{line.name}: ratio, batch 1, two threads", line.pair.ratio, "x"),
            (f"{line.name}: ratio, batch {BATCH}, two threads", line.batch.ratio, "x"),
        ]
    rows += [
        ("geometric mean of the ratios, batch 1, one thread", geometric_mean(x.single.ratio for x in lines), "x"),
        (
            "geometric mean without GoogLeNet, whose LRN is slow in ONNX Runtime",
            geometric_mean(x.single.ratio for x in _without_lrn(lines)),
            "x",
        ),
        ("geometric mean of the ratios of processor time", geometric_mean(x.cpu for x in lines), "x"),
        ("largest error, relative to the output's scale", max(x.error for x in lines), "1"),
        ("largest share of the allowed memory that a run takes", max(x.peak / x.allowed for x in lines), "1"),
        ("planning ResNet-50", next(x.planning for x in lines if x.name == "resnet-50"), "s"),
    ]
    return rows


def _measure(name: str) -> Line:
    network = zoo.load(name, seed=0)
    gc.collect()
    start = time.perf_counter()
    engine = Engine(network)
    planning = time.perf_counter() - start
    x = _images(network, 1)
    peak = engine.memory.total + _allocated(lambda: engine.run(x))
    allowed = 1.5 * engine.memory.weights + 4 * _two_largest(network)
    one = _session(network, 1)
    error = _error(engine, one, network)
    single = _compare(lambda: engine.run(x), lambda: one(x), time.perf_counter)
    processor = _compare(lambda: engine.run(x), lambda: one(x), time.thread_time)
    both, two = Engine(network, threads=2), _session(network, 2)
    pair = _compare(lambda: both.run(x), lambda: two(x), time.perf_counter, _settle)
    many, eight = _images(network, BATCH), _session(zoo.load(name, batch=BATCH, seed=0), 2)
    batch = _compare(lambda: both.run(many), lambda: eight(many), time.perf_counter, _settle)
    return Line(name, single, processor.ratio, pair, batch, error, planning, peak, allowed)


def _session(network: Network, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model = onnx_io.to_model(network).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = network.inputs[0].name
    return lambda x: session.run(None, {name: x})[0]


def _images(network: Network, batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, *network.inputs[0].shape[1:]), dtype=np.float32)


def _error(engine: Engine, runtime: Callable[[np.ndarray], np.ndarray], network: Network) -> float:
    """Of two inputs, one after the other."""
    errors = []
    for seed in range(2):
        x = _images(network, 1, seed)
        wanted = runtime(x)
        got = engine.run(x)[network.outputs[0].name]
        errors.append(float(np.abs(got - wanted).max() / np.abs(wanted).max()))
    return max(errors)


def _settle() -> None:
    """Wait until no thread of this process works: ONNX Runtime's spin on after a run, on a core of the next."""
    used = 1.0
    while used > 1e-3:  # over several ticks of the system's clock: only then does a thread elsewhere count
        before = time.process_time()
        time.sleep(20e-3)
        used = time.process_time() - before


def _compare(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    clock: Callable[[], float],
    before: Callable[[], None] = lambda: None,
) -> Pair:
    """Medians of alternating runs; the first of each does not count. `before` is called, untimed, before each run."""
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    for _ in range(60):
        for action, mine in zip((ours, theirs), times, strict=True):
            before()
            start = clock()
            action()
            mine.append(clock() - start)
        if len(times[0]) > 7 and time.perf_counter() - began > SECONDS:
            break
    return Pair(median(times[0][1:]), median(times[1][1:]))


def _allocated(action: Callable[[], Any]) -> int:
    """Bytes that one run allocates on top of what is planned."""
    action()
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _two_largest(network: Network) -> int:
    sizes = sorted(t.nbytes for layer in network for t in layer.outputs if t.dtype == "float32")
    return sum(sizes[-2:])


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")


def _table(lines: list[Line]) -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "onnxruntime"))
    head = "| network | engine, ms | ONNX Runtime, ms | ratio | processor time | 2 threads | batch 8, 2 threads "
    out = [
        "# The NumPy engine against ONNX Runtime",
        "",
        f"{_processor()}; {versions}; {blas.describe()}. Python {platform.python_version()}.",
        "float32, seeded random weights, 224 x 224 images. Medians of runs that alternate with ONNX Runtime's in one",
        "process. Ratios are the engine's time / ONNX Runtime's: smaller is better. Columns 2 to 4 are batch 1 on one",
        "thread, wall time; column 5 is the same in processor time, which other work on the machine disturbs less;",
        "columns 6 and 7 are batch 1 and batch 8 on two threads each, every run begun when all threads of the other",
        "had gone to sleep. Error: largest, relative to the greatest output.",
        "Memory: bytes planned and allocated in a run, over 1.5 x weights + 4 x the two largest activations.",
        "",
        head + "| error | planning, s | memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for x in lines:
        times = f"{1e3 * x.single.engine:.2f} | {1e3 * x.single.runtime:.2f} | {x.single.ratio:.2f} | {x.cpu:.2f}"
        threads = f"{x.pair.ratio:.2f} | {x.batch.ratio:.2f}"
        out.append(f"| {x.name} | {times} | {threads} | {x.error:.1e} | {x.planning:.2f} | {x.peak / x.allowed:.2f} |")
    for title, some in (("geometric mean", lines), ("the same without googlenet", [*_without_lrn(lines)])):
        means = [geometric_mean(column) for column in zip(*(_ratios(x) for x in some), strict=True)]
        out.append(f"| {title} | | | {' | '.join(f'{m:.2f}' for m in means)} | | | |")
    out += ["", "Half of ONNX Runtime's time on GoogLeNet goes into two response normalisations, which it runs slowly."]
    return "\n".join(out) + "\n"


def _without_lrn(lines: list[Line]) -> Iterator[Line]:
    return (x for x in lines if x.name != "googlenet")


def _ratios(x: Line) -> tuple[float, float, float, float]:
    return x.single.ratio, x.cpu, x.pair.ratio, x.batch.ratio


if __name__ == "__main__":
    for label, value, unit in run():
        print(f"{label}: {value:.3g} {unit}")
