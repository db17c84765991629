"""Rank intervals: worked example, a slow implementation, joint coverage by simulation, invariances."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from arithloc.benchmark.metrics.ranking import kendall_tau_b, pairs_to_separate, rank, split_half

A = (0.80, 0.82, 0.78, 0.81, 0.79)
B = (0.79, 0.80, 0.79, 0.79, 0.78)
C = (0.50, 0.55, 0.48, 0.52, 0.45)


def slow_rank(values, replicates):
    n = len(values)
    pairs = list(itertools.combinations(range(n), 2))
    gap = {(i, j): values[i] - values[j] for i, j in pairs}
    rows = {(i, j): [a - b for a, b in zip(replicates[i], replicates[j], strict=True)] for i, j in pairs}
    se = {p: float(np.std(rows[p], ddof=1)) for p in pairs}
    t = [max((abs(rows[p][b] - gap[p]) / se[p] for p in pairs if se[p]), default=0) for b in range(len(replicates[0]))]
    c = float(np.quantile(t, 0.95))
    beats = {(i, j) for i, j in pairs if gap[i, j] > c * se[i, j]} | {
        (j, i) for i, j in pairs if -gap[i, j] > c * se[i, j]
    }
    low = [1 + sum((j, i) in beats for j in range(n)) for i in range(n)]
    high = [n - sum((i, j) in beats for j in range(n)) for i in range(n)]
    return low, high, c


def test_ex_23():
    found = rank(np.array([0.80, 0.79, 0.50]), np.array([A, B, C]))
    # se of A-B, A-C, B-C: .0122474, .0254951, .0316228; T (0, 1.2649, 1.6330, .8165, 1.5689)
    # 95% of the five T: 1.5689291 + 0.8 * (1.6329932 - 1.5689291)
    assert found.critical == pytest.approx(1.6201803, abs=1e-6)
    # A-B: .01 / .0122474 = .816 < c; A-C: 11.8 and B-C: 9.2 > c
    assert list(zip(found.low.tolist(), found.high.tolist(), strict=True)) == [(1, 2), (1, 2), (3, 3)]
    assert found.beats.tolist() == [[False, False, True], [False, False, True], [False, False, False]]
    assert found.tied.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert found.order.tolist() == [0, 1, 2]


def test_ex_24():
    assert kendall_tau_b(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(2 / 3, abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(2, 30), st.integers(0, 1000))
def test_equals_a_slow_implementation(n, draws, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n)
    replicates = values[:, None] + rng.normal(0, 0.5, (n, draws)) + rng.normal(0, 0.3, draws)
    low, high, c = slow_rank(values, replicates)
    found = rank(values, replicates)
    assert (found.low.tolist(), found.high.tolist()) == (low, high)
    assert found.critical == pytest.approx(c, abs=1e-9)


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(0, 1000), st.randoms())
def test_permuting_entries_permutes_ranks_and_direction_mirrors_them(n, seed, random):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n)
    replicates = values[:, None] + rng.normal(0, 0.2, (n, 40))
    order = list(range(n))
    random.shuffle(order)
    found, moved = rank(values, replicates), rank(values[order], replicates[order])
    assert moved.low.tolist() == found.low[order].tolist() and moved.high.tolist() == found.high[order].tolist()
    worst_first = rank(-values, -replicates, higher_is_better=False)
    assert worst_first.low.tolist() == found.low.tolist() and worst_first.order.tolist() == found.order.tolist()


def test_exact_ties_share_their_ranks_and_equal_replicates_separate_by_value():
    replicates = np.array([A, A, B])
    found = rank(np.array([0.80, 0.80, 0.79]), replicates)
    assert found.low[0] == found.low[1] and found.tied[0, 1] and not found.beats[0, 1]
    # the same noise shifted by a constant: the difference has no spread
    shifted = rank(np.array([0.80, 0.70]), np.array([A, np.array(A) - 0.1]))
    assert shifted.beats[0, 1] and shifted.low.tolist() == shifted.high.tolist() == [1, 2]


def test_rounding_separates_no_ranks():
    """Three entries with the same circuits, one of them always 3e-7 ahead, and a worse one."""
    base = np.random.default_rng(4).normal(0.335, 0.02, 500)
    noise = np.random.default_rng(5).normal(0, 1e-8, (3, 500)) + np.array([[3e-7], [0], [0]])
    replicates = np.vstack([base + noise, base - 0.2])
    found = rank(np.array([0.3353842, 0.3353839, 0.3353839, 0.135]), replicates)
    assert found.low.tolist() == [1, 1, 1, 4] and found.high.tolist() == [3, 3, 3, 4]


def test_one_entry_has_rank_one():
    found = rank(np.array([0.3]), np.array([A]))
    assert (found.low.tolist(), found.high.tolist(), found.critical) == ([1], [1], 0)


@pytest.mark.parametrize("draws", [0, 1])
def test_without_replicates_nothing_is_separated(draws):
    found = rank(np.array([0.9, 0.1]), np.array([[0.9], [0.1]])[:, :draws])
    assert (found.low.tolist(), found.high.tolist()) == ([1, 1], [2, 2]) and found.tied.all()
    assert found.order.tolist() == [0, 1]


def test_a_worse_entry_never_improves_anyones_bound_beyond_the_joint_correction():
    rng = np.random.default_rng(1)
    values = np.array([0.9, 0.8, 0.5])
    replicates = values[:, None] + rng.normal(0, 0.05, (3, 400))
    few = rank(values, replicates)
    more = rank(np.append(values, 0.1), np.vstack([replicates, 0.1 + rng.normal(0, 0.05, 400)]))
    assert (more.low[:3] <= few.low).all() and (more.high[:3] >= few.high).all()


def test_joint_coverage_with_ties():
    """Ten methods, three of them exactly equal: all true ranks lie in all intervals in at least 95% of 200 boards."""
    truth = np.array([0.9, 0.85, 0.8, 0.8, 0.8, 0.6, 0.55, 0.5, 0.3, 0.1])
    best = np.array([1 + (truth > t).sum() for t in truth])
    worst = np.array([(truth >= t).sum() for t in truth])
    joint = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        pairs = truth[:, None] + rng.normal(0, 0.3, 60) + rng.normal(0, 0.3, (10, 60))
        weights = rng.multinomial(60, np.full(60, 1 / 60), size=300) / 60
        found = rank(pairs.mean(axis=1), pairs @ weights.T)
        # every entry's interval must reach into the ranks that its equals share
        joint += bool(((found.low <= worst) & (found.high >= best)).all() and not found.beats[2:5, 2:5].any())
    assert joint >= 184  # 0.95 * 200 less two standard deviations


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_tau_b_agrees_with_scipy(rows):
    a, b = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(kendall_tau_b(a, b))
    else:
        assert kendall_tau_b(a, b) == pytest.approx(kendalltau(a, b).statistic, abs=1e-12)


def test_split_half_of_clear_and_of_equal_methods():
    rng = np.random.default_rng(2)
    clear = np.array([[0.0], [1.0], [2.0]]) + rng.normal(0, 0.1, (3, 40))
    found = split_half(lambda half: clear[:, half].mean(axis=1), 40, seed=0)
    assert (found.tau, found.same_first, found.n_splits) == (1, 1, 100)
    noise = rng.normal(size=(5, 40))
    found = split_half(lambda half: noise[:, half].mean(axis=1), 40, seed=0)
    assert found.tau < 0.3 and found.same_first < 0.6
    sizes = []
    split_half(lambda half: sizes.append(int(half.sum())) or np.arange(2.0), 7, seed=0, n_splits=5)
    assert sizes == [3, 4] * 5


def test_pairs_to_separate():
    # 0.02 is 1 standard deviation at 100 pairs; 1.96 need 1.96^2 = 3.8416 times as many
    assert pairs_to_separate(0.02, 0.02, 100) == 385
    assert pairs_to_separate(-0.04, 0.02, 100) == 97
    assert pairs_to_separate(0.0, 0.02, 100) is None


def test_a_large_board_is_ranked_quickly():
    rng = np.random.default_rng(3)
    values = rng.random(300)
    replicates = values[:, None] + rng.normal(0, 0.05, (300, 2000))
    start = time.process_time()
    rank(values, replicates)
    assert time.process_time() - start < 3
