"""Where the data files are: `data/` of a checkout, or the copy inside an installed wheel."""

from __future__ import annotations

from pathlib import Path

from hetcnn.errors import HetcnnError

__all__ = ["notebooks_folder", "path"]

_PACKAGE = Path(__file__).parent


def path(*parts: str) -> Path:
    """Return the path of a shipped data file or folder, for instance `path("platforms", "hikey970.toml")`.

    Raises HetcnnError when there is no such file.
    """
    found = _shipped("data", "_data").joinpath(*parts)
    if not found.exists():
        raise HetcnnError(f"no data file '{'/'.join(parts)}' is shipped; looked for {found}")
    return found


def notebooks_folder() -> Path:
    """Return the folder of the shipped notebooks."""
    return _shipped("notebooks", "_notebooks")


def _shipped(in_checkout: str, in_wheel: str) -> Path:
    wheel = _PACKAGE / in_wheel
    return wheel if wheel.exists() else _PACKAGE.parent / in_checkout
