from __future__ import annotations

from pathlib import Path

import pytest

from hetcnn.errors import HetcnnError
from hetcnn.papers import KEYS
from hetcnn.repro import claims

GOOD = """
[[claim]]
id = "a"
where = "Table I"
published = 11.30
unit = "frames/s"
kind = "printed"
role = "check"
expect = "reproduces"
"""


def load(tmp_path: Path, text: str) -> tuple[claims.Claim, ...]:
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return claims.load_file(path)


def test_a_claim_reads_back(tmp_path: Path) -> None:
    (claim,) = load(tmp_path, GOOD)
    assert (claim.id, claim.published, claim.unit, claim.rtol, claim.gate) == ("a", 11.3, "frames/s", 0.10, True)


@pytest.mark.parametrize(
    ("written", "published", "decimals"),
    [
        ("11.30", 11.3, 2),  # the trailing zero is precision
        ("12", 12, 0),
        ("5_379_616", 5379616, 0),
        ("1.2e9", 1.2e9, -8),
        ("0.05", 0.05, 2),
        ("[0.6, 0.9]", (0.6, 0.9), None),
        ('"B4-s4"', "B4-s4", None),
    ],
)
def test_published_keeps_its_printed_precision(
    tmp_path: Path, written: str, published: object, decimals: int | None
) -> None:
    unit = "configuration" if isinstance(published, str) else "frames/s"
    (claim,) = load(tmp_path, GOOD.replace("11.30", written).replace("frames/s", unit))
    assert claim.published == published
    assert claim.decimals == decimals


def test_tolerance_is_the_widest_of_what_is_allowed(tmp_path: Path) -> None:
    (claim,) = load(tmp_path, GOOD)
    assert claim.tolerance == pytest.approx(1.13)
    (claim,) = load(tmp_path, GOOD + "atol = 0.5\n")
    assert claim.tolerance == 0.5  # atol replaces rtol
    (claim,) = load(tmp_path, GOOD + "atol = 0.01\nreading_error = 0.05\n")
    assert claim.tolerance == 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rtol = 0.2",), "claim 'a': rtol: Input should be less than or equal to 0.15, got 0.2"),
        (("atoll = 0.2",), "claim 'a': unknown field 'atoll'; did you mean 'atol'?"),
        (("kind =", "#"), "claim 'a': kind: missing field"),
        (("'check'", '"chekc"'), "claim 'a': role: Input should be 'check' or 'calibration', got 'chekc'"),
        (("11.30", "true"), "claim 'a': published: expected a number, a range [lo, hi] or a string, got True"),
        (("11.30", "[1, 2, 3]"), "claim 'a': published: expected a number, a range [lo, hi] or a string"),
        (("11.30", "[2, 1]"), "claim 'a': published: a range needs lo <= hi, got [2, 1]"),
        (("11.30", '"x"'), "claim 'a': published: a claim in 'frames/s' needs a number, got 'x'"),
        (("11.30", "nan"), "claim 'a': published: expected a finite number, got nan"),
        (("reproduces", "trend"), "claim 'a': group: expect = 'trend' needs the group"),
        (("reproduces", "inconsistent"), "claim 'a': contradicts: expect = 'inconsistent' needs the ids"),
        (("follows_from = ['b']",), "claim 'a': follows_from: unknown claim 'b'"),
        (("follows_from = ['a']",), "claim 'a': follows_from: a claim cannot refer to itself"),
        (("reading_error = -1",), "claim 'a': reading_error: Input should be greater than or equal to 0, got -1"),
        (("known_miss = ''",), "claim 'a': known_miss: String should have at least 1 character"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, change: tuple[str, ...], message: str) -> None:
    if len(change) == 1:
        text = GOOD + change[0] + "\n"
    elif change[0] == "kind =":
        text = GOOD.replace("kind =", "# kind =")
    else:
        text = GOOD.replace(change[0].replace("'", '"'), change[1])
    assert text != GOOD
    with pytest.raises(HetcnnError) as error:
        load(tmp_path, text)
    said = str(error.value)
    assert said.startswith(f"{tmp_path / 'claims.toml'}: {message}")
    assert "\n" not in said


def test_ids_are_unique(tmp_path: Path) -> None:
    with pytest.raises(HetcnnError, match=r"claim 'a': id: used twice; ids must be unique$"):
        load(tmp_path, GOOD + GOOD)


@pytest.mark.parametrize("text", ["", "a = 1", "[claim]\nid = 'a'", "[[claim]]\nid =", "[[other]]\nid = 'a'"])
def test_what_is_no_claims_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(HetcnnError, match=r"claims\.toml: "):
        load(tmp_path, text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(HetcnnError, match="No such file"):
        claims.load_file(tmp_path / "claims.toml")


@pytest.mark.parametrize("key", KEYS)
def test_every_shipped_file_is_valid(key: str) -> None:
    assert claims.load(key)
