"""Deeper siblings of two networks, for other sets of networks: VGG-19, ResNet-101 and ResNet-152. Never scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hetcnn.builder import Builder
from hetcnn.network import Network, Tensor

__all__ = ["BUILDERS"]


def vgg_19() -> Network:
    """Return VGG-19.

    >>> round(vgg_19().macs / 1e9, 1), round(vgg_19().params / 1e6)
    (19.6, 144)
    """
    b = Builder("vgg-19", (1, 3, 224, 224))
    x = b.input
    for stage, (maps, count) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)), start=1):
        for i in range(1, count + 1):
            x = b.conv_relu(x, maps, 3, pad=1, name=f"conv{stage}_{i}")
        x = b.max_pool(x, 2, stride=2)
    for name in ("fc6", "fc7"):
        x = b.relu(b.fc(x, 4096, name=name))
    return b.build(b.softmax(b.fc(x, 1000, name="fc8"), name="softmax"))


def resnet(name: str, units: tuple[int, int, int, int]) -> Network:
    """Return a ResNet of bottleneck blocks whose first 1x1 convolution has the stride, as published in 2015.

    >>> round(resnet("resnet-101", (3, 4, 23, 3)).macs / 1e9, 2)
    7.57
    """
    b = Builder(name, (1, 3, 224, 224))
    x = b.max_pool(b.conv_bn_relu(b.input, 64, 7, stride=2, pad=3, name="conv1"), 3, stride=2, pad=1)
    for stage, count in enumerate(units):
        for unit in range(count):
            stride = 2 if unit == 0 and stage > 0 else 1
            x = _bottleneck(b, x, 64 << stage, stride, f"block{stage + 1}/unit{unit + 1}")
    return b.build(b.softmax(b.fc(b.global_avg_pool(x), 1000, name="logits"), name="softmax"))


def _bottleneck(b: Builder, x: Tensor, maps: int, stride: int, name: str) -> Tensor:
    y = b.conv_bn_relu(x, maps, 1, stride=stride, name=f"{name}/conv1")
    y = b.conv_bn_relu(y, maps, 3, pad=1, name=f"{name}/conv2")
    y = b.conv_bn(y, 4 * maps, 1, name=f"{name}/conv3")
    if x.shape[1] != 4 * maps:
        x = b.conv_bn(x, 4 * maps, 1, stride=stride, name=f"{name}/shortcut")
    return b.relu(b.add(y, x, name=f"{name}/add"), name=f"{name}/relu")


BUILDERS: Mapping[str, Callable[[], Network]] = {
    "vgg-19": vgg_19,
    "resnet-101": lambda: resnet("resnet-101", (3, 4, 23, 3)),
    "resnet-152": lambda: resnet("resnet-152", (3, 8, 36, 3)),
}
