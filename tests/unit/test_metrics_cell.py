"""Scores of one cell: every number against a slow recomputation, refusals, and the time they take."""

import dataclasses
import math
import time

import numpy as np
import pytest

from arithloc.benchmark.api.errors import MetricError, NoEffect
from arithloc.benchmark.metrics.bootstrap import resamples
from arithloc.benchmark.metrics.cell import Curves, score_cell
from arithloc.benchmark.metrics.prefixes import BUDGETS, Circuits
from arithloc.benchmark.metrics.readout import Readout

HASH = "0f" * 32
SIZES = np.array([0.002, 0.01, 0.05, 0.2, 0.6])


def circuits(sizes):
    n = len(sizes)
    return Circuits(np.arange(1, n + 1), np.arange(1, n + 1), np.asarray(sizes), np.tri(n, dtype=bool))


CURVES = Curves(circuits(SIZES), 0.001, circuits(np.array(BUDGETS)), circuits(np.array(BUDGETS)))


def readout(name="logit_diff", n=200, seed=0, f=(0.1, 0.5, 0.95, 1.2, 1.05), effect=5.0, noise=0.4):
    """Per-pair values whose faithfulness is about `f` for the kept circuits and 1 - f for their complements."""
    rng = np.random.default_rng(seed)
    empty = rng.normal(-1, noise, n)
    full = empty + rng.normal(effect, noise, n)

    def at(shares):
        shares = np.asarray(shares)[:, None]
        return empty + shares * (full - empty) + rng.normal(0, noise, (len(shares), n))

    budgets = np.linspace(0, 1, 10)
    return Readout(name, full, empty, at(f), at(1 - np.array(f)), at(budgets), at(budgets**2))


def clusters(n=200, size=2):
    return [f"{i // size:04d}" for i in range(n)]


def scored(metric=None, **extra):
    return score_cell(CURVES, metric or readout(), clusters(), HASH, 300, **extra)


def named(scores):
    return {e.name: e for e in scores.estimates}


def slow_f(values, metric, weights):
    """f of one replicate by resampling whole clusters pair by pair."""
    pairs = np.array(clusters())
    picked = np.concatenate(
        [
            np.flatnonzero(pairs == name)
            for name, w in zip(np.unique(pairs), weights, strict=True)
            for _ in range(int(w))
        ]
    )
    top = values[picked].sum() - metric.empty[picked].sum()
    return top / (metric.full[picked].sum() - metric.empty[picked].sum())


def slow_area(f):
    edges = [*np.clip(SIZES, 0.001, 0.5), 0.5]
    pieces = [max(0, 1 - abs(1 - f[i])) * math.log(edges[i + 1] / edges[i]) for i in range(5)]
    return sum(pieces) / math.log(500)


def test_area_and_its_replicates_equal_a_slow_recomputation():
    metric = readout()
    scores = scored(metric)
    weights = resamples(clusters(), HASH, 300).weights
    f = [slow_f(row, metric, np.ones(100)) for row in metric.kept]
    area = named(scores)["faithfulness_area"]
    assert area.value == pytest.approx(slow_area(f), abs=1e-12)
    for b in range(10):
        expected = slow_area([slow_f(row, metric, weights[b]) for row in metric.kept])
        assert scores.replicates["faithfulness_area"][b] == pytest.approx(expected, abs=1e-12)
    replicates = scores.replicates["faithfulness_area"]
    assert (area.low, area.high) == tuple(np.quantile(replicates, [0.025, 0.975]))
    assert area.se == pytest.approx(replicates.std(ddof=1))
    assert (area.n_pairs, area.n_clusters, area.ranking_rule) == (200, 100, "absolute")


def test_completeness_area_uses_the_complements():
    metric = readout()
    f = [1 - slow_f(row, metric, np.ones(100)) for row in metric.removed]
    assert named(scored(metric))["completeness_area"].value == pytest.approx(slow_area(f), abs=1e-12)


def test_budget_scores_use_their_own_rankings():
    metric = readout()
    estimates = named(scored(metric))
    signed = [slow_f(row, metric, np.ones(100)) for row in metric.budgets_signed]
    absolute = [slow_f(row, metric, np.ones(100)) for row in metric.budgets_absolute]
    assert estimates["cpr"].value == pytest.approx(np.trapezoid(signed, BUDGETS), abs=1e-12)
    assert estimates["cpr_mean"].value == pytest.approx(np.mean(signed), abs=1e-12)
    assert estimates["cmd"].value == pytest.approx(np.trapezoid(np.abs(1 - np.array(absolute)), BUDGETS), abs=1e-12)
    assert (estimates["cpr"].ranking_rule, estimates["cmd"].ranking_rule) == ("signed", "absolute")
    assert (estimates["cpr"].direction, estimates["cmd"].direction) == ("higher", "lower")


