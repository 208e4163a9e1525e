"""SynergyFlow: the mechanism against hand calculations, laws, scipy's linear programming and the event simulation."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from hetcnn import zoo
from hetcnn.errors import HetcnnError
from hetcnn.papers import synergyflow
from hetcnn.papers.published import number
from hetcnn.papers.synergyflow import calibration, deeper, division, figures, identify, machine, model
from hetcnn.papers.synergyflow.division import Part
from hetcnn.papers.synergyflow.machine import Machine
from hetcnn.papers.synergyflow.workload import of_network, workload
from hetcnn.repro import claims, scorecard
from hetcnn.widgets import synergyflow as explorer

NETWORKS, SIDES = synergyflow.NETWORKS, synergyflow.SIDES

seconds = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)


def part(times: list[float], scale: float, sign: int) -> Part:
    """Layers that are all compute-bound (sign 1) or all bandwidth-bound (-1) by up to a factor `scale`."""
    other = [t / scale for t in times]
    return Part(times, other) if sign > 0 else Part(other, times)


@pytest.mark.parametrize(
    ("network", "conv", "conv_weights", "fc"),
    [  # a workload table printed elsewhere: MACs and parameters, three digits
        ("alexnet", 666e6, 2.33e6, 58.6e6),
        ("vgg-16", 15.3e9, 14.7e6, 124e6),
        ("googlenet", 1.58e9, 5.97e6, 1.02e6),
        ("resnet-50", 3.86e9, 23.5e6, 2.05e6),
        ("vgg-19", 19.5e9, 20.0e6, 124e6),
    ],
)
def test_workloads_are_those_of_the_time(network, conv, conv_weights, fc):
    layers = workload(network)
    ours = layers.macs[~layers.fc].sum(), layers.weights[~layers.fc].sum(), layers.macs[layers.fc].sum()
    assert ours == pytest.approx((conv, conv_weights, fc), rel=5e-3)
    assert layers.weights[layers.fc].sum() == layers.macs[layers.fc].sum()  # a weight is used once


@pytest.mark.parametrize(("network", "macs"), [("resnet-101", 7.57e9), ("resnet-152", 11.3e9)])
def test_deeper_networks_have_the_macs_of_the_same_table(network, macs):
    assert workload(network).macs.sum() == pytest.approx(macs, rel=5e-3)


def test_deeper_builder_gives_the_zoos_network():
    ours, theirs = of_network(deeper.resnet("resnet-50", (3, 4, 6, 3))), workload("resnet-50")
    assert sorted(zip(ours.macs, ours.weights, strict=True)) == sorted(zip(theirs.macs, theirs.weights, strict=True))


def test_fixed_set_is_the_one_on_file():
    from hetcnn.papers.synergyflow.workload import _ZOO

    assert list(_ZOO.values()) == machine.assumptions()["networks"]["nominal"]


def test_board_is_the_board_file():
    at = machine.provisioned()
    assert (at.mac_rate, at.bandwidth, at.word, at.efficiency["conv"]) == (704 * 1e8, 25.6e9, 2.0, 0.8)
    assert at.provision == pytest.approx(25.6e9 / (2 * 70.4e9))
    assert machine.provisioned(cores=256, batch=4).provision == pytest.approx(4 * 25.6e9 / (2 * 25.6e9))


def test_demand_by_hand():
    at = Machine(mac_rate=2e9, bandwidth=1e9, word=2, batch=3, off_chip=0.5, efficiency={"conv": 0.5})
    need = model.demand(of_network(zoo.load("lenet-5")), at)
    # conv1: 5x5x1x6 taps on 28x28 pixels: 117,600 MACs, 150 weights, 784 elements in and 4,704 out
    assert need.array[0] == pytest.approx(3 * 117600 / 1e9)
    assert need.memory[0] == pytest.approx((150 + 3 * 0.5 * (784 + 4704)) * 2 / 1e9)
    assert need.array[-1] == pytest.approx(3 * 840 / 2e9)


def test_alexnets_gain_by_hand():
    # CONV-bound, no reconfiguration: (FC weights / kappa - FC MACs) / (CONV MACs / 0.8 + FC MACs)
    kappa = 0.1
    at = replace(machine.provisioned(reconfiguration=0.0).provisioned_at(kappa))
    assert model.gain("alexnet", at) == pytest.approx(100 * 58621952 * (1 / kappa - 1) / (665784864 / 0.8 + 58621952))
    # FC-bound: (CONV + FC weights / kappa) / (all weights / kappa)
    kappa = 0.04
    by_hand = (665784864 / 0.8 + 58621952 / kappa) / ((58621952 + 2332704) / kappa)
    assert model.gain("alexnet", at.provisioned_at(kappa)) == pytest.approx(100 * (by_hand - 1))


@given(seconds, seconds, st.floats(1, 50), st.floats(1, 50))
def test_laws_of_the_division(conv, fc, a, b):
    first, second = part(conv, a, 1), part(fc, b, -1)
    found, rigid = division.divide(first, second), division.rigid_time(first, second)
    C, M = first.C + second.C, first.M + second.M
    assert max(C, M) <= found.period * (1 + 1e-12)
    assert found.period <= rigid * (1 + 1e-12)
    assert rigid <= C + M + 1e-9  # so the gain is at most 100 %
    assert 0 <= division.gain(first, second) <= 100 + 1e-9
    assert division.best_fixed(first, second)[0] >= found.period * (1 - 1e-6)


@settings(max_examples=50)
@given(st.floats(0.1, 10), st.floats(1, 20), st.floats(0.1, 10), st.floats(1, 20))
def test_division_is_the_optimum_of_the_linear_programme(conv, a, fc, b):
    """One layer a side: shares of array and path for CONV alone, FC alone, and both at once, as rates of progress."""
    first, second = part([conv], a, 1), part([fc], b, -1)
    # At any time (r, s) of the two layers progress per second with r c1 + s c2 <= 1 and r m1 + s m2 <= 1. The period is
    # linear in the time spent at each corner of that region.
    c1, m1, c2, m2 = first.C, first.M, second.C, second.M
    corners = [(1 / max(c1, m1), 0.0), (0.0, 1 / max(c2, m2))]
    cross = np.linalg.solve([[c1, c2], [m1, m2]], [1.0, 1.0]) if abs(c1 * m2 - c2 * m1) > 1e-9 else np.array([-1, -1])
    if (cross >= 0).all():
        corners.append(tuple(cross))
    rates = np.array(corners).T
    best = linprog(np.ones(len(corners)), A_ub=-rates, b_ub=[-1.0, -1.0])
    assert division.divide(first, second).period == pytest.approx(best.fun, rel=1e-6)


def test_reconfiguration_by_hand():
    # x = 3 / (T - 0.1), 1 - x = 1 / (T - 0.2): both parts end at T, each with what it needs
    found = division.divide(Part([3.0], [0.1]), Part([0.5, 0.5], [2.0, 1.5]), 0.1)
    assert found.array == pytest.approx(3 / (found.period - 0.1))
    assert 1 - found.array == pytest.approx(1 / (found.period - 0.2))
    assert found.period > 4


def test_a_network_without_complement_is_left_undivided():
    found = division.divide(Part([3.0, 1.0], [0.5, 0.5]), Part([], []), 0.5)
    assert (found.period, found.bound) == (4.0, "undivided")
    # Reconfiguration that costs more than the division brings is not paid.
    assert division.gain(Part([3.0], [0.5]), Part([1.0], [1.1]), 1.0) == 0


@pytest.mark.parametrize("side", SIDES)
def test_parts_are_conv_and_fc_on_the_calibrated_machine(side):
    for network in NETWORKS:
        layers = workload(network)
        assert (model.compute_bound(layers, calibration.calibrated(side)) == ~layers.fc).all()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("design", ["rigid", "fixed", "elastic"])
def test_event_schedule_agrees_with_the_closed_form(side, design):
    periods = synergyflow.divisions().sel(side=side, design=design)
    np.testing.assert_allclose(periods["event_period"], periods["period"], rtol=1e-9)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("pair", [("alexnet", "vgg-16"), ("alexnet", "alexnet")])
def test_event_schedule_of_a_pair_agrees_with_the_closed_form(side, pair):
    at = calibration.calibrated(side)
    assert synergyflow.event_period(synergyflow.beside(*pair), at) == pytest.approx(model.elastic(pair, at).period)


def test_event_schedule_is_slower_where_layers_do_not_complement_each_other():
    """Two convolutions on the path at once: the closed form is a lower bound, and the events know it."""
    at = calibration.calibrate(machine.provisioned(batch=16, off_chip=1.0), "conv-bound", 67.2)
    for network in NETWORKS:
        assert synergyflow.event_period(network, at) >= model.elastic(network, at).period * (1 - 1e-9)
    assert synergyflow.event_period("googlenet", at) > 1.05 * model.elastic("googlenet", at).period


@pytest.mark.parametrize("design", ["rigid", "elastic"])
@pytest.mark.parametrize("network", ["alexnet", "vgg-16"])
def test_utilisation_over_time_adds_up(network, design):
    at = synergyflow.nominal()
    seen = synergyflow.profile(network, at, design)
    mean = model.utilisation(network, at)[["rigid", "elastic"].index(design)]
    assert seen.mean == pytest.approx(mean, rel=1e-6)
    assert seen.array.max() <= 1 + 1e-9
    assert seen.memory.max() <= 1 + 1e-9


def test_conv_of_one_batch_runs_beside_fc_of_the_one_before():
    tasks = synergyflow.event_schedule("alexnet", synergyflow.nominal()).tasks
    names, frames = tasks["layer"].values.tolist(), tasks["frame"].values.tolist()
    rows = {(name, frame): i for i, (name, frame) in enumerate(zip(names, frames, strict=True))}
    last_conv = workload("alexnet").names[-4]
    start, finish = tasks["start"].values, tasks["finish"].values
    for batch in range(3, 9):
        first, last = rows["conv1", batch], rows["fc8", batch - 1]
        assert start[first] < finish[last]
        assert finish[last] <= finish[rows[last_conv, batch]] * (1 + 1e-6)


def test_both_sides_give_the_published_gain_and_lie_on_either_side_of_the_ridge():
    target = number("synergyflow", "abstract.alexnet.gain")
    conv, fc = (calibration.calibrated(side) for side in SIDES)
    assert fc.provision < calibration.ridge(conv) < conv.provision
    for at, bound in ((conv, "array"), (fc, "memory")):
        assert model.gain("alexnet", at) == pytest.approx(target, rel=1e-9)
        assert model.elastic("alexnet", at).bound == bound


def test_every_corner_of_the_board_is_on_the_nominal_side():
    declared = machine.assumptions()
    assert declared["side"]["nominal"] == "conv-bound"
    for cores in (256, 704):
        for word in (1, 4):
            for efficiency in (0.5, 1.0):
                for off_chip, batch in ((0.0, 1), (1.0, 1), (1.0, 16)):
                    moved = {"off_chip": off_chip, "batch": batch, "conv_efficiency": efficiency}
                    at = machine.provisioned(cores=cores, word=word, **moved)
                    assert at.provision > calibration.ridge(at)


def test_calibration_says_why_it_cannot():
    with pytest.raises(HetcnnError, match=r"at most 89\.\d %"):
        calibration.calibrate(machine.provisioned(), "conv-bound", 95.0)
    with pytest.raises(HetcnnError, match="everywhere"):
        calibration.calibrate(machine.provisioned(rigid_fc=0.05), "conv-bound", 67.2)
    with pytest.raises(HetcnnError, match="conv-bound"):
        calibration.calibrate(machine.provisioned(), "conv", 67.2)


def test_with_activations_on_chip_only_kappa_matters():
    at = replace(synergyflow.nominal(), reconfiguration=0.0)
    other = replace(at, mac_rate=3 * at.mac_rate, word=1.0, batch=7).provisioned_at(at.provision)
    for network in NETWORKS:
        assert model.gain(network, other) == pytest.approx(model.gain(network, at), rel=1e-9)


def test_ratio_of_gains_is_that_of_fc_weights_per_slot():
    """The argument of the miss: on the CONV-bound side no machine changes it."""
    at = replace(synergyflow.nominal(), reconfiguration=0.0)
    per_slot = {}
    for network in NETWORKS:
        layers = workload(network)
        fc = layers.macs[layers.fc].sum()
        per_slot[network] = fc / (layers.macs[~layers.fc].sum() / 0.8 + fc)
    for network in NETWORKS:
        ratio = model.gain(network, at) / model.gain("alexnet", at)
        assert ratio == pytest.approx(per_slot[network] / per_slot["alexnet"], rel=1e-6)


def test_faster_memory_never_slows_and_larger_batch_never_lowers_throughput():
    at = synergyflow.nominal()
    fast = replace(at, bandwidth=2 * at.bandwidth)
    for network in NETWORKS:
        assert model.rigid_seconds(network, fast) <= model.rigid_seconds(network, at)
        assert model.elastic(network, fast).period <= model.elastic(network, at).period
    rates = synergyflow.over_batch()["throughput"].diff("batch")
    assert float(rates.min()) >= -1e-9


def test_pairs_are_symmetric_and_a_pair_with_itself_is_the_network():
    gains = synergyflow.pairs()["gain"]
    np.testing.assert_allclose(gains, gains.transpose("side", "level", "second", "first"), rtol=1e-6, atol=1e-6)
    for side in SIDES:
        alone = [model.gain(n, calibration.calibrated(side)) for n in NETWORKS]
        same = np.diag(gains.sel(side=side, level="both"))
        np.testing.assert_allclose(same, alone, rtol=0.05, atol=0.01)  # twice the layers to reconfigure for


def test_a_pair_by_hand():
    # CONV-bound: both excesses over both arrays' time
    at = replace(synergyflow.nominal(), reconfiguration=0.0)
    excess = [model.rigid_seconds(n, at) - model.elastic(n, at).period for n in ("alexnet", "vgg-16")]
    array = [model.elastic(n, at).period for n in ("alexnet", "vgg-16")]
    assert model.pair_gain("alexnet", "vgg-16", at) == pytest.approx(100 * sum(excess) / sum(array))


@pytest.mark.parametrize("side", SIDES)
def test_the_best_mix_sits_at_the_ridge(side):
    """Where the machine cannot give a pair more: either C = M there, or AlexNet alone is best."""
    at = replace(calibration.calibrated(side), reconfiguration=0.0)
    whole = [division.joined(model.parts(n, at)) for n in ("alexnet", "googlenet")]
    surplus = [p.C - p.M for p in whole]
    curve = [figures.mix_gain("googlenet", float(s), at) for s in np.linspace(0, 1, 1001)]
    best = 1.0 if surplus[0] >= 0 else surplus[1] / (surplus[1] - surplus[0])  # s C1 + (1 - s) C2 = s M1 + (1 - s) M2
    assert np.argmax(curve) / 1000 == pytest.approx(best, abs=2e-3)


def test_rigid_phases_by_hand():
    """FC layers keep MACs / (weights / kappa) of the array busy: what the abstract calls severe degradation."""
    busy = synergyflow.utilisations()["rigid_phase"].sel(side="conv-bound", network="alexnet", phase="fc")
    assert busy.values == pytest.approx([synergyflow.nominal().provision, 1.0])


@pytest.mark.parametrize("side", SIDES)
def test_no_point_is_above_the_roofs(side):
    data = figures.rooflines(side)
    slope = data["intensity"] * data.bandwidth
    # FC layers and the mix may pass the roof of convolutions, which is 80 % of the peak
    roof = np.minimum(slope, 2 * calibration.calibrated(side).mac_rate)
    assert (data["performance"] <= roof * (1 + 1e-9)).all()
    rigid, elastic = (data["performance"].sel(point=f"whole, {d}") for d in ("rigid", "elastic"))
    assert (rigid <= elastic).all()


def test_a_network_without_fc_layers_has_no_fc_point():
    roof = figures.rooflines(networks=["squeezenet-1.0"]).isel(network=0)
    assert np.isnan(roof["performance"].sel(point="fc"))
    assert float(roof["performance"].sel(point="whole, rigid")) > 0
    with pytest.raises(HetcnnError, match="did you mean 'vgg-16'"):
        figures.rooflines(networks=["vgg16"])


def test_sensitivity_moves_every_declared_assumption():
    rows = [str(r) for r in synergyflow.sensitivity()["assumption"].values]
    declared = machine.assumptions()
    assert rows[0] == "nominal"
    for name, entry in declared.items():
        assert [r for r in rows if r.startswith(f"{name} = ")] == [f"{name} = {v}" for v in entry["range"]]
        assert entry["why"]


def test_other_sets_are_counted_by_brute_force():
    data = identify.subsets().sel(side="conv-bound", level="layer")
    rest = len(NETWORKS) + len(synergyflow.OTHERS) - 1
    assert data.sizes["set"] == sum(comb(rest, others) for others in range(1, 5))
    two = float(data["mean_gain"].sel(set="alexnet + vgg-16"))
    at = synergyflow.nominal()
    assert two == pytest.approx((model.gain("alexnet", at) + model.gain("vgg-16", at)) / 2)
    assert int(data["consistent"].sel(set="alexnet + vgg-16")) == int(abs(two - 33.8) <= 3.38)


def test_explorer_follows_its_controls():
    import matplotlib as mpl

    mpl.use("Agg")
    made = explorer.explore()
    before = made.picture
    made.set(beside="googlenet", batch="4", off_chip=0.5)
    assert made.message == ""
    assert made.values["beside"] == "googlenet"
    assert made.picture == before  # the still of a report stays the first one
    panels = explorer.draw("alexnet", "nothing", float(np.log10(synergyflow.nominal().provision)), "1", 0.0)
    assert "67.2 %" in panels[0].get_title(loc="left") + panels[0].get_title()
    mpl.pyplot.close("all")


def test_a_users_own_network():
    layers = of_network(zoo.load("squeezenet-1.1"))
    assert synergyflow.gain(layers, synergyflow.nominal()) >= 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mac_rate", 0.0, "mac_rate"),
        ("bandwidth", float("nan"), "bandwidth"),
        ("batch", -1, "batch"),
        ("batch", 1.5, "whole number of frames, got 1.5"),
        ("batch", "4", "above 0, got '4'"),
        ("off_chip", 2, "2"),
        ("reconfiguration", -1e-6, "reconfiguration: expected seconds from 0 up"),
        ("efficiency", {"conv": 1.2}, "efficiency of conv: expected a share above 0, at most 1, got 1.2"),
    ],
)
def test_bad_machines(field, value, message):
    with pytest.raises(HetcnnError, match=message):
        replace(synergyflow.nominal(), **{field: value})


def test_bad_names():
    with pytest.raises(HetcnnError, match="did you mean 'resnet-50'"):
        workload("resnet50")
    with pytest.raises(HetcnnError, match="elastic"):
        synergyflow.event_period("alexnet", synergyflow.nominal(), "elastik")
    with pytest.raises(HetcnnError, match="unknown level 'modal'; did you mean 'model'"):
        synergyflow.pair_gain("alexnet", "vgg-16", synergyflow.nominal(), "modal")
    with pytest.raises(HetcnnError, match="unknown assumption 'batches'; did you mean 'batch'"):
        synergyflow.provisioned(batches=4)
    with pytest.raises(HetcnnError, match="2 layers of the array, 1 of the memory"):
        Part([1.0, 2.0], [1.0])


def test_exercises():
    assert synergyflow.EXERCISES[1].check(6 / 8) == "right"  # 8 s of the array, 8 s of the path: x = 6 / 8
    assert synergyflow.EXERCISES[1].check(0.5).startswith("not yet")
    assert synergyflow.EXERCISES[2].check(None) == "no answer yet"
    at = synergyflow.nominal()
    # gain (1/(kappa B) - 1) f < 1 %, f the share of slots in FC layers
    share = 58621952 / (665784864 / 0.8 + 58621952)
    batch = next(b for b in range(1, 99) if 100 * share * (1 / (at.provision * b) - 1) < 1)
    assert synergyflow.EXERCISES[2].check(batch) == "right"
    assert synergyflow.EXERCISES[2].check(batch - 1).startswith("not yet")
    other = calibration.calibrated("fc-bound")
    both = [model.demand(workload(n), other) for n in ("alexnet", "googlenet")]
    rigid = sum(division.rigid_time(p) for p in both)
    by_hand = 100 * (rigid / max(sum(p.C for p in both), sum(p.M for p in both)) - 1)
    assert synergyflow.EXERCISES[3].check(by_hand) == "right"


@pytest.mark.parametrize("where", list(synergyflow.TABLES))
def test_every_table_is_labelled(where):
    data = synergyflow.TABLES[where]()
    assert data.attrs["title"]
    for name, variable in data.data_vars.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name


def _verdicts() -> dict[str, str]:
    results = scorecard.evaluate(claims.load("synergyflow"), synergyflow.CLAIMS, "synergyflow")
    return {r.claim.id: r.verdict for r in results}


def test_what_is_scored_stands_alone():
    table = synergyflow.abstract(scored=True)
    assert table["mean_gain"].to_numpy().tolist() == [synergyflow.CLAIMS["abstract.mean_gain"]()]


def test_scorecard_is_honest():
    found = claims.load("synergyflow")
    assert {c.id: c.role for c in found}["abstract.alexnet.gain"] == "calibration"
    assert [c.id for c in found if c.counts] == ["abstract.mean_gain"]
    verdicts = _verdicts()
    assert verdicts["abstract.alexnet.gain"] == "exact"
    assert verdicts["abstract.mean_gain"] == "off"


@pytest.mark.parametrize("change", ["bandwidth", "mac_rate", "word", "efficiency"])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_ten_per_cent_on_any_constant_changes_a_verdict(change, factor, monkeypatch):
    original, before = calibration.calibrated("conv-bound"), _verdicts()
    value = getattr(original, change)
    moved = {k: v * factor for k, v in value.items()} if change == "efficiency" else value * factor
    monkeypatch.setattr(calibration, "calibrated", lambda _: replace(original, **{change: moved}))
    assert _verdicts() != before
