"""Synergy: tile jobs on NEON and FPGA engines, clusters, a layer pipeline and work stealing on a Zynq.

Zhong, Dubey, Tan, Mitra, ACM TECS 18(2), 2019, arXiv 1804.00706v1. `networks`: the benchmarks, rebuilt. `machine`:
jobs, step times, software, bounds. `fitting`: five rates and what they were fitted on. `designs`: systems to simulate.
`custom`: the search for custom clusters. `power`: rails and energy. `figures`, `tables`: one function for each of the
paper's. `sensitivity`: assumptions and shapes.
"""

from __future__ import annotations

from hetcnn.papers.synergy.claims import CLAIMS
from hetcnn.papers.synergy.designs import DEFAULT, FPGA, NEON, Design, run, system
from hetcnn.papers.synergy.exercises import EXERCISES
from hetcnn.papers.synergy.figures import (
    constant_predictor,
    figure_7,
    figure_9,
    figure_10,
    figure_11,
    figure_12,
    figure_13,
    figure_14,
    held_out,
)
from hetcnn.papers.synergy.fitting import machine
from hetcnn.papers.synergy.machine import NETWORKS, Machine, stages
from hetcnn.papers.synergy.sensitivity import sensitivity, shape_spread
from hetcnn.papers.synergy.tables import (
    guesses,
    original_power,
    parameters,
    shapes,
    table_2,
    table_3,
    table_4,
    table_5,
    table_6,
)

TITLE = (
    "Zhong, Dubey, Tan, Mitra: Synergy: A HW/SW Framework for High Throughput CNNs on Embedded Heterogeneous SoC. "
    "ACM TECS 18(2), 2019"
)

TABLES = {
    "Table 2": table_2,
    "Table 3": table_3,
    "Table 4": table_4,
    "Table 5": table_5,
    "Table 6": table_6,
    "Figure 7": figure_7,
    "Figure 9": figure_9,
    "Figure 10": figure_10,
    "Figure 11": figure_11,
    "Figure 12": figure_12,
    "Figure 13": figure_13,
    "Figure 14": figure_14,
    "Jobs": shapes,
    "Fitted rates": parameters,
    "Networks left out": held_out,
    "Constant predictor": constant_predictor,
    "Sensitivity": sensitivity,
    "Shapes": shape_spread,
}

__all__ = [
    "CLAIMS",
    "DEFAULT",
    "EXERCISES",
    "FPGA",
    "NEON",
    "NETWORKS",
    "TABLES",
    "TITLE",
    "Design",
    "Machine",
    "constant_predictor",
    "figure_7",
    "figure_9",
    "figure_10",
    "figure_11",
    "figure_12",
    "figure_13",
    "figure_14",
    "guesses",
    "held_out",
    "machine",
    "original_power",
    "parameters",
    "run",
    "sensitivity",
    "shape_spread",
    "shapes",
    "stages",
    "system",
    "table_2",
    "table_3",
    "table_4",
    "table_5",
    "table_6",
]
