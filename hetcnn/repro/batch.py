"""One run of everything: notebooks, scorecard, predictions, figures, report; each made again only when it must be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hetcnn.errors import HetcnnError, unknown
from hetcnn.repro import cache, files, parameters, runner
from hetcnn.repro.progress import progress
from hetcnn.repro.scoring import LINE, Scored, Scoring
from hetcnn.repro.source import Source

__all__ = ["reproduce"]


@dataclass(frozen=True)
class _Chosen:
    """What one run covers: notebooks with their parameters, and papers."""

    jobs: tuple[runner.Job, ...]
    keys: tuple[str, ...]
    base: str


def reproduce(
    names: Sequence[str] = (),
    *,
    assignments: Sequence[str] = (),
    jobs: int = 2,
    fresh: bool = False,
    fork: bool = True,
    out: Path = Path("_build"),
    source: Source | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run notebooks, score claims, write the report under `out`; returns the exit code.

    `names` are papers or notebooks (all when empty), `assignments` are `name=value` for notebook parameters. 0: as
    declared; 1: a claim unexpectedly off or right, or a notebook that failed. Raises HetcnnError for bad input before
    anything runs.
    """
    if jobs < 1:
        raise HetcnnError(f"--jobs {jobs}: expected at least 1")
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise HetcnnError(f"--out {out}: is a file; expected a folder")
    source = source or Source.shipped()
    chosen = _choose(source, names, assignments)
    store = out / ".cache"
    scoring = Scoring(source, chosen.keys, chosen.base, store, fresh=fresh)
    with progress([*(job.name for job in chosen.jobs), LINE]) as display:
        scoring.start(display)
        outcomes = runner.run(chosen.jobs, store, display, workers=jobs, fresh=fresh, fork=fork)
        scored = scoring.result()
    _write(source, chosen, outcomes, scored, out)
    return _say(outcomes, scored, out, len(source.notebook_files()), say)


def _choose(source: Source, names: Sequence[str], assignments: Sequence[str]) -> _Chosen:
    found = source.notebook_files()
    for name in names:
        if name not in source.keys and name not in found:
            raise unknown("paper or notebook", name, [*source.keys, *found])
    picked = {n: p for n, p in found.items() if not names or n in names or source.paper_of(n) in names}
    keys = tuple(k for k in source.keys if not names or k in names or any(source.paper_of(n) == k for n in names))
    cells = {name: parameters.read_cells(path) for name, path in picked.items()}
    known = {name: parameters.declared(c, name) for name, c in cells.items()}
    values = parameters.given(assignments, known)
    base = cache.base_key()

    def key(name: str) -> str:
        named = cache.contents({p.name: p.default for p in known[name]} | values[name])
        return cache.key(base=base, cells=cache.cells_key(cells[name]), set=values[name], files=named)

    jobs = tuple(runner.Job(name, path, values[name], key(name)) for name, path in picked.items())
    return _Chosen(jobs, keys or source.keys, base)


def _write(
    source: Source,
    chosen: _Chosen,
    outcomes: Sequence[runner.Outcome],
    scored: Scored,
    out: Path,
) -> None:
    """Write what `out` holds, unless the last run left exactly that."""
    stamp = out / ".cache" / "stamp.json"
    parts = [(o.name, o.key, o.status == "failed" and str(o.failure)) for o in outcomes]
    key = cache.key(base=chosen.base, parts=parts, card=scored.card, report=cache.outside_key())
    if _unchanged(stamp, key, out):
        return
    from hetcnn.repro import report

    written = [
        files.write_json(out / "scorecard.json", scored.card),
        files.write_json(out / "predictions.json", scored.predictions),
    ]
    for outcome in outcomes:
        if outcome.path is not None:
            written.append(files.write_bytes(out / "notebooks" / f"{outcome.name}.ipynb", outcome.path.read_bytes()))
    written += report.write(scored.card, [(o, source.paper_of(o.name)) for o in outcomes], out, source.notebooks)
    names = {str(path.relative_to(out)): path.stat().st_mtime_ns for path in written}
    files.write_json(stamp, {"key": key, "files": names})


def _unchanged(stamp: Path, key: str, out: Path) -> bool:
    try:
        last = json.loads(stamp.read_text(encoding="utf-8"))
        return last["key"] == key and all((out / n).stat().st_mtime_ns == t for n, t in last["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _say(
    outcomes: Sequence[runner.Outcome],
    scored: Scored,
    out: Path,
    every: int,
    say: Callable[[str], None],
) -> int:
    from hetcnn.repro.markup import scorecard_text

    failed = [o.failure for o in outcomes if o.failure]
    for failure in failed:
        say(f"failed: {failure}")
    for line in scored.failures:
        say(f"no prediction: {line}")
    say("")
    say(scorecard_text(scored.card))
    part = f" (this run alone: {len(outcomes)} of {every} notebooks)" if len(outcomes) < every else ""
    say(f"report: {out / 'report' / 'index.html'}{part}")
    return int(bool(failed or scored.card["unexpected"]))
