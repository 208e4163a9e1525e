"""Random weights: seeded, complete, and gentle: ONNX Runtime's activations neither explode nor vanish."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from hetcnn import onnx_io, zoo
from hetcnn.builder import Builder
from hetcnn.random_weights import random_weights, with_random_weights

SMALL_IMAGE = {"alexnet": 63, "alexnet-caffe": 67, "vgg-16": 32}  # most of their weights belong to the large image


def activations(name: str) -> dict[str, np.ndarray]:
    network = zoo.load(name, image=SMALL_IMAGE.get(name), seed=0)
    model = onnx_io.to_model(network)
    onnx.checker.check_model(model, full_check=True)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["input"]  # every weight is in the file
    image = np.random.default_rng(7).standard_normal(network.inputs[0].shape, np.float32)
    return dict(zip(names, session.run(names, {"input": image}), strict=True))


@pytest.mark.parametrize("name", zoo.names())
def test_activations_neither_explode_nor_vanish(name):
    arrays = activations(name)
    power = {n: float(np.sqrt(np.mean(a.astype(float) ** 2))) for n, a in arrays.items() if n != "softmax"}
    assert min(power.values()) > 0.05, min(power, key=power.__getitem__)
    assert max(power.values()) < 8, max(power, key=power.__getitem__)
    assert arrays["softmax"].sum() == pytest.approx(1, abs=1e-4)
    assert arrays["softmax"].max() < 0.9  # no class has won before anything was learnt


def test_seed_decides_and_every_constant_has_values():
    network = zoo.load("squeezenet-1.1")
    one, same, other = (random_weights(network, seed) for seed in (1, 1, 2))
    constants = {t.name: t for layer in network for t in layer.inputs if t is not None and t.constant}
    assert {n: (a.shape, a.dtype.name) for n, a in one.items()} == {n: (t.shape, t.dtype) for n, t in constants.items()}
    assert all(np.array_equal(one[n], same[n]) for n in one)
    assert not any(np.array_equal(one[n], other[n]) for n in one)


def test_weights_have_he_variance_and_variances_are_positive():
    weights = with_random_weights(zoo.load("resnet-18"), seed=5).weights
    # after a ReLU the second moment is half the variance, so He's 2 / fan-in
    inner = weights["block2/unit2/conv2.weight"]
    assert inner.var() * 128 * 9 == pytest.approx(2, rel=0.1)
    assert inner.mean() == pytest.approx(0, abs=0.01)
    assert all((array > 0).all() for name, array in weights.items() if name.endswith((".var", ".scale")))


def test_structure_keeps_its_values():
    b = Builder("kept", (1, 4, 4, 4))
    net = b.build(b.reshape(b.relu6(b.conv(b.input, 4, 1)), (2, -1)))
    weights = random_weights(net, 9)
    assert (weights["bound_0"], weights["bound_6"]) == (0.0, 6.0)
    assert weights["reshape1.shape"].tolist() == [2, -1]


def test_imported_weights_are_replaced():
    model = onnx_io.to_model(zoo.load("lenet-5", seed=0)).SerializeToString()
    imported = onnx_io.load(model)
    again = with_random_weights(imported, 0).weights
    assert np.array_equal(again["conv2.weight"], imported.weights["conv2.weight"])
    other = with_random_weights(imported, 1).weights
    assert not np.array_equal(other["conv2.weight"], imported.weights["conv2.weight"])
