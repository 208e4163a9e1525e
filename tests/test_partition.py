from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError, partition, pipeline

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
FEW = settings(derandomize=True, deadline=None, max_examples=25)


@st.composite
def problems(draw, max_stages=4, max_layers=6, inf=True):
    """Layer times and transfers of whole seconds, so that every sum is exact; now and then a layer that cannot run."""
    stages, layers = draw(st.integers(1, max_stages)), draw(st.integers(1, max_layers))
    time = st.integers(0, 30).map(float)
    if inf and draw(st.booleans()):
        time = st.one_of(time, time, st.just(math.inf))
    row = st.lists(time, min_size=layers, max_size=layers)
    times = np.array(draw(st.lists(row, min_size=stages, max_size=stages)))
    return times, np.array(draw(st.lists(st.integers(0, 15), min_size=layers, max_size=layers)))


def all_edges(stages, layers, empty=True):
    for cuts in itertools.combinations_with_replacement(range(layers + 1), stages - 1):
        edges = (0, *cuts, layers)
        if empty or all(b > a for a, b in itertools.pairwise(edges)):
            yield edges


def spans(times, edges, transfer):
    """Stage times by plain loops."""
    pairs = enumerate(itertools.pairwise(edges))
    return [sum(times[k, a:b]) + (transfer[a] if b > a else 0) for k, (a, b) in pairs]


def brute(times, transfer, empty=True):
    found = [max(spans(times, e, transfer)) for e in all_edges(*times.shape, empty)]
    return min(found, default=math.inf)


@SETTINGS
@given(problems(), st.booleans())
def test_best_contiguous_is_what_trying_every_split_finds(problem, empty):
    times, transfer = problem
    if not empty and times.shape[0] > times.shape[1]:
        with pytest.raises(HetcnnError, match="stages cannot all have one of"):
            partition.best_contiguous(times, empty=empty)
        return
    for costs in (transfer, np.zeros_like(transfer)):
        split = partition.best_contiguous(times, transfer=costs, empty=empty)
        assert split.bottleneck == brute(times, costs, empty)
        if math.isfinite(split.bottleneck):
            assert list(split.stage_times) == spans(times, split.boundaries, costs)
            assert split.bottleneck == max(split.stage_times)
            assert empty or len(split.used) == len(times)
            assert split.boundaries in set(all_edges(*times.shape, empty))


@SETTINGS
@given(st.lists(problems(3, 5), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 5))
def test_a_batch_is_each_list_of_stages_alone(drawn, stages, layers):
    batch = np.array([np.resize(times, (stages, layers)) for times, _ in drawn])
    transfer = np.array([np.resize(costs, (1, layers)) for _, costs in drawn])
    boundaries, bottleneck = partition.best_boundaries(batch, transfer=transfer)
    for i, times in enumerate(batch):
        alone = partition.best_contiguous(times, transfer=transfer[i])
        assert (tuple(boundaries[i]), bottleneck[i]) == (alone.boundaries, alone.bottleneck)


@FEW
@given(problems(3, 5))
def test_mixed_integer_program_finds_the_same_bottleneck_on_a_chain(problem):
    times, transfer = problem
    transfer[0] = 0
    chain = list(itertools.pairwise(range(times.shape[1])))
    split = partition.best_contiguous(times, transfer=transfer)
    if math.isinf(split.bottleneck):
        with pytest.raises(HetcnnError, match=r"runs on no device|no assignment lets"):
            partition.best_assignment(times, chain, transfer=np.roll(transfer, -1), forward_only=True)
        return
    found = partition.best_assignment(times, chain, transfer=np.roll(transfer, -1), forward_only=True)
    assert found.bottleneck == split.bottleneck
    assert list(found.devices) == sorted(found.devices)


