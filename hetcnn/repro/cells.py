"""Executed notebook cells as HTML: Markdown with MathML, highlighted code, static outputs."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from hetcnn.repro.sanitise import sanitise

__all__ = ["Page", "highlight", "images", "join", "markdown", "mathml", "plain", "slug"]

IMAGES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif")
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
ESCAPES = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


def join(source: Any) -> str:
    """Return a multi-line field of a notebook as one string."""
    return "".join(source) if isinstance(source, list) else str(source)


def slug(text: str) -> str:
    """Return a heading as part of an id or a file name.

    >>> slug("Figure 8: two stages, B4-s4")
    'figure-8-two-stages-b4-s4'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "part"


def plain(text: str) -> str:
    """Return text without terminal escapes, and with only the last state of a line that was redrawn."""
    return re.sub(r"[^\n]*\r(?!\n)", "", ESCAPES.sub("", text))


def mathml(latex: str, display: bool = False) -> str:
    """Return LaTeX as MathML; LaTeX that cannot be converted is shown as it is.

    >>> "<mfrac>" in mathml(r"\\frac{1}{2}")
    True
    """
    from latex2mathml.converter import convert

    try:
        converted = str(convert(latex.strip(), display="block" if display else "inline"))
    except Exception:
        return f"<code>{escape(latex)}</code>"
    return _limits_below(converted) if display else converted


def _limits_below(math: str) -> str:
    """Set the limits of sums and maxima under and over the sign, as display mathematics has them."""
    ElementTree.register_namespace("", MATHML)
    root = ElementTree.fromstring(math)
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag in UNDER and len(element) and (element[0].text or "") in LARGE:
            element.tag = f"{{{MATHML}}}{UNDER[tag]}"
    return ElementTree.tostring(root, encoding="unicode")


MATHML = "http://www.w3.org/1998/Math/MathML"
UNDER = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
LARGE = frozenset({"∑", "∏", "⋃", "⋂", "max", "min", "lim", "sup", "inf", "argmax", "argmin"})


@cache
def _highlighter() -> tuple[Any, Any, Any]:
    from pygments import highlight as colour  # type: ignore[import-untyped, unused-ignore]
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped, unused-ignore]
    from pygments.lexers import PythonLexer  # type: ignore[import-untyped, unused-ignore]

    return colour, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True, classprefix="k-")


def highlight(code: str) -> str:
    """Return Python source as HTML with classes."""
    colour, lexer, formatter = _highlighter()
    return str(colour(code, lexer, formatter)).rstrip("\n")


def markdown(source: str) -> str:
    """Return Markdown as HTML, not yet sanitised: tables, MathML, headings two levels down."""
    return str(_markdown()(source))


@cache
def _markdown() -> Any:
    import mistune

    class Renderer(mistune.HTMLRenderer):
        def heading(self, text: str, level: int, **attrs: Any) -> str:  # noqa: ARG002
            name = slug(re.sub(r"<[^>]*>", "", text))
            return f'<h{min(level + 1, 6)} id="{name}">{text}</h{min(level + 1, 6)}>\n'

        def safe_url(self, url: str) -> str:
            return escape(self.sanitize_url(url))

        def sanitize_url(self, url: str) -> str:
            return url  # sanitise() decides: it knows attachments and pictures beside the notebook

        def block_code(self, code: str, info: str | None = None) -> str:
            body = highlight(code) if (info or "").startswith("py") else escape(code)
            return f"<pre><code>{body}</code></pre>\n"

        def inline_math(self, text: str) -> str:
            return mathml(text)

        def block_math(self, text: str) -> str:
            return f'<div class="equation">{mathml(text, display=True)}</div>\n'

    renderer = Renderer(escape=False)
    return mistune.create_markdown(renderer=renderer, plugins=["table", "strikethrough", "footnotes", "math"])


