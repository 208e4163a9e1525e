"""Exercises with a check: right or not yet, with a hint, never the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

__all__ = ["Exercise"]


@dataclass(frozen=True)
class Exercise:
    """One exercise: a question, a function that computes the right answer from the model, a tolerance and a hint.

    >>> half = Exercise("Half of 8?", lambda: 4.0, hint="divide by two")
    >>> half.check(None)
    'no answer yet'
    >>> half.check(5), half.check(4)
    ('not yet: divide by two', 'right')
    """

    question: str
    answer: Callable[[], float | str]
    rtol: float = 0.01
    hint: str = ""

    def check(self, given: float | str | None) -> str:
        """Return what to tell the reader: nothing that gives the answer away."""
        if given is None:
            return "no answer yet"
        right = self.answer()
        return "right" if self._agrees(given, right) else f"not yet: {self.hint}"

    def _agrees(self, given: object, right: float | str) -> bool:
        if isinstance(right, str) or isinstance(given, str):
            return str(given).replace(" ", "") == str(right).replace(" ", "")
        return isinstance(given, Real) and abs(float(given) - right) <= self.rtol * abs(right)
