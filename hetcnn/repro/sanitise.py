"""Make HTML from notebooks safe for the report: no scripts, no requests, unique ids, balanced tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from html.parser import HTMLParser

__all__ = ["sanitise"]

_TAGS = """
    a abbr b bdi bdo blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure
    h1 h2 h3 h4 h5 h6 hr i img input ins kbd label li mark ol p pre q s samp section small span strong style sub summary
    sup table tbody td tfoot th thead tr u ul var wbr progress meter
    svg g path rect circle ellipse line polyline polygon text tspan defs use symbol title desc marker clippath mask
    lineargradient radialgradient stop pattern
    math semantics mrow mi mn mo mtext mspace ms mfrac msqrt mroot mstyle merror mpadded mphantom msub msup msubsup
    munder mover munderover mmultiscripts mtable mtr mtd mlabeledtr menclose annotation"""
TAGS = frozenset(_TAGS.split())
"""Everything else loses its tag and keeps its text."""

SILENT = frozenset({"script", "iframe", "object", "embed", "noscript", "template", "title", "annotation-xml", "head"})
"""Elements that go with all they contain, unless an SVG's title."""

VOID = frozenset({"br", "col", "hr", "img", "input", "wbr"})

_ATTRIBUTES = """
    abbr align alt aria-hidden aria-label aria-labelledby axis checked class colspan
    cx cy d dir disabled display dominant-baseline dx dy fill fill-opacity fill-rule font-family font-size font-style
    font-weight for form fx fy gradienttransform gradientunits headers height high id lang linethickness low lquote
    marker-end marker-mid marker-start markerheight markerunits markerwidth mathvariant max maxsize min minsize
    movablelimits notation offset opacity open optimum orient overflow pathlength patterntransform patternunits points
    preserveaspectratio r refx refy reversed role rotate rowalign columnalign rowspan rspace lspace rx ry scope
    separator span start stop-color stop-opacity stretchy stroke stroke-dasharray stroke-dashoffset stroke-linecap
    stroke-linejoin stroke-miterlimit stroke-opacity stroke-width style symmetric text-anchor textlength title
    transform type valign value vector-effect viewbox width x x1 x2 xml:space y y1 y2 accent accentunder fence
    largeop prefix columnspacing rowspacing columnlines rowlines frame"""
ATTRIBUTES = frozenset(_ATTRIBUTES.split())

UNSAFE_STYLE = re.compile(r"url\s*\(|expression\s*\(|@import|javascript:|behavior\s*:|position\s*:\s*fixed", re.I)
LOCAL_URL = re.compile(r"url\(\s*['\"]?#([^'\")]*)['\"]?\s*\)")
DATA_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]", re.I)
LINK = re.compile(r"(https?:|mailto:)", re.I)


def sanitise(
    html: str,
    prefix: str,
    *,
    styles: set[str] | None = None,
    links: Mapping[str, str] | None = None,
    picture: Callable[[str], str] = str,
    number: bool = False,
) -> str:
    """Return `html` with only harmless tags and attributes, its ids prefixed, and every tag closed.

    With `number`, ids are replaced by prefix and number, so that random ones do not make two reports differ.
    A style sheet already in `styles` is left out, and a new one added to it. `links` maps the name of a file to the id
    that a link to it leads to, `picture` the source of an image to its data address; an image that is still not inline
    becomes a link.

    >>> sanitise('<b onclick="x()">bold<script>x()</script>', "p-")
    '<b>bold</b>'
    >>> sanitise('<img src="https://example.org/a.png" alt="a">', "p-")
    '<a href="https://example.org/a.png">a</a>'
    """
    cleaner = _Cleaner(prefix, styles if styles is not None else set(), links or {}, picture, number)
    cleaner.feed(html)
    cleaner.close()
    return cleaner.result()


