"""Faithfulness and completeness: how much of the model's behaviour a circuit, or its complement, recovers.

m(X) is the mean over pairs of a per-pair metric: M the full model, 0 the empty circuit, C a circuit, M - C its
complement.

    f(C)  = (m(C) - m(0)) / (m(M) - m(0))             a ratio of means; 0 = empty circuit, 1 = full model, unbounded
    c(C)  = 1 - f(M - C)                              1 = nothing left without the circuit
    f_kl  = 1 - mean KL(M, C) / mean KL(M, 0)         f with m = KL(M, X), because KL(M, M) = 0
    f_acc = f with m = accuracy

Reference: faithfulness as in MIB, arXiv:2504.13151; completeness under knock-outs after Wang et al., arXiv:2211.00593.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api.errors import NoEffect

MIN_KL: Final = 0.05
"""Nats of KL(M, 0) below which there is nothing to recover."""
MIN_SHARE: Final = 0.1
"""Pairs whose own effect is smaller than this share of the mean effect are left out of a mean of ratios."""


@dataclass(frozen=True)
class RatioMean:
    """Mean of per-pair ratios.

    Attributes:
        value: the mean over the pairs used.
        n_dropped: pairs left out because their denominator is too small.
    """

    value: float
    n_dropped: int


def faithfulness(
    circuit: Float[ndarray, "*batch pair"], full: Float[ndarray, " pair"], empty: Float[ndarray, " pair"]
) -> Float[ndarray, "*batch"]:
    """f(C), the ratio of means; with the accuracies it is f_acc.

    Args:
        circuit: per-pair metric of one or more circuits.
        full: per-pair metric of the full model, higher is better.
        empty: per-pair metric of the empty circuit.

    Returns: unitless, unbounded.

    Raises:
        NoEffect: the full model is not better than the empty circuit on average.

    Example: means 3, -1 and 2, so (2 + 1) / (3 + 1)
    >>> m, zero = np.array([4.0, 2, 3, 3]), np.array([-2.0, -1, 0, -1])
    >>> float(faithfulness(np.array([3.0, 3, 0, 2]), m, zero))
    0.75
    """
    effect = full.mean() - empty.mean()
    if effect <= 0:
        raise NoEffect(
            f"Expected the full model to score above the empty circuit, found a mean difference of {effect:.4g}. "
            "Use pairs that the model answers correctly."
        )
    return np.asarray((circuit.mean(axis=-1) - empty.mean()) / effect)


def completeness(
    removed: Float[ndarray, "*batch pair"], full: Float[ndarray, " pair"], empty: Float[ndarray, " pair"]
) -> Float[ndarray, "*batch"]:
    """c(C) = 1 - f(M - C), from the per-pair metric of the model without the circuit.

    Raises:
        NoEffect: as `faithfulness`.
    """
    return np.asarray(1.0 - faithfulness(removed, full, empty))


def bounded(f: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch"]:
    """g(f) = 1 - min(|1 - f|, 1): 1 at f = 1, 0 for f <= 0 and f >= 2, so that over-recovery earns nothing.

    Example:
    >>> bounded(np.array([0, 0.5, 1, 1.2, 2, 3, -0.5])).round(12).tolist()
    [0.0, 0.5, 1.0, 0.8, 0.0, 0.0, 0.0]
    """
    return np.asarray(1.0 - np.minimum(np.abs(1.0 - f), 1.0))


def mean_of_ratios(
    circuit: Float[ndarray, " pair"], full: Float[ndarray, " pair"], empty: Float[ndarray, " pair"]
) -> RatioMean:
    """f_ror = mean over pairs of (m_i(C) - m_i(0)) / (m_i(M) - m_i(0)); secondary, one pair can carry it.

    Pairs whose denominator is below a tenth of |m(M) - m(0)| are dropped and counted.

    Raises:
        NoEffect: no pair is left.
    """
    effect = full - empty
    used = (np.abs(effect) >= MIN_SHARE * np.abs(effect.mean())) & (effect != 0)
    if not used.any():
        raise NoEffect(
            f"Expected pairs on which the empty circuit changes the metric, found none of {len(full)}. "
            "Use other pairs or another metric."
        )
    ratios = (circuit[used] - empty[used]) / effect[used]
    return RatioMean(float(ratios.mean()), int((~used).sum()))


def pair_recovery(
    circuit: Float[ndarray, "*batch pair"], full: Float[ndarray, " pair"], empty: Float[ndarray, " pair"]
) -> Float[ndarray, "*batch pair"]:
    """b_i = 1 - min(|m_i(C) - m_i(M)| / |m_i(M) - m_i(0)|, 1), in [0, 1] for each pair; b is its mean.

    Where the full model equals the empty circuit, b_i is 1 if the circuit equals both and 0 otherwise.
    """
    distance, effect = np.abs(circuit - full), np.abs(full - empty)
    ratio = np.divide(distance, effect, out=np.where(distance > 0, 1.0, 0.0), where=effect > 0)
    return np.asarray(1.0 - np.minimum(ratio, 1.0))


def incompleteness(f_circuit: Float[ndarray, " draw"], f_model: Float[ndarray, " draw"]) -> Float[ndarray, " draw"]:
    """|f(C - K) - f(M - K)| for knocked-out sets K: 0 where the circuit breaks exactly as the model does.

    Args:
        f_circuit: f of the circuit without each K.
        f_model: f of the model without each K.
    """
    return np.asarray(np.abs(f_circuit - f_model))


def knock_outs(kept: Bool[ndarray, " comp"], n: int, rng: np.random.Generator) -> Bool[ndarray, "draw comp"]:
    """`n` random sets K of a circuit's components: first their number, 1 to all, then which ones, each uniformly."""
    members = np.flatnonzero(kept)
    drawn = np.zeros((n, len(kept)), dtype=np.bool_)
    for row in drawn if len(members) else ():
        row[rng.choice(members, size=rng.integers(1, len(members) + 1), replace=False)] = True
    return drawn
