"""Snowflake: the program against the fixed-point kernels, hand arithmetic, laws, and its control flow retraced."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from hetcnn import data, onnx_io, platform, zoo
from hetcnn.builder import Builder
from hetcnn.errors import HetcnnError
from hetcnn.kernels.calibrate import fixed_point
from hetcnn.papers import snowflake
from hetcnn.papers.published import number
from hetcnn.papers.snowflake import isa, model, plan, runner, steady, timeline
from hetcnn.papers.snowflake.agreement import agreement
from hetcnn.papers.snowflake.config import COMPILED, HAND, machine
from hetcnn.papers.snowflake.tasks import edges, parse
from hetcnn.random_weights import with_random_weights
from hetcnn.repro import claims, scorecard

SCHEDULES = {"compiled": COMPILED, "hand": HAND}
SMALL = replace(machine(), bank=2048, weights=2048)


# --- instructions ----------------------------------------------------------------------------------------------------


@st.composite
def instructions(draw):
    op = draw(st.sampled_from(isa.OPCODES))
    registers = tuple(draw(st.integers(0, 31)) for _ in isa._REGISTERS[op])
    if op == "VMOV":
        registers = (draw(st.integers(0, len(isa.SETTINGS) - 1)), registers[1])
    bits = isa._IMMEDIATE.get(op, 0)
    imm = draw(st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)) if bits else 0
    flags = tuple(f for f in isa.FLAGS.get(op, ()) if draw(st.booleans()))
    target = {name: draw(st.integers(0, (1 << width) - 1)) for name, width in isa._TARGET.get(op, ())}
    return isa.Instruction(op, registers, imm, flags, **target)


@given(instructions())
def test_binary_and_text_round_trip(instruction):
    word = isa.encode(instruction)
    assert 0 <= word < 2**32
    assert isa.decode(word) == instruction
    assert isa.assemble(str(instruction)) == instruction


@given(st.integers(0, 2**32 - 1))
def test_bits_decode_to_what_encodes_to_them_or_are_refused(word):
    try:
        again = isa.encode(isa.decode(word))
    except HetcnnError:
        again = None
    fields = isa._REGISTERS[isa.OPCODES[word >> 28]] if word >> 28 < len(isa.OPCODES) else None
    assert again in (word, None)
    assert again == word or fields is None or word & (1 << 28 - 5 * len(fields)) - 1  # refused for its low bits


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"op": "MOVE", "registers": (1,)}, "unknown instruction 'MOVE'"),
        ({"op": "ADD", "registers": (1, 2)}, "expected 3 registers"),
        ({"op": "ADDI", "registers": (1, 32)}, "registers from 0 to 31"),
        ({"op": "ADDI", "registers": (1, 2), "imm": 1 << 17}, "does not fit into 18 bits"),
        ({"op": "ADD", "registers": (1, 2, 3), "imm": 1}, "does not fit into 0 bits"),
        ({"op": "MAC", "registers": (1, 2, 3, 4), "flags": ("strided",)}, "unknown flag of MAC"),
        ({"op": "MAC", "registers": (1, 2, 3, 4), "flags": ("last", "first")}, "in the order"),
        ({"op": "LD", "registers": (1, 2, 3), "port": 4}, "port 4: expected less than 4"),
    ],
)
def test_bad_instructions_are_refused(fields, message):
    with pytest.raises(HetcnnError, match=message):
        isa.Instruction(**fields)


def test_listing_shows_every_word_of_conv1():
    program = snowflake.run("alexnet").program
    segment = program.segment("conv1")
    lines = program.disassembly("conv1").splitlines()
    assert len(lines) == segment.end - segment.start
    for line, instruction in zip(lines, program.instructions[segment.start : segment.end], strict=True):
        _, word, text = line.split(maxsplit=2)
        assert isa.assemble(text) == isa.decode(int(word, 16)) == instruction


# --- parsing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("lenet-5", "layer 'tanh1': Tanh is no operation of the machine"),
        ("mobilenet-v1", "layer 'Conv2d_0/relu6': Clip is no operation of the machine"),
        ("shufflenet-v2", "layer 'stage2/unit1/left_dw': 24 groups; a trace runs over all channels of a pixel"),
        ("alexnet-caffe", "layer 'split1': Split is no operation of the machine"),
        ("resnet-50-armcl", "layer 'block1/unit3/add': a sum is part of the convolution that comes last in it"),
    ],
)
def test_what_the_machine_cannot_run_is_refused_by_name(network, message):
    with pytest.raises(HetcnnError, match=message):
        parse(zoo.load(network))


def test_a_layer_that_does_not_fit_is_refused_with_its_sizes():
    b = Builder("wide", (1, 4096, 9, 9))
    net = b.build(b.conv(b.input, 16, 3, name="deep"))
    with pytest.raises(HetcnnError, match="layer 'deep': no plan fits: 3 rows of its map are 221,184 bytes"):
        snowflake.compile_network(net)


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(0, 3))
def test_edges_count_the_taps_on_the_map(size, kernel, stride, pad):
    if size + 2 * pad < kernel or pad >= kernel:
        return
    out = (size + 2 * pad - kernel) // stride + 1
    runs = edges(out, size, kernel, stride, pad)
    brute = [sum(0 <= y * stride - pad + k < size for k in range(kernel)) for y in range(out)]
    assert [e.taps for e in runs for _ in range(e.count)] == brute
    assert sum(e.count for e in runs) == out


def test_operations_of_alexnet_by_hand():
    # 13 x 13 pixels, 3 x 3 taps, one ring of padding: 13 * 3 - 2 = 37 valid taps a column and row.
    found = {t.name: t.ops for t in parse(zoo.load("alexnet"))}
    assert found["conv3"] == 2 * 192 * 384 * 37 * 37
    assert found["conv2"] == 2 * 64 * 192 * (27 * 5 - 6) ** 2
    assert sum(t.ops for t in parse(zoo.load("resnet-18"))) == pytest.approx(3.360e9, rel=1e-3)  # derived in the data


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", SCHEDULES)
@pytest.mark.parametrize("network", ["alexnet", "resnet-18"])
def test_words_equal_the_kernels_bit_for_bit(network, how):
    found = agreement(network, SCHEDULES[how])
    assert int(found["differ"].sum()) == 0
    assert float(found["nonzero"].min()) > 20


@st.composite
def networks(draw):
    """A few convolutions and poolings on a small image, a residual unit or a concatenation among them."""
    channels = draw(st.integers(1, 40))
    b = Builder("random", (1, channels, draw(st.integers(5, 16)), draw(st.integers(5, 16))))
    x = b.input
    for i in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["conv", "pool", "residual", "concat"]))
        kernel = draw(st.integers(1, min(5, *x.shape[2:])))
        if kind == "conv":
            options = {"stride": draw(st.integers(1, 3)), "pad": draw(st.integers(0, (kernel - 1) // 2))}
            x = b.conv(x, draw(st.integers(1, 70)), kernel, name=f"conv{i}", **options)
            x = b.relu(x) if draw(st.booleans()) else x
        elif kind == "pool":
            x = b.max_pool(x, kernel, stride=draw(st.integers(1, kernel)), pad=draw(st.integers(0, kernel // 2)))
        elif kind == "residual":
            y = b.conv_relu(x, draw(st.integers(1, 40)), 3, pad=1, name=f"in{i}")
            x = b.relu(b.add(b.conv(y, x.shape[1], 1, name=f"out{i}"), x)) if i else b.conv(y, 20, 1, name=f"out{i}")
        else:
            parts = [b.conv_relu(x, draw(st.integers(1, 40)), k, pad=k // 2, name=f"part{i}{k}") for k in (1, 3)]
            x = b.concat(*parts)
    return b.build(b.conv(x, draw(st.integers(1, 20)), 1, name="last"))


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.integers(0, 99), st.sampled_from(list(SCHEDULES.values())), st.sampled_from([machine(), SMALL]))
def test_random_networks_equal_the_kernels(net, seed, how, on):
    try:
        snowflake.compile_network(net, on, how)
    except HetcnnError:  # too large for the small machine, or a residual that is no convolution's
        reject()
    assert int(agreement(with_random_weights(net, seed), how, seed=seed, on=on)["differ"].sum()) == 0


@pytest.mark.parametrize("how", SCHEDULES)
@pytest.mark.parametrize(("units", "vmacs"), [(1, 4), (2, 4), (4, 2), (3, 3)])
def test_words_are_the_kernels_on_other_numbers_of_units(units, vmacs, how):
    b = Builder("small", (1, 8, 9, 9))
    x = b.conv_relu(b.input, 32, 3, pad=1, name="a")
    x = b.max_pool(b.relu(b.add(b.conv(x, 32, 3, pad=1, name="b"), x)), 3, stride=2)
    net = with_random_weights(b.build(b.conv(x, 70, 1, name="c")), 1)
    on = replace(machine(), units=units, vmacs=vmacs)
    assert int(agreement(net, SCHEDULES[how], on=on)["differ"].sum()) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('word = { value = "1 B"', "devices.snowflake.word 1 B: expected 2 B; the machine computes on int16"),
        ("macs_per_vmac = { value = 8", "macs 8: expected 16; a line of the buffers has one word for each"),
    ],
)
def test_a_board_that_is_no_snowflake_is_refused(line, message, tmp_path):
    text = data.path("platforms", "zc706.toml").read_text(encoding="utf-8")
    key = line.partition(" = ")[0]
    (tmp_path / "mine.toml").write_text(re.sub(rf'^{key} = \{{ value = "?\d+( B")?', line, text, flags=re.M), "utf-8")
    with pytest.raises(HetcnnError, match=re.escape(message)):
        machine(platform.load(str(tmp_path / "mine.toml")))


def test_saturation_and_wrapping_are_the_kernels():
    b = Builder("loud", (1, 32, 6, 6))
    y = b.conv(b.input, 32, 3, pad=1, name="a")
    net = with_random_weights(b.build(b.relu(b.add(b.conv(y, 32, 3, pad=1, name="b"), y))), 3)
    loud = net.with_weights({k: 60 * v for k, v in net.weights.items()})
    words = fixed_point(loud).network
    image = np.random.default_rng(0).normal(0, 40, (1, 32, 6, 6)).astype(np.float32)
    found = snowflake.execute(snowflake.compile_network(words), {words.inputs[0].name: image}).tensors
    from hetcnn.kernels.interpreter import Interpreter

    theirs = dict(Interpreter.of(words).activations(image))
    for name, array in found.items():
        assert np.array_equal(array, theirs[name])
        assert np.mean(np.abs(array.astype(int)) >= 32767) > 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: machine(bandwidth=0), "bandwidth must be above 0, got 0"),
        (lambda: machine(clock=float("nan")), "clock must be above 0, got nan"),
        (lambda: machine(bank=1.5), "bank 1.5: expected a whole number from 1"),
        (lambda: machine(ports=8), "ports 8: at most 4"),
        (lambda: machine(bandwith=1), "unknown field of a machine 'bandwith'; did you mean 'bandwidth'"),
        (lambda: replace(COMPILED, mode="both"), "unknown mode 'both'"),
        (
            lambda: snowflake.layer_table("alexnet", "by hand"),
            "unknown way of writing code 'by hand'",
        ),
        (lambda: snowflake.layer_table("alexnets"), "unknown network 'alexnets'; did you mean 'alexnet'"),
        (lambda: snowflake.walk("conv9"), "unknown convolution of alexnet 'conv9'; did you mean 'conv"),
        (lambda: snowflake.run("alexnet").program.segment("conv9"), "unknown task of alexnet 'conv9'"),
        (
            lambda: parse(zoo.load("alexnet", batch=2)),
            "layer 'conv1': data of shape (2, 3, 224, 224)",
        ),
    ],
)
def test_mistakes_are_answered_in_one_line(call, message):
    with pytest.raises(HetcnnError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_network_from_an_onnx_file_compiles_to_the_same_program(tmp_path):
    net = zoo.load("squeezenet-1.1", seed=0)
    onnx_io.save(net, tmp_path / "net.onnx")
    again = snowflake.compile_network(onnx_io.load(tmp_path / "net.onnx"))
    assert np.array_equal(again.binary, snowflake.compile_network(net).binary)


@pytest.mark.parametrize(("field", "part"), [("bank", 0.9), ("weights", 0.8)])
def test_smaller_buffers_change_plans(field, part):
    small = replace(machine(), **{field: int(part * getattr(machine(), field))})
    usual, other = (snowflake.run("alexnet", COMPILED, on) for on in (machine(), small))
    assert other.bytes != usual.bytes


def test_missing_weights_are_named():
    with pytest.raises(HetcnnError, match="layer 'conv1': network 'alexnet' carries no weight"):
        snowflake.execute(snowflake.compile_network(zoo.load("alexnet")), {"input": np.zeros((1, 3, 224, 224))})


# --- the stream of instructions --------------------------------------------------------------------------------------


def control_flow(program):
    """Follow scalars and branches alone: the places visited, and how many instructions were executed."""
    r, visited, count = [0] * 32, set(), 0
    for segment in program.work:
        pc = segment.start
        while pc < segment.end:
            i = program.instructions[pc]
            todo, target = [pc], pc + 1
            if i.op in ("BLE", "BGT", "BEQ"):
                a, b = (r[x] for x in i.registers)
                taken = {"BLE": a <= b, "BGT": a > b, "BEQ": a == b}[i.op]
                todo += range(pc + 1, pc + 5)
                target = pc + i.imm if taken else pc + 5
            for place in todo:
                visited.add(place)
                count += 1
                j = program.instructions[place]
                if j.op in ("MOV", "ADD", "ADDI", "MUL", "MULI"):
                    a, *rest = (r[x] for x in j.registers[1:]) if j.op != "MOV" else (0,)
                    b = rest[0] if rest else j.imm
                    r[j.registers[0]] = {"MOV": b, "ADD": a + b, "ADDI": a + b}.get(j.op, a * b)
                    r[0] = 0
            pc = target
    return visited, count


@pytest.mark.parametrize("how", SCHEDULES)
def test_every_instruction_is_executed_and_counted(how):
    run = snowflake.run("alexnet", SCHEDULES[how])
    visited, count = control_flow(run.program)
    assert visited == set(range(len(run.program.instructions)))
    assert sum(t.counts.instructions for t in run.tasks) == count


def test_no_branch_leaves_a_bank_of_the_cache():
    for how in SCHEDULES.values():
        for network in ("alexnet", "googlenet"):
            program = snowflake.run(network, how).program
            branches = [(at, i.imm) for at, i in enumerate(program.instructions) if i.op in ("BLE", "BGT", "BEQ")]
            assert max(abs(span) for _, span in branches) <= 512
            for segment in program.work:
                inside = [at + span for at, span in branches if segment.start <= at < segment.end]
                assert all(segment.start <= target <= segment.end for target in inside)


@pytest.mark.parametrize("network", ["alexnet", "squeezenet-1.1"])
def test_iterations_together_take_as_long_as_one_by_one(network, monkeypatch):
    program = snowflake.compile_network(zoo.load(network))
    together = snowflake.simulate(program)
    monkeypatch.setattr(runner.Runner, "_together", lambda *_: False)
    single = snowflake.simulate(program)
    assert together.cycles == pytest.approx(single.cycles, rel=2e-3)
    for a, b in zip(together.tasks, single.tasks, strict=True):
        assert (a.counts.instructions, a.counts.traces, a.counts.bytes) == (
            b.counts.instructions,
            b.counts.traces,
            b.counts.bytes,
        )


@pytest.mark.parametrize("network", ["alexnet", "resnet-18", "squeezenet-1.1"])
def test_settled_loops_take_as_long_as_run_to_the_end(network, monkeypatch):
    program = snowflake.compile_network(zoo.load(network))
    skipping = snowflake.simulate(program)
    monkeypatch.setattr(steady.Steady, "skip", lambda *_: None)
    whole = snowflake.simulate(program)
    assert skipping.cycles == pytest.approx(whole.cycles, rel=1e-9)
    for a, b in zip(skipping.tasks, whole.tasks, strict=True):
        assert np.allclose(a.counts.vector(), b.counts.vector(), rtol=1e-9)


# --- time and bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", SCHEDULES)
@pytest.mark.parametrize("network", ["alexnet", "resnet-18", "googlenet"])
def test_bytes_are_the_estimates_and_time_is_near(network, how):
    for t in snowflake.run(network, SCHEDULES[how]).tasks:
        estimate, counts, task = t.segment.choice.estimate, t.counts, t.segment.plan.task
        assert (counts.weights, counts.maps, counts.stores) == (estimate.weights, estimate.maps_in, estimate.maps_out)
        assert counts.busy >= task.macs / 256 * (1 - 1e-9)
        assert t.cycles >= 0.99 * task.macs / 256
        if how == "compiled" and network != "googlenet":
            assert t.cycles == pytest.approx(estimate.total, rel=0.05)
        elif task.kind == "conv" and t.cycles > 0.4e-3 * 250e6:
            assert t.cycles == pytest.approx(estimate.total, rel=0.10)


@pytest.mark.parametrize(("ports", "cycles"), [((0,), 210), ((0, 1), 210), ((0, 0), 420), ((0, 1, 2, 3), 400)])
def test_loads_share_ports_and_memory(ports, cycles):
    # 1,680 bytes take 210 cycles at a port of 8 bytes and 100 cycles of a memory of 16.8; 60 more until they are usable
    time = timeline.Timeline(machine())
    for i, port in enumerate(ports):
        time.load(0, timeline.Span(1024 * i, 1024 * i + 840), 1680, port)
    last = timeline.Span(1024 * (len(ports) - 1), 1024 * (len(ports) - 1) + 16)
    time.trace(timeline.Trace(10, last, timeline.Span(0, 16), None, gathers=False))
    assert time.vector == pytest.approx(cycles + 60 + 10)


def test_stores_go_first_or_in_order_and_later_loads_pay():
    # 4 x 1,680 bytes of loads and 840 bytes of a store take 450 cycles of the memory, the store alone 105 of its port.
    for first, cycles in ((1, 105), (0, 450)):
        time = timeline.Timeline(machine(stores_first=first))
        for port in range(4):
            time.load(0, timeline.Span(1024 * port, 1024 * port + 840), 1680, port)
        time.store(timeline.Span(8192, 8192 + 420), 840, 0, 0)
        assert time.stored == pytest.approx(cycles + 60)
        time.load(0, timeline.Span(16384, 16384 + 840), 1680, 3)  # pays for both
        assert max(time.ready[0]) == pytest.approx(450 + 100 + 60)


def test_a_load_waits_for_the_last_use_of_what_it_overwrites():
    time = timeline.Timeline(machine())
    span = timeline.Span(0, 16)
    time.trace(timeline.Trace(500, span, span, None, gathers=False))
    time.load(0, span, 32, 0)
    time.trace(timeline.Trace(1, span, span, None, gathers=False))
    assert time.vector == pytest.approx(500 + 32 / 8 + 60 + 1)


def test_an_output_takes_sixteen_cycles_at_least():
    time = timeline.Timeline(machine())
    span = timeline.Span(0, 16)
    for _ in range(10):
        time.trace(timeline.Trace(4, span, span, timeline.Span(256, 260), gathers=True))
    assert time.vector == 4 + 9 * 16


def test_a_residual_takes_a_line_of_the_port():
    time = timeline.Timeline(machine())
    span = timeline.Span(0, 16)
    for _ in range(10):
        time.trace(timeline.Trace(36, span, span, timeline.Span(256, 260), gathers=True, residual=span, lines=1))
    assert time.vector == 10 * 37
    # 14 x 14 outputs of 3 traces of 48 lines, each with a line of residuals, in 16 rounds; rows stored in 4 lines.
    task = next(t for t in snowflake.run("resnet-18").tasks if t.segment.name == "block3/unit2/conv2")
    assert task.counts.busy == 16 * (256 // 16 * (14 * 3 - 2) ** 2 + 14 * 14 + 14 * 4)


def test_conv1_is_limited_by_issue_in_compiled_code():
    # 11 traces of 3 lines are 33 cycles; a MAC and two additions each, then pointer, counter, branch, four slots: 40.
    assert model.pixel_instructions(11, COMPILED) == 3 * 11 + 1 + 2 + 4
    conv1 = next(t for t in snowflake.run("alexnet").tasks if t.segment.name == "conv1")
    assert conv1.cycles == pytest.approx(55 * 55 * 4 * 40, rel=0.02)
    by_hand = next(t for t in snowflake.run("alexnet", HAND).tasks if t.segment.name == "conv1")
    assert by_hand.cycles == pytest.approx(55 * 55 * 4 * 33, rel=0.03)


def test_traffic_of_conv3_by_hand():
    table = snowflake.traffic_table("alexnet", "hand").sel(layer="conv3")
    kernels = 384 * 192 * 9 * 2 / 1024
    # Three passes over all kernels, a line of biases for every vMAC and round; 17 rows of 13 with halos, 13 written.
    assert float(table["weights"]) == pytest.approx(3 * (kernels + 24 * 16 * 16 * 2 / 1024))
    assert float(table["maps"]) == pytest.approx((17 * 13 * 192 + 13 * 13 * 384) * 2 / 1024)


@pytest.mark.parametrize(
    ("field", "better"),
    [("bandwidth", 8.4e9), ("latency", 10), ("queue", 64), ("port_width", 16), ("bandwidth", 4.3e9)],
)
def test_a_better_machine_is_never_slower(field, better):
    for how in SCHEDULES.values():
        plain = snowflake.run("alexnet", how).cycles
        assert snowflake.run("alexnet", how, replace(machine(), **{field: better})).cycles <= plain * (1 + 1e-6)


def test_no_frame_beats_the_peak_or_the_memory():
    for network in ("alexnet", "resnet-18", "squeezenet-1.1"):
        run = snowflake.run(network)
        on = run.program.machine
        assert run.seconds >= sum(t.segment.plan.task.ops for t in run.tasks) / on.peak_ops
        assert run.seconds >= run.bytes / on.bandwidth * 0.999
        for t in run.tasks:
            assert sum(t.counts.ports) == t.counts.bytes


def test_loads_ahead_wherever_a_window_fits_a_bank():
    program = snowflake.compile_network(zoo.load("vgg-16"))
    single = {s.name for s in program.work if not s.plan.double_maps and s.plan.task.kind == "conv"}
    wide = {t.name for t in program.graph if t.kind == "conv" and t.kh * t.W * t.C > machine().bank}
    assert single == wide


def test_plans_fit_and_cover():
    for how in SCHEDULES.values():
        for segment in snowflake.run("googlenet", how).program.work:
            p = segment.plan
            assert p.fits
            assert [t.first for t in p.tiles[1:]] == [t.end for t in p.tiles[:-1]]
            assert (p.tiles[0].first, p.tiles[-1].end) == (0, p.task.OH)
            if p.task.kind == "conv":
                assert p.rounds * p.lanes >= p.task.OC > (p.rounds - 1) * p.lanes
                assert sum(b - a for a, b in p.row_passes) == p.task.kh


@given(st.integers(1, 5000))
def test_lines(words):
    assert plan.line_count(words) == int(np.ceil(words / 16))


# --- the scorecard ---------------------------------------------------------------------------------------------------


def test_a_slower_clock_turns_the_table_red():
    claim = next(c for c in claims.load("snowflake") if c.id == "table.alexnet.total.actual")
    slow = snowflake.run("alexnet", HAND, replace(machine(), clock=225e6))
    time = 1e3 * sum(t.cycles for t in slow.tasks if t.segment.plan.task.kind == "conv") / 225e6
    assert scorecard.judge(claim, time).verdict == "off"
    assert scorecard.judge(claim, float(snowflake.layer_table()["actual"].sel(layer="total"))).reproduced


def test_budget_adds_up_to_the_published_numbers():
    budget = snowflake.budget()
    assert float(budget["time"].sum()) == pytest.approx(number("snowflake", "derived.resnet18.time"))
    assert float(budget["traffic"].sum()) == pytest.approx(number("snowflake", "derived.resnet18.traffic"))
    assert float(budget["time"][:-1].sum()) == pytest.approx(1e3 * snowflake.run("resnet-18").seconds)
    assert (budget["time"] >= 0).all()


def test_tables_add_up():
    for network in ("alexnet", "googlenet"):
        table = snowflake.layer_table(network)
        for key in ("ops", "theoretical", "actual"):
            assert float(table[key][:-1].sum()) == pytest.approx(float(table[key][-1]))
        assert (table["actual"] >= table["theoretical"]).all()


def test_poolings_inside_modules_count_with_them():
    table = snowflake.layer_table("googlenet", "compiled")
    runs = {t.segment.name: t for t in snowflake.run("googlenet").tasks}
    pool = next(
        t
        for t in runs.values()
        if t.segment.plan.task.target == runs["inception_4b/pool_proj"].segment.plan.task.source
    )
    row = table.sel(layer="inception_4b")
    assert float(row["module"] - row["actual"]) == pytest.approx(pool.cycles / 250e3)
    assert float(table["module"].sel(layer="total")) == pytest.approx(
        1e3 * snowflake.run("googlenet").seconds, rel=1e-3
    )
    for key in ("conv1", "conv2"):
        assert float(table["module"].sel(layer=key)) == float(table["actual"].sel(layer=key))
    alexnet = snowflake.layer_table("alexnet", "hand")
    assert (alexnet["module"][:-1] == alexnet["actual"][:-1]).all()


def test_tiles_by_hand():
    # conv2 of hand-written code: 27 rows in three tiles of nine, five rows of kernel, two of padding: 11, 13, 11 rows.
    found = snowflake.tiles("conv2", how="hand")
    assert found["first"].values.tolist() == [0, 9, 18]
    assert (found["map_last"] - found["map_first"] + 1).values.tolist() == [11, 13, 11]
    assert found["halo"].values.tolist() == [0, 4, 4]
    assert found["words"].values.tolist() == [rows * 27 * 64 for rows in (11, 13, 11)]


def test_exercises():
    assert snowflake.EXERCISES[1].check(100 * 21 / 32) == "right"
    # 5 + 1, 4 + 2 and 4 + 1 rows of 13 x 384 words: three tiles, so three times 384 x 256 x 9 weights of two bytes.
    assert snowflake.EXERCISES[2].check(3 * 384 * 256 * 9 * 2 / 1e6) == "right"
    assert snowflake.EXERCISES[3].check(128 / 4.2) == "right"
    assert snowflake.EXERCISES[3].check(None) == "no answer yet"
    assert snowflake.EXERCISES[1].check(60).startswith("not yet")


# --- the explorer ---------------------------------------------------------------------------------


def test_explorer_forces_a_plan_and_says_where_none_fits():
    from hetcnn.widgets import snowflake as widget

    found = widget.design("alexnet", "conv4", "cooperative", "kernels stay")
    assert (found.plan.mode, found.plan.order) == ("coop", "weights")
    assert found.estimate.bytes < widget.design("alexnet", "conv4", order="maps stay").estimate.bytes
    assert widget.design("alexnet", "conv4", "independent") is None
    time, traffic = widget.draw("alexnet", "conv4", "independent")
    assert time.get_title(loc="left") == "alexnet, conv4: no plan fits"
    assert traffic.get_xlabel().startswith("traffic")
    time.figure.clear()


def test_explorer_follows_the_network():
    from hetcnn.widgets import snowflake as widget

    explorer = widget.explore("alexnet", "conv3")
    explorer.set(network="resnet-18")
    assert explorer.values["layer"] == "conv1"
    with pytest.raises(HetcnnError, match="unknown convolution of alexnet 'conv9'"):
        widget.explore("alexnet", "conv9")
    with pytest.raises(HetcnnError, match="unknown mode 'fast'"):
        widget.draw("alexnet", "conv2", "fast")


@pytest.mark.slow
@pytest.mark.parametrize(("field", "factor"), [("clock", 1.1), ("bandwidth", 0.9), ("bandwidth", 1.1), ("bank", 0.9)])
def test_ten_per_cent_on_the_machine_changes_a_verdict(field, factor, verdicts, verdicts_after):
    """Not so of the weights buffers, ports and latency: the sensitivity table says how little they matter."""

    def change(made):
        value = factor * getattr(made, field)
        return replace(made, **{field: int(value) if field == "bank" else value})

    assert verdicts_after("snowflake", machine, change) != verdicts("snowflake")
