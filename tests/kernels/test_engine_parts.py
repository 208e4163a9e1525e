"""The parts of the engine one by one: exact Winograd matrices, memory, layout, shifts, threads, the BLAS."""

import threading
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import zoo
from hetcnn.kernels import blas
from hetcnn.kernels.fast.algorithms import candidates, choose, estimate, fastest
from hetcnn.kernels.fast.conv import ConvSpec
from hetcnn.kernels.fast.fuse import fuse
from hetcnn.kernels.fast.memory import Shelf, Store, aligned, assign, view
from hetcnn.kernels.fast.pointwise import rows_of
from hetcnn.kernels.fast.tape import Kernel, Strip, run, strips, windows
from hetcnn.kernels.fast.team import Team, phases
from hetcnn.kernels.fast.winograd import Winograd, matrices


@pytest.mark.parametrize("m", [2, 4])
def test_winograd_matrices_are_exact(m):
    at, g, bt = ([[Fraction(x).limit_denominator(24) for x in row] for row in matrix] for matrix in matrices(m))
    assert all(abs(float(f) - x) < 1e-15 for a, b in zip((at, g, bt), matrices(m), strict=True) for f, x in flat(a, b))
    for i in range(m):
        for k in range(3):
            for j in range(m + 2):
                total = sum(at[i][p] * g[p][k] * bt[p][j] for p in range(m + 2))
                assert total == (1 if j == i + k else 0)  # y[i] = sum_k f[k] d[i + k], and nothing else


def flat(fractions, floats):
    return [(f, x) for row, values in zip(fractions, floats, strict=True) for f, x in zip(row, values, strict=True)]


stores = st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 9), st.integers(0, 9)).map(
        lambda t: Store(t[0], min(t[1:]), max(t[1:]))
    ),
    max_size=20,
)


@given(stores)
def test_stores_alive_together_do_not_overlap(given_stores):
    total = assign(given_stores)
    for i, a in enumerate(given_stores):
        assert a.offset % 16 == 0
        assert a.offset + a.size <= total
        for b in given_stores[:i]:
            together = a.first <= b.last and b.first <= a.last
            assert not together or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
    alive = [sum(s.size for s in given_stores if s.first <= t <= s.last) for t in range(10)]
    assert total >= max(alive)


def test_views_of_one_store_share_its_memory():
    memory = aligned(64)
    assert memory.ctypes.data % 64 == 0
    store = Store(16, 0, 0, 32)
    view(memory, store, (4, 4))[1, 0] = 7
    assert memory[36] == 7
    assert view(memory, store, (3,), "int64").nbytes == 24


def test_shelf_keeps_arrays_and_counts_them_once():
    shelf = Shelf()
    for i in range(5):
        shelf[i] = np.full((3, 7), i, np.float32)
    assert all(np.all(shelf[i] == i) for i in range(5))
    assert shelf.nbytes == 5 * 84
    assert shelf[0].shape == (3, 7)
    assert 4 in shelf
    assert 5 not in shelf


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 60), st.integers(1, 4))
def test_strips_cover_everything_once(images, rows, limit, workers):
    dealt = strips(images, rows, limit, workers)
    assert len(dealt) == workers
    cells = [(n, r) for mine in dealt for s in mine for n in range(s.n0, s.n1) for r in range(s.r0, s.r1)]
    assert sorted(cells) == [(n, r) for n in range(images) for r in range(rows)]
    assert all(s.rows <= limit for mine in dealt for s in mine)
    assert all(isinstance(s, Strip) for mine in dealt for s in mine)


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(1, 2))
def test_rows_of_is_a_view_or_nothing(n, h, w, c, pad, part):
    whole = np.arange(n * (h + pad) * (w + pad) * c * part, dtype=np.float32).reshape(n, h + pad, w + pad, c * part)
    x = whole[:, :h, :w, :c]
    rows = rows_of(x)
    if pad == 0:
        assert rows is not None
    if rows is not None:
        np.testing.assert_array_equal(rows, x.reshape(-1, c))
        assert np.shares_memory(rows, whole)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_run_is_what_a_copy_can_move_at_once(n, h, w, cut):
    x = np.zeros((n, h, w + 2, 3), np.float32)
    y = x[:, :, :w] if cut else x
    flat_again = np.arange(x.size).reshape(x.shape)[:, :, :w] if cut else np.arange(x.size).reshape(x.shape)
    breaks = np.flatnonzero(np.diff(flat_again.ravel()) != 1)
    assert run(y) == (breaks[0] + 1 if breaks.size else y.size)


def test_windows_are_those_of_a_loop():
    x = np.random.default_rng(0).standard_normal((2, 7, 8, 3)).astype(np.float32)
    seen = windows(x, (2, 3), (2, 1), (2, 2))
    for i in range(seen.shape[1]):
        for j in range(seen.shape[2]):
            np.testing.assert_array_equal(seen[:, i, j], x[:, 2 * i : 2 * i + 3 : 2, j : j + 5 : 2])


specs = st.builds(
    ConvSpec,
    st.integers(1, 3),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([(3, 3), (1, 1)]),
    pads=st.just((1, 1, 1, 1)),
)


