"""The engine against ONNX Runtime on random small networks."""

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hetcnn import onnx_io
from hetcnn.builder import Builder
from hetcnn.kernels.engine import Engine
from hetcnn.random_weights import with_random_weights

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def agree(network, batch=1, threads=1, seed=0, switch=True):
    """Compare two different inputs, one image at a time on ONNX Runtime's side."""
    network = with_random_weights(network, seed)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        onnx_io.to_model(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    engine = Engine(network, threads=threads)
    for attempt in range(2):
        rng = np.random.default_rng(seed + attempt)
        x = rng.standard_normal((batch, *network.inputs[0].shape[1:]), dtype=np.float32)
        results = [session.run(None, {"input": x[i : i + 1]}) for i in range(batch)]
        wanted = [np.concatenate(parts) for parts in zip(*results, strict=True)]
        for got, want in zip(engine.run(x).values(), wanted, strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * max(np.abs(want).max(), 1e-3))


sizes = st.integers(1, 19)


@st.composite
def convolutions(draw):
    """One convolution of any kind with what may follow it."""
    group = draw(st.sampled_from([1, 1, 1, 2, 3]))
    depth, maps = group * draw(st.integers(1, 20)), group * draw(st.integers(1, 20))
    if draw(st.integers(0, 3)) == 0:
        group = maps = depth
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pad = tuple(draw(st.integers(0, 3)) for _ in range(4))
    least = [d * (k - 1) + 1 - pad[i] - pad[i + 2] for i, (k, d) in enumerate(zip(kernel, dilation, strict=True))]
    size = [max(draw(sizes), low, 1) for low in least]
    b = Builder("one", (1, depth, *size))
    x = b.input
    if draw(st.booleans()):
        x = b.relu(x)  # then the convolution reads NHWC, not the input itself
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    y = b.conv(x, maps, kernel, stride=stride, pad=pad, dilation=dilation, group=group, bias=draw(st.booleans()))
    follow = draw(st.sampled_from(["", "bn", "relu", "relu6", "bn relu", "add relu"]))
    if "bn" in follow:
        y = b.batch_norm(y)
    if "add" in follow:
        y = b.add(y, b.conv(x, maps, kernel, stride=stride, pad=pad, dilation=dilation, group=group))
    if "relu6" in follow:
        y = b.relu6(y)
    elif "relu" in follow:
        y = b.relu(y)
    return b.build(y)


@QUICK
@given(convolutions(), st.integers(1, 5), st.integers(1, 3))
def test_any_convolution(network, batch, threads):
    agree(network, batch, threads)


@QUICK
@given(
    st.integers(16, 40),
    st.integers(16, 40),
    st.tuples(sizes, sizes),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_three_by_three_convolutions_of_all_sizes(depth, maps, size, residual, batch, threads):
    b = Builder("three", (1, depth, *size))
    x = b.relu(b.input)
    y = b.conv(x, maps, 3, pad=1)
    if residual:
        y = b.add(b.conv(x, maps, 1), y)
    agree(b.build(b.relu(y)), batch, threads)


@QUICK
@given(
    st.integers(1, 9),
    st.tuples(sizes, sizes),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 1),
    st.sampled_from(["max", "mean"]),
    st.booleans(),
    st.integers(1, 3),
)
def test_pools(depth, size, kernel, stride, pad, kind, flag, batch):
    size = tuple(max(s, kernel) for s in size)
    b = Builder("pool", (1, depth, *size))
    pad = min(pad, kernel - 1)
    if kind == "max":
        y = b.max_pool(b.input, kernel, stride=stride, pad=pad, ceil_mode=flag)
    else:
        y = b.avg_pool(b.input, kernel, stride=stride, pad=pad, count_include_pad=flag)
    agree(b.build(y), batch)


@st.composite
def graphs(draw):
    """Branches, concatenations, splits, shuffles, residual sums and operators without a fast path."""
    b = Builder("graph", (1, draw(st.integers(1, 6)), draw(st.integers(5, 14)), draw(st.integers(5, 14))))
    alive = [b.conv(b.input, 2 * draw(st.integers(1, 9)), 3, pad=1, stride=draw(st.integers(1, 2)))]
    for _ in range(draw(st.integers(2, 9))):
        x = alive[draw(st.integers(0, len(alive) - 1))]
        others = [t for t in alive if t.shape[2:] == x.shape[2:]]
        other = others[draw(st.integers(0, len(others) - 1))]
        alive.extend(grow(b, draw, x, other))
    ends = [alive[-1]]
    if draw(st.booleans()):
        ends.append(b.fc(b.flatten(alive[-2]) if draw(st.booleans()) else b.global_avg_pool(alive[-2]), 3))
    if draw(st.booleans()):
        ends.append(b.softmax(b.fc(alive[0], 5)))
    return b.build(*ends)


def grow(b, draw, x, other):
    """The tensors that one more operation makes."""
    channels = x.shape[1]
    what = draw(
        st.sampled_from(["conv1", "conv3", "dw", "pool", "concat", "shuffle", "split", "add", "other", "bn", "lrn"])
    )
    if what == "conv1":
        return [b.conv_bn_relu(x, draw(st.integers(1, 20)), 1, name=b._next("c"))]
    if what == "conv3":
        return [b.conv_relu(x, 2 * draw(st.integers(1, 12)), 3, pad=1, name=b._next("c"))]
    if what == "dw":
        return [b.conv_bn_relu6(x, channels, 3, pad=1, group=channels, name=b._next("d"))]
    if what == "pool":
        return [b.max_pool(x, 3, stride=1, pad=1)]
    if what == "concat":
        return [b.concat(x, other)]
    if what == "shuffle" and channels % 2 == 0:
        return [b.channel_shuffle(x, 2)]
    if what == "split" and channels > 2:
        cut = draw(st.integers(1, channels - 1))
        return list(b.split(x, (cut, channels - cut)))
    if what == "add":
        return [b.relu(b.add(x, b.conv(other, channels, 1, name=b._next("c"))))]
    if what == "bn":
        return [b.batch_norm(x)]
    if what == "lrn":
        return [b.lrn(x, draw(st.sampled_from([1, 3, 5])))]
    return [b.sigmoid(b.tanh(x))]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.integers(1, 5), st.integers(1, 2))
def test_any_graph(network, batch, threads):
    agree(network, batch, threads)


@pytest.mark.parametrize("units", [2, 5])
def test_shuffle_units_keep_their_channels_apart(units):
    b = Builder("shuffles", (1, 3, 9, 9))
    x = b.conv_bn_relu(b.input, 20, 3, pad=1, name="stem")
    for i in range(units):
        left, right = b.split(x, 2)
        right = b.conv_bn_relu(right, 10, 1, name=f"a{i}")
        right = b.conv_bn(right, 10, 3, pad=1, group=10, name=f"b{i}")
        right = b.conv_bn_relu(right, 10, 1, name=f"c{i}")
        x = b.channel_shuffle(b.concat(left, right), 2)
    agree(b.build(b.conv(x, 7, 1)), batch=2)