@FEW
@given(problems(3, 5, inf=False), st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=7), st.booleans())
def test_best_assignment_is_what_trying_every_assignment_finds(problem, pairs, forward):
    times, transfer = problem
    devices, layers = times.shape
    edges = sorted({(a, b) for a, b in pairs if a < b < layers})

    def busy(chosen):
        total = [sum(times[d, i] for i in range(layers) if chosen[i] == d) for d in range(devices)]
        for d in range(devices):
            total[d] += sum(transfer[a] for a in {a for a, b in edges if chosen[a] != d == chosen[b]})
        return total

    allowed = [
        chosen
        for chosen in itertools.product(range(devices), repeat=layers)
        if not forward or all(chosen[a] <= chosen[b] for a, b in edges)
    ]
    found = partition.best_assignment(times, edges, transfer=transfer, forward_only=forward)
    assert found.bottleneck == min(max(busy(chosen)) for chosen in allowed)
    assert found.devices in allowed
    assert list(found.device_times) == busy(found.devices)


def test_a_result_that_two_layers_read_moves_to_their_device_once():
    times = [[1, 50, 50], [50, 4, 4]]
    found = partition.best_assignment(times, [(0, 1), (0, 2)], transfer=[3, 0, 0])
    assert found == partition.Assignment((0, 1, 1), 11.0, (1.0, 11.0))


def test_best_assignment_keeps_off_transfers_that_cannot_be_made():
    times = [[1, 9], [9, 1]]
    assert partition.best_assignment(times, [(0, 1)], transfer=[0.5, 0]).bottleneck == 1.5
    assert partition.best_assignment(times, [(0, 1)], transfer=[math.inf, 0]).bottleneck == 10


@SETTINGS
@given(problems(4, 5), st.booleans())
def test_best_over_orders_is_what_trying_every_order_finds(problem, subsets):
    times, transfer = problem
    devices, layers = times.shape
    if not subsets and devices > layers:
        return
    sizes = range(1, devices + 1) if subsets else [devices]
    orders = [o for size in sizes for o in itertools.permutations(range(devices), size) if size <= layers]
    every = {o: brute(times[list(o)], transfer, empty=False) for o in orders}
    order, split = partition.best_over_orders(times, subsets=subsets, transfer=transfer)
    assert split.bottleneck == min(every.values())
    if math.isfinite(split.bottleneck):
        assert every[order] == split.bottleneck
        assert len(order) == min(len(o) for o, found in every.items() if found == split.bottleneck)
        assert list(split.stage_times) == spans(times[list(order)], split.boundaries, transfer)
        assert len(split.used) == len(order)


def test_an_order_takes_the_transfers_of_its_devices():
    times, transfer = [[9, 1], [1, 9]], [[0, 5], [0, 1]]
    order, split = partition.best_over_orders(times, transfer=transfer, subsets=False)
    assert (order, split.stage_times) == ((1, 0), (1.0, 6.0))


def test_best_pipeline_tries_every_pipeline_of_unequal_lengths():
    rng = np.random.default_rng(3)
    times = {kind: rng.integers(1, 30, 6).astype(float) for kind in "abc"}
    lists = [p for size in (1, 2, 3) for p in itertools.product("abc", repeat=size)]
    free = np.zeros(6)
    expected = [brute(np.array([times[k] for k in p]), free) for p in lists]
    splits = partition.best_splits(times, lists)
    assert [s.bottleneck for s in splits] == expected
    stages, split = partition.best_pipeline(times, lists)
    assert split.bottleneck == min(expected)
    assert list(split.stage_times) == spans(np.array([times[k] for k in stages]), split.boundaries, free)


def test_ties_go_to_fewest_stages_in_use_and_empty_stages_are_left_out():
    times = {"a": [4, 4], "b": [8, 8], "c": [9, 9]}
    stages, split = partition.best_pipeline(times, [("b", "a"), ("a", "b", "c"), ("c", "a")])
    assert (stages, split.boundaries) == (("a",), (0, 2))  # b | a would take 8 s as well
    assert partition.best_pipeline(times, [("a", "a"), ("a",)])[1].bottleneck == 4
    alike = {"a": [5, 9], "b": [9, 5], "c": [2, 3]}
    assert partition.best_pipeline(alike, [("a", "b"), ("c",)])[0] == ("c",)  # both take 5 s
    assert partition.best_pipeline(alike, [("a", "b"), ("b", "a"), ("a", "b")])[0] == ("a", "b")
    assert partition.best_over_orders(list(alike.values()))[0] == (2,)
    assert partition.best_over_orders([[2, 3], [9, 5], [5, 9]])[0] == (0,)


