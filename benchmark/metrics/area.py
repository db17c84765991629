"""Faithfulness area: recovered behaviour integrated over the logarithm of circuit size.

    F(s) = f of the largest evaluated circuit of size <= s, 0 if there is none
    area = 1 / ln(hi / lo) * integral from lo to hi of g(F(s)) d ln s,    g(f) = 1 - min(|1 - f|, 1)

A step function: every credited value was measured, none is interpolated towards circuits that were never run. For
consecutive sizes the piece is g_n ln(s_(n+1) / s_n).
"""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.faithfulness import bounded
from arithloc.benchmark.metrics.prefixes import HI, LO


def area_weights(sizes: Float[ndarray, " size"], lo: float = LO, hi: float = HI) -> Float[ndarray, " size"]:
    """Weight of each evaluated circuit in the area: the share of ln(hi / lo) on which it is the largest that fits.

    Args:
        sizes: realised sizes, strictly increasing.
        lo: where the area starts; a smaller circuit counts from there on.
        hi: where it ends; larger circuits have weight 0.

    Returns: non-negative, summing to at most 1.

    Raises:
        MetricError: sizes not positive and strictly increasing, or lo >= hi.
    """
    if lo >= hi:
        raise MetricError(f"Expected lo < hi, found {lo:.4g} and {hi:.4g}. This model is too small for a size curve.")
    if (np.diff(sizes) <= 0).any() or (sizes <= 0).any():
        raise MetricError(
            f"Expected positive, strictly increasing sizes, found {sizes.tolist()}. Merge equal circuits."
        )
    ends = np.log(np.clip(np.append(sizes, hi), lo, hi))
    return np.asarray(np.diff(ends) / math.log(hi / lo))


def faithfulness_area(
    f: Float[ndarray, "*batch size"], sizes: Float[ndarray, " size"], lo: float = LO, hi: float = HI
) -> Float[ndarray, "*batch"]:
    """Area under g(f) over ln(size), in [0, 1].

    Args:
        f: faithfulness of each evaluated circuit; leading axes are bootstrap replicates.
        sizes: realised sizes, strictly increasing.
        lo: smallest size, where the area starts.
        hi: size at which it ends.

    Raises:
        MetricError: as `area_weights`.

    Example: f = 1 from size 0.02 on: ln(0.5 / 0.02) / ln(0.5 / 0.001) = ln 25 / ln 500
    >>> round(float(faithfulness_area(np.array([1.0]), np.array([0.02]))), 7)
    0.5179531
    """
    return np.asarray(bounded(f) @ area_weights(sizes, lo, hi))
