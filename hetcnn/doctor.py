"""`hetcnn doctor`: what this installation has, and what it lacks, one line each."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path

from hetcnn import data

__all__ = ["report"]

PACKAGES = (
    *("numpy", "scipy", "xarray", "matplotlib", "onnx", "pydantic", "rich"),
    *("ipykernel", "ipywidgets", "jupyterlab", "papermill", "mistune", "latex2mathml", "jinja2", "threadpoolctl"),
)

Line = tuple[bool, str, str]


def report(say: Callable[[str], None] = print) -> int:
    """Print one line per part of the installation; returns 0, or 1 when something is missing."""
    lines = [line for check in CHECKS for line in _safely(check)]
    width = max(len(name) for _, name, _ in lines)
    for good, name, text in lines:
        say(f"{'ok  ' if good else 'MISS'}  {name:<{width}}  {text}")
    missing = [name for good, name, _ in lines if not good]
    say("everything is here" if not missing else f"missing or broken: {', '.join(missing)}")
    return int(bool(missing))


def _safely(check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    try:
        yield from check()
    except Exception as error:
        yield False, check.__name__.strip("_").replace("_", " "), f"{type(error).__name__}: {error}".splitlines()[0]


def _python() -> Iterator[Line]:
    version = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    yield sys.version_info >= (3, 11), "python", version
    yield True, "machine", f"{platform.system()} {platform.machine()}, {_cores()} cores usable"


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _packages() -> Iterator[Line]:
    yield True, "hetcnn", f"{metadata.version('hetcnn')} at {Path(data.__file__).parent}"
    for name in PACKAGES:
        try:
            yield util.find_spec(name) is not None, name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield False, name, "not installed"


def _blas() -> Iterator[Line]:
    from hetcnn.kernels import blas

    yield True, "BLAS", blas.describe()


def _kernel() -> Iterator[Line]:
    yield util.find_spec("ipykernel") is not None, "kernel", f"python3, this interpreter: {sys.executable}"


def _data() -> Iterator[Line]:
    boards = sorted(f.stem for f in data.path("platforms").glob("*.toml"))
    yield bool(boards), "boards", ", ".join(boards)
    papers = sorted(f.parent.name for f in data.path("papers").glob("*/claims.toml"))
    yield bool(papers), "claims", ", ".join(papers)
    notebooks = sorted(f.stem for f in data.notebooks_folder().glob("*.ipynb"))
    yield bool(notebooks), "notebooks", f"{', '.join(notebooks) or 'none'} in {data.notebooks_folder()}"


def _fonts() -> Iterator[Line]:
    from matplotlib import font_manager

    found = font_manager.findfont("DejaVu Sans", fallback_to_default=False)
    yield True, "font", f"DejaVu Sans at {found}"


CHECKS = (_python, _packages, _blas, _kernel, _data, _fonts)
