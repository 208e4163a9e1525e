"""FPGA-GPU hybrid with direct hardware mapping (Carballo-Hernandez et al., arXiv 2102.01343, 2021).

`resources`: what a layer costs as hardware, fitted on fitter reports. `machine`: board file and assumptions, and the
box of their ranges. `graph`: any network as small graphs. `schedule`: the engines' times, every choice of a module at
once. `search`: the best choice. `shared`: one configuration for a whole network. `layers`, `tables`: results.
`uncertainty`: the band over the box, Sobol indices.
"""

from __future__ import annotations

from functools import partial

from hetcnn.papers.hybrid.claims import CLAIMS
from hetcnn.papers.hybrid.exercises import EXERCISES
from hetcnn.papers.hybrid.graph import NAMES, NETWORKS, modules
from hetcnn.papers.hybrid.layers import assumptions, dhm_cost, fitter_reports, layer_table, parameters
from hetcnn.papers.hybrid.machine import constants
from hetcnn.papers.hybrid.tables import (
    module_figure,
    module_table,
    pareto,
    partition_table,
    reductions,
    resolution,
    scored,
)
from hetcnn.papers.hybrid.uncertainty import band, sensitivity, sobol, word_length

TITLE = (
    "Carballo-Hernandez, Pelcat, Berry: Why is FPGA-GPU Heterogeneity the Best Option for Embedded Deep Neural "
    "Networks? arXiv 2102.01343, 2021"
)

TABLES = {
    "Abstract, as scored": scored,
    "Abstract": reductions,
    "Modules": module_table,
    **{f"Modules of {NAMES[network]}": partial(partition_table, network) for network in NETWORKS},
    "Modules of SqueezeNet 1.1": partial(partition_table, "squeezenet-1.1"),
    "DHM against GPU": dhm_cost,
    "Layers": layer_table,
    "Fitter reports": fitter_reports,
    "Pareto front": pareto,
    "Search resolution": resolution,
    "Assumptions": assumptions,
    "Band": band,
    "Sensitivity": sensitivity,
    "Sobol indices": sobol,
    "Word length": word_length,
}

__all__ = [
    "CLAIMS",
    "EXERCISES",
    "NETWORKS",
    "TABLES",
    "TITLE",
    "assumptions",
    "band",
    "constants",
    "dhm_cost",
    "fitter_reports",
    "layer_table",
    "module_figure",
    "module_table",
    "modules",
    "parameters",
    "pareto",
    "partition_table",
    "reductions",
    "resolution",
    "scored",
    "sensitivity",
    "sobol",
    "word_length",
]
