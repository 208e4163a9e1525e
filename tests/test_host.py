"""Your machine: counting work, fitting, stages in threads, boards, energy logs; nothing here depends on the load."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from hetcnn import cli, data, platform, zoo
from hetcnn.analysis import analyse
from hetcnn.errors import HetcnnError
from hetcnn.host import (
    board,
    designs,
    energy,
    layers,
    measure,
    pipelines,
    predict,
    quiet,
    runtime,
    timing,
    traffic,
    training,
    work,
)
from hetcnn.host.cut import layer_cuts, part
from hetcnn.host.flow import flow
from hetcnn.host.layers import Kernels, Line, example_inputs, kernels_of, lines
from hetcnn.host.machine import Cache, Machine, describe
from hetcnn.host.measure import Figure, Measured
from hetcnn.host.pinning import can_pin, pinned
from hetcnn.host.record import Record, Run
from hetcnn.kernels.engine import Engine

# --- timing -------------------------------------------------------------------------------------------------------


def test_it_measures_until_the_spread_is_small():
    noisy = itertools.cycle([1.0, 1.2, 0.9, 1.1])
    sample = timing.repeat(lambda: next(noisy), seconds=10, enough=0.02, most=400)
    assert sample.settled
    assert sample.rounds > 5
    assert float(sample.spread) <= 0.02


def test_it_says_when_the_spread_stays_large():
    noisy = itertools.cycle([1.0, 3.0])
    sample = timing.repeat(lambda: next(noisy), seconds=10, enough=1e-6, most=20)
    assert not sample.settled
    assert sample.rounds == 20


def test_it_stops_when_its_time_is_up():
    clock = itertools.count()  # looked at first, and from the fifth round on: 1, 2, 3 and 4 > 3
    sample = timing.repeat(lambda: time.perf_counter(), seconds=3, enough=0.0, clock=lambda: next(clock))
    assert sample.rounds == 8


# --- work ---------------------------------------------------------------------------------------------------------


def test_the_terms_of_a_product_are_equation_5s():
    a, b, c = (np.zeros(shape, np.float32) for shape in ((3, 8, 16), (3, 16, 32), (3, 8, 32)))
    found = work.amounts(partial(np.matmul, a, b, out=c))
    assert found == {
        "calls": 1,
        "small products": 3,
        "small m k": 3 * 8 * 16,
        "small k n": 3 * 16 * 32,
        "small m n": 3 * 8 * 32,
        "small m k n": 3 * 8 * 16 * 32,
        "small loads": 3 * 2 * 16 * 32,  # eight rows are two tiles of six
        "small spreads": 3 * 8 * 16 * 1,
    }


def test_a_product_counts_whole_vectors_and_its_regime(monkeypatch):
    a, b = np.zeros((5, 16), np.float32), np.zeros((16, 20), np.float32)
    for lanes, wide in ((8, 24), (16, 32)):
        monkeypatch.setattr(work.blas, "lanes", lambda lanes=lanes: lanes)
        found = work.amounts(partial(np.matmul, a, b, out=np.zeros((5, 20), np.float32)))
        assert (found["small m k n"], found["small ragged"]) == (8 * 16 * wide, 5 * 16 * 20)
    x = np.zeros(16, np.float32)
    assert work.amounts(partial(np.matmul, a, x, out=np.zeros(5, np.float32)))["vector m k n"] == 5 * 16
    big = np.zeros((1024, 1024), np.float32)
    assert work.amounts(partial(np.matmul, big, big, out=big))["large products"] == 1


def test_a_vector_by_a_matrix_is_another_loop_than_a_matrix_by_a_vector():
    row, matrix = np.zeros((1, 16), np.float32), np.zeros((16, 20), np.float32)
    found = work.amounts(partial(np.matmul, row, matrix, out=np.zeros((1, 20), np.float32)))
    assert found == {"calls": 1, "row products": 1, "row floats": 320, "row ends": 36}


def test_a_transpose_whose_lines_share_their_places_in_the_cache():
    """Pixels 4096 bytes apart fall on one place, which holds 8 lines; 4160 bytes apart they fall on 64 of them."""

    def conflicts(channels: int, pixels: int) -> float:
        x = np.zeros((channels, pixels), np.float32)
        return work.amounts(partial(np.copyto, np.zeros((pixels, channels), np.float32), x.T))["gather conflicts"]

    assert conflicts(16, 1024) == 16 * 1024
    assert conflicts(8, 1024) == 0
    assert conflicts(16, 1040) == 0


def test_a_copy_counts_its_runs():
    x, y = np.zeros((4, 6, 10), np.float32), np.zeros((4, 6, 5), np.float32)
    found = work.amounts(partial(np.copyto, y, x[:, :, :5]))
    assert found["copy floats"] == 120
    assert found["copy runs"] == 24
    across = work.amounts(partial(np.copyto, y, np.zeros((5, 4, 6), np.float32).transpose(1, 2, 0)))
    assert across["gather floats"] == 120


def test_what_a_kernel_wrote_itself_is_not_among_its_reads():
    memory = np.zeros(100, np.float32)
    a, b, c = memory[:30], memory[30:60], memory[60:90]
    marks = traffic.touched([partial(np.copyto, b, a), partial(np.copyto, c, b)])
    assert [size for _, _, size in marks.reads] == [120]
    assert sum(high - low for low, high in marks.writes) == 240


def test_a_kernel_reads_again_what_the_near_cache_has_dropped():
    memory = np.zeros(3000, np.float32)
    a, b, c = memory[:1000], memory[1000:2000], memory[2000:]
    calls = [partial(np.copyto, b, a), partial(np.copyto, c, b), partial(np.copyto, b, a)]
    # 8000 bytes a call: b again after 8000 bytes of traffic, then a after 16000 and b after 8000
    assert traffic.again(calls, near=8000) == 4000 * (0 + (1 - 8 / 16) + 0)
    assert traffic.again(calls, near=4000) == 4000 * (0.5 + 0.75 + 0.5)
    assert traffic.again(calls, near=1e9) == 0


def test_what_is_written_to_places_that_were_long_out_of_hand():
    memory = np.zeros(4000, np.float32)
    a, b, c, d = (memory[i : i + 1000] for i in range(0, 4000, 1000))
    marks = [traffic.touched([partial(np.copyto, y, x)]) for x, y in ((a, b), (b, c), (c, d), (d, a))]
    moved = np.full(4, 8000.0)
    # b was read by the second kernel of the frame before: two kernels and b itself lie in between
    assert traffic.written(marks, moved, (19_999, 1e9)).tolist() == [[4000.0, 0.0]] * 4
    assert traffic.written(marks, moved, (10_000, 19_999)).tolist() == [[0.0, 4000.0]] * 4
    assert traffic.written(marks, moved, (20_000, 1e9)).sum() == 0


def test_more_of_a_large_strip_comes_from_afar_than_of_a_small_one():
    at = work.TERMS.index("again bytes")
    engine = Engine(zoo.load("squeezenet-1.1", seed=0))
    found = [kernels_of(engine, near=near, cache=2**25).work[:, at].sum() for near in (2**16, 2**18, 2**20, 2**30)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0 == found[-1]


@pytest.mark.parametrize("name", ["lenet-5", "squeezenet-1.1", "mobilenet-v2"])
def test_the_products_of_a_network_do_at_least_its_macs(name):
    """Padding and im2col's one product per layer: what the tape multiplies is the network's MACs, or more."""
    engine = Engine(zoo.load(name, seed=0))
    kernels = kernels_of(engine, near=2**20, cache=2**25)
    macs = {line.layer: line.ops / 2 for line in lines(kernels, engine.network)}
    terms = [work.TERMS.index(f"{regime} m k n") for regime in work.REGIMES] + [work.TERMS.index("einsum macs")]
    for line in lines(kernels, engine.network):
        algorithms = {kernels.algorithms[i] for i in line.kernels}
        if line.kind and algorithms <= {"im2col", "1x1", "stem", "depthwise", "layout"}:
            done = kernels.work[list(line.kernels)][:, terms].sum()
            assert done >= macs[line.layer] * (1 - 1e-9), line.layer


def test_weights_are_cold_when_they_do_not_fit_the_last_cache():
    engine = Engine(zoo.load("squeezenet-1.1", seed=0))
    small, large = (kernels_of(engine, near=2**18, cache=c).work.sum(axis=0) for c in (2**20, 2**30))
    cold, warm = work.TERMS.index("cold weight bytes"), work.TERMS.index("weight bytes")
    streamed = work.TERMS.index("streamed weight bytes")
    assert small[cold] > 0
    assert large[cold] == 0
    assert small[cold] + small[streamed] + small[warm] == pytest.approx(large[cold] + large[warm])
    parameters = 4 * engine.network.params
    assert large[warm] == pytest.approx(parameters, rel=2.0)  # Winograd's weights are 4 times as large
    assert large[warm] > parameters * 0.9


# --- training -----------------------------------------------------------------------------------------------------


def test_made_up_networks_hold_no_layer_of_the_zoo_and_are_the_same_every_time():
    first = list(training.networks(12))
    for network in first:
        for layer in network.major_layers:
            if layer.op == "Conv":
                assert training.shape_of(layer) not in training.zoo_shapes(), layer.name
    again = list(training.networks(12))
    assert [n.layers for n in first] == [n.layers for n in again]
    kinds = {layer.kind for n in first for layer in n.layers}
    assert {"conv", "dw", "fc", "pool", "act"} <= kinds


def test_a_quarter_of_them_takes_filters_and_maps_from_the_papers_grid():
    network = next(iter(training.networks(1)))
    dense = [la for la in network.major_layers if la.kind == "conv"]
    assert len(dense) > 3
    assert {la.attrs["kernel_shape"][0] for la in dense[1:]} <= set(training.GRID_FILTERS)


def test_some_are_as_large_as_known_networks_and_have_what_those_have():
    networks = list(training.networks(40))
    major = [layer for network in networks for layer in network.major_layers]
    convolutions = [layer for layer in major if layer.kind == "conv"]
    assert max(layer.macs for layer in convolutions) > 1e9
    assert max(layer.macs for layer in major if layer.kind == "fc") > 1e7
    pixels = [layer.outputs[0].shape[2:] for layer in convolutions]
    assert (1, 1) in pixels  # a classifier that is a 1x1 convolution
    assert max(layer.macs for network in networks[:12] for layer in network.major_layers) < training.MOST_MACS
    stems = [n.major_layers[0] for n in networks]
    assert any(s.attrs["kernel_shape"][0] >= 7 and s.outputs[0].shape[1] >= 64 for s in stems)
    assert any(s.outputs[0].shape[2] % 2 for s in stems)  # widths that no strip of pixels divides


# --- measuring ----------------------------------------------------------------------------------------------------


def test_reading_the_clock_costs_what_kernels_take_longer_with_it_than_without():
    """A clock that a reading moves on by 1: every kernel seems to take 1, and all of them in one go 1 too."""
    clock = itertools.count()
    assert layers.reading(lambda: float(next(clock)), kernels=32, rounds=3) == (32 - 1) / 32


def test_the_clocks_own_time_is_taken_off_every_kernel():
    """With that clock a kernel takes its 1 less the reading, and a whole run the 1 that it takes."""
    clock = itertools.count()
    engine = Engine(zoo.load("lenet-5", seed=0))
    found = layers.measure(engine, near=2**20, cache=2**25, seconds=0, clock=lambda: float(next(clock)))
    assert found.time == pytest.approx(np.full(len(found), 1 / 32))
    assert found.total == 1


# --- fitting ------------------------------------------------------------------------------------------------------


def _made(prices: np.ndarray, count: int, seed: int, algorithm: str = "1x1") -> Kernels:
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.1, 1, (count, len(work.TERMS))) * 10 ** rng.uniform(0, 3, (count, len(work.TERMS)))
    times = amounts @ prices
    layers = tuple((f"layer{i}",) for i in range(count))
    return Kernels(
        "made", layers, (algorithm,) * count, amounts, times, np.zeros(count), tuple(range(count)), times.sum()
    )


def test_the_fit_finds_the_prices_that_made_the_times():
    rng = np.random.default_rng(0)
    prices = rng.uniform(1, 2, len(work.TERMS)) * 1e-6
    kernels = _made(prices, 400, 1)
    model = predict.fit_tape([kernels])
    fresh = _made(prices, 50, 2)
    assert model.kernel_times(fresh) == pytest.approx(fresh.time, rel=1e-3)


def test_an_algorithm_with_little_data_keeps_the_common_prices():
    prices = np.full(len(work.TERMS), 1e-6)
    many, few = _made(prices, 300, 1), _made(3 * prices, predict.Settings().least - 1, 2, "rare")
    model = predict.fit_tape([many, few])
    assert "rare" not in model.own
    enough = predict.fit_tape([many, _made(3 * prices, 200, 3, "rare")])
    fresh = _made(3 * prices, 20, 4, "rare")
    assert enough.kernel_times(fresh) == pytest.approx(fresh.time, rel=0.1)


def test_one_outlier_does_not_move_the_fit():
    prices = np.full(len(work.TERMS), 1e-6)
    kernels = _made(prices, 400, 1)
    kernels.time[7] *= 50
    fresh = _made(prices, 50, 2)
    assert predict.fit_tape([kernels]).kernel_times(fresh) == pytest.approx(fresh.time, rel=0.02)


def test_kernels_that_take_long_decide_more_than_short_ones():
    """Two prices for one and the same work: what most of the network's time says holds, not what most kernels say."""
    amounts = np.zeros((4, len(work.TERMS)))
    amounts[:, work.TERMS.index("small m k n")] = [1e3, 1e3, 1e3, 1e6]
    kernels = replace(_made(np.ones(len(work.TERMS)), 4, 0), work=amounts, time=np.array([2e-6, 2e-6, 2e-6, 1e-3]))
    price = predict.fit_tape([kernels]).common[work.TERMS.index("small m k n")]
    assert price == pytest.approx(1e-9, rel=0.02)


