"""ONNX's own conformance suite, run on `hetcnn.kernels.backend`: nodes, simple models, what PyTorch exports.

A case runs unless its graph needs an operator that `EXCLUDED` names; nothing else is left out.
"""

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from hetcnn.kernels.backend import HetcnnBackend
from hetcnn.kernels.registry import supports

CATEGORIES = ("node", "simple", "pytorch-converted", "pytorch-operator")

EXCLUDED = {
    op: reason
    for reason, ops in {
        "control flow: runs graphs of its own": "If Loop Scan SequenceMap",
        "works on sequences, optional values or maps, which a CNN has none of": (
            "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct "
            "SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence"
        ),
        "works on text": "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
        "a recurrent network": "GRU LSTM RNN ReverseSequence",
        "attention and other parts of transformers": (
            "Attention CausalConvWithState LinearAttention RotaryEmbedding SwiGLU TensorScatter Trilu "
            "ai.onnx.preview::FlexAttention"
        ),
        "training: losses, gradients, optimisers": (
            "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss ai.onnx.preview.training::Adagrad "
            "ai.onnx.preview.training::Adam ai.onnx.preview.training::Gradient ai.onnx.preview.training::Momentum"
        ),
        "random: no two runs agree": "Bernoulli RandomUniformLike",
        "signal processing": "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT",
        "detection and geometry: sampling at computed places": (
            "AffineGrid CenterCropPad Col2Im DeformConv GridSample MaxUnpool NonMaxSuppression RoiAlign"
        ),
        "decodes image files": "ImageDecoder",
        "sorts, searches or scatters; the size of the result may depend on the data": (
            "Compress CumProd Det Einsum NonZero OneHot Scatter ScatterElements ScatterND TopK Unique"
        ),
        "classical machine learning": (
            "ai.onnx.ml::ArrayFeatureExtractor ai.onnx.ml::Binarizer ai.onnx.ml::LabelEncoder ai.onnx.ml::TreeEnsemble"
        ),
    }.items()
    for op in ops.split()
}
"""Operator -> why its cases do not run: none of these is among the operators of `hetcnn.kernels`."""


def nodes_of(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def operators_of(model):
    own = {(f.domain, f.name) for f in model.functions}
    nodes = itertools.chain(nodes_of(model.graph), *(f.node for f in model.functions))
    names = {(n.domain, n.op_type) for n in nodes} - own
    return {f"{domain}::{op}" if domain not in ("", "ai.onnx") else op for domain, op in names}


@cache
def suite():
    """All cases as (category, case, model, operators), in an order that does not depend on the file system."""
    found = []
    with np.errstate(all="ignore"):
        for category in CATEGORIES:
            for case in sorted(load_model_tests(kind=category), key=lambda c: c.name):
                model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
                found.append((category, case, model, operators_of(model)))
    return found


def included():
    return [row for row in suite() if not row[3] & EXCLUDED.keys()]


def array(item):
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item


def data_sets(case):
    if case.data_sets is not None:
        return [([array(x) for x in inputs], [array(y) for y in outputs]) for inputs, outputs in case.data_sets]
    folders = sorted(Path(case.model_dir).glob("test_data_set_*"))
    return [(stored(folder, "input"), stored(folder, "output")) for folder in folders]


def stored(folder, kind):
    count = len(list(folder.glob(f"{kind}_*.pb")))
    return [numpy_helper.to_array(onnx.load_tensor(folder / f"{kind}_{i}.pb")) for i in range(count)]


@pytest.mark.parametrize(
    ("case", "model"), [pytest.param(case, model, id=f"{kind}-{case.name}") for kind, case, model, _ in included()]
)
def test_conformance(case, model):
    """Once as read by hetcnn.onnx_io, once straight from the graph: constants are folded in the first only."""
    sets = data_sets(case)
    assert sets
    for direct in (False, True):
        prepared = HetcnnBackend.prepare(model, "CPU", direct=direct)
        for inputs, want in sets:
            Runner.assert_similar_outputs(want, prepared.run(inputs), case.rtol, case.atol)


def test_every_operator_of_the_suite_is_supported_or_excluded_and_never_both():
    used = set().union(*(operators for *_, operators in suite()))
    supported = {op for op in used if supports(*reversed(op.split("::")))}
    assert used - supported == used & EXCLUDED.keys()
    assert not supported & EXCLUDED.keys()
    assert all(EXCLUDED.values())


def test_most_of_the_suite_runs():
    counts = {kind: [0, 0] for kind in CATEGORIES}
    for kind, _, _, operators in suite():
        counts[kind][bool(operators & EXCLUDED.keys())] += 1
    print("passes/excluded:", {kind: tuple(pair) for kind, pair in counts.items()})
    assert counts["pytorch-converted"][1] == counts["pytorch-operator"][1] == 0
    assert sum(run for run, _ in counts.values()) > 0.7 * len(suite())


def test_the_official_runner_accepts_the_backend():
    """The same through ONNX's own machinery, for a few cases: discovery, devices and comparison are its own."""
    official = Runner(HetcnnBackend)
    official.include("test_(relu|conv_with_strides_padding|maxpool_2d_default|basic_conv_with_padding)_cpu$")
    cases = official.test_cases["OnnxBackendNodeModelTest"]
    ran = 0
    for name in ("test_relu_cpu", "test_conv_with_strides_padding_cpu", "test_maxpool_2d_default_cpu"):
        getattr(cases(name), name)()
        ran += 1
    assert ran == 3
