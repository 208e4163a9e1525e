"""The look of every figure: one style, used through `context()` and never set globally; and how figures are saved.

>>> sorted(COLOUR) == sorted({*COLOUR, "cpu-big", "cpu-little", "neon", "gpu", "fpga", "npu", "accelerator"})
True
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

import matplotlib as mpl
import numpy as np

from hetcnn.errors import HetcnnError
from hetcnn.plots.colours import COLOUR, INK, PALETTE, colour, ink, kind_of, series_colours
from hetcnn.plots.labels import end_labels, legend
from hetcnn.plots.ticks import linear_axis, log_axis, log_log, named_axis, number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

__all__ = [
    "COLOUR",
    "FIGURES",
    "INK",
    "PALETTE",
    "colour",
    "context",
    "end_labels",
    "figure_of",
    "ink",
    "kind_of",
    "legend",
    "linear_axis",
    "log_axis",
    "log_log",
    "named_axis",
    "new_axes",
    "number_text",
    "png",
    "save",
    "series_colours",
    "styled",
]

FIGURES = Path("_build", "figures")
"""Where figures go unless told, below the current directory."""

_STYLE = Path(__file__).with_name("hetcnn.mplstyle")
P = ParamSpec("P")
R = TypeVar("R")


@functools.cache
def _settings() -> Any:
    return dict(cast("Any", mpl.rc_params_from_file(_STYLE, use_default_template=False)))


@contextmanager
def context() -> Iterator[None]:
    """Apply the style inside a `with` block and leave matplotlib's settings as they were."""
    interactive = mpl.is_interactive()
    try:
        with mpl.rc_context(_settings()):
            try:
                yield
            finally:
                interactive = mpl.is_interactive()
    finally:
        # The first figure of a notebook loads its backend, which turns interactive drawing on: that has to outlive us.
        mpl.interactive(interactive)


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a plotting function inside `context()`; close the figures that it opened if it fails."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib.pyplot as plt

        before = set(plt.get_fignums())
        with context():
            try:
                return function(*args, **kwargs)
            except BaseException:
                for number in set(plt.get_fignums()) - before:
                    plt.close(number)
                raise

    return wrapped


def new_axes(ax: Axes | None, size: tuple[float, float] = (6.6, 3.8)) -> Axes:
    """Return the given axes, or the axes of a new figure of that size (inches)."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=size)[1]
    _pin_ticks(ax)
    return ax


def _pin_ticks(ax: Axes) -> None:
    """Write the style into the ticks: axes that a user gives were made outside the context."""
    rc = cast("dict[str, Any]", mpl.rcParams)
    which: Literal["x", "y"]
    level: Literal["major", "minor"]
    for which in ("x", "y"):
        tick = f"{which}tick"
        for level in ("major", "minor"):
            sizes = {name: rc[f"{tick}.{level}.{name}"] for name in ("size", "width", "pad")}
            ax.tick_params(axis=which, which=level, **sizes)
        look = {
            "color": rc[f"{tick}.color"],
            "labelcolor": rc[f"{tick}.labelcolor"],
            "labelsize": rc[f"{tick}.labelsize"],
        }
        look |= {"grid_color": rc["grid.color"], "grid_linewidth": rc["grid.linewidth"]}
        ax.tick_params(axis=which, which="both", **look)


def figure_of(drawn: Any) -> Figure:
    """Return the figure of a figure, of axes or of an array of axes."""
    from matplotlib.figure import Figure

    if isinstance(drawn, Figure):
        return drawn
    first = np.asarray(drawn, dtype=object).flat[0]
    figure = first.get_figure(root=True) if hasattr(first, "get_figure") else None
    if not isinstance(figure, Figure):
        raise HetcnnError(f"expected a figure or axes that belong to one, got {type(drawn).__name__}")
    return figure


def save(fig_or_ax: Any, name: str, folder: str | Path | None = None) -> tuple[Path, Path]:
    """Write a figure as NAME.svg and NAME.png and return both paths; the same figure gives the same bytes every time.

    Files are written under a temporary name and renamed. `folder` is `_build/figures` in the current directory unless
    given; `name` may hold subfolders. Raises HetcnnError for a name that leaves the folder.
    """
    target = Path(name)
    if target.is_absolute() or ".." in target.parts or not target.name:
        raise HetcnnError(f"figure name '{name}': expected a name below the figures' folder, such as 'figure_8'")
    base = Path(folder if folder is not None else FIGURES) / target
    base.parent.mkdir(parents=True, exist_ok=True)
    figure = figure_of(fig_or_ax)
    with context(), _settled(figure):
        svg = _write(figure, base.with_name(f"{base.name}.svg"), {"Date": None, "Creator": None})
        png = _write(figure, base.with_name(f"{base.name}.png"), {"Software": None})
    return svg, png


@contextmanager
def _settled(figure: Figure) -> Iterator[None]:
    """Lay the figure out and hold that layout: every further pass would move things by fractions of a pixel."""
    engine = figure.get_layout_engine()
    in_layout = [ax.get_in_layout() for ax in figure.axes]
    if engine is not None:
        for ax in figure.axes:
            spec = ax.get_subplotspec()
            if spec is not None:
                ax.set_subplotspec(spec)  # start from the grid, so that earlier draws leave no trace
        _lay_out(figure, engine)
        figure.set_layout_engine("none")
        for ax in figure.axes:
            # Rounded: the names of clip paths hash every digit of the position.
            ax.set_position(np.round(ax.get_position(original=True).bounds, 6).tolist())
    try:
        yield
    finally:
        if engine is not None:
            figure.set_layout_engine(engine)
            for ax, flag in zip(figure.axes, in_layout, strict=True):
                ax.set_in_layout(flag)


def _lay_out(figure: Figure, engine: LayoutEngine) -> None:
    """Run the layout until it rests; square axes need several passes."""
    before = np.zeros((len(figure.axes), 4))
    for _ in range(6):
        engine.execute(figure)
        now = np.array([ax.get_position(original=True).bounds for ax in figure.axes])
        if now.shape == before.shape and np.abs(now - before).max(initial=0.0) < 5e-5:
            return
        before = now


def png(fig_or_ax: Any, dpi: float | None = None) -> bytes:
    """Return a figure as the bytes of a PNG file, the same every time."""
    figure = figure_of(fig_or_ax)
    buffer = io.BytesIO()
    with context(), _settled(figure):
        figure.savefig(buffer, format="png", dpi="figure" if dpi is None else dpi, metadata={"Software": None})
    return buffer.getvalue()


def _write(figure: Figure, path: Path, metadata: dict[str, Any]) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
