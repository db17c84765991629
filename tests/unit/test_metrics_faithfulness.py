"""Faithfulness, completeness and their variants: hand-worked pairs, plain loops, invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from arithloc.benchmark.api.errors import NoEffect
from arithloc.benchmark.metrics.faithfulness import (
    bounded,
    completeness,
    faithfulness,
    incompleteness,
    knock_outs,
    mean_of_ratios,
    pair_recovery,
)

FULL, EMPTY = np.array([4.0, 2, 3, 3]), np.array([-2.0, -1, 0, -1])
CIRCUIT, REMOVED = np.array([3.0, 3, 0, 2]), np.array([0.0, 0, 1, 0])
VALUES = hnp.arrays(np.float64, 6, elements=st.floats(-50, 50, width=32))


def test_ex_1_faithfulness_and_completeness():
    # means 3, -1, 2, 0.25: f = (2 + 1) / (3 + 1); c = 1 - (0.25 + 1) / 4
    assert faithfulness(CIRCUIT, FULL, EMPTY) == pytest.approx(0.75, abs=1e-12)
    assert completeness(REMOVED, FULL, EMPTY) == pytest.approx(0.6875, abs=1e-12)


def test_ex_1_mean_of_ratios():
    # 5/6, 4/3, 0/3, 3/4; their mean is 35/48
    found = mean_of_ratios(CIRCUIT, FULL, EMPTY)
    assert found.value == pytest.approx((5 / 6 + 4 / 3 + 0 + 3 / 4) / 4, abs=1e-12)
    assert found.value == pytest.approx(0.7291667, abs=1e-6)
    assert found.n_dropped == 0


def test_ex_1_pair_recovery():
    # |3-4|/6, |3-2|/3, |0-3|/3, |2-3|/4 -> 5/6, 2/3, 0, 3/4
    b = pair_recovery(CIRCUIT, FULL, EMPTY)
    np.testing.assert_allclose(b, [5 / 6, 2 / 3, 0, 3 / 4], atol=1e-12)
    assert b.mean() == pytest.approx(0.5625, abs=1e-12)


def test_ex_2_bounded():
    np.testing.assert_allclose(bounded(np.array([0, 0.5, 1, 1.2, 2, 3, -0.5])), [0, 0.5, 1, 0.8, 0, 0, 0], atol=1e-12)


def test_ex_12_kl_recovery_is_a_ratio_of_means():
    # f with m = KL(M, X), lower is better: 1 - 0.15 / 1.1; the mean of ratios would be 1 - (0.5 + 0.1) / 2 = 0.7
    found = faithfulness(-np.array([0.1, 0.2]), np.zeros(2), -np.array([0.2, 2.0]))
    assert found == pytest.approx(0.8636364, abs=1e-6)
    assert found == pytest.approx(1 - 0.15 / 1.1, abs=1e-12)


def test_no_effect_is_an_error_and_never_zero():
    with pytest.raises(NoEffect, match="found a mean difference of -4"):
        faithfulness(CIRCUIT, EMPTY, FULL)
    with pytest.raises(NoEffect):
        faithfulness(CIRCUIT, FULL, FULL)


def test_accuracies_give_f_acc():
    # acc(M) = 1, acc(0) = 0.25, acc(C) = 0.75: (0.75 - 0.25) / 0.75
    f = faithfulness(np.array([1.0, 1, 1, 0]), np.ones(4), np.array([0.0, 0, 0, 1]))
    assert f == pytest.approx(2 / 3, abs=1e-12)


def test_pairs_without_effect_are_dropped_from_the_mean_of_ratios_and_counted():
    # effects 10, 0.5, 0: mean 3.5, threshold 0.35, so only the last is dropped; then 0.2: dropped too
    found = mean_of_ratios(np.array([5.0, 0.5, 7.0]), np.array([10.0, 0.5, 0.0]), np.zeros(3))
    assert (found.value, found.n_dropped) == (pytest.approx((0.5 + 1) / 2), 1)
    found = mean_of_ratios(np.array([5.0, 0.5, 7.0]), np.array([10.0, 0.2, 0.0]), np.zeros(3))
    assert (found.value, found.n_dropped) == (pytest.approx(0.5), 2)
    with pytest.raises(NoEffect, match="found none of 2"):
        mean_of_ratios(np.zeros(2), np.ones(2), np.ones(2))


def test_pair_recovery_where_the_model_has_no_effect():
    assert pair_recovery(np.array([1.0, 2.0]), np.ones(2), np.ones(2)).tolist() == [1, 0]


def test_incompleteness():
    np.testing.assert_allclose(incompleteness(np.array([0.2, 0.9]), np.array([0.5, 0.4])), [0.3, 0.5])


def test_knock_outs_are_non_empty_subsets_of_the_circuit():
    kept = np.array([True, False, True, True, False, True])
    drawn = knock_outs(kept, 400, np.random.default_rng(1))
    assert drawn.shape == (400, 6)
    assert not drawn[:, ~kept].any()
    # the number of members is uniform on 1..4: each about 100 times, each member 2.5 / 4 of the time
    counts = np.bincount(drawn.sum(axis=1), minlength=5)
    assert counts[0] == 0 and (np.abs(counts[1:] - 100) < 40).all()
    assert np.abs(drawn[:, kept].mean(axis=0) - 0.625).max() < 0.08
    assert not knock_outs(np.zeros(6, dtype=bool), 3, np.random.default_rng(0)).any()


@settings(deadline=None)
@given(VALUES, VALUES, VALUES, st.floats(0.1, 10), st.floats(-5, 5))
def test_f_is_invariant_to_positive_scale_and_shift_of_the_metric(circuit, full, empty, scale, shift):
    if full.mean() - empty.mean() < 0.1:
        return
    f = faithfulness(circuit, full, empty)
    again = faithfulness(circuit * scale + shift, full * scale + shift, empty * scale + shift)
    assert again == pytest.approx(float(f), rel=1e-6, abs=1e-6)
    assert faithfulness(full, full, empty) == pytest.approx(1)
    assert faithfulness(empty, full, empty) == pytest.approx(0)


@settings(deadline=None)
@given(VALUES, VALUES, VALUES, st.randoms())
def test_order_of_pairs_does_not_matter(circuit, full, empty, random):
    if full.mean() - empty.mean() < 0.1:
        return
    order = list(range(6))
    random.shuffle(order)
    shuffled = faithfulness(circuit[order], full[order], empty[order])
    assert shuffled == pytest.approx(float(faithfulness(circuit, full, empty)), rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(hnp.arrays(np.float64, 20, elements=st.floats(-1e6, 1e6)))
def test_bounded_lies_in_the_unit_interval_and_equals_its_definition(f):
    g = bounded(f)
    assert ((g >= 0) & (g <= 1)).all()
    assert g.tolist() == pytest.approx([max(0.0, min(x, 2 - x)) for x in f], abs=1e-9)


@settings(deadline=None)
@given(VALUES, VALUES, VALUES)
def test_pair_recovery_equals_a_loop(circuit, full, empty):
    expected = []
    for c, m, zero in zip(circuit, full, empty, strict=True):
        ratio = (1.0 if c != m else 0.0) if m == zero else abs(c - m) / abs(m - zero)
        expected.append(1 - min(ratio, 1))
    np.testing.assert_allclose(pair_recovery(circuit, full, empty), expected, atol=1e-12)
