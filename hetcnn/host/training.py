"""What the layer-time predictor learns from: made-up networks that fill the space of layer shapes, none of the zoo's.

Layers are measured inside networks because that is where they will run: their input has just been written by the layer
before, their weights have been pushed out of the near caches by everything since the last frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from hetcnn import zoo
from hetcnn.builder import Builder
from hetcnn.network import Layer, Network, Tensor
from hetcnn.random_weights import with_random_weights

__all__ = ["GRID_FILTERS", "GRID_MAPS", "networks", "shape_of", "zoo_shapes"]

GRID_FILTERS = (1, 3, 5, 7, 11)
GRID_MAPS = (32, 64, 92, 128, 192, 256)
"""Pipe-it's micro-benchmarks: filters F, and numbers of input and output maps."""

MOST_MACS, LARGE_MACS = 3e8, 2e9
MOST_FLOATS, LARGE_FLOATS = 1.5e6, 3.5e6
"""Multiply-accumulates of a layer, and floats of its output: usual ones, and of networks that keep full resolution."""
LARGE = (13, 15, 19)
"""Which of twenty made-up networks in turn are large: none of the first dozen, so that short studies stay short."""

Shape = tuple[object, ...]


def shape_of(layer: Layer) -> Shape:
    """Return what tells two layers with MACs apart: operator, shapes of data and weights, stride and groups."""
    data, weight = layer.inputs[:2]
    assert data is not None
    assert weight is not None
    return layer.op, data.shape, weight.shape, tuple(layer.attrs.get("strides") or (1, 1)), layer.attrs.get("group", 1)


@cache
def zoo_shapes() -> frozenset[Shape]:
    """Return the shapes of all layers with MACs of all networks of the zoo."""
    return frozenset(shape_of(layer) for name in zoo.names() for layer in zoo.load(name).major_layers)


def networks(count: int, seed: int = 0) -> Iterator[Network]:
    """Yield `count` made-up networks with random weights: a stem, blocks of all kinds at falling sizes, a classifier.

    Layers with MACs that a network of the zoo has too do not occur. A quarter of the networks take filters and maps
    from the paper's grid; of the others, which have any number of maps, a third are tiny and a third heavy. Three in
    twenty, heavy or usual ones, are large as well.
    """
    for number in range(count):
        maker = _Maker(np.random.default_rng([seed, number]), f"training-{number}", number=number)
        yield with_random_weights(maker.network(), seed=number)


