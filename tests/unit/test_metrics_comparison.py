"""Paired comparisons: worked examples, invariances, an independent implementation, and error rates by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from arithloc.benchmark.metrics.comparison import Paired, Verdict, bootstrap_p, compare


def paired(difference, replicates, n=50, *, higher=True):
    """A pair whose second score is 0 throughout."""
    replicates = np.asarray(replicates, dtype=np.float64)
    return Paired(difference, 0.0, replicates, np.zeros(len(replicates)), n, higher)


def spread(mean, sd, n=1999, seed=0):
    """Replicates with exactly this mean and standard deviation."""
    z = np.random.default_rng(seed).normal(size=n)
    return mean + sd * (z - z.mean()) / z.std(ddof=1)


def test_worked_example():
    # differences of 99 replicates: one at -0.1, 98 at 0.3; one is on the other side: p = 2 * (1 + 1) / 100
    first = paired(0.3, [-0.1] + [0.3] * 98)
    # 24 of 99 at or below zero: p = 2 * 25 / 100
    second = paired(0.1, [-0.1] * 24 + [0.2] * 75)
    one, two = compare([first, second])
    assert (one.p, two.p) == (pytest.approx(0.04), pytest.approx(0.5))
    # Holm: the smaller times 2, then the larger; 2 * 0.04 = 0.08 is above 0.05, so neither is separated
    assert (one.p_holm, two.p_holm) == (pytest.approx(0.08), pytest.approx(0.5))
    assert {one.verdict, two.verdict} == {Verdict.OPEN}
    # alone, the first is
    (alone,) = compare([first])
    assert alone.verdict is Verdict.BETTER and alone.p_holm == pytest.approx(0.04)
    assert alone.floor == pytest.approx(2 / 100) and one.floor == pytest.approx(4 / 100)


def test_needed_clusters():
    # n (z / (d / se))^2 with z = 1.959964 + 0.841621: 50 * (2.801585 * 0.1 / 0.05)^2 = 1569.8
    (found,) = compare([paired(0.05, spread(0.05, 0.1))])
    assert found.clusters_needed == 1570
    # in a family of two the first test is at 0.05 / 4 on each side: z = 2.241403 + 0.841621
    found, _ = compare([paired(0.05, spread(0.05, 0.1)), paired(0.0, spread(0.0, 0.1))])
    assert found.clusters_needed == int(np.ceil(50 * ((norm.ppf(0.9875) + norm.ppf(0.8)) * 2) ** 2)) == 1902
    assert compare([paired(0.0, spread(0, 1))])[0].clusters_needed is None
    assert compare([paired(0.5, np.full(99, 0.5))])[0].clusters_needed is None


def test_direction_and_equal_entries():
    (higher,) = compare([paired(0.3, spread(0.3, 0.01))])
    (lower,) = compare([paired(0.3, spread(0.3, 0.01), higher=False)])
    assert (higher.verdict, lower.verdict) == (Verdict.BETTER, Verdict.WORSE)
    (same,) = compare([paired(0.0, np.zeros(500))])
    assert same.p == 1.0 and same.verdict is Verdict.OPEN
    assert compare([]) == []


def test_rounding_separates_nothing():
    """The same circuits in two batches: areas 3e-7 apart in every replicate, as measured on a toy."""
    base = spread(0.335, 0.02)
    (found,) = compare([Paired(0.3353842, 0.3353839, base + 3e-7, base, 24)])
    assert (found.difference, found.p, found.verdict, found.clusters_needed) == (0, 1, Verdict.OPEN, None)
    (real,) = compare([Paired(0.336, 0.335, base + 1e-3, base, 24)])
    assert real.verdict is Verdict.BETTER and real.difference == pytest.approx(0.001)


def test_too_few_draws_and_clusters_are_flagged():
    family = compare([paired(0.5, spread(0.5, 0.01, n=99), n=19)] * 4)
    assert all(found.flags == ("few-clusters", "too-few-draws") for found in family)  # 4 * 2 / 100 > 0.05
    assert all(found.verdict is Verdict.OPEN for found in family)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.1, 50))
def test_exchange_scale_and_family(seed, n, scale):
    rng = np.random.default_rng(seed)
    family = [Paired(*rng.normal(size=2), *rng.normal(0.3, 1, (2, 199)), 40) for _ in range(n)]
    turned = [Paired(f.b, f.a, f.b_replicates, f.a_replicates, 40) for f in family]
    scaled = [Paired(scale * f.a, scale * f.b, scale * f.a_replicates, scale * f.b_replicates, 40) for f in family]
    opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER, Verdict.OPEN: Verdict.OPEN}
    for one, back, large in zip(*map(compare, (family, turned, scaled)), strict=True):
        assert one.p == back.p == large.p and 0 < one.p <= one.p_holm <= 1
        assert back.verdict is opposite[one.verdict] and large.verdict is one.verdict
        assert one.clusters_needed == back.clusters_needed
    # what is separated in a family is separated alone
    for one, pair in zip(compare(family), family, strict=True):
        assert one.verdict in (Verdict.OPEN, compare([pair])[0].verdict)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(-1, 1))
def test_p_is_the_level_at_which_the_interval_touches_zero(seed, shift):
    """Independent: scan all levels of the percentile interval."""
    replicates = np.random.default_rng(seed).normal(shift, 1, 199)
    p = bootstrap_p(replicates)
    ordered = np.sort(replicates)
    # the interval from the k-th smallest to the k-th largest leaves zero out for every k up to p (B + 1) / 2 - 1
    k = round(p * 200 / 2) - 1
    assert p == 1 or all(not ordered[i] <= 0 <= ordered[-1 - i] for i in range(k, 100))
    assert k == 0 or p == 1 or ordered[k - 1] <= 0 <= ordered[-k]


def test_false_positive_rate_of_a_family():
    """Four true nulls with normal spread: a family has any verdict in at most 5% of the runs, up to three errors."""
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(300):
        points = rng.normal(0, 1, 4)
        family = [paired(d, d + rng.normal(0, 1, 999)) for d in points]
        wrong += any(found.verdict is not Verdict.OPEN for found in compare(family))
    assert wrong / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