def test_the_papers_form_is_equation_5():
    b = np.array([0, 0, 0, 1e-9, 2e-9, 0, 3e-12, 1e-6])
    rng = np.random.default_rng(0)
    sizes = rng.integers(8, 500, (60, 3))
    made = [
        Line(f"l{i}", (i,), "conv", n, k, m, 1e-9 * n * k + 2e-9 * k * m + 3e-12 * n * k * m + 1e-6)
        for i, (n, k, m) in enumerate(sizes.tolist())
    ]
    assert predict.fit_paper(made).conv == pytest.approx(b, rel=1e-4, abs=1e-14)


def test_a_fully_connected_layers_time_is_linear_in_its_weights():
    made = [Line(f"l{i}", (i,), "fc", 1, k, 100, 2e-9 * 100 * k + 5e-6) for i, k in enumerate(range(10, 200, 10))]
    assert predict.fit_paper(made).fc == pytest.approx([2e-9, 5e-6])


# --- stages in threads --------------------------------------------------------------------------------------------


def test_frames_pass_every_stage_in_order():
    seen: list[list[int]] = [[], [], []]

    def stage(k):
        def run(item, frame):
            seen[k].append(frame)
            return [*item, k] if k else [k]

        return run

    ended = []
    last = stage(2)
    done = flow([stage(0), stage(1), lambda item, n: ended.append(last(item, n)) or []], [[], [], [], [], []], 12)
    assert seen == [list(range(12))] * 3
    assert ended == [[0, 1, 2]] * 12
    assert (done.end >= done.start).all()
    assert (done.start[1:] >= done.end[:-1]).all(), "a stage starts a frame after the one before has ended it"
    assert (np.diff(done.start) >= 0).all()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_queues_are_bounded_and_a_slow_stage_holds_the_others_back(depth):
    in_flight: set[int] = set()
    most, lock = [0], threading.Lock()

    def first(item, frame):
        with lock:
            in_flight.add(frame)
            most[0] = max(most[0], len(in_flight))
        return frame

    def slow(frame, _):
        time.sleep(0.002)
        with lock:
            in_flight.discard(frame)

    done = flow([first, slow], [None] * 10, 15, depth=depth)
    assert done.queued == (depth,)
    assert most[0] <= depth + 3  # waiting, in the slow stage, about to be handed over, just begun


