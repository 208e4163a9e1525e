"""Direct labels at the right end of lines, kept apart at every size; a legend where there are too many series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.text import Annotation
from matplotlib.transforms import IdentityTransform

from hetcnn.plots.colours import INK, LEADER, ink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from numpy.typing import ArrayLike, NDArray

__all__ = ["DIRECT_LABELS", "end_labels", "legend", "name_series", "spread"]

DIRECT_LABELS = 4
"""Up to so many series are labelled at their ends; more get a legend."""

_GAP = 6.0  # points between the axes and the labels


def spread(positions: ArrayLike, gap: float, low: float = -np.inf, high: float = np.inf) -> NDArray[np.float64]:
    """Return positions moved as little as possible so that neighbours are at least `gap` apart and all lie in range.

    Least squares: blocks of touching labels sit around the mean of where their members want to be. Where the range is
    too short for all, it is overrun at the bottom.

    >>> spread([5.0, 5.0, 20.0], 4.0)
    array([ 3.,  7., 20.])
    """
    wanted = np.asarray(positions, dtype=float)
    order = np.argsort(wanted, kind="stable")
    # Without the gaps the rule is "not decreasing": isotonic regression by pooling adjacent violators.
    offsets = gap * np.arange(len(wanted))
    blocks: list[list[float]] = []
    for value in wanted[order] - offsets:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    level = np.repeat([b[0] for b in blocks], [int(b[1]) for b in blocks]) if blocks else np.zeros(0)
    top = high - (offsets[-1] if len(wanted) else 0.0)
    result = np.empty_like(wanted)
    result[order] = np.minimum(np.maximum(level, low), max(top, -np.inf)) + offsets
    return result


class _Column:
    """The labels of one pair of axes; arranged anew whenever one of them is measured or drawn."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        self.labels: list[_EndLabel] = []

    def arrange(self) -> None:
        figure = self.ax.get_figure(root=True)
        assert figure is not None
        pixels = figure.dpi / 72
        box = self.ax.bbox
        ends = self.ax.transData.transform([label.xy for label in self.labels])[:, 1]
        heights = [float(label.get_fontsize()) * 1.3 * pixels for label in self.labels]
        half = max(heights) / 2
        places = spread(np.clip(ends, box.y0, box.y1), max(heights), box.y0 + half / 2, box.y1 - half / 2)
        for label, place in zip(self.labels, places, strict=True):
            label.xyann = (box.x1 + _GAP * pixels, float(place))


class _EndLabel(Annotation):
    """One label; asks its column for a place, so that no later change of the layout makes labels collide."""

    def __init__(self, text: str, xy: tuple[float, float], column: _Column, **style: Any) -> None:
        super().__init__(
            text, xy, xytext=(0, 0), textcoords="figure pixels", annotation_clip=False, clip_on=False, **style
        )
        self._column = column
        self.set_transform(IdentityTransform())  # (0, 0) in data would be off a logarithmic axis, and never laid out
        column.labels.append(self)

    def update_positions(self, renderer: RendererBase) -> None:
        self._column.arrange()
        super().update_positions(renderer)


def end_labels(ax: Axes, ends: Sequence[tuple[float, float]], names: Sequence[str], colours: Sequence[str]) -> None:
    """Write each name beside the axes at the height of its line's end (data coordinates), tied to it by a hairline.

    This is grey: in the colour of its series it would read as a part of a curve that ends far from the edge.
    """
    column = _Column(ax)
    for xy, name, colour in zip(ends, names, colours, strict=True):
        leader = {"arrowstyle": "-", "linewidth": 0.5, "color": LEADER, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)}
        style = {"color": ink(colour), "fontsize": 8.5, "va": "center", "ha": "left", "arrowprops": leader}
        ax.add_artist(_EndLabel(name, xy, column, **style))


def legend(ax: Axes, handles: Sequence[Any] | None = None, names: Sequence[str] | None = None, title: str = "") -> None:
    """Put a legend to the right of the axes, where it hides no data."""
    found, texts = ax.get_legend_handles_labels()
    handles, names = (found, texts) if handles is None else (handles, names or [h.get_label() for h in handles])
    if not handles:
        return
    columns = 1 + (len(handles) - 1) // 18
    box = ax.legend(handles, names, loc="upper left", bbox_to_anchor=(1.02, 1.0), ncols=columns, title=title or None)
    box.get_title().set_color(INK)


def name_series(
    ax: Axes,
    ends: Sequence[tuple[float, float]],
    names: Sequence[str],
    colours: Sequence[str],
    handles: Sequence[Any],
    *,
    title: str = "",
) -> None:
    """Name the series directly at their ends up to four of them, by a legend beyond."""
    if len(names) <= DIRECT_LABELS:
        end_labels(ax, ends, names, colours)
    else:
        legend(ax, handles, names, title)
