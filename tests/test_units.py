"""Units: hand conversions, laws, and the message of every kind of wrong input."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError
from hetcnn.units import DIMENSIONS, Quantity, brief, convert, non_negative, parse, positive, si

BY_HAND = [
    ("25.6 GB/s", "bandwidth", 2.56e10),
    ("25.6GB/s", "bandwidth", 2.56e10),
    ("8 Gbit/s", "bandwidth", 1e9),
    ("1 GiB/s", "bandwidth", 2**30),
    ("6 GiB", "data", 6 * 2**30),
    ("1 kB", "data", 1000),
    ("11740 Kibit", "data", 11740 * 128),
    ("2.36 GHz", "frequency", 2.36e9),
    ("100e6 Hz", "frequency", 1e8),
    ("3.2 ms", "time", 3.2e-3),
    ("20 us", "time", 2e-5),
    ("20 µs", "time", 2e-5),
    ("20 μs", "time", 2e-5),
    ("2 min", "time", 120),
    ("228 mW", "power", 0.228),
    ("14.4 mJ", "energy", 0.0144),
    ("1 Wh", "energy", 3600),
    ("244.8 GFLOP/s", "op_rate", 2.448e11),
    ("2 GMAC/s", "op_rate", 4e9),
    ("3 Mops/s", "op_rate", 3e6),
    ("128 Gop/s", "op_rate", 1.28e11),
    ("4.6 pJ/MAC", "energy_per_op", 2.3e-12),
    ("2 pJ/op", "energy_per_op", 2e-12),
    ("1 pJ/bit", "energy_per_byte", 8e-12),
    ("37 %", "ratio", 0.37),
    ("-3 %", "ratio", -0.03),
    (" 4 ", "count", 4),
    ("0 W", "power", 0),
]


@pytest.mark.parametrize(("text", "dimension", "value"), BY_HAND)
def test_parse_by_hand(text, dimension, value):
    assert parse(text, dimension) == value


WRONG = [
    ("25.6 GB/s", "frequency", "expected a frequency, got '25.6 GB/s'"),
    ("25.6 GB", "bandwidth", "expected a bandwidth, got '25.6 GB'"),
    ("2.36 Ghz", "frequency", "expected a frequency, got '2.36 Ghz'; did you mean 'GHz'?"),
    ("2.36", "frequency", "expected a frequency, got '2.36'; give its unit, such as 'MHz'"),
    ("nan W", "power", "expected a power, got 'nan W'; it must be a finite number"),
    ("-inf s", "time", "expected a time, got '-inf s'; it must be a finite number"),
    ("1e999 W", "power", "expected a power, got '1e999 W'; it must be a finite number"),
    ("-5 W", "power", "expected a power, got '-5 W'; it must not be negative"),
    ("1.5", "count", "expected a count, got '1.5'; it must be a whole number"),
    ("4 cores", "count", "expected a count, got '4 cores'; a count has no unit"),
    ("fast", "op_rate", "expected an op rate, got 'fast'; write it like '1.5 Gop/s'"),
    ("5\nGHz\n!", "frequency", "expected a frequency, got '5 GHz !'; did you mean 'GHz'?"),
    ("1 W", "powr", "unknown dimension 'powr'; did you mean 'power'?"),
]


@pytest.mark.parametrize(("text", "dimension", "message"), WRONG)
def test_wrong_text_is_answered_in_one_line(text, dimension, message):
    with pytest.raises(HetcnnError) as caught:
        parse(text, dimension)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "dimension", "message"),
    [
        (2.36e9, "frequency", "expected a frequency, got 2360000000.0; give its unit, such as 'MHz'"),
        (True, "count", "expected a count, got True; write it like '4'"),
        ([1], "ratio", "expected a ratio, got [1]; write it like '1.5 %'"),
        (math.nan, "ratio", "expected a ratio, got nan; it must be a finite number"),
        (10**400, "count", "it must be a finite number"),
        pytest.param(10**5000, "count", "got a number of thousands of digits; it must be a finite number", id="huge"),
    ],
)
def test_convert_refuses(raw, dimension, message):
    with pytest.raises(HetcnnError) as caught:
        convert(raw, dimension)
    assert message in str(caught.value)


@given(st.text(max_size=30), st.sampled_from(sorted(DIMENSIONS)))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_any_text_is_a_finite_value_or_an_error(text, dimension):
    with contextlib.suppress(HetcnnError):
        assert math.isfinite(parse(text, dimension))


@given(
    st.floats(1e-12, 1e15),
    st.sampled_from(["time", "frequency", "data", "bandwidth", "power", "energy", "op_rate", "energy_per_op"]),
)
@settings(derandomize=True, deadline=None)
def test_si_text_reads_back(value, dimension):
    text = si(value, DIMENSIONS[dimension], 9).replace(",", "")
    assert parse(text, dimension) == pytest.approx(value, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (25.6e9, "B/s", "25.6 GB/s"),
        (0.0032, "s", "3.2 ms"),
        (9.996e8, "Hz", "1 GHz"),
        (0, "W", "0 W"),
        (1234, "s", "1,234 s"),
        (0.5, "B", "0.5 B"),
        (-0.25, "W", "-250 mW"),
        (math.inf, "s", "inf s"),
        (math.nan, "", "nan"),
        (80330, "", "80,330"),
        (0.134, "%", "13.4 %"),
        (8e-12, "J/op", "8 pJ/op"),
    ],
)
def test_si_by_hand(value, unit, text):
    assert si(value, unit) == text


def test_quantity_keeps_where_it_comes_from():
    sourced = Quantity.read({"value": "2.36 GHz", "source": "Table IV"}, "frequency")
    assert (float(sourced), str(sourced), sourced.provenance, sourced.assumed) == (
        2.36e9,
        "2.36 GHz",
        "Table IV",
        False,
    )
    raw = {"value": "29.8 GB/s", "assumed": ["20 GB/s", "29.9 GB/s"], "why": "not published"}
    assumed = Quantity.read(raw, "bandwidth")
    assert (assumed.low, assumed.high, assumed.assumed) == (2e10, 2.99e10, True)
    assert assumed.provenance == "assumed (20 GB/s to 29.9 GB/s): not published"


@pytest.mark.parametrize("text", ["1 GiB", "512 KiB", "2 MiB", "6 GB", "64 MB", "2 B", "1.5 kB", "0 B"])
def test_sizes_show_as_they_are_written(text):
    assert str(Quantity.read({"value": text, "source": "x"}, "data")) == text


RANGE = ["1 W", "2 W"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("5 W", "expected a power, got '5 W'; write a table { value = ..., source = ... }"),
        ({"source": "x"}, "'value' is missing"),
        ({"value": "5 W"}, "give exactly one of 'source' (where the number stands) and 'assumed' (its range)"),
        ({"value": "1 W", "source": "x", "assumed": RANGE}, "give exactly one of"),
        ({"value": "5 W", "source": " "}, "'source' has to say in words where the number comes from, got ''"),
        ({"value": "5 W", "source": "x", "why": "y"}, "'why' explains an assumption"),
        ({"value": "1 W", "assumed": RANGE}, "'why' is missing; say in words where the number comes from"),
        ({"value": "5 W", "assumed": RANGE, "why": "x"}, "5 W is outside its assumed range 1 W to 2 W"),
        ({"value": "1 W", "assumed": RANGE[::-1], "why": "x"}, "its ends are in the wrong order"),
        ({"value": "1 W", "assumed": "1 W", "why": "x"}, "'assumed' is a range [low, high], got 1 W"),
        ({"value": "1 W", "sorce": "x"}, "unknown field 'sorce'; did you mean 'source'?"),
        ({"value": "1 GHz", "source": "x"}, "expected a power, got '1 GHz'"),
    ],
)
def test_quantity_refuses(raw, message):
    with pytest.raises(HetcnnError) as caught:
        Quantity.read(raw, "power")
    assert message in str(caught.value)


def test_brief_is_one_short_line():
    assert len(brief("x" * 10_000)) == 40
    assert brief("tab\there") == "tab here"


def test_array_checks_name_the_argument():
    with pytest.raises(HetcnnError, match=r"^ops must be at least 0, got -2$"):
        non_negative("ops", [1, -2])
    with pytest.raises(HetcnnError, match=r"^ops must be at least 0, got nan$"):
        non_negative("ops", math.nan)
    with pytest.raises(HetcnnError, match=r"^peak must be above 0, got 0$"):
        positive("peak", 0)
