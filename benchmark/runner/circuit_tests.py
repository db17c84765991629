"""Tests of the circuit of one stored cell: circuits built, run in one batch, tested."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from arithloc.benchmark.api import ComponentSpace, Granularity, PromptPair, Scores
from arithloc.benchmark.api.errors import ArithlocError
from arithloc.benchmark.engine import Readings
from arithloc.benchmark.metrics.bootstrap import interval, ratios, resamples
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
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.faithfulness import faithfulness
from arithloc.benchmark.metrics.ground_truth import auroc_mib
from arithloc.benchmark.metrics.prefixes import budget_circuits, ranking_order
from arithloc.benchmark.metrics.size import circuit_size, whole_model_size
from arithloc.benchmark.metrics.tested_circuits import Effort, Plan, plan_circuits
from arithloc.benchmark.metrics.truth import Truth
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.cell import localize
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.pairs import PairSet
from arithloc.benchmark.runner.scoring import run_circuits
from arithloc.benchmark.runner.seeds import seed_of

Phase = Callable[[str, int, int], None]


def circuit_tests(
    job: Job,
    model: SubjectModel,
    pairs: PairSet,
    scores: Scores,
    kept: Bool[ndarray, " comp"],
    truth: Truth | None,
    effort: Effort,
    phase: Phase,
) -> list[Estimate]:
    """Tests a circuit on the test pairs of its cell.

    Args:
        job: the cell.
        model: loaded.
        pairs: both splits, filtered.
        scores: component scores of the cell.
        kept: the circuit, pruned.
        truth: labels of the space, where the circuit is known.
        effort: numbers of draws.
        phase: told the progress.

    Raises:
        NoEffect: the model does no better than the empty circuit.
    """
    space = scores.space
    plan = plan_circuits(space, kept, effort, seed_of(job.key, "circuit tests"))
    readings = run_circuits(job, model, pairs, space, plan.distinct, lambda done, total: phase("circuits", done, total))
    values = readings.metric(job.metric)
    one = {name: values[int(plan.rows[name][0])] for name in ("full", "empty", "kept", "removed")}
    runs = Runs(**one)
    sample = Sample(
        [pair.cluster for pair in pairs.evaluation],
        [f"{pair.frame}/{pair.operator}" for pair in pairs.evaluation],
    )
    means = values.mean(axis=1)
    effect = np.abs(means[plan.rows["kept"][0]] - means[plan.rows["without"]])
    null = np.abs(means[plan.rows["added"]] - means[plan.rows["added_without"]])
    return [
        *_description(job, space, scores, kept, runs, sample),
        *model_tests(runs, sample, seed_of(job.key, "independence")),
        *minimality_tests(effect, null, plan.flags["without"]),
        *random_circuit_tests(
            runs, values[plan.rows["random"]], values[plan.rows["random_removed"]], plan.flags["random_removed"]
        ),
        *knock_out_tests(runs, values[plan.rows["knocked"]], values[plan.rows["knocked_model"]]),
        *_predictions(readings, plan),
        *_mib(scores, truth, seed_of(job.key, "ties")),
        *_stability(job, model, pairs, scores, int(kept.sum()), effort, phase),
    ]


def _description(
    job: Job,
    space: ComponentSpace,
    scores: Scores,
    kept: Bool[ndarray, " comp"],
    runs: Runs,
    sample: Sample,
) -> list[Estimate]:
    """Which circuit this is, what it recovers, and how concentrated the scores are."""
    size = float(circuit_size(space, kept))
    draws = resamples(sample.clusters, job.evaluation_hash, job.effort.n_draws)
    means = draws.means(np.stack([runs.full, runs.empty, runs.kept, runs.removed]))
    f = ratios(means[:, 2:], means[:, 0], means[:, 1])
    spreads = [interval(replicates) for replicates in (f[:, 0], 1 - f[:, 1])]
    points = [
        float(faithfulness(runs.kept, runs.full, runs.empty)),
        1 - float(faithfulness(runs.removed, runs.full, runs.empty)),
    ]
    found = [
        Estimate("circuit_size", size, direction="lower"),
        Estimate("circuit_components", float(kept.sum()), direction="lower", unit="components"),
        *(
            Estimate(name, point, spread.low, spread.high, spread.se, len(runs.full), draws.n_clusters)
            for name, point, spread in zip(("circuit_f", "circuit_completeness"), points, spreads, strict=True)
        ),
        concentration(scores.values),
    ]
    if space.granularity is Granularity.NEURON and not space.classes:
        found.append(Estimate("circuit_whole_model_size", whole_model_size(space.shape, size), direction="lower"))
    return found


def _predictions(readings: Readings, plan: Plan) -> list[Estimate]:
    full, empty, removed = (readings.top[int(plan.rows[name][0])] for name in ("full", "empty", "removed"))
    return list(prediction_tests(full, removed, empty, readings.answer_token))


def _mib(scores: Scores, truth: Truth | None, seed: int) -> list[Estimate]:
    """AUROC as MIB computes it, for comparison; not for circuits of which some members suffice."""
    if truth is None or truth.quorums:
        return []
    budgets = budget_circuits(scores.space, ranking_order(scores.values, signed=False, seed=seed))
    value = auroc_mib(budgets.kept[:, truth.universe], truth.positive[truth.universe])
    return [Estimate("auroc_mib", value, ranking_rule="absolute")]


def _stability(
    job: Job, model: SubjectModel, pairs: PairSet, scores: Scores, n_top: int, effort: Effort, phase: Phase
) -> list[Estimate]:
    """Agreement with localizations on resampled clusters of the discovery pairs, each with another seed."""
    others = []
    for i in range(effort.n_resamples):
        phase("resamples", i, effort.n_resamples)
        again = replace(job, key=f"{job.key}/resample {i}")
        drawn = replace(pairs, discovery=_resampled(pairs, seed_of(again.key, "pairs")))
        try:
            others.append(localize(again, model, drawn, scores.space, phase).scores.values)
        except ArithlocError:
            # a method from a file has no place in the key, and one may need pairs that a resample lacks
            return [Estimate("resamples_spearman", None, reason="cannot-localize")]
    return list(agreement_tests("resamples", scores.values, others, n_top))


def _resampled(pairs: PairSet, seed: int) -> tuple[PromptPair, ...]:
    by_cluster: dict[str, list[PromptPair]] = {}
    for pair in pairs.discovery:
        by_cluster.setdefault(pair.cluster, []).append(pair)
    names = sorted(by_cluster)
    drawn: Sequence[int] = np.random.default_rng(seed).integers(len(names), size=len(names)).tolist()
    return tuple(pair for i in drawn for pair in by_cluster[names[i]])
