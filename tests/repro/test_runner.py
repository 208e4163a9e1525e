from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hetcnn.repro import runner
from hetcnn.repro.kernel import Kernels

FIGURE = """\
import matplotlib.pyplot as plt, numpy as np, random
plt.plot(np.arange(3), label='a'); plt.fill_between([0, 1], [0, 1], hatch='//');"""


class Log:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, name: str) -> None:
        self.lines.append(f"start {name}")

    def cell(self, name: str, number: int, total: int) -> None:
        self.lines.append(f"cell {name} {number}/{total}")

    def finished(self, outcome: runner.Outcome) -> None:
        self.lines.append(f"{outcome.status} {outcome.name}")


def job(path: Path, key: str = "0" * 64, **parameters: Any) -> runner.Job:
    return runner.Job(path.stem, path, parameters, key)


def outputs(outcome: runner.Outcome) -> list[Any]:
    assert outcome.path is not None
    cells = json.loads(outcome.path.read_text())["cells"]
    return [[o.get("data", o.get("text")) for o in cell["outputs"]] for cell in cells if cell["cell_type"] == "code"]


def test_a_notebook_runs_with_its_parameters_and_is_cached(project: Any, tmp_path: Path) -> None:
    path = project.notebook(
        "00_a",
        project.text("# A"),
        project.code("cores: int = 4", "parameters"),
        project.code("import sys; print(cores, sys.executable)"),
    )
    log = Log()
    (outcome,) = runner.run([job(path, cores=2)], tmp_path / "cache", log, fork=False)
    assert outcome.status == "ok"
    assert "".join(outputs(outcome)[-1][0]).split()[0] == "2"
    assert log.lines[0] == "start 00_a"
    assert log.lines[-2:] == ["cell 00_a 4/4", "ok 00_a"]  # papermill adds the cell with the given parameters

    log = Log()
    (again,) = runner.run([job(path, cores=2)], tmp_path / "cache", log)
    assert (again.status, again.path) == ("cached", outcome.path)
    assert log.lines == ["cached 00_a"]


def test_a_failure_names_notebook_section_cell_and_error_and_stops_no_other(project: Any, tmp_path: Path) -> None:
    fails = project.notebook(
        "01_fails",
        project.text("# Title\n\n```\n# no heading\n```"),
        project.code("cores: int = 4", "parameters"),
        project.text("## The model"),
        project.code("1/0"),
        project.code("print('never')"),
    )
    dies = project.notebook("02_dies", project.text("# Title"), project.code("import os; os._exit(3)"))
    works = project.notebook("03_works", project.code("1 + 1"))
    cache = tmp_path / "cache"
    jobs = [job(fails, cores=1), job(dies), job(works)]
    failed, died, worked = runner.run(jobs, cache, Log(), fork=False)

    assert failed.failure is not None
    assert str(failed.failure).splitlines() == [
        "01_fails, section 'The model', cell 4: ZeroDivisionError: division by zero",
        f"  executed copy: {cache / '01_fails.failed.ipynb'}",
    ]
    assert "ZeroDivisionError" in failed.failure.path.read_text()  # type: ignore[union-attr]
    assert died.failure is not None
    assert (died.failure.section, died.failure.cell) == ("Title", 2)
    assert "Kernel died" in died.failure.error
    assert died.failure.path is not None
    assert (worked.status, outputs(worked)) == ("ok", [[{"text/plain": ["2"]}]])

    # What had finished is kept, what had failed runs again.
    assert [o.status for o in runner.run(jobs[1:], cache, Log(), fork=False)] == ["failed", "cached"]


def test_forked_and_plain_kernels_show_the_same(project: Any, tmp_path: Path) -> None:
    path = project.notebook(
        "00_a",
        project.code(FIGURE),
        project.code("hash('a'), __name__, sorted(k for k in globals() if not k.startswith('_'))"),
        project.code("import os, sys; sys.path, sorted(os.environ), os.getcwd()"),
        project.code("print('out'); print('err', file=sys.stderr)"),
        project.code("import pandas; pandas.DataFrame({'why': ['word ' * 20 + 'last']})"),
    )
    (plain,) = runner.run([job(path)], tmp_path / "plain", Log(), fork=False)
    (forked,) = runner.run([job(path)], tmp_path / "forked", Log(), fork=True)
    assert outputs(plain) == outputs(forked)
    assert "image/svg+xml" in outputs(plain)[0][0]
    assert "word last</td>" in "".join(outputs(plain)[-1][0]["text/html"])  # pandas would cut it at 50 characters


def test_forks_do_not_share_random_numbers(project: Any, tmp_path: Path) -> None:
    draw = project.code("import random, numpy as np; random.random(), np.random.random()")
    paths = [project.notebook(f"0{i}", draw) for i in (0, 1)]
    first, second = runner.run([job(p) for p in paths], tmp_path / "cache", Log())
    assert first.status == second.status == "ok"
    ones, others = (eval(outputs(o)[0][0]["text/plain"][0]) for o in (first, second))
    assert not set(ones) & set(others)


def test_a_fork_that_never_starts_is_replaced_by_a_plain_kernel(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.notebook("00_a", project.code("1 + 1"))

    def refuse(self: Kernels, *_: Any) -> bool:
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(Kernels, "adopt", refuse)
    (outcome,) = runner.run([job(path)], tmp_path / "cache", Log(), fork=True)
    assert (outcome.status, outputs(outcome)) == ("ok", [[{"text/plain": ["2"]}]])


def test_a_half_written_cache_is_no_hit(project: Any, tmp_path: Path) -> None:
    one = job(project.notebook("00_a", project.code("1")))
    copy = one.cached(tmp_path)
    copy.write_text("{")
    assert runner._lookup(one, tmp_path) is None  # no sidecar yet: the run that wrote it was cut off
    copy.with_suffix(".json").write_text("{")
    assert runner._lookup(one, tmp_path) is None
    copy.with_suffix(".json").write_text('{"seconds": 1}')
    assert runner._lookup(one, tmp_path) is not None
    copy.unlink()
    assert runner._lookup(one, tmp_path) is None


def test_old_copies_are_forgotten_and_other_notebooks_are_not(tmp_path: Path) -> None:
    for i in range(6):
        copy = tmp_path / f"00_a.{i:016x}.ipynb"
        copy.write_text("{}")
        copy.with_suffix(".json").write_text("{}")
        os.utime(copy, (i, i))
    (tmp_path / "00_a.b.ipynb").write_text("{}")
    runner._forget_old("00_a", tmp_path)
    kept = sorted(f.name for f in tmp_path.glob("*.ipynb"))
    assert kept == [*(f"00_a.{i:016x}.ipynb" for i in (3, 4, 5)), "00_a.b.ipynb"]


@pytest.mark.parametrize(
    ("source", "found"),
    [("# A\n\n## B", "B"), ("text", "start"), ("```python\n# comment\n```", "start"), ("#hash", "start")],
)
def test_heading(source: str, found: str) -> None:
    assert runner.heading([{"cell_type": "markdown", "source": source}]) == found
