"""Explorers for notebooks: named controls beside one figure that is redrawn in place, and a static figure in a report.

The submodules load on first use; nothing here imports ipywidgets until an explorer is made.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetcnn.widgets.controls import Choice, Flag, Real, Whole
    from hetcnn.widgets.machine import Explorer, explorer

_HOME = {
    "Choice": "controls",
    "Explorer": "machine",
    "Flag": "controls",
    "Real": "controls",
    "Whole": "controls",
    "explorer": "machine",
}
_SUBMODULES = frozenset({*_HOME.values(), "hybrid", "pipeit", "snowflake", "synergy", "synergyflow", "your_machine"})

__all__ = ["Choice", "Explorer", "Flag", "Real", "Whole", "explorer"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"hetcnn.widgets.{_HOME[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"hetcnn.widgets.{name}")
    raise AttributeError(f"module 'hetcnn.widgets' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
