"""Two small pictures for the report that follow the page's colours: a bar of verdicts, a strip of errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hetcnn.repro.markup import CHIPS, percent

__all__ = ["error_strip", "verdict_bar"]

LOW, HIGH = 1e-4, 1.0
WIDTH, LEFT, RIGHT, STEP = 720, 14, 14, 7


def verdict_bar(verdicts: Mapping[str, int]) -> str:
    """Return a bar whose parts are as wide as the verdicts are frequent, numbers alone in it, their words below."""
    parts, words = [], []
    for verdict in CHIPS:
        if count := verdicts.get(verdict, 0):
            name = verdict.replace(" ", "-")
            parts.append(f'<span class="v-{name}" style="flex:{count}" title="{count} {verdict}">{count}</span>')
            words.append(f'<span class="chip v-{name}">{count} {verdict}</span>')
    label = escape(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    bar = f'<div class="bar" role="img" aria-label="{label}">{"".join(parts)}</div>'
    return f'{bar}<p class="key">{" ".join(words)}</p>'


def error_strip(claims: Sequence[Mapping[str, Any]], limit: float = 0.10) -> str:
    """Return one dot per claim over its relative error, stacked; logarithmic, below 0.01 % at the left edge."""
    dots: list[tuple[int, int, Mapping[str, Any]]] = []
    height: dict[int, int] = {}
    for claim in sorted(claims, key=lambda c: c["rel_error"]):
        column = round(_x(claim["rel_error"]) / STEP) * STEP
        height[column] = height.get(column, 0) + 1
        dots.append((column, height[column], claim))
    if not dots:
        return ""
    # Tall columns are squeezed, so that one popular error (an exact count) does not make the picture a tower.
    top = max(height.values())
    pitch = min(STEP, 120 / top)
    base = round(top * pitch) + 10
    circles = "".join(
        f'<circle class="v-{c["verdict"].replace(" ", "-")}" cx="{x}" cy="{base - (n - 0.5) * pitch:.1f}" r="2.9">'
        f"<title>{escape(c['id'])}: {percent(c['rel_error'], 2)}</title></circle>"
        for x, n, c in dots
    )
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH} {base + 24}" role="img" '
        f'aria-label="relative errors of {len(dots)} checks, logarithmic">{_axis(base, limit)}{circles}</svg>'
    )


def _x(error: float) -> float:
    span = math.log10(HIGH / LOW)
    share = math.log10(min(max(error, LOW), HIGH) / LOW) / span
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _axis(base: int, limit: float) -> str:
    line = f'<path class="axis" d="M{LEFT - 6} {base + 1}H{WIDTH - RIGHT + 6}"/>'
    edge = f'<path class="limit" d="M{_x(limit):.1f} 4V{base + 1}"/>'
    ticks = (
        (1e-4, "≤ 0.01 %", "start"),
        (1e-3, "0.1 %", "middle"),
        (1e-2, "1 %", "middle"),
        (1e-1, "10 %", "middle"),
        (1.0, "≥ 100 %", "end"),
    )
    labels = "".join(
        f'<text x="{_x(value) - 6 * (anchor == "start") + 6 * (anchor == "end"):.1f}" y="{base + 17}" '
        f'text-anchor="{anchor}">{label}</text>'
        for value, label, anchor in ticks
    )
    return line + edge + labels
