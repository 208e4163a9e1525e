"""The notebook runner: papermill in two worker threads, one kernel a notebook, finished results kept in a cache."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hetcnn.repro import files
from hetcnn.repro.kernel import Kernels

__all__ = ["Failure", "Job", "Outcome", "Progress", "run"]

KEPT = 3
"""Executed copies kept in the cache for each notebook: the defaults and the last few `--set`."""


@dataclass(frozen=True)
class Job:
    """One notebook to run: where it is, the values of its parameters, and the key of its result."""

    name: str
    path: Path
    parameters: Mapping[str, Any]
    key: str

    def cached(self, cache: Path) -> Path:
        """Where the executed copy is kept."""
        return cache / f"{self.name}.{self.key[:16]}.ipynb"


@dataclass(frozen=True)
class Failure:
    """What went wrong in a notebook, and where: enough to open the right cell."""

    notebook: str
    section: str
    cell: int
    error: str
    path: Path | None

    def __str__(self) -> str:
        where = f"{self.notebook}, section '{self.section}', cell {self.cell}" if self.cell else self.notebook
        return f"{where}: {self.error}" + (f"\n  executed copy: {self.path}" if self.path else "")


@dataclass(frozen=True)
class Outcome:
    """What became of a notebook: ok, cached, failed or interrupted."""

    name: str
    status: str
    seconds: float
    path: Path | None
    key: str
    failure: Failure | None = None


class Progress(Protocol):
    """What the runner tells while it works; called from several threads."""

    def started(self, name: str) -> None:
        """A notebook begins."""

    def cell(self, name: str, number: int, total: int) -> None:
        """A notebook begins its cell `number` of `total`."""

    def finished(self, outcome: Outcome) -> None:
        """A notebook is done."""


def run(
    jobs: Sequence[Job], cache: Path, progress: Progress, *, workers: int = 2, fresh: bool = False, fork: bool = True
) -> list[Outcome]:
    """Run the notebooks that the cache does not hold; returns one outcome per job, in order.

    A failing notebook stops no other. KeyboardInterrupt ends the kernels and passes on; what had finished stays cached.
    """
    found = {} if fresh else {job.name: hit for job in jobs if (hit := _lookup(job, cache))}
    for outcome in found.values():
        progress.finished(outcome)
    todo = [job for job in jobs if job.name not in found]
    if todo:
        cache.mkdir(parents=True, exist_ok=True)
        with Kernels(fork=fork) as kernels:
            found |= _run_all(todo, cache, progress, kernels, workers)
    return [found[job.name] for job in jobs]


def _lookup(job: Job, cache: Path) -> Outcome | None:
    """The cached outcome of a job; the sidecar is written last, so its presence says that the copy is whole."""
    copy = job.cached(cache)
    try:
        seconds = float(json.loads(copy.with_suffix(".json").read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Outcome(job.name, "cached", seconds, copy, job.key) if copy.exists() else None


def _run_all(
    jobs: Sequence[Job], cache: Path, progress: Progress, kernels: Kernels, workers: int
) -> dict[str, Outcome]:
    import papermill  # noqa: F401  (imported once here: two threads importing it at the same time wait for each other)

    _quiet()
    outcomes: dict[str, Outcome] = {}
    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="notebook")
    pending: set[Future[Outcome]] = set()
    try:
        pending = {pool.submit(_run_one, job, cache, progress, kernels) for job in jobs}
        while pending:
            # The timeout lets a signal in on systems where a waiting lock cannot be interrupted.
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                outcomes[outcome.name] = outcome
                progress.finished(outcome)
    finally:
        kernels.stopping.set()
        for future in pending:
            future.cancel()
        if pending:
            kernels.kill()
        pool.shutdown(wait=True, cancel_futures=True)
    return outcomes


def _run_one(job: Job, cache: Path, progress: Progress, kernels: Kernels) -> Outcome:
    if kernels.stopping.is_set():
        return Outcome(job.name, "interrupted", 0.0, None, job.key)
    progress.started(job.name)
    start = time.perf_counter()
    execution = _Execution(job, cache, progress)
    failure = execution.run(kernels)
    seconds = time.perf_counter() - start
    if kernels.stopping.is_set() and failure:
        return Outcome(job.name, "interrupted", seconds, None, job.key)
    if failure:
        return Outcome(job.name, "failed", seconds, execution.failed, job.key, failure)
    copy = job.cached(cache)
    execution.output.replace(copy)
    files.write_json(copy.with_suffix(".json"), {"seconds": round(seconds, 3), "key": job.key})
    _forget_old(job.name, cache)
    return Outcome(job.name, "ok", seconds, copy, job.key)


def _forget_old(name: str, cache: Path) -> None:
    """Keep the newest few copies of a notebook."""
    copies = [f for f in cache.glob(f"{name}.*.ipynb") if re.fullmatch(r"[0-9a-f]{16}", f.stem.rpartition(".")[2])]
    for old in sorted(copies, key=lambda f: f.stat().st_mtime)[:-KEPT]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)


class _Execution:
    """One notebook under way: knows the cell it is at, so that even a kernel that dies leaves a place to look."""

    def __init__(self, job: Job, cache: Path, progress: Progress) -> None:
        self.job = job
        self.progress = progress
        self.output = cache / f".{job.name}.{os.getpid()}.running.ipynb"
        self.failed = cache / f"{job.name}.failed.ipynb"
        self.index = -1
        self.notebook: Any = None
        self.cells: list[Any] = []

    def run(self, kernels: Kernels) -> Failure | None:
        """Execute the notebook; returns what failed, or None."""
        from papermill.exceptions import PapermillExecutionError

        try:
            self._execute(kernels)
        except PapermillExecutionError as error:
            self.index = error.cell_index
            return self._fail(f"{error.ename}: {error.evalue}" if error.evalue else error.ename)
        except Exception as error:
            if kernels.stopping.is_set():
                return Failure(self.job.name, "", 0, "interrupted", None)
            if self.index < 0 and kernels.server is not None:
                # Not even the first cell began: whatever is wrong with forks here, plain kernels may work.
                kernels.server = None
                return self.run(kernels)
            return self._fail(f"{type(error).__name__}: {error}")
        return None

    def _execute(self, kernels: Kernels) -> None:
        import papermill

        papermill.execute_notebook(
            str(self.job.path),
            str(self.output),
            parameters=dict(self.job.parameters),
            engine_name=_engine(),
            kernel_name="python3",
            progress_bar=False,
            request_save_on_cell_execute=False,
            execution=self,
            kernel_manager_class=kernels.manager_class(),
            on_cell_start=self._cell_starts,
        )

    def begins(self, notebook: Any) -> None:
        """Remember the notebook that papermill executes, and its cells before it marks the one that fails."""
        self.notebook = notebook
        self.cells = list(notebook.cells)

    def _cell_starts(self, cell: Any, cell_index: int) -> None:  # noqa: ARG002  (nbclient calls with these names)
        self.index = cell_index
        self.progress.cell(self.job.name, cell_index + 1, len(self.cells))

    def _fail(self, error: str) -> Failure:
        """Keep the executed copy and say where it stopped, counting the cells as the author does."""
        if self.output.exists():
            self.output.replace(self.failed)
        elif self.notebook is not None:
            files.write_text(self.failed, json.dumps(self.notebook, indent=1))
        before = [c for c in self.cells[: self.index + 1] if INJECTED not in c.metadata.get("tags", [])]
        return Failure(
            self.job.name,
            heading(before),
            len(before),
            " ".join(ANSI.sub("", error).split()),
            self.failed if self.failed.exists() else None,
        )


INJECTED = "injected-parameters"
"""The tag of the cell that papermill adds."""

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def heading(cells: Iterable[Mapping[str, Any]], found: str = "start") -> str:
    """Return the last Markdown heading in some cells, or `found` where they have none."""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"^(```|~~~).*?^\1", "", cell["source"], flags=re.M | re.S)
            for match in re.finditer(r"^#{1,6}[ \t]+(.*)", text, re.M):
                found = match[1].strip()
    return found


def _engine() -> str:
    """Register, once, the engine that lets a dying kernel leave its executed copy behind."""
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
            kwargs.pop("execution").begins(nb_man.nb)
            return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)

    papermill_engines.register("hetcnn", Engine)
    return "hetcnn"


def _quiet() -> None:
    """Keep papermill's and Jupyter's log lines off the terminal: a failure is reported once, by us."""
    for name in ("papermill", "traitlets", "asyncio"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
            logger.propagate = False
