from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError, pipeline
from hetcnn.papers.pipeit.search import (
    Configuration,
    Stage,
    TimeMatrix,
    design_space,
    exact_optimum,
    find_split,
    merge_stage,
    parse_configuration,
    parse_pipeline,
    pipeline_count,
    pipelines,
    work_flow,
)

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)

PRINTED = [
    "B4-s4: [1,9]-[10,11]",
    "B4-s2-s1-s1: [1,29]-[30,41]-[42,45]-[46,58]",
    "B4-s2-s1-s1: [1,25]-[26,39]-[40,44]-[45,58]",
    "B2-B2-s3-s1: [1,11]-[12,21]-[22,26]-[27,28]",
    "B2-B2-s3-s1: [1,11]-[12,19]-[20,26]-[27,28]",
    "B4-s2-s2: [1,35]-[36,44]-[45,54]",
    "B2-B2-s3-s1: [1,16]-[17,34]-[35,47]-[48,54]",
    "B4-s4: [1,16]-[17,26]",
    "B4-s4: [1,19]-[20,26]",
]


def matrix(big, small, cores=4):
    """Layer times that scale perfectly with cores."""
    one = {"B": np.array(big, float), "s": np.array(small, float)}
    return TimeMatrix(
        tuple(f"l{i + 1}" for i in range(len(big))), {(k, n): one[k] / n for k in "Bs" for n in range(1, cores + 1)}
    )


def random_matrix(seed, layers=20):
    """Layers that scale to more cores unequally well; Small cores two to five times slower."""
    rng = np.random.default_rng(seed)
    big = rng.random(layers) + 0.05
    one = {"B": big, "s": big * rng.uniform(2, 5, layers)}
    serial = rng.uniform(0, 0.4, layers)
    times = {(k, n): one[k] * (serial + (1 - serial) / n) for k in "Bs" for n in range(1, 5)}
    return TimeMatrix(tuple(map(str, range(layers))), times)


# Eqs. 1 and 2


def test_the_paper_s_64_pipelines():
    assert sum(pipeline_count(p) for p in range(2, 9)) == 64
    assert pipeline_count(1) == pipeline_count(9) == 0


@pytest.mark.parametrize(("big", "small"), [(4, 4), (3, 2), (1, 1), (1, 5), (4, 2)])
def test_eq_1_counts_the_pipelines_that_there_are(big, small):
    every = pipelines(big, small)
    assert len(set(every)) == len(every)
    for p in range(1, big + small + 1):
        assert pipeline_count(p, big, small) == sum(len(stages) == p for stages in every)
    for stages in every:
        assert sum(n for k, n in stages if k == "B") == big
        assert sum(n for k, n in stages if k == "s") == small
        assert [k for k, _ in stages] == sorted(k for k, _ in stages)


@pytest.mark.parametrize(("layers", "big", "small"), [(5, 2, 2), (4, 3, 2), (3, 4, 4), (1, 4, 4)])
def test_eq_2_counts_the_configurations_that_there_are(layers, big, small):
    every = [
        (stages, cuts)
        for stages in pipelines(big, small)
        for cuts in itertools.combinations(range(1, layers), len(stages) - 1)
    ]
    assert design_space(layers, big, small) == len(every)


def test_eq_2_has_a_closed_form_for_four_and_four_cores():
    assert all(design_space(w) == comb(w + 5, 7) for w in range(1, 60))


def test_the_printed_size_of_mobilenet_s_design_space_needs_29_layers():
    assert design_space(28) == 4_272_048
    assert design_space(29) == 5_379_616
    assert [design_space(w) for w in (11, 26, 54, 58)] == [11_440, 2_629_575, 341_149_446, 553_270_671]


# Notation


@pytest.mark.parametrize("text", [*PRINTED, "B1-s1-s1: [1,2]-[3,3]-[]", "B1-s1: []-[1,7]"])
def test_the_paper_s_configurations_are_read_and_written_back(text):
    assert str(parse_configuration(text)) == text


