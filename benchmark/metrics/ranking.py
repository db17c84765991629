"""Ranks with intervals: who is separated from whom, jointly for a whole board. Numpy only.

With d_ij the difference of two scores, se_ij the standard deviation of its replicates, and the replicates paired,

    T_b = max over pairs of |d_ij,b - d_ij| / se_ij,    c = 95% quantile of T_b
    i beats j  iff  d_ij > c se_ij, and d_ij is more than the rounding of the model's outputs
    rank interval = [1 + number beating i, number of entries - number beaten by i]

Intervals hold simultaneously. Bootstrap p-values with Holm's correction cannot: with 2,000 draws the smallest is 1 / 2001,
too coarse for many pairs.

Reference: max-T adjustment as in Westfall and Young, Resampling-Based Multiple Testing, 1993; rank intervals as in
Mogstad et al., Review of Economic Studies 91(1), 2024.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark.metrics.resolution import RESOLUTION

CONFIDENCE: Final = 0.95
"""Joint confidence of all rank intervals of a board."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranks of the entries of a board; rank 1 is best.

    Attributes:
        low, high: rank interval of each entry.
        beats: whether entry i is separated from and better than entry j.
        critical: c, in standard deviations of a difference; 0 for a single entry, infinite without replicates.
        order: entries by point value, best first; inside a tie this order means nothing.
    """

    low: Int[ndarray, " entry"]
    high: Int[ndarray, " entry"]
    beats: Bool[ndarray, "entry entry"]
    critical: float
    order: Int[ndarray, " entry"]

    @property
    def tied(self) -> Bool[ndarray, "entry entry"]:
        """Whether two entries' intervals share a rank."""
        return np.asarray((self.low[:, None] <= self.high) & (self.low <= self.high[:, None]))


@dataclass(frozen=True)
class SplitHalf:
    """Agreement of rankings from two halves of the data.

    Attributes:
        tau: mean Kendall tau-b between the halves.
        same_first: share of splits with the same first entry.
        n_splits: random splits.
    """

    tau: float
    same_first: float
    n_splits: int


def rank(
    values: Float[ndarray, " entry"], replicates: Float[ndarray, "entry rep"], *, higher_is_better: bool = True
) -> Ranking:
    """Ranks entries with joint 95% intervals.

    Args:
        values: point value of each entry.
        replicates: bootstrap replicates, column b of all entries from the same resample; with fewer than two of them
            nothing is separated.
        higher_is_better: direction of the score.

    Example: one clear winner among three, the others not separable
    >>> noise = np.random.default_rng(0).normal(0, 0.02, (3, 500))
    >>> points = np.array([0.9, 0.50, 0.51])
    >>> found = rank(points, points[:, None] + noise)
    >>> list(zip(found.low.tolist(), found.high.tolist()))
    [(1, 1), (2, 3), (2, 3)]
    """
    sign = 1.0 if higher_is_better else -1.0
    values, replicates = sign * values, sign * replicates
    n, n_draws = replicates.shape
    se = np.zeros((n, n))
    extreme = np.zeros(n_draws)
    rounding = RESOLUTION * max(1.0, float(np.abs(values).max(initial=0.0)))
    for i in range(n - 1 if n_draws > 1 else 0):
        differences = replicates[i] - replicates[i + 1 :]
        means = differences.mean(axis=1, keepdims=True)
        differences -= means
        spread = np.sqrt((differences**2).sum(axis=1) / (n_draws - 1))
        se[i, i + 1 :] = se[i + 1 :, i] = np.where(spread > rounding, spread, 0.0)
        compared = spread > rounding
        differences += means - (values[i] - values[i + 1 :])[:, None]
        distances = np.abs(differences[compared]) / spread[compared, None]
        np.maximum(extreme, distances.max(axis=0, initial=0.0), out=extreme)
    critical = float(np.quantile(extreme, CONFIDENCE)) if n_draws > 1 else np.inf
    beats = values[:, None] - values > (np.maximum(critical * se, rounding) if n_draws > 1 else np.inf)
    return Ranking(
        low=1 + beats.sum(axis=0),
        high=n - beats.sum(axis=1),
        beats=beats,
        critical=critical,
        order=np.argsort(-values, kind="stable"),
    )


def kendall_tau_b(a: Float[ndarray, " entry"], b: Float[ndarray, " entry"]) -> float:
    """Rank correlation with ties: (concordant - discordant) / sqrt(pairs untied in a * pairs untied in b).

    NaN where one of the two has a single value.

    Example:
    >>> round(kendall_tau_b(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])), 7)
    0.6666667
    """
    upper = np.triu_indices(len(a), 1)
    first, second = np.sign(a[:, None] - a)[upper], np.sign(b[:, None] - b)[upper]
    untied = np.sqrt((first != 0).sum() * (second != 0).sum())
    return float((first * second).sum() / untied) if untied else float("nan")


def split_half(
    score_half: Callable[[Bool[ndarray, " cluster"]], Float[ndarray, " entry"]],
    n_clusters: int,
    seed: int,
    n_splits: int = 100,
) -> SplitHalf:
    """Ranks entries on random halves of the clusters.

    Args:
        score_half: scores of all entries, higher is better, on the clusters of a mask.
        n_clusters: clusters to split; of an odd number one half has one more.
        seed: seed of the splits.
        n_splits: how many.
    """
    rng = np.random.default_rng(seed)
    taus, same = [], 0
    for _ in range(n_splits):
        half = rng.permutation(n_clusters) < n_clusters // 2
        first, second = score_half(half), score_half(~half)
        taus.append(kendall_tau_b(first, second))
        same += int(first.argmax() == second.argmax())
    return SplitHalf(float(np.mean(taus)), same / n_splits, n_splits)


def pairs_to_separate(difference: float, se: float, n_pairs: int, critical: float = 1.96) -> int | None:
    """Pairs at which a difference of this size would be `critical` standard deviations; None for rounding alone.

    The standard deviation is taken to fall with the square root of the number of pairs.
    """
    if abs(difference) <= RESOLUTION:
        return None
    return int(np.ceil(n_pairs * (critical * se / difference) ** 2))
