"""The explorer: controls beside one figure that is redrawn in place; where no front end is alive, a static figure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

from hetcnn.errors import HetcnnError, unknown
from hetcnn.plots import style
from hetcnn.widgets import controls as specs
from hetcnn.widgets.controls import Control, Spec, Value

__all__ = ["Explorer", "explorer"]

_PIXELS_PER_INCH = 96  # of a style sheet; the picture has twice as many, for sharp screens
_TYPES = (specs.Choice, specs.Whole, specs.Real, specs.Flag)


def explorer(
    function: Callable[..., Any], controls: Mapping[str, Control], *, static: Mapping[str, Value] | None = None
) -> Explorer:
    """Return an explorer that draws `function(**values)` anew whenever one of the controls moves.

    `function` takes one argument for each control and returns axes or a figure. A control may be a function of the
    values of those before it, so that a slider's range follows another choice. `static` are the values of the figure
    that a report shows in place of the widget; the controls' first values unless given.

    Raises HetcnnError for values that are not among the controls.
    """
    return Explorer(function, controls, static)


class Explorer:
    """Controls and a figure. `set` moves controls from code, `values` reads them, `picture` is the figure as PNG."""

    def __init__(
        self, function: Callable[..., Any], controls: Mapping[str, Control], static: Mapping[str, Value] | None = None
    ) -> None:
        if not controls:
            raise HetcnnError("an explorer needs at least one control")
        self._function = function
        self._controls = dict(controls)
        self._specs = self._resolved({})
        self._moving = False
        self._still = {**self._value_of(self._resolved(self._known(static or {})))}
        self.picture, self._size = self._draw(self._still)
        self._build()

    @property
    def values(self) -> dict[str, Value]:
        """The values of the controls."""
        return self._value_of(self._specs)

    @property
    def message(self) -> str:
        """What the figure could not be drawn for, or nothing."""
        return self._message

    def set(self, **values: Value) -> None:
        """Move controls and draw once; a value out of range goes to the nearest one allowed."""
        self._move({**self.values, **self._known(values)})

    def _known(self, values: Mapping[str, Value]) -> dict[str, Value]:
        for name in values:
            if name not in self._controls:
                raise unknown("control", name, self._controls)
        return dict(values)

    @staticmethod
    def _value_of(found: Mapping[str, Spec]) -> dict[str, Value]:
        return {name: spec.value for name, spec in found.items() if spec.value is not None}

    def _resolved(self, values: Mapping[str, Value]) -> dict[str, Spec]:
        """All controls at these values, in order: a function sees only the controls before it."""
        found: dict[str, Spec] = {}
        for name, control in self._controls.items():
            spec = control if isinstance(control, _TYPES) else control(self._value_of(found))
            found[name] = specs.clamped(spec, values[name]) if name in values else spec
        return found

    def _build(self) -> None:
        import ipywidgets

        self._message = ""
        self._widgets = {name: specs.make(name, spec) for name, spec in self._specs.items()}
        first = self.picture, self._size
        if self.values != self._still:
            first = self._draw(self.values)
        self._image = ipywidgets.Image(value=first[0], format="png", layout={"width": f"{first[1][0]}px"})
        self._note = ipywidgets.HTML(layout={"display": "none"})
        bar = ipywidgets.Box(list(self._widgets.values()), layout={"flex_flow": "row wrap", "grid_gap": "2px 18px"})
        self.widget = ipywidgets.VBox([bar, self._note, self._image])
        for widget in self._widgets.values():
            widget.observe(self._moved, names="value")

    def _moved(self, _change: Any) -> None:
        if not self._moving:
            self._move({name: widget.value for name, widget in self._widgets.items()})

    def _move(self, values: Mapping[str, Value]) -> None:
        before = self._specs
        with self._quiet():
            self._specs = self._resolved(values)
            for name, spec in self._specs.items():
                specs.update(self._widgets[name], spec)
        if self._specs != before or self._message:
            self._redraw()

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        self._moving = True
        try:
            yield
        finally:
            self._moving = False

    def _redraw(self) -> None:
        try:
            picture, size = self._draw(self.values)
        except HetcnnError as error:
            self._tell(str(error))
            return
        self._tell("")
        with self._image.hold_sync():
            self._image.value = picture
            self._image.layout.width = f"{size[0]}px"

    def _tell(self, message: str) -> None:
        self._message = message
        self._note.value = f'<span style="color:#c27400">{escape(message)}</span>' if message else ""
        self._note.layout.display = None if message else "none"

    def _draw(self, values: Mapping[str, Value]) -> tuple[bytes, tuple[int, int]]:
        """The figure at these values as PNG, and its size on the page; every figure that was opened is closed."""
        import matplotlib.pyplot as plt

        before = set(plt.get_fignums())
        try:
            figure = style.figure_of(self._function(**values))
            width, height = figure.get_size_inches() * _PIXELS_PER_INCH
            return style.png(figure, dpi=2 * _PIXELS_PER_INCH), (round(width), round(height))
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget for a live front end and, in the same output, the static figure for whoever drops the widget."""
        width, height = self._size
        data = dict(self.widget._repr_mimebundle_() or {})
        data["text/plain"] = repr(self)
        data["image/png"] = base64.b64encode(self.picture).decode()
        return data, {"image/png": {"width": width, "height": height}}

    def __repr__(self) -> str:
        return f"explorer({', '.join(f'{name}={value!r}' for name, value in self._still.items())})"
