from __future__ import annotations

from pathlib import Path

import pytest

from hetcnn.errors import HetcnnError
from hetcnn.repro import parameters

SOURCE = '''\
"""What you may change."""
network: str = "googlenet"  # which network
cores: int = 4
ratio: float = 0.5  # share of layers
live: bool = False
points: list[int] = [1, 2]
seed: int | None = None
'''


def declared() -> tuple[parameters.Parameter, ...]:
    return parameters.parse(SOURCE)


def test_lines_are_read_with_type_default_and_help() -> None:
    first, *others = declared()
    assert (first.name, first.type, first.default, first.help) == ("network", "str", "googlenet", "which network")
    assert [p.name for p in others] == ["cores", "ratio", "live", "points", "seed"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("network=alexnet", "alexnet"),
        ("network=42", "42"),
        ("network=a=b", "a=b"),
        ("cores=2", 2),
        ("ratio=1", 1.0),
        ("ratio=1e-3", 1e-3),
        ("live=true", True),
        ("live=False", False),
        ("points=[3]", [3]),
        ("seed=None", None),
        ("seed=7", 7),
    ],
)
def test_values_take_the_declared_type(text: str, value: object) -> None:
    given = parameters.given([text], {"nb": declared()})["nb"]
    ((_, found),) = given.items()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cores=two", "--set cores=two: 'cores' is int, for instance cores=4"),
        ("cores=2.5", "--set cores=2.5: 'cores' is int, for instance cores=4"),
        ("cores=True", "--set cores=True: 'cores' is int, for instance cores=4"),
        ("live=1", "--set live=1: 'live' is bool, for instance live=False"),
        ("ratio=half", "--set ratio=half: 'ratio' is float, for instance ratio=0.5"),
        ("points=3", "--set points=3: 'points' is list[int], for instance points=[1, 2]"),
        ("core=2", "unknown parameter 'core'; did you mean 'cores'?"),
        ("cores", "--set cores: expected name=value"),
        ("=2", "--set =2: expected name=value"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(text: str, message: str) -> None:
    with pytest.raises(HetcnnError) as error:
        parameters.given([text], {"nb": declared()})
    assert str(error.value).startswith(message)


def test_a_value_goes_to_the_notebooks_that_declare_it() -> None:
    given = parameters.given(["cores=2"], {"a": declared(), "b": parameters.parse("other: int = 1"), "c": ()})
    assert given == {"a": {"cores": 2}, "b": {}, "c": {}}


def test_without_parameters_every_name_is_refused() -> None:
    with pytest.raises(HetcnnError, match="none of the notebooks a, b has parameters"):
        parameters.given(["cores=2"], {"a": (), "b": ()})


@pytest.mark.parametrize(
    "source", ["cores = 4", "cores: int", "cores: int = 2 + f()", "import os", "cores: complex = 1j", "x.y: int = 1"]
)
def test_other_lines_are_refused(source: str) -> None:
    with pytest.raises(HetcnnError, match=r"04: parameters cell, line 1: expected 'name: type = literal  # help'"):
        parameters.parse(source, "04")


def test_a_cell_that_does_not_parse_is_told() -> None:
    with pytest.raises(HetcnnError, match="04: parameters cell, line 1: "):
        parameters.parse("cores: int = (", "04")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": 1}', '{"cells": [{"source": "x"}]}'])
def test_a_file_that_is_no_notebook_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    with pytest.raises(HetcnnError, match="not a notebook"):
        parameters.read_cells(path)
