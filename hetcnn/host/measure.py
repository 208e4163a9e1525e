"""`hetcnn measure`: rates of matrix products and memory per thread count, cost of a call, what kinds of layer reach."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hetcnn.host import layers, runtime, training
from hetcnn.host.machine import Machine, describe
from hetcnn.host.pinning import pinned
from hetcnn.host.timing import SPREAD, Sample, repeat
from hetcnn.kernels import blas
from hetcnn.kernels.engine import Engine
from hetcnn.network import Network

__all__ = ["GEMMS", "Figure", "Measured", "call_cost", "gemm_rate", "kind_rates", "measure", "stream"]

GEMMS = ((512, 512, 512), (3136, 576, 64), (784, 1152, 128), (196, 2304, 256), (49, 4608, 512))
"""Matrix products (N, K, M): a square one, and 3x3 convolutions as products at 56, 28, 14 and 7 pixels."""

WINDOW = 0.08
"""Seconds of one round of a rate."""

Task = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """One measured number in SI units: its relative spread, samples, how it was measured, whether it settled."""

    value: float
    spread: float
    rounds: int
    how: str
    settled: bool = True

    @property
    def source(self) -> str:
        """How and how well it was measured, in one line."""
        unsettled = "" if self.settled else ", not settled"
        return f"measured: {self.how}; {self.rounds} samples, spread {100 * self.spread:.1f} %{unsettled}"


@dataclass(frozen=True)
class Measured:
    """All that `measure` finds. gemm: (threads, N, K, M) -> ops/s; memory: (threads, "copy" or "triad") -> bytes/s.

    call: seconds of a NumPy call on tiny arrays; kinds: engine ("numpy", "onnxruntime") -> "conv",
    "dw" or "fc" -> ops/s of whole layers on one thread.
    """

    machine: Machine
    gemm: Mapping[tuple[int, int, int, int], Figure]
    memory: Mapping[tuple[int, str], Figure]
    call: Figure
    kinds: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def threads(self) -> tuple[int, ...]:
        """The thread counts that were measured."""
        return tuple(sorted({key[0] for key in self.gemm}))

    def peak(self, threads: int = 1) -> Figure:
        """The best product's rate on so many threads."""
        return max((f for key, f in self.gemm.items() if key[0] == threads), key=lambda f: f.value)

    def bandwidth(self, threads: int = 1) -> Figure:
        """The better of copy and triad on so many threads."""
        return max((f for key, f in self.memory.items() if key[0] == threads), key=lambda f: f.value)


def thread_counts(cores: int) -> tuple[int, ...]:
    """Return the thread counts to try: 1, 2, 4 ... and all cores.

    >>> thread_counts(6)
    (1, 2, 4, 6)
    """
    doubled = itertools.takewhile(lambda n: n < cores, (2**i for i in itertools.count()))
    return (*doubled, cores)


def measure(*, quick: bool = False, say: Callable[[str], None] = lambda _: None) -> Measured:
    """Measure this machine: under a minute, under ten seconds with `quick`; `say` is told each step.

    A figure is measured again until its spread is small or its time is up; it knows which.
    """
    start = time.perf_counter()
    machine = describe()
    blas.use_avx512()
    seconds = 0.25 if quick else 1.2
    counts = (1, len(machine.cores)) if quick else thread_counts(len(machine.cores))
    counts = tuple(dict.fromkeys(counts))
    shapes = GEMMS[::2] if quick else GEMMS
    say(str(machine))
    gemm = {}
    for threads in counts:
        say(f"matrix products on {threads} thread{'s' * (threads > 1)}")
        for shape in shapes:
            gemm[threads, *shape] = gemm_rate(shape, machine.cores[:threads], seconds=seconds)
    memory = {}
    for threads in counts:
        say(f"memory on {threads} thread{'s' * (threads > 1)}")
        for kind in ("copy", "triad"):
            memory[threads, kind] = stream(kind, machine.cores[:threads], machine.last, seconds=2 * seconds)
    say("cost of a call")
    call = call_cost(seconds=seconds)
    say("kinds of layer")
    kinds = kind_rates(machine, count=4 if quick else 16)
    return Measured(machine, gemm, memory, call, kinds, time.perf_counter() - start)


def _rate(tasks: Sequence[Task], cores: Sequence[int], work: float, seconds: float) -> Sample:
    """Sample the time per unit of work while all tasks run at once, each in its own thread on its own core.

    One thread is timed by its processor time, several by the clock on the wall.
    """
    if len(tasks) == 1:
        (task,) = tasks
        with pinned(cores[0]):
            once = _once(task, time.thread_time)
            times = max(1, round(WINDOW / 4 / once))
            return repeat(lambda: _loop(task, times, time.thread_time) / work, seconds=seconds, enough=SPREAD / 3)
    return repeat(lambda: _window(tasks, cores) / work, seconds=seconds, enough=SPREAD / 3)


def _once(task: Task, clock: Callable[[], float]) -> float:
    return min(_loop(task, 1, clock) for _ in range(3)) or 1e-6


