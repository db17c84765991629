"""Tests of one circuit: worked examples, planted effects, and circuits drawn for them."""

import numpy as np
import pytest

from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape
from arithloc.benchmark.metrics.circuit_tests import (
    Runs,
    Sample,
    agreement_tests,
    concentration,
    knock_out_tests,
    minimality_tests,
    model_tests,
    prediction_tests,
    random_circuit_tests,
)
from arithloc.benchmark.metrics.size import circuit_size, prune
from arithloc.benchmark.metrics.tested_circuits import Effort, plan_circuits

FULL, EMPTY = np.array([4.0, 2, 3, 3]), np.array([-2.0, -1, 0, -1])
EX_1 = Runs(FULL, EMPTY, np.array([3.0, 3, 0, 2]), np.array([0.0, 0, 1, 0]))


def numbers(estimates):
    return {estimate.name: estimate for estimate in estimates}


def test_clusters_are_averaged_before_they_are_compared():
    # clusters a (pairs 0, 3) and b (1, 2): full 3.5 and 2.5, kept 2.5 and 1.5: no win in 2
    found = numbers(model_tests(EX_1, Sample(["a", "b", "b", "a"], ["x"] * 4), seed=0, n_permutations=10))
    assert found["equivalence_win_share"].value == 0 and found["equivalence_p"].n_clusters == 2
    # as single pairs: the circuit wins pair 1 alone
    found = numbers(model_tests(EX_1, Sample(["a", "b", "c", "d"], ["x"] * 4), seed=0, n_permutations=10))
    assert found["equivalence_win_share"].value == 0.25


def test_identical_scores_need_no_test_and_ties_are_counted():
    same = Runs(FULL, EMPTY, FULL, EMPTY)
    found = numbers(model_tests(same, Sample(list("abcd"), ["x"] * 4), seed=0, n_permutations=10))
    assert found["equivalence_p"].reason == "identical" and "equivalence_power" not in found
    tied = Runs(FULL, EMPTY, FULL + np.array([0, 0, 1, -1]), EMPTY)
    found = numbers(model_tests(tied, Sample(list("abcd"), ["x"] * 4), seed=0, n_permutations=10))
    assert found["equivalence_win_share"].value == 0.5 and found["equivalence_p"].flags == ("2-ties",)
    one = numbers(model_tests(EX_1, Sample(["a"] * 4, ["x"] * 4), seed=0))
    assert one["independence_p"].reason == "one-cluster"


def test_what_the_rest_of_the_model_keeps_is_noticed_within_strata_only():
    rng = np.random.default_rng(0)
    clusters, strata = [str(i) for i in range(80)], ["add", "sub"] * 40
    full = rng.normal(3, 1, 80)
    shift = np.tile([0.0, 5.0], 40)
    for removed, small in ((full / 2 + rng.normal(0, 0.1, 80), True), (rng.normal(0, 1, 80), False)):
        runs = Runs(full + shift, full * 0, full + shift, removed + shift)
        p = numbers(model_tests(runs, Sample(clusters, strata), seed=1, n_permutations=199))["independence_p"].value
        assert (p <= 0.05) == small  # a level that both share in a stratum is no evidence


def test_ex_18():
    effect = np.array([1, 0.5, 0.05, 0.2])
    null = np.array([0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.3])
    found = numbers(minimality_tests(effect, null))
    # Benjamini-Hochberg (.2, .2, .7, .267): none at .05; Shi's p of the third 6.4e-5 times 4: rejected
    assert found["minimal_share"].value == 0 and found["not_minimal_parts"].value == 1
    assert numbers(minimality_tests(effect, null[:0]))["minimal_share"].reason == "no-additions"
    # with 1,000 small additions 1/1001 is below .05 for three of four parts
    many = numbers(minimality_tests(effect, np.full(1000, 0.1)))
    assert many["minimal_share"].value == 0.75


def test_random_circuits_worked_example():
    # EX-1: f = .75, f without = .3125. Random circuits at f = 0 (worse), .9 (better); without them 1 (harmless), .25
    random = np.stack([EMPTY, EMPTY + 0.9 * (FULL - EMPTY)])
    without = np.stack([FULL, EMPTY + 0.25 * (FULL - EMPTY)])
    found = numbers(random_circuit_tests(EX_1, random, without, ("drawn-from-whole",)))
    assert (found["sufficiency_share"].value, found["necessity_share"].value) == (0.5, 0.5)
    # P(Bin(2, .9) >= 1) = 1 - .1^2
    assert found["sufficiency_p"].value == pytest.approx(0.99)
    assert found["necessity_p"].flags == ("too-few-random", "drawn-from-whole")


