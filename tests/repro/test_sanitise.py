from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetcnn.repro.sanitise import VOID, sanitise

ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=http://x/y.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><circle r=1 /></svg>",
    "<svg><script>alert(1)</script></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' java\tscript:alert(1)'>x</a>",
    "<iframe src='http://x'></iframe>",
    "<object data='http://x'></object><embed src='http://x'>",
    "<link rel=stylesheet href='http://x'>",
    "<base href='http://x'>",
    "<meta http-equiv=refresh content='0;url=http://x'>",
    "<style>@import 'http://x';</style>",
    "<style>a{background:url(http://x)}</style>",
    "<div style='background:url(http://x/a.png)'>x</div>",
    "<div style='background:url(\"#a\");background:url(http://x)'>x</div>",
    "<form action='http://x'><input type=submit><button formaction=http://x>b</button></form>",
    "<video src='http://x' poster='http://x'></video>",
    "<img srcset='http://x 1x' src='data:image/png;base64,AA=='>",
    "<img src='data:text/html,<script>alert(1)</script>'>",
    "<svg><image href='http://x'/><use xlink:href='http://x#a'/></svg>",
    "<math><mtext><img src=http://x></mtext></math>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><script>alert(1)</script>'></noscript>",
    "<input type=image src=http://x>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<a href='data:text/html,x'>x</a>",
    "<p style='position:fixed;inset:0'>cover</p>",
]


class Audit(HTMLParser):
    """Notes what a browser would run or fetch, and whether tags balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()
        self.wrong += [f"open {tag}" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed", "link", "base", "meta", "form", "video", "audio", "image"}:
            self.wrong.append(tag)
        for name, value in attrs:
            text = re.sub(r"\s", "", value or "").lower()
            if name.startswith("on") or name in {"srcset", "action", "formaction", "poster", "background"}:
                self.wrong.append(name)
            if name == "src" and not text.startswith("data:image/"):
                self.wrong.append(f"src {text}")
            if name in {"href", "xlink:href"} and not re.match(r"#|https?:|mailto:", text):
                self.wrong.append(f"href {text}")
            if name in {"href", "xlink:href"} and tag != "a" and not text.startswith("#"):
                self.wrong.append(f"{tag} {text}")
            if name == "style" and re.search(r"url\((?!['\"]?#)|fixed", text):
                self.wrong.append(f"style {text}")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"end {tag}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style" and re.search(r"url\(|@import", data):
            self.wrong.append("style sheet")


@pytest.mark.parametrize("html", ATTACKS)
def test_attacks_come_out_harmless(html: str) -> None:
    assert not Audit(sanitise(f"<p>before</p>{html}<p>after", "p-")).wrong


@given(
    st.lists(st.sampled_from([*ATTACKS, "<b>", "</p>", "<p id=a>", "<", "&lt;script&gt;", '"', "<style>", "</svg>"]))
)
def test_no_mixture_of_them_does_harm(parts: list[str]) -> None:
    assert not Audit(sanitise("".join(parts), "p-")).wrong


@given(st.text(alphabet="<>/=\"' abisu!-&;#x0", max_size=60))
def test_no_text_does_harm(text: str) -> None:
    assert not Audit(sanitise(text, "p-")).wrong


@pytest.mark.parametrize(
    "html",
    [
        "<p>a <b>b</b> &amp; c</p>",
        '<table><tr><td colspan="2">x</td></tr></table>',
        '<math display="block"><mfrac><mi>a</mi><mi>b</mi></mfrac></math>',
        '<svg viewbox="0 0 1 1"><title>t</title><path d="M0 0"></path></svg>',
        '<img src="data:image/png;base64,AAAA" alt="x">',
        '<a href="https://doi.org/10.1">doi</a>',
        "<details><summary>s</summary>text</details>",
    ],
)
def test_what_is_harmless_stays(html: str) -> None:
    assert sanitise(html, "p-") == html


def test_ids_and_what_points_to_them_are_prefixed() -> None:
    html = '<label for="a">x</label><input type="checkbox" id="a"><a href="#a">up</a><g fill="url(#a)"></g>'
    assert sanitise(html, "n1-") == (
        '<label for="n1-a">x</label><input type="checkbox" id="n1-a"><a href="#n1-a">up</a><g fill="url(#n1-a)"></g>'
    )


def test_numbered_ids_do_not_depend_on_random_ones() -> None:
    first, second = (f'<i id="{x}-1"></i><b id="{x}-2"></b><a href="#{x}-1">up</a>' for x in ("8f3c", "77aa"))
    assert sanitise(first, "n-", number=True) == sanitise(second, "n-", number=True)
    assert sanitise(first, "n-", number=True) == '<i id="n-1"></i><b id="n-2"></b><a href="#n-1">up</a>'


def test_one_style_sheet_is_kept_once() -> None:
    styles: set[str] = set()
    sheet = "<style>.a{color:red}</style>"
    assert sanitise(sheet, "a-", styles=styles) == sheet
    assert sanitise(sheet, "b-", styles=styles) == ""


def test_links_to_neighbours_lead_into_the_page() -> None:
    links = {"04_pipeit_2019.ipynb": "nb-04"}
    html = '<a href="../notebooks/04_pipeit_2019.ipynb#x">Pipe-it</a>'
    assert sanitise(html, "p-", links=links) == '<a href="#nb-04">Pipe-it</a>'


def test_stray_and_missing_end_tags_are_mended() -> None:
    assert sanitise("</div><b>a<i>b</b>c", "p-") == "<b>a<i>b</i></b>c"