@settings(max_examples=25, deadline=None)
@given(specs)
def test_every_candidate_computes_the_same(spec):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((spec.n, spec.h, spec.w, spec.c), dtype=np.float32)
    w = rng.standard_normal((spec.co, spec.c, *spec.kernel), dtype=np.float32)
    results = []
    for algorithm in candidates(spec):
        from hetcnn.kernels.fast.tape import Workspace

        top, left, bottom, right = algorithm.pads(spec)
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        out = np.full((spec.n, spec.oh, spec.ow, spec.co), np.nan, np.float32)
        space = Workspace(np.full(algorithm.space(spec), np.nan, np.float32))
        kernel = algorithm.kernel("k", spec, padded, out, algorithm.weights(spec, w), (None, None, None), [space])
        kernel.run()
        results.append(out)
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=0, atol=1e-4 * np.abs(results[0]).max())


def test_the_choice_is_the_least_estimate_and_the_fastest_is_a_candidate():
    spec = ConvSpec(1, 28, 28, 64, 64, (3, 3), pads=(1, 1, 1, 1))
    assert choose(spec) in candidates(spec)
    assert estimate(choose(spec), spec) == min(estimate(a, spec) for a in candidates(spec))
    assert fastest(spec, repeats=1) in candidates(spec)
    assert [a.name for a in candidates(ConvSpec(1, 8, 8, 4, 4, (3, 3), (2, 2)))] == ["im2col"]


def test_winograd_pads_make_whole_tiles():
    for size in range(1, 12):
        for m in (2, 4):
            spec = ConvSpec(1, size, size + 1, 8, 8, (3, 3), pads=(1, 1, 1, 1))
            top, left, bottom, right = Winograd.pads(spec, m)
            assert (top, left) == (1, 1)
            assert (size + top + bottom - 2) % m == 0
            assert (size + 1 + left + right - 2) % m == 0


def test_fusing_leaves_one_step_per_convolution():
    network = zoo.load("resnet-18", seed=0)
    steps = fuse(network)
    convs = [s for s in steps if s.op == "conv"]
    assert len(convs) == 20
    assert not [s for s in steps if s.op in ("scale", "clamp", "add", "other")]
    assert sum(s.residual is not None for s in convs) == 8
    assert sum(len(s.layers) for s in steps) == len(network)


def test_batch_norm_is_folded_exactly():
    network = zoo.load("resnet-18", seed=0)
    step = next(s for s in fuse(network) if s.name == "conv1")
    w = network.weights
    scale = w["conv1/bn.scale"] / np.sqrt(w["conv1/bn.var"].astype(float) + 1e-5)
    np.testing.assert_allclose(step.weight[5], w["conv1.weight"][5] * scale[5], rtol=1e-6)
    np.testing.assert_allclose(step.bias[5], w["conv1/bn.bias"][5] - w["conv1/bn.mean"][5] * scale[5], rtol=1e-5)


def test_shuffles_become_picks():
    steps = fuse(zoo.load("shufflenet-v2", seed=0))
    assert sum(s.op == "pick" for s in steps) == 16 + 13
    assert not [s for s in steps if s.op == "other"]


def test_a_team_runs_phases_in_order_and_passes_errors_on():
    seen, lock = [], threading.Lock()

    def note(what):
        with lock:
            seen.append(what)

    kernels = [Kernel(str(i), "", [[lambda i=i: note((i, 0))], [lambda i=i: note((i, 1))]]) for i in range(5)]
    kernels.insert(2, Kernel("alone", "", [[lambda: note(("alone", 0))], []]))
    team = Team(2)
    try:
        team.replay(phases(kernels, 2))
        assert sorted(map(str, seen[:2])) == ["(0, 0)", "(0, 1)"]
        assert seen[4] == ("alone", 0)
        assert len(seen) == 11
        broken = [Kernel("broken", "", [[], [lambda: 1 // 0]])]
        with pytest.raises(ZeroDivisionError):
            team.replay(phases(broken, 2))
        team.replay(phases(kernels, 2))
        assert len(seen) == 22
    finally:
        team.close()


def test_one_thread_puts_the_threads_back():
    library = blas._library()
    if library is None:
        pytest.skip("NumPy without OpenBLAS")
    before = library.get_threads()
    with blas.one_thread():
        assert library.get_threads() == 1
        with blas.one_thread():
            assert library.get_threads() == 1
        assert library.get_threads() == 1
    assert library.get_threads() == before


def test_without_openblas_nothing_happens(monkeypatch):
    monkeypatch.setattr(blas, "_library", lambda: None)
    assert not blas.use_avx512()
    assert "not OpenBLAS" in blas.describe()
    with blas.one_thread():
        pass


def test_the_switch_can_be_refused(monkeypatch):
    class Overlooked:
        quit = init = staticmethod(lambda: pytest.fail("switched"))
        core = staticmethod(lambda: b"Haswell")
        get_threads = staticmethod(lambda: 1)
        config = None

    monkeypatch.setattr(blas, "_library", Overlooked)
    monkeypatch.setenv(blas.OPT_OUT, "0")
    assert not blas.use_avx512()
    monkeypatch.delenv(blas.OPT_OUT)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert not blas.use_avx512()
