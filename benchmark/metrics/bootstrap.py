"""Paired cluster bootstrap: clusters of pairs are drawn with replacement, the same draws for every method and metric.

Per cluster c and run X the sum S_c(X) of the per-pair metric is enough: with multinomial weights w_b over clusters,

    f_b(C) = (w_b . S(C) - w_b . S(0)) / (w_b . S(M) - w_b . S(0))

The weights depend on the data alone (the hash of the pairs seeds them), so replicate b of two methods on the same pairs
is the same resample and differences are paired. Only prompts are resampled: never seeds, methods or random circuits.

Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError

FEW_CLUSTERS: Final = 20
"""With fewer clusters an interval is flagged as unreliable."""
MAX_BAD_SHARE: Final = 0.025
"""Share of replicates without a positive denominator above which a ratio is not reported."""
TAIL: Final = 0.05
"""Tail of a one-sided bound; an interval has half of it on each side."""


@dataclass(frozen=True)
class Interval:
    """95% interval and standard deviation of bootstrap replicates."""

    low: float
    high: float
    se: float


@dataclass(frozen=True, eq=False)
class Resamples:
    """Draws of clusters.

    Attributes:
        cluster: index of the cluster of each pair.
        weights: how often each replicate draws each cluster.
    """

    cluster: Int[ndarray, " pair"]
    weights: Float[ndarray, "rep cluster"]

    @property
    def n_clusters(self) -> int:
        """Distinct clusters."""
        return int(self.weights.shape[1])

    def sums(self, values: Float[ndarray, "*batch pair"]) -> Float[ndarray, "rep ..."]:
        """w_b . S: sum of per-pair values in each replicate."""
        by_cluster = np.argsort(self.cluster, kind="stable")
        starts = np.searchsorted(self.cluster[by_cluster], np.arange(self.n_clusters))
        per_cluster = np.add.reduceat(values.astype(np.float64)[..., by_cluster], starts, axis=-1)
        return np.asarray(np.moveaxis(per_cluster @ self.weights.T, -1, 0))

    @cached_property
    def n_pairs(self) -> Float[ndarray, " rep"]:
        """Pairs in each replicate."""
        return self.sums(np.ones(len(self.cluster)))

    def means(self, values: Float[ndarray, "*batch pair"]) -> Float[ndarray, "rep ..."]:
        """Mean of per-pair values in each replicate."""
        return np.asarray(self.sums(values) / _column(self.n_pairs, values.ndim))


def resamples(clusters: Sequence[str], data_hash: str, n_draws: int) -> Resamples:
    """The draws for one set of pairs.

    Args:
        clusters: cluster of each pair, by name.
        data_hash: hexadecimal hash of the pairs; seeds the draws.
        n_draws: replicates.

    Raises:
        MetricError: no pairs, or fewer than two draws.
    """
    if not clusters or n_draws < 2:
        raise MetricError(f"Expected pairs and at least 2 draws, found {len(clusters)} and {n_draws}. Draw more.")
    names, cluster = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    return Resamples(cluster, _weights(len(names), data_hash, n_draws))


@lru_cache(maxsize=4)
def _weights(n_clusters: int, data_hash: str, n_draws: int) -> Float[ndarray, "rep cluster"]:
    rng = np.random.default_rng(int(data_hash, 16))
    weights = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_draws).astype(np.float64)
    weights.setflags(write=False)
    return weights


def ratios(
    circuit: Float[ndarray, "rep ..."], full: Float[ndarray, " rep"], empty: Float[ndarray, " rep"]
) -> Float[ndarray, "rep ..."]:
    """Replicates of f, from replicates of the means.

    A replicate whose denominator is exactly 0 gets a millionth of the largest one instead, hence a huge f; how many
    denominators are not positive is for `bad_share` to say.
    """
    effect = full - empty
    effect = np.where(effect == 0, 1e-6 * (np.abs(effect).max() or 1.0), effect)
    return np.asarray((circuit - _column(empty, circuit.ndim)) / _column(effect, circuit.ndim))


def bad_share(full: Float[ndarray, " rep"], empty: Float[ndarray, " rep"]) -> float:
    """Share of replicates in which the mean of the full model is not above that of the empty circuit."""
    return float((full <= empty).mean())


def _column(replicates: Float[ndarray, " rep"], ndim: int) -> Float[ndarray, "rep ..."]:
    return replicates.reshape(-1, *[1] * (ndim - 1))


def interval(replicates: Float[ndarray, " rep"]) -> Interval:
    """2.5% and 97.5% quantiles, linearly interpolated, and the standard deviation."""
    low, high = np.quantile(replicates, [TAIL / 2, 1 - TAIL / 2])
    return Interval(float(low), float(high), float(replicates.std(ddof=1)))


def lower_bound(replicates: Float[ndarray, "rep ..."]) -> Float[ndarray, "..."]:
    """One-sided 95% lower bound: the 5% quantile."""
    return np.asarray(np.quantile(replicates, TAIL, axis=0))


def upper_bound(replicates: Float[ndarray, "rep ..."]) -> Float[ndarray, "..."]:
    """One-sided 95% upper bound: the 95% quantile."""
    return np.asarray(np.quantile(replicates, 1 - TAIL, axis=0))


def quantile_with_infinity(replicates: Float[ndarray, " rep"], q: float) -> float:
    """Linearly interpolated quantile of values that may be +infinity; infinite as soon as an infinite one is used.

    Example: the median of 1, 2, 3, inf lies between 2 and 3; the upper quartile between 3 and inf
    >>> values = np.array([3.0, np.inf, 1.0, 2.0])
    >>> quantile_with_infinity(values, 0.5), quantile_with_infinity(values, 0.75)
    (2.5, inf)
    """
    place = q * (len(replicates) - 1)
    below, above = np.sort(replicates)[[int(np.floor(place)), int(np.ceil(place))]]
    if np.isinf(above):
        return float("inf")
    return float(below + (place - np.floor(place)) * (above - below))
