"""What counts as equal: the same circuit run in two batches gives outputs that differ by the rounding of float32."""

from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

RESOLUTION: Final = 1e-5
"""Differences below this share of the values (of 1 for scores, whose scale is known) are rounding, not differences."""


def without_rounding(differences: Float[ndarray, "*batch"], scale: float = 1.0) -> Float[ndarray, "*batch"]:
    """Differences with those that are rounding set to 0.

    Args:
        differences: of values of about this scale.
        scale: size of the values that were subtracted.

    Example:
    >>> without_rounding(np.array([3e-7, -0.2])).tolist()
    [0.0, -0.2]
    """
    return np.where(np.abs(differences) <= RESOLUTION * scale, 0.0, differences)