def test_sparsity_is_the_first_size_whose_lower_bound_reaches_the_threshold():
    scores = scored()
    estimates = named(scores)
    weights = resamples(clusters(), HASH, 300).weights
    metric = readout()
    lower = np.quantile([slow_f(metric.kept[2], metric, w) for w in weights], 0.05)
    assert lower >= 0.9  # the third circuit, f about 0.95
    assert estimates["sparsity"].value == 0.05
    assert estimates["sparsity_components"].value == 3
    # two-sided: the third circuit's upper bound is below 1.1
    assert estimates["sparsity_two_sided"].value == 0.05
    expected = 1 - slow_f(metric.removed[2], metric, np.ones(100))
    assert estimates["sparsity_completeness"].value == pytest.approx(expected, abs=1e-12)
    sizes = set(np.round(np.exp(scores.replicates["sparsity"]), 9))
    assert sizes <= {0.002, 0.01, 0.05, 0.2, 0.6, 1.0}


def test_over_recovery_does_not_count_two_sided():
    estimates = named(scored(readout(f=(0.1, 0.5, 1.4, 1.4, 1.0), noise=0.2)))
    assert estimates["sparsity"].value == 0.05
    assert estimates["sparsity_two_sided"].value == 0.6


def test_sparsity_not_reached_is_null_and_compared_as_size_one():
    scores = scored(readout(f=(0.1, 0.2, 0.3, 0.4, 0.5)))
    sparsity = named(scores)["sparsity"]
    assert sparsity.value is None and sparsity.reason == "not-reached"
    assert sparsity.high is None and "high-not-reached" in sparsity.flags
    assert (scores.replicates["sparsity"] == 0).all()
    assert named(scores)["sparsity_components"].value is None


def test_a_barely_reached_sparsity_has_an_open_interval():
    # f = 0.92 with a lower bound close to 0.9: some replicates of the bound miss it at every size
    scores = scored(readout(f=(0.1, 0.2, 0.3, 0.4, 0.915), noise=0.5, seed=3))
    sparsity = named(scores)["sparsity"]
    assert sparsity.value == 0.6 and sparsity.high is None and "high-not-reached" in sparsity.flags


def test_null_method_scores_zero_within_its_interval_and_over_recovery_stays_below_one():
    null = named(scored(readout(f=(0, 0, 0, 0, 0))))["faithfulness_area"]
    assert null.low <= 0.01 and null.value < 0.02
    over = named(scored(readout(f=(3, 3, 3, 3, 3))))["faithfulness_area"]
    assert over.value == over.high == 0


def test_secondary_metrics_are_added():
    rng = np.random.default_rng(5)
    accuracy = Readout(
        "accuracy",
        (rng.random(200) < 0.98).astype(float),
        np.zeros(200),
        (rng.random((5, 200)) < 0.5).astype(float),
        np.zeros((5, 200)),
    )
    kl = Readout("kl", np.zeros(200), rng.random(200) + 1, rng.random((5, 200)), rng.random((5, 200)))
    scores = scored(accuracy=accuracy, kl=kl)
    estimates = named(scores)
    f = accuracy.kept.mean(axis=1) / accuracy.full.mean()
    assert estimates["faithfulness_area_accuracy"].value == pytest.approx(slow_area(f), abs=1e-12)
    f = 1 - kl.kept.mean(axis=1) / kl.empty.mean()
    assert estimates["faithfulness_area_kl"].value == pytest.approx(slow_area(f), abs=1e-12)
    assert estimates["kl_empty"].value == pytest.approx(kl.empty.mean())
    assert estimates["accuracy_effect"].value == pytest.approx(accuracy.full.mean())
    assert [estimates[f"{name}_empty"].direction for name in ("metric", "accuracy", "kl")] == [
        "higher",
        "higher",
        "lower",
    ]
    point = next(p for p in scores.curve if p.curve == "kept" and p.i == 1)
    assert point.accuracy == pytest.approx(accuracy.kept[1].mean())
    assert point.kl == pytest.approx(kl.kept[1].mean())
    assert point.f_kl == pytest.approx(1 - kl.kept[1].mean() / kl.empty.mean())
    assert set(scores.replicates) == {"faithfulness_area", "sparsity", "completeness_area", "cpr", "cmd"}


def test_kl_that_ablation_does_not_move_gives_null():
    kl = Readout("kl", np.zeros(200), np.full(200, 0.01), np.full((5, 200), 0.005), np.full((5, 200), 0.005))
    estimate = named(scored(kl=kl))["faithfulness_area_kl"]
    assert estimate.value is None and estimate.reason == "no-effect"


def test_kl_as_the_cell_metric_is_oriented():
    rng = np.random.default_rng(6)
    kl = Readout("kl", np.zeros(200), rng.random(200) + 1, rng.random((5, 200)) * 0.2, rng.random((5, 200)))
    scores = score_cell(CURVES, kl, clusters(), HASH, 100)
    f = 1 - kl.kept.mean(axis=1) / kl.empty.mean()
    assert named(scores)["faithfulness_area"].value == pytest.approx(slow_area(f), abs=1e-12)
    assert scores.curve[0].m == pytest.approx(kl.kept[0].mean())
    assert "cpr" not in named(scores)


