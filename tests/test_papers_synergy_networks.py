"""The rebuilt benchmarks keep what the paper says of them: layer counts and implied work."""

import pytest

from hetcnn.errors import HetcnnError
from hetcnn.papers.published import number
from hetcnn.papers.synergy import networks

EVERY = [(name, variant) for name in networks.BENCHMARKS for variant in range(networks.variants(name))]


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_layer_counts_are_table_2s(name, variant):
    network = networks.load(name, variant)
    assert sum(layer.kind == "conv" for layer in network) == number("synergy", f"table2.{name}.conv")
    assert networks.layer_count(name, variant) == number("synergy", f"table2.{name}.layers")


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_work_is_within_ten_per_cent_of_the_implied_work(name, variant):
    assert networks.load(name, variant).ops / 1e6 == pytest.approx(number("synergy", f"work.{name}"), rel=0.10)


def test_every_benchmark_has_two_admissible_shapes():
    assert min(networks.variants(name) for name in networks.BENCHMARKS) >= 2


def test_cifar_full_by_hand():
    # 32x32, 75 taps, 32 maps; 16x16, 800, 32; 8x8, 800, 64; 64 maps of 4x4 to 10 classes
    by_hand = 1024 * 75 * 32 + 256 * 800 * 32 + 64 * 800 * 64 + 1024 * 10
    assert networks.load("cifar_full").macs == by_hand


def test_mistakes_are_answered_in_one_line():
    with pytest.raises(HetcnnError, match="did you mean 'mnist'"):
        networks.load("mnst")
    with pytest.raises(HetcnnError, match="variant 7; it has 2"):
        networks.load("mnist", 7)
