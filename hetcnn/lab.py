"""`hetcnn lab`: JupyterLab on the notebooks; on a copy when they are installed where nobody should write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import util
from pathlib import Path

from hetcnn import data
from hetcnn.errors import HetcnnError

__all__ = ["COPY", "folder", "open_lab"]

COPY = Path("hetcnn-notebooks")
"""Where the copy goes unless told otherwise, in the current folder."""


def folder(chosen: Path | None = None) -> Path:
    """Return the folder to open: the checkout's notebooks, or a copy that the user may change.

    A file that the user already has in the copy is left as it is.
    """
    source = data.notebooks_folder()
    if chosen is None and source.name != "_notebooks":
        return source
    target = chosen if chosen is not None else COPY
    if target.exists() and not target.is_dir():
        raise HetcnnError(f"{target}: is a file; expected a folder for the notebooks")
    for file in sorted(source.rglob("*")):
        copy = target / file.relative_to(source)
        if file.is_file() and not copy.exists() and ".ipynb_checkpoints" not in file.parts:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return target


def open_lab(chosen: Path | None, arguments: Sequence[str]) -> int:
    """Become JupyterLab on the notebooks; on Windows run it and return its exit code."""
    if util.find_spec("jupyterlab") is None:
        raise HetcnnError("JupyterLab is not installed; run: pip install jupyterlab")
    if arguments and arguments[0] == "--":
        arguments = arguments[1:]
    where = folder(chosen)
    print(f"notebooks: {where.resolve()}")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={where.resolve()}", *arguments]
    return subprocess.call(command) if os.name == "nt" else _become(command)


def _become(command: list[str]) -> int:
    """Turn this process into another: a child would outlive it when somebody ends it."""
    sys.stdout.flush()
    os.execv(command[0], command)