@SETTINGS
@given(problems(3, 5), st.integers(0, 10**6))
def test_least_energy_is_what_trying_every_split_finds(problem, seed):
    times, transfer = problem
    rng = np.random.default_rng(seed)
    joules, extra = rng.integers(0, 20, times.shape).astype(float), rng.integers(0, 9, times.shape).astype(float)
    best = brute(times, transfer)
    if not 0 < best < math.inf:
        return
    for floor in (1 / best, 0.7 / best, 0.3 / best):
        every = [
            sum(joules[k, a:b].sum() + (extra[k, a] if b > a else 0) for k, (a, b) in enumerate(itertools.pairwise(e)))
            for e in all_edges(*times.shape)
            if max(spans(times, e, transfer)) * floor <= 1 + 1e-9
        ]
        total, split = partition.least_energy(times, joules, floor, transfer=transfer, start_energy=extra)
        assert total == min(every)
        assert split.throughput >= floor * (1 - 1e-9)
        assert list(split.stage_times) == spans(times, split.boundaries, transfer)


def test_an_easier_floor_never_costs_more_energy():
    rng = np.random.default_rng(5)
    times, joules = rng.random((3, 20)), rng.random((3, 20))
    fastest = partition.best_contiguous(times).throughput
    totals = [partition.least_energy(times, joules, f * fastest)[0] for f in (1, 0.8, 0.5, 0.2, 0.05)]
    assert totals == sorted(totals, reverse=True)
    assert totals[0] > totals[-1]


TIMES = st.integers(1, 4).flatmap(
    lambda stages: st.lists(st.lists(st.floats(1e-3, 10), min_size=8, max_size=8), min_size=stages, max_size=stages)
)


@SETTINGS
@given(TIMES, st.lists(st.floats(1e-3, 10), min_size=8, max_size=8), st.integers(0, 4), st.data())
def test_laws_of_the_optimum(times, device, place, data):
    times = np.array(times)
    best = partition.best_contiguous(times)
    assert best.throughput == 1 / max(best.stage_times)
    cuts = sorted(data.draw(st.lists(st.integers(0, 8), min_size=len(times) - 1, max_size=len(times) - 1)))
    assert best.bottleneck <= pipeline.initiation_interval(pipeline.stage_times(times, cuts)) * (1 + 1e-12)
    more = np.insert(times, min(place, len(times)), device, axis=0)
    assert partition.best_contiguous(more).bottleneck <= best.bottleneck * (1 + 1e-12)
    assert partition.best_contiguous(times, transfer=times[0]).bottleneck >= best.bottleneck * (1 - 1e-12)
    assert partition.best_contiguous(times[::-1, ::-1]).bottleneck == pytest.approx(best.bottleneck, rel=1e-12)
    assert partition.best_over_orders(times)[1].bottleneck <= best.bottleneck * (1 + 1e-12)


@SETTINGS
@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=4), st.lists(st.floats(1e-3, 10), min_size=1, max_size=9))
def test_no_pipeline_of_alike_engines_beats_dividing_every_layer_perfectly(speeds, work):
    times = np.array(work) / np.array(speeds)[:, None]
    divided = pipeline.kernel_level_times(times).sum()
    assert partition.best_contiguous(times).bottleneck >= divided * (1 - 1e-12)
    assert partition.best_contiguous(times).bottleneck <= times.sum(axis=1).min() * (1 + 1e-12)


