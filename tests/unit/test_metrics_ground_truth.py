"""AUROC, average precision, precision and recall: worked examples, scikit-learn, pairs counted one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.ground_truth import (
    ap_above_chance,
    auroc,
    auroc_mib,
    average_precision,
    top_share,
)

EX_14 = np.array([0.9, 0.7, 0.7, 0.4, 0.1, 0.05]), np.array([1, 1, 0, 0, 1, 0], dtype=bool)
TIED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=25)


def split(rows):
    scores = np.array([float(s) for s, _ in rows])
    positive = np.array([p for _, p in rows])
    assume(positive.any() and not positive.all())
    return scores, positive


def test_ex_14():
    scores, positive = EX_14
    # positives .9, .7, .1 against .7, .4, .05: 3 + (.5 + 2) + 1 = 6.5 of 9
    assert auroc(scores, positive) == pytest.approx(6.5 / 9, abs=1e-12)
    assert auroc(scores, positive) == pytest.approx(0.7222222, abs=1e-6)
    # (P, R) = (1, 1/3), (2/3, 2/3), (1/2, 2/3), (3/5, 1), (1/2, 1): 1/3 + 2/9 + 0 + 1/5
    assert average_precision(scores, positive) == pytest.approx(1 / 3 + 2 / 9 + 1 / 5, abs=1e-12)
    assert average_precision(scores, positive) == pytest.approx(0.7555556, abs=1e-6)
    # top three: .9 and both .7, one of which is positive
    assert top_share(scores, positive, 3) == pytest.approx(2 / 3, abs=1e-12)


def test_ex_15_anchors_and_thresholds_are_part_of_the_metric():
    scores, positive = np.arange(10.0)[::-1], np.arange(10) < 2
    assert auroc(scores, positive) == 1
    # cuts after 5 and 10 components: (FPR, TPR) = (3/8, 1), (1, 1); without (0, 0): 5/8, with it 5/8 + 3/16
    kept = np.array([np.arange(10) < 5, np.ones(10, dtype=bool)])
    assert auroc_mib(kept, positive) == pytest.approx(0.625, abs=1e-12)
    anchored = np.vstack([np.zeros(10, dtype=bool), kept])
    assert auroc_mib(anchored, positive) == pytest.approx(0.8125, abs=1e-12)


def test_ex_t1():
    scores, positive = np.array([5.0, 3, 3, 3, 1, 0]), np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    assert auroc(scores, positive) == pytest.approx(8 / 9, abs=1e-12)
    # thresholds 5 and 3: 1/3 * 1 + 2/3 * 3/4
    assert average_precision(scores, positive) == pytest.approx(0.8333333, abs=1e-6)


def test_ex_t3_equal_scores_are_chance():
    positive = np.array([1, 0, 0, 1, 0], dtype=bool)
    assert auroc(np.ones(5), positive) == 0.5
    assert average_precision(np.ones(5), positive) == pytest.approx(0.4)
    assert ap_above_chance(average_precision(np.ones(5), positive), positive) == pytest.approx(0)
    assert top_share(np.ones(5), positive, 2) == pytest.approx(0.4)


def test_mib_rescales_by_its_last_false_positive_rate():
    # TPR 1/2, 1; FPR 1/4, 1/2 -> x 1/2, 1: trapezoid (1 - 1/2) * (1/2 + 1) / 2
    positive = np.array([1, 1, 0, 0, 0, 0], dtype=bool)
    kept = np.array([[1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]], dtype=bool)
    assert auroc_mib(kept, positive) == pytest.approx(0.375)
    with pytest.raises(MetricError, match="last budget"):
        auroc_mib(kept[:, [0, 1, 4, 5]], positive[[0, 1, 4, 5]])


@settings(deadline=None)
@given(TIED)
def test_agrees_with_scikit_learn_and_with_counting_pairs(rows):
    scores, positive = split(rows)
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert average_precision(scores, positive) == pytest.approx(average_precision_score(positive, scores), abs=1e-12)
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert auroc(scores, positive) == pytest.approx(np.mean(pairs), abs=1e-12)


@settings(deadline=None)
@given(TIED, st.randoms())
def test_invariant_to_increasing_maps_and_to_the_order_of_components(rows, random):
    scores, positive = split(rows)
    order = list(range(len(scores)))
    random.shuffle(order)
    moved, kept = np.exp(2 * scores)[order] + 3, positive[order]
    assert auroc(moved, kept) == pytest.approx(auroc(scores, positive), abs=1e-12)
    assert average_precision(moved, kept) == pytest.approx(average_precision(scores, positive), abs=1e-12)
    assert auroc(-scores, positive) == pytest.approx(1 - auroc(scores, positive), abs=1e-12)
    assert auroc(positive * 1.0, positive) == average_precision(positive * 1.0, positive) == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=6), st.integers(1, 6))
def test_expected_share_of_the_top_equals_averaging_over_all_tie_orders(rows, k):
    scores, positive = split(rows)
    k = min(k, len(scores))
    shares = []
    for order in itertools.permutations(range(len(scores))):
        top = sorted(order, key=lambda i: -scores[i])[:k]  # a stable sort keeps the order inside ties
        shares.append(positive[top].sum() / positive.sum())
    assert top_share(scores, positive, k) == pytest.approx(np.mean(shares), abs=1e-9)


def test_one_class_is_refused():
    for positive in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool)):
        for metric in (auroc, average_precision):
            with pytest.raises(MetricError, match="inside and outside the circuit"):
                metric(np.arange(3.0), positive)
    with pytest.raises(MetricError, match="1 <= k <= 3"):
        top_share(np.arange(3.0), np.ones(3, dtype=bool), 4)
