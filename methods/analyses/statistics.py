"""Numbers made of several means, worked out for every resample."""

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from arithloc.benchmark.metrics.measured import Spread


def derived(of: Spread, function: Callable[[ndarray], float]) -> Spread:
    """One number made of the means of one resample, for each of them.

    Args:
        of: means.
        function: from an array of the shape of `value` to a number.

    Example: the largest of two means
    >>> found = derived(Spread(np.array([1.0, 2.0]), np.array([[1.0, 3.0], [4.0, 0.0]]), 2), np.max)
    >>> float(found.value), found.replicates.tolist()
    (2.0, [3.0, 4.0])
    """
    replicates = np.array([function(replicate) for replicate in of.replicates], dtype=np.float64)
    return Spread(np.asarray(function(of.value), dtype=np.float64), replicates, of.n)
