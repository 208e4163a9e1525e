"""Board files: what the shipped ones say, the message of every kind of mistake, and fuzzed files."""

import contextlib
import math
import re
from pathlib import Path
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError, data, platform
from hetcnn.units import DIMENSIONS

BOARDS = ["hikey970", "p395-ab", "tx2-cyclone10gx", "zc702", "zc706"]

MINIMAL = """
title = "Test board"
[memories.dram]
title = "DRAM"
bandwidth = { value = "25.6 GB/s", source = "data sheet" }
[devices.a73]
title = "A73"
kind = "cpu"
memories = ["dram"]
cores = { value = 4, source = "data sheet" }
clock = { value = "2.36 GHz", source = "data sheet" }
ops_per_cycle = { value = 8, assumed = [4, 8], why = "not published" }
[rails.cpu]
title = "CPU"
feeds = ["a73"]
static = { value = "0.5 W", source = "measured" }
"""

ACCELERATOR = """
[devices.npu]
title = "NPU"
kind = "npu"
peak = { value = "1 Top/s", source = "data sheet" }
"""


def parse(text):
    return platform.parse(text.encode(), "board.toml")


def test_the_five_boards_are_shipped():
    assert platform.names() == BOARDS


@pytest.mark.parametrize("name", BOARDS)
def test_every_number_has_provenance(name):
    board = platform.load(name)
    numbers = dict(board.quantities())
    assert numbers
    for path, number in numbers.items():
        assert math.isfinite(number.value), path
        assert number.dimension in DIMENSIONS, path
        assert bool(number.source) != bool(number.why), path
        if number.assumed:
            assert number.low <= number.value <= number.high, path
            assert number.low < number.high, path
    assert board.key == name


@pytest.mark.parametrize("name", BOARDS)
def test_every_table_of_numbers_on_file_is_read(name):
    text = data.path("platforms", f"{name}.toml").read_text()
    assert len(re.findall(r"\{ value = ", text)) == len(dict(platform.load(name).quantities()))


# The numbers of the papers, by hand, in SI.
PUBLISHED = [
    ("hikey970", "devices.a73.cores", 4),
    ("hikey970", "devices.a73.clock", 2.36e9),
    ("hikey970", "devices.a53.clock", 1.8e9),
    ("hikey970", "devices.a73.buffers.l2", 2 * 2**20),
    ("hikey970", "devices.a53.buffers.l2", 2**20),
    ("hikey970", "devices.g72.peak", 244.8e9),
    ("hikey970", "devices.npu.peak", 1.92e12),
    ("zc702", "devices.fabric.clock", 1e8),
    ("zc702", "devices.fabric.cores", 8),
    ("zc702", "devices.a9.cores", 2),
    ("zc706", "devices.snowflake.cores", 256),
    ("zc706", "devices.snowflake.clock", 250e6),
    ("zc706", "devices.snowflake.word", 2),
    ("zc706", "memories.ddr.bandwidth", 4.2e9),
    ("zc706", "devices.snowflake.resources.dsp", 900),
    ("tx2-cyclone10gx", "memories.lpddr4.bandwidth", 58.4e9),
    ("tx2-cyclone10gx", "devices.gpu.cores", 256),
    ("tx2-cyclone10gx", "devices.cyclone10gx.resources.alm", 80330),
    ("p395-ab", "devices.elastic.clock", 1e8),
]


@pytest.mark.parametrize(("name", "path", "value"), PUBLISHED)
def test_published_numbers(name, path, value):
    number = dict(platform.load(name).quantities())[path]
    assert number.value == value
    assert not number.assumed


def test_unpublished_numbers_are_assumptions():
    paths = {name: {a.path for a in platform.load(name).assumptions()} for name in BOARDS}
    assert "memories.dram.bandwidth" in paths["hikey970"]
    assert "memories.ddr.bandwidth" in paths["zc702"]
    assert "devices.cyclone10gx.clock" in paths["tx2-cyclone10gx"]
    assert {"memories.ddr.bandwidth", "devices.elastic.cores"} <= paths["p395-ab"]


def test_peaks_by_hand():
    assert platform.load("zc706").devices["snowflake"].peak_ops == 128e9  # 256 x 2 x 250 MHz: the paper's 128 Gop/s
    assert platform.load("hikey970").devices["a73"].peak_ops == pytest.approx(75.52e9)  # 4 x 8 x 2.36 GHz
    gpu = platform.load("tx2-cyclone10gx").devices["gpu"]
    assert 2 * gpu.peak_ops == pytest.approx(1.33e12, rel=0.002)  # FP16 at twice the rate: the published 1.33 T