def images(cell: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures that a cell shows, as suffix and content: of each output the first kind of `IMAGES`."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        for kind in IMAGES:
            if kind in data:
                yield _image(kind, data[kind])
                break


def _image(kind: str, content: Any) -> tuple[str, bytes]:
    if kind == "image/svg+xml":
        return "svg", join(content).encode()
    return kind.partition("/")[2].replace("jpeg", "jpg"), b64decode(join(content))


@dataclass
class Page:
    """One notebook as HTML: `name` prefixes its ids, `folder` is where its pictures are, `links` its neighbours.

    `styles` is shared between the notebooks of a report: a style sheet that several outputs bring is kept once.
    """

    name: str
    folder: Path
    links: Mapping[str, str] = field(default_factory=dict)
    styles: set[str] = field(default_factory=set)
    widgets: Mapping[str, Any] = field(default_factory=dict)
    headings: list[tuple[int, str, str]] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    part: int = 0

    def html(self, notebook: Mapping[str, Any]) -> str:
        """Return the whole notebook; fills `headings` with level, id and text on the way."""
        self.widgets = notebook.get("metadata", {}).get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
        return "\n".join(self.cell(cell) for cell in notebook["cells"])

    def cell(self, cell: Mapping[str, Any]) -> str:
        """Return one cell."""
        tags = cell.get("metadata", {}).get("tags", [])
        source = join(cell["source"])
        if "papermill-error-cell-tag" in tags:
            return ""
        if cell["cell_type"] == "markdown":
            return f'<div class="text">{self.markdown(source, cell.get("attachments", {}))}</div>'
        if cell["cell_type"] != "code" or not source.strip():
            return ""
        label = {"parameters": "parameters", "injected-parameters": "given by --set"}
        name = next((label[tag] for tag in tags if tag in label), "")
        mark = f'<span class="mark">{name}</span>' if name else ""
        outputs = "".join(self.output(output) for output in _merged(cell.get("outputs", [])))
        code = f'<div class="code">{mark}<pre><code>{highlight(source)}</code></pre></div>'
        return f'<div class="cell">{code}{f"<div class=outputs>{outputs}</div>" if outputs else ""}</div>'

    def markdown(self, source: str, attachments: Mapping[str, Any] | None = None) -> str:
        """Return a Markdown cell, sanitised, with its pictures inline and its headings noted."""
        html = re.sub(r'<h(\d) id="([^"]*)">(.*?)</h\1>', self._heading, markdown(source), flags=re.S)
        return sanitise(
            html,
            f"{self.name}-",
            styles=self.styles,
            links=self.links,
            picture=lambda source: self._picture(source, attachments or {}),
        )

    def _heading(self, match: re.Match[str]) -> str:
        level, text = int(match[1]), unescape(re.sub(r"<[^>]*>", "", match[3]))
        self.seen[match[2]] = self.seen.get(match[2], 0) + 1
        name = match[2] if self.seen[match[2]] == 1 else f"{match[2]}-{self.seen[match[2]]}"
        self.headings.append((level, f"{self.name}-{name}", text))
        return f'<h{level} id="{name}">{match[3]}</h{level}>'

    def _picture(self, source: str, attachments: Mapping[str, Any]) -> str:
        """A picture as a data address: an attachment, or a file beside the notebook."""
        if source.startswith("attachment:"):
            for kind, content in attachments.get(source.removeprefix("attachment:"), {}).items():
                return _address(*_image(kind, content))
        elif not re.match(r"[a-z]+:", source, re.I):
            file = (self.folder / unquote(source)).resolve()
            kind = {".svg": "svg", ".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".gif": "gif"}.get(file.suffix.lower())
            if kind and file.is_file():
                return _address(kind, file.read_bytes())
        return source

    def output(self, output: Mapping[str, Any]) -> str:
        """Return one output of a code cell."""
        kind = output["output_type"]
        if kind == "stream":
            text = plain(join(output["text"]))
            return f'<pre class="{output.get("name", "stdout")}">{escape(text)}</pre>' if text.strip() else ""
        if kind == "error":
            trace = plain("\n".join(output.get("traceback", [])))
            head = f"<b>{escape(output['ename'])}</b>: {escape(plain(output['evalue']))}"
            return f'<details class="error"><summary>{head}</summary><pre>{escape(trace)}</pre></details>'
        return self._rich(output.get("data", {}))

    def _rich(self, data: Mapping[str, Any]) -> str:
        """The best static form of a rich output."""
        if WIDGET in data and not set(data) & {*IMAGES, "text/html"}:
            static = "".join(self._widget(data[WIDGET].get("model_id", ""), set()))
            return f'<div class="widget">{static}<p class="hint">{INTERACTIVE}</p></div>'
        hint = f'<p class="hint">{INTERACTIVE}</p>' if WIDGET in data else ""
        if hint:
            data = {kind: content for kind, content in data.items() if kind in IMAGES} or data
        return self._best(data) + hint

    def _best(self, data: Mapping[str, Any]) -> str:
        if "text/html" in data:
            self.part += 1
            prefix = f"{self.name}-o{self.part}-"
            clean = sanitise(join(data["text/html"]), prefix, styles=self.styles, links=self.links, number=True)
            return f'<div class="rich">{_TABLE.sub(_mark_sentences, clean)}</div>'
        for kind in IMAGES:
            if kind in data:
                return self._figure(*_image(kind, data[kind]))
        if "text/markdown" in data:
            return f'<div class="text">{self.markdown(join(data["text/markdown"]))}</div>'
        if "text/latex" in data:
            return f'<div class="equation">{mathml(join(data["text/latex"]).strip("$ "), display=True)}</div>'
        return f"<pre>{escape(plain(join(data['text/plain'])))}</pre>" if "text/plain" in data else ""

    def _figure(self, suffix: str, content: bytes) -> str:
        alt = f"Figure: {self.headings[-1][2]}" if self.headings else "Figure"
        return f'<figure><img src="{_address(suffix, content)}" alt="{escape(alt)}"></figure>'

    def _widget(self, model: str, visited: set[str]) -> Iterator[str]:
        """What a widget's saved state shows: its pictures, HTML and captured outputs, children in order."""
        state = self.widgets.get(model, {}).get("state", {})
        if model in visited or not state:
            return
        visited.add(model)
        kind = state.get("_model_name", "")
        if kind == "ImageModel":
            yield from (self._figure(state.get("format", "png"), b64decode(b["data"])) for b in self._buffers(model))
        elif kind == "OutputModel":
            yield from (self.output(output) for output in state.get("outputs", []))
        elif kind == "HTMLModel":
            yield self._best({"text/html": state.get("value", "")})
        for child in state.get("children", []):
            yield from self._widget(str(child).removeprefix("IPY_MODEL_"), visited)

    def _buffers(self, model: str) -> Sequence[Mapping[str, Any]]:
        return [b for b in self.widgets.get(model, {}).get("buffers", []) if b.get("path") == ["value"]]


_TABLE = re.compile(r"<table\b.*?</table>", re.S)
_ROW = re.compile(r"<tr\b.*?</tr>", re.S)
_SENTENCE = 41


def _mark_sentences(table: re.Match[str]) -> str:
    """Mark a table's columns that hold a sentence, which are set in lines: their cells, and their heads."""
    rows = [re.findall(r"<td>(.*?)</td>", row, re.S) for row in _ROW.findall(table[0])]
    width = max(map(len, rows), default=0)
    long = {j for row in rows for j, text in enumerate(row) if len(text) >= _SENTENCE and "<" not in text}

    def mark(row: re.Match[str]) -> str:
        kind = "td" if "<td>" in row[0] else "th"
        first = 0 if kind == "td" else row[0].count("<th>") - width
        if not long or first < 0:
            return row[0]
        places = iter(range(-first, width))
        return re.sub(f"<{kind}>", lambda m: f'<{kind} class="long">' if next(places, -1) in long else m[0], row[0])

    return _ROW.sub(mark, table[0])


INTERACTIVE = "Interactive in the notebook; shown here as it stands when the notebook opens."


def _merged(outputs: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Join neighbouring pieces of one stream."""
    held: dict[str, Any] | None = None
    for output in outputs:
        if output["output_type"] == "stream" and held and held["name"] == output["name"]:
            held["text"] += join(output["text"])
            continue
        if held:
            yield held
        held = {**output, "text": join(output["text"])} if output["output_type"] == "stream" else None
        if not held:
            yield output
    if held:
        yield held


def _address(suffix: str, content: bytes) -> str:
    if suffix == "svg":
        text = content.decode()
        return "data:image/svg+xml," + quote(text[max(text.find("<svg"), 0) :], safe=" =:/'(),.;-_~!*@+")
    kind = {"jpg": "jpeg"}.get(suffix, suffix)
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