def test_never_more_frames_in_flight_than_items():
    alive, most, lock = [0], [0], threading.Lock()

    def begin(item, _):
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        return item

    def end(item, _):
        time.sleep(0.001)
        with lock:
            alive[0] -= 1
        return item

    flow([begin, end], ["only one"], 8, depth=5)
    assert most[0] == 1


def test_the_first_error_of_a_stage_is_raised_and_all_threads_end():
    before = threading.active_count()

    def fail(item, frame):
        if frame == 3:
            raise HetcnnError("frame 3 is broken")
        return item

    for stages in ([fail, lambda i, n: i], [lambda i, n: i, fail, lambda i, n: i]):
        with pytest.raises(HetcnnError, match="frame 3"):
            flow(stages, [1, 2, 3, 4], 200)
    assert threading.active_count() == before


def test_a_flow_needs_stages_items_and_frames():
    with pytest.raises(HetcnnError, match="0 stages"):
        flow([], [1], 10)
    with pytest.raises(HetcnnError, match="depth 0"):
        flow([lambda i, n: i], [1], 10, depth=0)


@pytest.fixture(scope="module")
def squeezenet():
    network = zoo.load("squeezenet-1.1", seed=0)
    return network, Engine(network)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_pipeline_of_the_engine_gives_what_the_engine_gives(squeezenet, count):
    network, engine = squeezenet
    cuts = layer_cuts(network)
    chosen = [cuts[len(cuts) * (i + 1) // count] for i in range(count - 1)]
    line = pipelines.Pipeline(engine, pipelines.stages_of(network, chosen))
    assert line.run(6).frames == 6
    expected = engine.run(example_inputs(network))
    for program in line.items:
        for name, (array, shape) in program.outputs.items():
            assert np.array_equal(np.array(array).reshape(shape), expected[name])


@pytest.mark.skipif(not runtime.available(), reason="needs onnxruntime")
@pytest.mark.parametrize("kinds", [("numpy", "onnxruntime"), ("onnxruntime", "numpy"), ("onnxruntime",)])
def test_a_mixed_pipeline_gives_what_the_engine_gives(squeezenet, kinds):
    network, engine = squeezenet
    cuts = [layer_cuts(network)[9]] if len(kinds) > 1 else []
    line = pipelines.Pipeline(network, pipelines.stages_of(network, cuts, kinds))
    item = None
    for work_ in line.works:
        item = work_(item, 0)
    expected = engine.run(example_inputs(network))
    assert item.keys() == expected.keys()
    for name, array in expected.items():
        assert item[name] == pytest.approx(array, abs=1e-5)
    assert line.run(5).throughput > 0


@pytest.mark.skipif(not runtime.available(), reason="needs onnxruntime")
def test_onnx_runtimes_own_layer_times_belong_to_layers_of_the_network(squeezenet):
    network, _ = squeezenet
    times = runtime.layer_times(network, example_inputs(network), rounds=3)
    assert set(times) <= {layer.name for layer in network}
    assert len(times) > 26
    assert min(times.values()) >= 0


def test_stages_must_cover_the_network_in_order():
    network = zoo.load("lenet-5", seed=0)
    stage = pipelines.Stage
    for wrong in (
        [],
        [stage(0, 5)],
        [stage(0, 5), stage(6, 13)],
        [stage(5, 13), stage(0, 5)],
        [stage(0, 0), stage(0, 13)],
    ):
        with pytest.raises(HetcnnError, match="cover layers 0:13"):
            pipelines.run_pipeline(network, wrong, 5)
    with pytest.raises(HetcnnError, match=r"unknown engine 'nunpy'; did you mean 'numpy'\?"):
        pipelines.run_pipeline(network, [stage(0, 13, "nunpy")], 5)


def test_parts_of_a_network_put_together_are_the_network():
    network = zoo.load("lenet-5", seed=0)
    inputs = example_inputs(network)
    expected = Engine(network).run(inputs)
    for cut in layer_cuts(network):
        middle = Engine(part(network, 0, cut)).run(inputs)
        found = Engine(part(network, cut, len(network))).run(middle)
        assert found["softmax"] == pytest.approx(expected["softmax"], abs=1e-6)
    with pytest.raises(HetcnnError, match="layers 5:5"):
        part(network, 5, 5)


def test_replicas_run_one_network_per_core():
    assert pipelines.Replicas(Engine(zoo.load("lenet-5", seed=0))).run(10) > 0


@pytest.mark.skipif(not can_pin(), reason="threads cannot be pinned here")
def test_pinning_is_undone():
    import os

    before = os.sched_getaffinity(0)
    with pinned(min(before)) as done:
        assert done
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
    with pinned(100_000) as done:
        assert not done


# --- designs ------------------------------------------------------------------------------------------------------


def _steps(times: list[float]) -> Kernels:
    count = len(times)
    values = np.array(times)
    return Kernels(
        "steps",
        tuple((f"l{i}",) for i in range(count)),
        ("1x1",) * count,
        np.zeros((count, len(work.TERMS))),
        values,
        np.zeros(count),
        tuple(range(count)),
        float(values.sum()),
    )


def test_the_best_split_by_hand():
    kernels = _steps([1.0, 2.0, 3.0, 4.0, 2.0])
    assert designs.segment_times(kernels, kernels.time, [2, 3]).tolist() == [3.0, 3.0, 6.0]
    assert designs.best_split(kernels, kernels.time, [1, 2, 3, 4]) == (3,)  # 6 | 6
    assert designs.best_split(kernels, kernels.time, [1, 4]) == (4,)  # 10 | 2 against 1 | 11
    assert designs.best_split(kernels, kernels.time, [1, 2, 3, 4], stages=3) in ((2, 3), (3, 4))  # 3|3|6, 6|4|2


def test_two_stages_lose_by_working_together():
    together = designs.Together(1.1, 0.5, 0.6, 0.25)
    assert together.interval([6.0, 4.0]) == pytest.approx(6.0 * 1.1 + 0.5)
    assert together.interval([6.0]) == 6.0
    assert together.divided(np.array([1e-5, 1.0])) == pytest.approx(1e-5 + 0.6 * 1.1 * 1.0 + 0.25)


def test_a_stage_waits_for_the_calls_of_the_other():
    together = designs.Together(1.0, 5.0, 0.5, 0.0, turn=2.0)
    assert together.waits([60.0, 30.0], [10, 4]).tolist() == [8.0, 8.0]  # four calls meet
    assert together.waits([60.0, 30.0], [40, 40]).tolist() == [30.0, 60.0]  # no longer than the other works
    assert together.interval([60.0, 30.0], [10, 4]) == 60 + 8 + 5
    assert together.interval([60.0, 30.0], [40, 40]) == 60 + 30 + 5
    assert together.interval([60.0, 30.0], [10, 0]) == 60 + 5  # ONNX Runtime makes none
    assert together.interval([60.0], [10]) == 60
    assert together.waits([9.0, 9.0, 9.0], [1, 2, 3]).tolist() == [4.0, 6.0, 6.0]
    assert together.replicas(60.0, 10, 2) == (60 + 20) / 2
    assert together.replicas(60.0, 10, 1) == 60


def test_the_fit_finds_the_losses_that_made_the_runs():
    true = designs.Together(1.08, 3e-5, 0.56, 4e-5, turn=1.5e-6)
    rng = np.random.default_rng(0)
    made, runs = {}, []
    for i, scale in enumerate([2e-5, 5e-5, 2e-4, 1e-3, 3e-3, 1e-4]):
        name = f"made-{i}"
        calls = np.zeros((8, len(work.TERMS)))
        calls[:, work.TERMS.index("calls")] = rng.integers(2, 30, 8)
        made[name] = replace(_steps((scale * rng.uniform(0.2, 1, 8)).tolist()), network=name, work=calls)
        plans = [("split", (3,)), ("split", (5,)), ("split", (7,)), ("threads", ()), ("replicas", ())]
        for design, cuts in plans:
            run = Run(name, design, cuts, ("numpy", "numpy"), 1.0, 0.0, 3)
            found = Record({}, made, {}, {})
            rate = designs.predicted_rate(run, found, made[name].time, true, ())
            busy = true.busy * float(max(designs.segment_times(made[name], made[name].time, cuts)))
            runs.append(replace(run, rate=rate, busy=busy if design == "split" else float("nan")))
    runs[7] = replace(runs[7], rate=runs[7].rate / 2)  # another program had the core
    found = designs.fit_together(Record({}, made, {}, {}, tuple(runs)))
    for name in ("busy", "handing_on", "share", "joining", "turn"):
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=0.1), name


def test_two_kinds_of_engine_share_a_network():
    kernels = _steps([1.0, 1.0, 4.0, 4.0])
    theirs = {0: 4.0, 1: 4.0, 2: 1.0, 3: 1.0}
    engines, cuts, slowest = designs.best_mixed(kernels, kernels.time, theirs, [1, 2, 3])
    assert (engines, cuts, slowest) == (("numpy", "onnxruntime"), (2,), 2.0)


# --- the machine and its board ------------------------------------------------------------------------------------


CACHES = (Cache(2, 2**20), Cache(3, 2**25))


def _measured(cores: int = 2) -> Measured:
    machine = Machine('Some <"quoted"> processor', "Linux x86_64", tuple(range(cores)), CACHES, 8 * 2**30, 0.5)
    gemm = {(t, 512, 512, 512): Figure(t * 2e11, 0.01, 9, "product") for t in (1, cores)}
    kinds = ("copy", "triad")
    memory = {(t, kind): Figure(3e10 + t * 1e9, 0.02, 5, kind, t == 1) for t in (1, cores) for kind in kinds}
    numpy = {"conv": Figure(1e11, 0.05, 5, "layers"), "fc": Figure(3e11, 0.05, 5, "layers")}
    layer_kinds = {"numpy": numpy, "onnxruntime": {"conv": Figure(1.5e11, 0.05, 5, "layers")}}
    return Measured(machine, gemm, memory, Figure(7.5e-7, 0.01, 5, "a call", settled=False), layer_kinds, 12.0)


def test_the_board_file_is_read_back_with_its_sources(tmp_path):
    path = board.write(_measured(), tmp_path / "mine.toml")
    found = platform.load(path)
    assert found.value("devices.core-1.peak") == pytest.approx(2e11)
    assert found.value("memories.dram.bandwidth") == pytest.approx(3.2e10)
    assert found.value("devices.core-2.bandwidth.dram") == pytest.approx(3.1e10)
    assert found.value("devices.core-1.efficiency.conv") == pytest.approx(0.5)
    assert found.value("devices.core-1.efficiency.fc") == 1.0  # never more than the peak
    sources = {path: q.source for path, q in found.quantities()}
    assert "spread 1.0 %" in sources["devices.core-1.peak"]
    assert sources["devices.core-1.launch"].endswith("not settled")
    assert all(sources.values())
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]
    result = analyse(zoo.load("squeezenet-1.1"), found)
    assert result.pipeline is not None
    assert {stage.device for stage in result.pipeline.stages} == {"ort-1", "ort-2"}  # faster, and on the same cores
    assert found.devices["ort-2"].shares == "core-2"


