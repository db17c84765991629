"""Intervals of shares."""

import math

import pytest

from arithloc.benchmark.metrics.proportion import Z, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 7), (28, 28), (150, 200)])
def test_the_bounds_are_where_the_score_test_turns(right: int, n: int) -> None:
    # the interval holds every p for which |share - p| <= z sqrt(p (1 - p) / n): at a bound both sides are equal
    share = right / n
    for bound, outside in zip(wilson(share, n), (-1e-6, 1e-6), strict=True):
        assert abs(share - bound) == pytest.approx(Z * math.sqrt(bound * (1 - bound) / n), abs=1e-7)
        beyond = bound + outside
        if 0 <= beyond <= 1:
            assert abs(share - beyond) > Z * math.sqrt(beyond * (1 - beyond) / n)


def test_it_keeps_a_width_where_all_agree_and_stays_inside() -> None:
    # all of 10 right: (1 + z^2 / 20 - z sqrt(z^2 / 400)) / (1 + z^2 / 10) = 1 / (1 + 0.384146) = 0.7225
    low, high = wilson(1.0, 10)
    assert low == pytest.approx(0.7225, abs=1e-4) and high == pytest.approx(1.0) and high <= 1
    assert wilson(0.0, 10) == pytest.approx((0.0, 1 - low))
