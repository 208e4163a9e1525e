"""What a control of an explorer offers: a choice, a whole number, a real number, a flag; checked when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hetcnn.errors import HetcnnError, unknown

__all__ = ["Choice", "Control", "Flag", "Real", "Spec", "Value", "Whole", "clamped", "make", "update"]

Value = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """One of several names, the first unless `value` says another."""

    options: tuple[str, ...]
    value: str | None = None
    label: str = ""
    shown: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options:
            raise HetcnnError("a choice needs at least one option")
        if self.value is None:
            object.__setattr__(self, "value", self.options[0])
        elif self.value not in self.options:
            raise unknown("option", str(self.value), self.options)


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included; `low` unless `value` says another."""

    low: int
    high: int
    value: int | None = None
    step: int = 1
    label: str = ""
    shown: bool = True

    def __post_init__(self) -> None:
        _check_range(self)


@dataclass(frozen=True)
class Real:
    """A number from `low` to `high`, both included; `low` unless `value` says another."""

    low: float
    high: float
    value: float | None = None
    step: float | None = None
    label: str = ""
    shown: bool = True

    def __post_init__(self) -> None:
        if self.step is None:
            object.__setattr__(self, "step", (self.high - self.low) / 100 or 1.0)
        _check_range(self)


@dataclass(frozen=True)
class Flag:
    """On or off."""

    value: bool = False
    label: str = ""
    shown: bool = True


Spec = Choice | Whole | Real | Flag
Control = Spec | Callable[[Mapping[str, Any]], Spec]
"""A control, or a function that makes it from the values of the controls before it (always of the same class)."""


def _check_range(spec: Whole | Real) -> None:
    if not spec.low <= spec.high:
        raise HetcnnError(f"a control from {spec.low} to {spec.high}: the range is empty")
    if spec.value is None:
        object.__setattr__(spec, "value", spec.low)
    elif not spec.low <= spec.value <= spec.high:
        raise HetcnnError(f"a control at {spec.value}, outside its range {spec.low} to {spec.high}")


def clamped(spec: Spec, value: Any) -> Spec:
    """Return the control at a value, or at the nearest one that it allows.

    >>> clamped(Whole(1, 10), 58).value, clamped(Choice(("a", "b"), "b"), "c").value
    (10, 'b')
    """
    if isinstance(spec, Choice):
        return replace(spec, value=value) if value in spec.options else spec
    if isinstance(spec, Flag):
        return replace(spec, value=bool(value))
    return replace(spec, value=min(max(value, spec.low), spec.high))


def make(name: str, spec: Spec) -> Any:
    """Return the ipywidget of a control."""
    import ipywidgets

    kinds = {
        Choice: ipywidgets.Dropdown,
        Whole: ipywidgets.IntSlider,
        Real: ipywidgets.FloatSlider,
        Flag: ipywidgets.Checkbox,
    }
    look = {"description": spec.label or name.replace("_", " "), "style": {"description_width": "initial"}}
    return kinds[type(spec)](**look, **_state(spec), layout=_layout(spec))


def update(widget: Any, spec: Spec) -> None:
    """Give an ipywidget the range, value and label of a control; without a label it keeps the one it has."""
    if spec.label:
        widget.description = spec.label
    if isinstance(spec, Choice) and tuple(widget.options) != spec.options:
        widget.options = list(spec.options)
    if isinstance(spec, Whole | Real):
        widget.max = max(widget.max, spec.high)  # ranges may not overlap: widen first, narrow last
        widget.min, widget.step, widget.value = spec.low, spec.step, spec.value
        widget.max = spec.high
    widget.value = spec.value
    widget.layout.display = None if spec.shown else "none"


def _state(spec: Spec) -> dict[str, Any]:
    if isinstance(spec, Choice):
        return {"options": list(spec.options), "value": spec.value}
    if isinstance(spec, Flag):
        return {"value": spec.value}
    return {"min": spec.low, "max": spec.high, "step": spec.step, "value": spec.value}


def _layout(spec: Spec) -> dict[str, Any]:
    width = "auto" if isinstance(spec, Choice | Flag) else "22em"
    return {"width": width} | ({} if spec.shown else {"display": "none"})
