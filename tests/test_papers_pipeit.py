"""Pipe-it: the model against arithmetic on published numbers, laws, brute force; and it can turn red."""

from dataclasses import replace

import numpy as np
import pytest

from hetcnn import partition, pipeline
from hetcnn.papers import pipeit
from hetcnn.papers.pipeit import figures, kernel_level, layers, power, tables, times
from hetcnn.papers.pipeit.search import parse_configuration
from hetcnn.papers.published import number

NETWORKS = layers.NETWORKS


@pytest.mark.parametrize("network", NETWORKS)
def test_derived_times_encode_the_published_numbers(network):
    """Rate, share of convolutions and share of each layer come back out of the derived times."""
    layers, major, minor = times._derived_four(network, times.NOMINAL)
    total = major.sum() + minor.sum()
    assert 1 / total == pytest.approx(number("pipeit", f"table4.{network}.big"))
    fc = layers.where("fc")
    assert 100 * major[~fc].sum() / total == pytest.approx(number("pipeit", f"fig6.{network}.conv"))
    share = 100 * major[~fc] / major[~fc].sum()
    # The digitised shares of a network add up to 99.7 to 100 %.
    assert share[0] == pytest.approx(number("pipeit", f"fig7.{network}.01"), rel=4e-3)
    assert (major > 0).all()
    assert (minor >= 0).all()


@pytest.mark.parametrize("source", [times.derived, times.predicted])
@pytest.mark.parametrize("network", NETWORKS)
def test_laws_of_the_layer_times(network, source):
    matrix = source(network)
    for kind in "Bs":
        for fewer, more in ((1, 2), (2, 3), (3, 4)):
            assert (matrix.row((kind, more)) <= matrix.row((kind, fewer)) + 1e-12).all()
    for cores in times.CORES:
        assert (matrix.row(("s", cores)) > matrix.row(("B", cores))).all()
    assert 1 / matrix.row(("B", 4)).sum() == pytest.approx(number("pipeit", f"table4.{network}.big"))


def test_two_stage_curve_peaks_at_the_exact_optimum():
    figure = figures.figure_8().sel(times="derived")
    for network in NETWORKS:
        rows = times.derived(network).rows([("B", 4), ("s", 4)])
        best = partition.best_contiguous(rows, empty=False)
        assert float(figure["throughput"].sel(network=network).max()) == pytest.approx(best.throughput)


def test_three_stage_surface_peaks_at_the_exact_optimum():
    surface = figures.figure_9()["throughput"]
    rows = times.derived("resnet50").rows([("B", 4), ("s", 2), ("s", 2)])
    assert float(surface.max()) == pytest.approx(partition.best_contiguous(rows, empty=False).throughput)
    at_the_papers_cut = float(surface.sel(last_of_stage_1=35, last_of_stage_2=44))
    by_hand = 1 / max(rows[0][:35].sum(), rows[1][35:44].sum(), rows[2][44:].sum())
    assert at_the_papers_cut == pytest.approx(by_hand)


@pytest.mark.parametrize("network", NETWORKS)
def test_search_never_beats_the_optimum(network):
    for source in tables.TIMES:
        search, optimum = (tables.best_design(network, source, how) for how in ("algorithm_3", "optimum"))
        assert search.throughput <= optimum.throughput * (1 + 1e-12)
        matrix = tables.layer_times(network, source)
        stages = matrix.stage_times(optimum.configuration)
        assert optimum.throughput == pytest.approx(float(pipeline.throughput(stages)))


def test_kernel_level_split_without_small_cores_is_the_cluster_alone():
    for network in NETWORKS:
        alone = times.derived(network).row(("B", 4)).sum()
        assert kernel_level.even_split_time(network, 4, 0) == pytest.approx(alone)


def test_small_cores_alone_are_the_small_cluster():
    for network in NETWORKS:
        alone = times.derived(network).row(("s", 4)).sum()
        assert kernel_level.even_split_time(network, 0, 4) == pytest.approx(alone)


def test_rate_of_fully_connected_layers_is_figure_6s():
    seconds = 0.673 / 8.1 * 4 ** times.multi_core()[0].fc  # AlexNet's share on four Big cores, back on one
    weights = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert times.big_core().fc == pytest.approx(seconds / weights)


