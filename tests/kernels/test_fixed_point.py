"""Each operator against a machine written out in Python integers, word by word."""

import itertools
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels import fixed_point as fx

quick = settings(derandomize=True, deadline=None, max_examples=40)
word = st.integers(-(2**15), 2**15 - 1)


class Machine:
    """A 32-bit accumulator that wraps, and a write-back that shifts with rounding and saturates to `bits`."""

    def __init__(self, bias=0, bias_shift=8):
        self.register = self._wrapped(bias << bias_shift)

    @staticmethod
    def _wrapped(value):
        return (value + 2**31) % 2**32 - 2**31

    def mac(self, a, b):
        product = a * b
        assert -(2**31) <= product < 2**31
        self.register = self._wrapped(self.register + product)

    def word(self, shift=8, bits=16):
        rounded = floor(Fraction(self.register, 2**shift) + Fraction(1, 2))
        return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, rounded))


def words(rng, shape, size=2**15):
    return rng.integers(-size, size, shape).astype(np.int16)


@quick
@given(
    st.integers(0, 2**16), st.sampled_from([100, 2**11, 2**15]), st.integers(4, 12), st.integers(1, 2), st.booleans()
)
def test_convolution_is_the_machines(seed, size, shift, stride, biased):
    rng = np.random.default_rng(seed)
    x, w = words(rng, (1, 3, 5, 4), size), words(rng, (2, 3, 2, 3), size)
    b = words(rng, 2) if biased else None
    got = fx.conv(x, w, b, shift=shift, bias_shift=8, strides=(stride, 1), pads=(1, 0, 0, 1))
    assert got.dtype == np.int16
    for m, i, j in itertools.product(*map(range, got.shape[1:])):
        machine = Machine(0 if b is None else int(b[m]))
        for c, k, q in itertools.product(range(3), range(2), range(3)):
            row, column = i * stride + k - 1, j + q
            if 0 <= row < 5 and 0 <= column < 4:
                machine.mac(int(x[0, c, row, column]), int(w[m, c, k, q]))
        assert got[0, m, i, j] == machine.word(shift)


@quick
@given(st.integers(0, 2**16), st.sampled_from([300, 2**15]), st.sampled_from([8, 12, 16]))
def test_fully_connected_layers_are_the_machines(seed, size, bits):
    rng = np.random.default_rng(seed)
    x, w, b = words(rng, (2, 7), size), words(rng, (3, 7), size), words(rng, 3)
    got = fx.linear(x, w, b, bits=bits)
    for n, m in itertools.product(range(2), range(3)):
        machine = Machine(int(b[m]))
        for k in reversed(range(7)):  # any order gives the same
            machine.mac(int(x[n, k]), int(w[m, k]))
        assert got[n, m] == machine.word(bits=bits)


def test_the_accumulator_wraps_and_only_words_saturate():
    most = np.full((1, 2), -(2**15), np.int16)
    assert fx.linear_sums(most, most).item() == 2**31
    assert fx.linear(most, most).item() == -(2**15)  # 2^31 wrapped to -2^31
    one = most[:, :1]
    assert fx.linear(one, one).item() == 2**15 - 1  # 2^30 / 2^8 saturates


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 20), st.sampled_from([4, 8, 16]))
def test_write_back_rounds_halves_up_and_saturates(value, shift, bits):
    machine = Machine()
    machine.register = value
    assert fx.write_back(np.array([value]), shift, bits).tolist() == [machine.word(shift, bits)]


def test_halves_go_up_on_both_sides_of_zero():
    assert fx.write_back(np.array([-384, -128, 128, 384])).tolist() == [-1, 0, 1, 2]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(word, word)
def test_sums_and_products_of_two_words(a, b):
    x, y = np.array([a], np.int16), np.array([b], np.int16)
    assert fx.add(x, y).item() == max(-(2**15), min(2**15 - 1, a + b))
    machine = Machine()
    machine.mac(a, b)
    assert fx.multiply(x, y).item() == machine.word()
    assert fx.relu(x).item() == max(a, 0)


