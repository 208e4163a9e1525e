"""One line per notebook: live on a terminal, one line at its end elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from hetcnn.repro.runner import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Live", "Plain", "progress"]


class Plain:
    """Prints a line when a notebook is done: for files, pipes and continuous integration."""

    def __init__(self, names: Sequence[str]) -> None:
        self.width = max((len(name) for name in names), default=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, name: str) -> None:
        """Say nothing: the line comes at the end."""

    def cell(self, name: str, number: int, total: int) -> None:
        """Say nothing."""

    def finished(self, outcome: Outcome) -> None:
        """Print the notebook's line."""
        print(f"{outcome.name:<{self.width}}  {describe(outcome)}", flush=True)


def describe(outcome: Outcome) -> str:
    """What became of a notebook, in a few words."""
    if outcome.status == "cached":
        return f"cached ({outcome.seconds:.1f} s when it ran)"
    if outcome.status == "failed":
        return f"FAILED after {outcome.seconds:.1f} s"
    return f"{outcome.status:<6} {outcome.seconds:5.1f} s"


class Live:
    """Redraws one line per notebook while it runs."""

    def __init__(self, names: Sequence[str]) -> None:
        self.plain = Plain(names)
        self.lock = threading.Lock()
        self.rich: RichProgress | None = None
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.rich is not None:
            self.rich.stop()

    def started(self, name: str) -> None:
        """Add the notebook's line."""
        with self.lock:
            # Made at the first sign of work, so that a fully cached run does not wait for its import.
            self.rich = self.rich or _display()
            self.tasks[name] = self.rich.add_task(name, total=None, state="running")

    def cell(self, name: str, number: int, total: int) -> None:
        """Move the notebook's bar."""
        if self.rich is not None and name in self.tasks:
            state = f"cell {number} of {total}"
            self.rich.update(self.tasks[name], completed=number - 1, total=total or None, state=state)

    def finished(self, outcome: Outcome) -> None:
        """Fill the bar, or print the line of a notebook that never ran."""
        if self.rich is None or outcome.name not in self.tasks:
            self.plain.finished(outcome)
            return
        task = self.tasks[outcome.name]
        if outcome.status == "ok":
            self.rich.update(task, completed=1, total=1, state="ok")
        else:
            self.rich.update(task, state=describe(outcome))
        self.rich.stop_task(task)


def _display() -> RichProgress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    display = Progress(*columns, TextColumn("{task.fields[state]}", markup=False))
    display.start()
    return display


def progress(names: Sequence[str]) -> Plain | Live:
    """Return the display that fits where the output goes."""
    return Live(names) if sys.stdout.isatty() else Plain(names)
