from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hetcnn.repro import charts, report
from hetcnn.repro.claims import Claim
from hetcnn.repro.runner import Failure, Outcome
from hetcnn.repro.scorecard import Scorecard, evaluate

NOTEBOOK: dict[str, Any] = {
    "metadata": {},
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": "# Toy *paper*\n\n[other](01_b.ipynb), $x^2$"},
        {"cell_type": "markdown", "metadata": {}, "source": "## Table I"},
        {
            "cell_type": "code",
            "metadata": {},
            "source": "show('<script>')",
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "<script>alert(1)</script>"},
                {
                    "output_type": "display_data",
                    "data": {"text/html": "<script>alert(2)</script><img src='http://x/y.png'><i id='a'></i>"},
                },
                {"output_type": "display_data", "data": {"image/svg+xml": "<svg onload='alert(3)'></svg>"}},
            ],
        },
    ],
}


def claim(name: str, published: Any, **fields: Any) -> Claim:
    base = {"where": "Table I, p. 3", "unit": "frames/s", "kind": "printed", "role": "check", "expect": "reproduces"}
    return Claim(**{**base, "id": name, "published": published, **fields})


@pytest.fixture(scope="module")
def html() -> str:
    claims = [
        claim("good", 8.1, reading_error=0.05),
        claim("bad<1>", 8.1),
        claim("missed", 8.1, known_miss="no contention term"),
        claim("word", "B4-s4"),
        claim("span", [0.6, 0.9], where="Fig. 8"),
        claim("odd", 3, expect="inconsistent", contradicts=["good"], arithmetic="1 + 1 = 2"),
        claim("later", 3, expect="out_of_scope"),
    ]
    models = {"good": 8.1, "bad<1>": 80.0, "missed": 80.0, "word": "B4-s4", "span": 0.7, "odd": 2}
    results = evaluate(claims, {k: (lambda v=v: v) for k, v in models.items()}, "toy")
    card = Scorecard({"toy": "A toy paper & more"}, results).to_dict()
    failure = Failure("01_b", "Part <2>", 4, "ValueError: a<b", None)
    good, bad = Outcome("04_toy_2019", "ok", 1.0, None, ""), Outcome("01_b", "failed", 1.0, None, "", failure)
    books = [(good, "toy"), (bad, None)]
    return report.render(card, books, {"04_toy_2019": NOTEBOOK}, Path())


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_it_runs_no_script_and_loads_nothing(html: str) -> None:
    page = Page(html)
    assert not {"script", "iframe", "link", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert (attrs.get("src") or "data:image/").startswith("data:image/")
        assert tag == "a" or not (attrs.get("href") or "").startswith("http")
        assert not {"srcset", "poster", "action", "background"} & attrs.keys()
    assert not re.search(r"url\(\s*['\"]?(?!['\"]?#)", re.sub(r"data:image[^\"]*", "", html))
    assert "@import" not in html
    policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy


def test_ids_are_unique_and_every_anchor_has_one(html: str) -> None:
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    anchors = {str(attrs.get("href"))[1:] for tag, attrs in page.tags if tag == "a" and str(attrs["href"])[0] == "#"}
    assert anchors <= set(ids)
    assert "nb-01-b" in anchors


def test_what_is_off_comes_first(html: str) -> None:
    places = [html.index(f'id="{name}"') for name in ("misses", "headline", "paper-toy", "nb-04-toy-2019")]
    assert places == sorted(places)
    misses = html[places[0] : places[1]]
    assert misses.index("A notebook failed.") < misses.index("1 unexpected:") < misses.index("no contention term")
    assert "Part &lt;2&gt;" in misses
    assert "<code>good</code>" not in misses


def test_every_claim_is_in_its_papers_table(html: str) -> None:
    claims = html[html.index('id="paper-toy"') :]
    for text in ("good", "bad&lt;1&gt;", "missed", "word", "span", "odd", "later", "1 + 1 = 2", "0.6 – 0.9", "± 0.05"):
        assert text in claims
    for verdict in ("exact", "off", "reproduced", "inconsistent", "out of scope"):
        assert f">{verdict}</span>" in claims
    assert "A toy paper &amp; more" in claims


def test_the_headline_stands_above_what_is_off(html: str) -> None:
    top = html[html.index("<main>") : html.index('id="misses"')]
    assert "3 of 5 checks reproduced, median error " in top


def test_what_is_off_names_its_paper(html: str) -> None:
    misses = html[html.index('id="misses"') : html.index('id="headline"')]
    assert misses.count('<td><a href="#paper-toy">toy</a></td>') == misses.count('<td class="id">') == 2


def test_units_stand_once_in_a_column_and_never_after_words(html: str) -> None:
    rows = re.findall(r'<tr id="claim-toy-(.*?)">(.*?)</tr>', html, re.S)
    cells = {
        name: [re.sub(r"<.*?>", "", c).strip() for c in re.findall(r"<td.*?</td>", row, re.S)] for name, row in rows
    }
    assert cells["good"][2:5] == ["8.1 ± 0.05", "8.10", "frames/s"]
    assert cells["word"][2:5] == ["B4-s4", "B4-s4", ""]


def test_a_bar_of_verdicts_holds_numbers_and_its_key_the_words() -> None:
    bar, _, key = charts.verdict_bar({"exact": 90, "off": 1}).partition("</div>")
    assert re.findall(r">(\w+)</span>", bar) == ["90", "1"]
    assert re.findall(r">([\w ]+)</span>", key) == ["90 exact", "1 off"]


def test_nothing_in_a_notebook_reaches_the_page_as_markup(html: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "alert(2)" not in html
    assert "<svg onload" not in html  # the figure is inside a data address, where no script runs
    assert '<a href="http://x/y.png">' in html


def test_the_headline_is_in_words_and_numbers(html: str) -> None:
    headline = html[html.index('id="headline"') : html.index('id="paper-toy"')]
    assert "<b>3 of 5</b>" in headline  # good, word, span of the five that count
    assert "contradictions in the paper" in headline


def test_a_report_without_claims_or_notebooks_is_a_page() -> None:
    card = Scorecard({"toy": "t"}, ()).to_dict()
    assert "No check is off." in report.render(card, [], {}, Path())
