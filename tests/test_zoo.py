"""The zoo: counts against hand formulas, the layer table of the ARM Compute Library, and ONNX Runtime's own shapes."""

from __future__ import annotations

import csv
from math import prod

import numpy as np
import onnx
import onnxruntime
import pytest

from hetcnn import data, onnx_io, zoo
from hetcnn.errors import HetcnnError
from hetcnn.network import Network

ARMCL = {
    "AlexNet": "alexnet-caffe",
    "GoogLeNet": "googlenet",
    "MobileNet": "mobilenet-v1",
    "ResNet50": "resnet-50-armcl",
    "SqueezeNet": "squeezenet-1.0",
}


def conv(pixels: int, depth: int, taps: int, maps: int) -> int:
    return pixels**2 * depth * taps**2 * maps


def residual_macs(*, stride_in_3x3: bool) -> int:
    """ResNet-50 by hand: a stage works on `side`^2 pixels; its first unit still reads the larger image."""
    total, depth = conv(112, 3, 7, 64), 64
    for stage, units in enumerate((3, 4, 6, 3)):
        maps, side = 64 << stage, 56 >> stage
        for unit in range(units):
            before = 2 * side if stage and not unit and stride_in_3x3 else side
            total += conv(before, depth, 1, maps) + conv(side, maps, 3, maps) + conv(side, maps, 1, 4 * maps)
            total += 0 if unit else conv(side, depth, 1, 4 * maps)
            depth = 4 * maps
    return total + 2048 * 1000


def resnet18_macs() -> int:
    total, depth = conv(112, 3, 7, 64), 64
    for stage in range(4):
        maps, side = 64 << stage, 56 >> stage
        total += (
            conv(side, depth, 3, maps) + 3 * conv(side, maps, 3, maps) + (conv(side, depth, 1, maps) if stage else 0)
        )
        depth = maps
    return total + 512 * 1000


