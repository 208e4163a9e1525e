"""Analysis: hand calculations on a small board, brute force for the pipeline, and laws on every shipped board."""

import csv
import io
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from hetcnn import HetcnnError, onnx_io, platform
from hetcnn.analysis import analyse
from hetcnn.network import Layer, Network, Tensor
from hetcnn.text import analysis_text

BOARDS = ["hikey970", "p395-ab", "tx2-cyclone10gx", "zc702", "zc706"]


def chain(*channels, size=8, batch=1, classes=10, name="chain"):
    """Convolutions of 3x3 with a ReLU after each, then Flatten and a classifier."""
    x = first = Tensor("input", (batch, channels[0], size, size))
    layers = []
    for i, (ci, co) in enumerate(itertools.pairwise(channels)):
        w = Tensor(f"w{i}", (co, ci, 3, 3), constant=True)
        y, z = Tensor(f"y{i}", (batch, co, size, size)), Tensor(f"z{i}", (batch, co, size, size))
        attrs = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
        layers += [Layer(f"conv{i}", "Conv", (x, w), (y,), attrs), Layer(f"relu{i}", "Relu", (y,), (z,))]
        x = z
    features = x.size // batch
    flat, out = Tensor("flat", (batch, features)), Tensor("out", (batch, classes))
    weight = Tensor("wf", (features, classes), constant=True)
    layers += [Layer("flatten", "Flatten", (x,), (flat,)), Layer("fc", "Gemm", (flat, weight), (out,))]
    return Network(name, (first,), tuple(layers), (out,))


def number(value):
    return f'{{ value = "{value}", source = "test" }}'


def board(*devices, extra="", bandwidth="1 GB/s"):
    text = f'title = "Test"\n[memories.dram]\ntitle = "DRAM"\nbandwidth = {number(bandwidth)}\n'
    for name, fields in devices:
        text += f'[devices.{name}]\ntitle = "{name}"\n{fields}\n'
    return platform.parse((text + extra).encode(), "test.toml")


def cpu(name, peak, more=""):
    return name, f'kind = "cpu"\nmemories = ["dram"]\npeak = {number(peak)}\n{more}'


RAILS = f"""
[rails.core]
title = "core"
feeds = ["big"]
static = {number("1 W")}
dynamic = {number("2 W")}
per_op = {number("1 nJ/op")}
[rails.memory]
title = "memory"
feeds = ["dram"]
static = {number("0.5 W")}
per_byte = {number("1 nJ/B")}
"""


def test_time_and_bound_by_hand():
    # conv0: 64 pixels x 27 taps x 16 maps = 27,648 MACs; 4 x (192 + 432 + 1,024) B = 6,592 B.
    launch = f"launch = {number('1 us')}"
    result = analyse(chain(3, 16), board(cpu("big", "1 Gop/s", launch)))
    assert result.layers == ("conv0", "relu0", "flatten", "fc")
    assert result.macs.tolist() == [27_648, 0, 0, 10_240]
    assert result.bytes[0] == 6_592
    assert result.intensity[0] == pytest.approx(55_296 / 6_592)
    relu, fc = 4 * 2 * 1_024 / 1e9, 4 * (1_024 + 10_240 + 10) / 1e9
    assert result.time[:, 0] == pytest.approx([55_296 / 1e9 + 1e-6, relu + 1e-6, 0, fc + 1e-6])
    assert result.bound[:, 0].tolist() == ["compute", "memory:dram", "none", "memory:dram"]


def test_energy_by_hand():
    result = analyse(chain(3, 16), board(cpu("big", "1 Gop/s"), extra=RAILS))
    time = 55_296 / 1e9
    assert result.static_energy[0, 0] == pytest.approx(1.5 * time)
    assert result.dynamic_energy[0, 0] == pytest.approx(2 * time + 55_296e-9 + 6_592e-9)
    assert result.energy == pytest.approx(result.static_energy + result.dynamic_energy)
    assert result.energy[2, 0] == 0


def test_rails_of_other_devices_add_only_their_static_power():
    both = board(cpu("big", "1 Gop/s"), cpu("small", "1 Gop/s"), extra=RAILS)
    result = analyse(chain(3, 16), both)
    assert result.static_energy[0, 1] == result.static_energy[0, 0]
    assert result.dynamic_energy[0, 1] == pytest.approx(6_592e-9)


