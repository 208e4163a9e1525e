"""The published numbers of a paper, by claim id: the one copy that models calibrate on and figures are drawn beside."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np

from hetcnn import data
from hetcnn.errors import unknown

__all__ = ["Published", "number", "numbers", "published"]

Published = float | int | str | list[float]


@cache
def published(key: str) -> Mapping[str, Published]:
    """Return claim id -> published value of one paper, from `data/papers/<key>/claims.toml`."""
    with data.path("papers", key, "claims.toml").open("rb") as file:
        return MappingProxyType({claim["id"]: claim["published"] for claim in tomllib.load(file)["claim"]})


def number(key: str, claim: str) -> float:
    """Return one published number.

    >>> number("pipeit", "table4.alexnet.big")
    8.1
    """
    values = published(key)
    if claim not in values:
        raise unknown(f"claim of {key}", claim, values)
    value = values[claim]
    if isinstance(value, str | list):
        raise TypeError(f"claim {claim} of {key} is {value!r}, not a number")
    return float(value)


def numbers(key: str, claims: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return several published numbers as an array; NaN where nothing is published."""
    known = published(key)
    return np.array([number(key, claim) if claim in known else np.nan for claim in claims])
