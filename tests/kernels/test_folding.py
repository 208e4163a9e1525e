from dataclasses import replace

import numpy as np
import pytest

from hetcnn import zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.kernels.folding import fold_batch_norm
from hetcnn.kernels.interpreter import run
from hetcnn.random_weights import with_random_weights


@pytest.mark.parametrize("name", ["mobilenet-v2", "shufflenet-v2"])
def test_the_folded_network_computes_the_same(name):
    network = zoo.load(name, image=64, seed=0)
    folded = fold_batch_norm(network)
    assert not [layer for layer in folded.layers if layer.op == "BatchNormalization"]
    assert folded.macs == network.macs
    x = np.random.default_rng(0).standard_normal(network.inputs[0].shape, np.float32)
    want, got = run(network, x)["softmax"], run(folded, x)["softmax"]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * want.max())


def small(b, x):
    return b.relu(b.batch_norm(x, name="bn"))


def test_only_what_nobody_else_reads_is_folded():
    b = Builder("shared", (1, 2, 4, 4))
    x = b.conv(b.input, 3, 3, name="conv")
    network = with_random_weights(b.build(b.add(small(b, x), x)))
    assert fold_batch_norm(network) == network
    b = Builder("wanted", (1, 2, 4, 4))
    x = b.conv(b.input, 3, 3, name="conv")
    network = with_random_weights(b.build(small(b, x), x))
    assert fold_batch_norm(network) == network
    b = Builder("first", (1, 2, 4, 4))
    network = with_random_weights(b.build(small(b, b.input)))
    assert fold_batch_norm(network) == network


def test_a_bias_is_folded_with_the_filters():
    b = Builder("biased", (1, 2, 4, 4))
    network = with_random_weights(b.build(small(b, b.conv(b.input, 3, 3, bias=True, name="conv"))), seed=1)
    folded = fold_batch_norm(network)
    assert [layer.op for layer in folded] == ["Conv", "Relu"]
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    (want,), (got,) = run(network, x).values(), run(folded, x).values()
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_missing_weight_is_one_line():
    b = Builder("bare", (1, 2, 4, 4))
    network = b.build(small(b, b.conv(b.input, 3, 3, name="conv")))
    with pytest.raises(HetcnnError, match=r"layer 'bn' \(BatchNormalization\) reads the weight 'bn.scale'"):
        fold_batch_norm(network)
    with pytest.raises(HetcnnError, match="not carried"):
        fold_batch_norm(
            replace(network, weights={f"bn.{part}": np.ones(3) for part in ("scale", "bias", "mean", "var")})
        )