def test_many_cores_give_a_few_devices():
    assert len(board.to_platform(_measured(64)).devices) == 2 * board.MOST_CORES
    assert list(board.to_platform(_measured(1)).devices) == ["core-1", "ort-1"]


def test_thread_counts():
    assert measure.thread_counts(1) == (1,)
    assert measure.thread_counts(2) == (1, 2)
    assert measure.thread_counts(12) == (1, 2, 4, 8, 12)


def test_rates_have_the_right_size():
    """A product does 2NKM operations, a copy moves 8 bytes a float: no machine is a thousand times off."""
    cores = describe().cores[:1]
    rate = measure.gemm_rate((128, 128, 128), cores, seconds=0.02)
    assert 1e8 < rate.value < 1e13
    copied = measure.stream("copy", cores, 2**20, seconds=0.02)
    assert 1e8 < copied.value < 1e13
    assert 1e-8 < measure.call_cost(seconds=0.02).value < 1e-3


def test_the_machine_reports_itself():
    machine = describe()
    assert machine.cores
    assert machine.near <= machine.last
    assert machine.processor in str(machine)


# --- energy -------------------------------------------------------------------------------------------------------

SAMPLES = data.path("papers", "host", "samples")


def test_tegrastats_by_hand():
    log = energy.read_tegrastats(SAMPLES / "tegrastats.txt")
    assert log.time.tolist() == [0, 1, 2, 3]
    assert log.power["VDD_CPU"].tolist() == [0.534, 1.45, 1.47, 0.54]
    # trapezoids: (2.95 + 9.45)/2 + (9.45 + 9.55)/2 + (9.55 + 3.05)/2
    assert log.energy("VDD_IN") == pytest.approx(6.2 + 9.5 + 6.3)
    assert log.energy("VDD_IN", 1, 2) == pytest.approx(9.5)
    with pytest.raises(HetcnnError, match="unknown rail 'VDD_CPV'; Known: VDD_CPU"):
        log.energy("VDD_CPV")