class _Cleaner(HTMLParser):
    def __init__(
        self, prefix: str, styles: set[str], links: Mapping[str, str], picture: Callable[[str], str], number: bool
    ) -> None:
        super().__init__(convert_charrefs=True)
        self.prefix = prefix
        self.styles = styles
        self.links = links
        self.picture = picture
        self.numbers: dict[str, str] | None = {} if number else None
        self.out: list[str] = []
        self.open: list[str] = []
        self.skipping: list[str] = []
        self.style: list[str] | None = None

    def result(self) -> str:
        """The clean HTML, with what is still open closed."""
        while self.open:
            self.out.append(f"</{self.open.pop()}>")
        return "".join(self.out)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if self.skipping or self._is_silent(tag):
            if tag not in VOID:
                self.skipping.append(tag)
        elif tag == "style":
            self.style = []
        elif tag == "img":
            self.out.append(self._image(dict(attrs)))
        elif tag in TAGS:
            self.out.append(f"<{tag}{self._attributes(tag, attrs)}>")
            if tag not in VOID:
                self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if not self.skipping and not self._is_silent(tag):
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

    def _is_silent(self, tag: str) -> bool:
        return tag in SILENT and not (tag == "title" and "svg" in self.open)

    def handle_endtag(self, tag: str) -> None:
        if self.skipping:
            if tag in self.skipping:
                while self.skipping.pop() != tag:
                    pass
        elif tag == "style" and self.style is not None:
            self._end_style()
        elif tag in self.open:
            while (last := self.open.pop()) != tag:
                self.out.append(f"</{last}>")
            self.out.append(f"</{tag}>")

    def _end_style(self) -> None:
        sheet = "".join(self.style or [])
        self.style = None
        if sheet not in self.styles and not UNSAFE_STYLE.search(sheet) and "<" not in sheet:
            self.styles.add(sheet)
            self.out.append(f"<style>{sheet}</style>")

    def handle_data(self, data: str) -> None:
        if self.style is not None:
            self.style.append(data)
        elif not self.skipping:
            self.out.append(escape(data, quote=False))

    def _image(self, attrs: dict[str, str | None]) -> str:
        source, alt = self.picture(attrs.get("src") or ""), attrs.get("alt") or ""
        if DATA_IMAGE.match(source):
            shape = {k: v for k, v in attrs.items() if k in ("width", "height", "style", "class", "title", "id")}
            return f'<img src="{escape(source)}" alt="{escape(alt)}"{self._attributes("img", list(shape.items()))}>'
        if LINK.match(source):
            return f'<a href="{escape(source)}">{escape(alt or source)}</a>'
        return f"<em>{escape(alt or source)}</em>"

    def _attributes(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> str:
        kept: dict[str, str] = {}
        for name, raw in attrs:
            text = self._attribute(tag, name, raw or "")
            if text is not None and name not in kept:
                kept[name] = f' {name}="{escape(text)}"'
        return "".join(kept.values())

    def _name(self, own: str) -> str:
        """An id of the fragment as an id of the page."""
        if self.numbers is None:
            return self.prefix + own
        return self.prefix + self.numbers.setdefault(own, str(len(self.numbers) + 1))

    def _attribute(self, tag: str, name: str, text: str) -> str | None:
        """The attribute's safe value, or None to leave it out."""
        if name in ("href", "xlink:href"):
            if text.startswith("#"):
                return f"#{self._name(text[1:])}" if len(text) > 1 else "#"
            file = text.partition("#")[0].rpartition("/")[2]
            if tag == "a" and file in self.links and not LINK.match(text):
                return f"#{self.links[file]}"
            return text if tag == "a" and LINK.match(text) else None
        if name == "type":
            return text if tag in ("ol", "ul", "li") or (tag == "input" and text in ("checkbox", "radio")) else None
        if name not in ATTRIBUTES:
            return None
        if name in ("id", "for"):
            return self._name(text)
        if name in ("fill", "stroke", "style") or name.startswith("marker-"):
            inside = LOCAL_URL.sub(lambda match: f"url(#{self._name(match[1])})", text)
            return None if UNSAFE_STYLE.search(LOCAL_URL.sub("", inside)) else inside
        return text
