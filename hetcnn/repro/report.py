"""The report: one HTML page that opens offline, without scripts and without requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hetcnn import __version__
from hetcnn.repro import charts, figures, files, markup
from hetcnn.repro.cells import Page, slug
from hetcnn.repro.runner import Outcome

__all__ = ["render", "write"]

FOLDER = Path(__file__).parent / "templates"
KINDS = {
    "calibration": "calibrations: a parameter was fitted to them",
    "trend": "trends: order and sign only",
    "inconsistent": "contradictions in the paper, shown by arithmetic",
    "follows_from": "mere arithmetic on other claims",
    "out_of_scope": "out of scope",
}


def write(
    card: Mapping[str, Any], notebooks: Sequence[tuple[Outcome, str | None]], out: Path, sources: Path | None = None
) -> list[Path]:
    """Write `report/index.html` and `figures/` under `out`; returns the files written.

    `notebooks` are outcomes with the paper that each belongs to; `sources` is the folder that their pictures are in.
    """
    executed: dict[str, Any] = {}
    written: list[Path] = []
    for outcome, _ in notebooks:
        if outcome.path is not None:
            executed[outcome.name] = json.loads(outcome.path.read_text(encoding="utf-8"))
            written += figures.write(outcome.name, executed[outcome.name], out / "figures")
    page = render(card, notebooks, executed, sources or Path())
    return [*written, files.write_text(out / "report" / "index.html", page)]


def render(
    card: Mapping[str, Any],
    notebooks: Sequence[tuple[Outcome, str | None]],
    executed: Mapping[str, Mapping[str, Any]],
    sources: Path,
) -> str:
    """Return the page; `executed` maps the names of notebooks to their executed copies."""
    links = {f"{outcome.name}.ipynb": f"nb-{slug(outcome.name)}" for outcome, _ in notebooks}
    styles: set[str] = set()
    books = []
    for outcome, paper in notebooks:
        page = Page(f"nb-{slug(outcome.name)}", sources, links, styles)
        html = page.html(executed[outcome.name]) if outcome.name in executed else ""
        title = next((text for _, _, text in page.headings), outcome.name)
        contents = [(name, text) for level, name, text in page.headings if level == 3]
        books.append(
            {"outcome": outcome, "paper": paper, "id": page.name, "html": html, "title": title, "toc": contents}
        )
    return str(
        _template().render(
            card=card,
            books=books,
            papers=[_paper(card, paper) for paper in card["papers"]],
            missed=_missed(card),
            failures=[outcome.failure for outcome, _ in notebooks if outcome.failure],
            version=__version__,
        )
    )


def _missed(card: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The claims that are off: those of the headline first, the others by kind.

    Unexpected ones come before known misses, and live measurements, which depend on the load, last.
    """
    found: dict[str, list[Mapping[str, Any]]] = {"checks": [], **{kind: [] for kind in KINDS}}
    off = [claim for claim in card["claims"] if claim["verdict"] == "off"]
    for claim in sorted(off, key=lambda c: (not c["gate"], c["known_miss"] is not None)):
        found[_kind(claim)].append(claim)
    return found


def _kind(claim: Mapping[str, Any]) -> str:
    if _counts(claim):
        return "checks"
    if claim["role"] == "calibration":
        return "calibration"
    return "follows_from" if claim["expect"] == "reproduces" else str(claim["expect"])


def _paper(card: Mapping[str, Any], paper: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of one paper: its claims by table and figure."""
    claims = [claim for claim in card["claims"] if claim["paper"] == paper["key"]]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for claim in claims:
        groups.setdefault(claim["where"].partition(",")[0], []).append(claim)
    strip = [c for c in claims if _counts(c) and c["rel_error"] is not None]
    return {**paper, "groups": groups, "strip": charts.error_strip(strip)}


def _counts(claim: Mapping[str, Any]) -> bool:
    return bool(claim["role"] == "check" and claim["expect"] == "reproduces" and not claim["follows_from"])


def _breakable(name: str) -> Any:
    """A claim's id that may break after its dots."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[._])", name))


def _tally(claims: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {v: n for v in markup.CHIPS if (n := sum(claim["verdict"] == v for claim in claims))}


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": markup.percent,
        "slug": slug,
        "published": markup.published,
        "unit": markup.unit,
        "breakable": _breakable,
        "tally": _tally,
    }
    environment.globals |= {
        "bar": charts.verdict_bar,
        "counts": _counts,
        "kinds": KINDS,
        "rows": markup.headline_rows,
        "columns": markup.COLUMNS,
        "ours": markup.ours,
        "summary": markup.summary,
    }
    return environment.get_template("report.html")