def test_tegrastats_without_dates_has_an_interval(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("RAM 1/2MB VDD_IN 1000mW/1000mW VDD_SOC 200mW/200mW\nVDD_IN 3000mW/2000mW VDD_SOC 200mW/200mW\n")
    log = energy.read_tegrastats(path, interval=0.5)
    assert log.energy("VDD_IN") == pytest.approx(0.5 * (1 + 3) / 2)
    path.write_text("nothing here\n")
    with pytest.raises(HetcnnError, match="no rail"):
        energy.read_tegrastats(path)


def test_ina_by_hand(tmp_path):
    log = energy.read_ina(SAMPLES / "ina.csv")
    assert log.power["cpu"].tolist() == pytest.approx([3.0, 3.0, 5.95, 5.95, 3.0])
    assert log.energy("fpga") == pytest.approx(0.1 * (1.8 + 3.0 + 4.2 + 3.0))
    path = tmp_path / "log.csv"
    for text, message in (
        ("time (ms)\n", "1 lines"),
        ("time (ms),cpu\n1,2\n", "column 'cpu'"),
        ("time (ms),cpu (mW)\n1,x\n", "expected numbers"),
        ("time (ms),cpu (mW)\n1,2,3\n", "3 cells"),
    ):
        path.write_text(text)
        with pytest.raises(HetcnnError, match=message):
            energy.read_ina(path)


def test_counters_wrap_around_and_may_be_missing(tmp_path):
    assert energy.counters(tmp_path) == []
    assert "no energy counter" in energy.reason(tmp_path)
    for number, name in ((1, "core"), (0, "package-0")):
        folder = tmp_path / f"intel-rapl:{number}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text("1000000\n")
        (folder / "energy_uj").write_text("999000\n")
    found = energy.counters(tmp_path)
    assert [c.name for c in found] == ["package-0", "core"]
    assert found[0].read() == 999_000
    assert found[0].between(999_000, 1_000) == pytest.approx(0.002)
    assert "package-0" in energy.reason(tmp_path)


def test_energy_of_a_task_is_counted_per_call(tmp_path):
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "0"), ("energy_uj", "0")):
        (folder / name).write_text(text)
    (counter,) = energy.counters(tmp_path)

    def task():
        (folder / "energy_uj").write_text(str(counter.read() + 3000))

    found = energy.energy_of(task, seconds=0.02, counter=counter)
    assert found is not None
    assert found.value == pytest.approx(0.003)


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_writes_a_board_and_shows_it(tmp_path, capsys, monkeypatch):
    told = []
    monkeypatch.setattr(measure, "measure", lambda *, quick, say: (told.append(quick), say("a step"), _measured())[-1])
    path = tmp_path / "new" / "mine.toml"
    assert cli.main(["measure", "--quick", "--out", str(path)]) == 0
    out, err = capsys.readouterr()
    assert told == [True]
    assert "a step" in err
    assert str(path) in err
    assert "devices.core-1.peak" in out
    assert "400 Gop/s  measured: product; 9 samples, spread 1.0 %" in out
    assert "#   " in path.read_text()
    assert platform.load(path).key == "mine"
    assert cli.main(["analyse", "lenet-5", "--platform", str(path), "--devices", "core-1"]) == 0


