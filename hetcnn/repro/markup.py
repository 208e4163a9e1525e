"""The scorecard as text for a terminal and as HTML for a notebook, from the dictionary that scorecard.json holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetcnn.repro.claims import Claim

__all__ = ["CHIPS", "chip", "claim_html", "ours", "percent", "scorecard_html", "scorecard_text", "summary", "unit"]

CHIPS: Mapping[str, tuple[str, str]] = {
    "exact": ("#0b6e4f", "#ddf3ea"),
    "reproduced": ("#1d6fa5", "#dfeefa"),
    "trend": ("#6a4c93", "#ece5f6"),
    "off": ("#a61b1b", "#fbe3e1"),
    "inconsistent": ("#8a5a00", "#fbeccb"),
    "out of scope": ("#5b6470", "#e9ebee"),
}
"""Verdict -> ink and paper of its chip."""


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share as a percentage; a dash for None.

    >>> percent(0.034), percent(None)
    ('3.4 %', '–')
    """
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def value(number: Any, decimals: int | None = None, digits: int = 4) -> str:
    """Format a claim's value: ranges with a dash; one decimal more than was printed, if `digits` leave room for it.

    >>> value([0.6, 0.9]), value(11.2534, 1), value(144882.4, 0), value(None), value("B4-s4")
    ('0.6 – 0.9', '11.25', '144882', '–', 'B4-s4')
    """
    if number is None:
        return "–"
    if isinstance(number, str):
        return number
    if isinstance(number, list | tuple):
        return " – ".join(value(n, decimals, digits) for n in number)
    if isinstance(number, int) or (float(number).is_integer() and abs(number) < 1e15 and not decimals):
        return str(int(number))
    if decimals is not None and 0 <= decimals <= 6 and abs(number) >= 10.0 ** -(decimals + 1):
        room = digits - 1 - math.floor(math.log10(abs(number)))
        return f"{number:.{max(min(decimals + 1, room), 0)}f}"
    return f"{number:.{digits}g}"


def ours(claim: Mapping[str, Any]) -> str:
    """Format the model's value with at most one digit more than the published one shows, from four digits on with none.

    >>> ours({"published": 121290, "decimals": 0, "model": 144882.4})
    '144882'
    >>> ours({"published": 8.1, "decimals": 1, "model": 11.253})
    '11.3'
    """
    if isinstance(claim["published"], str):
        return value(claim["model"])
    shown = [part.lstrip("-0.").replace(".", "") for part in published(claim).split(" – ")]
    count = max(map(len, shown))
    return value(claim["model"], claim.get("decimals"), max(count + (count < 4), 3))


def published(claim: Mapping[str, Any]) -> str:
    """Format a claim's published value with the decimals that the paper prints."""
    number, decimals = claim["published"], claim.get("decimals")
    if isinstance(number, float) and decimals is not None and decimals > 0:
        return f"{number:.{decimals}f}"
    return value(number)


def unit(claim: Mapping[str, Any]) -> str:
    """A claim's unit; a pure number has none to show, and words ("B4-s4") none at all."""
    return "" if claim["unit"] == "1" or isinstance(claim["published"], str) else str(claim["unit"])


def chip(verdict: str) -> str:
    """Return a verdict as a coloured chip."""
    ink, paper = CHIPS[verdict]
    style = f"color:{ink};background:{paper};border-radius:1em;padding:.1em .6em;font-size:.85em;white-space:nowrap"
    return f'<span style="{style}">{escape(verdict)}</span>'


def claim_html(claim: Claim) -> str:
    """Return one claim as a line of HTML: where, the published value, and what is expected of it."""
    fields = {"published": claim.published, "decimals": claim.decimals, "unit": claim.unit}
    shown = f"<b>{escape(published(fields))}</b> {escape(unit(fields))}".rstrip()
    marks = ", ".join([claim.kind, claim.role, claim.expect.replace("_", " ")])
    return (
        f"<span><code>{escape(claim.id)}</code> {escape(claim.where)}: {shown} <small>({escape(marks)})</small></span>"
    )


def headline_row(paper: Mapping[str, Any], name: str) -> list[str]:
    """The headline of one paper, or of all, as cells of a table."""
    share = percent(paper["reproduced"] / paper["checks"], 0) if paper["checks"] else "–"
    return [
        name,
        str(paper["checks"]),
        f"{paper['reproduced']} ({share})",
        percent(paper["median_error"]),
        percent(paper["worst_error"]),
        f"{paper['calibrations_reproduced']}/{paper['calibrations']}",
        str(paper["claims"]),
    ]


COLUMNS = ("paper", "checks", "reproduced", "median error", "worst error", "calibrations", "claims on file")


def headline_rows(card: Mapping[str, Any]) -> list[list[str]]:
    """The headlines of all papers, and over all where there are several."""
    rows = [headline_row(paper, paper["key"]) for paper in card["papers"]]
    return rows if len(rows) == 1 else [*rows, headline_row(card["overall"], "all")]


def summary(card: Mapping[str, Any]) -> str:
    """The headline over all papers in one line.

    >>> summary({"overall": {"checks": 5, "reproduced": 3, "median_error": 0.034}})
    '3 of 5 checks reproduced, median error 3.4 %'
    """
    overall = card["overall"]
    if not overall["checks"]:
        return "no checks on file"
    error = "" if overall["median_error"] is None else f", median error {percent(overall['median_error'])}"
    return f"{overall['reproduced']} of {overall['checks']} checks reproduced{error}"


def scorecard_text(card: Mapping[str, Any], most: int = 20) -> str:
    """Return the headline as aligned text, with the first of the unexpected claims below."""
    rows = [list(COLUMNS), *headline_rows(card)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    unexpected = card["unexpected"]
    lines += [f"unexpected: {u['paper']} {u['id']}: {u['why']}" for u in unexpected[:most]]
    if len(unexpected) > most:
        lines.append(f"and {len(unexpected) - most} more, all in scorecard.json")
    return "\n".join(line.rstrip() for line in lines)


def scorecard_html(card: Mapping[str, Any], most: int = 15) -> str:
    """Return the headline and the first of the claims that are off, checks before others, as HTML tables."""
    html = table(COLUMNS, [[escape(cell) for cell in row] for row in headline_rows(card)])
    off = sorted((c for c in card["claims"] if c["verdict"] == "off"), key=lambda c: c["role"] != "check")
    if off:
        more = f", the first {most} of them here" if len(off) > most else ""
        several = len(card["papers"]) > 1  # "Table 5" alone says little where there are five papers
        rows = [[escape(c["paper"])] * several + _off_row(c) for c in off[:most]]
        html += f"<p>{len(off)} claims are off{more}:</p>" + table(("paper",) * several + OFF, rows)
    return html


OFF = ("claim", "where", "published", "ours", "unit", "error", "why")


def _off_row(claim: Mapping[str, Any]) -> list[str]:
    texts = [
        claim["where"].replace(" ", "\N{NO-BREAK SPACE}", 1),
        published(claim),
        ours(claim),
        unit(claim),
        percent(claim["rel_error"]).replace(" ", "\N{NO-BREAK SPACE}"),
        claim["known_miss"] or claim["note"] or "",
    ]
    return [f"<code>{escape(claim['id'])}</code>", *map(escape, texts)]


def table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    """Return a plain HTML table; the cells are HTML already."""
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
