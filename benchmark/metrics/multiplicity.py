"""Adjusted p-values of many tests."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def holm(p: Float[ndarray, " test"]) -> Float[ndarray, " test"]:
    """Holm's step-down adjustment: controls the chance of any false rejection.

    Reference: Holm, Scandinavian Journal of Statistics 6, 1979.

    Example:
    >>> holm(np.array([0.01, 0.04, 0.03])).round(12).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _back(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p: Float[ndarray, " test"]) -> Float[ndarray, " test"]:
    """Benjamini and Hochberg's step-up adjustment: controls the share of false rejections.

    Reference: Benjamini and Hochberg, JRSS B 57(1), 1995.

    Example:
    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(12).tolist()
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    return _back(np.minimum(stepped, 1.0), order)


def _back(adjusted: Float[ndarray, " test"], order: ndarray) -> Float[ndarray, " test"]:
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result
