"""Layer and Network: counts against hand calculations, laws of segments and cuts, messages of bad graphs."""

from __future__ import annotations

import numpy as np
import pytest

from hetcnn import zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.network import GemmShape, Layer, Network, Tensor, element_bits


def weight(name: str, *shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(name, shape, dtype, constant=True)


def test_tensor_bytes_of_packed_types():
    assert Tensor("x", (3,), "int4").nbytes == 2  # 12 bits
    assert Tensor("x", (2, 3), "bfloat16").nbytes == 12
    assert Tensor("x", (), "float64").nbytes == 8
    assert element_bits("float8_e4m3fn") == 8


@pytest.mark.parametrize(
    ("op", "data", "weights", "out", "attrs", "gemm", "kind"),
    [
        # 2 images x 6x6 pixels, 3x3x4 taps, 8 maps
        ("Conv", (2, 4, 6, 6), (8, 4, 3, 3), (2, 8, 6, 6), {}, GemmShape(72, 36, 8), "conv"),
        ("Conv", (1, 8, 6, 6), (8, 4, 1, 1), (1, 8, 6, 6), {"group": 2}, GemmShape(36, 4, 4, 2), "conv"),
        ("Conv", (1, 8, 6, 6), (8, 1, 3, 3), (1, 8, 6, 6), {"group": 8}, GemmShape(36, 9, 1, 8), "dw"),
        # a transposed convolution spreads each of its 3x3 input pixels over 2x2x5 outputs
        ("ConvTranspose", (1, 4, 3, 3), (4, 5, 2, 2), (1, 5, 6, 6), {}, GemmShape(9, 4, 20), "conv"),
        ("Gemm", (2, 10), (7, 10), (2, 7), {"transB": 1}, GemmShape(2, 10, 7), "fc"),
        ("MatMul", (4, 5, 6), (6, 7), (4, 5, 7), {}, GemmShape(20, 6, 7), "fc"),
        ("MatMul", (5, 6), (6,), (5,), {}, GemmShape(5, 6, 1), "fc"),
    ],
)
def test_matrix_products(op, data, weights, out, attrs, gemm, kind):
    layer = Layer("l", op, (Tensor("x", data), weight("w", *weights)), (Tensor("y", out),), attrs)
    assert layer.gemm == gemm
    assert layer.macs == gemm.N * gemm.K * gemm.M * gemm.groups
    assert layer.ops == 2 * layer.macs
    assert layer.kind == kind


def test_quantised_convolution_counts_like_the_float_one():
    x, y = Tensor("x", (1, 4, 6, 6), "uint8"), Tensor("y", (1, 8, 4, 4), "uint8")
    scale, zero = weight("s"), weight("z", dtype="uint8")
    w, bias = weight("w", 8, 4, 3, 3, dtype="int8"), weight("b", 8, dtype="int32")
    layer = Layer("l", "QLinearConv", (x, scale, zero, w, scale, zero, scale, zero, bias), (y,))
    assert layer.macs == 16 * 36 * 8
    assert layer.params == 8 * 36 + 8
    assert layer.kind == "conv"


def test_traffic_is_weights_in_and_out_once():
    x, w, y = Tensor("x", (1, 3, 8, 8)), weight("w", 16, 3, 3, 3), Tensor("y", (1, 16, 6, 6))
    layer = Layer("l", "Conv", (x, w, None), (y,))
    assert (layer.weight_bytes, layer.input_bytes, layer.output_bytes) == (4 * 432, 4 * 192, 4 * 576)
    assert layer.bytes == 4 * (432 + 192 + 576)
    assert layer.intensity == pytest.approx(2 * 36 * 27 * 16 / 4800)


def test_views_move_nothing_but_an_unknown_operator_of_that_name_does():
    x, y = Tensor("x", (1, 4)), Tensor("y", (4,))
    assert Layer("l", "Reshape", (x,), (y,)).bytes == 0
    assert Layer("l", "Reshape", (x,), (y,), domain="com.example").bytes == 32
    assert Layer("l", "Conv", (x,), (y,), domain="com.example").macs == 0


def test_parameters_are_what_is_trained():
    x = Tensor("x", (1, 4, 2, 2))
    four = [weight(n, 4) for n in "abcd"]
    assert Layer("bn", "BatchNormalization", (x, *four), (x,)).params == 8  # running mean and variance are not trained
    assert Layer("clip", "Clip", (x, weight("lo"), weight("hi")), (x,)).params == 0
    assert Layer("reshape", "Reshape", (x, weight("shape", 2, dtype="int64")), (x,)).params == 0
    assert Layer("prelu", "PRelu", (x, weight("slope", 4, 1, 1)), (x,)).params == 4


def test_shared_weights_count_once():
    b = Builder("shared", (1, 4))
    w = b.weight("w", (4, 4))
    x = b.op("MatMul", (b.input, w), [(1, 4)])[0]
    net = b.build(b.op("MatMul", (x, w), [(1, 4)])[0])
    assert net.params == 16
    assert net.macs == 32


def test_conv_without_weight_says_so():
    with pytest.raises(HetcnnError, match="Conv needs its weight as input 1"):
        _ = Layer("l", "Conv", (Tensor("x", (1, 3, 8, 8)),), (Tensor("y", (1, 3, 8, 8)),)).gemm


def test_layers_compare_by_value_arrays_included():
    x = (Tensor("x", (2,)),)
    one, same = (Layer("l", "Op", x, x, {"value": np.array([1.0, 2.0])}) for _ in range(2))
    other = Layer("l", "Op", x, x, {"value": np.array([1.0, 3.0])})
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != Layer("l", "Op", x, x)


def test_names_must_be_unique_and_the_order_topological():
    x, y = Tensor("x", (1,)), Tensor("y", (1,))
    relu = Layer("a", "Relu", (x,), (y,))
    with pytest.raises(HetcnnError, match="two layers are named 'a'"):
        Network("n", (x,), (relu, relu), (y,))
    with pytest.raises(HetcnnError, match="layer 'a' reads 'x', which no earlier layer writes"):
        Network("n", (), (relu,), (y,))


def test_unknown_layer_names_the_nearest():
    with pytest.raises(HetcnnError, match="did you mean 'conv1'"):
        _ = zoo.load("lenet-5")["conv_1"]


@pytest.mark.parametrize("name", ["lenet-5", "googlenet", "resnet-18", "alexnet-caffe"])
def test_segments_cut_before_every_major_layer(name):
    net = zoo.load(name)
    assert [layer for part in net.segments for layer in part] == list(net.layers)
    assert len(net.segments) == len(net.major_layers)
    for part, major in zip(net.segments, net.major_layers, strict=True):
        assert [layer for layer in part if layer.macs] == [major]


def test_cut_moves_each_living_tensor_once():
    b = Builder("residual", (1, 8, 4, 4))
    x = b.relu(b.input, name="a")
    y = b.conv(x, 8, 1, name="b")
    net = b.build(b.add(x, y, name="c"))
    tensor = 4 * 8 * 16
    assert [net.cut_bytes(i) for i in range(4)] == [tensor, tensor, 2 * tensor, tensor]
    assert [layer.name for layer in net.consumers["a"]] == ["b", "c"]
    assert net.producers["b"] is net["b"]
