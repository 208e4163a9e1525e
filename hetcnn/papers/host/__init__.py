"""Your machine: what its models must reach, on the record that ships with the project and on the machine at hand.

`comparison`: a record with the models fitted to it. `tables`: measured beside predicted. `live`: this machine, now.
"""

from __future__ import annotations

from functools import partial

from hetcnn.papers.host.claims import CLAIMS
from hetcnn.papers.host.comparison import Comparison, shipped
from hetcnn.papers.host.exercises import EXERCISES
from hetcnn.papers.host.live import energy_per_frame, here, rates, run_best
from hetcnn.papers.host.sensitivity import cross_validation, sensitivity
from hetcnn.papers.host.tables import (
    best_splits,
    by_algorithm,
    designs,
    layer_errors,
    layers,
    mixed,
    prices,
    splits,
    together,
)

TITLE = "Your machine: layer times and pipelines predicted, measured and compared on a computer like yours"

TABLES = {
    "Layer errors": layer_errors,
    "Errors by algorithm": by_algorithm,
    "Layers of ResNet-50": partial(layers, "resnet-50"),
    "Layers of MobileNet v2": partial(layers, "mobilenet-v2"),
    "Designs": designs,
    "Best splits": best_splits,
    "Splits of ResNet-50": partial(splits, "resnet-50"),
    "Two kinds of engine": mixed,
    "Cores together": together,
    "Prices": prices,
    "Cross-validation": cross_validation,
    "Sensitivity": sensitivity,
}

__all__ = [
    "CLAIMS",
    "EXERCISES",
    "TABLES",
    "TITLE",
    "Comparison",
    "best_splits",
    "by_algorithm",
    "cross_validation",
    "designs",
    "energy_per_frame",
    "here",
    "layer_errors",
    "layers",
    "mixed",
    "prices",
    "rates",
    "run_best",
    "sensitivity",
    "shipped",
    "splits",
    "together",
]
