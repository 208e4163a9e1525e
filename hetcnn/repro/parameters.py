"""Notebook parameters: the typed lines of the cell tagged `parameters`, and the check of `--set name=value`."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hetcnn.errors import HetcnnError, unknown

__all__ = ["Parameter", "declared", "given", "parse", "read_cells"]

TYPES: Mapping[str, type] = {"bool": bool, "float": float, "int": int, "str": str, "list": list, "dict": dict}


@dataclass(frozen=True)
class Parameter:
    """One line `name: type = literal  # help` of a parameters cell."""

    name: str
    type: str
    default: Any
    help: str = ""

    def read(self, text: str) -> Any:
        """Return the value that `text` gives this parameter; raises HetcnnError when it is of another type.

        >>> Parameter("cores", "int", 4).read("2")
        2
        """
        optional = self.type.endswith("| None")
        if optional and text == "None":
            return None
        name = self.type.removesuffix("| None").strip().partition("[")[0]
        value = text if name == "str" else _literal(text)
        if name == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if name == "bool" and text.lower() in ("true", "false"):
            value = text.lower() == "true"
        if type(value) is not TYPES[name]:
            example = f"{self.name}={self.default}"
            raise HetcnnError(f"--set {self.name}={text}: '{self.name}' is {self.type}, for instance {example}")
        return value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook as JSON has them; raises HetcnnError for a file that is no notebook."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if isinstance(cell["source"], list):
                cell["source"] = "".join(cell["source"])
            cell["cell_type"], cell.setdefault("metadata", {})
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HetcnnError(f"{notebook}: not a notebook: {type(error).__name__}: {error}") from None
    return list(cells)


def declared(cells: Iterable[Mapping[str, Any]], where: str = "notebook") -> tuple[Parameter, ...]:
    """Return the parameters that a notebook declares in its cell tagged `parameters`."""
    tagged = [c for c in cells if c["cell_type"] == "code" and "parameters" in c["metadata"].get("tags", [])]
    return tuple(p for cell in tagged for p in parse(cell["source"], where))


def parse(source: str, where: str = "notebook") -> tuple[Parameter, ...]:
    """Return the parameters in the source of a parameters cell; raises HetcnnError for a line of another form.

    >>> parse("cores: int = 4  # big cores in use")
    (Parameter(name='cores', type='int', default=4, help='big cores in use'),)
    """
    lines = source.splitlines()
    found = []
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise HetcnnError(f"{where}: parameters cell, line {error.lineno}: {error.msg}") from None
    for statement in statements:
        parameter = _parameter(statement, lines)
        if parameter is None:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            raise HetcnnError(
                f"{where}: parameters cell, line {statement.lineno}: expected 'name: type = literal  # help' with a "
                f"type among {', '.join(TYPES)}, got '{lines[statement.lineno - 1].strip()}'"
            )
        found.append(parameter)
    return tuple(found)


def _parameter(statement: ast.stmt, lines: list[str]) -> Parameter | None:
    if (
        not isinstance(statement, ast.AnnAssign)
        or not isinstance(statement.target, ast.Name)
        or statement.value is None
    ):
        return None
    annotation = ast.unparse(statement.annotation)
    if annotation.removesuffix("| None").strip().partition("[")[0] not in TYPES:
        return None
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        return None
    last = lines[(statement.end_lineno or statement.lineno) - 1]
    comment = last[statement.end_col_offset or 0 :].partition("#")[2].strip()
    return Parameter(statement.target.id, annotation, default, comment)


def given(assignments: Iterable[str], notebooks: Mapping[str, tuple[Parameter, ...]]) -> dict[str, dict[str, Any]]:
    """Return, for each notebook, the values of the `name=value` assignments that it declares.

    Raises HetcnnError for an assignment without `=`, a name that no notebook declares and a value of another type.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in notebooks}
    every = {p.name for parameters in notebooks.values() for p in parameters}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            raise HetcnnError(f"--set {assignment}: expected name=value")
        if name not in every:
            raise (
                unknown("parameter", name, every)
                if every
                else HetcnnError(f"--set {assignment}: none of the notebooks {', '.join(notebooks)} has parameters")
            )
        for notebook, parameters in notebooks.items():
            for parameter in parameters:
                if parameter.name == name:
                    chosen[notebook][name] = parameter.read(text)
    return chosen