def test_a_rail_is_busy_while_any_of_its_parts_is():
    rail = f'[rails.all]\ntitle = "x"\nfeeds = ["big", "dram"]\nstatic = {number("0 W")}\ndynamic = {number("2 W")}\n'
    result = analyse(chain(3, 16), board(cpu("big", "1 Gop/s"), extra=rail))
    assert result.dynamic_energy[:, 0] == pytest.approx(2 * result.time[:, 0])


def test_totals_are_sums_over_layers_and_per_frame():
    result = analyse(chain(3, 16, batch=4), board(cpu("big", "1 Gop/s"), extra=RAILS))
    total = result.totals()["big"]
    assert total.time == pytest.approx(result.time.sum())
    assert total.throughput == pytest.approx(4 / result.time.sum())
    assert total.energy == pytest.approx(result.energy.sum() / 4)
    assert total.frames_per_joule * total.energy == pytest.approx(1)


def test_the_word_of_a_device_scales_its_traffic():
    result = analyse(chain(3, 16), board(cpu("big", "1 Gop/s"), cpu("fixed", "1 Gop/s", f"word = {number('2 B')}")))
    assert (result.traffic[:, 1] * 2).tolist() == result.traffic[:, 0].tolist()
    assert result.traffic[:, 0].tolist() == result.bytes.tolist()


LINK = (
    f'[links.bus]\ntitle = "bus"\nends = ["dram", "far"]\nbandwidth = {number("1 MB/s")}\nlatency = {number("1 ms")}\n'
)


def test_a_device_behind_a_link_waits_for_it():
    far = ("far", f'kind = "npu"\npeak = {number("1 Top/s")}')
    rail = f'[rails.bus]\ntitle = "x"\nfeeds = ["bus"]\nstatic = {number("0 W")}\nper_byte = {number("1 nJ/B")}\n'
    result = analyse(chain(3, 16), board(cpu("big", "1 Gop/s"), far, extra=LINK + rail), devices=["far"])
    crossing = 4 * (192 + 1_024)  # the frame there and the maps back; weights stay
    assert result.time[0, 0] == pytest.approx(crossing / 1e6 + 2e-3)
    assert result.bound[:, 0].tolist() == ["link", "link", "none", "link"]
    assert result.dynamic_energy[0, 0] == pytest.approx(crossing * 1e-9)


def test_what_cannot_run_is_infinite_and_says_why():
    picky = cpu("picky", "1 Gop/s", 'runs = ["conv"]')
    fabric = (
        "fabric",
        f'kind = "fpga"\nmemories = ["dram"]\nweight_limit = {{ value = 500, source = "x" }}\n'
        f'clock = {number("1 MHz")}\nops_per_cycle = {{ value = 2, source = "x" }}',
    )
    result = analyse(chain(3, 16), board(picky, fabric))
    assert result.bound[3].tolist() == ["cannot run", "does not fit"]
    assert np.isinf(result.time[3]).all()
    # 432 weights fit: one of 64 pixels a clock of 1 MHz.
    assert result.time[0, 1] == pytest.approx(64e-6)
    assert result.totals()["picky"].throughput == 0
    assert result.pipeline is None
    assert any("no pipeline" in note for note in result.notes)
    document = json.loads(result.to_json())
    assert document["layers"][3]["picky.time"] is None
    assert document["devices"]["picky"]["time"] is None
    last = list(csv.DictReader(io.StringIO(result.to_csv())))[3]
    assert (last["picky.time [s]"], last["picky.bound"]) == ("", "cannot run")


def brute_force(result):
    """The fastest slowest stage over all choices, orders and contiguous splits, by trying everything."""
    sizes = [len(segment) for segment in result.network.segments]
    ends = np.cumsum([0, *sizes])
    best = math.inf
    for count in range(1, len(result.devices) + 1):
        for order in itertools.permutations(range(len(result.devices)), count):
            cores = [result.platform.devices[result.devices[d]].shares or result.devices[d] for d in order]
            if len(set(cores)) < count:
                continue
            for cuts in itertools.combinations(range(1, len(sizes)), count - 1):
                edges = [0, *cuts, len(sizes)]
                times = [
                    result.time[ends[a] : ends[b], d].sum()
                    for d, (a, b) in zip(order, itertools.pairwise(edges), strict=True)
                ]
                best = min(best, max(times))
    return best


