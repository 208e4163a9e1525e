"""One model per paper, each a module with the same three names.

`TITLE`: the paper's citation in one line.
`CLAIMS`: claim id -> function of no arguments that returns the model's value (number, string, or None: no model).
`TABLES`: where ("Table IV", "Figure 8") -> function of no arguments that returns an xarray Dataset with units.

"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

from hetcnn.errors import unknown

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KEYS", "Paper", "Value", "load"]

KEYS = ("snowflake", "synergy", "synergyflow", "pipeit", "hybrid", "host")
"""The papers that have a model, in the order of their notebooks."""

Value = float | int | str | list[float] | None


class Paper(Protocol):
    """What every paper module offers."""

    TITLE: str
    CLAIMS: Mapping[str, Callable[[], Value]]
    TABLES: Mapping[str, Callable[[], xr.Dataset]]


def load(key: str) -> Paper:
    """Return the module of one paper."""
    if key not in KEYS:
        raise unknown("paper", key, KEYS)
    return cast(Paper, importlib.import_module(f"hetcnn.papers.{key}"))
