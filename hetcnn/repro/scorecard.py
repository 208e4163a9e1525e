"""The scorecard: every claim beside the model's value, with a verdict, and the headline over the checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from hetcnn.repro.claims import Claim

__all__ = ["VERDICTS", "Headline", "Result", "Scorecard", "evaluate", "headline", "judge"]

VERDICTS = ("exact", "reproduced", "trend", "off", "inconsistent", "out of scope")
"""What can be said of a claim."""

Model = float | int | str | tuple[float | int, ...] | None
Functions = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Result:
    """One claim judged: the model's value, the verdict, and why where it needs a word.

    `rel_error` is |model - published| / |published|, None for strings, ranges and published zeros.
    """

    paper: str
    claim: Claim
    model: Model
    verdict: str
    note: str = ""

    @property
    def rel_error(self) -> float | None:
        """Relative error, without sign."""
        published, model = self.claim.published, self.model
        if not isinstance(published, int | float) or not isinstance(model, int | float) or published == 0:
            return None
        return abs(model - published) / abs(published)

    @property
    def reproduced(self) -> bool:
        """Whether the model's value is the published one, exactly or within tolerance."""
        return self.verdict in ("exact", "reproduced")

    @property
    def holds(self) -> bool:
        """Whether the claim turned out as it was declared to."""
        wanted = {"reproduces": ("exact", "reproduced"), "trend": ("trend",), "inconsistent": ("inconsistent",)}
        return self.verdict in wanted.get(self.claim.expect, VERDICTS)

    @property
    def unexpected(self) -> str | None:
        """Why this claim fails the run, or None: off without a known miss, or a known miss that now reproduces."""
        claim = self.claim
        if not claim.gate or claim.expect == "out_of_scope":
            return None
        if claim.known_miss is None:
            why = f": {self.note}" if self.model is None and self.note else ""
            return None if self.holds else f"expected '{claim.expect}', got '{self.verdict}'{why}"
        return "is marked known_miss and now reproduces; remove the mark" if self.holds else None

    def to_dict(self) -> dict[str, Any]:
        """Return the claim's entry of scorecard.json."""
        claim = self.claim
        listed = list(claim.published) if isinstance(claim.published, tuple) else claim.published
        return {
            "id": claim.id,
            "paper": self.paper,
            "where": claim.where,
            "published": listed,
            "model": list(self.model) if isinstance(self.model, tuple) else self.model,
            "unit": claim.unit,
            "kind": claim.kind,
            "role": claim.role,
            "expect": claim.expect,
            "rtol": claim.rtol,
            "atol": claim.atol,
            "reading_error": claim.reading_error,
            "decimals": claim.decimals,
            "rel_error": self.rel_error,
            "verdict": self.verdict,
            "follows_from": list(claim.follows_from),
            "group": claim.group,
            "contradicts": list(claim.contradicts),
            "arithmetic": claim.arithmetic,
            "gate": claim.gate,
            "known_miss": claim.known_miss,
            "reason": claim.reason,
            "note": "; ".join(text for text in (self.note, claim.note) if text) or None,
        }