def test_knock_outs_and_predictions_worked_example():
    # f(C - K) = .25 and .5, f(M - K) = .5 and .5: gaps .25 and 0
    effect = FULL - EMPTY
    circuit = np.stack([EMPTY + 0.25 * effect, EMPTY + 0.5 * effect])
    found = numbers(knock_out_tests(EX_1, circuit, np.stack([EMPTY + 0.5 * effect] * 2)))
    assert found["incompleteness_mean"].value == pytest.approx(0.125)
    assert found["incompleteness_max"].value == pytest.approx(0.25)
    # four pairs: kept right, right to the counterfactual's token, right to another, wrong to another
    found = numbers(
        prediction_tests(np.array([1, 1, 1, 5]), np.array([1, 2, 3, 6]), np.array([2, 2, 2, 2]), np.array([1, 1, 1, 1]))
    )
    assert [found[f"prediction_{name}"].value for name in ("changed", "to_ablated", "spoiled")] == [0.75, 0.25, 0.5]


def test_agreement_with_other_runs():
    values = np.array([4.0, -3, 2, 1])
    same, turned = values * 2, np.array([1.0, 2, -3, 4])
    found = numbers(agreement_tests("seeds", values, [same, turned], n_top=2))
    # Spearman of the absolute scores 1 and -1; the two sets of two are equal and disjoint: J_c = 1 and (0 - 7/18) / (11/18)
    assert (found["seeds_spearman"].value, found["seeds_spearman"].low, found["seeds_spearman"].high) == (0, -1, 1)
    assert found["seeds_jaccard"].value == pytest.approx((1 - 7 / 11) / 2)
    assert found["seeds_overlap"].low == pytest.approx(-1)  # (0 - 1/2) / (1 - 1/2)
    # agreements at depth 1..4: 0, 0, 2/3, 1 and all 1
    weights = 0.9 ** np.arange(4)
    assert found["seeds_average_overlap"].low == pytest.approx((0 + 0 + 2 / 3 + 1) / 4)
    assert found["seeds_rbo"].low == pytest.approx((weights @ [0, 0, 2 / 3, 1]) / weights.sum())
    assert list(agreement_tests("seeds", values, [], 2)) == []
    assert "seeds_jaccard" not in numbers(agreement_tests("seeds", values, [same], n_top=4))
    assert concentration(np.zeros(3)).reason == "all-zero"
    assert concentration(np.array([3.0, 4, 0, 0])).value == pytest.approx(0.6)


def test_ties_agree_by_chance_only():
    """Two runs that tell only the first 20 of 400 components from the rest share 20 of 40 and a chance part of the others."""
    values = np.zeros(400)
    values[:20] = 1.0
    others = [values * scale for scale in range(1, 41)]
    found = numbers(agreement_tests("seeds", values, others, n_top=40))
    # of 380 tied components 20 are drawn twice: 20 * 20 / 380 shared on average; overlap (21.05 / 40 - .1) / .9
    assert found["seeds_overlap"].value == pytest.approx(((20 + 400 / 380) / 40 - 0.1) / 0.9, abs=0.02)
    nothing = numbers(agreement_tests("seeds", np.zeros(400), [np.zeros(400)] * 40, n_top=40))
    assert nothing["seeds_jaccard"].value == pytest.approx(0, abs=0.03)
    assert "seeds_spearman" not in nothing


def test_a_range_that_starts_at_zero_is_a_range():
    values = np.array([4.0, 3, 2, 1])
    # both first or neither: overlap (1 - .5) / .5 and (.5 - .5) / .5
    found = numbers(agreement_tests("seeds", values, [values, np.array([4.0, 1, 3, 2])], n_top=2))["seeds_overlap"]
    assert (found.low, found.high, found.flags) == (0, 1, ("range",))


@pytest.mark.parametrize("granularity", [Granularity.NODE, Granularity.EDGE, Granularity.NEURON, Granularity.LAYER])
def test_circuits_are_drawn_as_the_tests_say(granularity):
    space = ComponentSpace(granularity, ModelShape(3, 4, 2, d_model=8, d_head=2, d_mlp=5, vocab=7))
    rng = np.random.default_rng(3)
    kept = prune(space, rng.random(len(space)) < 0.4)
    plan = plan_circuits(space, kept, Effort(n_random=9, n_additions=40, n_knock_outs=7), seed=0)
    at = {name: plan.distinct[rows] for name, rows in plan.rows.items()}
    assert at["full"].all() and not at["empty"].any() and (at["kept"][0] == kept).all()
    assert not (at["removed"] & kept).any()
    assert len(at["without"]) == kept.sum() and not (at["without"] & ~kept).any()
    assert {tuple(row) for row in at["without"]} <= {tuple(row) for row in prune(space, at["without"])}
    size = float(circuit_size(space, kept))
    assert circuit_size(space, at["random"]).mean() == pytest.approx(size, rel=0.25) and len(at["random"]) == 9
    assert len(at["knocked"]) == 7 and not (at["knocked"] & ~kept).any()
    if granularity in (Granularity.NODE, Granularity.EDGE):
        assert len(at["added"]) == len(at["added_without"]) == 40
        assert (at["added"] & ~kept).any(axis=1).all()
        assert (at["added"] & kept == kept).all()  # the circuit itself stays
        gone = (at["added"] & ~at["added_without"]).sum(axis=1)
        assert (gone >= 1).all() and not (at["added_without"] & ~at["added"]).any()
    else:
        assert not len(at["added"])
