"""Means with their resamples, for reports."""

import numpy as np
import pytest

from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.measured import Spread, masked_means, means_of

# three pairs in two clusters; the first resample draws cluster 0 twice, the second each once, the third cluster 1 twice
DRAWS = Resamples(np.array([0, 0, 1]), np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))


def test_means_over_the_pairs_that_have_a_cell():
    # cell 0: pairs 0 and 2 (values 1 and 5), mean 3; resamples: 2*1/2, (1 + 5)/2, 2*5/2
    # cell 1: pair 2 alone (value 7); the first resample has none of it
    values = np.array([[1.0, 100.0, 5.0], [100.0, 100.0, 7.0]])
    has = np.array([[True, False, True], [False, False, True]])
    found = masked_means(values, has, DRAWS)
    assert found.value.tolist() == [3.0, 7.0]
    np.testing.assert_array_equal(found.replicates, [[1.0, np.nan], [3.0, 7.0], [5.0, 7.0]])
    assert found.n == 2


def test_differences_and_functions_are_taken_resample_by_resample():
    rows = masked_means(np.array([[1.0, 3.0, 5.0], [0.0, 2.0, 10.0]]), np.ones((2, 3), dtype=np.bool_), DRAWS)
    # resamples: row 0 -> 2, 3, 5 and row 1 -> 1, 4, 10; means 3 and 4
    ratio = rows.map(lambda cells: cells[:, 1] / cells[:, 0])
    assert float(ratio.value) == pytest.approx(4 / 3) and ratio.replicates.tolist() == [0.5, 4 / 3, 2.0]
    first, second = (Spread(np.asarray(rows.value[i]), rows.replicates[:, i], rows.n) for i in (0, 1))
    assert float((first - second).value) == -1.0 and (first - second).replicates.tolist() == [1.0, -1.0, -5.0]


def test_an_interval_leaves_out_resamples_without_a_value():
    found = Spread(np.array(2.0), np.array([1.0, np.nan, 3.0]), 5).measured
    # quantiles 0.025 and 0.975 between 1 and 3
    assert (found.low, found.high, found.n) == (pytest.approx(1.05), pytest.approx(2.95), 5)
    assert np.isnan(Spread(np.array(2.0), np.array([1.0, np.nan]), 5).measured.low)


def test_each_row_has_its_own_interval():
    found = means_of(np.array([[1.0, 3.0, 5.0], [0.0, 0.0, 0.0]]), DRAWS)
    assert [row.value for row in found] == [3.0, 0.0] and found[0].low < 3.0 < found[0].high and found[1].high == 0.0
