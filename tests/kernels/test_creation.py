import numpy as np
import pytest

from hetcnn.errors import HetcnnError
from hetcnn.kernels import creation


def test_constants():
    assert creation.constant(value_float=1.5).dtype == np.float32
    assert creation.constant(value_ints=(1, 2)).dtype == np.int64
    assert creation.constant(value_string="a").dtype == object
    with pytest.raises(HetcnnError, match="without a value"):
        creation.constant()
    filled = creation.constant_of_shape(np.array([2, 3]))
    assert filled.dtype == np.float32
    assert filled.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(("numbers", "want"), [((0, 5, 2), [0, 2, 4]), ((5, 0, -2), [5, 3, 1]), ((1, 1, 1), [])])
def test_ranges_stop_before_the_limit(numbers, want, runtime):
    inputs = [np.array(v, np.int64) for v in numbers]
    assert creation.span(*inputs).tolist() == want == runtime("Range", inputs)[0].tolist()


def test_steps_of_nothing_are_refused():
    with pytest.raises(HetcnnError, match="never ends"):
        creation.span(np.array(0), np.array(3), np.array(0))


def test_ones_stand_on_a_diagonal(runtime):
    x = np.zeros((3, 4), np.float32)
    for k in (-1, 0, 2):
        np.testing.assert_array_equal(creation.eye_like(x, k=k), runtime("EyeLike", [x], {"k": k})[0])
    assert creation.eye_like(x, dtype=7).dtype == np.int64
