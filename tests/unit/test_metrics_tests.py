"""Hypothesis tests: worked examples, enumeration, false positive rates and power by simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, false_discovery_control

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.equivalence import Wins, count_wins, equivalence, p_different, p_equivalent, power
from arithloc.benchmark.metrics.independence import bandwidth, hsic, independence
from arithloc.benchmark.metrics.minimality import against_random, minimality, necessity, sufficiency
from arithloc.benchmark.metrics.multiplicity import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("wins", "n", "different", "equivalent"),
    [(14, 20, 0.2564765, 0.8744010), (75, 100, 0.0011890, 0.9994385), (52, 100, 0.9677037, 0.0637892)],
    ids=["EX-16a", "EX-16b", "EX-16c"],
)
def test_ex_16(wins, n, different, equivalent):
    assert p_different(wins, n) == pytest.approx(different, abs=1e-6)
    assert p_equivalent(wins, n) == pytest.approx(equivalent, abs=1e-6)


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0.05, 0.4), st.data())
def test_p_values_equal_sums_over_outcomes(n, eps, data):
    wins = data.draw(st.integers(0, n))
    as_far = sum(binom.pmf(k, n, 0.5 + eps) for k in range(n + 1) if abs(2 * k - n) >= abs(2 * wins - n))
    assert p_different(wins, n, eps) == pytest.approx(as_far, abs=1e-9)
    upper = sum(binom.pmf(k, n, 0.5 - eps) for k in range(wins, n + 1))
    lower = sum(binom.pmf(k, n, 0.5 + eps) for k in range(wins + 1))
    assert p_equivalent(wins, n, eps) == pytest.approx(max(upper, lower), abs=1e-9)
    # circuit and model may change places
    assert p_equivalent(n - wins, n, eps) == pytest.approx(p_equivalent(wins, n, eps), abs=1e-9)


def test_power_of_the_equivalence_test():
    assert [round(power(n), 2) for n in (100, 200, 250, 400)] == [0.24, 0.77, 0.85, 0.98]
    # below 76 clusters not even an even split is enough
    assert p_equivalent(38, 76) <= 0.05 < min(p_equivalent(n // 2, n) for n in range(1, 76))


def test_error_rates_of_the_sign_tests_are_at_most_nominal():
    for n in (50, 200, 1000):
        # at the edge of equivalence the TOST rejects at most 5%, and so does T-equiv of a circuit inside the margin
        assert power(n, pi=0.6) <= 0.05 and power(n, pi=0.4) <= 0.05
        k = np.arange(n + 1)
        rejected = np.array([p_different(int(w), n) <= 0.05 for w in k])
        assert binom.pmf(k[rejected], n, 0.6).sum() <= 0.05 and binom.pmf(k[rejected], n, 0.5).sum() <= 0.05


def test_ties_are_dropped_and_counted():
    found = count_wins(np.array([1.0, 2, 3, 4]), np.array([0.0, 2, 5, 4]))
    assert found == Wins(1, 2, 2)
    result = equivalence(found)
    assert result.p_equivalent == p_equivalent(1, 2) and result.power == power(2)
    with pytest.raises(MetricError, match="clusters on which circuit and model differ"):
        equivalence(Wins(0, 0, 5))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_wins_equal_a_loop_ignore_rounding_and_the_unit(seed, unit):
    rng = np.random.default_rng(seed)
    full = np.round(rng.normal(0, 3, 30), 1)
    circuit = np.where(rng.random(30) < 0.3, full, np.round(rng.normal(0, 3, 30), 1))
    noise = full * 2e-7 * rng.random(30)  # float32: all in one direction
    found = count_wins(unit * (circuit + noise), unit * full)
    wins, ties = (sum(test(c, f) for c, f in zip(circuit, full, strict=True)) for test in (float.__gt__, float.__eq__))
    assert found == Wins(wins, 30 - ties, ties)


# ---- independence -----------------------------------------------------------------------------------------------------

X, Y = np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 4, 9])


def slow_hsic(x, y):
    n = len(x)
    pairs = list(itertools.combinations(range(n), 2))
    sx = float(np.median([abs(x[i] - x[j]) for i, j in pairs])) or 1
    sy = float(np.median([abs(y[i] - y[j]) for i, j in pairs])) or 1
    k = np.array([[np.exp(-((a - b) ** 2) / (2 * sx**2)) for b in x] for a in x])
    m = np.array([[np.exp(-((a - b) ** 2) / (2 * sy**2)) for b in y] for a in y])
    centre = np.eye(n) - 1 / n
    return np.trace(centre @ k @ centre @ m) / (n - 1) ** 2


def test_ex_17_hsic():
    assert (bandwidth(X), bandwidth(Y)) == (1.5, 4.5)
    assert hsic(X, Y) == pytest.approx(0.1227002, abs=1e-6)
    # all 24 orders of y: only the two monotone ones reach the observed value
    reached = [hsic(X, Y[list(order)]) >= hsic(X, Y) - 1e-12 for order in itertools.permutations(range(4))]
    assert sum(reached) / 24 == pytest.approx(2 / 24)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5, width=16), st.floats(-5, 5, width=16)), min_size=2, max_size=8))
def test_hsic_equals_its_definition(rows):
    x, y = (np.array(column) for column in zip(*rows, strict=True))
    assert hsic(x, y) == pytest.approx(slow_hsic(x, y), abs=1e-9)


def test_permutation_p_values_are_uniform_under_independence_and_small_under_dependence():
    rng = np.random.default_rng(0)
    p = [
        independence(rng.normal(size=25), rng.normal(size=25), ["a"] * 25, seed, n_permutations=99).p
        for seed in range(200)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)
    x = rng.normal(size=40)
    found = independence(x**2 + 0.1 * rng.normal(size=40), x, ["a"] * 40, 0)
    assert found.p == pytest.approx(1 / 1001) and (found.n, found.n_permutations) == (40, 1000)
    assert found.hsic == pytest.approx(hsic(x**2, x), rel=0.3)


def test_permutations_stay_within_strata():
    # two strata that differ in both variables, independent inside: only the pooled test sees a dependence
    rng = np.random.default_rng(1)
    level = np.repeat([0.0, 10.0], 20)
    x, y = level + rng.normal(size=40), level + rng.normal(size=40)
    strata = [str(v) for v in level]
    assert independence(x, y, ["all"] * 40, 0, 199).p == pytest.approx(1 / 200)
    assert independence(x, y, strata, 0, 199).p > 0.05
    with pytest.raises(MetricError, match="at least two clusters"):
        independence(x[:1], y[:1], ["a"], 0)


# ---- minimality, sufficiency, necessity -------------------------------------------------------------------------------


def test_ex_18_minimality():
    effect = np.array([1, 0.5, 0.05, 0.2])
    null = np.array([0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.3])
    found = minimality(effect, null)
    # (1 + #{null >= d}) / 10
    np.testing.assert_allclose(found.p, [0.1, 0.1, 0.7, 0.2], atol=1e-12)
    np.testing.assert_allclose(found.p_adjusted, [0.2, 0.2, 0.7, 0.8 / 3], atol=1e-12)
    # K = 9, 9, 3, 8 of 9 below: P(Bin(9, .9) <= K)
    np.testing.assert_allclose(found.p_shi, [1, 1, 6.4234e-5, 0.6125795], atol=1e-6)
    np.testing.assert_allclose(found.p_shi_adjusted, holm(found.p_shi))
    assert found.rejected and found.minimal_share == 0


def test_minimal_share_counts_needed_components():
    found = minimality(np.array([5.0, 4.0, 0.0]), np.random.default_rng(0).random(999))
    assert found.minimal_share == pytest.approx(2 / 3)


def test_ties_with_the_null_count_against_a_component():
    found = minimality(np.array([1.0]), np.array([1.0, 1.0, 0.5]))
    assert found.p[0] == pytest.approx(3 / 4) and found.p_shi[0] == pytest.approx(binom.cdf(1, 3, 0.9))


@pytest.mark.parametrize(("better", "p"), [(100, 2.6561e-5), (96, 0.0237111), (95, 0.0575769), (90, 0.5831555)])
def test_ex_19_against_random_circuits(better, p):
    assert against_random(better, 100).p == pytest.approx(p, abs=1e-6)


def test_ex_19_at_least_29_random_circuits_are_needed():
    assert against_random(29, 29).p == pytest.approx(0.0471013, abs=1e-6)
    assert against_random(28, 28).p > 0.05


def test_sufficiency_and_necessity_count_strictly_better_circuits():
    # distances from 1: 0.25 against 0.5, 0.25, 0.125, 2
    found = sufficiency(0.75, np.array([0.5, 1.25, 1.125, -1.0]))
    assert (found.better, found.n) == (2, 4)
    found = necessity(0.1, np.array([0.5, 0.1, 0.05, 0.9]))
    assert (found.better, found.n) == (2, 4)


# ---- multiplicity -----------------------------------------------------------------------------------------------------


def test_ex_20():
    p = np.array([0.01, 0.04, 0.03])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06], atol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p), [0.03, 0.04, 0.04], atol=1e-12)


@settings(deadline=None)
@given(P_VALUES)
def test_adjustments_equal_slow_ones(values):
    p = np.array(values)
    m = len(p)
    ranks = [sorted(range(m), key=lambda i: (p[i], i)).index(i) for i in range(m)]
    slow = [min(1, max(p[j] * (m - ranks[j]) for j in range(m) if ranks[j] <= ranks[i])) for i in range(m)]
    np.testing.assert_allclose(holm(p), slow, atol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), atol=1e-12)
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all() and (benjamini_hochberg(p) >= p - 1e-12).all()


def test_holm_controls_the_familywise_error():
    rng = np.random.default_rng(2)
    rejections = [(holm(rng.random(20)) <= 0.05).any() for _ in range(2000)]
    assert np.mean(rejections) <= 0.05 + 2 * (0.05 * 0.95 / 2000) ** 0.5
