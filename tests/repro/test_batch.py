from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from hetcnn.errors import HetcnnError
from hetcnn.repro import batch
from hetcnn.repro.scoring import score
from hetcnn.repro.source import Source

FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the library's own key still: what it follows is tested with the cache."""
    monkeypatch.setattr(batch.cache, "base_key", lambda: "the library as it is")


@pytest.fixture
def pair(project: Any) -> Any:
    """A paper's notebook and one beside it."""
    project.notebook(
        "04_toy_2019",
        project.text("# Toy\n\nsee [start](00_start.ipynb)"),
        project.code("cores: int = 4  # how many", "parameters"),
        project.text("## Figure 8"),
        project.code(FIGURE),
        project.code("print(cores)"),
    )
    project.notebook("00_start", project.text("# Start"), project.code("1 + 1"))
    project.model.TABLES = {
        "Table IV": lambda: xr.Dataset({"rate": ("network", [8.9], {"units": "frames/s"})}, {"network": ["alexnet"]})
    }
    return project


def test_everything_is_written_and_kept(pair: Any) -> None:
    assert pair.reproduce() == 0
    card = pair.read("scorecard.json")
    (paper,) = card["papers"]
    assert (paper["key"], paper["title"], paper["checks"], paper["reproduced"]) == ("toy", "A toy paper", 2, 2)
    assert [c["verdict"] for c in card["claims"]] == ["exact"] * 3
    assert pair.read("predictions.json") == [
        {
            "paper": "toy",
            "where": "Table IV",
            "item": "rate",
            "dims": {"network": "alexnet"},
            "value": 8.9,
            "unit": "frames/s",
        }
    ]
    figures = sorted(str(f.relative_to(pair.out)) for f in (pair.out / "figures").rglob("*.*"))
    assert figures == ["figures/04_toy_2019/01-figure-8.svg"]
    assert sorted(f.name for f in (pair.out / "notebooks").iterdir()) == ["00_start.ipynb", "04_toy_2019.ipynb"]
    report = pair.out / "report" / "index.html"
    assert "Figure 8" in report.read_text()

    # A repeated run touches nothing; a removed file comes back without running a notebook.
    before = {f: f.stat().st_mtime_ns for f in pair.out.rglob("*") if f.is_file()}
    assert pair.reproduce() == 0
    assert {f: f.stat().st_mtime_ns for f in pair.out.rglob("*") if f.is_file()} == before
    first = report.read_bytes()
    report.unlink()
    assert pair.reproduce() == 0
    assert report.read_bytes() == first

    # Another parameter is another run, and the first one is still there afterwards.
    assert pair.reproduce(assignments=["cores=2"]) == 0
    assert "given by --set" in report.read_text()
    assert pair.reproduce() == 0
    assert report.read_bytes() == first

    # The same from nothing: byte for byte the same figures and report.
    assert pair.reproduce(fresh=True) == 0
    assert report.read_bytes() == first


def test_one_paper_runs_its_own_notebook(pair: Any) -> None:
    assert pair.reproduce("toy", fork=False) == 0
    assert [f.stem for f in (pair.out / "notebooks").iterdir()] == ["04_toy_2019"]


def test_a_claim_that_is_off_fails_the_run_and_a_known_miss_does_not(project: Any) -> None:
    project.model.CLAIMS["rate"] = lambda: 99.0
    assert project.reproduce() == 1
    assert "unexpected: toy rate: expected 'reproduces', got 'off'" in project.said
    project.claims.write_text(project.claims.read_text().replace("8.1\n", '8.1\nknown_miss = "no contention term"\n'))
    assert project.reproduce() == 0
    assert [c["known_miss"] for c in project.read("scorecard.json")["claims"]] == ["no contention term", None, None]


def test_a_notebook_that_fails_fails_the_run(project: Any) -> None:
    project.notebook("00_a", project.text("# Title"), project.code("1/0"))
    assert project.reproduce(fork=False) == 1
    assert "failed: 00_a, section 'Title', cell 2: ZeroDivisionError: division by zero" in project.said
    assert "ZeroDivisionError" in (project.out / "report" / "index.html").read_text()
    assert project.read("scorecard.json")["papers"][0]["reproduced"] == 2


def test_a_model_that_does_not_load_is_off_everywhere(project: Any) -> None:
    def broken(_: str) -> Any:
        raise ImportError("no module named x")

    source = Source(project.source.notebooks, ("toy",), project.source.claims, broken)
    card = score(source=source)
    assert {r.verdict for r in card.results} == {"off"}
    assert card.results[0].note == "the model failed: RuntimeError: the model of 'toy' does not load: ImportError: " + (
        "no module named x"
    )


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["tyo"], {}, "unknown paper or notebook 'tyo'; did you mean 'toy'?"),
        ([], {"jobs": 0}, "--jobs 0: expected at least 1"),
        ([], {"assignments": ["coers=2"]}, "unknown parameter 'coers'; did you mean 'cores'?"),
        (["00_start"], {"assignments": ["cores=2"]}, "--set cores=2: none of the notebooks 00_start has parameters"),
    ],
)
def test_bad_input_is_told_before_anything_runs(
    pair: Any, names: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HetcnnError) as error:
        pair.reproduce(*names, **options)
    assert str(error.value).startswith(message)
    assert not pair.out.exists()


