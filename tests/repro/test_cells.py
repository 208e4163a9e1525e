from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from hetcnn.repro.cells import Page, images, markdown, mathml, plain

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
SVG = '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>'
WIDGET = "application/vnd.jupyter.widget-view+json"


def page(tmp_path: Path, **fields: Any) -> Page:
    return Page("nb", tmp_path, **fields)


def shown(data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": {}}


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": list(outputs)}


def test_mathematics_becomes_mathml() -> None:
    html = markdown("Inline $x^2$ and\n\n$$T = \\sum_{i=1}^{n} \\max_t t_i$$\n\nand `$x$` and \\$5.")
    assert html.count("<math") == 2
    assert "<msup><mi>x</mi>" in html
    assert "<munderover>" in html  # a displayed sum has its limits above and below
    assert "<munder><mo>max</mo>" in html
    assert "<code>$x$</code>" in html
    assert "$5" in html


def test_mathematics_that_cannot_be_converted_is_shown_as_it_is() -> None:
    assert mathml(r"\frac{") == r"<code>\frac{</code>"


def test_tables_and_highlighted_code() -> None:
    html = markdown("| a | b |\n|---|--:|\n| 1 | 2 |\n\n```python\ndef f(): pass\n```")
    assert "<table>" in html
    assert 'class="k-k"' in html


def test_headings_are_collected_with_unique_ids(tmp_path: Path) -> None:
    one = page(tmp_path)
    html = one.markdown("# Title of $N$\n\n## Part\n\n## Part")
    assert [(level, name) for level, name, _ in one.headings] == [
        (2, "nb-title-of-n"),
        (3, "nb-part"),
        (3, "nb-part-2"),
    ]
    assert all(f'id="{name}"' in html for _, name, _ in one.headings)


def test_pictures_come_inline(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    html = page(tmp_path).markdown(
        "![x](a.png) ![y](https://example.org/b.png) ![z](attachment:c.png) ![w](no.png)", {"c.png": {"image/png": PNG}}
    )
    assert html.count('<img src="data:image/png;base64,') == 2
    assert '<a href="https://example.org/b.png">y</a>' in html
    assert "<em>w</em>" in html


def test_the_best_static_form_is_taken(tmp_path: Path) -> None:
    one = page(tmp_path)
    assert "<img" in one.output(shown({"text/plain": "<Figure>", "image/svg+xml": SVG}))
    assert one.output(shown({"text/plain": "a<b"})) == "<pre>a&lt;b</pre>"
    assert "<mfrac>" in one.output(shown({"text/latex": r"$\frac{a}{b}$"}))
    assert "<strong>" in one.output(shown({"text/markdown": "**a**"}))
    assert one.output(shown({"application/javascript": "alert(1)"})) == ""
    html = one.output(shown({"text/html": "<b onclick='x()'>h</b><script>y()</script>", "text/plain": "h"}))
    assert html == '<div class="rich"><b>h</b></div>'


def test_a_widget_is_shown_by_its_static_figure(tmp_path: Path) -> None:
    html = page(tmp_path).output(shown({WIDGET: {"model_id": "m"}, "image/png": PNG, "text/plain": "VBox()"}))
    assert "<img" in html
    assert "VBox" not in html
    assert "Interactive in the notebook" in html


def test_a_widget_without_a_figure_is_shown_by_its_saved_state(tmp_path: Path) -> None:
    state = {
        "box": {"state": {"_model_name": "VBoxModel", "children": ["IPY_MODEL_pic", "IPY_MODEL_out", "IPY_MODEL_box"]}},
        "pic": {
            "state": {"_model_name": "ImageModel", "format": "png"},
            "buffers": [{"path": ["value"], "data": PNG, "encoding": "base64"}],
        },
        "out": {"state": {"_model_name": "OutputModel", "outputs": [shown({"text/html": "<b>captured</b>"})]}},
    }
    notebook = {
        "cells": [code("explore()", shown({WIDGET: {"model_id": "box"}, "text/plain": "VBox()"}))],
        "metadata": {"widgets": {"application/vnd.jupyter.widget-state+json": {"state": state}}},
    }
    html = page(tmp_path).html(notebook)
    assert f"data:image/png;base64,{PNG}" in html
    assert "<b>captured</b>" in html


def test_a_cell_of_a_table_that_holds_a_sentence_is_marked(tmp_path: Path) -> None:
    sentence = "a sentence that is far too long for one line of a table"
    html = page(tmp_path).output(shown({"text/html": f"<table><tr><td>1.5</td><td>{sentence}</td></tr></table>"}))
    assert f'<td>1.5</td><td class="long">{sentence}</td>' in html


def test_columns_of_sentences_are_marked_whole_with_their_heads(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x": [1.5, 2.5], "why": ["word " * 9 + "x", "short"]})
    html = page(tmp_path).output(shown({"text/html": table.to_html()}))
    assert '<th class="long">why</th>' in html
    assert html.count('<td class="long">') == 2
    assert "<td>1.5</td>" in html
    plain = page(tmp_path).output(shown({"text/html": table[["x"]].to_html()}))
    assert "long" not in plain


def test_streams_are_joined_and_plain() -> None:
    assert plain("\x1b[31mred\x1b[0m\n 10%\r100%\n") == "red\n100%\n"


def test_an_error_is_one_line_with_its_traceback_folded(tmp_path: Path) -> None:
    error = {"output_type": "error", "ename": "ValueError", "evalue": "a < b", "traceback": ["\x1b[0;31mline\x1b[0m"]}
    html = page(tmp_path).cell(code("f()", error))
    assert "<summary><b>ValueError</b>: a &lt; b</summary>" in html
    assert "<pre>line</pre>" in html


def test_ids_of_two_outputs_differ(tmp_path: Path) -> None:
    output = shown({"text/html": '<i id="x"></i>'})
    html = page(tmp_path).cell(code("a", output, output))
    assert 'id="nb-o1-1"' in html
    assert 'id="nb-o2-1"' in html


@pytest.mark.parametrize(("tag", "mark"), [("parameters", "parameters"), ("injected-parameters", "given by --set")])
def test_parameters_are_marked(tmp_path: Path, tag: str, mark: str) -> None:
    assert mark in page(tmp_path).cell({**code("a: int = 1"), "metadata": {"tags": [tag]}})


def test_images_of_a_cell() -> None:
    cell = code("x", shown({"image/png": PNG, "image/svg+xml": [SVG]}), shown({"image/png": PNG}), shown({"a/b": "c"}))
    assert [(suffix, content[:4]) for suffix, content in images(cell)] == [("svg", b"<?xm"), ("png", b"\x89PNG")]