@dataclass(frozen=True)
class Headline:
    """The share of checks reproduced, and how far off they are; calibrations and the rest apart."""

    checks: int
    reproduced: int
    median_error: float | None
    worst_error: float | None
    calibrations: int
    calibrations_reproduced: int
    claims: int
    verdicts: Mapping[str, int]
    by_kind: Mapping[str, Mapping[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """Return the headline as JSON wants it."""
        kinds = {kind: dict(counts) for kind, counts in self.by_kind.items()}
        return {**vars(self), "verdicts": dict(self.verdicts), "by_kind": kinds}


@dataclass(frozen=True)
class Scorecard:
    """The claims of one or several papers, judged."""

    titles: Mapping[str, str]
    results: tuple[Result, ...]

    def of(self, paper: str) -> tuple[Result, ...]:
        """Return the results of one paper."""
        return tuple(r for r in self.results if r.paper == paper)

    @property
    def headline(self) -> Headline:
        """The headline over all papers."""
        return headline(self.results)

    @property
    def unexpected(self) -> tuple[Result, ...]:
        """The claims that make the run fail."""
        return tuple(r for r in self.results if r.unexpected)

    @property
    def exit_code(self) -> int:
        """0, or 1 when a claim is unexpectedly off or unexpectedly right."""
        return int(bool(self.unexpected))

    def to_dict(self) -> dict[str, Any]:
        """Return what scorecard.json holds."""
        papers = [{"key": k, "title": t, **headline(self.of(k)).to_dict()} for k, t in self.titles.items()]
        return {
            "papers": papers,
            "overall": self.headline.to_dict(),
            "unexpected": [{"id": r.claim.id, "paper": r.paper, "why": r.unexpected} for r in self.unexpected],
            "claims": [r.to_dict() for r in self.results],
        }

    def __repr__(self) -> str:
        return f"<Scorecard {', '.join(self.titles)}: {len(self.results)} claims>"

    def __str__(self) -> str:
        from hetcnn.repro.markup import scorecard_text

        return scorecard_text(self.to_dict())

    def _repr_html_(self) -> str:
        from hetcnn.repro.markup import scorecard_html

        return scorecard_html(self.to_dict())


def headline(results: Iterable[Result]) -> Headline:
    """Return the headline of some results; its share is over checks, expected to reproduce, that follow from none."""
    results = tuple(results)
    checks = [r for r in results if r.claim.counts]
    errors = [r.rel_error for r in checks if r.rel_error is not None]
    fitted = [r for r in results if r.claim.role == "calibration"]
    by_kind: dict[str, dict[str, int]] = {}
    for r in results:
        if not r.claim.counts:
            kind = _kind(r.claim)
            counts = by_kind.setdefault(kind, {"claims": 0, "as_declared": 0})
            counts["claims"] += 1
            counts["as_declared"] += r.holds
    return Headline(
        checks=len(checks),
        reproduced=sum(r.reproduced for r in checks),
        median_error=median(errors) if errors else None,
        worst_error=max(errors, default=None),
        calibrations=len(fitted),
        calibrations_reproduced=sum(r.reproduced for r in fitted),
        claims=len(results),
        verdicts={v: n for v in VERDICTS if (n := sum(r.verdict == v for r in results))},
        by_kind=by_kind,
    )


def _kind(claim: Claim) -> str:
    """What a claim outside the headline is."""
    if claim.role == "calibration":
        return "calibration"
    return claim.expect if claim.expect != "reproduces" else "follows_from"


def evaluate(claims: Sequence[Claim], functions: Functions, paper: str = "") -> tuple[Result, ...]:
    """Return each claim judged against what its function says; a function that fails makes its claim off."""
    results = [judge(claim, *_call(functions.get(claim.id)), paper=paper) for claim in claims]
    return tuple(_judge_trends(results))


def _call(function: Callable[[], Any] | None) -> tuple[Model, str]:
    """The model's value and a note where there is none."""
    if function is None:
        return None, "no model function for this claim"
    try:
        return _value(function())
    except Exception as error:
        return None, f"the model failed: {type(error).__name__}: {error}".splitlines()[0]


def _value(value: Any) -> tuple[Model, str]:
    """A model's value as plain Python, and a note where it is no value."""
    value = getattr(value, "values", value) if hasattr(value, "dims") else value
    if hasattr(value, "ndim") and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        parts = [_value(part)[0] for part in value]
        numbers = [part for part in parts if isinstance(part, int | float)]
        return (tuple(numbers), "") if 0 < len(numbers) == len(parts) else (None, f"the model returned {value!r}")
    if value is None:
        return None, "the model has no value"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None, f"the model returned {type(value).__name__}, expected a number or a string"
    if isinstance(value, float) and not math.isfinite(value):
        return None, f"the model returned {value}"
    return value, ""


def judge(claim: Claim, model: Model, note: str = "", *, paper: str = "") -> Result:
    """Return the verdict on one claim; a trend is judged as present and later with its group.

    >>> claim = Claim(id="a", where="Table I", published=8.1, unit="frames/s", kind="printed", role="check",
    ...               expect="reproduces")
    >>> [judge(claim, value).verdict for value in (8.14, 8.9, 9.0)]    # rounds to 8.1; within 10 %; beyond
    ['exact', 'reproduced', 'off']
    """
    verdict, why = _verdict(claim, model)
    return Result(paper, claim, model, verdict, "; ".join(text for text in (note, why) if text))


def _verdict(claim: Claim, model: Model) -> tuple[str, str]:
    if claim.expect == "out_of_scope":
        return "out of scope", claim.reason or ""
    if model is None:
        return "off", ""
    if isinstance(model, str) != isinstance(claim.published, str):
        return "off", f"the model says {model!r}, the claim is {claim.published!r}"
    if claim.expect == "inconsistent":
        return _contradiction(claim, model)
    if claim.expect == "trend":
        return ("trend", "") if isinstance(model, int | float) else ("off", "a trend needs one number")
    if isinstance(model, str):
        return ("exact" if model == claim.published else "off"), ""
    if _is_exact(claim, model):
        return "exact", ""
    return ("reproduced" if _within(claim, model, claim.tolerance_at) else "off"), ""


def _contradiction(claim: Claim, model: Model) -> tuple[str, str]:
    """An inconsistency is confirmed when the arithmetic lands outside the precision of the published number."""
    if isinstance(model, str):
        differs = model != claim.published
    else:
        allowed = claim.atol if claim.atol is not None else claim.printed_error
        differs = not _within(claim, model, lambda _: allowed)
    return ("inconsistent", "") if differs else ("off", "the arithmetic gives the published value: no contradiction")


def _is_exact(claim: Claim, model: Model) -> bool:
    """Equal at the printed precision; what is read off a figure has none."""
    if claim.kind == "digitised" or claim.decimals is None or not isinstance(model, int | float):
        return False
    assert isinstance(claim.published, int | float)
    return abs(round(model, claim.decimals) - claim.published) < 1e-9 * max(abs(claim.published), 1e-300)


def _within(claim: Claim, model: Model, tolerance: Callable[[float], float]) -> bool:
    """Whether the model's value, or each of its values, is in the published range or within tolerance of its end."""
    assert not isinstance(claim.published, str)
    lo, hi = claim.published if isinstance(claim.published, tuple) else (claim.published, claim.published)
    values = model if isinstance(model, tuple) else (model,)
    return bool(values) and all(isinstance(v, int | float) and _near(v, lo, hi, tolerance) for v in values)


def _near(value: float, lo: float, hi: float, tolerance: Callable[[float], float]) -> bool:
    end = min(max(value, lo), hi)
    # One part in 1e12: a value exactly on the edge of its tolerance is inside, whichever way the product rounds.
    return abs(value - end) <= tolerance(end) * (1 + 1e-12)


def _judge_trends(results: Sequence[Result]) -> list[Result]:
    """Turn a whole group off when two of its claims come in another order, or one with another sign, than published."""
    groups: dict[str, list[Result]] = {}
    for r in results:
        if r.claim.expect == "trend" and r.verdict == "trend" and r.claim.group:
            groups.setdefault(r.claim.group, []).append(r)
    broken = {name: why for name, members in groups.items() if (why := _broken(members))}
    out = []
    for r in results:
        why = broken.get(r.claim.group or "") if r.verdict == "trend" else None
        out.append(replace(r, verdict="off", note="; ".join(t for t in (r.note, why) if t)) if why else r)
    return out


def _broken(members: Sequence[Result]) -> str | None:
    """What is wrong with the order or the signs of a group, or None; ties within the reading errors say nothing."""
    points = [(r.claim.id, _number(r.claim.published), _number(r.model), r.claim.printed_error) for r in members]
    for name, published, model, error in points:
        if abs(published) > error and published * model <= 0:
            return f"'{name}' has the other sign"
    ordered = sorted(points, key=lambda p: p[1])
    for i, (low, low_published, low_model, low_error) in enumerate(ordered):
        for high, high_published, high_model, high_error in ordered[i + 1 :]:
            if high_published - low_published > low_error + high_error and high_model <= low_model:
                return f"'{high}' should be above '{low}'"
    return None


def _number(value: Any) -> float:
    return float(value)
