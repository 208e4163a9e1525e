from __future__ import annotations

from hetcnn.errors import unknown


def test_a_long_list_is_cut_to_the_nearest_five() -> None:
    said = str(unknown("claim", "table-7", [f"table-{i}" for i in range(700, 760)] + ["another"]))
    listed, _, more = said.partition("Known: ")[2].partition(" and ")
    assert listed.count(", ") == 4
    assert more == "56 more"
    assert all(name.startswith("table-7") for name in listed.split(", "))
    assert len(said) < 200


def test_a_short_list_is_whole() -> None:
    names = [f"board-{i:02}" for i in range(20)]
    assert str(unknown("board", "zzz", names)).endswith(f"Known: {', '.join(names)}")
