"""Roofline: hand calculations and laws that hold for every point."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError
from hetcnn.roofline import attainable, layer_time, ridge_point

RATE = st.floats(1e3, 1e15)
WORK = st.floats(0, 1e15)
FAST = settings(derandomize=True, deadline=None)


def test_snowflake_by_hand():
    # 128 Gop/s over 4.2 GB/s: the ridge is at 30.5 ops/B; an intensity of 1 gives the bandwidth itself.
    assert ridge_point(128e9, 4.2e9) == pytest.approx(30.476, abs=1e-3)
    assert attainable([1, 30.476190476190474, 118.8], 128e9, 4.2e9) == pytest.approx([4.2e9, 128e9, 128e9])


def test_no_traffic_meets_the_compute_roof_only():
    assert attainable(math.inf, 5e9, 1.0) == 5e9


@FAST
@given(st.floats(0, 1e9), RATE, RATE)
def test_attainable_is_below_both_roofs_and_on_one_of_them(intensity, peak, bandwidth):
    rate = attainable(intensity, peak, bandwidth)
    assert rate <= peak
    assert rate <= intensity * bandwidth
    assert rate in (peak, intensity * bandwidth)


@FAST
@given(st.lists(st.tuples(st.floats(0, 1e9), RATE), min_size=1, max_size=4), RATE)
def test_several_memories_are_the_lowest_of_each_alone(memories, peak):
    intensity, bandwidth = np.array(memories).T
    alone = [float(attainable(i, peak, b)) for i, b in memories]
    assert attainable(intensity, peak, bandwidth, memory_axis=-1) == min(alone)


@FAST
@given(RATE, RATE)
def test_ridge_point_is_where_both_roofs_meet(peak, bandwidth):
    ridge = ridge_point(peak, bandwidth)
    assert attainable(ridge, peak, bandwidth) == pytest.approx(peak)
    assert attainable(ridge / 2, peak, bandwidth) == pytest.approx(peak / 2)


@FAST
@given(WORK, st.lists(st.tuples(WORK, RATE), max_size=3), RATE, st.floats(0, 1), WORK, RATE)
def test_layer_time_is_its_longest_part(ops, memories, peak, overhead, link_bytes, link):
    sizes = {f"m{i}": size for i, (size, _) in enumerate(memories)}
    rates = {f"m{i}": rate for i, (_, rate) in enumerate(memories)}
    result = layer_time(ops, sizes, peak, rates, overhead=overhead, link_bytes=link_bytes, link_bandwidth=link)
    parts = {"compute": ops / peak, **{f"memory:{m}": sizes[m] / rates[m] for m in sizes}, "link": link_bytes / link}
    assert float(result.time) == pytest.approx(max(parts.values()) + overhead)
    label = str(result.label)
    assert (parts[label] if label != "none" else 0.0) == max(parts.values())


@FAST
@given(WORK, WORK, RATE, RATE, st.floats(1, 100), WORK)
def test_faster_parts_never_slow_anything(ops, size, peak, bandwidth, factor, link_bytes):
    link = {"link_bytes": link_bytes, "link_bandwidth": bandwidth}
    base = layer_time(ops, {"dram": size}, peak, {"dram": bandwidth}, **link).time
    assert layer_time(ops, {"dram": size}, peak, {"dram": bandwidth * factor}, **link).time <= base
    assert layer_time(ops, {"dram": size}, peak * factor, {"dram": bandwidth}, **link).time <= base
    assert layer_time(ops, {"dram": size}, peak, {"dram": bandwidth}, overhead=factor, **link).time >= base
    wider = link | {"link_bandwidth": bandwidth * factor}
    assert layer_time(ops, {"dram": size}, peak, {"dram": bandwidth}, **wider).time <= base


@FAST
@given(st.floats(1, 1e12), st.floats(1, 1e12), RATE, RATE)
def test_rate_of_a_layer_without_overhead_is_the_attainable_one(ops, size, peak, bandwidth):
    time = layer_time(ops, {"dram": size}, peak, {"dram": bandwidth}).time
    assert ops / time == pytest.approx(float(attainable(ops / size, peak, bandwidth)))


def test_a_million_points_broadcast_against_a_column_of_devices():
    ops = np.linspace(0, 1e9, 200_000)
    result = layer_time(ops, {"dram": 1e6}, np.array([[1e9], [1e10], [1e11]]), {"dram": 1e9})
    assert result.time.shape == result.bound.shape == (3, 200_000)
    assert result.time[1, -1] == 0.1  # 1e9 ops at 1e10 ops/s
    assert result.time[2, 0] == 1e-3  # no ops: 1e6 B at 1e9 B/s
    assert result.label[2, 0] == "memory:dram"
    assert (result.time[0] >= result.time[1]).all()


def test_labels_of_equal_parts_and_of_nothing():
    same = layer_time(1.0, {"a": 1.0, "b": 1.0}, 1.0, {"a": 1.0, "b": 1.0}, link_bytes=1.0, link_bandwidth=1.0)
    assert str(same.label) == "compute"
    assert same.labels == ("none", "compute", "memory:a", "memory:b", "link")
    assert str(layer_time(0, {"a": 0}, 1.0, {"a": 1.0}, overhead=1e-3).label) == "none"
    assert str(layer_time(1, {}, 1e9, {}, link_bytes=10, link_bandwidth=1.0).label) == "link"


def test_a_peak_of_zero_cannot_run_ops_but_can_move_bytes():
    result = layer_time([1.0, 0.0], {"m": 2.0}, 0.0, {"m": 1.0})
    assert result.time.tolist() == [math.inf, 2.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attainable(math.nan, 1, 1), "intensity must be at least 0, got nan"),
        (lambda: attainable(1, -1, 1), "peak must be above 0, got -1"),
        (lambda: attainable(1, 1, 0), "bandwidth must be above 0, got 0"),
        (lambda: ridge_point(1, math.nan), "bandwidth must be above 0, got nan"),
        (lambda: layer_time(-1, {}, 1, {}), "ops must be at least 0, got -1"),
        (lambda: layer_time(1, {"m": math.nan}, 1, {"m": 1}), "bytes of m must be at least 0, got nan"),
        (lambda: layer_time(1, {"m": 1}, 1, {"m": 0}), "bandwidth of m must be above 0, got 0"),
        (lambda: layer_time(1, {}, 1, {}, overhead=-1), "overhead must be at least 0, got -1"),
        (lambda: layer_time(1, {"drm": 1}, 1, {"dram": 1}), "unknown memory 'drm'; did you mean 'dram'?"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(HetcnnError) as caught:
        call()
    assert str(caught.value).startswith(message)
