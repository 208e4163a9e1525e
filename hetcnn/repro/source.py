"""Where a reproduction takes its things from: notebooks, claims and models."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hetcnn import data, papers

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """Where a reproduction takes its things from: the notebooks, and each paper's claims and model."""

    notebooks: Path
    keys: tuple[str, ...]
    claims: Callable[[str], Path]
    model: Callable[[str], papers.Paper]

    @classmethod
    def shipped(cls) -> Source:
        """The project's own notebooks, claims and models."""
        folder = data.notebooks_folder()
        return cls(folder, papers.KEYS, lambda key: data.path("papers", key, "claims.toml"), papers.load)

    def notebook_files(self) -> dict[str, Path]:
        """The notebooks by name, in order."""
        return {path.stem: path for path in sorted(self.notebooks.glob("*.ipynb"))}

    def paper_of(self, notebook: str) -> str | None:
        """The paper of a notebook: the middle of `04_pipeit_2019`; `06_your_machine` has claims of its own, `host`."""
        if notebook == "06_your_machine" and "host" in self.keys:
            return "host"
        match = re.fullmatch(r"\d+_(.+)_\d{4}", notebook)
        return match[1] if match and match[1] in self.keys else None
