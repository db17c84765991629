"""Paired cluster bootstrap: full enumeration by hand, loops over resampled pairs, coverage by simulation."""

import itertools

import numpy as np
import pytest

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.bootstrap import (
    Resamples,
    bad_share,
    interval,
    lower_bound,
    quantile_with_infinity,
    ratios,
    resamples,
    upper_bound,
)

HASH = "ab" * 32
FULL, EMPTY = np.array([4.0, 6, 2]), np.array([-1.0, -2, -1])
CIRCUIT, OTHER = np.array([3.0, 4, 2]), np.array([2.0, 4, 2])


def ratio_replicates(draws, circuit, full, empty):
    return ratios(*(draws.means(values) for values in (circuit, full, empty)))


def all_draws():
    """All 27 ordered draws of three clusters from three."""
    weights = [np.bincount(draw, minlength=3) for draw in itertools.product(range(3), repeat=3)]
    return Resamples(np.arange(3), np.array(weights, dtype=np.float64))


def test_ex_21_enumeration():
    f = ratio_replicates(all_draws(), CIRCUIT, FULL, EMPTY)
    # f = (9 + 4) / (12 + 4); of one cluster alone 4/5, 6/8, 3/3
    assert (CIRCUIT.sum() - EMPTY.sum()) / (FULL.sum() - EMPTY.sum()) == 0.8125
    assert f.mean() == pytest.approx(0.8240604, abs=1e-6)
    assert f.std() == pytest.approx(0.0563927, abs=1e-6)  # over all draws; a sample of draws divides by n - 1
    found = interval(f)
    assert (found.low, found.high) == (pytest.approx(0.7577381, abs=1e-6), pytest.approx(0.9409091, abs=1e-6))
    assert found.se == pytest.approx(0.0563927 * (27 / 26) ** 0.5, abs=1e-6)
    assert (f.min(), f.max()) == (pytest.approx(0.75), pytest.approx(1.0))


def test_ex_22_paired_difference():
    first = ratio_replicates(all_draws(), CIRCUIT, FULL, EMPTY)
    second = ratio_replicates(all_draws(), OTHER, FULL, EMPTY)
    difference = first - second
    assert difference.mean() == pytest.approx(0.0661280, abs=1e-6)
    found = interval(difference)
    assert (found.low, found.high) == (pytest.approx(0, abs=1e-9), pytest.approx(0.17, abs=1e-6))
    assert (difference <= 1e-12).mean() == pytest.approx(8 / 27)


def test_sums_and_means_equal_resampling_the_pairs_one_by_one():
    rng = np.random.default_rng(0)
    names = ["b", "a", "b", "c", "a", "b", "d"]
    values = rng.normal(size=(2, 3, 7))
    draws = resamples(names, HASH, 40)
    for b in range(40):
        pairs = []
        for cluster, times in zip("abcd", draws.weights[b], strict=True):
            pairs += [i for i, name in enumerate(names) if name == cluster] * int(times)
        np.testing.assert_allclose(draws.sums(values)[b], values[..., pairs].sum(axis=-1), atol=1e-12)
        np.testing.assert_allclose(draws.means(values)[b], values[..., pairs].mean(axis=-1), atol=1e-12)


def test_weights_are_multinomial_over_clusters():
    names = [f"c{i % 30}" for i in range(90)]
    weights = resamples(names, HASH, 4000).weights
    assert (weights.sum(axis=1) == 30).all()
    # Binomial(30, 1/30): mean 1, variance 29/30, covariance -1/30
    assert np.abs(weights.mean(axis=0) - 1).max() < 0.08
    assert weights.var(axis=0).mean() == pytest.approx(29 / 30, rel=0.03)
    covariance = np.cov(weights.T)
    assert covariance[~np.eye(30, dtype=bool)].mean() == pytest.approx(-1 / 30, rel=0.05)


def test_the_data_alone_decide_the_draws():
    names = [f"c{i}" for i in range(12)]
    first = resamples(names, HASH, 50)
    assert (first.weights == resamples(names, HASH, 50).weights).all()
    assert (first.weights != resamples(names, "cd" * 32, 50).weights).any()
    assert (first.weights == resamples(names, HASH, 80).weights[:50]).all()
    # another order of the pairs gives the same replicates
    values, order = np.arange(12.0), np.random.default_rng(1).permutation(12)
    shuffled = resamples([names[i] for i in order], HASH, 50)
    np.testing.assert_allclose(shuffled.means(values[order]), first.means(values), rtol=1e-12)


def test_bounds_are_one_sided():
    replicates = np.arange(101.0)
    assert (lower_bound(replicates), upper_bound(replicates)) == (5, 95)
    assert (interval(replicates).low, interval(replicates).high) == (2.5, 97.5)


def test_denominators_that_are_not_positive_are_counted_and_stay_finite():
    draws = Resamples(np.arange(2), np.array([[1.0, 1], [2, 0], [0, 2], [1, 1]]))
    full, empty = np.array([3.0, -1.0]), np.zeros(2)  # effects 2, 6, -2, 2
    assert bad_share(draws.means(full), draws.means(empty)) == 0.25
    draws = Resamples(np.arange(2), np.array([[1.0, 1], [0, 2]]))
    f = ratio_replicates(draws, np.array([1.0, 1.0]), np.array([2.0, 0.0]), empty)
    assert np.isfinite(f).all() and abs(f[1]) > 1e3 and f[0] == pytest.approx(1)


def test_quantiles_with_infinity():
    values = np.array([3.0, np.inf, 1.0, 2.0])
    assert quantile_with_infinity(values, 0.5) == 2.5
    assert quantile_with_infinity(values, 2 / 3) == 3
    assert quantile_with_infinity(values, 0.9) == np.inf
    finite = np.random.default_rng(2).random(101)
    for q in (0.025, 0.5, 0.975):
        assert quantile_with_infinity(finite, q) == pytest.approx(np.quantile(finite, q), abs=1e-12)


@pytest.mark.parametrize(("names", "draws"), [([], 100), (["a"], 1)])
def test_nothing_to_resample_is_refused(names, draws):
    with pytest.raises(MetricError, match="at least 2 draws"):
        resamples(names, HASH, draws)


def test_intervals_of_f_cover_the_truth_in_clustered_data():
    """200 samples of 60 clusters of 1-4 pairs with f = 0.7: at 95%, 200 runs give 181-198 hits but for 1 in 1000."""
    hits = 0
    for run in range(200):
        rng = np.random.default_rng(run)
        size = rng.integers(1, 5, 60)
        names = np.repeat(np.arange(60), size)
        ability = rng.normal(4, 1.5, 60)[names]
        empty = rng.normal(-1, 0.5, len(names))
        full = empty + ability + rng.normal(0, 1, len(names))
        circuit = empty + 0.7 * ability + rng.normal(0, 0.5, 60)[names] + rng.normal(0, 1, len(names))
        draws = resamples([str(n) for n in names], f"{run + 1:064x}", 300)
        found = interval(ratio_replicates(draws, circuit, full, empty))
        hits += found.low <= 0.7 <= found.high
    assert 181 <= hits <= 198
