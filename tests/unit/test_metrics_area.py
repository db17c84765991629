"""Faithfulness area, sparsity, concentration, CPR and CMD: worked curves, integration by brute force, bounds."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.area import area_weights, faithfulness_area
from arithloc.benchmark.metrics.mib import budget_mean, cmd, cpr
from arithloc.benchmark.metrics.prefixes import BUDGETS
from arithloc.benchmark.metrics.sparsity import first_reached, hoyer, reaches

EX_4 = np.array([
    0, 0.06817822148441408, 0.46438637785180875, 0.8240570652670925, 0.9919031479970708, 1.1492810602205228,
    1.2062589001356812, 1.2707378972100487, 1.3136016910431059, 1,
])  # fmt: skip


@st.composite
def curves(draw):
    n = draw(st.integers(1, 12))
    exponents = sorted(draw(st.sets(st.floats(-4, -0.01), min_size=n, max_size=n)))
    sizes = np.unique(np.round(10 ** np.array(exponents), 9))
    f = np.array(draw(st.lists(st.floats(-3, 4), min_size=len(sizes), max_size=len(sizes))))
    return f, sizes


def brute_force(f, sizes, lo=0.001, hi=0.5, n=20_000):
    """Mean of g(F(s)) over a fine grid of ln s."""
    total = 0.0
    for k in range(n):
        s = lo * (hi / lo) ** ((k + 0.5) / n)
        fitting = [value for value, size in zip(f, sizes, strict=True) if size <= s]
        total += max(0.0, 1 - abs(1 - fitting[-1])) if fitting else 0.0
    return total / n


def test_ex_8a():
    # g = 0, .5, .8, 1: .5 on [.01, .1] and .8 on [.1, .5]; the circuit of size 1 lies outside
    found = faithfulness_area(np.array([0, 0.5, 1.2, 1]), np.array([0.001, 0.01, 0.1, 1]))
    assert found == pytest.approx((0.5 * math.log(10) + 0.8 * math.log(5)) / math.log(500), abs=1e-12)
    assert found == pytest.approx(0.3924371, abs=1e-6)


def test_ex_8b_exact_circuit():
    found = faithfulness_area(np.array([0.0, 1.0, 1.0]), np.array([0.005, 0.02, 0.3]))
    assert found == pytest.approx(math.log(25) / math.log(500), abs=1e-12)
    assert found == pytest.approx(0.5179531, abs=1e-6)


def test_ex_8c_a_circuit_below_lo_counts_from_lo_on():
    # .6 on [.001, .05], .9 on [.05, .5]
    found = faithfulness_area(np.array([0.6, 0.9]), np.array([0.0004, 0.05]))
    assert found == pytest.approx((0.6 * math.log(50) + 0.9 * math.log(10)) / math.log(500), abs=1e-12)
    assert found == pytest.approx(0.7111535, abs=1e-6)


def test_ex_8d_larger_lo():
    found = faithfulness_area(np.array([0.5, 1.0]), np.array([0.2, 0.3]), lo=0.2)
    assert found == pytest.approx((0.5 * math.log(1.5) + math.log(5 / 3)) / math.log(2.5), abs=1e-12)
    assert found == pytest.approx(0.7787465, abs=1e-6)


def test_ex_8e_published_curve_on_realised_sizes():
    sizes = np.array([17, 37, 102, 230, 518, 1400, 2928, 5955, 15113, 32491]) / 32491
    assert faithfulness_area(EX_4, sizes) == pytest.approx(0.6471765, abs=1e-6)


def test_null_and_over_recovering_methods():
    sizes = np.array([0.001, 0.01, 0.1])
    assert faithfulness_area(np.zeros(3), sizes) == 0
    assert faithfulness_area(np.full(3, 3.0), sizes) == 0
    assert faithfulness_area(np.full(3, 1.2), sizes) == pytest.approx(0.8)
    assert faithfulness_area(np.ones(3), sizes) == pytest.approx(1)


def test_no_circuit_gives_zero():
    assert faithfulness_area(np.array([]), np.array([])) == 0


def test_equal_or_falling_sizes_and_an_empty_range_are_refused():
    for sizes in ([0.1, 0.1], [0.2, 0.1], [0.0, 0.1]):
        with pytest.raises(MetricError, match="strictly increasing"):
            area_weights(np.array(sizes))
    with pytest.raises(MetricError, match=r"lo < hi, found 0\.6 and 0\.5"):
        area_weights(np.array([0.7]), lo=0.6)


@settings(deadline=None)
@given(curves())
def test_area_equals_brute_force_and_stays_in_bounds(curve):
    f, sizes = curve
    found = float(faithfulness_area(f, sizes))
    assert -1e-12 <= found <= 1 + 1e-12
    assert found == pytest.approx(brute_force(f, sizes, n=2000), abs=len(sizes) * 1.5 / 2000)


@settings(deadline=None)
@given(curves(), st.integers(0, 11), st.floats(0, 1))
def test_moving_f_towards_one_never_lowers_the_area(curve, at, step):
    f, sizes = curve
    better = f.copy()
    better[at % len(f)] += step * (1 - better[at % len(f)])
    assert faithfulness_area(better, sizes) >= faithfulness_area(f, sizes) - 1e-12


@settings(deadline=None)
@given(curves())
def test_replicates_are_areas_row_by_row(curve):
    f, sizes = curve
    rows = np.stack([f, f * 0.5, np.ones_like(f)])
    expected = [float(faithfulness_area(row, sizes)) for row in rows]
    np.testing.assert_allclose(faithfulness_area(rows, sizes), expected, atol=1e-12)


# ---- sparsity ---------------------------------------------------------------------------------------------------------


def test_sparsity_takes_the_first_circuit_that_reaches_the_threshold():
    lower = np.array([[0.2, 0.9, 0.5, 0.95], [0.1, 0.2, 0.3, 0.89]])
    assert first_reached(reaches(lower)).tolist() == [1, -1]
    upper = np.array([[0.3, 1.2, 0.6, 1.1], [0.2, 0.3, 0.4, 1.0]])
    assert first_reached(reaches(lower, upper)).tolist() == [3, -1]  # the second circuit over-recovers
    assert first_reached(reaches(np.zeros((2, 0)))).tolist() == [-1, -1]


def test_ex_8f_hoyer():
    # (2 - 7/5) / 1, (2 - 4/2) / 1, (2 - 1) / 1
    assert hoyer(np.array([3.0, 4, 0, 0])) == pytest.approx(0.6, abs=1e-12)
    assert hoyer(np.ones(4)) == pytest.approx(0, abs=1e-12)
    assert hoyer(np.array([1.0, 0, 0, 0])) == pytest.approx(1, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.floats(0.01, 100), st.randoms())
def test_hoyer_is_bounded_and_ignores_scale_sign_and_order(values, scale, random):
    scores = np.array(values)
    assume(np.abs(scores).max() > 1e-3)
    shuffled = list(-scores * scale)
    random.shuffle(shuffled)
    assert -1e-9 <= hoyer(scores) <= 1 + 1e-9
    assert hoyer(np.array(shuffled)) == pytest.approx(hoyer(scores), abs=1e-9)


@pytest.mark.parametrize("scores", [[1.0], [0.0, 0.0]])
def test_hoyer_of_nothing_is_refused(scores):
    with pytest.raises(MetricError, match="at least two scores, not all zero"):
        hoyer(np.array(scores))


# ---- CPR and CMD ------------------------------------------------------------------------------------------------------


def test_ex_4_regression_vector():
    assert float(cpr(EX_4)) == pytest.approx(1.1940413086820695, abs=1e-12)
    assert float(cmd(EX_4)) == pytest.approx(0.2070165228744284, abs=1e-12)


def test_ex_5_nothing_before_the_full_model():
    f = np.array([0.0] * 9 + [1.0])
    assert float(cpr(f)) == pytest.approx(0.25, abs=1e-12)
    assert float(cmd(f)) == pytest.approx(0.749, abs=1e-12)
    assert float(budget_mean(f)) == pytest.approx(0.1, abs=1e-12)


@pytest.mark.parametrize(
    ("f", "expected_cpr", "expected_cmd"),
    [
        ([0.099, 0.427, 1.443, 1.798, 2.030, 2.066, 2.124, 2.140, 2.131, 1], 1.8329, 0.8371),
        ([0.045, 0.165, 0.666, 0.909, 1.209, 1.715, 1.700, 1.870, 1.936, 1], 1.6287, 0.6380),
    ],
    ids=["EX-6", "EX-7"],
)
def test_ex_6_and_7_published_to_three_decimals(f, expected_cpr, expected_cmd):
    assert float(cpr(np.array(f))) == pytest.approx(expected_cpr, abs=1e-3)
    assert float(cmd(np.array(f))) == pytest.approx(expected_cmd, abs=1e-3)


def test_weights_of_the_budgets():
    # half the distance between the neighbours of each budget
    weights = [float(cpr(np.eye(10)[i])) for i in range(10)]
    np.testing.assert_allclose(weights, [0.0005, 0.002, 0.004, 0.0075, 0.02, 0.04, 0.075, 0.2, 0.4, 0.25], atol=1e-12)
    assert sum(w for w, k in zip(weights, BUDGETS, strict=True) if k >= 0.2) == pytest.approx(0.85, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_cpr_and_cmd_add_up_while_f_stays_in_bounds(f):
    assert float(cpr(np.array(f)) + cmd(np.array(f))) == pytest.approx(0.999, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=10, max_size=10))
def test_trapezoids_equal_a_loop(f):
    pieces = [(BUDGETS[i + 1] - BUDGETS[i]) * (f[i] + f[i + 1]) / 2 for i in range(9)]
    distance = [(BUDGETS[i + 1] - BUDGETS[i]) * (abs(1 - f[i]) + abs(1 - f[i + 1])) / 2 for i in range(9)]
    assert float(cpr(np.array(f))) == pytest.approx(sum(pieces), abs=1e-12)
    assert float(cmd(np.array(f))) == pytest.approx(sum(distance), abs=1e-12)
