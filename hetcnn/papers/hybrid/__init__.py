"""FPGA-GPU hybrid with direct hardware mapping (Carballo-Hernandez et al., arXiv 2102.01343, 2021).

`resources`: what a layer costs as hardware, fitted on fitter reports. `constants`: board file and assumptions, and the
box of their ranges. `modules`: any network as small graphs. `search`: every choice of a module timed, the best kept.
`shared`: one configuration for a whole network. `tables`: results. `sensitivity`: the band over the box, Sobol indices.
"""

from __future__ import annotations

from hetcnn.papers.hybrid.claims import CLAIMS
from hetcnn.papers.hybrid.constants import constants
from hetcnn.papers.hybrid.exercises import EXERCISES
from hetcnn.papers.hybrid.modules import NETWORKS, modules
from hetcnn.papers.hybrid.sensitivity import band, sensitivity, sobol, word_length
from hetcnn.papers.hybrid.tables import (
    assumptions,
    dhm_cost,
    fitter_reports,
    module_figure,
    module_table,
    parameters,
    pareto,
    partition_table,
    reductions,
    resolution,
)

TITLE = (
    "Carballo-Hernandez, Pelcat, Berry: Why is FPGA-GPU Heterogeneity the Best Option for Embedded Deep Neural "
    "Networks? arXiv 2102.01343, 2021"
)

TABLES = {
    "Abstract": reductions,
    "Modules": module_table,
    "DHM against GPU": dhm_cost,
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
    "module_figure",
    "module_table",
    "modules",
    "parameters",
    "pareto",
    "partition_table",
    "reductions",
    "resolution",
    "sensitivity",
    "sobol",
    "word_length",
]
