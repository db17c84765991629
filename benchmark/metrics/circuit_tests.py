"""Tests of one circuit as named numbers: from per-pair values of its runs to p-values with their n and power."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.change import prediction_change
from arithloc.benchmark.metrics.equivalence import count_wins, equivalence
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.faithfulness import faithfulness, incompleteness
from arithloc.benchmark.metrics.independence import independence
from arithloc.benchmark.metrics.minimality import LEVEL, minimality, necessity, sufficiency
from arithloc.benchmark.metrics.prefixes import ranking_order
from arithloc.benchmark.metrics.sparsity import hoyer
from arithloc.benchmark.metrics.stability import (
    average_overlap,
    jaccard_above_chance,
    overlap_above_chance,
    overlap_at,
    rank_biased_overlap,
    spearman,
)

AT_LEAST = 29
"""Random circuits below which no comparison with them can reach p = 0.05: 0.9^29 = 0.047."""
DEPTH = 50
"""Depth at which overlaps of rankings are cut off."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Per-pair values of a metric, higher is better.

    Attributes:
        full: the full model.
        empty: the empty circuit.
        kept: the circuit.
        removed: the model without it.
    """

    full: Float[ndarray, " pair"]
    empty: Float[ndarray, " pair"]
    kept: Float[ndarray, " pair"]
    removed: Float[ndarray, " pair"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Which pairs belong together.

    Attributes:
        clusters: cluster of each pair: the independent unit.
        strata: frame and operator of each pair.
    """

    clusters: Sequence[str]
    strata: Sequence[str]

    def index(self) -> Int[ndarray, " pair"]:
        """Number of the cluster of each pair."""
        return np.unique(np.asarray(self.clusters, dtype=object).astype(str), return_inverse=True)[1]

    def means(self, values: Float[ndarray, " pair"]) -> Float[ndarray, " cluster"]:
        """Mean of each cluster."""
        index = self.index()
        return np.asarray(np.bincount(index, values) / np.bincount(index))

    def cluster_strata(self) -> list[str]:
        """Strata that occur in each cluster."""
        found: dict[int, set[str]] = {}
        for number, stratum in zip(self.index().tolist(), self.strata, strict=True):
            found.setdefault(number, set()).add(stratum)
        return ["+".join(sorted(found[number])) for number in range(len(found))]


def model_tests(runs: Runs, sample: Sample, seed: int, n_permutations: int = 1000) -> Iterator[Estimate]:
    """Is the circuit as good as the model, and does the rest of the model still carry the task?

    Both tests take one value per cluster. `equivalence_p_different` small: not equivalent; `equivalence_p` small:
    equivalent; neither: undecided, see `equivalence_power`. `independence_p` small: the rest still carries the task.
    """
    full, kept, removed = (sample.means(values) for values in (runs.full, runs.kept, runs.removed))
    n = len(full)
    wins = count_wins(kept, full)
    if wins.n:
        found = equivalence(wins)
        ties = (f"{wins.ties}-ties",) if wins.ties else ()
        yield _number("equivalence_win_share", wins.wins / wins.n, n, direction="higher", flags=ties)
        yield _number("equivalence_p_different", found.p_different, n, direction="higher", flags=ties)
        yield _number("equivalence_p", found.p_equivalent, n, flags=ties)
        yield _number("equivalence_power", found.power, n, direction="higher")
    else:
        yield _number("equivalence_p", None, n, reason="identical")
    if n < 2:
        yield _number("independence_p", None, n, reason="one-cluster")
        return
    dependence = independence(removed, full, sample.cluster_strata(), seed, n_permutations)
    yield _number("independence_hsic", dependence.hsic, n)
    yield _number("independence_p", dependence.p, n, direction="higher")


def minimality_tests(
    effect: Float[ndarray, " comp"], null: Float[ndarray, " draw"], flags: tuple[str, ...] = ()
) -> Iterator[Estimate]:
    """Is every part of the circuit needed? From the effects of its parts and of random additions, on m.

    `minimal_share` counts parts that matter more than random additions (Benjamini-Hochberg, 0.05), `not_minimal_parts`
    those that matter less than 90% of them (Shi et al., Holm, 0.05): any such part makes the circuit not minimal.
    """
    if not len(null) or not len(effect):
        yield _number("minimal_share", None, len(null), reason="no-additions", direction="higher")
        return
    found = minimality(effect, null)
    yield _number("minimal_share", found.minimal_share, len(null), direction="higher", flags=flags)
    rejected = float((found.p_shi_adjusted <= LEVEL).sum())
    yield _number("not_minimal_parts", rejected, len(null), unit="components", flags=flags)


