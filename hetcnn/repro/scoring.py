"""Scoring a whole project: every claim of its papers judged, every table flattened, kept until something changes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hetcnn.errors import unknown
from hetcnn.repro import cache, files
from hetcnn.repro.runner import Outcome, Progress
from hetcnn.repro.source import Source

if TYPE_CHECKING:
    from hetcnn.repro.scorecard import Scorecard

__all__ = ["LINE", "Scored", "Scoring", "score"]

LINE = "scorecard"
"""What its line is called among those of the notebooks."""


class Scored(NamedTuple):
    """What scorecard.json and predictions.json hold, and a line for every table that could not be made."""

    card: dict[str, Any]
    predictions: list[dict[str, Any]]
    failures: list[str]


def score(*keys: str, source: Source | None = None) -> Scorecard:
    """Return the scorecard of some papers, or of all: every claim evaluated now, against the model as it is now."""
    from hetcnn.repro import claims, scorecard

    source = source or Source.shipped()
    titles: dict[str, str] = {}
    results: list[scorecard.Result] = []
    for key in keys or source.keys:
        if key not in source.keys:
            raise unknown("paper", key, source.keys)
        on_file = claims.load_file(source.claims(key))
        title, functions = _model(source, key)
        titles[key] = title
        results += scorecard.evaluate(on_file, functions, key)
    return scorecard.Scorecard(titles, tuple(results))


def _model(source: Source, key: str) -> tuple[str, Mapping[str, Callable[[], Any]]]:
    """Title and functions of a paper's model; one that does not import makes its claims off, with the reason."""
    try:
        model = source.model(key)
        return model.TITLE, model.CLAIMS
    except Exception as error:
        return key, _Broken(f"the model of '{key}' does not load: {type(error).__name__}: {error}".splitlines()[0])


class _Broken(dict[str, Callable[[], Any]]):
    """Functions that all say why there are none."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why

    def get(self, key: str, default: Any = None) -> Callable[[], Any]:  # noqa: ARG002
        def explain() -> None:
            raise RuntimeError(self.why)

        return explain


def _predict(source: Source, keys: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    from hetcnn.repro import predictions

    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for key in keys:
        try:
            tables = source.model(key).TABLES
        except Exception as error:
            failures.append(f"{key}: {type(error).__name__}: {error}".splitlines()[0])
            continue
        more, failed = predictions.predict(key, tables)
        rows += more
        failures += failed
    return rows, failures


class Scoring:
    """The scorecard of a run, made beside the notebooks in a thread that an interrupted run does not wait for.

    Raises HetcnnError at once for a claims file that breaks the rules, when it is not known to keep them.
    """

    def __init__(self, source: Source, keys: Sequence[str], base: str, store: Path, *, fresh: bool) -> None:
        self.source = source
        self.keys = keys
        texts = {key: source.claims(key).read_bytes().hex() for key in keys}
        self.key = cache.key(base=base, claims=texts)
        self.file = store / f"score.{self.key[:16]}.json"
        self.known = None if fresh else self._read()
        self.outcome: list[Scored | BaseException] = []
        if self.known is None:
            from hetcnn.repro import claims

            for key in keys:
                claims.load_file(source.claims(key))

    def _read(self) -> tuple[Scored, float] | None:
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            return Scored(content["card"], content["predictions"], content["failures"]), content["seconds"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def start(self, display: Progress) -> None:
        """Begin, or take what is known."""
        if self.known is not None:
            scored, seconds = self.known
            self.outcome.append(scored)
            display.finished(Outcome(LINE, "cached", seconds, self.file, self.key))
            return
        self.thread = threading.Thread(target=self._run, args=(display,), daemon=True)
        self.thread.start()

    def _run(self, display: Progress) -> None:
        try:
            display.started(LINE)
            start = time.perf_counter()
            card = score(*self.keys, source=self.source).to_dict()
            scored = Scored(card, *_predict(self.source, self.keys))
            seconds = round(time.perf_counter() - start, 3)
            for old in self.file.parent.glob("score.*.json"):
                old.unlink(missing_ok=True)
            files.write_json(self.file, {**scored._asdict(), "seconds": seconds})
            self.outcome.append(scored)
            display.finished(Outcome(LINE, "ok", seconds, self.file, self.key))
        except BaseException as error:
            self.outcome.append(error)

    def result(self) -> Scored:
        """Wait for the scorecard, or raise what went wrong."""
        if not self.outcome:
            self.thread.join()
        outcome = self.outcome[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome
