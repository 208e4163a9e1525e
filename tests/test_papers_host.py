"""Your machine's claims: on the shipped record, which gives the same numbers everywhere; and they can turn red."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hetcnn import fit, gemm
from hetcnn.host import predict, record, study
from hetcnn.host.designs import segment_calls, split_interval
from hetcnn.host.work import TERMS
from hetcnn.papers import host
from hetcnn.papers.host import claims as functions
from hetcnn.papers.host import tables
from hetcnn.papers.host.comparison import Comparison, shipped
from hetcnn.repro import claims, scorecard


def _recorded():
    return [claim for claim in claims.load("host") if claim.id.startswith("recorded.")]


def test_every_claim_has_a_function_and_only_live_ones_are_not_gated():
    on_file = claims.load("host")
    assert {claim.id for claim in on_file} == set(host.CLAIMS)
    assert all(claim.gate != claim.id.startswith("live.") for claim in on_file)


def test_the_record_knows_all_networks_and_trains_on_none_of_them():
    found = shipped().record
    assert tuple(found.zoo) == study.NETWORKS
    assert not set(found.training) & set(found.zoo)
    assert len(found.training) >= 40
    for name, kernels in {**found.training, **found.zoo}.items():
        assert kernels.total > 0, name
        assert (kernels.time > 0).all(), name
        assert kernels.work.shape == (len(kernels), len(TERMS))
        # Each kernel alone, and all in one go: the same work, measured twice.
        if kernels.total > 1e-3:
            assert kernels.time.sum() == pytest.approx(kernels.total, rel=0.1), name


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    first = record.recorded()
    record.save(first, tmp_path)
    again = record.load(tmp_path)
    assert list(map(str, again.runs)) == list(map(str, first.runs))  # NaN is not equal to itself
    assert again.runtime == first.runtime
    assert again.lines == first.lines
    for name, kernels in first.zoo.items():
        assert np.array_equal(again.zoo[name].work, kernels.work)
        assert again.zoo[name].positions == kernels.positions


def test_what_is_no_record_is_told(tmp_path):
    from hetcnn.errors import HetcnnError

    with pytest.raises(HetcnnError, match="no record"):
        record.load(tmp_path)
    record.save(record.recorded(), tmp_path)
    (tmp_path / "runs.csv").write_text("network,design\nalexnet,split\n")
    with pytest.raises(HetcnnError, match="not a record: KeyError 'cuts'"):
        record.load(tmp_path)


def test_the_papers_form_agrees_with_a_plain_least_squares_of_the_same_problem():
    """scipy's bounded solver finds no better coefficients than the fit."""
    from scipy.optimize import lsq_linear

    found = shipped()
    lines = [line for name in found.record.training for line in found.record.lines[name] if line.kind == "conv"]
    times = np.array([line.time for line in lines])
    sizes = [np.array([getattr(line, k) for line in lines]) for k in "NKM"]
    relative = gemm.terms(*sizes) / times[:, None]
    scale = relative.max(axis=0)
    other = lsq_linear(relative / scale, np.ones(len(times)), (0, np.inf), tol=1e-12)
    mine = float(np.sum((relative @ found.paper.conv - 1) ** 2))
    assert mine <= 2 * other.cost * (1 + 1e-6)


def test_the_prices_explain_the_times_they_were_fitted_to():
    found = shipped()
    errors = np.concatenate([found.tape.kernel_times(k) / k.time - 1 for k in found.record.training.values()])
    assert np.median(np.abs(errors)) < 0.15
    assert all((prices >= 0).all() for prices in (found.tape.common, *found.tape.own.values()))


def test_the_engines_calls_say_more_than_the_layers_dimensions():
    for read in (functions.layers_median, functions.layers_mean):
        assert read(shipped) < read(shipped, "paper")


def test_a_model_that_was_trained_on_the_network_itself_is_not_much_better():
    """The held-out errors are no accident of what was left out: with the zoo's layers in the fit they hardly fall."""
    found = shipped()
    seen = predict.fit_tape([*found.record.training.values(), *found.record.zoo.values()])
    errors = []
    for name in found.networks:
        lines = found.major(name)
        times = np.array([line.time for line in lines])
        errors += np.abs(seen.line_times(found.kernels(name), lines) / times - 1).tolist()
    held_out = functions.layers_median(shipped) / 100
    assert np.median(errors) < held_out
    assert held_out - np.median(errors) < 0.08


def test_rates_of_designs_by_hand():
    found = shipped()
    for name in found.networks:
        times = found.times(name)
        for run in found.record.runs_of(name, "single"):
            assert found.predicted(run) == pytest.approx(1 / times.sum())
        for run in found.record.runs_of(name, "split"):
            before = times[np.array(found.kernels(name).positions) < run.cuts[0]].sum()
            after = times.sum() - before
            calls = segment_calls(found.kernels(name), run.cuts)
            both, turns = found.together, found.together.turn * calls.min()
            slow = max(both.busy * before + min(turns, after), both.busy * after + min(turns, before))
            assert found.predicted(run) == pytest.approx(1 / (slow + both.handing_on))


