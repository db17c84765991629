"""Numbers with intervals for reports: the paired cluster bootstrap over the pairs of one sample, or of two."""

from collections.abc import Sequence
from typing import Final

from jaxtyping import Float
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