def test_a_configuration_counts_layers_from_0_inside():
    found = parse_configuration(" B4-s2-s2: [1,35]-[36,44]-[45,54] ")
    assert found == Configuration((Stage("B", 4), Stage("s", 2), Stage("s", 2)), (0, 35, 44, 54))
    assert (found.cuts, found.name, found.layers) == ((35, 44), "B4-s2-s2", "[1,35]-[36,44]-[45,54]")


def test_empty_stages_are_dropped_and_nothing_else():
    found = parse_configuration("B2-B2-s3-s1: []-[1,4]-[]-[5,5]").without_empty()
    assert str(found) == "B2-s1: [1,4]-[5,5]"
    assert found.without_empty() == found


def test_a_stage_is_the_plain_pair():
    assert Stage("s", 2) == ("s", 2)
    assert {("s", 2): 1}[Stage("s", 2)] == 1


# Time matrix


def test_throughput_is_one_over_the_slowest_stage():
    times = matrix([4, 4, 4, 4], [6, 6, 6, 6])
    configuration = parse_configuration("B2-s1-s1: [1,2]-[3,3]-[4,4]")
    assert times.stage_times(configuration).tolist() == [4, 6, 6]
    assert times.throughput(configuration) == 1 / 6
    dropped = parse_configuration("B2-s1-s1: [1,3]-[4,4]-[]")
    assert times.throughput(dropped) == times.throughput(dropped.without_empty()) == 1 / 6


# Algorithm 1


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ([5], [1], 1),  # 5 - 5 > 1 fails: one layer stays
        ([3, 3], [1, 1], 1),  # 3 > 1 moves the second layer, 0 > 2 fails
        ([4, 4, 4, 4], [6, 6, 6, 6], 3),  # 12 > 6 moves one, 8 > 12 fails
        ([4, 4, 4, 4], [4, 4, 4, 4], 3),  # 12 > 4 moves one, 8 > 8 fails: strict
        ([1, 1, 8], [9, 9, 1], 2),  # 2 > 1 moves the long layer, 1 > 10 fails
        ([8, 1, 1], [9, 9, 9], 3),  # 9 > 9 fails
        ([0, 0], [0, 0], 2),
    ],
)
def test_algorithm_1_by_hand(first, second, kept):

    assert find_split(first, second) == kept


PAIRS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 40), min_size=n, max_size=n) for _ in range(2)])
)


@SETTINGS
@given(PAIRS)
def test_algorithm_1_stops_at_the_foremost_cut_that_leaves_the_first_stage_slower(pair):
    first, second = pair
    slower = [c for c in range(len(first) + 1) if sum(first[:c]) > sum(second[c:])]
    assert find_split(first, second) == (min(slower) if slower and min(slower) < len(first) else len(first))


@SETTINGS
@given(PAIRS)
def test_algorithm_1_is_one_layer_short_of_the_best_two_stages_at_most(pair):
    first, second = pair
    kept = find_split(first, second)
    worst = [max(sum(first[:c]), sum(second[c:])) for c in range(len(first) + 1)]
    assert min(worst) == min(worst[max(kept - 1, 0)], worst[kept])


# Algorithm 2


def test_algorithm_2_by_hand():
    times = matrix([4, 4, 4, 4], [6, 6, 6, 6])
    trace = []
    found = work_flow(times, parse_pipeline("B1-B1-s1-s1"), trace)
    assert str(found) == "B1-B1-s1-s1: [1,3]-[4,4]-[]-[]"
    assert [str(s).replace("B1-B1-s1-s1: ", "") for s in trace] == [
        "split 1|2: [1,3]-[4,4]-[]-[]",
        "split 2|3: [1,3]-[4,4]-[]-[]",
        "split 3|4: [1,3]-[4,4]-[]-[]",
        "sweep 1: [1,3]-[4,4]-[]-[]",
        "converged: [1,3]-[4,4]-[]-[]",
    ]
    assert trace[-1].stage_times == (12, 4, 0, 0)


def test_algorithm_2_sweeps_again_when_a_later_stage_has_made_room():
    times = matrix([1] * 12, [1] * 12)
    trace = []
    found = work_flow(times, parse_pipeline("B1-s1-s1"), trace)
    # 12: 7 | 5, as 6 > 6 fails; 5: 3 | 2, as 2 > 3 fails. Again 10: 6 | 4 (5 > 5 fails), 6: 4 | 2 (3 > 3 fails).
    # Again 10: 6 | 4 stands.
    sweeps = [s.configuration.layers for s in trace if s.action.startswith("sweep")]
    assert sweeps == ["[1,7]-[8,10]-[11,12]", "[1,6]-[7,10]-[11,12]"]
    assert found.boundaries == (0, 6, 10, 12)


