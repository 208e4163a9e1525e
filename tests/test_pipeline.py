from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError, pipeline

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def designs(draw):
    """Layer times of whole seconds (inf now and then), cuts and transfers: sums are exact."""
    stages, layers = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    time = st.one_of(st.integers(0, 50).map(float), st.just(math.inf) if draw(st.booleans()) else st.just(1.0))
    row = st.lists(time, min_size=layers, max_size=layers)
    times = draw(st.lists(row, min_size=stages, max_size=stages))
    cuts = sorted(draw(st.lists(st.integers(0, layers), min_size=stages - 1, max_size=stages - 1)))
    transfer = draw(st.lists(st.integers(0, 20), min_size=layers, max_size=layers))
    return times, cuts, transfer


def by_hand(times, cuts, transfer):
    edges = [0, *cuts, len(times[0])]
    return [sum(row[a:b]) + (transfer[a] if b > a else 0) for row, a, b in zip(times, edges, edges[1:], strict=False)]


@SETTINGS
@given(designs())
def test_stage_times_are_sums_of_slices(design):
    times, cuts, transfer = design
    assert pipeline.stage_times(times, cuts, transfer=transfer).tolist() == by_hand(times, cuts, transfer)
    assert pipeline.stage_times(times, cuts).tolist() == by_hand(times, cuts, [0] * len(transfer))


@SETTINGS
@given(designs(), st.integers(0, 6))
def test_many_cuts_at_once_are_each_cut_alone(design, other):
    times, cuts, transfer = design
    many = np.array([cuts, [min(other, len(transfer))] * len(cuts)], np.intp).reshape(2, -1)
    together = pipeline.stage_times(times, many, transfer=transfer)
    assert together.tolist() == [by_hand(times, row.tolist(), transfer) for row in many]


def test_every_stage_list_of_a_batch_with_its_own_cuts():
    times = np.arange(24.0).reshape(2, 3, 4)
    found = pipeline.stage_times(times, [[1, 3], [0, 4]])
    assert found.tolist() == [[0, 5 + 6, 11], [0, 16 + 17 + 18 + 19, 0]]


def test_transfer_may_depend_on_the_receiving_stage():
    times, transfer = [[1, 1], [2, 2]], [[5, 9], [9, 7]]
    assert pipeline.stage_times(times, [1], transfer=transfer).tolist() == [1 + 5, 2 + 7]


def flow_shop(stages, frames, lockstep):
    """When the last of `frames` frames leaves, simulated: a stage takes a frame when it and the frame are free."""
    if lockstep:
        return (sum(t > 0 for t in stages) + frames - 1) * max(stages) if frames else 0
    free = [0] * len(stages)
    done = 0
    for _ in range(frames):
        done = 0
        for i, time in enumerate(stages):
            done = free[i] = max(done, free[i]) + time
    return done


@SETTINGS
@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(0, 12), st.booleans())
def test_time_for_frames_is_that_of_a_simulated_pipeline(stages, frames, lockstep):
    found = pipeline.time_for_frames(stages, frames, lockstep=lockstep)
    assert float(found) == flow_shop(stages, frames, lockstep)


@SETTINGS
@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=6))
def test_laws_of_one_pipeline(stages):
    rate = float(pipeline.throughput(stages))
    assert rate == 1 / max(stages)
    assert float(pipeline.initiation_interval(stages)) <= float(pipeline.latency(stages))
    assert pipeline.latency(stages) <= pipeline.latency(stages, lockstep=True) * (1 + 1e-12)
    assert pipeline.utilisation(stages).max() == 1
    assert pipeline.fill_time(stages) == pipeline.time_for_frames(stages, 1)
    long = 10**9
    assert long / float(pipeline.time_for_frames(stages, long)) == pytest.approx(rate, rel=1e-7)


def test_functions_work_along_the_last_axis():
    stages = np.array([[1.0, 4.0, 2.0], [3.0, 3.0, 0.0]])
    assert pipeline.initiation_interval(stages).tolist() == [4, 3]
    assert pipeline.throughput(stages).tolist() == [0.25, 1 / 3]
    assert pipeline.latency(stages).tolist() == [7, 6]
    assert pipeline.latency(stages, lockstep=True).tolist() == [12, 6]
    assert pipeline.time_for_frames(stages, [1, 3]).tolist() == [7, 12]
    assert pipeline.utilisation(stages).tolist() == [[0.25, 1, 0.5], [1, 1, 0]]


