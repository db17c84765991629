"""CPR and CMD exactly as the MIB benchmark defines them (arXiv:2504.13151), for comparison with its board.

    CPR = trapezoid of f over the ten budgets k, components ranked by signed score
    CMD = trapezoid of |1 - f| over k, components ranked by absolute score

The x axis is the nominal k, not the realised size, and the domain has length 0.999. 85% of the weight sits on k >= 0.2:
a method that recovers nothing before k = 1 has CPR 0.25 and CMD 0.749.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.metrics.prefixes import BUDGETS


def cpr(f: Float[ndarray, "*batch budget"]) -> Float[ndarray, "*batch"]:
    """Area under f over the ten budgets, circuits ranked by signed score; unbounded, higher is better.

    Example: nothing is recovered before k = 1: (1 - 0.5) * (0 + 1) / 2
    >>> float(cpr(np.array([0.0] * 9 + [1.0])))
    0.25
    """
    return np.asarray(np.trapezoid(f, BUDGETS, axis=-1))


def cmd(f: Float[ndarray, "*batch budget"]) -> Float[ndarray, "*batch"]:
    """Area of |1 - f| over the ten budgets, circuits ranked by absolute score; non-negative, lower is better.

    Example:
    >>> round(float(cmd(np.array([0.0] * 9 + [1.0]))), 12)
    0.749
    """
    return np.asarray(np.trapezoid(np.abs(1.0 - f), BUDGETS, axis=-1))


def budget_mean(f: Float[ndarray, "*batch budget"]) -> Float[ndarray, "*batch"]:
    """Plain mean of f over the ten budgets."""
    return np.asarray(f.mean(axis=-1))
