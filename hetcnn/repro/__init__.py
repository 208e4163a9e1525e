"""Reproduction: the published numbers on file, the models' answers, a verdict on each, and the run that reports them.

`score("pipeit")` evaluates the claims of a paper now; `reproduce()` runs the notebooks and writes the report.
"""

from __future__ import annotations

from hetcnn.repro.batch import reproduce
from hetcnn.repro.scoring import score

__all__ = ["reproduce", "score"]