def test_nothing_to_do_and_nothing_that_can_be_done():
    assert float(pipeline.throughput([0.0, 0.0])) == math.inf
    assert float(pipeline.throughput([1.0, math.inf])) == 0
    assert pipeline.utilisation([0.0, 0.0]).tolist() == [0, 0]
    assert pipeline.utilisation([1.0, math.inf]).tolist() == [0, 0]


ENGINES = st.lists(st.lists(st.floats(1e-3, 10), min_size=3, max_size=3), min_size=1, max_size=4)


@SETTINGS
@given(ENGINES, st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_best_division_is_no_slower_than_any_shares_and_all_engines_finish_together(times, weights):
    share = np.array(weights[: len(times)]) / sum(weights[: len(times)])
    best = pipeline.kernel_level_times(times)
    assert (best <= pipeline.kernel_level_times(times, share) * (1 + 1e-12)).all()
    for layer in range(3):
        column = np.array(times)[:, layer]
        own = best[layer] / column
        assert own.sum() == pytest.approx(1)
        assert pipeline.kernel_level_times(column[:, None], own)[0] == pytest.approx(best[layer])


def test_kernel_level_takes_many_shares_overheads_and_engines_that_cannot_run():
    times = [[2.0, 4.0], [6.0, math.inf]]
    assert pipeline.kernel_level_times(times, overhead=[0.5, 1]).tolist() == [2, 5]
    found = pipeline.kernel_level_times(times, [[1, 0], [0.5, 0.5]])
    assert found.tolist() == [[2, 4], [3, math.inf]]
    assert pipeline.kernel_level_times([[0.0], [3.0]]).tolist() == [0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pipeline.stage_times([[1, math.nan]]), "times must be at least 0, got nan"),
        (lambda: pipeline.stage_times([[1, -2]]), "times must be at least 0, got -2"),
        (lambda: pipeline.stage_times([1, 2]), r"times must be \(..., stages, layers\) .* got shape \(2,\)"),
        (lambda: pipeline.stage_times([[]]), r"at least one of each, got shape \(1, 0\)"),
        (lambda: pipeline.stage_times([[1, 2], [1]], [1]), "every row of the same length"),
        (lambda: pipeline.stage_times([["a"]]), r"times must be numbers \(..., stages, layers\)"),
        (lambda: pipeline.stage_times([[1, 2], [1, 2]]), "2 stages have 1 cut, got 0"),
        (lambda: pipeline.stage_times([[1, 2], [1, 2]], 1), "2 stages have 1 cut, got a single number"),
        (lambda: pipeline.stage_times([[1, 2], [1, 2]], [0, 1, 2]), "got 3; 0 and 2 are not cuts"),
        (lambda: pipeline.stage_times([[1, 2], [1, 2]], [0.5]), "cuts must be whole numbers, got float64"),
        (lambda: pipeline.stage_times([[1, 2], [1, 2]], [3]), r"cuts \(3,\) must not decrease and must lie in 0..2"),
        (lambda: pipeline.stage_times([[1, 2], [1, 2]], [-1]), r"cuts \(-1,\) must not decrease"),
        (lambda: pipeline.stage_times([[1, 2]] * 3, [2, 1]), r"cuts \(2, 1\) must not decrease"),
        (lambda: pipeline.stage_times([[1, 2]], transfer=[1]), r"transfer of shape \(1,\) does not fit"),
        (lambda: pipeline.stage_times([[1, 2]], transfer=[[1, 2]] * 2), r"transfer of shape \(2, 2\) does not fit"),
        (lambda: pipeline.stage_times([[1, 2]], transfer=[1, -1]), "transfer must be at least 0, got -1"),
        (lambda: pipeline.throughput([]), r"stage times must be \(..., stages\)"),
        (lambda: pipeline.latency([1, math.nan]), "stage times must be at least 0, got nan"),
        (lambda: pipeline.time_for_frames([1, 2], 1.5), "frames must be whole numbers, got 1.5"),
        (lambda: pipeline.time_for_frames([1, 2], -1), "frames must be at least 0, got -1"),
        (lambda: pipeline.kernel_level_times([[1], [2]], [0.5, 0.6]), r"must sum to 1, got \(0.5, 0.6\)"),
        (lambda: pipeline.kernel_level_times([[1], [2]], [1]), r"shares of shape \(1,\) must give one number to each"),
        (lambda: pipeline.kernel_level_times([[1], [2]], [2, -1]), "shares must be at least 0, got -1"),
    ],
)
def test_mistakes_are_answered_in_one_line(call, message):
    with pytest.raises(HetcnnError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