@SETTINGS
@given(st.integers(0, 10**6), st.integers(1, 25))
def test_algorithm_2_only_moves_cuts_forward_and_ends_where_no_pair_changes(seed, layers):
    times = random_matrix(seed, layers)
    stages = parse_pipeline("B2-B1-B1-s2-s1-s1")
    trace = []
    found = work_flow(times, stages, trace)
    cuts = np.array([s.configuration.cuts for s in trace])
    assert (np.diff(cuts, axis=0) <= 0).all()
    rows, edges = times.rows(stages), found.boundaries
    for i in range(len(stages) - 1):
        union = slice(edges[i], edges[i + 2])
        if edges[i] < edges[i + 2]:
            assert edges[i + 1] == edges[i] + find_split(rows[i, union], rows[i + 1, union])


# Algorithm 3


def test_algorithm_3_by_hand_and_how_far_it_ends_from_the_optimum():
    """B1 takes 4 s a layer, s1 6 s. 12 | 4 on B1-B1, merged 8 < 12; then 6 > 0 + 6 fails and Small cores stay idle."""
    times = matrix([4, 4, 4, 4], [6, 6, 6, 6])
    trace = []
    found = merge_stage(times, 2, 2, trace)
    assert str(found) == "B2: [1,4]"
    assert times.throughput(found) == 1 / 8
    assert [s.configuration.name for s in trace if s.action.startswith("merge")] == ["B2-s1-s1"]
    best = exact_optimum(times, 2, 2)
    assert str(best) == "B2-s2: [1,2]-[3,4]"
    assert times.throughput(best) == 1 / 6


def test_algorithm_3_merges_small_stages_after_big_ones():
    """One Big core, 2 s a layer; s1 3 s, s2 2 s: 4 | 3 | - on single cores, merged 2 < 3."""
    times = TimeMatrix(("a", "b", "c"), {("B", 1): [2, 2, 2], ("s", 1): [3, 3, 3], ("s", 2): [2, 2, 2]})
    trace = []
    assert str(merge_stage(times, 1, 2, trace)) == "B1-s2: [1,2]-[3,3]"
    assert [str(s) for s in trace if s.action.startswith("merge")] == ["merge s1+s1: B1-s2: [1,2]-[3,3]"]


def test_algorithm_3_takes_the_next_pair_when_the_foremost_does_not_gain():
    """More cores do not help the first layer, so that B2-B1-B1 is never made, but B1-B2-B1 is."""
    big = {1: [4, 4, 4, 4], 2: [8, 2, 2, 2], 3: [8, 4, 4, 4], 4: [8, 4, 4, 4]}
    times = {("B", n): row for n, row in big.items()} | {("s", n): [50] * 4 for n in (1, 2, 3, 4)}
    trace = []
    merge_stage(TimeMatrix(tuple("abcd"), times), 3, 1, trace)
    assert [s.configuration.name for s in trace if s.action.startswith("merge")] == ["B1-B2-s1"]


@SETTINGS
@given(st.integers(0, 10**6), st.integers(1, 25))
def test_no_search_beats_the_optimum_and_merged_stages_use_no_more_cores_than_there_are(seed, layers):
    times = random_matrix(seed, layers)
    best = times.throughput(exact_optimum(times))
    found = merge_stage(times)
    assert times.throughput(found) <= best * (1 + 1e-12)
    assert found.boundaries[-1] == layers
    assert all(sum(n for k, n in found.stages if k == kind) <= 4 for kind in "Bs")
    for stages in pipelines()[::9]:
        assert times.throughput(work_flow(times, stages)) <= best * (1 + 1e-12)


