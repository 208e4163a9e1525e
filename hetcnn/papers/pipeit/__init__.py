"""Pipe-it: CNN pipelines over a big.LITTLE processor (Wang et al., IEEE TCAD 39(10), 2020, arXiv 1903.05898v3).

`times`: layer times, derived from the paper's figures and predicted by its regression. `search`: design space,
Algorithms 1-3, exact optimum; `search_trace`: the paper's worked example. `kernel_level`: layers split over both
clusters (Figs. 3 and 5). `power`: Table VIII. `tables`, `figures`: one function for each of the paper's.
"""

from __future__ import annotations

from hetcnn.papers.pipeit.claims import CLAIMS
from hetcnn.papers.pipeit.exercises import EXERCISES
from hetcnn.papers.pipeit.figures import (
    figure_3,
    figure_4,
    figure_5,
    figure_6,
    figure_7,
    figure_8,
    figure_9,
    figure_12,
    figure_14,
    figure_15,
)
from hetcnn.papers.pipeit.layers import NETWORKS
from hetcnn.papers.pipeit.search_trace import search_steps, trace
from hetcnn.papers.pipeit.sensitivity import parameters, sensitivity
from hetcnn.papers.pipeit.tables import (
    best_design,
    equation_2,
    held_out_small,
    layer_times,
    table_1,
    table_3,
    table_4,
    table_5,
    table_6,
    table_7,
    table_8,
)

TITLE = (
    "Wang, Ananthanarayanan, Zeng, Goel, Pathania, Mitra: High-Throughput CNN Inference on Embedded ARM big.LITTLE "
    "Multi-Core Processors. IEEE TCAD 39(10), 2020"
)

TABLES = {
    "Table I": table_1,
    "Table III": table_3,
    "Table IV": table_4,
    "Table V": table_5,
    "Table VI": table_6,
    "Table VII": table_7,
    "Table VIII": table_8,
    "Equation 2": equation_2,
    "Section VI": trace,
    "Figure 3": figure_3,
    "Figure 4": figure_4,
    "Figure 5": figure_5,
    "Figure 6": figure_6,
    "Figure 7": figure_7,
    "Figure 8": figure_8,
    "Figure 9": figure_9,
    "Figure 12": figure_12,
    "Figure 14": figure_14,
    "Figure 15": figure_15,
    "Sensitivity": sensitivity,
}

__all__ = [
    "CLAIMS",
    "EXERCISES",
    "NETWORKS",
    "TABLES",
    "TITLE",
    "best_design",
    "equation_2",
    "figure_3",
    "figure_4",
    "figure_5",
    "figure_6",
    "figure_7",
    "figure_8",
    "figure_9",
    "figure_12",
    "figure_14",
    "figure_15",
    "held_out_small",
    "layer_times",
    "parameters",
    "search_steps",
    "sensitivity",
    "table_1",
    "table_3",
    "table_4",
    "table_5",
    "table_6",
    "table_7",
    "table_8",
    "trace",
]
