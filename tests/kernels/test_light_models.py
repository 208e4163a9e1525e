"""ONNX's nine light models: as shipped, all weights of a tensor equal, and with seeded weights against ONNX Runtime.

As shipped every output is one value, which proves the plumbing only; seeded weights prove the arithmetic.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from hetcnn import onnx_io
from hetcnn.kernels.backend import HetcnnBackend
from hetcnn.kernels.interpreter import run
from hetcnn.random_weights import random_weights

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
CASES = sorted(load_model_tests(kind="real"), key=lambda case: case.name)


def path_of(case):
    return FOLDER / Path(case.url).name


def test_there_are_nine():
    assert len(CASES) == 9
    assert all(path_of(case).exists() for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model_name)
def test_as_shipped(case):
    model = onnx.load(path_of(case))
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [Runner.generate_dummy_data(info) for info in model.graph.input if info.name not in weights]
    files = [path_of(case).with_name(f"{path_of(case).stem}_output_{i}.pb") for i in range(len(model.graph.output))]
    want = [numpy_helper.to_array(onnx.load_tensor(file)) for file in files]
    Runner.assert_similar_outputs(want, HetcnnBackend.run_model(model, inputs), case.rtol, case.atol)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model_name)
def test_with_seeded_weights_as_onnx_runtime(case, runtime_model):
    network = onnx_io.load(path_of(case))
    last = network.layers[-1]
    if last.op == "Softmax":  # it squeezes everything into 0 to 1: compare what goes into it too
        network = replace(network, outputs=(*network.outputs, last.data[0]))
    weights = random_weights(network, seed=1)
    parameters = {name: w for name, w in weights.items() if w.dtype.kind == "f" and w.size > 1}
    rest = {name: w for name, w in weights.items() if name not in parameters}
    x = np.random.default_rng(2).standard_normal(network.inputs[0].shape, np.float32)
    # the weights go in as inputs: a model of 0.6 GB need not be written out and parsed again
    model = onnx_io.to_model(network.with_weights(rest))
    want = runtime_model(model, {network.inputs[0].name: x, **parameters})
    got = run(network.with_weights(weights), x)
    assert got.keys() == want.keys()
    for name, y in got.items():
        assert y.shape == want[name].shape
        assert np.ptp(want[name]) > 1e-3 * np.abs(want[name]).max()  # not one value again
        assert np.abs(y - want[name]).max() <= 1e-4 * np.abs(want[name]).max()
