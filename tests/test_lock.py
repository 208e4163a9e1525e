from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.txt").read_text()
NEEDS = [
    *PYPROJECT["project"]["dependencies"],
    *PYPROJECT["dependency-groups"]["test"],
    *PYPROJECT["build-system"]["requires"],
]
PYTHONS = ("3.11", "3.12", "3.13")


def entries() -> list[tuple[Requirement, list[str]]]:
    """Each locked requirement with its hashes."""
    blocks = re.split(r"\n(?=\S)", LOCK.replace("\\\n", " ").strip())
    found = []
    for block in blocks:
        if not block.startswith("#"):
            text, *hashes = block.split("--hash=")
            found.append((Requirement(text.strip()), [h.strip() for h in hashes]))
    return found


def locked(name: str, python: str) -> list[str]:
    """The versions that the lock gives a Python on Linux."""
    where = {**default_environment(), "python_version": python, "python_full_version": f"{python}.1"}
    where |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    return [
        str(next(iter(r.specifier)).version)
        for r, _ in entries()
        if canonicalize_name(r.name) == canonicalize_name(name) and (r.marker is None or r.marker.evaluate(where))
    ]


def test_environment_yml_is_written_from_pyproject() -> None:
    lock = runpy.run_path(str(ROOT / "tools" / "lock.py"))
    assert (ROOT / "environment.yml").read_text() == lock["environment"](PYPROJECT)


def test_environment_yml_names_every_dependency() -> None:
    text = (ROOT / "environment.yml").read_text()
    for need in PYPROJECT["project"]["dependencies"]:
        requirement = Requirement(need)
        assert f"  - {requirement.name} {requirement.specifier}\n" in text


def test_a_dependency_that_conda_cannot_say_is_refused() -> None:
    lock = runpy.run_path(str(ROOT / "tools" / "lock.py"))
    project = {"name": "x", "requires-python": ">=3.11", "dependencies": ["dask[array]>=1"]}
    with pytest.raises(SystemExit, match="extras or markers"):
        lock["environment"]({"project": project})


def test_every_requirement_is_pinned_and_hashed() -> None:
    assert len(entries()) > 50
    for requirement, hashes in entries():
        (pin,) = requirement.specifier
        assert pin.operator == "==", requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in hashes), requirement


def test_the_lock_names_no_index() -> None:
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links|-i ", LOCK)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("need", NEEDS)
def test_the_lock_satisfies_every_dependency(need: str, python: str) -> None:
    requirement = Requirement(need)
    (version,) = locked(requirement.name, python)
    assert requirement.specifier.contains(version, prereleases=True)


def test_no_other_lock_is_about() -> None:
    assert not [name for name in ("uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock") if (ROOT / name).exists()]
