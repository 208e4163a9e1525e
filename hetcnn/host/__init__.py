"""Your machine: measure it, predict layer times on it, run real pipelines, and compare.

`measure`, `board`: rates of the machine, and the board file that every command takes. `training`, `layers`, `work`,
`traffic`, `predict`: what a network's kernels do, what they take, and two models of that. `pipelines`, `flow`: stages
in threads with bounded queues. `runtime`: ONNX Runtime as a second kind of engine. `designs`: what the models say of
splits. `study`, `record`: all of it at once, and its results as files. `energy`: counters and logs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetcnn.host.machine import describe
    from hetcnn.host.pipelines import Stage, run_pipeline, stages_of
    from hetcnn.host.record import Record, recorded

_HOME = {
    "Record": "record",
    "Stage": "pipelines",
    "describe": "machine",
    "recorded": "record",
    "run_pipeline": "pipelines",
    "stages_of": "pipelines",
}
_SUBMODULES = frozenset(
    {
        *("board", "cut", "designs", "energy", "flow", "layers", "machine", "measure", "pinning", "pipelines"),
        *("predict", "quiet", "record", "runtime", "study", "timing", "traffic", "training", "work"),
    }
)

__all__ = ["Record", "Stage", "describe", "recorded", "run_pipeline", "stages_of"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"hetcnn.host.{_HOME[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"hetcnn.host.{name}")
    raise AttributeError(f"module 'hetcnn.host' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
