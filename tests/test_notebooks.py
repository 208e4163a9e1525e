"""The rules of the notebooks, one test over all of them; and the proof that each rule can be broken."""

from __future__ import annotations

import ast
import json
import math
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from hetcnn import data, papers
from hetcnn.errors import HetcnnError
from hetcnn.repro import parameters
from hetcnn.repro.source import Source

FOLDER = data.notebooks_folder()
NOTEBOOKS = sorted(FOLDER.rglob("*.ipynb"))
MEDIAN_LINES, P90_LINES, DEF_LINES, CODE_IN_A_ROW = 3, 10, 10, 3

INSTALL = re.compile(r"\b(pip|pip3|conda|mamba|uv|apt|apt-get|brew)\b.{0,20}\b(install|add|sync)\b")
ABSOLUTE = re.compile(r"""["'(\s](/(home|Users|root|tmp|work|mnt|opt|usr|etc|var|content)\b|~/|[A-Za-z]:\\)""")
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)]*)?\)")

Cell = dict[str, Any]


def problems(notebook: dict[str, Any], folder: Path = FOLDER) -> list[str]:
    """Every rule that a notebook breaks."""
    cells = notebook["cells"]
    found = [*_metadata(notebook), *_order(cells), *_sizes(cells), *_links(cells, folder)]
    for number, cell in enumerate(cells, 1):
        found += [f"cell {number}: {problem}" for problem in _cell(cell)]
    return found


