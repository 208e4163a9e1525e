"""The figures of executed notebooks as files of their own, named after notebook, place and section."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hetcnn.repro import files
from hetcnn.repro.cells import images, join, slug
from hetcnn.repro.runner import heading

__all__ = ["write"]


def write(name: str, notebook: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the pictures of one notebook under `folder/name`, and remove those of an earlier run; returns the files."""
    written: list[Path] = []
    section = name
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            section = heading([{**cell, "source": join(cell["source"])}], section)
        for suffix, content in images(cell):
            path = folder / name / f"{len(written) + 1:02d}-{slug(section)}.{suffix}"
            written.append(files.write_bytes(path, content))
    for old in (folder / name).glob("*"):
        if old not in written and old.is_file():
            old.unlink()
    return written
