"""Does the complement of a circuit still carry the task? A test of independence of its scores and the model's.

    HSIC = trace(Hc K Hc L) / (n - 1)^2,  K_ij = exp(-(x_i - x_j)^2 / (2 sigma_x^2)),  Hc = I - 1/n

sigma is the median distance of pairs i < j of each variable by itself, 1 if that is 0.

Reference: Gretton et al., ALT 2005; used for circuits by Shi et al., arXiv:2410.13032, whose released code takes one
bandwidth from the distances between the two variables and omits the + 1 of the permutation p-value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError

ROUNDING = 1e-12


@dataclass(frozen=True)
class Independence:
    """Outcome of the permutation test.

    Attributes:
        hsic: the statistic.
        p: small means that the complement's scores depend on the model's.
        n: clusters.
        n_permutations: permutations drawn.
    """

    hsic: float
    p: float
    n: int
    n_permutations: int


def bandwidth(x: Float[ndarray, " cluster"]) -> float:
    """Median distance of two clusters, 1 if it is 0."""
    distances = np.abs(x[:, None] - x)[np.triu_indices(len(x), 1)]
    return float(np.median(distances)) or 1.0


def hsic(x: Float[ndarray, " cluster"], y: Float[ndarray, " cluster"]) -> float:
    """Hilbert-Schmidt independence criterion with Gaussian kernels.

    Raises:
        MetricError: fewer than two clusters.

    Example:
    >>> round(hsic(np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 4, 9])), 7)
    0.1227002
    """
    _enough(len(x))
    return float((_centred(_kernel(x)) * _kernel(y)).sum() / (len(x) - 1) ** 2)


def independence(
    complement: Float[ndarray, " cluster"],
    full: Float[ndarray, " cluster"],
    strata: Sequence[str],
    seed: int,
    n_permutations: int = 1000,
) -> Independence:
    """Permutation test of independence; permutations stay within strata.

    Args:
        complement: cluster means of the metric with the circuit ablated.
        full: the same of the full model.
        strata: stratum of each cluster (frame, operator): differences between strata are not evidence.
        seed: seed of the permutations.
        n_permutations: at least 1,000 for a reported p.

    Returns: p = (1 + number of permutations with an HSIC at least as large) / (n_permutations + 1).

    Raises:
        MetricError: fewer than two clusters.
    """
    _enough(len(full))
    rng = np.random.default_rng(seed)
    kernel, other = _centred(_kernel(complement)), _kernel(full)
    _, stratum = np.unique(np.asarray(strata, dtype=object).astype(str), return_inverse=True)
    members = [np.flatnonzero(stratum == s) for s in range(stratum.max() + 1)]
    observed = float((kernel * other).sum())
    at_least = 0
    for _ in range(n_permutations):
        order = np.empty(len(full), dtype=np.int64)
        for group in members:
            order[group] = rng.permutation(group)
        at_least += int((kernel * other[np.ix_(order, order)]).sum() >= observed * (1 - ROUNDING))
    return Independence(
        hsic=observed / (len(full) - 1) ** 2,
        p=(1 + at_least) / (n_permutations + 1),
        n=len(full),
        n_permutations=n_permutations,
    )


def _kernel(x: Float[ndarray, " cluster"]) -> Float[ndarray, "cluster cluster"]:
    return np.asarray(np.exp(-(((x[:, None] - x) / bandwidth(x)) ** 2) / 2))


def _centred(kernel: Float[ndarray, "cluster cluster"]) -> Float[ndarray, "cluster cluster"]:
    return np.asarray(kernel - kernel.mean(axis=0) - kernel.mean(axis=1, keepdims=True) + kernel.mean())


def _enough(n: int) -> None:
    if n < 2:
        raise MetricError(f"Expected at least two clusters, found {n}. Draw more pairs.")