def random_circuit_tests(
    runs: Runs,
    kept_random: Float[ndarray, "draw pair"],
    removed_random: Float[ndarray, "draw pair"],
    flags: tuple[str, ...] = (),
) -> Iterator[Estimate]:
    """Is the circuit better than random ones of its size, kept (sufficiency) and removed (necessity)?

    Args:
        runs: of the circuit.
        kept_random: the random circuits alone.
        removed_random: the model without each random circuit.
        flags: where the second ones come from.

    Raises:
        NoEffect: the model does no better than the empty circuit.
    """
    f, f_without = (float(faithfulness(values, runs.full, runs.empty)) for values in (runs.kept, runs.removed))
    n = len(kept_random)
    few = ("too-few-random",) if n < AT_LEAST else ()
    kept = sufficiency(f, faithfulness(kept_random, runs.full, runs.empty))
    removed = necessity(f_without, faithfulness(removed_random, runs.full, runs.empty))
    yield _number("sufficiency_share", kept.better / n, n, direction="higher", flags=few)
    yield _number("sufficiency_p", kept.p, n, flags=few)
    yield _number("necessity_share", removed.better / n, n, direction="higher", flags=(*few, *flags))
    yield _number("necessity_p", removed.p, n, flags=(*few, *flags))


def knock_out_tests(
    runs: Runs, circuit: Float[ndarray, "draw pair"], model: Float[ndarray, "draw pair"]
) -> Iterator[Estimate]:
    """Does the circuit break as the model does? |f(C - K) - f(M - K)| over random sets K of its parts.

    Raises:
        NoEffect: the model does no better than the empty circuit.
    """
    f_circuit, f_model = (faithfulness(values, runs.full, runs.empty) for values in (circuit, model))
    gaps = incompleteness(f_circuit, f_model)
    yield _number("incompleteness_mean", float(gaps.mean()), len(gaps))
    yield _number("incompleteness_max", float(gaps.max()), len(gaps))


def prediction_tests(
    unpatched: Int[ndarray, " pair"],
    removed: Int[ndarray, " pair"],
    counterfactual: Int[ndarray, " pair"],
    answer: Int[ndarray, " pair"],
) -> Iterator[Estimate]:
    """What the model predicts without the circuit: another token, and is it the counterfactual run's?

    Args:
        unpatched: predicted tokens of the full model.
        removed: predicted tokens without the circuit.
        counterfactual: predicted tokens of the empty circuit.
        answer: right tokens.
    """
    change = prediction_change(unpatched, removed, counterfactual, answer)
    n = len(answer)
    yield _number("prediction_changed", float(change.changed.mean()), n, direction="higher")
    yield _number("prediction_to_ablated", float(change.desired.mean()), n, direction="higher")
    yield _number("prediction_spoiled", float(change.undesired.mean()), n, direction="higher")


def agreement_tests(
    prefix: str, values: Float[ndarray, " comp"], others: Sequence[Float[ndarray, " comp"]], n_top: int
) -> Iterator[Estimate]:
    """Agreement of component scores with other runs of the method: means over the others, with their range.

    Equal scores stand in another random order in each run, so that runs which score nothing agree by chance only.

    Args:
        prefix: what varied: `resamples`, `seeds`, `ablations`.
        values: scores of this cell.
        others: scores of the other runs.
        n_top: components of the circuit, where the sets are cut.
    """
    if not others:
        return
    order, size = ranking_order(values, signed=False, seed=0), len(values)
    top = _first(order, n_top)
    found: dict[str, list[float]] = {"spearman": [], "jaccard": [], "overlap": [], "average_overlap": [], "rbo": []}
    for i, other in enumerate(others, start=1):
        theirs = ranking_order(other, signed=False, seed=i)
        correlation = spearman(np.abs(values), np.abs(other))
        if correlation is not None:
            found["spearman"].append(correlation)
        if 0 < n_top < size:
            found["jaccard"].append(jaccard_above_chance(top, _first(theirs, n_top)))
            found["overlap"].append(overlap_above_chance(overlap_at(order, theirs, n_top), n_top, size))
        found["average_overlap"].append(average_overlap(order, theirs, min(DEPTH, size)))
        found["rbo"].append(rank_biased_overlap(order, theirs, min(DEPTH, size)))
    for name, numbers in found.items():
        if numbers:
            low, high = (min(numbers), max(numbers)) if len(numbers) > 1 else (None, None)
            value = float(np.mean(numbers))
            yield Estimate(
                f"{prefix}_{name}", value, low, high, n_pairs=len(numbers), flags=() if low is None else ("range",)
            )


def concentration(values: Float[ndarray, " comp"]) -> Estimate:
    """Hoyer's concentration of the scores; no value where they are all zero."""
    try:
        return _number("concentration", hoyer(values), len(values), direction="higher")
    except MetricError:
        return _number("concentration", None, len(values), reason="all-zero", direction="higher")


def _first(order: Int[ndarray, " comp"], n: int) -> Bool[ndarray, " comp"]:
    chosen = np.zeros(len(order), dtype=np.bool_)
    chosen[order[:n]] = True
    return chosen


def _number(
    name: str,
    value: float | None,
    n: int,
    *,
    direction: Literal["higher", "lower"] = "lower",
    unit: str = "",
    reason: str = "",
    flags: tuple[str, ...] = (),
) -> Estimate:
    return Estimate(name, value, n_clusters=n, direction=direction, unit=unit, reason=reason, flags=flags)
