"""The roofline: what each device can attain, where its memories stop it, and where the layers of a network stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.plots.colours import COLOUR, INK, PALETTE, device_colour, kind_of
from hetcnn.plots.labels import end_labels
from hetcnn.plots.points import Label, line_label, point_labels
from hetcnn.plots.published import filled_key
from hetcnn.plots.style import new_axes, styled
from hetcnn.plots.ticks import log_log
from hetcnn.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from hetcnn.analysis import Analysis
    from hetcnn.platform import Platform

__all__ = ["roofline", "roofline_plot"]

_MARKERS = {"conv": "o", "dw": "s", "fc": "^", "pool": "v"}
_NAMED_LAYERS = 12


_Segment = tuple[tuple[float, float], tuple[float, float]]


class _Roof(NamedTuple):
    """A device: its peak in ops/s, its memories' bandwidths in B/s, its colour."""

    name: str
    peak: float
    bandwidths: Mapping[str, float]
    colour: str


class _Layers(NamedTuple):
    """Layers on devices: one entry for each dot."""

    intensity: NDArray[np.float64]
    performance: NDArray[np.float64]
    device: list[str]
    name: list[str]
    kind: list[str]
    area: NDArray[np.float64]


@styled
def roofline(analysis: Analysis, *, devices: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw a network's layers under the roofs of a board's devices (or of some of them).

    A dot is a layer with MACs on a device: its intensity in the device's number format, the rate that the analysis
    gives it, its area growing with its share of the device's time. Layers that a device cannot run are left out.
    """
    board = analysis.platform
    names = list(analysis.devices if devices is None else devices)
    roofs = [
        _Roof(n, board.device(n).peak_ops, _roof_bandwidths(board, n), device_colour(n, board.device(n).kind))
        for n in names
    ]
    ax = _draw(roofs, _layers_of(analysis, names), new_axes(ax, (7.2, 4.6)))
    ax.set_title(f"{analysis.network.name} on {board.title}")
    return ax


def _roof_bandwidths(board: Platform, device: str) -> dict[str, float]:
    """The memories of a device; the link to it where it has none of its own."""
    link = board.link_of(device)
    if link is None or board.device(device).memories:
        return board.bandwidths(device)
    return {next(name for name, known in board.links.items() if known is link): float(link.bandwidth)}


def _layers_of(analysis: Analysis, names: Sequence[str]) -> _Layers:
    columns: list[list[Any]] = [[], [], [], [], [], []]
    for device in names:
        j = analysis.devices.index(device)
        time, traffic = analysis.time[:, j], _traffic(analysis, device)
        whole = time[np.isfinite(time)].sum()
        for i in np.flatnonzero((analysis.macs > 0) & np.isfinite(time) & (time > 0) & (traffic > 0)):
            layer, ops = analysis.network.layers[i], 2.0 * analysis.macs[i]
            dot = (ops / traffic[i], ops / time[i], device, layer.name, layer.kind, time[i] / whole)
            for column, value in zip(columns, dot, strict=True):
                column.append(value)
    x, y, share = (np.array(columns[k], dtype=float) for k in (0, 1, 5))
    return _Layers(x, y, columns[2], columns[3], columns[4], share)


def _traffic(analysis: Analysis, device: str) -> NDArray[np.float64]:
    """Bytes that pass the roof drawn: all of a layer's, or activations alone where a link is the roof."""
    engine = analysis.platform.device(device)
    if engine.memories:
        return analysis.traffic[:, analysis.devices.index(device)]
    word = float(engine.word) if engine.word is not None else None
    tensors = [(*layer.data, *layer.outputs) for layer in analysis.network]
    return np.array([float(sum(t.size * word if word else t.nbytes for t in group)) for group in tensors])


@styled
def roofline_plot(
    peak: float | Mapping[str, float],
    bandwidths: float | Mapping[str, float] | Mapping[str, Mapping[str, float]],
    intensity: ArrayLike = (),
    performance: ArrayLike = (),
    *,
    labels: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw roofs and dots from plain numbers in ops/s, B/s and ops/B.

    `peak` is one number or device -> number; `bandwidths` one number, memory -> number for all devices, or device ->
    memory -> number. For each dot: its name in `labels`, its device, its kind of layer, its weight (the dot's area).

    Raises HetcnnError for numbers that are not positive and for lists of different lengths.
    """
    roofs = _roofs(peak, bandwidths)
    if not roofs:
        raise HetcnnError("roofline: no device to draw; name at least one")
    x, y = np.atleast_1d(np.asarray(intensity, dtype=float)), np.atleast_1d(np.asarray(performance, dtype=float))
    known = {"performance": len(y), "labels": labels, "devices": devices, "kinds": kinds}
    for name, given in known.items():
        count = given if isinstance(given, int) else len(x) if given is None else len(given)
        if count != len(x):
            raise HetcnnError(f"roofline: {count} {name} for {len(x)} intensities; give equally many")
    area = np.full(len(x), 1 / 58) if weights is None else np.asarray(weights, dtype=float)
    area = area / (area.sum() or 1.0) if weights is not None else area
    owners = list(devices) if devices is not None else [roofs[0].name] * len(x)
    kind = list(kinds) if kinds is not None else ["conv"] * len(x)
    return _draw(roofs, _Layers(x, y, owners, list(labels or [""] * len(x)), kind, area), new_axes(ax, (7.2, 4.6)))


def _roofs(peak: Any, bandwidths: Any) -> list[_Roof]:
    peaks = peak if isinstance(peak, Mapping) else {"peak": peak}
    found = []
    for i, (name, top) in enumerate(peaks.items()):
        own = bandwidths if isinstance(bandwidths, Mapping) else {"memory": bandwidths}
        if any(isinstance(v, Mapping) for v in own.values()):
            own = own.get(name, {})
        kind = kind_of(name)
        found.append(_Roof(name, float(top), own, COLOUR[kind] if kind else PALETTE[i % len(PALETTE)]))
        for what, value in {"peak": top, **own}.items():
            if not 0 < value < np.inf:
                raise HetcnnError(f"roofline: {name}: {what} is {value}; expected a finite number above 0")
        if not own:
            raise HetcnnError(f"roofline: {name} has no memory; give its bandwidths")
    return found


def _draw(roofs: Sequence[_Roof], layers: _Layers, ax: Axes) -> Axes:
    if not roofs:
        raise HetcnnError("roofline: no device to draw; name at least one")
    (x0, x1), (y0, y1) = _limits(roofs, layers)
    log_log(ax, ("arithmetic intensity", "ops/B"), ("performance", "ops/s"))
    ax.set_xlim(x0, x1)
    ax.set_ylim(y0, y1)
    slopes: dict[tuple[str, float], float] = {}
    for roof in roofs:
        for memory, bandwidth in roof.bandwidths.items():
            slopes[memory, bandwidth] = max(roof.peak / bandwidth, slopes.get((memory, bandwidth), 0.0))
    lines = [_slope(ax, memory, bandwidth, x0, y0, ridge) for (memory, bandwidth), ridge in slopes.items()]
    lines += [_flat(ax, roof, x1) for roof in roofs]
    names = [f"{roof.name}  {si(roof.peak, 'ops/s')}" for roof in roofs]
    end_labels(ax, [(x1, roof.peak) for roof in roofs], names, [roof.colour for roof in roofs])
    _dots(ax, roofs, layers)
    corners = sorted({(-roof.peak, roof.peak / b) for roof in roofs for b in roof.bandwidths.values()})
    labels = [Label(x, -y, f"ridge {x:.3g} ops/B", INK, corner=True) for y, x in corners]
    points = list(zip(layers.intensity.tolist(), layers.performance.tolist(), strict=True))
    point_labels(ax, points, labels + (_layer_names(layers, roofs[0].colour) if len(roofs) == 1 else []), lines)
    return ax


def _limits(roofs: Sequence[_Roof], layers: _Layers) -> tuple[tuple[float, float], tuple[float, float]]:
    ridges = [roof.peak / b for roof in roofs for b in roof.bandwidths.values()]
    peaks = [roof.peak for roof in roofs]
    seen = np.isfinite(layers.intensity) & (layers.intensity > 0) & (layers.performance > 0)
    x, y = [*ridges, *layers.intensity[seen]], [*peaks, *layers.performance[seen]]
    low_y = min(min(y) / 2, min(peaks) / 30)
    return (min(min(x) / 2.5, min(ridges) / 12), max(x) * 4), (low_y, max(peaks) * 2.2)


def _slope(ax: Axes, memory: str, bandwidth: float, x0: float, y0: float, ridge: float) -> _Segment:
    start = max(x0, y0 / bandwidth)
    ends = [(x, x * bandwidth) for x in (start, ridge)]
    ax.plot(*zip(*ends, strict=True), color=COLOUR["memory"], linewidth=1.5, zorder=1)
    foot = start * (ridge / start) ** 0.06
    above = [(x, x * bandwidth * 1.04) for x in (foot, ridge)]
    line_label(ax, f"{memory}  {si(bandwidth, 'B/s')}", above[0], above[1], COLOUR["memory"])
    return ends[0], ends[1]


def _flat(ax: Axes, roof: _Roof, x1: float) -> _Segment:
    ridges = [roof.peak / bandwidth for bandwidth in roof.bandwidths.values()]
    ends = ((min(ridges), roof.peak), (x1, roof.peak))
    ax.plot(*zip(*ends, strict=True), color=roof.colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
    ring: dict[str, Any] = {"color": "white", "markeredgecolor": roof.colour, "markeredgewidth": 1.3, "zorder": 4}
    ax.plot(ridges, [roof.peak] * len(ridges), "o", markersize=4, **ring)
    return ends


def _dots(ax: Axes, roofs: Sequence[_Roof], layers: _Layers) -> None:
    colours = {roof.name: roof.colour for roof in roofs}
    kinds = sorted(set(layers.kind), key=[*_MARKERS, *layers.kind].index)
    for kind in kinds:
        here = [i for i, k in enumerate(layers.kind) if k == kind]
        face = [colours.get(layers.device[i], COLOUR["other"]) for i in here]
        area = 14 + 260 * np.minimum(layers.area[here], 0.4)
        look: dict[str, Any] = {"marker": _MARKERS.get(kind, "X"), "edgecolors": "white", "linewidths": 0.5}
        ax.scatter(layers.intensity[here], layers.performance[here], s=area, c=face, alpha=0.75, zorder=3, **look)
    if len(kinds) > 1:
        keys = [filled_key(kind, "#717581", _MARKERS.get(kind, "X")) for kind in kinds]
        ax.legend(handles=keys, loc="lower right", handletextpad=0.2, borderaxespad=0.4)


def _layer_names(layers: _Layers, colour: str) -> list[Label]:
    """The layers that take most time; few where there are many."""
    most = _NAMED_LAYERS if len(layers.name) <= _NAMED_LAYERS else _NAMED_LAYERS // 2
    order = [i for i in np.argsort(-layers.area, kind="stable")[:most] if layers.name[i]]
    return [Label(float(layers.intensity[i]), float(layers.performance[i]), layers.name[i], colour) for i in order]
