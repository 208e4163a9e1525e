"""Run a `Network` fast with NumPy alone: plan once, then replay array operations on fixed memory.

Planning folds batch norm, fuses bias, clamp and residual sums, picks an algorithm per convolution, lays out weights,
turns concatenations and shuffles into addresses, and packs activations into one block of memory. A run copies the
input in, replays the calls and copies the output out.
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError, unknown
from hetcnn.kernels import blas
from hetcnn.kernels.fast.fuse import fuse
from hetcnn.kernels.fast.memory import Shelf
from hetcnn.kernels.fast.team import Phase, Team, phases
from hetcnn.kernels.plan import Program, plan
from hetcnn.network import Network, Tensor

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Engine", "Memory"]

CHOICES = ("shape", "measured")
Inputs = Mapping[str, NDArray[Any]] | NDArray[Any]


@dataclass(frozen=True)
class Memory:
    """What an engine holds, in bytes: laid-out weights, activations, scratch memory of the workers."""

    weights: int
    activations: int
    workspace: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.activations + self.workspace


@dataclass(frozen=True)
class _Ready:
    """A network planned for one batch size: a program per share of the batch, or one whose layers are divided."""

    shares: tuple[slice, ...]
    programs: tuple[Program, ...]
    phases: tuple[Phase, ...] = ()


class Engine:
    """A network ready to run; several engines may run at once in several threads, calls of one engine take turns.

    `batch` is planned at once (default: the network's own), others when they first come; the first axis of every
    tensor is the batch. `threads` divide the batch, or the layers when the batch is smaller. `choice` picks the
    algorithm of a convolution by "shape", or by timing the candidates while planning ("measured").
    `switch_blas=False` leaves the BLAS's kernels as they are. Raises HetcnnError for a missing weight, an operator
    that is not supported and a wrong setting, naming the layer.

    >>> from hetcnn import zoo
    >>> engine = Engine(zoo.load("lenet-5", seed=0))
    >>> x = np.zeros((2, 1, 28, 28), np.float32)
    >>> {name: y.shape for name, y in engine.run(x).items()}
    {'softmax': (2, 10)}
    """

    def __init__(
        self,
        network: Network,
        *,
        batch: int | None = None,
        threads: int = 1,
        choice: str = "shape",
        switch_blas: bool = True,
    ) -> None:
        if choice not in CHOICES:
            raise unknown("choice", choice, CHOICES)
        for name, value in (("threads", threads), ("batch", 1 if batch is None else batch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise HetcnnError(f"{name}={value!r}: it must be a whole number from 1")
        if switch_blas:
            blas.use_avx512()
        self.network = network
        self.threads = threads
        self.choice = choice
        self._weights = Shelf()
        self._ready: dict[int, _Ready] = {}
        self._lock = threading.RLock()
        self._team = Team(threads) if threads > 1 else None
        if self._team is not None:
            weakref.finalize(self, self._team.close)
        self.batch = batch or self._own_batch
        self._prepare(self.batch)

    @property
    def _own_batch(self) -> int:
        shape = self.network.inputs[0].shape if self.network.inputs else ()
        return shape[0] if shape else 1

    def _prepare(self, batch: int) -> _Ready:
        if batch not in self._ready:
            with blas.one_thread():
                self._ready[batch] = self._plan(batch)
        return self._ready[batch]

    def _plan(self, batch: int) -> _Ready:
        steps = fuse(self.network)
        divide = batch >= self.threads
        count = self.threads if divide else 1
        cuts = [batch * k // count for k in range(count + 1)]
        shares = tuple(slice(a, b) for a, b in itertools.pairwise(cuts))
        workers = 1 if divide else self.threads
        programs = tuple(
            plan(self.network, steps, s.stop - s.start, self._weights, workers, self.choice) for s in shares
        )
        return _Ready(shares, programs, () if divide else tuple(phases(programs[0].kernels, workers)))

    def run(self, inputs: Inputs) -> dict[str, NDArray[Any]]:
        """Return the outputs by name, as new arrays; `inputs` is name -> array, or the only input's array.

        Raises HetcnnError for a missing or unknown name and for a shape or type that does not fit.
        """
        given, batch = self._check(inputs)
        with self._lock, blas.one_thread():
            ready = self._prepare(batch)
            for share, program in zip(ready.shares, ready.programs, strict=True):
                for name, target in program.inputs.items():
                    np.copyto(target, given[name][share] if target.shape != given[name].shape else given[name])
            if ready.phases:
                assert self._team is not None
                self._team.replay(ready.phases)
            elif self._team is not None:
                self._team.each(lambda worker: _replay(ready.programs[worker]))
            else:
                _replay(ready.programs[0])
            return self._outputs(ready)

    def _outputs(self, ready: _Ready) -> dict[str, NDArray[Any]]:
        found = {}
        for tensor in self.network.outputs:
            parts = [np.array(p.outputs[tensor.name][0]).reshape(p.outputs[tensor.name][1]) for p in ready.programs]
            found[tensor.name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found

    def _check(self, inputs: Inputs) -> tuple[dict[str, NDArray[Any]], int]:
        tensors = {t.name: t for t in self.network.inputs}
        if not isinstance(inputs, Mapping):
            if len(tensors) != 1:
                raise HetcnnError(f"network '{self.network.name}' has {len(tensors)} inputs; give a mapping of names")
            inputs = {next(iter(tensors)): inputs}
        for name in inputs:
            if name not in tensors:
                raise unknown(f"input of {self.network.name}", name, tensors)
        given = {}
        batches = set()
        for name, tensor in tensors.items():
            if name not in inputs:
                raise HetcnnError(f"network '{self.network.name}': the input '{name}' {tensor.shape} is missing")
            given[name] = array = np.asarray(inputs[name])
            batches.add(self._batch_of(tensor, array))
        batches.discard(None)
        if len(batches) > 1:
            raise HetcnnError(f"network '{self.network.name}': inputs of different batches {sorted(batches, key=str)}")
        return given, batches.pop() or self.batch if batches else self.batch

    def _batch_of(self, tensor: Tensor, array: NDArray[Any]) -> int | None:
        """The batch that an array brings, None where the tensor has no batch axis."""
        where = f"network '{self.network.name}': input '{tensor.name}'"
        if array.dtype != np.dtype(tensor.dtype):
            raise HetcnnError(f"{where} has the type {array.dtype}; it must be {tensor.dtype}")
        batched = bool(tensor.shape) and tensor.shape[0] == self._own_batch
        fits = array.shape[1:] == tensor.shape[1:] and array.ndim == len(tensor.shape)
        if not fits or (array.ndim and (array.shape[0] < 1 or (not batched and array.shape != tensor.shape))):
            wanted = ("batch", *tensor.shape[1:]) if batched else tensor.shape
            raise HetcnnError(f"{where} has the shape {array.shape}; it must be ({', '.join(map(str, wanted))})")
        return array.shape[0] if batched else None

    @property
    def memory(self) -> Memory:
        """Bytes of what is planned so far."""
        programs = [p for ready in self._ready.values() for p in ready.programs]
        return Memory(
            self._weights.nbytes + sum(p.constant_bytes for p in programs),
            sum(p.activation_bytes for p in programs),
            sum(p.workspace_bytes for p in programs),
        )

    def profile(self, inputs: Inputs, *, repeats: int = 10) -> xr.Dataset:
        """Return the time per layer on one thread: `time` (s, median of `repeats` runs) over the dimension `layer`.

        Layers that were fused share a line, named after the first; `layers` lists them, `algorithm` says what ran.
        """
        import xarray as xr

        given, batch = self._check(inputs)
        with self._lock, blas.one_thread():
            program = self._prepare(batch).programs[0]
            share = self._prepare(batch).shares[0]
            times: list[list[float]] = [[] for _ in program.kernels]
            for _ in range(repeats + 1):
                for name, target in program.inputs.items():
                    np.copyto(target, given[name][share] if target.shape != given[name].shape else given[name])
                for kernel, mine in zip(program.kernels, times, strict=True):
                    start = time.perf_counter()
                    for part in range(len(kernel.parts)):
                        kernel.run(part)
                    mine.append(time.perf_counter() - start)
        lines: dict[tuple[str, ...], tuple[list[str], float]] = {}
        for kernel, layers, mine in zip(program.kernels, program.layers, times, strict=True):
            algorithms, total = lines.get(layers, ([], 0.0))
            named = [*algorithms, kernel.algorithm] if kernel.algorithm not in algorithms else algorithms
            lines[layers] = named, total + median(mine[1:])
        macs = [sum(self.network[name].macs for name in layers if name) for layers in lines]
        return xr.Dataset(
            {
                "time": ("layer", [t for _, t in lines.values()], {"units": "s", "long_name": "time per run"}),
                "macs": ("layer", macs, {"units": "1", "long_name": "multiply-accumulates of one batch as loaded"}),
                "algorithm": ("layer", [", ".join(a) for a, _ in lines.values()]),
                "layers": ("layer", [", ".join(layers) for layers in lines]),
            },
            {"layer": [layers[0] if layers else "layout" for layers in lines]},
            {"network": self.network.name, "batch": share.stop - share.start},
        )

    def program(self, batch: int | None = None) -> Program:
        """Return what runs for a batch, one share of it: kernels in order, with the layers that each stands for."""
        with self._lock:
            return self._prepare(batch or self.batch).programs[0]

    def copies(self, count: int) -> list[Program]:
        """Return `count` programs for one thread that share the weights and nothing else: frames in flight at once."""
        with self._lock, blas.one_thread():
            steps = fuse(self.network)
            return [plan(self.network, steps, self.batch, self._weights, 1, self.choice) for _ in range(count)]

    def __repr__(self) -> str:
        size = f"{self.memory.total / 1e6:.1f} MB"
        return f"<Engine {self.network.name}: batch {self.batch}, {self.threads} threads, {size}>"


def _replay(program: Program) -> None:
    for kernel in program.kernels:
        for call in kernel.parts[0]:
            call()