def _loop(task: Task, times: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(times):
        task()
    return (clock() - start) / times


def _window(tasks: Sequence[Task], cores: Sequence[int]) -> float:
    """Seconds per call over all threads together, in a window in which all of them run."""
    done = [0.0] * len(tasks)
    barrier = threading.Barrier(len(tasks))

    def work(k: int) -> None:
        with pinned(cores[k]):
            barrier.wait()
            start, count = time.perf_counter(), 0
            while (now := time.perf_counter()) - start < WINDOW or count == 0:
                tasks[k]()
                count += 1
            done[k] = count / (now - start)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1 / sum(done)


def _figure(sample: Sample, how: str, *, rate: bool = True) -> Figure:
    value = float(sample.median)
    return Figure(1 / value if rate else value, float(sample.spread), sample.rounds, how, sample.settled)


def gemm_rate(shape: tuple[int, int, int], cores: Sequence[int], *, seconds: float = 1.0) -> Figure:
    """Return the rate in ops/s of float32 products (N, K) by (K, M), one per core at the same time."""
    n, k, m = shape
    rng = np.random.default_rng(0)
    tasks: list[Task] = []
    for _ in cores:
        a, b = rng.random((n, k), np.float32), rng.random((k, m), np.float32)
        tasks.append(_product(a, b, np.empty((n, m), np.float32)))
    with blas.one_thread():
        sample = _rate(tasks, cores, 2.0 * n * k * m, seconds)
    return _figure(sample, f"float32 product {n} x {k} x {m} on {len(cores)} thread{'s' * (len(cores) > 1)}")


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Task:
    return lambda: np.matmul(a, b, out=out)


def stream(kind: str, cores: Sequence[int], cache: int, *, seconds: float = 1.0) -> Figure:
    """Return bytes/s of a copy (a = b) or a triad (a = b + s c), with arrays of three times the last-level cache.

    Bytes are counted as in STREAM: two per copied byte, three per byte of the triad.
    """
    size = max(4 * 2**20, 3 * cache // 4 // len(cores)) // CHUNK * CHUNK
    tasks = [_copy(size) if kind == "copy" else _triad(size) for _ in cores]
    sample = _rate(tasks, cores, size * 4.0 * (2 if kind == "copy" else 3), seconds)
    return _figure(sample, f"{kind} of {size * 4 / 1e6:.0f} MB per thread, {len(cores)} thread{'s' * (len(cores) > 1)}")


CHUNK = 16 * 1024
"""Floats that the triad handles at a time, so that its product stays in the near cache."""


def _copy(size: int) -> Task:
    a, b = np.zeros(size, np.float32), np.ones(size, np.float32)
    return lambda: np.copyto(a, b)


def _triad(size: int) -> Task:
    a, b, c = (np.ones((size // CHUNK, CHUNK), np.float32) for _ in range(3))

    def run() -> None:
        for x, y, z in zip(a, b, c, strict=True):
            np.multiply(z, np.float32(0.5), out=x)
            np.add(x, y, out=x)

    return run


def call_cost(*, seconds: float = 0.5) -> Figure:
    """Return the seconds of a NumPy call that has next to nothing to do: a product of 4 x 4 matrices."""
    a = np.ones((4, 4), np.float32)
    out = np.empty_like(a)
    with blas.one_thread():
        task = _product(a, a, out)
        sample = repeat(lambda: _loop(task, 2000, time.thread_time), seconds=seconds, enough=SPREAD / 3)
    return _figure(sample, "NumPy product of 4 x 4 matrices, one thread", rate=False)


def kind_rates(machine: Machine, *, count: int) -> dict[str, dict[str, Figure]]:
    """Return engine -> kind -> ops/s that convolutions, depthwise and fully connected layers reach on one thread.

    The median over the layers of made-up networks (see `training`), for NumPy and, where it is installed, ONNX Runtime;
    the spread is that of the median over layers.
    """
    rates: dict[str, dict[str, list[float]]] = {}
    for network in training.networks(count):
        found = layers.measure(Engine(network), near=machine.near, cache=machine.last, seconds=0.1)
        for line in layers.lines(found, network):
            if line.kind:
                rates.setdefault("numpy", {}).setdefault(line.kind, []).append(line.ops / line.time)
        if runtime.available():
            for kind, rate in _runtime_rates(network):
                rates.setdefault("onnxruntime", {}).setdefault(kind, []).append(rate)
    return {
        engine: {kind: _middle(values, engine, count) for kind, values in kinds.items()}
        for engine, kinds in rates.items()
    }


def _runtime_rates(network: Network) -> Iterator[tuple[str, float]]:
    """The kind and rate of each layer in ONNX Runtime, with the layers that ride with it."""
    times = runtime.layer_times(network, layers.example_inputs(network), rounds=8)
    for segment in network.segments:
        major = next(layer for layer in segment if layer.macs)
        seconds = sum(times.get(layer.name, 0.0) for layer in segment)
        if seconds > 0:
            yield major.kind, major.ops / seconds


def _middle(values: Sequence[float], engine: str, count: int) -> Figure:
    sample = Sample(np.array(values))
    how = f"median over {len(values)} layers of {count} made-up networks in {_NAMES[engine]}, one thread"
    return Figure(float(sample.median), float(sample.spread), len(values), how)


_NAMES = {"numpy": "hetcnn's NumPy engine", "onnxruntime": "ONNX Runtime"}
