"""The wheel: built, installed into a fresh environment, and used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from hetcnn import data, platform, zoo

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; the dependencies are borrowed from this one, by a path file."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    scheme = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = Path(sysconfig.get_path("scripts", "venv", vars=scheme)) / Path(sys.executable).name
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    return python.parent


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_wheel_carries_data_notebooks_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder, inside in ((data.path(), "hetcnn/_data"), (data.notebooks_folder(), "hetcnn/_notebooks")):
        shipped = [f for f in folder.rglob("*") if f.is_file() and ".ipynb_checkpoints" not in f.parts]
        assert {f"{inside}/{f.relative_to(folder).as_posix()}" for f in shipped} <= set(names)
    for name in ("hetcnn/py.typed", "hetcnn/repro/templates/report.html", "hetcnn/repro/templates/report.css"):
        assert name in names
    assert any(name.endswith("LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"hetcnn"}
    assert not [name for name in names if "test" in name.lower() or "__pycache__" in name or name.endswith(".toml.bak")]


def test_the_installed_package_is_the_one_in_use(installed: Path, tmp_path: Path) -> None:
    script = "import hetcnn, hetcnn.data as d; print(hetcnn.__file__); print(d.path()); print(d.notebooks_folder())"
    done = run(installed, tmp_path, str(installed / "python"), "-c", script)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(installed.parent)) for line in done.stdout.splitlines())


def test_the_command_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    hetcnn = str(installed / "hetcnn")
    done = run(installed, tmp_path, hetcnn, "platforms")
    assert done.returncode == 0, done.stderr
    assert all(f"\n{name} " in done.stdout for name in platform.names())
    done = run(installed, tmp_path, hetcnn, "networks")
    assert done.returncode == 0, done.stderr
    assert all(f"\n{name} " in done.stdout for name in zoo.names())
    done = run(installed, tmp_path, hetcnn, "analyse", "lenet-5", "--platform", "hikey970")
    assert done.returncode == 0, done.stderr
    assert "best pipeline" in done.stdout
    assert not list(tmp_path.iterdir())


def test_claims_are_scored_from_the_installed_data(installed: Path, tmp_path: Path) -> None:
    script = (
        "from hetcnn.repro import claims; from hetcnn import papers; print(*map(len, map(claims.load, papers.KEYS)))"
    )
    done = run(installed, tmp_path, str(installed / "python"), "-c", script)
    assert done.returncode == 0, done.stderr
    assert all(int(count) > 0 for count in done.stdout.split())


def test_the_lab_opens_a_copy_that_can_be_written(installed: Path, tmp_path: Path) -> None:
    script = "from hetcnn import lab; print(lab.folder())"
    done = run(installed, tmp_path, str(installed / "python"), "-c", script)
    assert done.stdout.strip() == "hetcnn-notebooks", done.stderr
    copied = sorted(f.name for f in (tmp_path / "hetcnn-notebooks").rglob("*.ipynb"))
    assert copied == sorted(f.name for f in data.notebooks_folder().rglob("*.ipynb"))
