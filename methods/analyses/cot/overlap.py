"""Overlap of rankings, and what it would be by chance.

Reference: rank-biased overlap, Webber, Moffat and Zobel 2010, equation 5, cut at the length of the rankings and normalised.
"""

from typing import Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from scipy.stats import hypergeom

PERSISTENCE: Final = 0.98
"""Weight of each depth of a ranking relative to the one before: half of the weight is on about the first 35 places."""


def jaccard(a: Int[ndarray, " top"], b: Int[ndarray, " top"]) -> float:
    """Shared share of two sets of equal size.

    Example: two of four are shared, six in all
    >>> round(jaccard(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6])), 6)
    0.333333
    """
    shared = len(set(a.tolist()) & set(b.tolist()))
    return shared / (len(a) + len(b) - shared)


def chance_jaccard(k: int, n: int) -> float:
    """Mean of `jaccard` for two random sets of k of n: x / (2 k - x) with x hypergeometric, of mean k^2 / n.

    Example: one of two; equal or disjoint with equal chance
    >>> chance_jaccard(1, 2)
    0.5
    """
    x = np.arange(max(0, 2 * k - n), k + 1)
    return float((hypergeom.pmf(x, n, k, k) * x / (2 * k - x)).sum())


def rank_biased_overlap(a: Int[ndarray, " comp"], b: Int[ndarray, " comp"], p: float = PERSISTENCE) -> float:
    """Weighted mean of the shared share of the first d places, d = 1, 2, ..., with weights p^(d - 1); 1 for equal rankings.

    Example: the first places swapped, p = 1/2: (0 + 1/2 + 1/4) / (1 + 1/2 + 1/4)
    >>> round(rank_biased_overlap(np.array([0, 1, 2]), np.array([1, 0, 2]), 0.5), 6)
    0.428571
    """
    n = len(a)
    place_a, place_b = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    place_a[a], place_b[b] = np.arange(n), np.arange(n)
    shared = np.cumsum(np.bincount(np.maximum(place_a, place_b), minlength=n))
    weights = p ** np.arange(n)
    return float((weights * shared / np.arange(1, n + 1)).sum() / weights.sum())


def chance_overlap(n: int, p: float = PERSISTENCE) -> float:
    """Mean of `rank_biased_overlap` for two random rankings: the first d places share d^2 / n on average.

    Example: two components, p = 1/2: (1/2 + 1/2 x 1) / (1 + 1/2)
    >>> round(chance_overlap(2, 0.5), 6)
    0.666667
    """
    weights = p ** np.arange(n)
    return float((weights * np.arange(1, n + 1) / n).sum() / weights.sum())
