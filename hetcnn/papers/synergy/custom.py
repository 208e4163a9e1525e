"""The best custom clusters of a static mapping (Table 5), searched by the model over every split of the engines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

from hetcnn.errors import HetcnnError
from hetcnn.papers.synergy.designs import DEFAULT, Design, convolutions, run
from hetcnn.papers.synergy.machine import Clusters, Machine, stages

__all__ = ["best_custom", "best_free", "cluster_name", "parse_clusters", "splits"]

_SIMULATED = 10
_LETTERS = "NSF"
_CLUSTER = r"\d+[NSF](\+\d+[NSF])*"


def splits() -> Iterator[Clusters]:
    """Yield every split of 2 NEON, 2 S-PE and 6 F-PE into two clusters, the one with more S-PEs first.

    Splits that keep the NEON threads together, and the S-PEs, come first.

    >>> len(list(splits()))
    31
    """
    total = tuple(sum(c[k] for c in DEFAULT) for k in range(3))
    found = []
    for n, s, f in product(*(range(t + 1) for t in total)):
        first, second = (n, s, f), (total[0] - n, total[1] - s, total[2] - f)
        if any(first) and any(second) and (s, n, f) >= (second[1], second[0], second[2]):
            found.append((first, second))
    return iter(sorted(found, key=lambda c: sum(a != 0 != b for a, b in zip(*(x[:2] for x in c), strict=True))))


def cluster_name(clusters: Clusters) -> str:
    """Return clusters as Table 5 is on file.

    >>> cluster_name(((2, 2, 0), (0, 0, 6)))
    '2N+2S ; 6F'
    """
    return " ; ".join("+".join(f"{n}{k}" for n, k in zip(c, _LETTERS, strict=True) if n) for c in clusters)


def parse_clusters(name: str) -> Clusters:
    """Return the engines of clusters from their name.

    >>> parse_clusters("2N+2S+2F ; 4F")
    ((2, 2, 2), (0, 0, 4))
    """
    if not re.fullmatch(rf"{_CLUSTER}( *; *{_CLUSTER})*", name):
        raise HetcnnError(f"clusters '{name}': expected such as '2N+2S ; 6F', N for NEON, S for S-PE, F for F-PE")
    made = []
    for part in name.split(";"):
        engines = {kind: int(many) for many, kind in re.findall(r"(\d+)([NSF])", part)}
        made.append((engines.get("N", 0), engines.get("S", 0), engines.get("F", 0)))
    return tuple(made)


@cache
def best_custom(machine: Machine, name: str, variant: int = 0) -> Design:
    """Return the best clusters of a static design (SC): every split with its default mapping, simulated.

    Of equals (many, where S-PEs are as fast as F-PEs) the first is taken.
    """
    return _fastest(machine, name, [Design(c, stealing=False) for c in splits()], variant)


@cache
def best_free(machine: Machine, name: str, variant: int = 0) -> Design:
    """Return the best static design when the mapping is free too: the best by the bound of saturated engines."""
    layers = stages(name, variant)
    options = [(c, m) for c in splits() for m in product(range(2), repeat=len(convolutions(layers)))]
    options.sort(key=lambda o: round(machine.frame_bound(layers, *o), 9))
    return _fastest(machine, name, [Design(c, m, stealing=False) for c, m in options[:_SIMULATED]], variant)


def _fastest(machine: Machine, name: str, designs: list[Design], variant: int) -> Design:
    rates: dict[object, float] = {}
    for design in designs:
        alike = _alike(machine, design)
        if alike not in rates:
            rates[alike] = round(run(machine, name, design, variant).rate, 9)
    return max(designs, key=lambda d: rates[_alike(machine, d)])


def _alike(machine: Machine, design: Design) -> object:
    """What decides a design's rate: where S-PEs and F-PEs take the same time, only how many PEs a cluster has."""
    if machine.s_pe != machine.f_pe:
        return design
    return tuple((n, s + f) for n, s, f in design.clusters), design.mapping
