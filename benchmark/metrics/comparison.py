"""Is one method better than another? Paired bootstrap differences, with Holm's correction over a family of them.

With d = a - b on the same pairs and d_b its replicates, the two-sided p-value inverts the percentile interval:

    p = min(1, 2 (1 + min(#{d_b <= 0}, #{d_b >= 0})) / (B + 1))

so p <= 0.05 exactly where the 95% interval leaves zero out, up to the interpolation of quantiles. Its smallest value is
2 / (B + 1): a family of more than 0.025 (B + 1) differences can separate nothing, and `Comparison.floor` says so.

Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16; Holm, Scandinavian Journal of
Statistics 6, 1979.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import norm

from arithloc.benchmark.metrics.bootstrap import FEW_CLUSTERS, TAIL, interval
from arithloc.benchmark.metrics.multiplicity import holm
from arithloc.benchmark.metrics.ranking import pairs_to_separate
from arithloc.benchmark.metrics.resolution import without_rounding

POWER: Final = 0.8
"""Chance of separating that the needed number of clusters gives."""


class Verdict(StrEnum):
    """What a comparison shows."""

    BETTER = "better"
    """The first is better."""
    WORSE = "worse"
    """The first is worse."""
    OPEN = "not separable at this n"
    """The difference is within what other pairs could change."""


@dataclass(frozen=True, eq=False)
class Paired:
    """Two scores on the same clusters.

    Attributes:
        a, b: point values.
        a_replicates, b_replicates: bootstrap replicates, from the same resamples.
        n_clusters: clusters behind them.
        higher_is_better: direction of the score.
    """

    a: float
    b: float
    a_replicates: Float[ndarray, " rep"]
    b_replicates: Float[ndarray, " rep"]
    n_clusters: int
    higher_is_better: bool = True


@dataclass(frozen=True)
class Comparison:
    """The difference of two scores.

    Attributes:
        difference: a - b.
        low, high: 95% interval of the difference, not corrected for the family.
        se: standard deviation of its replicates.
        p: two-sided p-value of this difference alone.
        p_holm: the same after Holm's correction over the family.
        floor: the smallest `p_holm` that this family could have shown; above 0.05 nothing can be separated.
        verdict: by `p_holm` at 0.05.
        clusters_needed: clusters at which a difference of this size would be separated in this family with a chance of
            80%; None for no difference or no spread.
        flags: `few-clusters` under 20 clusters, `too-few-draws` where `floor` exceeds 0.05.
    """

    difference: float
    low: float
    high: float
    se: float
    p: float
    p_holm: float
    floor: float
    verdict: Verdict
    clusters_needed: int | None
    flags: tuple[str, ...] = ()


def bootstrap_p(replicates: Float[ndarray, " rep"]) -> float:
    """Two-sided p-value of "no difference" from replicates of a difference.

    Example: 1 of 99 replicates on the other side of zero: 2 (1 + 1) / 100
    >>> bootstrap_p(np.append(np.full(98, 0.3), -0.1))
    0.04
    """
    other_side = min(int((replicates <= 0).sum()), int((replicates >= 0).sum()))
    return min(1.0, 2 * (1 + other_side) / (len(replicates) + 1))


def compare(family: Sequence[Paired]) -> list[Comparison]:
    """Compares a with b in every member of a family, corrected for their number.

    Values and replicates that are equal up to rounding, as of two entries with the same circuits, are never separated.

    Raises:
        ValueError: replicates of different numbers inside one member.
    """
    if not family:
        return []
    replicates = [without_rounding(one.a_replicates - one.b_replicates, _scale(one)) for one in family]
    p = np.array([bootstrap_p(differences) for differences in replicates])
    adjusted = holm(p)
    # a difference beyond the middle of its family is tested at a milder level; this is the level of the first test
    critical = float(norm.ppf(1 - TAIL / (2 * len(family)))) + float(norm.ppf(POWER))
    return [
        _compared(one, replicates[i], float(p[i]), float(adjusted[i]), critical, len(family))
        for i, one in enumerate(family)
    ]


def _scale(one: Paired) -> float:
    return max(1.0, abs(one.a), abs(one.b))


def _compared(
    one: Paired, replicates: Float[ndarray, " rep"], p: float, p_holm: float, critical: float, n_family: int
) -> Comparison:
    spread = interval(replicates)
    difference = float(without_rounding(np.asarray(one.a - one.b), _scale(one)))
    floor = min(1.0, 2 * n_family / (len(replicates) + 1))
    better = difference > 0 if one.higher_is_better else difference < 0
    separated = p_holm <= TAIL and difference != 0
    flags = (
        *(("few-clusters",) if one.n_clusters < FEW_CLUSTERS else ()),
        *(("too-few-draws",) if floor > TAIL else ()),
    )
    return Comparison(
        difference=difference,
        low=spread.low,
        high=spread.high,
        se=spread.se,
        p=p,
        p_holm=p_holm,
        floor=floor,
        verdict=(Verdict.BETTER if better else Verdict.WORSE) if separated else Verdict.OPEN,
        clusters_needed=pairs_to_separate(difference, spread.se, one.n_clusters, critical) if spread.se else None,
        flags=flags,
    )
