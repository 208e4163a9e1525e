"""Models of CNN inference on mixed hardware: which engine runs which layer, how fast, at what energy, and how sure.

Submodules load on first use, so that `import hetcnn` costs NumPy alone.

>>> import hetcnn
>>> hetcnn.zoo.load("lenet-5").macs
416520
"""

from __future__ import annotations

import importlib
from types import ModuleType

from hetcnn.errors import HetcnnError

__version__ = "0.1.0"

_SUBMODULES = frozenset(
    {
        "analysis",
        "builder",
        "cli",
        "data",
        "energy",
        "fit",
        "gemm",
        "host",
        "images",
        "kernels",
        "network",
        "onnx_io",
        "papers",
        "partition",
        "pipeline",
        "platform",
        "plots",
        "pretrained",
        "random_weights",
        "repro",
        "roofline",
        "simulate",
        "units",
        "widgets",
        "zoo",
    }
)

__all__ = ["HetcnnError", "__version__", *sorted(_SUBMODULES)]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return importlib.import_module(f"hetcnn.{name}")
    raise AttributeError(f"module 'hetcnn' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
