"""Overlap of circuits and rankings, transfer, specificity, tiers, random circuits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from arithloc.benchmark.api.components import ComponentSpace, ModelShape
from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.random_circuits import random_path, same_blocks, same_size
from arithloc.benchmark.metrics.size import circuit_size, prune
from arithloc.benchmark.metrics.stability import (
    average_overlap,
    expected_jaccard,
    jaccard,
    jaccard_above_chance,
    overlap_above_chance,
    overlap_at,
    rank_biased_overlap,
    seed_spread,
    spearman,
)
from arithloc.benchmark.metrics.tiers import passes_gate, tier_mean
from arithloc.benchmark.metrics.transfer import (
    ablation_sensitivity,
    adjusted_specificity,
    relative_transfer,
    specificity,
)


def first(n, total=100, start=0):
    return (np.arange(total) >= start) & (np.arange(total) < start + n)


def test_ex_25_jaccard_above_chance():
    a, b = first(10), first(10, start=4)  # 6 shared, 14 in all
    assert jaccard(a, b) == pytest.approx(6 / 14, abs=1e-12)
    assert expected_jaccard(100, 10) == pytest.approx(0.0551188, abs=1e-6)
    assert jaccard_above_chance(a, b) == pytest.approx(0.3952377, abs=1e-6)


def test_ex_26_expected_jaccard_by_hand():
    # of 4 take 2: both shared in 1 of 6 (J 1), one in 4 of 6 (J 1/3), none in 1 of 6
    assert expected_jaccard(4, 2) == pytest.approx(1 / 6 + 4 / 6 / 3, abs=1e-12)


def test_expected_jaccard_by_simulation():
    rng = np.random.default_rng(0)
    drawn = [jaccard(first(7, 20)[rng.permutation(20)], first(7, 20)) for _ in range(4000)]
    assert expected_jaccard(20, 7) == pytest.approx(np.mean(drawn), abs=0.01)
    assert expected_jaccard(20, 0) == 1 and jaccard(first(0), first(0)) == 1


def test_circuits_of_different_size_have_no_common_chance():
    with pytest.raises(MetricError, match="same number of components"):
        jaccard_above_chance(first(3), first(4))
    assert jaccard_above_chance(first(5), first(5)) == 1


def test_ex_27_overlap_of_lists():
    a, b = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 4])  # a b c d and b a d e
    # |A_i and B_i| / i: 0, 1, 2/3, 3/4
    assert average_overlap(a, b, 4) == pytest.approx((0 + 1 + 2 / 3 + 3 / 4) / 4, abs=1e-12)
    assert average_overlap(a, b, 4) == pytest.approx(0.6041667, abs=1e-6)
    weights = [1, 0.9, 0.81, 0.729]
    expected = (0.9 + 0.81 * 2 / 3 + 0.729 * 3 / 4) / sum(weights)
    assert rank_biased_overlap(a, b, 4) == pytest.approx(expected, abs=1e-12)
    assert rank_biased_overlap(a, b, 4) == pytest.approx(0.5777115, abs=1e-6)


def test_ex_28_chance_overlap():
    assert 400 / 4096 == pytest.approx(0.0976563, abs=1e-6)
    assert overlap_above_chance(400 / 4096, 400, 4096) == pytest.approx(0)
    assert overlap_above_chance(1.0, 400, 4096) == 1
    assert overlap_at(np.array([3, 1, 2, 0]), np.array([1, 3, 0, 2]), 2) == 1
    assert overlap_at(np.array([3, 1, 2, 0]), np.array([1, 2, 0, 3]), 2) == 0.5


@settings(deadline=None)
@given(st.permutations(range(8)), st.permutations(range(8)), st.integers(1, 8))
def test_overlaps_are_bounded_symmetric_and_one_for_equal_lists(a, b, depth):
    a, b = np.array(a), np.array(b)
    for measure in (average_overlap, rank_biased_overlap, overlap_at):
        assert 0 <= measure(a, b, depth) <= 1
        assert measure(a, b, depth) == measure(b, a, depth)
        assert measure(a, a, depth) == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=15))
def test_spearman_is_pearson_of_average_ranks(rows):
    a, b = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert spearman(a, b) is None
    else:
        assert spearman(a, b) == pytest.approx(np.corrcoef(rankdata(a), rankdata(b))[0, 1], abs=1e-12)


def test_spread_over_seeds():
    # mean 2, deviations -1, 0, 1: sqrt(2 / 2)
    assert seed_spread(np.array([1.0, 2, 3])) == pytest.approx(1)
    assert seed_spread(np.array([1.0, 2])) is None


# ---- transfer and specificity -----------------------------------------------------------------------------------------


def test_ex_29_specificity():
    own, control = np.array(0.90), np.array(0.30)
    assert specificity(own, control) == pytest.approx(0.60)
    # (.90 - .10) - (.30 - .12)
    found = adjusted_specificity(own, control, np.array([0.05, 0.15]), np.array([0.10, 0.14]))
    assert found == pytest.approx(0.62)


def test_ex_30_relative_transfer():
    f = np.array([[0.9, 0.6, 0.1], [0.45, 0.8, 0.1], [0.3, 0.2, -0.1]])
    found = relative_transfer(f)
    assert found[0, 1] == pytest.approx(0.75)  # .6 / .8
    assert found[1, 0] == pytest.approx(0.5) and found[0, 0] == 1
    assert np.isnan(found[:, 2]).all()


def test_random_circuits_have_no_specificity():
    rng = np.random.default_rng(1)
    own, control = rng.normal(0.4, 0.05, (2, 300))
    assert specificity(own, control).mean() == pytest.approx(0, abs=0.02)


def test_ablation_sensitivity():
    found = ablation_sensitivity(np.array([0.7, 0.4, 0.9]))
    assert (found.worst, found.spread) == (0.4, pytest.approx(0.5))
    with pytest.raises(MetricError, match="at least two ablations"):
        ablation_sensitivity(np.array([0.7]))


# ---- tiers ------------------------------------------------------------------------------------------------------------


def test_tier_mean_resamples_circuits():
    values = np.array([1.0, 0.9, 0.8, 0.5, 0.95])
    found = tier_mean("auroc", values, seed=0, n_draws=20_000)
    assert found.value == pytest.approx(0.83)
    # standard error of a mean of five drawn with replacement
    assert found.se == pytest.approx(values.std() / 5**0.5, rel=0.02)
    assert found.low < 0.72 and found.high > 0.9 and found.flags == ()
    assert tier_mean("auroc", values[:3], seed=0).flags == ("too-few-circuits",)
    single = tier_mean("auroc", values[:1], seed=0)
    assert single.value == 1 and single.low is None
    with pytest.raises(MetricError, match="at least one circuit"):
        tier_mean("auroc", np.array([]), seed=0)


def test_gate():
    assert passes_gate(np.array([1.0, 0.98])) and not passes_gate(np.array([1.0, 0.97]))


# ---- random circuits --------------------------------------------------------------------------------------------------

SHAPE = ModelShape(4, 6, 3, d_model=8, d_head=4, d_mlp=12, vocab=10)


@pytest.mark.parametrize("granularity", [Granularity.NODE, Granularity.EDGE, Granularity.NEURON])
def test_random_circuits_match_a_realised_size(granularity):
    space = ComponentSpace(granularity, SHAPE)
    found = same_size(space, 0.3, 10, seed=0)
    np.testing.assert_allclose(circuit_size(space, found.kept), found.sizes, rtol=1e-12)
    assert (prune(space, found.kept) == found.kept).all()
    assert (np.abs(found.sizes - 0.3) < 0.06).all()
    assert len({kept.tobytes() for kept in found.kept}) == 10


def test_random_circuits_of_a_small_model_are_no_smaller_on_average():
    """Ten nodes: one more or less changes the size by a third, so the sizes lie on both sides."""
    space = ComponentSpace(Granularity.NODE, ModelShape(2, 4, 4, d_model=8, d_head=2, d_mlp=3, vocab=5))
    for size in (0.12, 0.3, 0.42):
        found = same_size(space, size, 200, seed=1)
        assert found.sizes.mean() == pytest.approx(size, abs=0.02) and found.sizes.min() < size < found.sizes.max()
        rng = np.random.default_rng(1)
        for own in found.sizes[:20]:
            order = rng.permutation(10)
            sizes = [float(circuit_size(space, np.isin(np.arange(10), order[:n]))) for n in range(11)]
            assert abs(own - size) == pytest.approx(min(abs(one - size) for one in sizes), abs=1e-12)


def test_random_circuits_can_be_kept_out_of_a_circuit():
    space = ComponentSpace(Granularity.NODE, SHAPE)
    allowed = np.arange(len(space)) % 2 == 0
    found = same_size(space, 0.1, 5, seed=0, allowed=allowed)
    assert not found.kept[:, ~allowed].any() and found.kept.any(axis=1).all()
    with pytest.raises(MetricError, match=r"make a circuit of size 0\.9"):
        same_size(space, 0.9, 5, seed=0, allowed=allowed)


def test_random_circuits_of_the_same_make_up():
    space = ComponentSpace(Granularity.NODE, SHAPE)
    kept = np.random.default_rng(2).random(len(space)) < 0.4
    grid = kept.reshape(4, 7)
    drawn = same_blocks(space, kept, 50, seed=0).reshape(50, 4, 7)
    assert (drawn[:, :, :6].sum(axis=2) == grid[:, :6].sum(axis=1)).all()
    assert (drawn[:, :, 6] == grid[:, 6]).all()
    assert np.abs(drawn[:, 0, :6].mean(axis=0) - grid[0, :6].mean()).max() < 0.25
    with pytest.raises(MetricError, match="found edge"):
        same_blocks(ComponentSpace(Granularity.EDGE, SHAPE), np.zeros(10, dtype=bool), 1, seed=0)


@pytest.mark.parametrize("parallel", [False, True])
def test_random_paths_are_paths(parallel):
    shape = ModelShape(3, 4, 2, d_model=8, d_head=4, d_mlp=12, vocab=10, parallel=parallel)
    edges, nodes = ComponentSpace(Granularity.EDGE, shape), ComponentSpace(Granularity.NODE, shape)
    rng = np.random.default_rng(3)
    for _ in range(40):
        path = random_path(edges, rng)
        named = [name for name, kept in zip(edges.names, path, strict=True) if kept]
        assert sum(name.endswith("->logits") for name in named) == 1
        assert sum(name.startswith("input->") for name in named) == 1
        # all edges of a path survive pruning, and without any one of them none does
        assert (prune(edges, path) == path).all()
        for edge in np.flatnonzero(path):
            cut = path.copy()
            cut[edge] = False
            assert not prune(edges, cut).any()
        assert random_path(nodes, rng).sum() <= 2 * 3  # a head and the MLP of each of three blocks
    seen = np.any([random_path(edges, rng) for _ in range(2000)], axis=0)
    assert seen.mean() > 0.95
    with pytest.raises(MetricError, match="without position classes"):
        random_path(ComponentSpace(Granularity.NODE, shape, ("a", "b")), rng)
