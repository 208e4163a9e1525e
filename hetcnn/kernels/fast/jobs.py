"""What the planner knows of a step before it has memory: a job with its reads, writes and the way to its kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.fuse import Step
from hetcnn.kernels.fast.layout import Read, Source
from hetcnn.kernels.fast.memory import Store
from hetcnn.kernels.fast.tape import Act, Array, Kernel, Workspace

__all__ = ["DIVIDE", "PIXEL", "Job", "Raw", "finish", "seconds"]

PIXEL = 0.2e-9
"""Seconds to pass one float through a memory-bound kernel, to tell work worth dividing from the rest."""
DIVIDE = 150e-6
"""Seconds of work from which a kernel is divided among the workers: several times a thread's waking up."""


@dataclass(eq=False)
class Raw:
    """An array in ONNX's own layout."""

    shape: tuple[int, ...]
    dtype: str
    store: Store
    array: NDArray[Any] | None = None


@dataclass(eq=False)
class Job:
    """A step of the program before it has memory."""

    step: Step | None
    reads: list[Read]
    build: Callable[[list[Workspace]], Kernel]
    writes: list[Source] = field(default_factory=list)
    space: int = 0
    seconds: float = 0.0
    bias: NDArray[np.float64] | None = None


def finish(job: Job, out: Source, residual: Read | None) -> tuple[Array | None, Act | None, Array | None]:
    """Bias, clamp and residual in the order in which `out` is stored, with what the shift leaves of them."""
    assert job.step is not None
    act, bias = job.step.act, job.bias
    if out.shift is not None:
        bias = None
        if act is not None:
            shift = out.shift[out.order]
            high = np.asarray(act.high - shift, np.float32) if np.isfinite(act.high) else act.high
            act = Act(np.asarray(act.low - shift, np.float32), high)
    row = None if bias is None else np.ascontiguousarray(bias[out.order], np.float32)
    return row, act, None if residual is None else residual.view()


def seconds(spec: ConvSpec) -> float:
    """Roughly how long a convolution takes."""
    outputs = spec.n * spec.oh * spec.ow * spec.co
    macs = outputs * spec.taps * spec.c // spec.groups
    return macs * (0.15e-9 if spec.depthwise else 13e-12) + outputs * PIXEL
