"""What a paper leaves open: the assumptions declared in its data file, each with nominal value, range and reason."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from hetcnn import data

__all__ = ["declared"]


@cache
def declared(key: str) -> Mapping[str, Mapping[str, Any]]:
    """Return name -> entry of `data/papers/<key>/assumptions.toml`: nominal, range, unit, why; in the file's order.

    >>> declared("synergy")["interval"]["nominal"]
    16
    """
    with data.path("papers", key, "assumptions.toml").open("rb") as file:
        entries = tomllib.load(file)["assumption"]
    return MappingProxyType({entry["name"]: MappingProxyType(entry) for entry in entries})
