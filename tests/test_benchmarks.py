from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FAILING = """
import sys
import benchmarks.__main__ as bench
modules = {"good": lambda: [("speed", 1234.5, "frames/s")], "bad": lambda: 1 / 0}
bench.names = lambda: sorted(modules)
bench.importlib.import_module = lambda name: type("M", (), {"run": staticmethod(modules[name.partition(".")[2]])})
sys.exit(bench.main([]))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_one_table_with_a_line_for_what_fails() -> None:
    done = run("-c", FAILING)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "benchmark  what    value  unit",
        "bad        FAILED    nan",
        "good       speed   1,234  frames/s",
    ]
    assert done.stderr == "bad: ZeroDivisionError: division by zero\n"


def test_an_unknown_name_is_one_line() -> None:
    done = run("-m", "benchmarks", "reprodcue")
    assert done.returncode == 2
    assert done.stderr.startswith("benchmarks: error: unknown benchmark 'reprodcue'; did you mean 'reproduce'?")
