"""Intervals of shares."""

import math
from typing import Final

Z: Final = 1.959963984540054
"""97.5% point of the normal distribution."""


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% score interval of a share of `n` independent trials.

        (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    It stays inside [0, 1] and keeps a width where all trials agree. Of pairs that share operands, `n` is the number of
    distinct clusters: as wide as if pairs of one cluster always agreed, so never too narrow.

    Args:
        share: p, in [0, 1].
        n: at least 1.

    Reference: Wilson, JASA 22, 1927.

    Example: 9 right of 10: (0.9 + 0.192073 -+ 1.959964 sqrt(0.009 + 0.009604)) / 1.384146
    >>> low, high = wilson(0.9, 10)
    >>> round(low, 4), round(high, 4)
    (0.5958, 0.9821)
    """
    square = Z * Z / n
    half = Z * math.sqrt(share * (1 - share) / n + square / (4 * n))
    low, high = ((share + square / 2 + sign * half) / (1 + square) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)
