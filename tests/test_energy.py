"""Energy: published arithmetic, hand calculations and laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError
from hetcnn.energy import average_power, energy_delay_product, frames_per_joule, rail_energy, total

FAST = settings(derandomize=True, deadline=None)
AMOUNT = st.floats(0, 1e6)
ARGUMENTS = ("static", "dynamic", "busy", "per_op", "ops", "per_byte", "nbytes")


def test_synergy_cifar_darknet_closes():
    # Fig 10 and Fig 9 of Synergy: 0.616 + 0.739 + 0.779 W at 84.2 frames/s is Table 3's 25.36 mJ/frame.
    rails = [rail_energy(1 / 84.2, dynamic=watts, busy=1 / 84.2) for watts in (0.616, 0.739, 0.779)]
    joules = total(rails).total
    assert float(joules) == pytest.approx(25.36e-3, rel=0.002)
    assert float(average_power(joules, 1 / 84.2)) == pytest.approx(2.134)


def test_pipeit_images_per_joule():
    # Table VIII: AlexNet on the Big cluster, 3.8 W at 8.1 img/s is 2.1 img/J.
    assert float(frames_per_joule(3.8 / 8.1)) == pytest.approx(2.1, abs=0.05)


@FAST
@given(AMOUNT, st.lists(AMOUNT, min_size=7, max_size=7))
def test_parts_add_up(time, values):
    given_values = dict(zip(ARGUMENTS, values, strict=True))
    e = rail_energy(time, **given_values)
    v = given_values
    by_hand = v["static"] * time + v["dynamic"] * v["busy"] + v["per_op"] * v["ops"] + v["per_byte"] * v["nbytes"]
    assert float(e.total) == pytest.approx(by_hand)
    assert float(e.static + e.dynamic) == float(e.total)
    assert float(sum(e)) == pytest.approx(float(e.total))
    assert min(float(part) for part in e) >= 0


@FAST
@given(st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT), max_size=5))
def test_rails_add_up(rails):
    energies = [rail_energy(t, static=s, dynamic=d, busy=t) for t, s, d in rails]
    assert float(total(energies).total) == pytest.approx(sum(float(e.total) for e in energies))


@FAST
@given(AMOUNT, AMOUNT, st.lists(AMOUNT, min_size=7, max_size=7), st.sampled_from(ARGUMENTS))
def test_more_of_anything_never_costs_less(time, more, values, grown):
    base = dict(zip(ARGUMENTS, values, strict=True))
    assert rail_energy(time, **base).total <= rail_energy(time, **base | {grown: base[grown] + more}).total
    assert rail_energy(time, **base).total <= rail_energy(time + more, **base).total


def test_broadcasts_over_points():
    e = rail_energy(np.ones(4), static=np.array([[1.0], [2.0]]), per_byte=1e-9, nbytes=np.arange(4) * 1e9)
    assert e.total.tolist() == [[1, 2, 3, 4], [2, 3, 4, 5]]


def test_no_power_over_an_endless_time_is_no_energy():
    assert float(rail_energy(math.inf, static=0.0).total) == 0
    assert float(rail_energy(math.inf, static=1.0).total) == math.inf


def test_energy_delay_product_by_hand():
    assert energy_delay_product([0.5, 2.0], 0.25).tolist() == [0.125, 0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rail_energy(-1), "time must be at least 0, got -1"),
        (lambda: rail_energy(1, static=math.nan), "static must be at least 0, got nan"),
        (lambda: rail_energy(1, per_op=-1), "per_op must be at least 0, got -1"),
        (lambda: frames_per_joule(0), "energy must be above 0, got 0"),
        (lambda: average_power(1, 0), "time must be above 0, got 0"),
        (lambda: energy_delay_product(1, -1), "latency must be at least 0, got -1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(HetcnnError) as caught:
        call()
    assert str(caught.value).startswith(message)
