from __future__ import annotations

import json

import numpy as np
import xarray as xr

from hetcnn.repro.predictions import flatten, predict


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "rate": (("network", "stage"), np.array([[8.9, np.nan], [5.0, 6.0]]), {"units": "frames/s"}),
            "plan": ("network", np.array(["B4-s4", "B2-B2"], dtype=object), {"units": ""}),
            "total": ((), 3, {"units": "frames"}),
            "fits": ("network", np.array([True, False])),
        },
        coords={"network": ["alexnet", "resnet50"]},
    )


def test_every_value_is_one_row_and_nan_is_left_out() -> None:
    rows = list(flatten("toy", "Table IV", dataset()))
    assert rows[0] == {
        "paper": "toy",
        "where": "Table IV",
        "item": "rate",
        "dims": {"network": "alexnet", "stage": 0},
        "value": 8.9,
        "unit": "frames/s",
    }
    assert [r["value"] for r in rows if r["item"] == "rate"] == [8.9, 5.0, 6.0]
    assert [r["value"] for r in rows if r["item"] == "plan"] == ["B4-s4", "B2-B2"]
    assert [(r["dims"], r["value"]) for r in rows if r["item"] == "total"] == [({}, 3)]
    assert [r["value"] for r in rows if r["item"] == "fits"] == [1, 0]
    assert json.loads(json.dumps(rows)) == rows


def test_fixed_width_strings_and_numeric_coordinates() -> None:
    data = xr.Dataset({"plan": ("cores", np.array(["B1", "B2"]))}, coords={"cores": np.array([1, 2])})
    assert [(r["dims"], r["value"]) for r in flatten("toy", "x", data)] == [({"cores": 1}, "B1"), ({"cores": 2}, "B2")]


def test_what_is_published_is_no_prediction() -> None:
    beside = dataset().assign(published=("network", [8.1, 5.2]), published_total=((), 3.0))
    assert list(flatten("toy", "Table IV", beside)) == list(flatten("toy", "Table IV", dataset()))


def test_a_table_that_fails_is_told_and_leaves_the_others() -> None:
    def broken() -> xr.Dataset:
        raise KeyError("alexnet")

    rows, failures = predict("toy", {"Table I": broken, "Table IV": dataset})
    assert {row["where"] for row in rows} == {"Table IV"}
    assert failures == ["toy, Table I: KeyError: 'alexnet'"]
