"""Claims: the published numbers on file, one entry each, read from `data/papers/<key>/claims.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError, model_validator

from hetcnn import data
from hetcnn.errors import HetcnnError, unknown

__all__ = ["RTOL", "RTOL_MAX", "Claim", "load", "load_file"]

RTOL = 0.10
"""The relative tolerance of a claim that sets none."""

RTOL_MAX = 0.15
"""No claim may be judged more loosely than this."""

_MEASURED = re.compile(r"%|1|.*/.*|[kMGTmuµn]?(s|Hz|B|J|W|op|MAC)")
"""Units of numbers only; a word, such as "configuration", may be the unit of a string."""

Number = StrictInt | StrictFloat
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Claim(BaseModel):
    """One published number, range or configuration, and how a model's value for it is to be judged.

    `published` is a number, a range `[lo, hi]` or a string; `atol`, in the claim's unit, replaces `rtol`. `decimals`
    is the number of printed decimals and follows from how the number is written in the file. Raises
    `pydantic.ValidationError` (a `ValueError`) for a field that breaks a rule; `load_file` says it in one line.

    >>> claim = Claim(id="a", where="Table I", published=12.5, unit="frames/s", kind="printed", role="check",
    ...               expect="reproduces")
    >>> claim.decimals, claim.tolerance          # 10 % of 12.5
    (1, 1.25)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1, pattern=r"^\S+$")]
    where: Annotated[str, Field(min_length=1)]
    published: Number | StrictStr | tuple[Number, Number]
    unit: str
    kind: Literal["printed", "digitised", "derived"]
    reading_error: Tolerance | None = None
    role: Literal["check", "calibration"]
    expect: Literal["reproduces", "trend", "inconsistent", "out_of_scope"]
    rtol: Annotated[float, Field(ge=0, le=RTOL_MAX)] = RTOL
    atol: Tolerance | None = None
    group: str | None = None
    contradicts: tuple[str, ...] = ()
    arithmetic: str | None = None
    follows_from: tuple[str, ...] = ()
    gate: bool = True
    known_miss: Annotated[str, Field(min_length=1)] | None = None
    reason: str | None = None
    note: str | None = None
    decimals: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _keep_the_printed_precision(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or "published" not in fields:
            return fields
        published = fields["published"]
        plain = [_plain(p) for p in published] if isinstance(published, list | tuple) else _plain(published)
        return {"decimals": _decimals(published)} | fields | {"published": plain}

    @model_validator(mode="after")
    def _rules(self) -> Claim:
        if isinstance(self.published, tuple) and not self.published[0] <= self.published[1]:
            raise ValueError(f"published: a range needs lo <= hi, got {list(self.published)}")
        if any(isinstance(p, float) and not abs(p) < float("inf") for p in self._numbers):
            raise ValueError(f"published: expected a finite number, got {self.published}")
        if self.expect == "trend" and not self.group:
            raise ValueError("group: expect = 'trend' needs the group that is judged together")
        if self.expect == "trend" and (isinstance(self.published, str) or len(self._numbers) != 1):
            raise ValueError(f"published: a trend needs one number, got {self.published!r}")
        if self.expect == "inconsistent" and not self.contradicts:
            raise ValueError("contradicts: expect = 'inconsistent' needs the ids of the claims it contradicts")
        if self.expect == "inconsistent" and not self.arithmetic:
            raise ValueError("arithmetic: expect = 'inconsistent' needs the arithmetic in words")
        return self

    @property
    def _numbers(self) -> tuple[int | float, ...]:
        if isinstance(self.published, str):
            return ()
        return self.published if isinstance(self.published, tuple) else (self.published,)

    @property
    def tolerance(self) -> float:
        """How far a model's value may be off, in the claim's unit: of a range, beyond its upper end; of a string, 0."""
        return self.tolerance_at(self._numbers[-1]) if self._numbers else 0.0

    def tolerance_at(self, published: float) -> float:
        """How far a model's value may be off from one published number or end of a range."""
        wide = self.atol if self.atol is not None else self.rtol * abs(published)
        return float(max(wide, self.reading_error or 0.0))

    @property
    def printed_error(self) -> float:
        """The uncertainty of the published number itself: its reading error, or half a unit in the last place."""
        if self.reading_error is not None:
            return self.reading_error
        return 0.5 * 10.0**-self.decimals if self.decimals is not None else 0.0

    @property
    def counts(self) -> bool:
        """Whether the headline counts it: a check that is expected to reproduce and is no mere arithmetic."""
        return self.role == "check" and self.expect == "reproduces" and not self.follows_from

    def _repr_html_(self) -> str:
        from hetcnn.repro.markup import claim_html

        return claim_html(self)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _decimals(published: Any) -> int | None:
    """Printed decimals of a number as it is written; negative for 1.5e6."""
    if isinstance(published, bool) or not isinstance(published, int | float | Decimal):
        return None
    if isinstance(published, int):
        return 0
    exponent = Decimal(str(published)).as_tuple().exponent
    return -exponent if isinstance(exponent, int) else None


def load(key: str) -> tuple[Claim, ...]:
    """Return the claims of one paper, in the order of the file."""
    return load_file(data.path("papers", key, "claims.toml"))


def load_file(path: Path) -> tuple[Claim, ...]:
    """Return the claims in a TOML file; raises HetcnnError with file, claim and field in one line."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HetcnnError(f"{path}: {error}") from None
    entries = document.pop("claim", None)
    if document or not isinstance(entries, list) or not entries:
        found = ", ".join(document) or "none"
        raise HetcnnError(f"{path}: expected [[claim]] entries and nothing else, found: {found}")
    claims = tuple(_claim(path, number, entry) for number, entry in enumerate(entries, 1))
    _check_references(path, claims)
    return claims


def _claim(path: Path, number: int, entry: Any) -> Claim:
    if not isinstance(entry, Mapping):
        raise HetcnnError(f"{path}: claim number {number}: expected a table, got {entry!r}")
    name = f"claim '{entry['id']}'" if "id" in entry else f"claim number {number}"
    try:
        claim = Claim.model_validate(entry)
    except ValidationError as error:
        raise HetcnnError(f"{path}: {name}: {_first(error, entry)}") from None
    if isinstance(claim.published, str) and _MEASURED.fullmatch(claim.unit):
        rule = f"a claim in '{claim.unit}' needs a number, got {claim.published!r}"
        raise HetcnnError(f"{path}: {name}: published: {rule}")
    return claim


def _first(error: ValidationError, entry: Mapping[str, Any]) -> str:
    """The first thing wrong with a claim, said with the field, the rule, the value and the nearest valid choice."""
    details = error.errors()
    detail = details[0]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    place = str(detail["loc"][0]) if detail["loc"] else ""
    if detail["type"] == "extra_forbidden":
        return f"{unknown('field', place, Claim.model_fields)}{more}"
    if detail["type"] == "missing":
        return f"{place}: missing field{more}"
    if place == "published":
        more = ""
        message = "expected a number, a range [lo, hi] or a string"
    else:
        message = detail["msg"].removeprefix("Value error, ")
    got = f", got {_plain(entry.get(place))!r}" if place else ""
    return f"{place}: {message}{got}{more}" if place else f"{message}{more}"


def _check_references(path: Path, claims: Iterable[Claim]) -> None:
    ids: set[str] = set()
    claims = tuple(claims)
    for claim in claims:
        if claim.id in ids:
            raise HetcnnError(f"{path}: claim '{claim.id}': id: used twice; ids must be unique")
        ids.add(claim.id)
    for claim in claims:
        for field in ("contradicts", "follows_from"):
            for other in getattr(claim, field):
                if other not in ids or other == claim.id:
                    raise HetcnnError(f"{path}: claim '{claim.id}': {field}: {_reference_error(other, claim.id, ids)}")


def _reference_error(other: str, own: str, ids: set[str]) -> str:
    if other == own:
        return "a claim cannot refer to itself"
    message = str(unknown("claim", other, ids))
    return message.partition(" Known: ")[0].rstrip(";")
