"""Equations 3 to 8: against hand calculations and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetcnn import gemm

positive = st.floats(1e-6, 10.0)


def test_output_size_of_known_layers():
    # AlexNet conv1 (227, 11x11 / 4), ResNet conv1 (224, 7x7 / 2 pad 3), VGG (224, 3x3 pad 1)
    assert gemm.output_size([227, 224, 224], [11, 7, 3], stride=[4, 2, 1], padding=[0, 3, 1]).tolist() == [55, 112, 224]


def test_equation_5_term_by_term():
    for i, expected in enumerate([2, 3, 5, 6, 15, 10, 30, 1]):
        assert gemm.single_core_time(2, 3, 5, np.eye(8)[i]) == expected


def test_whole_iterations_limit_the_speed_up_of_few_rows():
    speed_up = 1 / gemm.multi_core_time(1.0, [49, 196, 784], 4, tile=8)
    # 7 tiles in 2 rounds, 25 in 7, 98 in 25
    assert speed_up == pytest.approx([7 / 2, 25 / 7, 98 / 25])


@given(positive, st.integers(1, 20000), st.integers(1, 16), st.integers(1, 16))
@settings(derandomize=True, max_examples=200)
def test_laws_of_the_multi_core_time(time, rows, cores, tile):
    on = gemm.multi_core_time(time, rows, cores, tile=tile)
    assert time / cores - 1e-12 <= on <= time + 1e-12
    assert gemm.multi_core_time(time, rows, cores + 1, tile=tile) <= on + 1e-12
    assert gemm.core_time(on, rows, cores, tile=tile) == pytest.approx(time)


@given(positive, st.integers(1, 5000), st.integers(2, 8), st.floats(0, 1e-3), st.floats(0, 1e-5), st.floats(0, 1e-3))
@settings(derandomize=True, max_examples=100)
def test_core_time_undoes_multi_core_time(time, rows, cores, a1, a2, a3):
    options = {"tile": 8, "a1": a1, "a2": a2, "a3": a3}
    assert gemm.core_time(gemm.multi_core_time(time, rows, cores, **options), rows, cores, **options) == pytest.approx(
        time, rel=1e-9, abs=1e-12
    )
