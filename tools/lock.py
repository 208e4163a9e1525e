"""Resolve the locked files again from pyproject.toml: `python tools/lock.py [--check | --environment]`.

environment.yml (for conda) is written from the dependencies; requirements.txt is resolved by uv, for every supported
Python and system at once, with hashes and without any index address.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

HEAD = """\
# Written by tools/lock.py from pyproject.toml: change it there, then run `make lock`.
"""

RESOLVE = [
    *("pip", "compile", "pyproject.toml", "--group", "test", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "-o", "requirements.txt"),
]


def environment(pyproject: dict[str, Any]) -> str:
    """Return environment.yml for the dependencies of a project."""
    project = pyproject["project"]
    needs = [f"python {project['requires-python']}", *map(_spaced, project["dependencies"]), "pip"]
    lines = [HEAD + f"name: {project['name']}", "channels:", "  - conda-forge", "dependencies:"]
    lines += [f"  - {need}" for need in needs]
    lines += ["  - pip:", "      - -e ."]
    return "\n".join(lines) + "\n"


def _spaced(requirement: str) -> str:
    """`numpy>=2.0` as conda writes it: `numpy >=2.0`."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)\s*([<>=!~,.0-9a-z* ]*)", requirement)
    if match is None:
        raise SystemExit(f"tools/lock.py: '{requirement}' has extras or markers, which environment.yml cannot say")
    return f"{match[1]} {match[2].replace(' ', '')}".rstrip()


def read() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def resolver() -> list[str] | None:
    """Return the command that runs uv, or None where there is none."""
    if found := shutil.which("uv"):
        return [found]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else None


def main() -> int:
    """Write the files, or say whether environment.yml is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when environment.yml is out of date"
    )
    parser.add_argument("--environment", action="store_true", help="write environment.yml only")
    options = parser.parse_args()
    text, path = environment(read()), ROOT / "environment.yml"
    if options.check:
        same = path.exists() and path.read_text(encoding="utf-8") == text
        print(f"environment.yml is {'up to date' if same else 'out of date; run `make lock`'}")
        return int(not same)
    path.write_text(text, encoding="utf-8")
    print("wrote environment.yml")
    if options.environment:
        return 0
    uv = resolver()
    if uv is None:
        print("requirements.txt is as it was: resolving it needs uv (pip install uv)", file=sys.stderr)
        return 2
    return subprocess.run([*uv, *RESOLVE], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