def test_a_claims_file_that_breaks_a_rule_is_told_before_anything_runs(pair: Any) -> None:
    pair.claims.write_text(pair.claims.read_text().replace("8.1", "true"))
    with pytest.raises(HetcnnError, match="claim 'rate': published: expected a number"):
        pair.reproduce()
    assert not pair.out.exists()


def test_out_must_be_a_folder(project: Any) -> None:
    project.out.write_text("")
    with pytest.raises(HetcnnError, match="is a file; expected a folder"):
        project.reproduce()


def test_score_refuses_an_unknown_paper(project: Any) -> None:
    with pytest.raises(HetcnnError, match="unknown paper 'tyo'; did you mean 'toy'"):
        score("tyo", source=project.source)


SCRIPT = """
import sys, pathlib, types
from hetcnn import cli
from hetcnn.repro import batch
from hetcnn.repro.source import Source
folder = pathlib.Path({folder!r})
model = types.SimpleNamespace(TITLE="t", CLAIMS={{}}, TABLES={{}})
source = Source(folder / "notebooks", ("toy",), lambda key: folder / "claims.toml", lambda key: model)
Source.shipped = classmethod(lambda cls: source)
batch.cache.base_key = lambda: "the library as it is"
code = cli.main(["reproduce", "--jobs", "1", "--out", str(folder / "out"), *sys.argv[1:]])
heavy = sorted({{"numpy", "xarray", "matplotlib", "papermill", "jinja2", "pydantic", "rich"}} & set(sys.modules))
print("HEAVY", heavy)
sys.exit(code)
"""


def start(project: Any, *arguments: str) -> subprocess.Popen[str]:
    script = SCRIPT.format(folder=str(project.folder))
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_interrupted_run_ends_its_kernels_and_goes_on_where_it_was(project: Any) -> None:
    pid = project.folder / "pid"
    project.notebook("00_fast", project.code("1 + 1"))
    slow = project.code(
        f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    project.notebook("01_slow", slow)
    with start(project) as run:
        for _ in range(600):
            if pid.exists() and pid.read_text():
                break
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    assert run.returncode == 130, out + err
    assert err.strip() == "hetcnn: interrupted; what had finished is kept"
    kernel = int(pid.read_text())
    for _ in range(100):
        if not Path(f"/proc/{kernel}").exists() or not _alive(kernel):
            break
        time.sleep(0.05)
    assert not _alive(kernel)
    assert not list((project.out / ".cache").glob("01_slow*"))

    project.notebook("01_slow", project.code("2"))
    with start(project) as run:
        out, err = run.communicate(timeout=60)
    assert "00_fast    cached" in out, out + err


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_warm_run_imports_nothing_heavy(project: Any) -> None:
    project.notebook("00_a", project.code("1 + 1"))
    for heavy in (True, False):
        with start(project) as run:
            out, err = run.communicate(timeout=60)
        assert run.returncode == 1, err  # the toy model answers no claim
        loaded = json.loads(out.partition("HEAVY")[2].replace("'", '"'))
        assert bool(loaded) is heavy


@pytest.mark.parametrize("given", ["set", "default"])
def test_a_changed_file_that_a_parameter_names_is_read_again(project: Any, given: str) -> None:
    file = project.folder / "my.toml"
    default = "x" if given == "set" else str(file)
    project.notebook(
        "00_a", project.code(f"board: str = {default!r}", "parameters"), project.code("print(open(board).read())")
    )
    assignments = [f"board={file}"] if given == "set" else []
    for content in ("first", "second"):
        file.write_text(content)
        assert project.reproduce(assignments=assignments, fork=False) == 0
        outputs = [o for c in project.read("notebooks", "00_a.ipynb")["cells"] for o in c.get("outputs", [])]
        assert "".join(outputs[-1]["text"]).strip() == content


def test_a_claim_whose_function_raises_is_one_line_that_names_it(project: Any) -> None:
    def raises() -> float:
        raise TypeError("claim y is 'x', not a number")

    project.model.CLAIMS["rate"] = raises
    assert project.reproduce() == 1
    said = "unexpected: toy rate: expected 'reproduces', got 'off': the model failed: TypeError: claim y is 'x', not a"
    (line,) = [line for line in project.said.splitlines() if "TypeError" in line]
    assert said in line


def test_a_word_for_a_number_stops_the_run_and_names_the_claim(project: Any) -> None:
    project.claims.write_text(project.claims.read_text().replace("8.1\n", '"x"\n'))
    with pytest.raises(HetcnnError, match="claim 'rate': published: a claim in 'frames/s' needs a number, got 'x'"):
        project.reproduce()