def test_measured_power_of_the_zc702_is_kept():
    rails = platform.load("zc702").rails.values()
    both = sum(float(rail.static) + float(rail.dynamic) for rail in rails)
    assert both == pytest.approx(2.08, abs=0.005)  # the paper's mean


# Pipe-it's five networks, AlexNet to SqueezeNet: GMAC of convolutions (section 1.2), images/s and share of convolutions
# on four Big cores (Figs 4 and 6), Small over Big (Table IV; AlexNet's Small from the sister paper's 2.2).
GMAC = [0.666, 1.582, 0.569, 3.482, 0.819]
BIG_RATE, CONV_SHARE = [8.06, 7.81, 17.36, 3.13, 15.57], [0.296, 0.871, 0.941, 0.937, 0.932]
SMALL_OVER_BIG = [2.2 / 8.1, 3.3 / 7.8, 6.6 / 17.4, 1.5 / 3.1, 6.9 / 15.6]
BIG_OPS = [2e9 * g * rate / share for g, rate, share in zip(GMAC, BIG_RATE, CONV_SHARE, strict=True)]
SMALL_OPS = [ops * ratio for ops, ratio in zip(BIG_OPS, SMALL_OVER_BIG, strict=True)]
ALEXNET_FC = 2 * 58.6e6
MOBILENET_DW = 2 * 17.386e6


def test_efficiencies_of_the_hikey_follow_from_the_papers_figures():
    board = platform.load("hikey970")
    big, small = board.device("a73"), board.device("a53")
    assert big.rate("conv") == pytest.approx(median(BIG_OPS), rel=0.02)
    assert small.rate("conv") == pytest.approx(median(SMALL_OPS), rel=0.02)
    assert big.rate("dw") == pytest.approx(MOBILENET_DW / 13.0e-3, rel=0.02)
    assert small.rate("dw") == pytest.approx(MOBILENET_DW / 13.0e-3 * 6.6 / 17.4, rel=0.02)
    assert big.rate("fc") == pytest.approx(ALEXNET_FC / (0.673 / 8.06), rel=0.02)
    left = 1 / 2.2 - 2e9 * GMAC[0] / small.rate("conv")
    assert small.rate("fc") == pytest.approx(ALEXNET_FC / left, rel=0.02)
    low, high = min(BIG_OPS) / big.peak_ops, max(BIG_OPS) / big.peak_ops
    assert (big.efficiency["conv"].low, big.efficiency["conv"].high) == pytest.approx((low, high), abs=0.001)


def test_efficiencies_of_gpu_and_npu_follow_from_the_sister_paper():
    board = platform.load("hikey970")
    gpu = [2e9 * g * rate for g, rate in zip(GMAC[1:], [19.9, 29.1, 8.4, 43.0], strict=True)]
    npu = [2e9 * g * rate for g, rate in zip([GMAC[1], *GMAC[3:]], [34.4, 21.9, 49.3], strict=True)]
    assert board.device("g72").rate("conv") == pytest.approx(median(gpu), rel=0.02)
    assert board.device("npu").rate("conv") == pytest.approx(median(npu), rel=0.02)


def test_powers_follow_from_the_papers_tables():
    hikey, zc702 = platform.load("hikey970"), platform.load("zc702")
    assert hikey.value("rails.big.dynamic") == pytest.approx(mean([3.8, 4.6, 4.2, 4.0, 4.9]))
    assert hikey.value("rails.small.dynamic") == pytest.approx(mean([0.7, 1.1, 1.0, 1.0, 1.3]))
    fig10 = {
        "fpga": [0.616, 0.475, 0.601, 0.611, 0.560, 0.580, 0.500],
        "arm": [0.739, 0.721, 0.749, 0.749, 0.759, 0.754, 0.729],
        "ddr": [0.779, 0.729, 0.731, 0.779, 0.870, 0.799, 0.731],
    }
    for name, watts in fig10.items():
        both = zc702.value(f"rails.{name}.static") + zc702.value(f"rails.{name}.dynamic")
        assert both == pytest.approx(mean(watts), abs=0.001)


