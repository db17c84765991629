"""How the scores of a set of cells agree: with the truth, with themselves on other pairs, under other conditions."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import norm

from arithloc.benchmark.metrics.comparison import POWER
from arithloc.benchmark.metrics.ranking import SplitHalf, kendall_tau_b, pairs_to_separate, rank, split_half
from arithloc.benchmark.metrics.stability import spearman
from arithloc.benchmark.metrics.transfer import ablation_sensitivity
from arithloc.benchmark.validity.cells import AREA, Measured

CLEAR = 0.05
"""Difference of AUROC from which on two methods are clearly different."""
FACTORS = (1, 2, 4, 16)
"""Multiples of the clusters at hand for which the share of separable pairs is estimated."""


@dataclass(frozen=True)
class RankAgreement:
    """Agreement of two orders of methods.

    Attributes:
        spearman, kendall: rank correlations; None where one of the two is constant.
        alike: of the pairs of methods that the second tells clearly apart, the share that the first orders the same way;
            None without such a pair.
        n: methods.
    """

    spearman: float | None
    kendall: float | None
    alike: float | None
    n: int


@dataclass(frozen=True)
class Separation:
    """How many pairs of methods are told apart on one question.

    Attributes:
        n_methods: methods.
        n_clusters: clusters of test pairs.
        separated: share of all pairs that the joint rank intervals separate.
        reachable: by factor, share of pairs that so many times the clusters would separate with a chance of 80%.
        median_needed: median over the pairs that are not separated of the clusters needed; None for no such pair.
    """

    n_methods: int
    n_clusters: int
    separated: float
    reachable: dict[int, float]
    median_needed: float | None


@dataclass(frozen=True)
class Shift:
    """What another condition does to the areas of the same methods.

    Attributes:
        agreement: of the orders of the methods.
        mean_spread: mean over methods of the largest minus the smallest area.
        mean_worst: mean over methods of the smaller area.
    """

    agreement: RankAgreement
    mean_spread: float
    mean_worst: float


def agreement(a: Sequence[float | None], b: Sequence[float | None]) -> RankAgreement:
    """Rank correlations over the places where both have a value.

    Example:
    >>> agreement([1.0, 2.0, None, 3.0], [10.0, 30.0, 5.0, 20.0])
    RankAgreement(spearman=0.5, kendall=0.3333333333333333, alike=0.6666666666666666, n=3)
    """
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(both) < 2:
        return RankAgreement(None, None, None, len(both))
    first, second = (np.array(side, dtype=np.float64) for side in zip(*both, strict=True))
    tau = kendall_tau_b(first, second)
    clear = [(x - u) * (y - v) > 0 for (x, y), (u, v) in itertools.combinations(both, 2) if abs(y - v) >= CLEAR]
    alike = float(np.mean(clear)) if clear else None
    return RankAgreement(spearman(first, second), tau if np.isfinite(tau) else None, alike, len(both))


def with_truth(cells: Sequence[Measured], score: str, *, higher_is_better: bool) -> RankAgreement:
    """Does a score order methods as AUROC against the proven circuit does?"""
    sign = 1.0 if higher_is_better else -1.0
    values = [None if (value := cell.value(score)) is None else sign * value for cell in cells]
    return agreement(values, [cell.value("auroc") for cell in cells])


def halves(cells: Sequence[Measured], seed: int, n_splits: int = 100) -> SplitHalf:
    """Agreement of the orders of methods on two random halves of the clusters."""

    def areas(clusters: Bool[ndarray, " cluster"]) -> Float[ndarray, " entry"]:
        return np.array([cell.area_on(clusters) for cell in cells])

    return split_half(areas, min(cell.n_clusters for cell in cells), seed, n_splits)


def separation(cells: Sequence[Measured]) -> Separation:
    """Pairs of methods that are separated, and the clusters that the others would need."""
    values = np.array([cell.value(AREA) for cell in cells], dtype=np.float64)
    replicates = np.array([cell.replicates for cell in cells])
    board = rank(values, replicates)
    n = min(cell.n_clusters for cell in cells)
    critical = board.critical + float(norm.ppf(POWER))
    needed, open_pairs = [], []
    for i, j in itertools.combinations(range(len(cells)), 2):
        difference, se = float(values[i] - values[j]), float((replicates[i] - replicates[j]).std(ddof=1))
        found = pairs_to_separate(difference, se, n, critical) if se else None
        clusters = np.inf if found is None else float(found)
        needed.append(clusters)
        if not (board.beats[i, j] or board.beats[j, i]):
            open_pairs.append(clusters)
    n_open, total = len(open_pairs), len(needed)
    finite = [clusters for clusters in open_pairs if np.isfinite(clusters)]
    return Separation(
        n_methods=len(cells),
        n_clusters=n,
        separated=(total - n_open) / total,
        reachable={factor: float(np.mean(np.array(needed) <= factor * n)) for factor in FACTORS},
        median_needed=float(np.median(finite)) if finite else None,
    )


def shift(usual: Sequence[Measured], other: Sequence[Measured]) -> Shift:
    """The areas of the same methods under two conditions, methods matched by title."""
    areas = {cell.summary.title: cell.value(AREA) for cell in other}
    pairs = [
        (first, second)
        for cell in usual
        if (first := cell.value(AREA)) is not None and (second := areas.get(cell.summary.title)) is not None
    ]
    found = [ablation_sensitivity(np.array(pair)) for pair in pairs]
    return Shift(
        agreement=agreement([first for first, _ in pairs], [second for _, second in pairs]),
        mean_spread=float(np.mean([one.spread for one in found])),
        mean_worst=float(np.mean([one.worst for one in found])),
    )
