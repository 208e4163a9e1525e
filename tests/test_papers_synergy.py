"""Synergy: jobs and times by hand, the simulation against closed forms and laws, headlines; and it can turn red."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from hetcnn import data
from hetcnn.errors import HetcnnError
from hetcnn.papers import synergy
from hetcnn.papers.published import number
from hetcnn.papers.synergy import custom, designs, figures, fitting, power, tables
from hetcnn.papers.synergy.designs import DEFAULT, FPGA, NEON, Design, convolutions, run
from hetcnn.papers.synergy.fitting import machine
from hetcnn.papers.synergy.machine import (
    NETWORKS,
    NOMINAL,
    Machine,
    Parameters,
    Stage,
    jobs_makespan,
    original_seconds,
    stages,
)
from hetcnn.papers.synergy.sensitivity import variants
from hetcnn.repro import claims

ROUND = Machine(Parameters(neon=1e-4, im2col=1e-8, output=1e-7, job=1e-3, mac=1e-8))


def test_jobs_of_cifar_full_by_hand():
    # 1024 pixels, 75 taps, 32 maps; 256, 800, 32; 64, 800, 64, in tiles of 32
    assert [(s.jobs, s.steps) for s in stages("cifar_full") if s.jobs] == [(32, 3), (8, 25), (2 * 2, 25)]
    assert [s.im2col for s in stages("cifar_full") if s.jobs] == [1024 * 75, 256 * 800, 64 * 800]


def test_work_counts_as_the_paper_implies():
    # CIFAR_full: 12,298,240 MACs rebuilt, 26.3 Mop implied: every step, element and MAC takes 6.9 % longer
    scale = 26.3e6 / (2 * 12_298_240)
    assert {s.scale for s in stages("cifar_full")} == {scale}
    assert {name: round(stages(name)[0].scale, 2) for name in NETWORKS if abs(stages(name)[0].scale - 1) > 0.1} == {}
    stage = Stage("conv", jobs=3, steps=4, im2col=1000, outputs=100, macs=500, scale=1.1)
    assert ROUND.job(stage, "NEON") == pytest.approx(1.1 * 4e-4 + 1e-3)  # a job's overhead stays
    assert ROUND.original([stage]) == pytest.approx(1.1 * (1e-5 + 1e-5 + 5e-6))
    rebuilt = ROUND.with_given(work="rebuilt")
    assert rebuilt.job(stage, "NEON") == pytest.approx(4e-4 + 1e-3)
    with pytest.raises(HetcnnError, match=r"work of a frame 'implicit'.*implied"):
        ROUND.with_given(work="implicit")


def test_a_step_is_the_papers_formula():
    # (TS TS - 1) II + lat_loop3, the last being II: 16,384 cycles of 10 ns
    assert machine().f_pe == pytest.approx((1023 * 16 + 16) * 10e-9)
    assert machine().with_given(interval=8).f_pe == pytest.approx(81.92e-6)


def test_times_of_a_layer_by_hand():
    stage = Stage("conv", jobs=3, steps=4, im2col=1000, outputs=100, reads=10, normalised=2, fc=50)
    assert ROUND.before(stage) == pytest.approx(1e-5)
    assert ROUND.after(stage) == pytest.approx(100 * 1e-7 + 10 * 15e-9 + 2 * 300e-9 + 50 * 1e-8)
    assert ROUND.job(stage, "NEON") == pytest.approx(4e-4 + 1e-3)
    # two NEON threads do three jobs in two rounds
    assert ROUND.latency([stage], 2, 0, 0) == pytest.approx(ROUND.before(stage) + ROUND.after(stage) + 2 * 1.4e-3)


def test_engines_take_the_next_job_when_they_are_free():
    # equal engines work in rounds; at 3, 2 and 2 s: 3, 2, 2, then 4, 4 and 6
    assert jobs_makespan(5, [2.0, 2.0]) == 6.0
    assert jobs_makespan(6, [3.0, 2.0, 2.0]) == 6.0
    assert jobs_makespan(0, [3.0, 2.0]) == 0.0
    with pytest.raises(HetcnnError, match="at least 1 engine"):
        jobs_makespan(1, [])


def test_a_job_moves_two_tiles_a_step_and_one_back():
    assert designs.job_bytes(machine(), Stage("conv", jobs=1, steps=25)) == (25 * 2 + 1) * 4096
    # 128 bytes in 32 + 30 cycles of 10 ns
    assert machine().burst_rate == pytest.approx(128 / 620e-9)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("clusters", "engines"), [(NEON, (2, 0, 0)), (FPGA, (0, 2, 6)), (DEFAULT, (2, 2, 6))])
def test_a_frame_alone_takes_what_the_closed_form_says(name, clusters, engines):
    """Stealing one job at a time makes all engines one pool: the fit's closed form is the figures' simulation."""
    simulated = run(machine(), name, Design(clusters, pipelined=False)).latency
    assert simulated == pytest.approx(machine().latency(stages(name), *engines), rel=0.01)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_fabric_is_never_faster_than_its_work(name):
    made, layers = machine(), convolutions(stages(name))
    work = sum(made.work(s, "F-PE") for s in layers)
    schedule = run(made, name, Design(FPGA))
    assert schedule.rate <= 8 / work * (1 + 1e-2)
    assert schedule.frames * work / 8 <= schedule.left[-1]
    bound = made.frame_bound(stages(name), ((0, 2, 6),), (0,) * len(layers))
    assert bound == pytest.approx(max(work / 8, made.software(stages(name)) / 2))


def test_bound_of_a_cluster_with_neon_by_hand():
    stage = Stage("conv", jobs=10, steps=10, outputs=0)
    made = Machine(replace(ROUND.parameters, job=0.0, im2col=0.0))
    # one F-PE at 163.84 us and two NEON threads at 100 us a step, on idle cores
    assert made.frame_bound([stage], ((2, 0, 1),), (0,)) == pytest.approx(100 / (1 / 163.84e-6 + 2 / 100e-6))
    busy = stage._replace(outputs=10**5)  # 10 ms of software: (2 t - 10 ms) are left for NEON
    t = made.frame_bound([busy], ((2, 0, 1),), (0,))
    assert t / 163.84e-6 + (2 * t - 10e-3) / 100e-6 == pytest.approx(100)


@pytest.mark.parametrize("design", [Design(), Design(stealing=False), Design(FPGA), Design(memory="single")])
def test_no_job_is_lost_and_engines_are_never_more_than_busy(design):
    for name in ("cifar_alex", "mpcnn"):
        schedule = run(machine(), name, design)
        jobs = [layer.jobs for layer in schedule.system.layers]
        assert (schedule.jobs.sum(axis=0) == np.array(jobs) * schedule.frames).all()
        assert schedule.utilisation.max() <= 1 + 1e-9


def test_default_mapping_is_the_papers_example():
    # CIFAR_Alex: CONV-0 to Cluster-0, CONV-1 and 2 to Cluster-1
    assert designs.default_mapping(machine(), stages("cifar_alex"), DEFAULT) == (0, 1, 1)
    assert designs.default_mapping(machine(), stages("cifar_alex"), NEON) == (0, 0, 0)


def test_default_mapping_balances_the_clusters():
    equal = Machine(replace(ROUND.parameters, neon=ROUND.f_pe, job=0.0))
    layers = [Stage(f"conv{i}", jobs=jobs, steps=1) for i, jobs in enumerate((60, 30, 10))]
    # four engines against six at one rate: the lightest two (40 steps) balance the heaviest (60)
    assert designs.default_mapping(equal, layers, DEFAULT) == (1, 0, 0)
    assert designs.default_mapping(equal, layers[:1], DEFAULT) == (1,)


def test_one_mmu_never_beats_several_and_more_pes_never_slow_down():
    time = figures.figure_7()["time"]
    assert (time.sel(memory="single MMU") >= time.sel(memory="multi MMU") * (1 - 5e-3)).all()
    assert (time.diff("pes") < 0).all()
    # several MMUs hide all transfers: eight PEs do the work of one in an eighth of the time
    assert float(time.sel(memory="multi MMU").sel(pes=1) / time.sel(memory="multi MMU").sel(pes=8)) == pytest.approx(
        8, rel=0.01
    )


def test_nothing_was_fitted_to_a_check():
    role = {c.id: c.role for c in claims.load("synergy")}
    assert all(role[c] == "calibration" for c in fitting.FITTED_ON)
    assert len(fitting.FITTED_ON) == 22
    # the rails were fitted on Fig. 10, the original's power is printed, and the threads were chosen for the utilisation
    rails = [f"fig10.{n}.{rail}" for n in NETWORKS for rail in power.RAILS]
    assert {role[c] for c in (*rails, "text.original_power", "text.mean_utilisation")} == {"calibration"}
    for name in NETWORKS:
        assert not any(f".{name}." in c for c in fitting.fitted(left_out=name).fitted_on)


def test_no_bound_decides_a_rate_and_residuals_are_the_figures_errors():
    found = fitting.fitted()
    assert found.at_bounds() == ()
    assert len(found.residuals) == 22
    figure = figures.figure_11()
    errors = np.log(figure["published"] / figure["speedup"]).sel(engines=["neon", "fpga"])
    np.testing.assert_allclose(found.residuals[:14], errors.T.to_numpy().ravel(), atol=0.01)


def test_headlines():
    figure = figures.figure_12()
    assert float(figure["mean"].sel(engines="het")) == pytest.approx(7.3, rel=0.05)
    gain = figures.figure_13()["gain"]
    assert float(gain.sel(over="sf")) == pytest.approx(24, abs=5)
    assert float(gain.sel(over="sc")) == pytest.approx(6, abs=5)
    assert float(tables.table_3()["mean_reduction"]) == pytest.approx(80.13, abs=3)
    assert float(tables.table_6()["mean"].sel(design="synergy")) == pytest.approx(99.8, abs=2)


def test_constant_predictor_is_the_columns_mean():
    error = figures.constant_predictor()["error"]
    het = np.array([number("synergy", f"fig12.{n}.het") for n in NETWORKS])
    assert float(error.sel(predictor="constant", column="het")) == pytest.approx(np.abs(het - het.mean()).mean())
    for column in ("fpga", "het", "all"):
        assert (
            float(error.sel(predictor="model", column=column))
            < float(error.sel(predictor="constant", column=column)) / 2
        )


@pytest.mark.parametrize("name", ["cifar_alex_plus", "svhn"])
def test_rates_are_settled(name):
    # the two networks whose short runs were furthest off
    for design in (Design(FPGA), Design()):
        settled = run(machine(), name, design, frames=960).throughput
        assert run(machine(), name, design).rate == pytest.approx(settled, rel=0.005)


def test_custom_clusters():
    assert len(list(custom.splits())) == 31
    for clusters in custom.splits():
        assert custom.parse_clusters(custom.cluster_name(clusters)) == clusters
        assert np.array(clusters).sum(axis=0).tolist() == [2, 2, 6]
    best = run(machine(), "mnist", custom.best_custom(machine(), "mnist")).rate
    tried = [run(machine(), "mnist", Design(c, stealing=False)).rate for c in custom.splits()]
    assert best == pytest.approx(max(tried))
    assert best >= run(machine(), "mnist", Design(stealing=False)).rate


def test_figures_give_the_absolute_numbers_as_well():
    made = machine()
    alone = run(made, "mnist", Design(FPGA, pipelined=False)).latency
    assert float(figures.figure_11()["latency"].sel(network="mnist", engines="fpga")) == pytest.approx(1e3 * alone)
    rate = run(made, "mnist", Design()).rate
    assert float(figures.figure_12()["throughput"].sel(network="mnist", engines="het")) == pytest.approx(rate)
    assert float(figures.figure_13()["throughput"].sel(network="mnist", design="synergy")) == pytest.approx(rate)
    power_and_energy = figures.figure_10().sel(network="mnist")
    assert float(power_and_energy["energy"]) == pytest.approx(1e3 * float(power_and_energy["total"]) / rate)


def test_cluster_times_add_up():
    figure = figures.figure_14()
    for scheme, design in (("static", Design(stealing=False)), ("stealing", Design())):
        schedule = run(machine(), "cifar_alex", design, record=True)
        engine_seconds = 1e3 * schedule.busy.sum() / schedule.frames
        busy = figure["busy"].sel(scheme=scheme).sum("layer")
        # four engines in Cluster-0, six in Cluster-1
        assert float(4 * busy.sel(cluster="Cluster-0") + 6 * busy.sel(cluster="Cluster-1")) == pytest.approx(
            engine_seconds
        )
        assert (figure["occupied"].sel(scheme=scheme) >= figure["busy"].sel(scheme=scheme) - 1e-9).all()
    static = figure["busy"].sel(scheme="static")
    assert (static.sel(cluster="Cluster-0", layer=["CONV-1", "CONV-2"]) == 0).all()


def test_power_adds_up():
    watts = power.rail_watts(machine(), "svhn")
    rate = run(machine(), "svhn", Design()).rate
    found = power.rails(machine())
    macs = 2457600 + 6553600 + 3276800
    ops = 27e6 * macs / (macs + 10240)  # 27 Mop are implied, the classifier's among them
    by_hand = found.fpga + found.arm + found.ddr + found.per_op * rate * ops
    assert sum(watts.values()) == pytest.approx(by_hand)
    assert power.synergy_energy(machine(), "svhn") == pytest.approx(by_hand / rate)
    # one energy per watt and second: the ARM rail's constant minimises squared relative errors
    arm = np.array([number("synergy", f"fig10.{n}.arm") for n in NETWORKS])
    assert found.arm == pytest.approx((1 / arm).sum() / (1 / arm**2).sum())


def test_the_original_takes_what_figure_9_says():
    assert original_seconds("mpcnn") == pytest.approx(1 / 30.48)
    assert tables.original_power()[0] == pytest.approx(0.14218 * 10.80)


def test_assumptions_are_declared_with_a_range():
    declared = variants()
    assert declared["nominal"] == NOMINAL
    names = {name.split(" = ")[0] for name in declared} - {"nominal"}
    assert names == set(NOMINAL.__dataclass_fields__)
    with data.path("papers", "synergy", "assumptions.toml").open("rb") as file:
        for entry in tomllib.load(file)["assumption"]:
            assert entry["nominal"] == getattr(NOMINAL, entry["name"])


def test_exercises():
    # 196 pixels in 7 tiles, 64 maps in 2, 800 taps in 25 steps
    assert synergy.EXERCISES[1].check(7 * 2 * 25) == "right"
    assert synergy.EXERCISES[2].check(6 / 163.84e-6) == "right"
    assert synergy.EXERCISES[3].check(0).startswith("not yet")
    speed = figures.figure_13()["speedup"].sel(network="cifar_alex")
    assert synergy.EXERCISES[3].check(100 * float(speed.sel(design="synergy") / speed.sel(design="sf") - 1)) == "right"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Design(memory="singel"), "did you mean 'single'"),
        (lambda: Design(((2, -1, 0),)), "none negative"),
        (lambda: Design(((2, 2, 6), (0, 0, 0))), "not all 0"),
        (lambda: Design(((0.5, 2, 6),)), "whole numbers"),
        (lambda: Design((2, 2, 0)), "whole numbers"),
        (lambda: Design(mapping=(0, "1")), "a mapping in whole numbers"),
        (lambda: Design(stealing="no"), "stealing: expected True or False, got 'no'"),
        (lambda: machine().with_given(intervall=8), "did you mean 'interval'"),
        (lambda: machine(left_out="mnst"), "did you mean 'mnist'"),
        (lambda: custom.parse_clusters("2N+2P ; 6F"), "expected such as '2N.2S ; 6F'"),
        (lambda: run(machine(), "mnist", Design(mapping=(0,))), "one cluster for each of 2"),
    ],
)
def test_mistakes_are_answered_in_one_line(call, message):
    with pytest.raises(HetcnnError, match=message):
        call()


@pytest.mark.parametrize("where", list(synergy.TABLES))
def test_every_table_is_labelled(where):
    data = synergy.TABLES[where]()
    assert data.attrs["title"]
    for name, variable in data.data_vars.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name


@pytest.fixture(scope="module")
def nominal(verdicts):
    return verdicts("synergy")


def _rate(name):
    return lambda m: replace(m, parameters=replace(m.parameters, **{name: 1.1 * getattr(m.parameters, name)}))


CONSTANTS = {
    **{name: ("machine", _rate(name)) for name in ("neon", "im2col", "output", "job", "mac")},
    "interval": ("machine", lambda m: m.with_given(interval=1.1 * m.given.interval)),
    "s_pe": ("machine", lambda m: m.with_given(s_pe=1.1 * m.given.s_pe)),
    "fabric": ("rails", lambda r: r._replace(fpga=1.1 * r.fpga, per_op=1.1 * r.per_op)),
    "arm": ("rails", lambda r: r._replace(arm=1.1 * r.arm)),
    "ddr": ("rails", lambda r: r._replace(ddr=1.1 * r.ddr)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CONSTANTS))
def test_ten_per_cent_on_any_constant_changes_a_verdict(name, verdicts_after, nominal):
    function, change = CONSTANTS[name]
    original = getattr({"machine": fitting, "rails": power}[function], function)
    assert verdicts_after("synergy", original, change) != nominal


def test_a_design_from_lists_is_the_same_design():
    assert Design([[np.int64(2), 2, 0], [0, 0, 6]], mapping=[0, 1]) == Design(DEFAULT, mapping=(0, 1))
    assert run(machine(), "mnist", Design([[2, 2, 0], [0, 0, 6]])) is run(machine(), "mnist", Design())


def test_an_answer_that_is_no_number_is_not_yet_right():
    assert synergy.EXERCISES[1].check([350]).startswith("not yet")