def _code(cells: list[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


def _metadata(notebook: dict[str, Any]) -> Iterator[str]:
    metadata = notebook["metadata"]
    if metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernelspec is not python3"
    if extra := set(metadata) - {"kernelspec", "language_info"}:
        yield f"metadata left: {', '.join(sorted(extra))}"
    for number, cell in enumerate(notebook["cells"], 1):
        if extra := set(cell["metadata"]) - {"tags"}:
            yield f"cell {number}: metadata left: {', '.join(sorted(extra))}"
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield f"cell {number}: outputs or execution count left"


def _order(cells: list[Cell]) -> Iterator[str]:
    if not cells or cells[0]["cell_type"] != "markdown" or not cells[0]["source"].startswith("# "):
        yield "it does not begin with a Markdown title"
    tagged = [cell for cell in _code(cells) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1 or tagged[0] is not _code(cells)[0]:
        yield "the cell tagged parameters is not the first code cell, or not the only one"
    try:
        parameters.declared(cells)
    except HetcnnError as error:
        yield str(error)
    kinds = "".join("c" if cell["cell_type"] == "code" else "m" for cell in cells)
    if "c" * (CODE_IN_A_ROW + 1) in kinds:
        yield f"more than {CODE_IN_A_ROW} code cells in a row without a word between them"


def _lines(cell: Cell) -> int:
    return sum(bool(line.strip()) for line in cell["source"].splitlines())


def _sizes(cells: list[Cell]) -> Iterator[str]:
    sizes = sorted(_lines(cell) for cell in _code(cells))
    if not sizes:
        return
    if statistics.median(sizes) > MEDIAN_LINES:
        yield f"the median code cell has {statistics.median(sizes)} lines, at most {MEDIAN_LINES}"
    if sizes[math.ceil(0.9 * len(sizes)) - 1] > P90_LINES:
        yield f"a tenth of the code cells have more than {P90_LINES} lines"


def _links(cells: list[Cell], folder: Path) -> Iterator[str]:
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] == "markdown":
            for target, _ in LINK.findall(cell["source"]):
                if not (folder / target).exists():
                    yield f"cell {number}: links to {target}, which does not exist"


def _cell(cell: Cell) -> Iterator[str]:
    source = cell["source"]
    if ABSOLUTE.search(f" {source}"):
        yield "an absolute path"
    if cell["cell_type"] != "code":
        return
    if INSTALL.search(source):
        yield "an install command"
    if not source.strip():
        yield "empty"
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError as error:
        yield f"does not parse: {error.msg}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            if (length := node.end_lineno - node.lineno + 1) > DEF_LINES:
                yield f"def {node.name} has {length} lines, at most {DEF_LINES}"
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield "a star import"


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {**notebook, "cells": parameters.read_cells(path)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_rules(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]
    assert not problems(read(path), path.parent)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cell_ids_are_unique(path: Path) -> None:
    ids = [cell["id"] for cell in json.loads(path.read_text())["cells"]]
    assert len(ids) == len(set(ids))


def test_every_paper_has_one_notebook_and_there_is_a_start() -> None:
    source = Source.shipped()
    named = [source.paper_of(path.stem) for path in NOTEBOOKS if path.parent == FOLDER]
    assert sorted(key for key in named if key) == sorted(papers.KEYS)
    assert (FOLDER / "00_start_here.ipynb").exists()
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in NOTEBOOKS if path.parent == FOLDER)


def markdown(source: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(source: str, **metadata: Any) -> Cell:
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None}


def good(*extra: Cell, **metadata: Any) -> dict[str, Any]:
    cells = [
        markdown("# Title"),
        code("cores: int = 4  # how many", tags=["parameters"]),
        markdown("Why"),
        code("import hetcnn"),
        markdown("What"),
        code("hetcnn.zoo.load('lenet-5')"),
        *extra,
    ]
    return {"cells": cells, "metadata": {"kernelspec": {"name": "python3"}, **metadata}}


def test_a_good_notebook_has_no_problems(tmp_path: Path) -> None:
    assert problems(good(), tmp_path) == []
    assert (
        problems(good(code("%matplotlib inline\n!echo a"), markdown("[a](https://x.org/y), 3/4 and a/b")), tmp_path)
        == []
    )


LONG = "def f():\n" + "    x = 1\n" * 10


@pytest.mark.parametrize(
    ("notebook", "message"),
    [
        (good(code("from numpy import *")), "cell 7: a star import"),
        (good(code("!pip install numpy")), "cell 7: an install command"),
        (good(code("%conda install -y numpy")), "cell 7: an install command"),
        (good(code("open('/home/me/a.onnx')")), "cell 7: an absolute path"),
        (good(code('open("C:\\\\a.onnx")')), "cell 7: an absolute path"),
        (good(code("open('~/a.onnx')")), "cell 7: an absolute path"),
        (good(markdown("see /home/me")), "cell 7: an absolute path"),
        (good(code(LONG)), "cell 7: def f has 11 lines, at most 10"),
        (good(code("x = (")), "cell 7: does not parse: '(' was never closed"),
        (good(code("")), "cell 7: empty"),
        (good(code("1", collapsed=True)), "cell 7: metadata left: collapsed"),
        (good({**code("1"), "outputs": [{}]}), "cell 7: outputs or execution count left"),
        (good({**code("1"), "execution_count": 3}), "cell 7: outputs or execution count left"),
        (good(widgets={}), "metadata left: widgets"),
        (good(kernelspec={"name": "conda"}), "the kernelspec is not python3"),
        (good(code("a: int = 1", tags=["parameters"])), "the cell tagged parameters is not the first code cell"),
        (good(code("1"), code("2"), code("3")), "more than 3 code cells in a row"),
        (good(code("1\n" * 11)), "a tenth of the code cells have more than 10 lines"),
        (good(*[code("1\n2\n3\n4"), markdown("x")] * 5), "the median code cell has 4"),
        (
            good(markdown("[next](07_design_space.ipynb)")),
            "cell 7: links to 07_design_space.ipynb, which does not exist",
        ),
        (
            {"cells": [code("1")], "metadata": {"kernelspec": {"name": "python3"}}},
            "it does not begin with a Markdown title",
        ),
        (
            {
                "cells": [markdown("# T"), code("cores = 4", tags=["parameters"])],
                "metadata": {"kernelspec": {"name": "python3"}},
            },
            "notebook: parameters cell, line 1: expected 'name: type = literal  # help'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_rule_is_found(tmp_path: Path, notebook: dict[str, Any], message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(notebook, tmp_path)), problems(notebook, tmp_path)
