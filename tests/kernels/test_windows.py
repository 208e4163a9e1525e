from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn.errors import HetcnnError
from hetcnn.kernels.windows import AUTO_PADS, pad_spatial, taps, window

quick = settings(derandomize=True, deadline=None, max_examples=200)
small = st.integers(1, 3)


@quick
@given(st.integers(1, 12), small, small, small, st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_the_windows_are_those_that_start_and_end_inside(size, kernel, stride, dilation, before, after, up):
    span = dilation * (kernel - 1) + 1
    after = min(after, kernel - 1)  # ONNX asks for less padding than window
    fits = [s for s in range(-before, size + after, stride) if s + span <= size + after]
    if not fits:
        return
    w = window((size,), (kernel,), strides=[stride], pads=[before, after], dilations=[dilation], ceil_mode=int(up))
    # rounding up adds one window for elements that the last one missed, if it starts before the data end
    missed, start = fits[-1] + span < size + after, fits[-1] + stride
    extra = 1 if up and missed and start < size else 0
    assert w.out == (len(fits) + extra,)


@quick
@given(st.integers(1, 12), small, small, st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
def test_same_padding_makes_ceil_of_size_over_stride_windows(size, kernel, stride, rule):
    w = window((size,), (kernel,), strides=[stride], auto_pad=rule)
    assert w.out == (ceil(size / stride),)
    first, second = (w.before, w.after) if rule == "SAME_UPPER" else (w.after, w.before)
    assert second[0] - first[0] in (0, 1)


def test_valid_padding_is_none():
    w = window((7, 7), (3, 2), strides=[2, 2], pads=[9, 9, 9, 9], auto_pad="VALID")
    assert w.out == (floor((7 - 3) / 2) + 1, floor((7 - 2) / 2) + 1)
    assert w.before == w.after == (0, 0)


@quick
@given(st.integers(1, 3), st.integers(1, 3), small, small, small, small, st.integers(0, 2))
def test_taps_are_what_the_formula_names(height, width, kh, kw, stride, dilation, pad):
    size = (height + 4, width + 6)
    w = window(size, (kh, kw), strides=[stride, 1], dilations=[1, dilation], pads=[pad, 0, 0, pad])
    x = np.arange(2 * 3 * np.prod(size)).reshape(2, 3, *size)
    padded = pad_spatial(x, w, -1)
    for (a, b), seen in taps(padded, w):
        for i in range(w.out[0]):
            for j in range(w.out[1]):
                row, column = i * stride + a - pad, j + b * dilation
                inside = 0 <= row < size[0] and 0 <= column < size[1]
                want = x[:, :, row, column] if inside else np.full((2, 3), -1)
                np.testing.assert_array_equal(seen[:, :, i, j], want)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": (6,)}, "a window of 6 does not fit into 5"),
        ({"kernel": (3, 3)}, "kernel_shape"),
        ({"kernel": (0,)}, "kernel_shape"),
        ({"kernel": (3,), "strides": (0,)}, "strides"),
        ({"kernel": (3,), "pads": (1,)}, "pads"),
        ({"kernel": (3,), "pads": (-1, 0)}, "pads"),
        ({"kernel": (3,), "auto_pad": "SAME"}, f"unknown auto_pad 'SAME'; .*{AUTO_PADS[0]}"),
    ],
)
def test_numbers_that_do_not_fit_are_one_line(arguments, message):
    with pytest.raises(HetcnnError, match=message) as caught:
        window((5,), arguments.pop("kernel"), **arguments)
    assert "\n" not in str(caught.value)
