"""Cache keys: what a notebook's or the scorecard's result depends on, as one hash."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hetcnn import data

__all__ = ["VERSIONED", "base_key", "cells_key", "contents", "hash_files", "key", "outside_key", "versions"]

PACKAGE = Path(data.__file__).parent

VERSIONED = (
    *("hetcnn", "numpy", "scipy", "xarray", "matplotlib", "onnx", "pydantic"),
    *("ipykernel", "ipython", "ipywidgets", "papermill"),
)
"""The packages whose version may change what a notebook shows."""

REPORT = ("cells", "charts", "figures", "progress", "report", "sanitise")

OUTSIDE = (
    "__main__.py",
    "cli.py",
    *(f"repro/{name}.py" for name in REPORT),
    *(f"repro/templates/report.{x}" for x in ("css", "html")),
)
"""Sources that no notebook and no model imports: a change in them leaves every result valid."""


def versions(packages: Iterable[str] = VERSIONED) -> dict[str, str]:
    """Return the versions of Python, the machine's kind and the packages; "missing" for one that is not installed."""
    found = {"python": sys.version, "machine": platform.machine(), "system": platform.system()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def hash_files(files: Iterable[Path], root: Path) -> str:
    """Return one hash over the names and contents of some files."""
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def base_key(data_folder: Path | None = None, package: Path = PACKAGE) -> str:
    """Return the part of the key that all results share: library sources, data files and versions."""
    data_folder = data_folder or data.path()
    sources = [f for f in _files(package) if f.relative_to(package).as_posix() not in OUTSIDE]
    sources = [f for f in sources if not f.is_relative_to(data_folder) and "_notebooks" not in f.parts]
    return key(
        sources=hash_files(sources, package),
        data=hash_files(_files(data_folder), data_folder),
        versions=versions(),
    )


def _files(folder: Path) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts and not f.name.startswith(".")]


def key(**parts: Any) -> str:
    """Return one hash over named JSON values.

    >>> key(a=1, b=2) == key(b=2, a=1), key(a=1) == key(a=2)
    (True, False)
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def cells_key(cells: Iterable[Mapping[str, Any]]) -> str:
    """Return a hash over what the cells of a notebook say: types, sources and tags."""
    return key(cells=[(c["cell_type"], c["source"], c["metadata"].get("tags", [])) for c in cells])


def contents(values: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> hash of the content, for the values that are text and name a file that can be read."""
    found = {}
    for name, value in values.items():
        if isinstance(value, str) and value:
            # What cannot be read as a file is a plain word here; the notebook says what is wrong with it.
            with contextlib.suppress(OSError, ValueError), Path(value).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def outside_key(package: Path = PACKAGE) -> str:
    """Return a hash over the sources that only the report depends on."""
    return hash_files([f for f in (package / name for name in OUTSIDE) if f.exists()], package)