@pytest.mark.parametrize("name", ["hikey970", "zc702", "zc706", "p395-ab"])
@pytest.mark.parametrize("channels", [(3, 8), (3, 64, 8, 32, 16), (3, 4, 8, 16, 32, 64, 128)])
def test_best_pipeline_equals_brute_force(name, channels):
    result = analyse(chain(*channels, size=16), platform.load(name))
    plan = result.pipeline
    assert plan.interval == pytest.approx(brute_force(result))
    assert plan.interval == max(stage.time for stage in plan.stages)
    assert plan.latency == pytest.approx(sum(stage.time for stage in plan.stages))
    assert plan.throughput == pytest.approx(1 / plan.interval)


@pytest.mark.parametrize("name", ["hikey970", "zc702"])
def test_stages_cover_every_layer_once_and_add_up(name):
    result = analyse(chain(3, 16, 32, 8, size=16), platform.load(name))
    covered = [i for stage in result.pipeline.stages for i in range(stage.first, stage.last + 1)]
    assert covered == list(range(len(result.layers)))
    assert len({stage.device for stage in result.pipeline.stages}) == len(result.pipeline.stages)
    work = 0.0
    for stage in result.pipeline.stages:
        j = result.devices.index(stage.device)
        assert stage.time == pytest.approx(result.time[stage.first : stage.last + 1, j].sum())
        work += result.dynamic_energy[stage.first : stage.last + 1, j].sum()
    static = result.platform.static_power * result.pipeline.interval
    assert result.pipeline.energy == pytest.approx(work + static)


def test_devices_that_share_cores_are_not_both_stages():
    plan = analyse(chain(3, 64, 64, 64, 64), platform.load("zc702")).pipeline
    assert not {"a9", "neon"} <= {stage.device for stage in plan.stages}


def test_fabric_that_holds_weights_is_left_out_of_the_pipeline():
    result = analyse(chain(3, 16), platform.load("tx2-cyclone10gx"))
    assert {stage.device for stage in result.pipeline.stages} == {"gpu"}
    assert any(note.startswith("cyclone10gx holds few weights") for note in result.notes)
    assert analyse(chain(3, 16), platform.load("tx2-cyclone10gx"), devices=["cyclone10gx"]).pipeline is None


def test_too_many_devices_for_an_exact_pipeline_are_a_note():
    many = board(*(cpu(f"d{i}", f"{i + 1} Gop/s") for i in range(13)))
    result = analyse(chain(3, 16), many)
    assert result.pipeline is None
    assert any("too many devices" in note for note in result.notes)
    assert analyse(chain(3, 16), many, devices=["d0", "d1"]).pipeline is not None


# Images/s on four A73 and four A53 cores: Pipe-it's Table IV, AlexNet's A53 from the sister paper.
RATES = {"bvlc_alexnet": (8.1, 2.2), "inception_v1": (7.8, 3.3), "resnet50": (3.1, 1.5)}


@pytest.mark.parametrize("name", RATES)
def test_whole_networks_on_the_hikey_come_near_the_measured_rates(name):
    # One efficiency per kind of layer over all networks: near, not exact; the paper's own predictor is elsewhere.
    file = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    totals = analyse(onnx_io.load(file), platform.load("hikey970")).totals()
    assert (totals["a73"].throughput, totals["a53"].throughput) == pytest.approx(RATES[name], rel=0.2)


@pytest.mark.parametrize("name", BOARDS)
def test_laws_on_every_board(name):
    network, plain = chain(3, 16, 32), platform.load(name)
    base = analyse(network, plain)
    assert (base.energy[np.isfinite(base.time)] >= 0).all()
    for j, device in enumerate(base.devices):
        peak = plain.devices[device].peak_ops
        assert (base.time[:, j] >= 2 * base.macs / peak).all()
        for memory, rate in plain.bandwidths(device).items():
            assert (base.time[:, j] >= base.traffic[:, j] / rate).all(), memory


