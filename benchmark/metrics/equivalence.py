"""Is a circuit as good as the model? Sign tests on independent trials: one score per cluster.

With pi the chance that the circuit scores above the model, w the clusters in which it does, and n those that are not tied:

    T-equiv (Shi et al.)   null |pi - 1/2| < eps     small p: not equivalent; a large p shows nothing
    TOST                   null |pi - 1/2| >= eps    small p: equivalence shown

Reference: Shi et al., Hypothesis Testing the Circuit Hypothesis in LLMs, arXiv:2410.13032, section 3; two one-sided tests
after Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987. Their released code feeds the mean score
difference into the first test where the share of wins belongs.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import binom

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.resolution import without_rounding

EPS: Final = 0.1
"""Largest distance of pi from 1/2 that counts as equivalent."""
ROUNDING: Final = 1e-12


@dataclass(frozen=True)
class Wins:
    """Clusters in which the circuit scores above the model.

    Attributes:
        wins: w.
        n: clusters that are not tied.
        ties: clusters that are.
    """

    wins: int
    n: int
    ties: int


@dataclass(frozen=True)
class Equivalence:
    """Both sign tests.

    Attributes:
        wins: what they are computed from.
        p_different: T-equiv; small means not equivalent.
        p_equivalent: TOST; small means equivalent.
        power: chance that the TOST shows equivalence at this n if pi = 1/2.
    """

    wins: Wins
    p_different: float
    p_equivalent: float
    power: float


def count_wins(circuit: Float[ndarray, " cluster"], full: Float[ndarray, " cluster"]) -> Wins:
    """Counts clusters, from cluster means of the metric; means that are equal up to rounding are tied."""
    scale = float(max(np.abs(circuit).max(initial=0), np.abs(full).max(initial=0)))
    difference = without_rounding(circuit - full, scale)
    ties = int((difference == 0).sum())
    return Wins(int((difference > 0).sum()), len(full) - ties, ties)


def equivalence(wins: Wins, eps: float = EPS, alpha: float = 0.05) -> Equivalence:
    """Tests whether circuit and model win equally often.

    Raises:
        MetricError: every cluster is tied, or `eps` is not between 0 and 1/2.

    Example: 52 wins of 100
    >>> round(equivalence(Wins(52, 100, 0)).p_equivalent, 4)
    0.0638
    """
    if wins.n == 0 or not 0 < eps < 0.5:
        raise MetricError(
            f"Expected clusters on which circuit and model differ and 0 < eps < 0.5, found {wins.n} and eps = {eps}. "
            "Identical scores are equivalent without a test."
        )
    return Equivalence(
        wins, p_different(wins.wins, wins.n, eps), p_equivalent(wins.wins, wins.n, eps), power(wins.n, eps, alpha)
    )


def p_different(wins: int, n: int, eps: float = EPS) -> float:
    """T-equiv: sum over k with |k/n - 1/2| >= |w/n - 1/2| of Binom(n, 1/2 + eps)(k)."""
    k = np.arange(n + 1)
    as_far = np.abs(k / n - 0.5) >= abs(wins / n - 0.5) - ROUNDING
    return float(min(binom.pmf(k[as_far], n, 0.5 + eps).sum(), 1.0))


def p_equivalent(wins: int, n: int, eps: float = EPS) -> float:
    """TOST: max of P(Bin(n, 1/2 - eps) >= w) and P(Bin(n, 1/2 + eps) <= w)."""
    return float(max(binom.sf(wins - 1, n, 0.5 - eps), binom.cdf(wins, n, 0.5 + eps)))


def power(n: int, eps: float = EPS, alpha: float = 0.05, pi: float = 0.5) -> float:
    """Chance that the TOST rejects at level `alpha` with n clusters, if the circuit wins with probability `pi`."""
    k = np.arange(n + 1)
    p = np.maximum(binom.sf(k - 1, n, 0.5 - eps), binom.cdf(k, n, 0.5 + eps))
    return float(binom.pmf(k[p <= alpha], n, pi).sum())
