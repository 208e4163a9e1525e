import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels import pooling
from hetcnn.kernels.windows import window

quick = settings(derandomize=True, deadline=None, max_examples=60)


def pool_loops(x, w, reduce, with_padding):
    """At every stop, gather what the window sees, with its place (None: padding), and reduce it."""
    y = np.empty((*x.shape[:2], *w.out))
    for n, c, *at in itertools.product(range(x.shape[0]), range(x.shape[1]), *map(range, w.out)):
        seen = []
        for tap in itertools.product(*map(range, w.kernel)):
            place = [a * s + t * d - b for a, s, t, d, b in zip(at, w.strides, tap, w.dilations, w.before, strict=True)]
            if all(0 <= p < size for p, size in zip(place, w.size, strict=True)):
                seen.append(x[(n, c, *place)])
            elif with_padding and all(
                -b <= p < s + a for p, s, b, a in zip(place, w.size, w.before, w.after, strict=True)
            ):
                seen.append(0.0)
        y[(n, c, *at)] = reduce(np.array(seen))
    return y


@st.composite
def pools(draw, dilated=True):
    rank = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2 if dilated else 1)) for _ in range(rank)]
    # a window must see some data: no more padding than a tap's step
    pads = [draw(st.integers(0, min(k - 1, 1))) for k in kernel * 2]
    options = {
        "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        "pads": pads,
        "dilations": dilations,
        "ceil_mode": draw(st.integers(0, 1)),
    }
    size = [d * (k - 1) + 1 + draw(st.integers(0, 3)) for d, k in zip(dilations, kernel, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.standard_normal((2, 2, *size)), kernel, options


@quick
@given(pools())
def test_max_pool_is_the_definition(case):
    x, kernel, options = case
    want = pool_loops(x, window(x.shape[2:], kernel, **options), np.max, with_padding=False)
    np.testing.assert_array_equal(pooling.max_pool(x, kernel_shape=kernel, **options), want)


@quick
@given(pools(), st.integers(0, 1))
def test_average_pool_is_the_definition(case, include):
    x, kernel, options = case
    want = pool_loops(x, window(x.shape[2:], kernel, **options), np.mean, with_padding=bool(include))
    got = pooling.average_pool(x, kernel_shape=kernel, count_include_pad=include, **options)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@quick
@given(pools(), st.integers(1, 3))
def test_lp_pool_is_the_definition(case, p):
    x, kernel, options = case
    w = window(x.shape[2:], kernel, **options)
    want = pool_loops(x, w, lambda seen: (np.abs(seen) ** p).sum() ** (1 / p), with_padding=False)
    np.testing.assert_allclose(pooling.lp_pool(x, kernel_shape=kernel, p=p, **options), want, atol=1e-12)


@quick
@given(pools(), st.integers(0, 1))
def test_indices_point_at_the_maxima(case, order):
    x, kernel, options = case
    y, at = pooling.max_pool_indices(x, kernel_shape=kernel, storage_order=order, **options)
    np.testing.assert_array_equal(y, pooling.max_pool(x, kernel_shape=kernel, **options))
    stored = x if not order else np.transpose(x, (0, 1, *range(x.ndim - 1, 1, -1)))
    np.testing.assert_array_equal(stored.ravel()[at], y)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(pools(dilated=False), st.integers(0, 1))
def test_pooling_agrees_with_onnx_runtime(runtime, case, include):
    x, kernel, options = case
    x = x.astype(np.float32)
    attrs = {"kernel_shape": kernel, **options}
    want, places = runtime("MaxPool", [x], attrs, outputs=2)
    got = pooling.max_pool_indices(x, **attrs)
    np.testing.assert_array_equal(got[0], want)
    np.testing.assert_array_equal(got[1], places)
    attrs = {key: value for key, value in attrs.items() if key != "dilations"} | {"count_include_pad": include}
    (want,) = runtime("AveragePool", [x], attrs, opset=19)
    np.testing.assert_allclose(pooling.average_pool(x, **attrs), want, atol=1e-6)


@pytest.mark.parametrize("order", [0, 1])
def test_of_equal_maxima_the_first_counts(order, runtime):
    x = np.random.default_rng(0).integers(0, 2, (1, 2, 6, 6)).astype(np.float32)
    attrs = {"kernel_shape": [3, 3], "storage_order": order}
    for got, want in zip(pooling.max_pool_indices(x, **attrs), runtime("MaxPool", [x], attrs, outputs=2), strict=True):
        np.testing.assert_array_equal(got, want)


def test_maxima_of_integers_keep_their_type_and_padding_never_wins():
    x = np.full((1, 1, 3), -128, np.int8)
    y = pooling.max_pool(x, kernel_shape=[3], pads=[1, 1])
    assert y.dtype == np.int8
    assert (y == -128).all()


def test_nothing_but_the_data_counts_at_a_ceiled_end():
    """Rounding up adds a window of which only the data count, with or without count_include_pad."""
    x = np.array([[[2.0, 4.0, 9.0]]])
    for include in (0, 1):
        y = pooling.average_pool(x, kernel_shape=[2], strides=[2], ceil_mode=1, count_include_pad=include)
        assert y.tolist() == [[[3.0, 9.0]]]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pools_are_pools_of_the_whole_image(rank):
    x = np.random.default_rng(rank).standard_normal((2, 3, *range(3, 3 + rank)))
    whole = x.shape[2:]
    for function, local in (("average_pool", {}), ("max_pool", {}), ("lp_pool", {"p": 3})):
        want = getattr(pooling, function)(x, kernel_shape=whole, **local)
        np.testing.assert_allclose(getattr(pooling, f"global_{function}")(x, **local), want, atol=1e-12)


@pytest.mark.parametrize("function", [pooling.max_pool, pooling.average_pool, pooling.max_pool_indices])
def test_a_matrix_cannot_be_pooled(function):
    with pytest.raises(HetcnnError, match="pooling needs"):
        function(np.zeros((2, 3)), kernel_shape=[])
