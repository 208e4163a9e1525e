"""Layer times on the Kirin 970: derived from the paper's figures, and predicted by its regression (Eqs. 3-8).

The paper prints no layer time. What Figs. 6 and 7 and Table IV encode together is each layer's time on four Big cores
(`derived`); Figs. 3 and 12 say how that scales to fewer cores; Table IV's Small column says how much slower the Small
cores are. Everything else is predicted. Chain of parameters, none per network:

1. `multi_core()`: Eqs. 6-8 with whole iterations of `tile` rows (a1, a2, a3), how the minor layers and the fully
   connected ones scale with cores. Fitted on Fig. 3 (one to four Big cores) and Fig. 12 (Big).
2. `big_core()`: Eq. 5's b1..b8 >= 0, one rate each for depthwise, fully connected and minor layers. Fitted on the
   derived times of all networks.
3. `little_core()`: the A73's form with arithmetic slower by the ratio of the clocks (not fitted) and everything that
   moves data slower by one factor, fitted on Table IV's Small column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from hetcnn import fit, gemm, platform
from hetcnn.papers.pipeit.layers import NETWORKS, LayerTable, layer_table
from hetcnn.papers.pipeit.search import TimeMatrix
from hetcnn.papers.published import number, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CORES",
    "FIG3",
    "FIG12_LAYERS",
    "NOMINAL",
    "Assumptions",
    "BigCore",
    "LittleCore",
    "MultiCore",
    "big_core",
    "big_frames_per_second",
    "core_parts",
    "derived",
    "little_core",
    "multi_core",
    "predicted",
    "small_frames_per_second",
]

CORES = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the paper leaves open, with the choice that the scorecard uses; the notebook shows what the others change.

    `scale`: which of the paper's two contradicting baselines sets the absolute times, Table IV's or Fig. 3's.
    `tile`: rows of a GEMM tile (Eq. 6's ts), None to fit it within 4 to 8.
    `alexnet_small`: whose rate of AlexNet on four Small cores, the later paper's 2.2 or Table IV's 1.5 frames/s.
    `arithmetic`: the A53's time per MAC over the A73's, None for the ratio of the clocks.
    """

    scale: Literal["table4", "fig3"] = "table4"
    tile: int | None = None
    alexnet_small: Literal["sister", "table4"] = "sister"
    arithmetic: float | None = None


NOMINAL = Assumptions()
FIG3 = Assumptions(scale="fig3")

FIG12_LAYERS = {"conv1": [1], "conv2": [2, 3], "conv3": [4], "conv4": [5, 6], "conv5": [7, 8]}
"""Fig. 12's AlexNet convolutions as major layers: grouped ones are two."""


def big_frames_per_second(network: str, given: Assumptions = NOMINAL) -> float:
    """Return the published rate on four Big cores."""
    claim = f"table4.{network}.big" if given.scale == "table4" else f"fig3.{network}.4B"
    return number("pipeit", claim)


def small_frames_per_second(network: str, given: Assumptions = NOMINAL) -> float:
    """Return the published rate on four Small cores; AlexNet's is the later paper's, Table IV contradicts it."""
    return number("pipeit", _small_claim(network, given))


def _small_claim(network: str, given: Assumptions) -> str:
    later = network == "alexnet" and given.alexnet_small == "sister"
    return "sister.alexnet.a53x4" if later else f"table4.{network}.small"


