"""ONNX Runtime as a second kind of engine, where it is installed: the whole network or a part, on one thread."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError
from hetcnn.network import Network
from hetcnn.onnx_export import to_model

__all__ = ["Session", "available", "layer_times"]


def available() -> bool:
    """Whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


class Session:
    """A network in ONNX Runtime; `threads` work on one layer, the name of a profile starts with the path `profile`."""

    def __init__(self, network: Network, *, threads: int = 1, profile: str | None = None) -> None:
        if not available():
            raise HetcnnError("engine 'onnxruntime' is not installed here; use 'numpy', or install onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, profile
        model = to_model(network).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [t.name for t in network.outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs by name."""
        return dict(zip(self.names, self.session.run(self.names, dict(inputs)), strict=True))


def layer_times(network: Network, inputs: Mapping[str, NDArray[Any]], *, rounds: int = 20) -> dict[str, float]:
    """Return layer name -> seconds (median of `rounds` runs on one thread) from ONNX Runtime's own profile.

    What it fused counts for the layer whose name it kept; changes of layout count for the layer that follows.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = Session(network, profile=str(Path(folder) / "run"))
        for _ in range(rounds + 2):
            session.run(inputs)
        events = json.loads(Path(session.session.end_profiling()).read_text())
    times: dict[str, list[float]] = {}
    names = sorted((layer.name for layer in network), key=len, reverse=True)
    waiting = 0.0
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        node = event["name"].removesuffix("_kernel_time")
        found = next((name for name in names if name in node), None)
        if found is None:
            waiting += event["dur"]
            continue
        times.setdefault(found, []).append((event["dur"] + waiting) * 1e-6)
        waiting = 0.0
    return {name: float(np.median(found)) for name, found in times.items()}
