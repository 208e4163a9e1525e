"""Real pipelines on this machine: a network's layers in stages, one thread each, and what each design gives.

Stages of the NumPy engine share the weights and pass on whole programs: every frame in flight has activations of its
own, and nothing is copied between stages. Stages of other engines pass on tensors.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError, unknown
from hetcnn.host import runtime
from hetcnn.host.cut import part
from hetcnn.host.flow import Flow, Work, flow
from hetcnn.host.layers import example_inputs, positions
from hetcnn.host.machine import describe
from hetcnn.kernels import blas
from hetcnn.kernels.engine import Engine
from hetcnn.kernels.plan import Program
from hetcnn.network import Network

__all__ = ["ENGINES", "Pipeline", "Replicas", "Stage", "run_pipeline", "run_threads", "stages_of"]

ENGINES = ("numpy", "onnxruntime")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """Layers first to end - 1 (indices into the network's layers) on one engine, on one core or wherever it falls."""

    first: int
    end: int
    engine: str = "numpy"
    core: int | None = None

    def __str__(self) -> str:
        return f"{self.engine} [{self.first + 1},{self.end}]"


def stages_of(
    network: Network, cuts: Sequence[int], engines: Sequence[str] = (), *, cores: Sequence[int] | None = None
) -> list[Stage]:
    """Return the stages between cuts (indices of layers), each on its engine and pinned to the next usable core.

    >>> from hetcnn import zoo
    >>> [str(stage) for stage in stages_of(zoo.load("lenet-5"), [6])]
    ['numpy [1,6]', 'numpy [7,13]']
    """
    edges = [0, *_whole(cuts, network), len(network)]
    kinds = [*engines] or ["numpy"] * (len(edges) - 1)
    if len(kinds) != len(edges) - 1:
        raise HetcnnError(f"{len(edges) - 1} stages need as many engines, got {len(kinds)}")
    for kind in kinds:
        if kind not in ENGINES:
            raise unknown("engine", kind, ENGINES)
    usable = describe().cores if cores is None else tuple(cores)
    pins = [usable[i] if len(kinds) <= len(usable) else None for i in range(len(kinds))]
    return [Stage(a, b, kind, pin) for (a, b), kind, pin in zip(itertools.pairwise(edges), kinds, pins, strict=True)]


def _whole(cuts: Sequence[int], network: Network) -> list[int]:
    """The cuts as whole numbers that rise from 1 to the last layer's index."""
    rule = f"expected indices of layers that rise, from 1 to {len(network) - 1}"
    try:
        found = [index(cut) for cut in cuts]
    except TypeError:
        raise HetcnnError(f"cuts {list(cuts)}: {rule}") from None
    if any(a >= b for a, b in itertools.pairwise([0, *found, len(network)])):
        raise HetcnnError(f"cuts {found}: {rule}")
    return found


class Pipeline:
    """A network in stages, ready to run; see `run_pipeline`."""

    def __init__(self, network: Network | Engine, stages: Sequence[Stage], *, depth: int = 1, seed: int = 0) -> None:
        net = network.network if isinstance(network, Engine) else network
        if not isinstance(net, Network):
            raise HetcnnError(
                f"network {net!r}: expected a Network with weights, such as hetcnn.zoo.load(name, seed=0)"
            )
        _check(net, stages)
        inputs = example_inputs(net, seed)
        in_flight = len(stages) + depth * (len(stages) - 1)
        self.depth, self.cores = depth, [stage.core for stage in stages]
        self.works: list[Work]
        self.items: list[Any]
        if all(stage.engine == "numpy" for stage in stages):
            engine = network if isinstance(network, Engine) else Engine(net)
            self.items = list(engine.copies(in_flight))
            spans = _spans(self.items[0], net, stages)
            self.works = [partial(_replay, span, inputs if k == 0 else None) for k, span in enumerate(spans)]
        else:
            self.items = [None] * in_flight
            self.works = [_step(net, stage, k == 0, inputs) for k, stage in enumerate(stages)]
        with blas.one_thread():
            flow(self.works, self.items, 3 + len(stages), depth=depth, cores=self.cores)  # warms up

    def run(self, frames: int = 40) -> Flow:
        """Send frames through and return what happened."""
        with blas.one_thread():
            return flow(self.works, self.items, frames, depth=self.depth, cores=self.cores)


def run_pipeline(
    network: Network | Engine, stages: Sequence[Stage], frames: int = 40, *, depth: int = 1, seed: int = 0
) -> Flow:
    """Run frames (3 or more) through the stages and return what happened: throughput, latency, times of every stage.

    `network` has weights, or is an engine for it. Stages cover its layers in order; `depth` frames at most wait between
    two stages. A layer that the engine fused with an earlier one runs with that one. Raises HetcnnError for stages
    that leave layers out, and for an engine that is not installed.
    """
    return Pipeline(network, stages, depth=depth, seed=seed).run(frames)


def _check(network: Network, stages: Sequence[Stage]) -> None:
    edges = [(stage.first, stage.end) for stage in stages]
    joined = [0, *(end for _, end in edges)]
    fits = edges == list(itertools.pairwise(joined)) and all(a < b for a, b in edges)
    if not stages or not fits or joined[-1] != len(network):
        shown = ", ".join(f"{a}:{b}" for a, b in edges) or "none"
        raise HetcnnError(f"stages {shown}: they must cover layers 0:{len(network)} in order, each at least one")
    for stage in stages:
        if stage.engine not in ENGINES:
            raise unknown("engine", stage.engine, ENGINES)
        if stage.engine == "onnxruntime" and not runtime.available():
            raise HetcnnError("engine 'onnxruntime' is not installed here; use 'numpy', or install onnxruntime")


def _spans(program: Program, network: Network, stages: Sequence[Stage]) -> list[slice]:
    """The kernels of each stage, in the order in which the engine runs them."""
    starts = positions(program, network)
    edges = [0, *(int(np.searchsorted(starts, stage.end)) for stage in stages[:-1]), len(program.kernels)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _replay(span: slice, inputs: dict[str, NDArray[Any]] | None, program: Program, _frame: int) -> Program:
    if inputs is not None:
        for name, target in program.inputs.items():
            np.copyto(target, inputs[name])
    for kernel in program.kernels[span]:
        for call in kernel.parts[0]:
            call()
    return program


def _step(network: Network, stage: Stage, first: bool, inputs: dict[str, NDArray[Any]]) -> Work:
    """A stage on tensors: those that it reads are taken from what came in, those still needed are handed on."""
    own = part(network, stage.first, stage.end)
    run = Engine(own).run if stage.engine == "numpy" else runtime.Session(own).run
    wanted = [t.name for t in own.inputs]
    later = {t.name for layer in network.layers[stage.end :] for t in layer.data} | {t.name for t in network.outputs}

    def work(item: Any, _frame: int) -> Any:
        tensors = dict(inputs) if first else item
        made = run({name: tensors[name] for name in wanted})
        return {name: array for name, array in {**tensors, **made}.items() if name in later}

    return work


def run_threads(engine: Engine, frames: int = 40) -> FloatArray:
    """Return the seconds of each of `frames` runs of an engine as it is, one frame at a time on all its threads."""
    inputs = example_inputs(engine.network)
    times = []
    for _ in range(frames + 3):
        start = time.perf_counter()
        engine.run(inputs)
        times.append(time.perf_counter() - start)
    return np.array(times[3:])


class Replicas:
    """One whole network per core, each with frames of its own: no stages, no queues."""

    def __init__(self, engine: Engine, cores: Sequence[int] = ()) -> None:
        self.cores = list(cores) or list(describe().cores)
        self.programs = engine.copies(len(self.cores))
        self.work = partial(_replay, slice(None), example_inputs(engine.network))

    def run(self, frames: int = 40) -> float:
        """Return frames/s of all together."""
        found: list[Flow] = []
        barrier = threading.Barrier(len(self.cores))

        def one(program: Program, core: int) -> None:
            barrier.wait()
            found.append(flow([self.work], [program], frames, cores=[core]))

        with blas.one_thread():
            threads = [threading.Thread(target=one, args=pair) for pair in zip(self.programs, self.cores, strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return sum(1 / float(np.median(f.intervals)) for f in found)