def squeezenet_macs(stem: int, depth: int, sides: dict[int, int]) -> int:
    """Fire modules by hand; `sides` says from which fire on the image has which side."""
    total = stem
    for fire, squeeze in zip(range(2, 10), (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        side = max((key, value) for key, value in sides.items() if key <= fire)[1]
        total += (
            conv(side, depth, 1, squeeze) + conv(side, squeeze, 1, 4 * squeeze) + conv(side, squeeze, 3, 4 * squeeze)
        )
        depth = 8 * squeeze
    return total + conv(13, 512, 1, 1000)


def efficientnet_lite0_macs() -> int:
    """Stages by hand: (side after it, side before, maps before, maps, blocks, taps of the depthwise)."""
    total = conv(112, 3, 3, 32) + conv(112, 32, 3, 1) + conv(112, 32, 1, 16)  # the first block does not expand
    stages = [(56, 112, 16, 24, 2, 3), (28, 56, 24, 40, 2, 5), (14, 28, 40, 80, 3, 3), (14, 14, 80, 112, 3, 5)]
    for side, before, depth, maps, blocks, taps in [*stages, (7, 14, 112, 192, 4, 5), (7, 7, 192, 320, 1, 3)]:
        for block in range(blocks):
            given, source = (depth, before) if block == 0 else (maps, side)
            wide = 6 * given
            total += conv(source, given, 1, wide) + conv(side, wide, taps, 1) + conv(side, wide, 1, maps)
    return total + conv(7, 320, 1, 1280) + 1280 * 1000


VGG = [(224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), (56, 256, 256), (56, 256, 256)]
VGG += [(28, 256, 512), (28, 512, 512), (28, 512, 512), (14, 512, 512), (14, 512, 512), (14, 512, 512)]
CLASSIFIER = 4096 * 4096 + 4096 * 1000
ALEXNET = conv(55, 3, 11, 64) + conv(27, 64, 5, 192) + conv(13, 192, 3, 384) + conv(13, 384, 3, 256)

HAND_MACS = {
    "alexnet": ALEXNET + conv(13, 256, 3, 256) + 9216 * 4096 + CLASSIFIER,
    "efficientnet-lite0": efficientnet_lite0_macs(),
    "lenet-5": 784 * 25 * 6 + 100 * 150 * 16 + 400 * 120 + 120 * 84 + 84 * 10,
    "resnet-18": resnet18_macs(),
    "resnet-50": residual_macs(stride_in_3x3=True),
    "resnet-50-v1": residual_macs(stride_in_3x3=False),
    "squeezenet-1.0": squeezenet_macs(conv(109, 3, 7, 96), 96, {2: 54, 5: 27, 9: 13}),
    "squeezenet-1.1": squeezenet_macs(conv(111, 3, 3, 64), 64, {2: 55, 4: 27, 6: 13}),
    "vgg-16": sum(conv(side, depth, 3, maps) for side, depth, maps in VGG) + 25088 * 4096 + CLASSIFIER,
}

PUBLISHED_PARAMS = {  # trained parameters as torchvision publishes them (the last two: Caffe; Lite0: its weights)
    "alexnet": 61_100_840,
    "efficientnet-lite0": 4_652_008,
    "mobilenet-v2": 3_504_872,
    "resnet-18": 11_689_512,
    "resnet-50": 25_557_032,
    "resnet-50-v1": 25_557_032,
    "shufflenet-v2": 2_278_604,
    "squeezenet-1.0": 1_248_424,
    "squeezenet-1.1": 1_235_496,
    "vgg-16": 138_357_544,
    "alexnet-caffe": 60_965_224,
    "googlenet": 6_998_552,
}

PUBLISHED_GMACS = {"mobilenet-v2": 0.301, "shufflenet-v2": 0.145, "googlenet": 1.58, "mobilenet-v1": 0.569}


@pytest.fixture(scope="module")
def armcl_rows() -> dict[str, list[dict[str, str]]]:
    with data.path("papers", "pipeit", "armcl_layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {net: [row for row in rows if row["net"] == net] for net in ARMCL}


@pytest.mark.parametrize("net", ARMCL)
def test_armcl_layers_match_row_by_row(net, armcl_rows):
    ours = []
    for layer in zoo.load(ARMCL[net]).major_layers:
        gemm, shape = layer.gemm, layer.inputs[0].shape
        assert gemm is not None
        kernel, strides, pads = (
            layer.attrs.get(k, d) for k, d in (("kernel_shape", (1,)), ("strides", (1,)), ("pads", (0,)))
        )
        geometry = (shape[-1] if len(shape) == 4 else 1, shape[1], kernel[0], strides[0], pads[0])
        out = layer.outputs[0].shape
        ours.append((layer.name, layer.kind, geometry, out[-1] if len(out) == 4 else 1, gemm, layer.macs))
    theirs = armcl_rows[net]
    assert len(ours) == len(theirs)
    for (name, kind, geometry, side, gemm, macs), row in zip(ours, theirs, strict=True):
        assert (name, kind) == (row["name"], row["kind"])
        assert (gemm.N, gemm.K, gemm.M * gemm.groups, macs) == tuple(int(row[key]) for key in ("N", "K", "M", "MAC")), (
            name
        )
        assert geometry == tuple(int(row[key]) for key in ("Iw", "Id", "F", "S", "pad")), name
        assert side == int(row["Ow"]), name


@pytest.mark.parametrize("name", HAND_MACS)
def test_macs_equal_the_hand_formula(name):
    assert zoo.load(name).macs == HAND_MACS[name]


def test_lenet_by_hand():
    net = zoo.load("lenet-5")
    assert net.macs == 416_520
    assert [layer.macs for layer in net.major_layers] == [117_600, 240_000, 48_000, 10_080, 840]
    assert net.params == 156 + 2_416 + 48_120 + 10_164 + 850


@pytest.mark.parametrize("name", PUBLISHED_PARAMS)
def test_params_equal_the_published_number(name):
    assert zoo.load(name).params == PUBLISHED_PARAMS[name]


def test_mobilenet_v1_params_by_hand():
    maps = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    before = (32, *maps[:-1])
    depthwise = sum(9 * c + 2 * c for c in before)  # taps, scale and bias
    pointwise = sum(a * c + 2 * c for a, c in zip(before, maps, strict=True))
    assert zoo.load("mobilenet-v1").params == 27 * 32 + 64 + depthwise + pointwise + 1025 * 1001


@pytest.mark.parametrize("name", PUBLISHED_GMACS)
def test_macs_round_to_the_published_number(name):
    published = PUBLISHED_GMACS[name]
    assert zoo.load(name).macs / 1e9 == pytest.approx(published, rel=2e-3)


def run(network: Network) -> tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]:
    """Export without weights, check, run with zeros for weights, and return the shape of every array there is.

    The bounds, shapes and split sizes of the network stay in the file.
    """
    model = onnx_io.to_model(network)
    onnx.checker.check_model(model, full_check=True)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()}
    arrays = session.run(names, feeds)
    return model, {n: a.shape for n, a in (*feeds.items(), *zip(names, arrays, strict=True))}


def counted(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    """Return MACs and parameters of a node from the shapes of real arrays alone: each output takes one dot product."""
    if node.op_type not in ("Conv", "Gemm"):
        return 0, sum(prod(shapes[n]) for n in node.input[1:3]) if node.op_type == "BatchNormalization" else 0
    weight = shapes[node.input[1]]
    return prod(shapes[node.output[0]]) * prod(weight[1:]), sum(prod(shapes[n]) for n in node.input[1:])


@pytest.mark.parametrize("name", zoo.names())
def test_every_layer_agrees_with_arrays_that_onnx_runtime_made(name):
    network = zoo.load(name)
    model, shapes = run(network)
    for node, layer in zip(model.graph.node, network.layers, strict=True):
        assert (layer.macs, layer.params) == counted(node, shapes), layer.name
        assert [t.shape for t in layer.outputs] == [shapes[n] for n in node.output], layer.name
    assert network.macs == sum(counted(node, shapes)[0] for node in model.graph.node)
    assert network.params == sum(counted(node, shapes)[1] for node in model.graph.node)


@pytest.mark.parametrize("name", zoo.names())
def test_round_trip_through_onnx(name):
    network = zoo.load(name)
    back = onnx_io.load(onnx_io.to_model(network).SerializeToString())
    assert back.layers == network.layers
    assert (back.name, back.inputs, back.outputs, back.opset) == (name, network.inputs, network.outputs, network.opset)
    assert (back.macs, back.params) == (network.macs, network.params)


@pytest.mark.parametrize("name", zoo.names())
def test_batch_scales_macs_and_not_params(name):
    one, three = zoo.load(name), zoo.load(name, batch=3)
    assert three.macs == 3 * one.macs
    assert three.params == one.params


def test_efficientnet_lite0_is_padded_as_tensorflow_does():
    """With a stride of 2 an even image gets its odd pixel of padding at the bottom and the right."""
    pads = {}
    for layer in zoo.efficientnet_lite0():
        if layer.op == "Conv" and layer.attrs["kernel_shape"] != (1, 1):
            pads.setdefault((layer.attrs["kernel_shape"][0], layer.attrs["strides"][0]), set()).add(layer.attrs["pads"])
        if layer.op == "BatchNormalization":
            assert layer.attrs["epsilon"] == 1e-3
    assert pads == {(3, 1): {(1, 1, 1, 1)}, (3, 2): {(0, 0, 1, 1)}, (5, 1): {(2, 2, 2, 2)}, (5, 2): {(1, 1, 2, 2)}}
    assert zoo.efficientnet_lite0(batch=4).inputs[0].shape == (4, 3, 224, 224)


def test_image_sizes():
    assert zoo.load("resnet-18", image=(64, 96)).inputs[0].shape == (1, 3, 64, 96)
    small = zoo.load("vgg-16", image=32).macs
    expected = sum(conv(side // 7, depth, 3, maps) for side, depth, maps in VGG) + 512 * 4096 + CLASSIFIER
    assert small == expected  # 224 = 7 x 32


def test_mistakes_are_explained():
    with pytest.raises(HetcnnError, match="unknown network 'resnet50'; did you mean 'resnet-50'"):
        zoo.load("resnet50")
    with pytest.raises(HetcnnError, match="batch 0; it must be a whole number from 1"):
        zoo.load("lenet-5", batch=0)
    for image in (0, (224,), 224.0, "224"):
        with pytest.raises(HetcnnError, match="it is a side, or"):
            zoo.load("lenet-5", image=image)
    with pytest.raises(HetcnnError, match="seed -1; it must be a whole number from 0"):
        zoo.load("lenet-5", seed=-1)
    with pytest.raises(HetcnnError, match="does not fit into"):
        zoo.load("alexnet", image=20)