@quick
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(0, 1), st.integers(0, 1))
def test_averages_are_rounded_quotients(seed, kernel, pad, include):
    if pad >= kernel:
        return
    x = words(np.random.default_rng(seed), (1, 2, 4, 5))
    options = {"kernel_shape": (kernel, kernel), "pads": (pad, 0, 0, pad), "count_include_pad": include}
    got = fx.average_pool(x, **options)
    for c, i, j in itertools.product(*map(range, got.shape[1:])):
        places = itertools.product(range(i - pad, i - pad + kernel), range(j, j + kernel))
        seen = [int(x[0, c, a, b]) if 0 <= a < 4 and 0 <= b < 5 else None for a, b in places]
        data = [v for v in seen if v is not None]
        assert got[0, c, i, j] == floor(Fraction(sum(data), len(seen if include else data)) + Fraction(1, 2))
    whole = fx.global_average_pool(x)
    assert whole[0, 1, 0, 0] == floor(Fraction(int(x[0, 1].sum()), 20) + Fraction(1, 2))


def test_maxima_need_no_rounding():
    x = np.array([[[-300, -200, -100]]], np.int16)
    assert fx.max_pool(x, kernel_shape=[2], pads=[1, 0]).tolist() == [[[-300, -200, -100]]]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.floats(-300, 300), st.integers(0, 12), st.sampled_from([8, 12, 16]))
def test_numbers_become_the_nearest_word(value, fraction, bits):
    code = fx.Format(bits, fraction)
    word = fx.to_fixed(np.array([value]), fraction=fraction, bits=bits)
    back = float(fx.from_fixed(word, fraction=fraction)[0])
    assert code.low <= back <= code.high
    inside = min(max(value, code.low), code.high)
    assert abs(back - inside) <= code.resolution / 2


def test_what_is_no_number_becomes_a_word_too():
    assert fx.to_fixed(np.array([np.nan, np.inf, -np.inf])).tolist() == [0, 32767, -32768]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.floats(1e-4, 1e4), st.sampled_from([8, 12, 16]))
def test_the_longest_fraction_that_holds_a_number(largest, bits):
    code = fx.Format.holding(largest, bits)
    assert largest <= 2 ** (bits - 1) * code.resolution  # the number, or the end of its half-open range
    finer = fx.Format(bits, code.fraction + 1)
    assert largest >= 2 ** (bits - 1) * finer.resolution or code.fraction == 30


@pytest.mark.parametrize("shift", [-4, 0, 5])
def test_rescaling_keeps_the_value(shift):
    x = np.array([-512, 32, 96], np.int16)
    got = fx.from_fixed(fx.rescale(x, shift=shift), fraction=8 - shift)
    assert got.tolist() == fx.from_fixed(x).tolist()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fx.conv(x, x),
        lambda x: fx.linear(x, x),
        lambda x: fx.add(x, x),
        lambda x: fx.multiply(x, x),
        lambda x: fx.relu(x),
        lambda x: fx.clip(x),
        lambda x: fx.max_pool(x, kernel_shape=[1]),
        lambda x: fx.average_pool(x, kernel_shape=[1]),
        lambda x: fx.global_average_pool(x),
        lambda x: fx.rescale(x, shift=1),
    ],
)
def test_floats_are_no_words(call):
    with pytest.raises(HetcnnError, match="int16; see to_fixed"):
        call(np.zeros((1, 1, 1), np.float32))


def test_sizes_that_do_not_fit_are_one_line():
    with pytest.raises(HetcnnError, match="2 to 16"):
        fx.Format(17, 8)
    with pytest.raises(HetcnnError, match=r"expected \(N, K\) and \(M, K\)"):
        fx.linear(np.zeros((1, 2), np.int16), np.zeros((1, 3), np.int16))
    with pytest.raises(HetcnnError, match="bias_shift -1"):
        fx.linear(np.zeros((1, 2), np.int16), np.zeros((1, 2), np.int16), np.zeros(1, np.int16), bias_shift=-1)