def test_curve_points():
    metric = readout()
    scores = scored(metric)
    kept = [p for p in scores.curve if p.curve == "kept"]
    removed = [p for p in scores.curve if p.curve == "removed"]
    budgets = [p for p in scores.curve if p.curve == "budget"]
    assert [p.size for p in kept] == [p.size for p in removed] == SIZES.tolist()
    assert [p.nominal for p in budgets] == [*BUDGETS, *BUDGETS]
    assert {p.ranking_rule for p in budgets[:10]} == {"signed"} and {p.ranking_rule for p in budgets[10:]} == {
        "absolute"
    }
    weights = resamples(clusters(), HASH, 300).weights
    f = [slow_f(metric.kept[1], metric, w) for w in weights]
    assert (kept[1].f_low, kept[1].f_high) == pytest.approx(tuple(np.quantile(f, [0.025, 0.975])), abs=1e-12)
    assert kept[1].m == pytest.approx(metric.kept[1].mean())
    assert removed[1].f == pytest.approx(slow_f(metric.removed[1], metric, np.ones(100)))
    assert kept[1].f_ror is not None and 0 <= kept[1].b <= 1


def test_no_effect_is_refused_with_a_sentence():
    with pytest.raises(NoEffect, match="better than of the empty circuit"):
        scored(readout(effect=-0.1))
    with pytest.raises(NoEffect):
        scored(readout(effect=0.02, noise=2.0))  # not distinguishable from 0


def test_doubtful_denominators_are_flagged_then_refused():
    def estimate(effect):
        rng = np.random.default_rng(8)
        empty = np.zeros(40)
        full = rng.standard_normal(40)
        full = effect + (full - full.mean()) / full.std()
        values = np.stack([full * x for x in (0.2, 0.4, 0.6, 0.8, 1.0)])
        metric = Readout("logit_diff", full, empty, values, values)
        return named(score_cell(CURVES, metric, [str(i) for i in range(40)], HASH, 2000))["faithfulness_area"]

    # mean effect in standard errors (0.158): 2.5 leaves few replicates without effect, 1.8 about 3.6%
    fine, flagged, null = estimate(2.0), estimate(0.4), estimate(0.285)
    assert "denominator" not in fine.flags and fine.value is not None
    assert "denominator" in flagged.flags and flagged.value is not None
    assert null.value is None and null.reason == "denominator"


def test_few_clusters_are_flagged():
    metric = readout(n=38)
    scores = score_cell(CURVES, metric, clusters(38), HASH, 100)
    assert all("few-clusters" in e.flags for e in scores.estimates)
    assert all("few-clusters" not in e.flags for e in scored().estimates)


def test_a_model_too_small_for_a_size_curve_has_no_area():
    curves = Curves(circuits(np.array([0.6, 0.8])), 0.6)
    metric = dataclasses.replace(readout(f=(0.5, 1.0)), budgets_signed=None, budgets_absolute=None)
    area = named(score_cell(curves, metric, clusters(), HASH, 50))["faithfulness_area"]
    assert area.value is None and area.reason == "no-size-range"


def test_values_that_do_not_belong_together_are_refused():
    with pytest.raises(MetricError, match=r"one row of logit_diff\.kept per circuit, found 3 for 5"):
        scored(readout(f=(0.1, 0.2, 0.3)))
    with pytest.raises(MetricError, match=r"Expected 200 pairs in logit_diff\.full, found 150"):
        scored(readout(n=150))
    broken = readout()
    broken.kept[0, 0] = np.nan
    with pytest.raises(MetricError, match=r"finite values in logit_diff\.kept, found 1 others"):
        scored(broken)


def test_order_of_pairs_changes_nothing():
    metric = readout()
    order = np.random.default_rng(9).permutation(200)
    moved = Readout(
        metric.name, metric.full[order], metric.empty[order], metric.kept[:, order], metric.removed[:, order],
        metric.budgets_signed[:, order], metric.budgets_absolute[:, order],
    )  # fmt: skip
    again = score_cell(CURVES, moved, [clusters()[i] for i in order], HASH, 300)
    for a, b in zip(scored(metric).estimates, again.estimates, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-9) and a.low == pytest.approx(b.low, abs=1e-9)


def test_twenty_methods_of_ten_sizes_and_500_pairs_take_less_than_five_seconds():
    sizes = np.geomspace(0.001, 0.4, 10)
    curves = Curves(circuits(sizes), 0.001, circuits(np.array(BUDGETS)), circuits(np.array(BUDGETS)))
    readouts = [readout(n=500, seed=s, f=np.linspace(0, 1.1, 10)) for s in range(20)]
    names = clusters(500, 1)
    start = time.process_time()
    for metric in readouts:
        score_cell(curves, metric, names, HASH, 2000)
    assert time.process_time() - start < 5


def test_half_and_single_precision_values_are_averaged_in_double():
    exact = {k: v for k, v in dataclasses.asdict(readout()).items() if k != "name"}
    single = {k: v.astype(np.float32) for k, v in exact.items()}
    double = {k: v.astype(np.float64) for k, v in single.items()}
    for a, b in zip(
        scored(Readout("logit_diff", **single)).estimates,
        scored(Readout("logit_diff", **double)).estimates,
        strict=True,
    ):
        assert (a.value, a.low, a.high) == (b.value, b.low, b.high)
