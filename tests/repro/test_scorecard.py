from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from hetcnn.papers import KEYS
from hetcnn.repro.claims import Claim, load
from hetcnn.repro.scorecard import VERDICTS, Scorecard, evaluate, headline, judge

BASE: dict[str, Any] = {"where": "Table I", "unit": "frames/s", "kind": "printed", "role": "check"}


def claim(name: str, published: Any, **fields: Any) -> Claim:
    return Claim(**{**BASE, "id": name, "published": published, "expect": "reproduces", **fields})


def verdict(one: Claim, model: Any) -> str:
    return evaluate([one], {one.id: lambda: model})[0].verdict


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (8.1, "exact"),
        (8.149, "exact"),  # rounds to 8.1
        (8.151, "reproduced"),  # rounds to 8.2, within 10 %
        (8.91, "reproduced"),  # 8.1 * 1.1, the edge itself
        (8.92, "off"),
        (7.29, "reproduced"),
        (7.28, "off"),
        (-8.1, "off"),
    ],
)
def test_a_printed_number(model: float, expected: str) -> None:
    assert verdict(claim("a", 8.1), model) == expected


def test_a_digitised_number_is_never_exact() -> None:
    assert verdict(claim("a", 8.1, kind="digitised", reading_error=0.08), 8.1) == "reproduced"


def test_an_integer_is_exact_only_when_equal() -> None:
    assert verdict(claim("a", 58), 58) == "exact"
    assert verdict(claim("a", 58), 57) == "reproduced"
    assert verdict(claim("a", 58, atol=0), 57) == "off"


def test_the_reading_error_widens_a_narrow_tolerance() -> None:
    tight = claim("a", 1.5, rtol=0.0, reading_error=0.05)
    assert verdict(tight, 1.551) == "off"
    assert verdict(claim("a", 1.50, rtol=0.0, reading_error=0.3), 1.7) == "reproduced"


def test_a_range_is_met_inside_and_near_its_ends() -> None:
    spread = claim("a", [0.6, 0.9])
    assert [verdict(spread, m) for m in (0.6, 0.75, 0.9, 0.55, 0.98)] == ["reproduced"] * 5
    assert [verdict(spread, m) for m in (0.53, 1.0)] == ["off"] * 2
    assert verdict(spread, [0.6, 0.88]) == "reproduced"  # a model's own range: both ends count
    assert verdict(spread, [0.3, 0.88]) == "off"


def test_a_string_is_compared_exactly() -> None:
    plan = claim("a", "B4-s4")
    assert verdict(plan, "B4-s4") == "exact"
    assert verdict(plan, "B4-s3") == "off"
    assert verdict(plan, 4) == "off"
    assert verdict(claim("a", 4), "4") == "off"


def test_rel_error_is_null_where_it_means_nothing() -> None:
    assert judge(claim("a", 10.0), 9.0).rel_error == pytest.approx(0.1)
    assert judge(claim("a", -10.0), -9.0).rel_error == pytest.approx(0.1)
    assert judge(claim("a", 0, atol=1), 0.5).rel_error is None
    assert judge(claim("a", [1, 2]), 1.5).rel_error is None
    assert judge(claim("a", "x"), "x").rel_error is None


def test_values_of_numpy_and_xarray_are_plain_numbers() -> None:
    for model in (np.float64(8.1), np.float32(8.1), np.array(8.1), xr.DataArray(8.1)):
        result = evaluate([claim("a", 8.1)], {"a": lambda model=model: model})[0]
        assert result.verdict == "exact"
        assert type(result.model) is float


@pytest.mark.parametrize("model", [None, math.nan, math.inf, object(), True, {"a": 1}, [1.0, None], []])
def test_no_value_is_off_with_a_note(model: Any) -> None:
    result = evaluate([claim("a", 8.1)], {"a": lambda: model})[0]
    assert result.verdict == "off"
    assert result.note


def test_a_model_that_fails_is_off_with_its_error_and_stops_nothing() -> None:
    results = evaluate([claim("a", 1), claim("b", 2), claim("c", 3)], {"a": lambda: 1 / 0, "b": lambda: 2})
    assert [r.verdict for r in results] == ["off", "exact", "off"]
    assert results[0].note == "the model failed: ZeroDivisionError: division by zero"
    assert results[2].note == "no model function for this claim"


