"""Names of points and of sloping lines: nothing covers anything, at every size of the figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.text import Annotation, Text
from matplotlib.transforms import IdentityTransform

from hetcnn.plots.colours import LEADER, ink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase

__all__ = ["Label", "line_label", "point_labels"]

_Box = tuple[float, float, float, float]

_Segment = tuple[tuple[float, float], tuple[float, float]]

_WAYS = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1))
_AWAY = 5.0
_FAR = (12.0, 20.0, 30.0, 42.0, 56.0)
"""Points between a name and its point: beside it, or farther off with a leader."""

_CORNER = ((-1, 1), (-1, 0), (1, -1), (-1, 2), (1, -2), (-1, 3), (0, 1), (1, 1), (-1, 4), (1, -3), (1, 2))


class Label(NamedTuple):
    """A text at a point in data coordinates; the text of a `corner` of a roof is always shown."""

    x: float
    y: float
    text: str
    colour: str
    corner: bool = False


class _Cloud:
    """Names of points; each takes the first place around its point that is free, or a farther one with a leader."""

    def __init__(self, ax: Axes, points: Sequence[tuple[float, float]], lines: Sequence[_Segment]) -> None:
        self.ax, self.points, self.lines = ax, points, lines
        self._arranged: tuple[float, ...] = ()
        self.labels: list[_PointLabel] = []

    def arrange(self) -> None:
        figure = self.ax.get_figure(root=True)
        assert figure is not None
        pixels = figure.dpi / 72
        now = (pixels, *self.ax.bbox.bounds, *self.ax.get_xlim(), *self.ax.get_ylim())
        if now == self._arranged:
            return
        self._arranged = now
        taken = self._obstacles(pixels)
        for label in self.labels:
            x, y = self.ax.transData.transform(label.xy)
            width, height = float(label.get_fontsize()) * pixels * np.array([0.62 * len(label.get_text()), 1.15])
            places = [_box(x, y, width, height, way, _AWAY * pixels) for way in label.ways]
            near = self._first_free(places, taken)
            far = None if near or label.must else self._first_free(_around_far(x, y, width, height, pixels), taken)
            box = near or far or (places[0] if label.must else None)
            label.free = box is not None
            label.leads(box is far and far is not None)
            if box is not None:
                label.xyann = (box[0], (box[1] + box[3]) / 2)
                taken.append(box)

    def _first_free(self, places: Sequence[_Box], taken: Sequence[_Box]) -> _Box | None:
        free = (box for box in places if self._inside(box) and not any(_overlap(box, other) for other in taken))
        return next(free, None)

    def _obstacles(self, pixels: float) -> list[_Box]:
        dots = self.ax.transData.transform(self.points).tolist() if self.points else []
        found = [_around(x, y, 3 * pixels) for x, y in dots]
        for segment in self.lines:
            start, end = self.ax.transData.transform(segment)
            steps = int(np.hypot(*(end - start)) / (4 * pixels)) + 2
            found += [_around(x, y, 1.5 * pixels) for x, y in np.linspace(start, end, steps).tolist()]
        return found

    def _inside(self, box: _Box) -> bool:
        frame = self.ax.bbox
        return bool(box[0] >= frame.x0 and box[2] <= frame.x1 and box[1] >= frame.y0 and box[3] <= frame.y1)


def _around(x: float, y: float, half: float) -> _Box:
    return x - half, y - half, x + half, y + half


def _box(x: float, y: float, width: float, height: float, way: tuple[int, int], away: float) -> _Box:
    left = x + away if way[0] > 0 else x - away - width if way[0] < 0 else x - width / 2
    bottom = y - height / 2 + way[1] * (height * 0.6 + (0 if way[0] else away / 2))
    return left, bottom, left + width, bottom + height


def _around_far(x: float, y: float, width: float, height: float, pixels: float) -> list[_Box]:
    """Places around a point at growing distances, sixteen directions each, the box's nearest edge that far away."""
    found = []
    for away in _FAR:
        for turn in range(16):
            across, up = math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)
            middle_x = x + across * (away * pixels + width / 2)
            middle_y = y + up * (away * pixels + height / 2)
            found.append((middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2))
    return found


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class _PointLabel(Annotation):
    """The name of one point, with a leader where it stands far off, hidden where no place is free."""

    def __init__(self, label: Label, cloud: _Cloud, **style: Any) -> None:
        place: dict[str, Any] = {
            "xytext": (0, 0),
            "textcoords": "figure pixels",
            "annotation_clip": False,
            "clip_on": False,
            "arrowprops": {"arrowstyle": "-", "linewidth": 0.5, "color": LEADER, "shrinkA": 0, "shrinkB": 2},
        }
        super().__init__(label.text, (label.x, label.y), **place, **style)
        self._cloud = cloud
        self.set_transform(IdentityTransform())
        self.ways = _CORNER if label.corner else _WAYS
        self.must = label.corner
        self.free = True
        cloud.labels.append(self)
        self.set_in_layout(False)

    def leads(self, shown: bool) -> None:
        """Show or hide the leader."""
        assert self.arrow_patch is not None
        self.arrow_patch.set_visible(shown)

    def update_positions(self, renderer: RendererBase) -> None:
        self._cloud.arrange()
        super().update_positions(renderer)

    def draw(self, renderer: RendererBase) -> None:
        self._cloud.arrange()
        if self.free:
            super().draw(renderer)


def point_labels(
    ax: Axes, points: Sequence[tuple[float, float]], labels: Sequence[Label], lines: Sequence[_Segment] = ()
) -> None:
    """Name some points, most important first; no name covers a point, a line or another name.

    A name that finds no room beside its point stands up to 56 points off with a leader; where that is full, too, it is
    left out.
    """
    cloud = _Cloud(ax, points, lines)
    for label in labels:
        style = {"color": ink(label.colour), "fontsize": 7.5, "va": "center", "ha": "left", "zorder": 6}
        ax.add_artist(_PointLabel(label, cloud, **style))


class _AlongLine(Text):
    """Text that keeps the slope which a line has on the screen; `set_transform_rotates_text` loses it on log axes."""

    def __init__(self, ax: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
        self._on, self._ends = ax, (start, end)
        super().__init__(*start, **style, transform=ax.transData, rotation_mode="anchor")

    def get_rotation(self) -> float:
        (x0, y0), (x1, y1) = self._on.transData.transform(self._ends)
        return math.degrees(math.atan2(y1 - y0, x1 - x0))


def line_label(ax: Axes, text: str, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Write a text along a line that rises to the right, just above it, from its start."""
    label = _AlongLine(ax, start, end, text=text, color=ink(colour), fontsize=8, va="bottom", ha="left")
    label.set_clip_on(True)
    ax.add_artist(label)
