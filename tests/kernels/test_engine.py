"""The engine against ONNX Runtime on whole networks: errors, batches, threads, memory, messages."""

import gc
import threading
import tracemalloc

import numpy as np
import onnxruntime as ort
import pytest

from hetcnn import onnx_io, zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.kernels.engine import Engine
from hetcnn.random_weights import with_random_weights

NETWORKS = {
    "alexnet": 80,
    "vgg-16": 48,
    "googlenet": 97,
    "squeezenet-1.1": 65,
    "resnet-18": 63,
    "resnet-50": 64,
    "mobilenet-v2": 96,
    "shufflenet-v2": 71,
}


def oracle(network):
    """A function of the inputs that gives ONNX Runtime's first output, for any batch."""
    batch = network.inputs[0].shape[0]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_io.to_model(network).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(x):
        parts = [x[i : i + batch] for i in range(0, len(x), batch)]
        return np.concatenate([session.run(None, {session.get_inputs()[0].name: part})[0] for part in parts])

    return run


def images(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def error(got, wanted):
    assert got.shape == wanted.shape
    return np.abs(got - wanted).max() / np.abs(wanted).max()


def first(outputs):
    return next(iter(outputs.values()))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_agree_with_onnx_runtime(name):
    network = zoo.load(name, image=NETWORKS[name], seed=0)
    engine, run = Engine(network), oracle(network)
    shape = network.inputs[0].shape
    for seed in range(2):  # a second input finds stale data
        x = images(shape, seed)
        assert error(first(engine.run(x)), run(x)) <= 1e-4


@pytest.mark.parametrize("name", ["googlenet", "mobilenet-v2", "shufflenet-v2", "resnet-18"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_batch_on_any_number_of_threads(name, threads):
    network = zoo.load(name, image=NETWORKS[name], seed=1)
    engine, run = Engine(network, threads=threads), oracle(network)
    for batch in (1, 5, 2, 1):
        x = images((batch, *network.inputs[0].shape[1:]), batch)
        assert error(first(engine.run(x)), run(x)) <= 1e-4


def test_measured_choice_gives_the_same_result():
    network = zoo.load("squeezenet-1.1", image=65, seed=0)
    x = images(network.inputs[0].shape)
    assert error(first(Engine(network, choice="measured").run(x)), first(Engine(network).run(x))) <= 1e-4


def test_engines_in_several_threads_do_not_disturb_each_other():
    names = ["mobilenet-v2", "shufflenet-v2", "squeezenet-1.1", "squeezenet-1.1"]
    networks = [zoo.load(name, image=NETWORKS[name], seed=3) for name in names]
    engines = [Engine(n, threads=1 + i % 2) for i, n in enumerate(networks)]
    inputs = [images(n.inputs[0].shape, i) for i, n in enumerate(networks)]
    alone = [first(e.run(x)) for e, x in zip(engines, inputs, strict=True)]
    wrong = []

    def work(i):
        for _ in range(5):
            if not np.array_equal(first(engines[i].run(inputs[i])), alone[i]):
                wrong.append(names[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_engine_called_from_several_threads():
    network = zoo.load("squeezenet-1.1", image=65, seed=0)
    engine = Engine(network)
    inputs = [images(network.inputs[0].shape, i) for i in range(4)]
    alone = [first(engine.run(x)) for x in inputs]
    found = [None] * 4

    def work(i):
        for _ in range(4):
            found[i] = first(engine.run(inputs[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["googlenet", "mobilenet-v2", "shufflenet-v2", "resnet-50"])
def test_a_run_allocates_next_to_nothing(name):
    network = zoo.load(name, image=NETWORKS[name], seed=0)
    engine = Engine(network)
    x = images(network.inputs[0].shape)
    engine.run(x)
    gc.collect()
    tracemalloc.start()
    try:
        engine.run(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 128 * 1024  # ufuncs take buffers of up to 8192 elements for what is not contiguous


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_stays_within_four_times_the_two_largest_activations(name):
    network = zoo.load(name, image=NETWORKS[name], seed=0)
    memory = Engine(network).memory
    sizes = sorted(t.nbytes for layer in network for t in layer.outputs if t.dtype == "float32")
    assert memory.activations + memory.workspace <= 0.5 * memory.weights + 4 * sum(sizes[-2:])
    assert memory.total == memory.weights + memory.activations + memory.workspace


def test_outputs_are_new_arrays():
    network = zoo.load("lenet-5", seed=0)
    engine = Engine(network)
    a = first(engine.run(images((1, 1, 28, 28), 0)))
    kept = a.copy()
    b = first(engine.run(images((1, 1, 28, 28), 1)))
    np.testing.assert_array_equal(a, kept)
    assert not np.array_equal(a, b)


def test_inputs_need_not_be_contiguous():
    network = zoo.load("lenet-5", seed=0)
    engine = Engine(network)
    x = images((1, 28, 28, 1)).transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(first(engine.run(x)), first(engine.run(np.ascontiguousarray(x))))


def test_profile_gives_a_time_for_every_layer():
    network = zoo.load("resnet-18", image=63, seed=0)
    profile = Engine(network).profile(images(network.inputs[0].shape), repeats=2)
    named = {name for names in profile["layers"].values for name in names.split(", ") if name}
    views = {layer.name for layer in network if layer.op in ("Flatten", "Dropout")}
    assert named == {layer.name for layer in network} - views
    assert float(profile["time"].min()) >= 0
    assert profile["time"].attrs["units"] == "s"
    assert int(profile["macs"].sum()) == network.macs


def tiny(*, image=8):
    b = Builder("tiny", (1, 3, image, image))
    y = b.fc(b.global_avg_pool(b.relu(b.conv(b.input, 8, 3, pad=1, name="conv1"))), 4, name="fc")
    return with_random_weights(b.build(y), 0)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"inputs": images((1, 3, 8, 8))}, ["inputs", "input"]),
        ({}, ["'input'", "missing"]),
        (images((1, 3, 8, 9)), ["(1, 3, 8, 9)", "(batch, 3, 8, 8)"]),
        (images((3, 8, 8)), ["(3, 8, 8)", "batch"]),
        (images((0, 3, 8, 8)), ["(0, 3, 8, 8)"]),
        (images((1, 3, 8, 8)).astype(np.float64), ["float64", "float32"]),
    ],
)
def test_bad_inputs_are_one_clear_line(inputs, words):
    with pytest.raises(HetcnnError) as caught:
        Engine(tiny()).run(inputs)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("settings", [{"threads": 0}, {"batch": 0}, {"threads": 1.5}, {"choice": "fastest"}])
def test_bad_settings_are_one_clear_line(settings):
    with pytest.raises(HetcnnError, match=next(iter(settings))):
        Engine(tiny(), **settings)


def test_a_missing_weight_names_layer_and_weight():
    network = tiny()
    weights = {k: v for k, v in network.weights.items() if k != "conv1.weight"}
    with pytest.raises(HetcnnError, match=r"conv1.*conv1\.weight"):
        Engine(network.with_weights(weights))


def test_an_unsupported_operator_names_the_layer():
    b = Builder("odd", (1, 3, 4, 4))
    y = b.op("LSTN", (b.input,), (b.input.shape,), name="strange")[0]
    with pytest.raises(HetcnnError, match=r"strange.*LSTN"):
        Engine(b.build(y))
