"""Snowflake: a compiler for a custom CNN accelerator, and the machine (Chang et al. 2017, arXiv 1708.00117).

The compiler's passes, in order: `tasks` (parsing, fusion), `plan` and `choose` (modes, tiles, loop order), `layout`
(memory), `generate` and `emit` (instructions). The machine: `isa` (instructions), `simulator`, `timeline` (when),
`values` (what). `model` is the closed-form estimate; `tables`, `decisions`, `figures` make the makers' tables and more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hetcnn.papers.published import number
from hetcnn.papers.snowflake.agreement import agreement
from hetcnn.papers.snowflake.claims import CLAIMS
from hetcnn.papers.snowflake.compiler import Program, compile_network
from hetcnn.papers.snowflake.config import COMPILED, HAND, Machine, Schedule, machine
from hetcnn.papers.snowflake.decisions import (
    choices,
    decisions,
    loop_orders,
    modes,
    port_counts,
    ports,
    resnet_budget,
    tiles,
    walk,
)
from hetcnn.papers.snowflake.exercises import EXERCISES
from hetcnn.papers.snowflake.figures import energy, layer_roofline, line_up, roofline_points, sensitivity
from hetcnn.papers.snowflake.runs import NETWORKS, run
from hetcnn.papers.snowflake.simulator import Run, execute, simulate
from hetcnn.papers.snowflake.tables import (
    frame_rates,
    hand_against_compiled,
    layer_table,
    model_against_machine,
    task_table,
    traffic_table,
)
from hetcnn.papers.snowflake.tasks import parse

if TYPE_CHECKING:
    import xarray as xr

TITLE = (
    "Chang, Zaidy, Gokhale, Culurciello: Compiling Deep Learning Models for Custom Hardware Accelerators. "
    "arXiv 1708.00117, 2017"
)


def budget() -> xr.Dataset:
    """Return ResNet-18's published time and traffic in parts that the machine explains, and the part that is left."""
    return resnet_budget(number("snowflake", "derived.resnet18.time"), number("snowflake", "derived.resnet18.traffic"))


_BY_LAYER = {
    "alexnet": "layer",
    "googlenet": "module",
    "resnet-18": "stage",
    "resnet-50": "stage",
    "resnet-50-v1": "stage",
}

TABLES = {
    **{f"{n}: by {row}, hand-written code": partial(layer_table, n) for n, row in _BY_LAYER.items()},
    **{f"{n}: by {row}, compiled code": partial(layer_table, n, "compiled") for n, row in _BY_LAYER.items()},
    **{f"{n}: traffic by {row}, hand-written code": partial(traffic_table, n) for n, row in _BY_LAYER.items()},
    **{f"{n}: traffic by {row}, compiled code": partial(traffic_table, n, "compiled") for n, row in _BY_LAYER.items()},
    **{f"{n}: hand-written against compiled": partial(hand_against_compiled, n) for n in _BY_LAYER},
    **{f"{n}: loop orders": partial(loop_orders, n) for n in ("alexnet", "resnet-18", "googlenet", "resnet-50")},
    **{f"{n}: modes": partial(modes, n) for n in ("alexnet", "resnet-18", "googlenet", "resnet-50")},
    **{f"{n}: load ports": partial(ports, n) for n in ("alexnet", "resnet-18")},
    **{f"{n}: ports used": partial(port_counts, n) for n in ("alexnet", "resnet-18")},
    **{f"{n}: decisions": partial(decisions, n) for n in ("alexnet", "resnet-18", "googlenet", "resnet-50")},
    **{f"{n}: tasks, compiled code": partial(task_table, n) for n in _BY_LAYER},
    **{f"{n}: tasks, hand-written code": partial(task_table, n, "hand") for n in _BY_LAYER},
    "alexnet: estimate and machine": model_against_machine,
    "Frame rates, compiled code": frame_rates,
    "Frame rates, hand-written code": partial(frame_rates, "hand"),
    "Roofline, hand-written code": partial(roofline_points, "hand"),
    "Roofline, compiled code": roofline_points,
    "AlexNet on the roofline": layer_roofline,
    "Line-up": line_up,
    "Energy": energy,
    "ResNet-18: budget": budget,
    **{f"{n}: sensitivity": partial(sensitivity, n) for n in ("alexnet", "resnet-18")},
}

__all__ = [
    "CLAIMS",
    "COMPILED",
    "EXERCISES",
    "HAND",
    "NETWORKS",
    "TABLES",
    "TITLE",
    "Machine",
    "Program",
    "Run",
    "Schedule",
    "agreement",
    "budget",
    "choices",
    "compile_network",
    "decisions",
    "energy",
    "execute",
    "frame_rates",
    "hand_against_compiled",
    "layer_roofline",
    "layer_table",
    "line_up",
    "loop_orders",
    "machine",
    "model_against_machine",
    "modes",
    "parse",
    "port_counts",
    "ports",
    "roofline_points",
    "run",
    "sensitivity",
    "simulate",
    "task_table",
    "tiles",
    "traffic_table",
    "walk",
]