@pytest.mark.parametrize("name", BOARDS)
def test_faster_parts_never_slow_any_layer(name):
    network, plain = chain(3, 16, 32), platform.load(name)
    base = analyse(network, plain)
    fields = ("bandwidth", "clock", "ops_per_cycle", "peak", "cores", "weight_limit")
    grown = [(p, q) for p, q in plain.quantities() if p.rpartition(".")[2] in fields]
    assert grown
    for path, quantity in grown:
        faster = analyse(network, plain.with_value(path, 2 * quantity.value))
        assert (faster.time <= base.time).all(), path
        if base.pipeline and faster.pipeline:
            assert faster.pipeline.interval <= base.pipeline.interval, path


def test_some_layer_gains_from_each_roof():
    network, plain = chain(3, 64, 64), platform.load("hikey970")
    base = analyse(network, plain)
    assert (analyse(network, plain.with_value("memories.dram.bandwidth", "60 GB/s")).time < base.time).any()
    assert (analyse(network, plain.with_value("devices.a73.clock", "3 GHz")).time[:, 0] < base.time[:, 0]).any()


def test_devices_are_chosen_and_ordered_by_the_caller():
    result = analyse(chain(3, 16), platform.load("hikey970"), devices=["g72", "a73"])
    both = analyse(chain(3, 16), platform.load("hikey970"))
    assert result.devices == ("g72", "a73")
    assert result.time[:, 1].tolist() == both.time[:, 0].tolist()
    assert {stage.device for stage in result.pipeline.stages} <= {"g72", "a73"}


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["a73", "a7"], "unknown device of hikey970 'a7'; did you mean 'a73'?"),
        (["a73", "a73"], "devices: name at least one, each once, got a73, a73"),
        ([], "devices: name at least one, each once, got none"),
    ],
)
def test_wrong_devices(devices, message):
    with pytest.raises(HetcnnError) as caught:
        analyse(chain(3, 16), platform.load("hikey970"), devices=devices)
    assert str(caught.value).startswith(message)


def test_counts_beyond_all_reason_are_refused():
    with pytest.raises(HetcnnError, match=r"is beyond 2\*\*62"):
        analyse(chain(3, 10**7, 10**7, size=10**6), platform.load("zc706"))


def test_dataset_labels_itself():
    result = analyse(chain(3, 16), platform.load("hikey970"))
    dataset = result.to_xarray()
    assert dict(dataset.sizes) == {"layer": 4, "device": 4}
    for name, variable in {**dataset.data_vars, **dataset.coords}.items():
        assert {"units", "long_name"} <= set(variable.attrs), name
    assert float(dataset.time.sel(layer="conv0", device="a73")) == result.time[0, 0]
    assert dataset.time.attrs["units"] == "s"
    assert str(dataset.kind.sel(layer="fc").item()) == "fc"
    assert dataset.attrs == {"network": "chain", "platform": "hikey970"}


def test_json_says_everything():
    result = analyse(chain(3, 16), platform.load("hikey970"))
    document = json.loads(result.to_json())
    assert (document["network"], document["platform"], document["macs"]) == ("chain", "hikey970", 37_888)
    assert [row["layer"] for row in document["layers"]] == list(result.layers)
    assert document["layers"][0]["a73.time"] == result.time[0, 0]
    stages = document["pipeline"]["stages"]
    assert (stages[0]["first"], stages[-1]["last"]) == ("conv0", "fc")
    assert document["devices"]["a73"]["throughput"] == pytest.approx(1 / result.time[:, 0].sum())


def test_csv_reads_back_with_any_layer_name():
    base = chain(3, 16)
    odd = 'a,"b"\nc'
    renamed = Layer(odd, base.layers[0].op, base.layers[0].inputs, base.layers[0].outputs, base.layers[0].attrs)
    result = analyse(Network("odd", base.inputs, (renamed, *base.layers[1:]), base.outputs), platform.load("zc706"))
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert rows[0]["layer"] == odd
    assert [int(row["macs [MAC]"]) for row in rows] == result.macs.tolist()
    assert [float(row["snowflake.time [s]"]) for row in rows] == result.time[:, 0].tolist()


