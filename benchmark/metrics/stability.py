"""Agreement of two rankings or circuits, against chance."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import hypergeom, spearmanr

from arithloc.benchmark.api.errors import MetricError

PERSISTENCE = 0.9
"""p of rank-biased overlap: weight of each rank relative to the one above."""
MIN_SEEDS = 3
"""Seeds needed to speak of their spread."""


def jaccard(a: Bool[ndarray, " comp"], b: Bool[ndarray, " comp"]) -> float:
    """|A and B| / |A or B| of two circuits; 1 for two empty ones."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def expected_jaccard(n_components: int, n: int) -> float:
    """Mean Jaccard index of two random circuits of n components: sum over k of Hyp(k; N, n, n) k / (2n - k).

    Example: N = 4, n = 2: 1/6 * 1 + 2/3 * 1/3
    >>> round(expected_jaccard(4, 2), 7)
    0.3888889
    """
    k = np.arange(n + 1)
    shared = np.divide(k, 2 * n - k, out=np.ones(n + 1), where=2 * n - k > 0)
    return float((hypergeom.pmf(k, n_components, n, n) * shared).sum())


def jaccard_above_chance(a: Bool[ndarray, " comp"], b: Bool[ndarray, " comp"]) -> float:
    """J_c = (J - E[J]) / (1 - E[J]) of two circuits with the same number of components: 0 at chance, 1 if equal.

    Raises:
        MetricError: circuits of different numbers of components, or full ones.
    """
    n = int(a.sum())
    if n != int(b.sum()) or n == len(a):
        raise MetricError(
            f"Expected two circuits of the same number of components, below {len(a)}, found {n} and {int(b.sum())}. "
            "Cut both rankings at the same place."
        )
    chance = expected_jaccard(len(a), n)
    return (jaccard(a, b) - chance) / (1 - chance)


def overlap_at(a: Int[ndarray, " comp"], b: Int[ndarray, " comp"], k: int) -> float:
    """|A_k and B_k| / k of the first k components of two rankings; chance is k / N."""
    return len(np.intersect1d(a[:k], b[:k])) / k


def overlap_above_chance(overlap: float, k: int, n_components: int) -> float:
    """(overlap - k / N) / (1 - k / N): 0 at chance, 1 if equal."""
    chance = k / n_components
    return (overlap - chance) / (1 - chance)


def average_overlap(a: Int[ndarray, " comp"], b: Int[ndarray, " comp"], depth: int) -> float:
    """AO@d: mean over i = 1 .. d of |A_i and B_i| / i."""
    return float(_agreement(a, b, depth).mean())


def rank_biased_overlap(
    a: Int[ndarray, " comp"], b: Int[ndarray, " comp"], depth: int, p: float = PERSISTENCE
) -> float:
    """RBO truncated at `depth` and normalised: sum p^(i-1) |A_i and B_i| / i divided by sum p^(i-1).

    Reference: Webber, Moffat and Zobel, ACM TOIS 28(4), 2010, equation 4.
    """
    weights = p ** np.arange(depth)
    return float((weights * _agreement(a, b, depth)).sum() / weights.sum())


def spearman(a: Float[ndarray, " comp"], b: Float[ndarray, " comp"]) -> float | None:
    """Spearman correlation of all scores with average ranks; None where one of the two is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def seed_spread(values: Float[ndarray, " seed"]) -> float | None:
    """Standard deviation of a score over seeds of the method, None for fewer than 3; never part of an interval."""
    return float(values.std(ddof=1)) if len(values) >= MIN_SEEDS else None


def _agreement(a: Int[ndarray, " comp"], b: Int[ndarray, " comp"], depth: int) -> Float[ndarray, " depth"]:
    shared = [len(np.intersect1d(a[:i], b[:i])) / i for i in range(1, depth + 1)]
    return np.array(shared)