@dataclass(frozen=True)
class MultiCore:
    """How times scale with the cores H of one cluster.

    Convolutions: Eqs. 6-8 (`tile`, a1, a2, a3). Depthwise: 1/H. Fully connected: H^-fc. Minor layers: H^-minor.
    """

    tile: float
    a1: float
    a2: float
    a3: float
    minor: float
    fc: float

    def conv(self, single: NDArray[np.float64], N: NDArray[np.float64], cores: int) -> NDArray[np.float64]:
        """Return convolution times on `cores` cores from single-core times."""
        return gemm.multi_core_time(single, N, cores, tile=self.tile, a1=self.a1, a2=self.a2, a3=self.a3)

    def conv_single(self, four: NDArray[np.float64], N: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return single-core convolution times from times on four cores."""
        return gemm.core_time(four, N, 4, tile=self.tile, a1=self.a1, a2=self.a2, a3=self.a3)


@dataclass(frozen=True)
class Parts:
    """Single-core times of one network's major layers, and of the minor layers that ride with them, in seconds."""

    layers: LayerTable
    major: NDArray[np.float64]
    minor: NDArray[np.float64]

    def on(self, cores: int, scaling: MultiCore) -> NDArray[np.float64]:
        """Return the time of each major layer with its minor ones on `cores` cores."""
        conv, dw = self.layers.where("conv"), self.layers.where("dw")
        major = np.where(
            conv,
            scaling.conv(self.major, self.layers.N, cores),
            self.major / np.where(dw, cores, cores**scaling.fc),
        )
        return np.asarray(major + self.minor / cores**scaling.minor)

    def scaled(self, major: NDArray[np.float64] | float, minor: float) -> Parts:
        """Return the same layers with their times multiplied."""
        return replace(self, major=self.major * major, minor=self.minor * minor)


def _derived_four(network: str, given: Assumptions) -> tuple[LayerTable, NDArray[np.float64], NDArray[np.float64]]:
    """Return layers, major and minor times on four Big cores, from Table IV or Fig. 3, Fig. 6 and Fig. 7."""
    layers = layer_table(network)
    total = 1 / big_frames_per_second(network, given)
    share = {k: number("pipeit", f"fig6.{network}.{k}") / 100 * total for k in ("conv", "fc", "other")}
    of_conv = np.nan_to_num(numbers("pipeit", [f"fig7.{network}.{i:02d}" for i in range(1, len(layers) + 1)]))
    major = share["conv"] * of_conv / of_conv.sum()
    weights = np.where(layers.where("fc"), layers.K * layers.M, 0)
    if share["fc"]:
        major = major + share["fc"] * weights / weights.sum()
    elif weights.any():
        # Fig. 6 rounds GoogLeNet's classifier to nothing; it takes AlexNet's time per weight out of "other".
        classifier = weights * _fc_seconds_per_weight(given)
        major, share["other"] = major + classifier, share["other"] - classifier.sum()
    return layers, major, share["other"] * layers.riding / layers.riding.sum()


def _fc_seconds_per_weight(given: Assumptions) -> float:
    """Return AlexNet's fully connected time on four Big cores, per weight: the only one that Fig. 6 shows."""
    layers = layer_table("alexnet")
    seconds = number("pipeit", "fig6.alexnet.fc") / 100 / big_frames_per_second("alexnet", given)
    fc = layers.where("fc")
    return float(seconds / (layers.K * layers.M)[fc].sum())


def _derived_parts(network: str, given: Assumptions, scaling: MultiCore) -> Parts:
    layers, major, minor = _derived_four(network, given)
    conv, dw = layers.where("conv"), layers.where("dw")
    single = np.where(conv, scaling.conv_single(major, layers.N), major * np.where(dw, 4, 4**scaling.fc))
    return Parts(layers, single, minor * 4**scaling.minor)


# --- step 1: how times scale with cores ---------------------------------------------------------------------------

_SCALING = (
    fit.Parameter("a1", 0, 5e-5, 1e-5, "s", "part of a layer that one core does alone and threads do not repeat"),
    fit.Parameter("a2", 0, 1e-6, 1e-7, "s", "cost of handing one row tile to a thread"),
    fit.Parameter("a3-a1", 0, 5e-5, 1e-5, "s", "cost of starting and joining the threads"),
    fit.Parameter("minor", 0, 1, 0.3, "1", "minor layers take H^-minor of their single-core time"),
    fit.Parameter("fc", 0.5, 2, 1.2, "1", "fully connected layers take H^-fc of their single-core time"),
)
_TILES = range(4, 9)


def _scaling_residuals(scaling: MultiCore, given: Assumptions, networks: Sequence[str]) -> NDArray[np.float64]:
    """Return what is left of Fig. 3's speed-ups, Fig. 12's (Big) and Eq. 5's single-core times, as log(model / data).

    The three sources count alike, whatever their number of points.
    """
    parts = {n: _derived_parts(n, given, scaling) for n in networks}
    figure_3: list[float] = []
    for network, part in parts.items():
        model = np.array([part.on(h, scaling).sum() for h in CORES])
        rate = numbers("pipeit", [f"fig3.{network}.{h}B" for h in CORES])
        figure_3 += list(np.log((model[3] / model[:3]) / (rate[:3] / rate[3])))
    b = _regression(list(parts.values()))
    conv = {n: p.layers.where("conv") for n, p in parts.items()}
    equation_5 = np.concatenate(
        [np.log(_equation_5(p.layers, b)[conv[n]] / p.major[conv[n]]) for n, p in parts.items()]
    )
    figure_12 = _figure_12_residuals(parts["alexnet"], scaling) if "alexnet" in parts else np.zeros(0)
    sources = (np.array(figure_3), figure_12, equation_5)
    return np.concatenate([r / max(len(r), 1) ** 0.5 for r in sources])


def _figure_12_residuals(parts: Parts, scaling: MultiCore) -> NDArray[np.float64]:
    left = []
    for name, ids in FIG12_LAYERS.items():
        rows = np.array(ids) - 1
        for cores in CORES[1:]:
            speedup = parts.major[rows].sum() / scaling.conv(parts.major, parts.layers.N, cores)[rows].sum()
            left.append(np.log(speedup / number("pipeit", f"fig12.big.{name}.{cores}")))
    return np.array(left)


@cache
def multi_core(given: Assumptions = NOMINAL, networks: tuple[str, ...] = NETWORKS) -> tuple[MultiCore, fit.Fit]:
    """Fit how times scale with cores; the row tile is the best of 4 to 8.

    On Fig. 3 (1B to 4B) and Fig. 12 (Big), and so that Eq. 5 explains the single-core times that follow.
    """

    def build(values: NDArray[np.float64], tile: int) -> MultiCore:
        a1, a2, extra, minor, fc = (float(v) for v in values)
        return MultiCore(tile, a1, a2, a1 + extra, minor, fc)

    claims = [f"fig3.{n}.{h}B" for n in networks for h in CORES]
    claims += [f"fig12.big.{c}.{h}" for c in FIG12_LAYERS for h in CORES[1:]] if "alexnet" in networks else []
    fits = {
        tile: fit.least_squares(
            lambda v, tile=tile: _scaling_residuals(build(v, tile), given, networks),  # type: ignore[misc]
            _SCALING,
            fitted_on=claims,
        )
        for tile in ((given.tile,) if given.tile else _TILES)
    }
    tile = min(fits, key=lambda t: float(np.sum(fits[t].residuals ** 2)))
    return build(np.array(fits[tile].values), tile), fits[tile]


# --- step 2: the Big core's regression ----------------------------------------------------------------------------


def _regression(parts: Sequence[Parts]) -> NDArray[np.float64]:
    """Return Eq. 5's b1..b8 >= 0 that best explain the single-core times of all convolutions, relatively."""
    terms, single = [], []
    for p in parts:
        conv = p.layers.where("conv")
        terms.append(gemm.terms(p.layers.N, p.layers.K, p.layers.M)[conv])
        single.append(p.major[conv])
    return fit.nonnegative(np.concatenate(terms), np.concatenate(single))


def _equation_5(layers: LayerTable, b: NDArray[np.float64]) -> NDArray[np.float64]:
    return gemm.single_core_time(layers.N, layers.K, layers.M, b)


@dataclass(frozen=True)
class BigCore:
    """The A73's layer-time model: Eq. 5 for convolutions, one rate for each other kind of layer (single core)."""

    b: NDArray[np.float64]
    """Coefficients b1..b8 of Eq. 5, in seconds per unit of `gemm.TERMS`."""
    dw: float
    """Seconds per byte that a depthwise layer reads and writes."""
    fc: float
    """Seconds per weight of a fully connected layer."""
    minor: float
    """Seconds per byte that a minor layer moves."""

    def parts(self, layers: LayerTable) -> Parts:
        """Return the single-core times of a network's layers."""
        conv = _equation_5(layers, self.b)
        major = np.where(
            layers.where("conv"),
            conv,
            np.where(layers.where("dw"), self.dw * layers.moved, self.fc * layers.K * layers.M),
        )
        return Parts(layers, major, self.minor * layers.riding)

    def arithmetic_share(self, layers: LayerTable) -> NDArray[np.float64]:
        """Return the share of each major layer's time that is Eq. 5's NKM term; 0 where data movement is all."""
        product = self.b[gemm.TERMS.index("NKM")] * layers.N * layers.K * layers.M
        conv = _equation_5(layers, self.b)
        return np.asarray(np.where(layers.where("conv"), product / conv, 0.0))


@cache
def big_core(given: Assumptions = NOMINAL, networks: tuple[str, ...] = NETWORKS) -> BigCore:
    """Fit the A73's regression on the derived single-core times of `networks` (relative least squares, b >= 0)."""
    scaling, _ = multi_core(given)
    parts = [_derived_parts(n, given, scaling) for n in networks]

    # Only MobileNet has depthwise layers and only AlexNet's classifier is in Fig. 6: held out, they keep their rate.
    depthwise = _derived_parts("mobilenet", given, scaling)
    dw = depthwise.layers.where("dw")
    return BigCore(
        b=_regression(parts),
        dw=_rate(depthwise.layers.moved[dw], depthwise.major[dw]),
        fc=_fc_seconds_per_weight(given) * 4**scaling.fc,
        minor=_rate(np.array([p.layers.riding.sum() for p in parts]), np.array([p.minor.sum() for p in parts])),
    )


def _rate(amount: NDArray[np.float64], seconds: NDArray[np.float64]) -> float:
    """Return the seconds per unit that best explain `seconds`, relatively."""
    return float(fit.nonnegative(amount[:, None], seconds)[0])


# --- step 3: the Small core ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LittleCore:
    """The A53 as the A73's form: times of arithmetic and of data movement multiplied."""

    arithmetic: float
    movement: float

    def parts(self, big: Parts, arithmetic_share: NDArray[np.float64]) -> Parts:
        """Return single-core times on the A53 from those on the A73."""
        slower = self.arithmetic * arithmetic_share + self.movement * (1 - arithmetic_share)
        return big.scaled(slower, self.movement)


def clock_ratio() -> float:
    """Return the A73's clock over the A53's."""
    board = platform.load("hikey970")
    return board.value("devices.a73.clock") / board.value("devices.a53.clock")


@cache
def little_core(given: Assumptions = NOMINAL, networks: tuple[str, ...] = NETWORKS) -> tuple[LittleCore, fit.Fit]:
    """Fit the A53's one factor on the rates of four Small cores; arithmetic is slower by the ratio of the clocks."""
    scaling, _ = multi_core(given)
    core = big_core(given)
    big = {n: _derived_parts(n, given, scaling) for n in networks}
    share = {n: core.arithmetic_share(big[n].layers) for n in networks}
    ratio = given.arithmetic or clock_ratio()

    def residuals(values: NDArray[np.float64]) -> NDArray[np.float64]:
        little = LittleCore(ratio, float(values[0]))
        rate = [1 / little.parts(big[n], share[n]).on(4, scaling).sum() for n in networks]
        return np.log(np.array(rate) / [small_frames_per_second(n, given) for n in networks])

    movement = fit.Parameter("movement", 1, 10, 3, "1", "the A53's time per byte or element moved over the A73's")
    found = fit.least_squares(residuals, [movement], fitted_on=[_small_claim(n, given) for n in networks])
    return LittleCore(ratio, found["movement"]), found


# --- the time matrices ---------------------------------------------------------------------------------------------


@cache
def derived(network: str, given: Assumptions = NOMINAL) -> TimeMatrix:
    """Return the layer times behind the paper's figures, on one to four cores of each cluster, in seconds."""
    return _matrix(core_parts(network, given), given)


@cache
def predicted(
    network: str, given: Assumptions = NOMINAL, *, anchored: bool = True, held_out: bool = False
) -> TimeMatrix:
    """Return the layer times that the fitted regression predicts, in seconds.

    `anchored` scales the network so that four Big cores take the published time (the one rule for absolute scale, for
    each of the paper's networks); without it the regression stands alone. `held_out` trains it on the other networks.
    """
    scaling, _ = multi_core(given)
    others = tuple(n for n in NETWORKS if n != network) if held_out else NETWORKS
    parts = big_core(given, others).parts(layer_table(network))
    if anchored:
        factor = 1 / big_frames_per_second(network, given) / parts.on(4, scaling).sum()
        parts = parts.scaled(factor, factor)
    return _matrix(_both_cores(parts, given), given)


@cache
def core_parts(network: str, given: Assumptions = NOMINAL) -> dict[str, Parts]:
    """Return the derived single-core times of one network's layers on a Big ("B") and on a Small ("s") core."""
    scaling, _ = multi_core(given)
    return _both_cores(_derived_parts(network, given, scaling), given)


def _both_cores(big: Parts, given: Assumptions) -> dict[str, Parts]:
    core, (little, _) = big_core(given), little_core(given)
    return {"B": big, "s": little.parts(big, core.arithmetic_share(big.layers))}


def _matrix(parts: dict[str, Parts], given: Assumptions) -> TimeMatrix:
    scaling, _ = multi_core(given)
    return TimeMatrix(
        parts["B"].layers.names, {(kind, h): p.on(h, scaling) for kind, p in parts.items() for h in CORES}
    )
