"""Sparsity: the smallest circuit that is shown to recover 90% of the behaviour, and how concentrated scores are."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError

REACHED: Final = 0.9
"""Faithfulness that the lower bound must reach."""
EXCEEDED: Final = 1.1
"""Faithfulness that the upper bound must not exceed in the two-sided variant."""
NEVER: Final = -1
"""Index of a circuit that does not exist: the threshold is never reached."""


def reaches(
    lower: Float[ndarray, "*batch size"], upper: Float[ndarray, "*batch size"] | None = None
) -> Bool[ndarray, "*batch size"]:
    """Which circuits have a lower bound of f of at least 0.9 and, two-sided, an upper bound of at most 1.1."""
    enough = lower >= REACHED
    return np.asarray(enough if upper is None else enough & (upper <= EXCEEDED))


def first_reached(reached: Bool[ndarray, "*batch size"]) -> Int[ndarray, "*batch"]:
    """Index of the smallest circuit that reaches the threshold, or -1.

    Args:
        reached: as from `reaches`, sizes increasing.

    Example:
    >>> first_reached(np.array([[False, True, True], [False, False, False]])).tolist()
    [1, -1]
    """
    if reached.shape[-1] == 0:
        return np.full(reached.shape[:-1], NEVER)
    return np.asarray(np.where(reached.any(axis=-1), reached.argmax(axis=-1), NEVER))


def hoyer(scores: Float[ndarray, " comp"]) -> float:
    """Concentration of scores: (sqrt(d) - |x|_1 / |x|_2) / (sqrt(d) - 1); 0 all equal, 1 all but one zero.

    Raises:
        MetricError: fewer than two components, or all zero.

    Reference: Hoyer, JMLR 5, 2004, section 3.1.

    Example: (3, 4, 0, 0): |x|_1 = 7, |x|_2 = 5, (2 - 1.4) / (2 - 1)
    >>> round(hoyer(np.array([3.0, 4.0, 0.0, 0.0])), 12)
    0.6
    """
    norm = float(np.linalg.norm(scores))
    if len(scores) < 2 or norm == 0:
        raise MetricError(f"Expected at least two scores, not all zero, found {scores.tolist()[:5]}. Score components.")
    root = float(np.sqrt(len(scores)))
    return (root - float(np.abs(scores).sum()) / norm) / (root - 1)