def test_snowflake_by_the_papers_numbers():
    board = platform.load("zc706")
    chip = board.value("rails.chip.static") + board.value("rails.chip.dynamic")
    assert chip == 5
    assert chip + board.value("rails.board.static") == pytest.approx(9.48)
    # AlexNet's five convolutions, 1198 Mop, take 9.95 ms on the real machine.
    assert 1198e6 / board.device("snowflake").rate("conv") == pytest.approx(9.95e-3, rel=0.002)
    found = board.device("snowflake").resources
    macs = math.prod(float(found[name]) for name in ("units", "vmacs_per_unit", "macs_per_vmac"))
    assert macs == board.value("devices.snowflake.cores")


def test_cpu_of_the_zc702_runs_the_original_darknet():
    # MOP per frame (section 1.7) times the original's frames/s (Fig 9), one core.
    mops = [20.3, 16.4, 52.5, 26.3, 22.35, 27, 9.75]
    rates = [10.80, 13.92, 4.56, 7.82, 14.47, 8.09, 30.48]
    one_core = platform.load("zc702").device("a9").rate("conv") / 2
    assert one_core == pytest.approx(median(1e6 * m * r for m, r in zip(mops, rates, strict=True)), rel=0.02)


def test_rate_is_peak_times_efficiency():
    board = parse(MINIMAL + "[devices.a73.efficiency]\nconv = { value = '50 %', source = 'measured' }\n")
    device = board.device("a73")
    assert device.rate("conv") == pytest.approx(37.76e9)
    assert device.rate("fc") == device.peak_ops


def test_a_device_runs_only_its_kinds():
    fabric = platform.load("zc702").device("fabric")
    assert fabric.rate("conv") > 0
    assert fabric.rate("fc") == 0


def test_weights_as_logic_work_a_pixel_a_clock():
    fabric = platform.load("tx2-cyclone10gx").device("cyclone10gx")
    # 1,024 weights: 2 x 1,024 ops a clock, so one pixel a clock at 80 MHz.
    assert fabric.rate("conv", weights=1024) == pytest.approx(2 * 1024 * 80e6)
    assert fabric.rate("conv", weights=10_001) == 0


def test_bandwidths_take_the_lower_of_memory_and_device():
    board = parse(MINIMAL + "[devices.a73.bandwidth]\ndram = { value = '3 GB/s', source = 'measured' }\n")
    assert board.bandwidths("a73") == {"dram": 3e9}
    assert board.with_value("devices.a73.bandwidth.dram", "99 GB/s").bandwidths("a73") == {"dram": 25.6e9}
    assert parse(MINIMAL).bandwidths("a73") == {"dram": 25.6e9}


def test_link_is_crossed_only_without_the_host_memory():
    board = platform.load("tx2-cyclone10gx")
    assert board.host == "lpddr4"
    assert board.link_of("gpu") is None
    assert board.link_of("cyclone10gx") is board.links["pcie"]


def test_static_power_is_the_sum_of_rails():
    assert platform.load("tx2-cyclone10gx").static_power == pytest.approx(0.228 + 1.3 + 0.99 + 0.5)


def test_assumptions_span_their_value():
    (only,) = parse(MINIMAL).assumptions()
    assert only == ("devices.a73.ops_per_cycle", 8.0, 4.0, 8.0, "not published")


def test_with_value_changes_one_number_of_a_copy():
    board = parse(MINIMAL)
    slow = board.with_value("devices.a73.ops_per_cycle", 2)
    assert (slow.devices["a73"].peak_ops, board.devices["a73"].peak_ops) == (4 * 2.36e9 * 2, 4 * 2.36e9 * 8)
    assert slow.assumptions()[0].low == 2
    fast = board.with_value("memories.dram.bandwidth", "50 GB/s")
    assert fast.bandwidths("a73") == {"dram": 5e10}
    assert fast.memories["dram"].bandwidth.provenance == "changed by hand from 25.6 GB/s (data sheet)"
    assert board.bandwidths("a73") == {"dram": 25.6e9}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("devices.a73.clok", 1e9, "unknown number of board 'devices.a73.clok'; did you mean 'devices.a73.clock'?"),
        ("devices.a73.clock", 0, "board: devices.a73.clock: expected a value above 0, got 0 Hz"),
        (
            "devices.a73.clock",
            math.nan,
            "board: devices.a73.clock: expected a frequency, got nan; it must be a finite number",
        ),
        ("devices.a73.clock", "5 W", "board: devices.a73.clock: expected a frequency, got '5 W'"),
        ("devices.a73.cores", 1.5, "board: devices.a73.cores: expected a count, got 1.5; it must be a whole number"),
    ],
)
def test_with_value_refuses(path, value, message):
    with pytest.raises(HetcnnError) as caught:
        parse(MINIMAL).with_value(path, value)
    assert str(caught.value).startswith(message)


