"""ONNX Runtime as a second opinion on single operators and whole networks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

Runtime = Callable[..., list[np.ndarray]]


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """Runs one operator: runtime("Relu", [x], {}) -> outputs; an absent input is None."""

    def run(
        op: str, inputs: Sequence[Any], attrs: Mapping[str, Any] | None = None, *, opset: int = 17, outputs: int = 1
    ) -> list[np.ndarray]:
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
        given = {name: np.asarray(x) for name, x in zip(names, inputs, strict=True) if x is not None}
        results = [f"y{i}" for i in range(outputs)]
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in given.items()
        ]
        node = helper.make_node(op, names, results, **(attrs or {}))
        graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=name) for name in results])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return list(_session(model).run(None, given))

    return run


@pytest.fixture(scope="session")
def runtime_model() -> Callable[[onnx.ModelProto, Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Runs a model: name -> output."""

    def run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = _session(model)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run