@pytest.mark.parametrize("name", ["mine.txt", "."])
def test_the_command_refuses_other_files_before_it_measures(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "measure", lambda **_: pytest.fail("measured"))
    assert cli.main(["measure", "--out", str(tmp_path / name)]) == 2
    assert "expected a file that ends in .toml" in capsys.readouterr().err


def test_a_quick_measurement_has_everything():
    """The real thing, once; what it costs is not judged here."""
    found = measure.measure(quick=True)
    assert {key[0] for key in found.gemm} == set(found.threads)
    assert {key[1] for key in found.memory} == {"copy", "triad"}
    assert {"conv", "dw", "fc"} <= set(found.kinds["numpy"])
    assert found.peak().value >= max(f.value for f in found.kinds["numpy"].values()) / 4  # Winograd may pass the peak
    analysis = analyse(zoo.load("lenet-5"), board.to_platform(found))
    assert np.isfinite(analysis.time).all()


def test_others_are_what_the_system_counts_beyond_this_process(monkeypatch):
    busy = iter([100.0, 102.0])
    monkeypatch.setattr(quiet, "_busy", lambda: next(busy))
    ticks = iter([10.0, 10.5])
    monkeypatch.setattr(quiet.time, "process_time", lambda: next(ticks))
    wall = iter([0.0, 2.0])
    monkeypatch.setattr(quiet.time, "perf_counter", lambda: next(wall))
    # two seconds of all cores, half a second of it ours, in two seconds
    assert quiet.others_of(lambda: "x") == ("x", pytest.approx((2.0 - 0.5 - quiet.TICK) / 2))


