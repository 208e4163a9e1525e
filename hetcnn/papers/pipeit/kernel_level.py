"""Kernel-level parallelism across both clusters: every layer split over all cores (Section III, Figs. 3 and 5).

Threads wait for the slowest one after each layer. The split is the library's: row tiles in equal numbers per thread
(Big cores first), or in a given ratio. Layer times are those of `times`. One parameter is new: a Big core's work slows
down with the share of the layer that the Small cluster holds, because that data comes over the interconnect; a Small
core is slower than the interconnect anyway. It is fitted on Fig. 5's mean over ratios 2 to 4.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hetcnn import fit, gemm
from hetcnn.papers.pipeit.layers import NETWORKS
from hetcnn.papers.pipeit.times import NOMINAL, Assumptions, core_parts, multi_core
from hetcnn.papers.published import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RATIOS", "even_split_time", "ratio_split_time", "remote_cost"]

RATIOS = np.round(np.linspace(1, 11, 101), 1)
"""Big : Small work ratios of Fig. 5."""


def even_split_time(network: str, big: int, small: int, given: Assumptions = NOMINAL) -> float:
    """Return the time of one frame in seconds with every layer split evenly over `big` + `small` cores.

    n row tiles over H threads: thread t runs ceil((n - t) / H) of them, Big cores take the first places.
    """
    threads = big + small
    tiles = _tiles(network, given)
    on_big = np.ceil(tiles / threads) if big else np.zeros_like(tiles)
    on_small = np.ceil(np.maximum(tiles - big, 0) / threads) if small else np.zeros_like(tiles)
    return _slowest(network, (big, small), (on_big, on_small), big / threads, given, remote_cost(given)[0])


def ratio_split_time(
    network: str,
    ratio: float,
    big: int = 4,
    small: int = 4,
    given: Assumptions = NOMINAL,
    remote: float | None = None,
) -> float:
    """Return the time of one frame in seconds with Big : Small work in the given ratio, evenly within a cluster.

    Whole row tiles: the Big cluster gets the nearest whole number to n ratio / (1 + ratio).
    """
    tiles = _tiles(network, given)
    share = ratio / (1 + ratio)
    to_big = np.rint(tiles * share)
    rounds = np.ceil(to_big / big), np.ceil((tiles - to_big) / small)
    cost = remote_cost(given)[0] if remote is None else remote
    return _slowest(network, (big, small), rounds, share, given, cost)


def _tiles(network: str, given: Assumptions) -> NDArray[np.float64]:
    scaling, _ = multi_core(given)
    return gemm.iterations(core_parts(network, given)["B"].layers.N, scaling.tile)


def _slowest(
    network: str,
    cores: tuple[int, int],
    rounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    share_big: float,
    given: Assumptions,
    remote: float,
) -> float:
    """Return the sum over layers of the slower cluster's time; `share_big` divides what has no row tiles."""
    scaling, _ = multi_core(given)
    tiles = _tiles(network, given)
    shares, slower = (share_big, 1 - share_big), (1 + remote * (1 - share_big), 1.0)
    times = []
    for kind, count, turns, share, factor in zip("Bs", cores, rounds, shares, slower, strict=True):
        if not count:
            continue
        parts = core_parts(network, given)[kind]
        conv = (parts.major - scaling.a1) / tiles * turns + scaling.a2 * turns + scaling.a3
        divisible = parts.major / np.where(parts.layers.where("dw"), count, count**scaling.fc) * share
        major = np.where(parts.layers.where("conv"), conv, divisible)
        times.append((factor * major, factor * parts.minor / count**scaling.minor * share))
    major = np.max([m for m, _ in times], axis=0)
    minor = np.max([m for _, m in times], axis=0)
    return float((major + minor).sum())


@cache
def remote_cost(given: Assumptions = NOMINAL, networks: tuple[str, ...] = NETWORKS) -> tuple[float, fit.Fit]:
    """Fit how much slower a Big core is per share of a layer held by the Small cluster, on Fig. 5 (ratios 2 to 4)."""
    claims = [f"fig5.{n}.mean2to4" for n in networks]
    published = numbers("pipeit", claims)
    four_big = [core_parts(n, given)["B"].on(4, multi_core(given)[0]).sum() for n in networks]
    ratios = RATIOS[(RATIOS >= 2) & (RATIOS <= 4)]

    def residuals(values: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = [
            np.mean([alone / ratio_split_time(n, float(r), given=given, remote=float(values[0])) for r in ratios])
            for n, alone in zip(networks, four_big, strict=True)
        ]
        return np.log(np.array(mean) / published)

    parameter = fit.Parameter("remote", 0, 5, 1, "1", "a Big core's extra time per share of the layer held by Small")
    found = fit.least_squares(residuals, [parameter], fitted_on=claims)
    return found["remote"], found
