"""Numbers with intervals for reports: the paired cluster bootstrap over the pairs of one sample, or of two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api.prompts import PromptPair, data_hash
from arithloc.benchmark.api.report import Measured
from arithloc.benchmark.metrics.bootstrap import Resamples, interval, resamples

N_DRAWS: Final = 1000
"""Bootstrap replicates behind an interval of a report."""


def draws_of(pairs: Sequence[PromptPair]) -> Resamples:
    """Draws of operand pairs, seeded by the pairs: two statistics of one sample are paired, of two samples independent.

    Raises:
        MetricError: no pairs.
    """
    return resamples([pair.cluster for pair in pairs], data_hash(pairs), N_DRAWS)


def measured(value: float, replicates: Float[ndarray, " rep"], n_clusters: int) -> Measured:
    """A number with the quantiles of its replicates."""
    found = interval(replicates)
    return Measured(float(value), found.low, found.high, n_clusters)


def mean_of(values: Float[ndarray, " pair"], draws: Resamples) -> Measured:
    """Mean over pairs.

    Example: two clusters of one pair each
    >>> draws = Resamples(np.array([0, 1]), np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))
    >>> mean_of(np.array([1.0, 3.0]), draws).value
    2.0
    """
    return measured(float(values.mean()), draws.means(values), draws.n_clusters)


def means_of(values: Float[ndarray, "row pair"], draws: Resamples) -> list[Measured]:
    """Mean over pairs of each row."""
    replicates = draws.means(values)
    return [measured(float(row.mean()), replicates[:, i], draws.n_clusters) for i, row in enumerate(values)]


@dataclass(frozen=True, eq=False)
class Spread:
    """Means with their replicates, of which differences and ratios are taken.

    Attributes:
        value: point values.
        replicates: the same in each resample; NaN where a resample has no pair of the kind.
        n: independent clusters behind them.
    """

    value: Float[ndarray, "..."]
    replicates: Float[ndarray, "rep ..."]
    n: int

    def map(self, function: Callable[[ndarray], ndarray]) -> "Spread":
        """A statistic of the values, worked out for every resample anew.

        Args:
            function: of all resamples at once: from an array (rep, *shape) to one with the same first axis.
        """
        return Spread(np.asarray(function(self.value[None])[0]), np.asarray(function(self.replicates)), self.n)

    def __sub__(self, other: "Spread") -> "Spread":
        return Spread(
            np.asarray(self.value - other.value),
            np.asarray(self.replicates - other.replicates),
            min(self.n, other.n),
        )

    @property
    def measured(self) -> Measured:
        """One number with its interval; resamples without a value are left out."""
        finite = self.replicates[np.isfinite(self.replicates)]
        if len(finite) < 2:
            return Measured(float(self.value), float("nan"), float("nan"), self.n)
        return measured(float(self.value), finite, self.n)

    def each(self) -> list[Measured]:
        """One number with its interval for each entry along the only axis."""
        return [Spread(np.asarray(v), self.replicates[:, i], self.n).measured for i, v in enumerate(self.value)]


def masked_means(values: Float[ndarray, "*cell pair"], has: Bool[ndarray, "*cell pair"], draws: Resamples) -> Spread:
    """Means over the pairs that have the cell.

    Args:
        values: one per cell and pair; where `has` is False they do not count.
        has: which pairs have the cell; NaN for a cell that none has.
        draws: resamples of all pairs.
    """
    weights = has.astype(np.float64)
    kept = np.where(has, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = kept.sum(-1) / weights.sum(-1)
        replicates = draws.sums(kept) / draws.sums(weights)
    clusters = len(np.unique(draws.cluster[has.reshape(-1, has.shape[-1]).any(0)]))
    return Spread(np.asarray(value), np.asarray(replicates), clusters)