def test_layers_that_no_stage_can_run_make_the_bottleneck_infinite():
    times = [[1, math.inf, 1], [1, math.inf, 1]]
    assert partition.best_contiguous(times).bottleneck == math.inf
    assert partition.best_contiguous(times).throughput == 0
    assert partition.best_over_orders(times)[1].bottleneck == math.inf
    assert partition.best_pipeline(dict(enumerate(times)), [[0], [0, 1]])[1].bottleneck == math.inf
    # each stage could run a layer, but not in this order
    assert partition.best_contiguous([[math.inf, 1], [1, math.inf]]).bottleneck == math.inf
    assert partition.best_over_orders([[math.inf, 1], [1, math.inf]])[0] == (1, 0)


def test_split_tells_cuts_and_stages_in_use():
    split = partition.Split((0, 0, 3, 3, 5), 7.0, (0.0, 7.0, 0.0, 4.0))
    assert split.cuts == (0, 3, 3)
    assert split.used == (1, 3)
    assert split.without_empty() == partition.Split((0, 3, 5), 7.0, (7.0, 4.0))


def test_one_huge_layer_does_not_blur_the_small_ones():
    split = partition.best_contiguous([[1e9, 1.0, 1.0], [1e12, 1.0, 2.0]])
    assert split.bottleneck == 1e9
    assert split.stage_times == (1e9, 3.0)


T = [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: partition.best_contiguous([[1, math.nan]]), "times must be at least 0, got nan"),
        (lambda: partition.best_contiguous([[1, -3]]), "times must be at least 0, got -3"),
        (lambda: partition.best_contiguous([1, 2]), r"times must be \(..., stages, layers\)"),
        (lambda: partition.best_contiguous([T]), r"times must be \(stages, layers\), got shape \(1, 2, 2\)"),
        (lambda: partition.best_contiguous([[1, 2]] * 3, empty=False), "3 stages cannot all have one of 2 layers"),
        (lambda: partition.best_contiguous(T, transfer=[1, 2, 3]), r"transfer of shape \(3,\) does not fit"),
        (lambda: partition.best_contiguous(T, transfer=[1, math.nan]), "transfer must be at least 0, got nan"),
        (lambda: partition.best_over_orders([[1]] * 13), "13 devices have too many orders"),
        (lambda: partition.best_over_orders([[1]] * 2, subsets=False), "2 stages cannot all have one of 1 layers"),
        (lambda: partition.best_over_orders([3]), r"times must be \(..., devices, layers\)"),
        (lambda: partition.best_pipeline({"big": [1, 2]}, []), "and a choice at least one pipeline"),
        (
            lambda: partition.best_pipeline({"big": [1, 2]}, [["bog"]]),
            "unknown kind of stage 'bog'; did you mean 'big'",
        ),
        (lambda: partition.best_pipeline({"big": [1, 2]}, [[]]), "a pipeline needs at least one stage"),
        (lambda: partition.best_pipeline({"a": [1, 2], "b": [1]}, [["a"]]), "every row of the same length"),
        (lambda: partition.least_energy(T, [[1, 2]], 1), r"energy of shape \(1, 2\) must have the shape of times"),
        (lambda: partition.least_energy(T, T, 0), "throughput must be a finite number above 0, got 0"),
        (lambda: partition.least_energy(T, T, math.nan), "throughput must be a finite number above 0, got nan"),
        (lambda: partition.least_energy(T, T, 1), "reaches 1 frames/s; the fastest reaches 0.3333"),
        (lambda: partition.least_energy(T, [[-1, 2], [3, 4]], 1), "energy must be at least 0, got -1"),
        (lambda: partition.best_assignment([[1, math.inf]], []), "layer 1 runs on no device"),
        (lambda: partition.best_assignment(T, [(0, 2)]), r"edge \(0, 2\) must be a pair of layers in 0..1"),
        (lambda: partition.best_assignment(T, [(0, 1, 1)]), r"edge \(0, 1, 1\) must be a pair"),
        (
            lambda: partition.best_assignment([[math.inf, 1], [1, math.inf]], [(0, 1)], forward_only=True),
            "with all edges going forward",
        ),
    ],
)
def test_mistakes_are_answered_in_one_line(call, message):
    with pytest.raises(HetcnnError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