def test_algorithm_3_merges_big_stages_first_and_runs_algorithm_2_after_every_merge():
    times, trace = random_matrix(4), []
    found = merge_stage(times, trace=trace)
    merges = [s for s in trace if s.action.startswith("merge")]
    kinds = [s.action.split()[1][0] for s in merges]
    assert kinds == sorted(kinds)
    assert set(kinds) == {"B", "s"}
    rerun = [work_flow(times, s.configuration.stages) for s in merges]
    assert [s.configuration for s in trace if s.action == "converged"][1:] == rerun
    assert found == rerun[-1].without_empty()


@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_what_trying_every_configuration_finds(seed):
    times = random_matrix(seed, 6)
    every = []
    for stages in pipelines():
        cuts = list(itertools.combinations_with_replacement(range(7), len(stages) - 1))
        every.append(pipeline.throughput(pipeline.stage_times(times.rows(stages), cuts)).max())
    assert times.throughput(exact_optimum(times)) == pytest.approx(max(every), rel=1e-12)


def test_three_big_and_two_small_cores_need_only_their_own_rows():
    full = random_matrix(7)
    rows = {(k, n): t for (k, n), t in full.times.items() if n <= {"B": 3, "s": 2}[k]}
    times = TimeMatrix(full.layers, rows)
    assert times.throughput(merge_stage(times, 3, 2)) <= times.throughput(exact_optimum(times, 3, 2))
    assert times.throughput(exact_optimum(times, 3, 2)) <= full.throughput(exact_optimum(full))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parse_pipeline("B4-x2"), "pipeline 'B4-x2': 'x2' is no stage; write B or s and a number of cores"),
        (lambda: parse_pipeline("B0"), "'B0' is no stage"),
        (lambda: parse_pipeline(""), "'' is no stage"),
        (lambda: parse_configuration("B4-s4"), "2 stages need as many ranges of layers"),
        (lambda: parse_configuration("B4-s4: [1,9]"), "2 stages need as many ranges of layers"),
        (lambda: parse_configuration("B4-s4: [1,9]-[11,12]"), r"'\[11,12\]' must start at layer 10"),
        (lambda: parse_configuration("B4-s4: [1,9]-[10,9]"), r"'\[10,9\]' must start at layer 10 and not end before"),
        (lambda: parse_configuration("B4-s4: 1..9"), "'1..9' is no range of layers"),
        (lambda: Configuration((Stage("B", 1),), (0, 1, 2)), "1 stages have 2 boundaries, got 3"),
        (lambda: Configuration(parse_pipeline("B1-s1"), (0, 3, 2)), r"cuts \(3,\) must not decrease"),
        (lambda: Configuration(parse_pipeline("B1-s1"), (1, 2, 3)), "boundaries start at 0, got 1"),
        (lambda: pipeline_count(3, 0, 4), "both clusters need at least 1 core, got 0 Big and 4 Small"),
        (lambda: pipelines(4, 0), "both clusters need at least 1 core"),
        (lambda: design_space(0), "at least 1 major layer, got 0"),
        (lambda: TimeMatrix(("a",), {("B", 1): [1, 2]}), "times have 2 layers, names 1"),
        (lambda: TimeMatrix(("a",), {("B", 1): [float("nan")]}), "times must be at least 0, got nan"),
        (lambda: TimeMatrix(("a",), {("B", 1): [float("inf")]}), "times must be finite"),
        (lambda: TimeMatrix(("a",), {}), "with at least one of each"),
        (lambda: merge_stage(matrix([1], [1], cores=3), 4, 4), "unknown stage 'B4'; Known: B1, B2, B3, s1"),
        (lambda: merge_stage(matrix([1], [1]), 0, 4), "both clusters need at least 1 core"),
        (lambda: exact_optimum(matrix([1], [1], cores=3)), "unknown kind of stage 'B4'"),
        (lambda: work_flow(matrix([1], [1]), []), "a pipeline needs at least one stage"),
        (lambda: find_split([1, 2], [1]), "times of the same layers, got 2 and 1"),
        (lambda: find_split([float("nan")], [1]), "times must be at least 0, got nan"),
        (
            lambda: matrix([1, 1], [1, 1]).throughput(parse_configuration("B4: [1,3]")),
            "must end at layer 2, the last one",
        ),
    ],
)
def test_mistakes_are_answered_in_one_line(call, message):
    with pytest.raises(HetcnnError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
