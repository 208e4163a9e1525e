"""A small project made in a temporary folder: notebooks, a paper with claims, and its model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hetcnn.repro.batch import reproduce
from hetcnn.repro.source import Source

CLAIMS = """
[[claim]]
id = "rate"
where = "Table I"
published = 8.1
unit = "frames/s"
kind = "printed"
reading_error = 0.05
role = "check"
expect = "reproduces"

[[claim]]
id = "plan"
where = "Table II"
published = "B4-s4"
unit = ""
kind = "printed"
role = "check"
expect = "reproduces"

[[claim]]
id = "clock"
where = "Section II"
published = 2.36
unit = "GHz"
kind = "printed"
role = "calibration"
expect = "reproduces"
"""


class Project:
    """Notebooks in a folder and one paper, `toy`, whose model can be changed from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.claims = folder / "claims.toml"
        self.claims.write_text(CLAIMS)
        self.model = SimpleNamespace(
            TITLE="A toy paper",
            CLAIMS={"rate": lambda: 8.12, "plan": lambda: "B4-s4", "clock": lambda: 2.36},
            TABLES={},
        )
        self.source = Source(folder / "notebooks", ("toy",), lambda key: self.claims, lambda key: self.model)

    def notebook(self, name: str, *cells: dict[str, Any]) -> Path:
        """Add a notebook."""
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        numbered = [c | {"id": f"cell-{i}"} for i, c in enumerate(cells)]
        path = self.source.notebooks / f"{name}.ipynb"
        path.write_text(json.dumps({"cells": numbered, "metadata": spec, "nbformat": 4, "nbformat_minor": 5}))
        return path

    @staticmethod
    def code(source: str, *tags: str) -> dict[str, Any]:
        """A code cell."""
        metadata = {"tags": list(tags)} if tags else {}
        return {
            "cell_type": "code",
            "metadata": metadata,
            "source": source,
            "outputs": [],
            "execution_count": None,
        }

    @staticmethod
    def text(source: str) -> dict[str, Any]:
        """A Markdown cell."""
        return {"cell_type": "markdown", "metadata": {}, "source": source}

    def reproduce(self, *names: str, **options: Any) -> int:
        """Reproduce into `out` without saying anything."""
        said: list[str] = []
        code = reproduce(names, source=self.source, out=self.out, say=said.append, **options)
        self.said = "\n".join(said)
        return code

    def read(self, *parts: str) -> Any:
        """A JSON file of `out`."""
        return json.loads(self.out.joinpath(*parts).read_text())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "notebooks").mkdir()
    return Project(tmp_path)