def test_the_chosen_run_is_never_better_than_the_best_measured_one():
    found = shipped()
    for name in found.networks:
        for design in ("split", "mixed"):
            assert 0 <= found.behind(name, design) < 1


def test_a_record_without_runs_has_no_designs():
    bare = Comparison(replace(shipped().record, runs=(), runtime={}))
    assert np.isnan(bare.behind("alexnet", "split"))
    assert bare.chosen("alexnet", "split") is None
    assert functions.rates_median(lambda: bare, "split") is None
    assert functions.behind_median(lambda: bare, "split") is None
    assert tables.splits("alexnet", bare).sizes["cut"] == 0
    assert tables.mixed(bare).sizes["network"] == 0
    assert np.isnan(tables.designs(bare)["measured"]).all()


@pytest.mark.parametrize("where", list(host.TABLES))
def test_every_table_is_labelled(where):
    data = host.TABLES[where]()
    assert data.attrs["title"]
    for name, variable in data.data_vars.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name


def test_exercises():
    found = shipped()
    fc6 = next(line for line in found.record.lines["vgg-16"] if line.layer == "fc6")
    assert host.EXERCISES[1].check(1e3 * fc6.time) == "right"
    # GoogLeNet has 58 layers with MACs (Pipe-it's Table I): 57 places between them.
    assert host.EXERCISES[2].check(57) == "right"
    assert host.EXERCISES[2].check(58).startswith("not yet")
    kernels = found.kernels("resnet-50")
    rates = []
    for cut in found.cuts("resnet-50"):
        before = sum(t for t, p in zip(kernels.time, kernels.positions, strict=True) if p < cut)
        rates.append(1 / max(before, kernels.time.sum() - before))
    assert host.EXERCISES[3].check(max(rates)) == "right"
    assert host.EXERCISES[3].check(None) == "no answer yet"


def _verdicts():
    results = scorecard.evaluate(_recorded(), host.CLAIMS, "host")
    return [f"{r.claim.id}: {r.verdict}" for r in results]


CHANGES = {
    "all prices": lambda m: replace(m, common=1.1 * m.common, own={k: 1.1 * v for k, v in m.own.items()}),
    "winograd F4": lambda m: replace(m, own=m.own | {"winograd F4": 1.1 * m.own["winograd F4"]}),
    "1x1": lambda m: replace(m, own=m.own | {"1x1": 1.1 * m.own["1x1"]}),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_other_prices_change_a_verdict(name, monkeypatch):
    before, changed = _verdicts(), CHANGES[name](shipped().tape)
    monkeypatch.setattr(Comparison, "tape", property(lambda _: changed))
    assert _verdicts() != before


def test_losses_of_cores_together_are_within_their_bounds():
    fitted = shipped().together.fitted
    assert fitted is not None
    assert isinstance(fitted, fit.Fit)
    for parameter, value in zip(fitted.parameters, fitted.values, strict=True):
        assert parameter.lower <= value <= parameter.upper
    assert all("training-" in name for name in fitted.fitted_on)


def test_the_choices_of_the_fit_are_the_declared_ones():
    import tomllib

    from hetcnn import data
    from hetcnn.host.predict import Settings

    declared = tomllib.loads(data.path("papers", "host", "assumptions.toml").read_text())["assumption"]
    for entry in declared:
        assert entry["nominal"] == (1.0 if entry["name"] == "share" else getattr(Settings(), entry["name"]))
        assert all(value != entry["nominal"] for value in entry["range"])
        assert entry["why"]
    errors = host.sensitivity()
    nominal = errors["layers"].sel(assumption="nominal")
    assert float(nominal) == pytest.approx(functions.layers_median(shipped))
    assert sum(abs(float(e) - float(nominal)) > 1e-6 for e in errors["layers"]) >= len(declared)


def test_every_fold_says_how_many_networks_are_within_the_aim():
    within = host.cross_validation()["within"]
    errors = [abs(shipped().whole_error(n)) for n in shipped().networks]
    assert float(within.sel(held_out="known networks")) == pytest.approx(100 * np.mean(np.array(errors) <= 0.05))
    assert ((within > 50) & (within <= 100)).all()


def test_the_predicted_best_of_all_cuts_was_measured():
    """Or the best split would be judged among those that happened to be tried."""
    found = shipped()
    for network in found.networks:
        kernels, times = found.kernels(network), found.times(network)
        best = min(found.cuts(network), key=lambda cut: split_interval(kernels, times, [cut], found.together))
        assert found.chosen(network, "split").cuts == (best,)
