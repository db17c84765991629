"""All scores of one cell, from per-pair values: what the runner calls once the circuits have been run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.bootstrap import resamples
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.prefixes import BUDGETS, Circuits
from arithloc.benchmark.metrics.readout import Readout, Recovery, Runs, recover
from arithloc.benchmark.metrics.scores import (
    CellContext,
    area_estimate,
    budget_estimates,
    completeness_runs,
    level_estimates,
    sparsity_estimates,
)

CurveName = Literal["kept", "removed", "budget"]
Rule = Literal["absolute", "signed"]


@dataclass(frozen=True, eq=False)
class Curves:
    """The circuits that were run.

    Attributes:
        circuits: prefixes of the ranking by absolute score, from `prefixes`.
        lo: where the faithfulness area starts, from `lowest_size`.
        budgets_signed: MIB's budgets by signed score, where they were run (counterfactual ablation only).
        budgets_absolute: the same by absolute score.
    """

    circuits: Circuits
    lo: float
    budgets_signed: Circuits | None = None
    budgets_absolute: Circuits | None = None


@dataclass(frozen=True)
class CurveEstimate:
    """One circuit of a curve.

    Attributes:
        curve: `kept`, `removed` (the circuit's complement was run) or `budget`.
        ranking_rule: order of the components behind it.
        i: position in its curve.
        n_components: components of the circuit after pruning.
        size: realised size of the circuit.
        nominal: budget k of MIB.
        m: mean of the metric.
        f: faithfulness of what was run; for `removed`, completeness is 1 - f. None as in `Estimate`.
        f_low, f_high: 95% interval of f.
        b: mean per-pair recovery.
        f_ror: mean of per-pair ratios.
        accuracy, kl: means, where they were read.
        f_accuracy, f_kl: faithfulness with these as the metric, where it is defined.
    """

    curve: CurveName
    ranking_rule: Rule
    i: int
    n_components: int
    size: float
    nominal: float | None
    m: float
    f: float | None
    f_low: float | None
    f_high: float | None
    b: float
    f_ror: float | None
    accuracy: float | None
    kl: float | None
    f_accuracy: float | None
    f_kl: float | None


@dataclass(frozen=True, eq=False)
class CellScores:
    """Every number of a cell.

    Attributes:
        estimates: the scores.
        curve: the circuits.
        replicates: bootstrap replicates of the ranked scores by name, finite and paired between methods: of `sparsity`
            the logarithm of the size, with size 1 where the threshold is not reached.
    """

    estimates: tuple[Estimate, ...]
    curve: tuple[CurveEstimate, ...]
    replicates: dict[str, Float[ndarray, " rep"]]


def score_cell(
    curves: Curves,
    metric: Readout,
    clusters: Sequence[str],
    data_hash: str,
    n_draws: int,
    *,
    accuracy: Readout | None = None,
    kl: Readout | None = None,
) -> CellScores:
    """Scores one cell.

    Args:
        curves: the circuits behind the rows of the readouts.
        metric: the cell's metric.
        clusters: cluster of each pair.
        data_hash: hash of the evaluation pairs; seeds the resampling.
        n_draws: bootstrap replicates.
        accuracy: readout called `accuracy` of the same runs.
        kl: readout called `kl` of the same runs: KL(full model, run) in nats.

    Raises:
        NoEffect: the lower 95% bound of m(M) - m(0) is not positive.
        MetricError: sizes and values do not belong together.
    """
    for readout in (metric, accuracy, kl):
        if readout is not None:
            _check_rows(curves, readout)
    draws = resamples(clusters, data_hash, n_draws)
    context = CellContext(len(clusters), draws.n_clusters, curves.circuits, curves.lo)
    main = recover(metric, draws, required=True)
    others = [recover(readout, draws) for readout in (accuracy, kl) if readout is not None]
    area, replicates = area_estimate(context, "faithfulness_area", main.kept, main)
    sparsity, more = sparsity_estimates(context, main)
    completeness, yet_more = area_estimate(context, "completeness_area", completeness_runs(main.removed), main)
    replicates |= more | yet_more
    estimates = [area, *sparsity, completeness]
    if main.budgets_signed is not None and main.budgets_absolute is not None:
        budgets, more = budget_estimates(context, main, main.budgets_signed, main.budgets_absolute)
        estimates += budgets
        replicates |= more
    estimates += level_estimates(context, main, "metric")
    for other in others:
        estimates += level_estimates(context, other, other.name)
        estimates.append(area_estimate(context, f"faithfulness_area_{other.name}", other.kept, other)[0])
    return CellScores(tuple(estimates), tuple(_curve(curves, main, others)), replicates)


def _check_rows(curves: Curves, readout: Readout) -> None:
    for field, circuits in (
        ("kept", curves.circuits),
        ("removed", curves.circuits),
        ("budgets_signed", curves.budgets_signed),
        ("budgets_absolute", curves.budgets_absolute),
    ):
        values = getattr(readout, field)
        if values is not None and (circuits is None or len(circuits.sizes) != len(values)):
            raise MetricError(
                f"Expected one row of {readout.name}.{field} per circuit, found {len(values)} for "
                f"{0 if circuits is None else len(circuits.sizes)}. Run the circuits that the sizes belong to."
            )


def _curve(curves: Curves, main: Recovery, others: list[Recovery]) -> Iterator[CurveEstimate]:
    yield from _points("kept", "absolute", curves.circuits, main.kept, {r.name: r.kept for r in others})
    yield from _points("removed", "absolute", curves.circuits, main.removed, {r.name: r.removed for r in others})
    if curves.budgets_signed is not None and main.budgets_signed is not None:
        signed = {r.name: r.budgets_signed for r in others}
        yield from _points("budget", "signed", curves.budgets_signed, main.budgets_signed, signed)
    if curves.budgets_absolute is not None and main.budgets_absolute is not None:
        absolute = {r.name: r.budgets_absolute for r in others}
        yield from _points("budget", "absolute", curves.budgets_absolute, main.budgets_absolute, absolute)


def _points(
    curve: CurveName, rule: Rule, circuits: Circuits, runs: Runs, others: Mapping[str, Runs | None]
) -> Iterator[CurveEstimate]:
    quantiles = None if runs.replicates is None else np.quantile(runs.replicates, [0.025, 0.975], axis=0)
    accuracy, kl = others.get("accuracy"), others.get("kl")
    for i, size in enumerate(circuits.sizes):
        yield CurveEstimate(
            curve=curve,
            ranking_rule=rule,
            i=i,
            n_components=int(circuits.n_components[i]),
            size=float(size),
            nominal=BUDGETS[i] if curve == "budget" else None,
            m=float(runs.m[i]),
            f=None if runs.f is None else float(runs.f[i]),
            f_low=None if quantiles is None else float(quantiles[0, i]),
            f_high=None if quantiles is None else float(quantiles[1, i]),
            b=float(runs.b[i]),
            f_ror=runs.f_ror[i],
            accuracy=None if accuracy is None else float(accuracy.m[i]),
            kl=None if kl is None else float(kl.m[i]),
            f_accuracy=None if accuracy is None or accuracy.f is None else float(accuracy.f[i]),
            f_kl=None if kl is None or kl.f is None else float(kl.f[i]),
        )
