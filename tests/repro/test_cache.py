from __future__ import annotations

from pathlib import Path

import pytest

from hetcnn.repro import cache


@pytest.fixture
def library(tmp_path: Path) -> tuple[Path, Path]:
    package, data = tmp_path / "pkg", tmp_path / "data"
    for file in ("model.py", "cli.py", "repro/report.py", "__pycache__/model.pyc"):
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text("1")
    data.mkdir()
    (data / "board.toml").write_text("1")
    return package, data


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("pkg/model.py", True),
        ("pkg/new.py", True),
        ("data/board.toml", True),
        ("data/new/claims.toml", True),
        ("pkg/cli.py", False),
        ("pkg/repro/report.py", False),
        ("pkg/__pycache__/model.pyc", False),
    ],
)
def test_the_key_follows_sources_and_data(library: tuple[Path, Path], file: str, matters: bool) -> None:
    package, data = library
    before = cache.base_key(data, package)
    assert cache.base_key(data, package) == before
    path = package.parent / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("2")
    assert (cache.base_key(data, package) != before) is matters


def test_the_key_follows_names_not_only_contents(library: tuple[Path, Path]) -> None:
    package, data = library
    before = cache.base_key(data, package)
    (package / "model.py").rename(package / "models.py")
    assert cache.base_key(data, package) != before


def test_the_key_follows_versions(library: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    package, data = library
    before = cache.base_key(data, package)
    monkeypatch.setattr(cache.importlib.metadata, "version", lambda _: "99")
    assert cache.base_key(data, package) != before


def test_versions_name_what_is_missing() -> None:
    found = cache.versions(["numpy", "no-such-package-here"])
    assert found["no-such-package-here"] == "missing"
    assert found["numpy"][0].isdigit()
    assert "python" in found


@pytest.mark.parametrize(
    "change", [{"source": "2"}, {"cell_type": "markdown"}, {"metadata": {"tags": ["parameters"]}}], ids=str
)
def test_the_key_follows_cells(change: dict[str, object]) -> None:
    cell: dict[str, object] = {"cell_type": "code", "source": "1", "metadata": {}}
    assert cache.cells_key([cell]) != cache.cells_key([cell | change])
    assert cache.cells_key([cell]) == cache.cells_key([cell | {"outputs": ["anything"]}])


def test_everything_listed_as_outside_exists() -> None:
    missing = [name for name in cache.OUTSIDE if not (cache.PACKAGE / name).is_file()]
    assert not missing


def test_contents_are_those_of_the_files_that_are_named(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    values = {"board": str(file), "network": "resnet-18", "cores": 4, "folder": str(tmp_path), "odd": "a\0b" * 9999}
    assert cache.contents(values) == {}
    file.write_text("1")
    first = cache.contents(values)
    assert list(first) == ["board"]
    file.write_text("2")
    assert cache.contents(values) != first
    file.write_text("1")
    assert cache.contents(values) == first
