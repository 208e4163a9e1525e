"""Run the benchmarks and print one table: `python -m benchmarks [NAME ...]`, or `make bench`."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence

import benchmarks
from hetcnn.errors import HetcnnError, unknown
from hetcnn.text import table

Row = tuple[str, float, str]


def names() -> list[str]:
    """The benchmarks: every module beside this one that has a `run`."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def measure(name: str) -> list[Row]:
    """The figures of one benchmark; a line that says so where it fails."""
    try:
        return [
            (label, float(value), unit) for label, value, unit in importlib.import_module(f"benchmarks.{name}").run()
        ]
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return [("FAILED", float("nan"), "")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen benchmarks; returns 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Print the speed and memory figures.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"among {', '.join(names())} (default: all)")
    chosen = parser.parse_args(arguments).names or names()
    try:
        for name in chosen:
            if name not in names():
                raise unknown("benchmark", name, names())
    except HetcnnError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2
    rows = []
    for name in chosen:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{name} ...", end="\r", file=sys.stderr, flush=True)
        rows += [(name, *row) for row in measure(name)]
    shown = [[name, label, f"{value:,.4g}", unit] for name, label, value, unit in rows]
    print(table(["benchmark", "what", "value", "unit"], shown, right=["value"]))
    return int(any(label == "FAILED" for _, label, _, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