def test_a_network_without_macs_has_one_segment():
    x, y = Tensor("x", (1, 4)), Tensor("y", (1, 4))
    result = analyse(Network("relu", (x,), (Layer("relu", "Relu", (x,), (y,)),), (y,)), platform.load("zc706"))
    assert len(result.pipeline.stages) == 1
    empty = analyse(Network("empty", (x,), (), (x,)), platform.load("zc706"))
    assert empty.time.shape == (0, 1)
    assert empty.pipeline is None
    assert json.loads(empty.to_json())["layers"] == []


def test_nothing_heavy_is_imported():
    code = (
        "import sys, hetcnn; from hetcnn.analysis import analyse; from hetcnn.network import Layer, Network, Tensor\n"
        "x = Tensor('x', (1, 4)); n = Network('n', (x,), (Layer('r', 'Relu', (x,), (x,)),), (x,))\n"
        "analyse(n, hetcnn.platform.load('hikey970')).to_json()\n"
        "print(sorted({'xarray', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_device_without_a_rail_has_unknown_energy():
    result = analyse(chain(3, 64, 64, 64), board(cpu("big", "1 Gop/s"), cpu("dsp", "1 Gop/s"), extra=RAILS))
    assert {stage.device for stage in result.pipeline.stages} == {"big", "dsp"}
    assert np.isfinite(result.energy[:, 0]).all()
    assert np.isnan(result.energy[:, 1]).all()
    assert math.isnan(result.pipeline.energy)
    assert math.isfinite(result.pipeline.throughput)
    assert "dsp has no power rail: energy on it is unknown" in result.notes
    document = json.loads(result.to_json())
    assert document["pipeline"]["energy"] is None
    assert document["devices"]["dsp"]["energy"] is None
    assert document["layers"][0]["dsp.energy"] is None
    assert document["devices"]["big"]["energy"] > 0
    text = analysis_text(result)
    assert " per frame" not in text
    assert "nan" not in text
    alone = analyse(result.network, result.platform, devices=["big"])
    assert math.isfinite(alone.pipeline.energy)
    assert alone.notes == ()


def test_what_the_pipeline_leaves_out_is_said_beside_it():
    result = analyse(chain(3, 64, 64), platform.load("hikey970"), devices=["a73", "a53"])
    said = "the pipeline counts no transfer between stages and no contention for memory"
    assert json.loads(result.to_json())["notes"] == [said]
    lines = analysis_text(result).splitlines()
    assert said in lines[next(i for i, line in enumerate(lines) if line.startswith("best pipeline")) + 1]
    assert sum(said in line for line in lines) == 1
    assert analyse(chain(3, 64, 64), platform.load("hikey970"), devices=["a73"]).notes == ()


def test_a_total_that_cannot_be_is_a_dash_everywhere_and_thousands_have_one_style():
    picky = cpu("picky", "1 Gop/s", 'runs = ["conv"]')
    lines = analysis_text(analyse(chain(3, 16), board(picky, cpu("big", "100 Top/s"), extra=RAILS))).splitlines()
    totals = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert totals["picky"] == ["-"] * 4
    fast = analyse(chain(3, 4), board(cpu("big", "100 Top/s"), bandwidth="1 TB/s"))
    rate = fast.totals()["big"].throughput
    assert rate > 10_000
    assert f" {rate:,.0f}" in analysis_text(fast)


def test_repr_is_short():
    assert repr(analyse(chain(3, 16), platform.load("hikey970"))) == "<Analysis chain on hikey970: 4 layers, 4 devices>"


def test_an_efficiency_that_is_not_on_file_is_said_and_so_are_assumptions():
    result = analyse(chain(3, 64, 64), platform.load("hikey970"), devices=["a73", "g72"])
    assert result.notes[-1] == "g72 has no efficiency for fc: its peak is taken"
    assert result.time[-1, 1] >= result.network.layers[-1].ops / result.platform.devices["g72"].peak_ops
    board = result.platform
    counted = f"{len(board.assumptions())} of the board's {len(list(board.quantities()))} numbers are assumptions"
    assert counted in analysis_text(result).splitlines()[-1]


def test_names_are_no_networks():
    with pytest.raises(HetcnnError, match=r"expected a platform, got its name 'zc702'; try platform.load\('zc702'\)"):
        analyse(chain(3, 64, 64), "zc702")