class _Maker:
    """A tiny network lives in the near caches, the weights of a heavy one leave every cache from frame to frame.

    A large one keeps many maps at full resolution, and its operands leave the near cache within a layer.
    """

    def __init__(self, rng: np.random.Generator, name: str, *, number: int) -> None:
        self.rng, self.grid = rng, number % 4 == 0
        self.tiny, self.heavy, self.large = number % 4 == 2, number % 4 == 3, number % 20 in LARGE
        self.pixelwise = number % 3 == 2
        sizes = [28, 32, 32, 48, 64] if self.tiny else [224, 224, 224, 227, 231, 192, 160, 112]
        size = int(rng.choice(sizes))
        self.b = Builder(name, (1, 3, size, size))
        self.most_weights = 3e4 if self.tiny else 5e6 if self.heavy or self.large else 1e6
        self.most_macs, self.most_floats = (LARGE_MACS, LARGE_FLOATS) if self.large else (MOST_MACS, MOST_FLOATS)

    def maps(self, side: int, most: int = 2048) -> int:
        """A number of maps: from the grid; or a multiple of 8 to 32 as usual, rarely of 4, more the fewer pixels."""
        if self.grid:
            return int(self.rng.choice([m for m in GRID_MAPS if m <= most] or [GRID_MAPS[0]]))
        many = 5000 if self.large else 1000 if self.heavy else 300
        low = 8 if self.tiny else min(max(12, many // side), 256)
        high = min(most, 64 if self.tiny else 15_000 // side)
        drawn = float(np.exp(self.rng.uniform(np.log(low), np.log(max(high, low + 1)))))
        step = 4 if self.rng.random() < 0.15 else 8 if drawn < 64 else 16 if drawn < 256 else 32
        return step * max(1, round(drawn / step))

    def network(self) -> Network:
        x = self.stem()
        blocks = self.blocks()
        last = 4 if self.tiny else int(self.rng.choice([4, 4, 7, 8, 14]))
        while x.shape[2] > last:
            for _ in range(int(self.rng.integers(2, 4 if x.shape[2] > 30 else 6))):
                x = blocks[int(self.rng.integers(len(blocks)))](x)
            x = self.down(x)
        return self.b.build(self.b.softmax(self.classifier(x)))

    def stem(self) -> Tensor:
        """Every second one without padding, whose output may have any number of pixels across, primes too."""
        kernel, stride = int(self.rng.choice([3, 5, 7, 9, 11])), int(self.rng.choice([1, 2, 2, 3, 4]))
        pad = kernel // 2 * int(self.rng.integers(2))
        if self.large:
            kernel, stride, pad = int(self.rng.choice([3, 5])), 1, 1
        elif self.b.input.shape[2] > 130:
            stride = max(stride, 2)
        maps = self.maps(self.b.input.shape[2] // stride, 96)
        return self.act(self.conv(self.b.input, maps, kernel, stride=stride, pad=pad))

    def conv(
        self, x: Tensor, maps: int, kernel: int, *, stride: int = 1, group: int = 1, pad: int | None = None
    ) -> Tensor:
        """A convolution that is not in the zoo and not too large: a smaller filter and fewer maps until it is."""
        c, side = x.shape[1], -(-x.shape[2] // stride)
        while self._too_large(kernel * kernel * c // group, maps, side * side):
            if kernel > 3:  # wide filters go with few maps, as they do in known networks
                kernel = next(k for k in (9, 7, 5, 3) if k < kernel and (k in GRID_FILTERS or not self.grid))
            elif maps > 8:
                maps = maps // 2 // 8 * 8 or 8
            else:
                break
        if group == c:
            maps = c
        while ("Conv", x.shape, (maps, c // group, kernel, kernel), (stride, stride), group) in zoo_shapes():
            maps, kernel = (maps, kernel + 2) if group == c else (maps + 8, kernel)
        pad = kernel // 2 if pad is None else pad
        return self.b.conv(x, maps, kernel, stride=stride, pad=pad, group=group)

    def _too_large(self, depth: int, maps: int, pixels: int) -> bool:
        weights, outputs = depth * maps, maps * pixels
        return weights * pixels > self.most_macs or weights > self.most_weights or outputs > self.most_floats

    def act(self, x: Tensor) -> Tensor:
        """ReLU, ReLU6 or nothing; now and then in a tiny network tanh, which has no kernel of its own."""
        kind = int(self.rng.integers(4))
        if self.tiny and self.rng.random() < 0.25:
            return self.b.tanh(x)
        return x if kind == 3 else self.b.relu6(x) if kind == 2 else self.b.relu(x)

    def blocks(self) -> list[Callable[[Tensor], Tensor]]:
        """The kinds of block of this network, common ones more than once."""
        every = [self.plain, self.plain, self.point, self.separable, self.separable, self.residual, self.inverted]
        every += [self.branches, self.squeezed, self.shuffled, self.pool_same, self.rare]
        if self.large:
            every = [self.plain, self.plain, self.plain, self.residual, self.point, self.branches]
        picks = self.rng.choice(len(every), size=4, replace=False)
        return [every[int(i)] for i in picks]

    def plain(self, x: Tensor) -> Tensor:
        kernel = int(self.rng.choice([3, 3, 3, 5, 7, 11] if self.grid else [3, 3, 3, 5]))
        return self.act(self.conv(x, self.maps(x.shape[2]), kernel))

    def point(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x, self.maps(x.shape[2]), 1))

    def separable(self, x: Tensor) -> Tensor:
        kernel = int(self.rng.choice([3, 3, 5]))
        x = self.act(self.conv(x, x.shape[1], kernel, group=x.shape[1]))
        return self.act(self.conv(x, self.maps(x.shape[2], 512), 1))

    def inverted(self, x: Tensor) -> Tensor:
        wide = x if x.shape[1] > 256 else self.act(self.conv(x, int(self.rng.integers(3, 7)) * x.shape[1], 1))
        wide = self.act(self.conv(wide, wide.shape[1], int(self.rng.choice([3, 5])), group=wide.shape[1]))
        narrow = self.conv(wide, self.maps(x.shape[2], 256), 1)
        return self.b.add(narrow, x) if narrow.shape == x.shape else narrow

    def residual(self, x: Tensor) -> Tensor:
        """As many maps in the middle as outside, or any number."""
        maps = x.shape[1] if self.rng.random() < 0.5 else self.maps(x.shape[2], 256)
        middle = self.act(self.conv(x, maps, int(self.rng.choice([1, 3]))))
        y = self.conv(middle, x.shape[1], 3)
        return self.act(self.b.add(y, x)) if y.shape == x.shape else y

    def branches(self, x: Tensor) -> Tensor:
        parts = [self.act(self.conv(x, self.maps(x.shape[2], 256), 1))]
        parts.append(
            self.act(self.conv(self.act(self.conv(x, self.maps(x.shape[2], 128), 1)), self.maps(x.shape[2], 256), 3))
        )
        if self.rng.random() < 0.5:
            parts.append(
                self.act(self.conv(self.act(self.conv(x, self.maps(x.shape[2], 64), 1)), self.maps(x.shape[2], 128), 5))
            )
        if self.rng.random() < 0.5:
            parts.append(self.conv(self.b.max_pool(x, 3, stride=1, pad=1), self.maps(x.shape[2], 128), 1))
        return self.b.concat(*parts)

    def squeezed(self, x: Tensor) -> Tensor:
        """Few maps by a 1x1 convolution, then many by 1x1 and by 3x3."""
        few = max(8, x.shape[1] // int(self.rng.choice([2, 4, 8])) // 8 * 8)
        x = self.act(self.conv(x, few, 1))
        many = few * int(self.rng.choice([2, 4]))
        return self.b.concat(self.act(self.conv(x, many, 1)), self.act(self.conv(x, many, 3)))

    def shuffled(self, x: Tensor) -> Tensor:
        """Half of the maps go by a separable convolution, half stay as they are, and both are mixed map by map."""
        half = x.shape[1] // 2
        if x.shape[1] % 2:
            return self.separable(x)
        left, right = self.b.split(x, 2)
        right = self.conv(self.act(self.conv(right, half, 1)), half, 3, group=half)
        joined = self.b.concat(left, self.act(self.conv(right, half, 1)))
        return self.b.channel_shuffle(joined, 2) if joined.shape[1] % 2 == 0 else joined

    def pool_same(self, x: Tensor) -> Tensor:
        pool = self.b.max_pool if self.rng.random() < 0.6 else self.b.avg_pool
        return pool(x, 3, stride=1, pad=1)

    def rare(self, x: Tensor) -> Tensor:
        """Response normalisation, groups, a sigmoid or another ReLU."""
        kind = int(self.rng.integers(4))
        if kind == 0:
            return self.b.lrn(x, 5)
        groups = next((g for g in (4, 2) if x.shape[1] % g == 0), 1)
        if kind == 1 and groups > 1:
            return self.act(self.conv(x, 4 * max(1, self.maps(x.shape[2], 256) // 4), 3, group=groups))
        return self.b.sigmoid(x) if kind == 2 else self.b.relu(x)

    def down(self, x: Tensor) -> Tensor:
        kind = int(self.rng.integers(6))
        if kind == 5:
            return self.b.avg_pool(x, 2, stride=2)
        if kind == 0:
            return self.b.max_pool(x, 3, stride=2, pad=int(self.rng.integers(2)))
        if kind == 1:
            return self.b.max_pool(x, 2, stride=2)
        if kind == 2:
            return self.act(self.conv(x, x.shape[1], 3, stride=2, group=x.shape[1]))
        if kind == 3:
            return self.act(self.conv(x, self.maps(x.shape[2], 512), 1, stride=2))
        return self.act(self.conv(x, self.maps(x.shape[2], 512), 3, stride=2))

    def classifier(self, x: Tensor) -> Tensor:
        """Fully connected layers, one to three; in a third of the networks a 1x1 convolution and a global average.

        Fully connected layers of a heavy network have up to 20 million weights, those of a large one up to 40.
        """
        averaged = self.rng.random() < 0.5
        if self.pixelwise:
            classes = self.maps(8, 1024) * int(self.rng.integers(1, 3))
            if averaged:
                return self.conv(self.b.global_avg_pool(x), classes, 1)
            return self.b.global_avg_pool(self.act(self.conv(x, classes, 1)))
        if averaged:
            x = self.b.global_avg_pool(x)
        for _ in range(int(self.rng.integers(1, 4))):
            most = max(10, int((8 if self.large else 4) * self.most_weights // x.size))
            x = self.b.fc(x, min(most, self.maps(8, 1024) * int(self.rng.integers(1, 5))))
        return x