def test_out_of_scope_keeps_the_model_and_never_counts() -> None:
    odd = claim("a", 8.1, expect="out_of_scope", reason="another compiler")
    result = evaluate([odd], {"a": lambda: 1 / 0})[0]
    assert result.verdict == "out of scope"
    assert result.unexpected is None
    assert evaluate([odd], {"a": lambda: 8.1})[0].model == 8.1
    assert headline([result]).checks == 0


def group(**models: float | None) -> list[str]:
    published = {"a": 1.0, "b": 2.0, "c": 4.0}
    claims = [claim(name, p, expect="trend", group="g") for name, p in published.items()]
    results = evaluate(claims, {name: (lambda value=value: value) for name, value in models.items()})
    return [r.verdict for r in results]


def test_a_trend_holds_when_order_and_signs_agree() -> None:
    assert group(a=10.0, b=11.0, c=500.0) == ["trend"] * 3
    assert group(a=10.0, b=9.0, c=500.0) == ["off"] * 3  # one swap turns the group
    assert group(a=10.0, b=10.0, c=500.0) == ["off"] * 3  # a tie is no order
    assert group(a=-1.0, b=2.0, c=3.0) == ["off"] * 3  # another sign
    assert group(a=10.0, b=None, c=500.0) == ["trend", "off", "trend"]


def test_a_trend_of_one_is_its_sign() -> None:
    gain = claim("a", 20.6, expect="trend", group="g")
    assert verdict(gain, 3.0) == "trend"
    assert verdict(gain, -3.0) == "off"


def test_published_ties_within_their_reading_errors_set_no_order() -> None:
    a, b = (claim(n, p, expect="trend", group="g", reading_error=0.1) for n, p in (("a", 1.0), ("b", 1.1)))
    assert [r.verdict for r in evaluate([a, b], {"a": lambda: 2.0, "b": lambda: 1.0})] == ["trend"] * 2


def test_a_contradiction_is_confirmed_by_a_different_value() -> None:
    odd = claim("a", 31, expect="inconsistent", contradicts=["b"], arithmetic="1 / 0.0307 s", reading_error=0.5)
    assert verdict(odd, 1 / 0.0307) == "inconsistent"  # 32.6
    assert verdict(odd, 31.4) == "off"  # the arithmetic agrees: nothing is contradicted
    words = claim("a", "first", expect="inconsistent", contradicts=["b"], arithmetic="the trace")
    assert verdict(words, "last") == "inconsistent"
    assert verdict(words, "first") == "off"


@pytest.mark.parametrize("published", [8.1, 58, 0.0035, [0.6, 0.9]])
@pytest.mark.parametrize("direction", [-1, 1])
def test_a_published_value_shifted_by_three_tolerances_turns_its_verdict(published: Any, direction: int) -> None:
    """The scorecard can turn red."""
    model = 0.75 if isinstance(published, list) else published
    right = claim("a", published)
    assert judge(right, model).reproduced
    shift = 3 * right.tolerance * direction
    moved = [p + shift for p in published] if isinstance(published, list) else published + shift
    assert judge(claim("a", moved), model).verdict == "off"


@pytest.mark.parametrize("key", KEYS)
def test_every_shipped_claim_can_turn_red(key: str) -> None:
    """A perfect model reproduces them all; with a published value three tolerances away, none."""
    for one in load(key):
        if one.expect == "reproduces":
            assert judge(one, one.published).reproduced, one.id
            for published in _shifted(one):
                moved = one.model_copy(update={"published": published})
                assert judge(moved, one.published).verdict == "off", one.id


def _shifted(one: Claim) -> list[Any]:
    step = 3 * one.tolerance or 1.0  # a zero without a reading error: one unit
    if isinstance(one.published, str):
        return [f"{one.published}!"]
    if isinstance(one.published, tuple):
        width = one.published[1] - one.published[0]
        return [tuple(p + (step + width) * sign for p in one.published) for sign in (-1, 1)]
    return [one.published - step, one.published + step]