def test_rate_of_minor_layers_is_the_least_squares_one():
    parts = [times._derived_parts(n, times.NOMINAL, times.multi_core()[0]) for n in NETWORKS]
    bytes_per_second = np.array([p.layers.riding.sum() / p.minor.sum() for p in parts])
    # min over r of sum (r x_i - 1)^2 is r = sum x_i / sum x_i^2
    assert times.big_core().minor == pytest.approx(bytes_per_second.sum() / (bytes_per_second**2).sum())


def test_power_adds_up():
    design = tables.best_design("squeezenet", "derived", "optimum")
    macs = dict.fromkeys("Bs", 0.0)
    for kind, amount in design.stage_macs("squeezenet"):
        macs[kind] += amount
    assert sum(macs.values()) == layers.layer_table("squeezenet").macs.sum()
    on, energy = zip(*((power.cluster_power(k).constant, power.cluster_power(k).per_mac) for k in "Bs"), strict=True)
    by_hand = sum(on) + (energy[0] * macs["B"] + energy[1] * macs["s"]) * design.throughput
    assert design.power("squeezenet") == pytest.approx(by_hand)


def test_paper_configurations_are_read_back():
    design = tables.best_design("resnet50", "predicted", "paper")
    assert design.configuration == parse_configuration("B4-s2-s2: [1,35]-[36,44]-[45,54]")


def test_exercises():
    # 7 x 7 pixels: 7 tiles of 8 rows, 2 rounds on four cores, against 7/4: 8/7
    assert pipeit.EXERCISES[1].check(8 / 7) == "right"
    assert pipeit.EXERCISES[1].check(1).startswith("not yet")
    # D_28 for 3 + 2: C_p = 1, 3, 3, 1 for p = 2..5, so sum_p binom(27, p-1) C_p = binom(30, 4)
    assert pipeit.EXERCISES[2].check(27 + 3 * 351 + 3 * 2925 + 17550) == "right"
    assert pipeit.EXERCISES[3].check(None) == "no answer yet"
    best = max(
        figures.figure_8()["throughput"].sel(times="derived", network="alexnet").dropna("layers_on_B4").to_numpy()
    )
    assert pipeit.EXERCISES[3].check(float(best)) == "right"


@pytest.mark.parametrize("where", list(pipeit.TABLES))
def test_every_table_is_labelled(where):
    data = pipeit.TABLES[where]()
    assert data.attrs["title"]
    for name, variable in data.data_vars.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name


@pytest.fixture(scope="module")
def nominal(verdicts):
    return verdicts("pipeit")


CONSTANTS = {
    "b4 (NK)": ("big_core", lambda c: replace(c, b=c.b * np.where(np.arange(8) == 3, 1.1, 1))),
    "b6 (NM)": ("big_core", lambda c: replace(c, b=c.b * np.where(np.arange(8) == 5, 1.1, 1))),
    "b7 (NKM)": ("big_core", lambda c: replace(c, b=c.b * np.where(np.arange(8) == 6, 1.1, 1))),
    "dw": ("big_core", lambda c: replace(c, dw=c.dw * 1.1)),
    "A53 arithmetic": ("little_core", lambda c: (replace(c[0], arithmetic=c[0].arithmetic * 1.1), c[1])),
    "A53 movement": ("little_core", lambda c: (replace(c[0], movement=c[0].movement * 1.1), c[1])),
    "row tile": ("multi_core", lambda c: (replace(c[0], tile=c[0].tile * 1.1), c[1])),
    "fc exponent": ("multi_core", lambda c: (replace(c[0], fc=c[0].fc * 1.1), c[1])),
    "remote data": ("remote_cost", lambda c: (c[0] * 1.1, c[1])),
    "power": ("cluster_power", lambda c: replace(c, constant=c.constant * 1.1, per_mac=c.per_mac * 1.1)),
}


@pytest.mark.parametrize("name", list(CONSTANTS))
def test_ten_per_cent_on_any_constant_changes_a_verdict(name, verdicts_after, nominal):
    function, change = CONSTANTS[name]
    original = getattr({"remote_cost": kernel_level, "cluster_power": power}.get(function, times), function)
    assert verdicts_after("pipeit", original, change) != nominal