def test_unknown_device_names_the_nearest():
    with pytest.raises(HetcnnError, match="unknown device of hikey970 'a7'; did you mean 'a73'"):
        platform.load("hikey970").device("a7")


def replaced(old, new, text=MINIMAL):
    assert old in text
    return text.replace(old, new, 1)


CLOCK = '"2.36 GHz"'
MISTAKES = [
    (replaced(CLOCK, '"25.6 GB/s"'), "devices.a73.clock: expected a frequency, got '25.6 GB/s'"),
    (replaced(CLOCK, "2.36e9"), "devices.a73.clock: expected a frequency, got 2360000000.0; give its unit"),
    (replaced(CLOCK, '"-1 GHz"'), "devices.a73.clock: expected a frequency, got '-1 GHz'; it must not be negative"),
    (
        replaced(CLOCK, '"nan GHz"'),
        "devices.a73.clock: expected a frequency, got 'nan GHz'; it must be a finite number",
    ),
    (replaced(CLOCK, '"0 GHz"'), "devices.a73.clock: expected a value above 0, got 0 Hz"),
    (
        replaced("value = 4,", "value = nan,"),
        "devices.a73.cores: expected a count, got nan; it must be a finite number",
    ),
    (replaced("value = 4,", "value = -4,"), "devices.a73.cores: expected a count, got -4; it must not be negative"),
    (replaced("value = 4,", "value = 2.5,"), "devices.a73.cores: expected a count, got 2.5; it must be a whole number"),
    (replaced('{ value = "2.36 GHz", source = "data sheet" }', CLOCK), "devices.a73.clock: expected a frequency, got"),
    (replaced("clock = ", "clok = "), "devices.a73.clok: unknown field 'clok'; did you mean 'clock'?"),
    (replaced('title = "A73"\n', ""), "devices.a73.title: missing; the field is required"),
    (replaced('title = "A73"\n', 'titel = "A73"\n'), "devices.a73.titel: unknown field 'titel'; did you mean 'title'?"),
    (
        replaced('title = "Test board"', 'author = "me"'),
        "author: unknown field 'author'; did you mean 'about'? Known: about, devices",
    ),
    (replaced('title = "Test board"', 'key = "x"\ntitle = "x"'), "key: the file's name is the board's key"),
    (replaced('title = "Test board"', "title = 3"), "title: expected text, got 3"),
    (replaced(', source = "data sheet" }\nops', " }\nops"), "devices.a73.clock: give exactly one of 'source'"),
    (replaced("assumed = [4, 8]", 'source = "x"'), "devices.a73.ops_per_cycle: 'why' explains an assumption"),
    (
        replaced("assumed = [4, 8]", "assumed = [1, 4]"),
        "devices.a73.ops_per_cycle: 8 is outside its assumed range 1 to 4",
    ),
    (
        replaced("assumed = [4, 8]", "assumed = [0, 8]"),
        "devices.a73.ops_per_cycle: expected a value above 0, got 0 to 8",
    ),
    (
        replaced('memories = ["dram"]', 'memories = ["drm"]'),
        "devices.a73.memories: unknown memory 'drm'; did you mean 'd",
    ),
    (replaced('memories = ["dram"]', 'memories = "dram"'), "devices.a73.memories: expected a list, got dram"),
    (replaced('memories = ["dram"]\n', ""), "devices.a73: it does not read 'dram', the first memory, and no link"),
    (replaced('kind = "cpu"', 'kind = "gpuu"'), "devices.a73.kind: unknown kind of device 'gpuu'; did you mean 'gpu'?"),
    (replaced('kind = "cpu"', "kind = 7"), "devices.a73.kind: expected text, got 7"),
    (replaced('kind = "cpu"', 'kind = "cpu"\nruns = ["pool"]'), "devices.a73.runs.0: unknown kind of layer 'pool'"),
    (replaced('kind = "cpu"', 'kind = "cpu"\nshares = "a7"'), "devices.a73.shares: unknown other device 'a7'"),
    (replaced('kind = "cpu"', 'kind = "cpu"\nshares = "a73"'), "devices.a73.shares: unknown other device 'a73'"),
    (
        replaced('feeds = ["a73"]', 'feeds = ["a37"]'),
        "rails.cpu.feeds: unknown device, memory or link 'a37'; did you mean 'a",
    ),
    (
        replaced('static = { value = "0.5 W"', 'static = { value = "0.5 V"'),
        "rails.cpu.static: expected a power, got '0.5 V'",
    ),
    (
        replaced('feeds = ["a73"]', 'dynamic = { value = "1 W", source = "x" }'),
        "rails.cpu: a rail that feeds nothing has only 'static' power",
    ),
    (MINIMAL + ACCELERATOR, "devices.npu: it does not read 'dram', the first memory, and no link reaches it"),
    (
        MINIMAL + ACCELERATOR + 'memories = ["dram"]\nclock = { value = "1 GHz", source = "x" }\n'
        "ops_per_cycle = { value = 2, source = 'x' }\n",
        "devices.npu: give either 'peak' or 'ops_per_cycle'",
    ),
    (replaced("cores = ", "# "), "devices.a73: 'ops_per_cycle' needs 'cores' and 'clock' to give a peak"),
    (
        MINIMAL + ACCELERATOR + 'memories = ["dram"]\nweight_limit = { value = 10, source = "x" }\n',
        "devices.npu: 'weight_limit' counts multipliers",
    ),
    (replaced("[memories.dram]", "[memories.Dram]"), "memories: 'Dram' is no name for a memory; use up to 40 of a-z"),
    (replaced("[memories.dram]", '[memories."a\\nb"]'), "memories: 'a b' is no name for a memory"),
    (replaced("[devices.a73]", "[devices.dram]"), "'dram' names two parts"),
    (
        MINIMAL + "[devices.a73.efficiency]\ncnv = 1\n",
        "devices.a73.efficiency: unknown kind of layer 'cnv'; did you mean",
    ),
    (
        MINIMAL + "[devices.a73.efficiency]\nconv = { value = 1.5, source = 'x' }\n",
        "devices.a73.efficiency.conv: expected a value of at most 1, got 1.5",
    ),
    (
        MINIMAL + "[devices.a73.bandwidth]\nl2 = { value = '1 GB/s', source = 'x' }\n",
        "devices.a73: unknown memory of this device in 'bandwidth' 'l2'",
    ),
    (
        MINIMAL + "[links.bus]\ntitle = 'x'\nends = ['a73', 'drum']\nbandwidth = { value = '1 GB/s', source = 'x' }\n",
        "links.bus.ends: unknown device or memory 'drum'; did you mean 'dram'?",
    ),
    (
        MINIMAL + "[links.bus]\ntitle = 'x'\nends = ['a73', 'a73']\nbandwidth = { value = '1 GB/s', source = 'x' }\n",
        "links.bus.ends: a link joins two different parts, got 'a73' twice",
    ),
    (
        MINIMAL + "[links.bus]\ntitle = 'x'\nends = ['a73']\nbandwidth = { value = '1 GB/s', source = 'x' }\n",
        "links.bus.ends.1: missing; the field is required",
    ),
    ("title = 'x'\nmemories = {}\ndevices = {}\n", "memories: a board has at least one"),
    ("title = 'x'\nmemories = 3\ndevices = []\n", "memories: expected a table with one entry per memory, got 3"),
    ("title = 'x'\n[memories]\ndram = 3\n[devices]\n", "memories.dram: expected a table, got 3"),
    ("", "title: missing; the field is required (and 2 more)"),
    ("title = ", "not a TOML file: Invalid value"),
    ("x = " + "[" * 3000, "not a TOML file: nested too deeply"),
    ("x = " + "9" * 5000, "not a TOML file: "),
    ("x" * 1_000_001, "larger than 1,000,000 bytes"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message[:60] for _, message in MISTAKES])
