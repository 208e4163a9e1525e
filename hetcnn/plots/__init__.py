"""Figures: functions that take labelled data and `ax=None`, and return the axes; tables for notebooks and terminals.

Published values are hollow with their reading error, ours are filled. Nothing here calls `show` or changes a global
setting. The submodules load on first use: a table costs no import of matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetcnn.plots.compare import bars, parity
    from hetcnn.plots.curves import lines, surface
    from hetcnn.plots.live import live_gantt
    from hetcnn.plots.measured import designs, layer_roofline, predicted_layers
    from hetcnn.plots.ranges import bands
    from hetcnn.plots.rooflines import roofline, roofline_plot
    from hetcnn.plots.schedule import gantt
    from hetcnn.plots.shares import errors, stacked
    from hetcnn.plots.style import COLOUR, context, save
    from hetcnn.plots.tables import table

_HOME = {
    "COLOUR": "style",
    "bands": "ranges",
    "bars": "compare",
    "context": "style",
    "designs": "measured",
    "errors": "shares",
    "gantt": "schedule",
    "layer_roofline": "measured",
    "lines": "curves",
    "live_gantt": "live",
    "parity": "compare",
    "predicted_layers": "measured",
    "roofline": "rooflines",
    "roofline_plot": "rooflines",
    "save": "style",
    "stacked": "shares",
    "surface": "curves",
    "table": "tables",
}
_SUBMODULES = frozenset({*_HOME.values(), "colours", "labels", "points", "published", "tables", "ticks"})

__all__ = [
    "COLOUR",
    "bands",
    "bars",
    "context",
    "designs",
    "errors",
    "gantt",
    "layer_roofline",
    "lines",
    "live_gantt",
    "parity",
    "predicted_layers",
    "roofline",
    "roofline_plot",
    "save",
    "stacked",
    "surface",
    "table",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"hetcnn.plots.{_HOME[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"hetcnn.plots.{name}")
    raise AttributeError(f"module 'hetcnn.plots' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
