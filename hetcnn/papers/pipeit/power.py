"""Active power of the two clusters (Table VIII): two parameters a cluster, fitted on the homogeneous runs alone.

P = P0 + e R: a constant while the cluster is on and an energy per MAC, R the MAC rate. A pipeline over both clusters
takes the sum, each with the MACs of its own stages. Image rate over power is frames per joule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from hetcnn import fit
from hetcnn.papers.pipeit.layers import NETWORKS, layer_table
from hetcnn.papers.pipeit.times import big_frames_per_second
from hetcnn.papers.published import number

__all__ = ["ClusterPower", "cluster_power", "pipeline_power"]


@dataclass(frozen=True)
class ClusterPower:
    """Active power of one cluster: `constant` watts while it is on, `per_mac` joules for each MAC."""

    constant: float
    per_mac: float

    def at(self, macs_per_second: float) -> float:
        """Return the active power in watts.

        >>> ClusterPower(3.0, 1e-10).at(1e10)
        4.0
        """
        return self.constant + self.per_mac * macs_per_second


def homogeneous_rate(network: str, kind: str) -> float:
    """Return Table IV's frames/s of one cluster: the rate at which Table VIII's power was measured."""
    if kind == "B":
        return big_frames_per_second(network)
    return number("pipeit", f"table4.{network}.small")


@cache
def cluster_power(kind: str, networks: tuple[str, ...] = NETWORKS) -> ClusterPower:
    """Fit one cluster's two parameters on Table VIII's homogeneous column (relative least squares, both >= 0)."""
    column = {"B": "big", "s": "small"}[kind]
    macs_per_second = [layer_table(n).macs.sum() * homogeneous_rate(n, kind) for n in networks]
    watts = [number("pipeit", f"table8.{n}.{column}.power") for n in networks]
    constant, per_mac = fit.nonnegative(np.column_stack([np.ones(len(watts)), macs_per_second]), watts)
    return ClusterPower(float(constant), float(per_mac))


def pipeline_power(stages: Sequence[tuple[str, float]], frames_per_second: float) -> float:
    """Return the active power in watts of a pipeline; `stages` lists each stage's cluster ("B", "s") and its MACs.

    A cluster without a stage is off.
    """
    macs = {kind: sum(m for k, m in stages if k == kind) for kind, _ in stages}
    return sum(cluster_power(kind).at(m * frames_per_second) for kind, m in macs.items())