def test_a_system_that_does_not_tell_counts_as_quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet, "_STAT", tmp_path / "none")
    assert quiet.others_of(lambda: 1) == (1, 0.0)
    assert quiet.wait(0)


@pytest.mark.parametrize("times", [(0.002, 0.006), (0.006, 0.002)])
def test_latency_counts_the_frames_in_front_of_the_slowest_stage(times):
    def stage(seconds):
        return lambda item, _: (time.sleep(seconds), item)[1]

    done = flow([stage(t) for t in times], [0, 1, 2], 30)
    together = designs.Together(1.0, 0.0, 0.5, 0.0)
    assert float(np.median(done.latency[done.settled()])) == pytest.approx(together.latency(times), rel=0.3)
    assert 1 / done.throughput == pytest.approx(together.interval(times), rel=0.3)


@pytest.mark.parametrize(
    ("cuts", "engines", "message"),
    [
        ([10.5], (), "expected indices of layers that rise, from 1 to 12"),
        ([-3], (), "from 1 to 12"),
        ([1000], (), "from 1 to 12"),
        ([6, 6], (), "from 1 to 12"),
        ([6], ("numpy", "onnxruntim"), "did you mean 'onnxruntime'"),
    ],
)
def test_stages_that_cannot_be_are_refused(cuts, engines, message):
    with pytest.raises(HetcnnError, match=message):
        pipelines.stages_of(zoo.load("lenet-5"), cuts, engines)


def test_a_pipeline_of_a_name_says_what_it_wants():
    with pytest.raises(HetcnnError, match="expected a Network with weights"):
        pipelines.run_pipeline("lenet-5", [pipelines.Stage(0, 13)], 5)