def test_the_headline_counts_checks_only() -> None:
    claims = [
        claim("hit", 10.0),
        claim("near", 10.0),
        claim("miss", 10.0),
        claim("word", "x"),
        claim("fitted", 10.0, role="calibration"),
        claim("sum", 20.0, follows_from=["hit"]),
        claim("later", 1.0, expect="out_of_scope"),
        claim("rise", 1.0, expect="trend", group="g"),
    ]
    models = {"hit": 10.0, "near": 10.5, "miss": 13.0, "word": "x", "fitted": 10.4, "sum": 99.0, "rise": 3.0}
    results = evaluate(claims, {k: (lambda v=v: v) for k, v in models.items()})
    head = headline(results)
    assert (head.checks, head.reproduced) == (4, 3)
    assert head.median_error == pytest.approx(0.05)
    assert head.worst_error == pytest.approx(0.30)
    assert (head.calibrations, head.calibrations_reproduced) == (1, 1)
    assert {kind: n["claims"] for kind, n in head.by_kind.items()} == {
        "calibration": 1,
        "follows_from": 1,
        "out_of_scope": 1,
        "trend": 1,
    }
    assert sum(head.verdicts.values()) == len(claims)
    assert set(head.verdicts) <= set(VERDICTS)


def test_a_headline_without_errors_says_none() -> None:
    head = headline(evaluate([claim("a", "x")], {"a": lambda: "x"}))
    assert (head.checks, head.reproduced, head.median_error, head.worst_error) == (1, 1, None, None)


def card(one: Claim, model: Any) -> Scorecard:
    return Scorecard({"toy": "A toy"}, evaluate([one], {one.id: lambda: model}, "toy"))


@pytest.mark.parametrize(
    ("fields", "model", "code"),
    [
        ({}, 8.1, 0),
        ({}, 99.0, 1),
        ({"role": "calibration"}, 99.0, 1),
        ({"follows_from": ["b"]}, 99.0, 1),
        ({"known_miss": "no contention term"}, 99.0, 0),
        ({"known_miss": "no contention term"}, 8.1, 1),  # a miss that now reproduces
        ({"gate": False}, 99.0, 0),
        ({"gate": False, "known_miss": "live"}, 8.1, 0),
        ({"expect": "out_of_scope"}, 99.0, 0),
        ({"expect": "trend", "group": "g"}, -1.0, 1),
        ({"expect": "inconsistent", "contradicts": ["b"], "arithmetic": "c"}, 8.1, 1),
    ],
)
def test_the_exit_code(fields: dict[str, Any], model: float, code: int) -> None:
    assert card(claim("a", 8.1, **fields), model).exit_code == code


def test_a_known_miss_stays_off_and_in_the_denominator() -> None:
    missed = card(claim("a", 8.1, known_miss="why"), 99.0)
    assert missed.results[0].verdict == "off"
    assert (missed.headline.checks, missed.headline.reproduced) == (1, 0)


def test_the_dictionary_has_the_agreed_form() -> None:
    content = card(claim("a", 8.1, follows_from=["b"]), 8.0).to_dict()
    assert {"key", "title", "checks", "reproduced", "median_error", "worst_error"} <= content["papers"][0].keys()
    entry = content["claims"][0]
    fields = "id paper where published model unit kind role expect rtol rel_error verdict follows_from known_miss note"
    assert set(fields.split()) <= entry.keys()
    assert (entry["paper"], entry["published"], entry["model"], entry["verdict"]) == ("toy", 8.1, 8.0, "reproduced")
    assert entry["follows_from"] == ["b"]


def test_the_scorecard_reads_in_a_terminal_and_in_a_notebook() -> None:
    missed = card(claim("a<b", 8.1), 99.0)
    assert "unexpected: toy a<b: expected 'reproduces', got 'off'" in str(missed)
    assert "a&lt;b" in missed._repr_html_()
    assert "a<b" not in missed._repr_html_()


def test_the_scorecard_of_several_papers_says_whose_claim_is_off() -> None:
    one = card(claim("a", 8.1, known_miss="why"), 99.0)
    two = Scorecard({"toy": "t", "second": "s"}, (*one.results, replace(one.results[0], paper="second")))
    assert "<td>toy</td><td><code>a</code></td>" in two._repr_html_()
    assert "<td>second</td><td><code>a</code></td>" in two._repr_html_()
    assert "<tr><td><code>a</code></td>" in one._repr_html_()