def test_mistakes_in_a_board_file(text, message):
    with pytest.raises(HetcnnError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"board.toml: {message}")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text():
    with pytest.raises(HetcnnError, match=r"^board\.toml: not a TOML file: 'utf-8' codec"):
        platform.parse(b"\xff\xfe", "board.toml")


def test_a_user_file_works_like_a_name(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(MINIMAL)
    assert platform.load(file) == platform.load(str(file))
    assert platform.load(file).key == "mine"


def test_a_link_makes_a_device_without_memory_reachable():
    link = "[links.bus]\ntitle = 'x'\nends = ['npu', 'dram']\nbandwidth = { value = '1 GB/s', source = 'x' }\n"
    board = parse(MINIMAL + ACCELERATOR + link)
    assert board.link_of("npu") is board.links["bus"]
    assert board.bandwidths("npu") == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hikey960", "unknown platform 'hikey960'; did you mean 'hikey970'? Known: hikey970, p395-ab"),
        ("", "unknown platform ''"),
        ("no/such.toml", "cannot read board file 'no/such.toml': No such file or directory"),
        ("bad\0name.toml", "cannot read board file 'bad name.toml': "),
        (".", "unknown platform '.'"),
    ],
)
def test_names_and_paths_that_lead_nowhere(name, message):
    with pytest.raises(HetcnnError) as caught:
        platform.load(name)
    assert str(caught.value).startswith(message)


