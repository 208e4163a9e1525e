"""Builder: every shape against hand values, ONNX's own inference and ONNX Runtime; messages of impossible layers."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest

from hetcnn.builder import Builder, window_out
from hetcnn.errors import HetcnnError
from hetcnn.onnx_io import to_model
from hetcnn.random_weights import with_random_weights


def windows_by_hand(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    """Slide the window and count; with `ceil` the last may hang over the end if it starts on data."""
    span, count, at = dilation * (kernel - 1) + 1, 0, -pad
    while at + span <= size + pad:
        count, at = count + 1, at + stride
    return count + (ceil and at < size and at - stride + span < size + pad)


def test_window_out_counts_windows():
    cases = itertools.product(range(3, 14), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2), (False, True))
    checked = 0
    for size, kernel, stride, pad, dilation, ceil in cases:
        if pad < kernel and dilation * (kernel - 1) < size + 2 * pad:
            expected = windows_by_hand(size, kernel, stride, pad, dilation, ceil)
            found = window_out(size, kernel, stride=stride, pads=(pad, pad), dilation=dilation, ceil_mode=ceil)
            assert found == expected, (size, kernel, stride, pad, dilation, ceil)
            checked += 1
    assert checked > 500


def every_operator() -> Builder:
    """One of each, with odd sizes: padding on one side, rounding up, dilation, strides that differ, unequal parts."""
    b = Builder("all", (2, 6, 23, 19))
    x = b.conv(b.input, 8, (3, 5), stride=(2, 1), pad=(1, 2, 0, 1), name="conv")
    x = b.conv_bn_relu6(x, 12, 3, pad="same", stride=2, name="same")
    x = b.conv_bn(x, 12, 3, pad=2, dilation=2, group=3, name="dilated")
    x = b.lrn(b.batch_norm(x))
    x = b.max_pool(x, 3, stride=2, ceil_mode=True, name="ceil")
    one, two, three = b.split(x, (2, 4, 6), name="parts")
    half, rest = b.split(three, 2)
    x = b.concat(two, b.tanh(half), b.sigmoid(rest), b.slice(one, 0, 2), name="joined")
    x = b.channel_shuffle(x, 3)
    x = b.pad(x, (1, 0, 2, 1))
    y = b.avg_pool(x, 3, stride=2, pad=1, ceil_mode=True, count_include_pad=True)
    z = b.max_pool(x, 3, stride=2, pad=1, ceil_mode=True)
    x = b.mul(b.add(y, z), b.global_avg_pool(z))
    x = b.add(x, x, b.relu(x))
    x = b.transpose(x, (0, 2, 3, 1))
    x = b.slice(x, 0, 100, axis=-1, step=5)
    x = b.reshape(x, (2, -1))
    b.last = b.softmax(b.fc(b.dropout(x), 10, bias=False))  # type: ignore[attr-defined]
    return b


def test_shapes_are_those_that_onnx_and_onnx_runtime_find():
    b = every_operator()
    net = with_random_weights(b.build(b.last), seed=3)  # type: ignore[attr-defined]
    model = to_model(net)
    onnx.checker.check_model(model, full_check=True)  # its strict inference compares every value_info
    names = [t.name for layer in net for t in layer.outputs]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = session.run(names, {"input": np.ones(net.inputs[0].shape, np.float32)})
    found = {name: array.shape for name, array in zip(names, arrays, strict=True)}
    assert found == {t.name: t.shape for layer in net for t in layer.outputs}


def test_hand_shapes():
    b = Builder("hand", (1, 3, 224, 224))
    assert b.conv(b.input, 96, 11, stride=4, pad=2).shape == (1, 96, 55, 55)
    assert b.conv(b.input, 32, 3, stride=2, pad="same").shape == (1, 32, 112, 112)
    assert b.conv(b.input, 32, 3, stride=2, pad="same", name="tf").name == "tf"
    assert b.fc(b.input, 7).shape == (1, 7)
    assert [t.shape[1] for t in b.split(b.input, (1, 2))] == [1, 2]


def test_same_padding_puts_the_odd_pixel_at_the_end():
    b = Builder("same", (1, 3, 224, 224))
    b.conv(b.input, 32, 3, stride=2, pad="same", name="c")
    assert b.build(b.input)["c"].attrs["pads"] == (0, 0, 1, 1)


def test_names_are_given_or_counted():
    b = Builder("names", (1, 3, 8, 8))
    x = b.relu(b.relu(b.conv(b.input, 4, 3, name="stem")))
    assert [layer.name for layer in b.build(x)] == ["stem", "relu1", "relu2"]
    assert b.build(x)["stem"].inputs[1].name == "stem.weight"


def bad(method: str, *args, **kwargs):
    b = Builder("bad", (1, 6, 8, 8))
    return getattr(b, method)(b.input, *args, **kwargs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bad("conv", 4, 9, name="c"), "layer 'c': a window of 9 does not fit into 8 with padding 0"),
        (lambda: bad("conv", 4, 3, group=4, name="c"), "layer 'c': 6 channels and 4 maps must be multiples of group 4"),
        (lambda: bad("conv", 4, 3, stride=0, name="c"), "layer 'c': size 8, kernel 3, stride 0, dilation 1"),
        (lambda: bad("conv", 4, 3, pad="valid", name="c"), "pad 'valid'; it is a number, 2 or 4 numbers, or 'same'"),
        (lambda: bad("split", 4, name="s"), r"layer 's' \(Split\): cannot split 6 into 4"),
        (lambda: bad("split", (1, 2), name="s"), r"cannot split 6 into \(1, 2\)"),
        (lambda: bad("channel_shuffle", 4, name="s"), "6 channels are no multiple of 4 groups"),
        (lambda: bad("reshape", (5, -1), name="r"), r"layer 'r' \(Reshape\): \(1, 6, 8, 8\) has 384 elements"),
        (lambda: bad("transpose", (0, 1, 1, 2), name="t"), r"\(0, 1, 1, 2\) is no order of 4 axes"),
        (lambda: bad("slice", 0, 1, axis=4, name="s"), "layer 's': axis 4 of a tensor with 4 axes"),
        (lambda: Builder("bad", (0, 3)), r"network 'bad': input shape \(0, 3\); sizes are whole numbers from 1"),
    ],
)
def test_impossible_layers_are_explained_in_one_line(call, message):
    with pytest.raises(HetcnnError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_join_are_explained():
    b = Builder("bad", (1, 6, 8, 8))
    y = b.conv(b.input, 6, 3)
    with pytest.raises(HetcnnError, match=r"shapes \(1, 6, 8, 8\), \(1, 6, 6, 6\) do not broadcast"):
        b.add(b.input, y)
    with pytest.raises(HetcnnError, match="differ outside axis 1"):
        b.concat(b.input, y)
    with pytest.raises(HetcnnError, match="must be NCHW"):
        b.conv(b.flatten(y), 3, 1)