def test_a_folder_is_no_board(tmp_path):
    with pytest.raises(HetcnnError, match="a folder, not a board file"):
        platform.load(tmp_path)


def test_boards_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        platform.load("zc706").title = "x"


def test_text_card_names_the_parts():
    text = str(platform.load("tx2-cyclone10gx"))
    assert "gpu: Jetson TX2 GPU (Pascal, 256 cores), gpu, 666 Gop/s" in text
    assert "pcie: PCIe Gen2 x4, lpddr4 - cyclone10gx, 1.8 GB/s" in text


def only_board_or_error(content):
    with contextlib.suppress(HetcnnError):
        assert isinstance(platform.parse(content, "fuzz.toml"), platform.Platform)


FUZZ = settings(derandomize=True, deadline=None, max_examples=200)
SHIPPED = [Path(data.path("platforms", f"{name}.toml")).read_bytes() for name in BOARDS]
SCALARS = st.one_of(
    st.text(max_size=12), st.integers(), st.floats(), st.booleans(), st.sampled_from(["5 W", "1 GHz", "2 GB/s", "dram"])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@FUZZ
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="ignore"))))
def test_any_bytes_are_a_board_or_an_error(content):
    only_board_or_error(content)


@FUZZ
@given(st.sampled_from(SHIPPED), st.data())
def test_mutated_boards_are_a_board_or_an_error(content, draw):
    start = draw.draw(st.integers(0, len(content)))
    end = draw.draw(st.integers(start, min(len(content), start + 40)))
    only_board_or_error(content[:start] + draw.draw(st.binary(max_size=20)) + content[end:])


@FUZZ
@given(st.sampled_from(SHIPPED), st.data())
def test_boards_with_swapped_lines_or_values_are_a_board_or_an_error(content, draw):
    lines = content.decode().splitlines()
    i, j = (draw.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    lines[i], lines[j] = lines[j], lines[i]
    value = draw.draw(st.sampled_from(["1", "'x'", "nan", "-inf", "[]", "{}", "true", "1979-05-27", "1e400", "''"]))
    k = draw.draw(st.integers(0, len(lines) - 1))
    lines[k] = re.sub(r"= .*", f"= {value}", lines[k])
    only_board_or_error("\n".join(lines).encode())


@FUZZ
@given(st.sampled_from(["memories", "devices", "links", "rails", "title"]), TREES)
def test_any_value_in_place_of_a_table_is_an_error_of_one_line(table, tree):
    import tomllib

    raw = {"key": "x", **tomllib.loads(MINIMAL), table: tree}
    try:
        platform.Platform.model_validate(raw)
    except platform.ValidationError as error:
        message = platform._first_error(error)
        assert message
        assert "HetcnnError" not in message


def test_a_decimal_comma_is_answered_with_the_rule():
    text = (data.path("platforms") / "hikey970.toml").read_text().replace('"2.36 GHz"', '"2,36 GHz"', 1)
    with pytest.raises(HetcnnError) as error:
        platform.parse(text.encode(), "x.toml")
    said = "x.toml: devices.a73.clock: expected a frequency, got '2,36 GHz'; the decimal separator is a point"
    assert str(error.value).startswith(said)
