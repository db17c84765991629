"""Is every part of a circuit needed, and is the circuit better than random ones of its size?

Minimality compares d(e) = |m(C) - m(C without e)| with null draws d_b: a random input-to-logits path is added to C and one
random added part is removed again. Sufficiency and necessity compare the circuit with B random circuits of the same
realised size. All binomial tests ask about the quantile q* = 0.9.

Reference: Shi et al., arXiv:2410.13032, section 3; their tests correct for multiplicity nowhere but in minimality.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import binom

from arithloc.benchmark.metrics.multiplicity import benjamini_hochberg, holm

QUANTILE: Final = 0.9
"""q*: share of random draws that a part or circuit should beat."""
LEVEL: Final = 0.05


@dataclass(frozen=True, eq=False)
class Minimality:
    """Both tests of every component of a circuit.

    Attributes:
        p: chance that a random addition matters as much as the component; small means that the component is needed.
        p_adjusted: the same after Benjamini and Hochberg.
        p_shi: null "the component beats at least 90% of random additions"; small means not needed.
        p_shi_adjusted: the same after Holm.
    """

    p: Float[ndarray, " comp"]
    p_adjusted: Float[ndarray, " comp"]
    p_shi: Float[ndarray, " comp"]
    p_shi_adjusted: Float[ndarray, " comp"]

    @property
    def minimal_share(self) -> float:
        """Share of the components that are shown to be needed."""
        return float((self.p_adjusted <= LEVEL).mean())

    @property
    def rejected(self) -> bool:
        """Whether the circuit is shown not to be minimal."""
        return bool((self.p_shi_adjusted <= LEVEL).any())


@dataclass(frozen=True)
class AgainstRandom:
    """A circuit against random circuits of its size.

    Attributes:
        better: random circuits that it beats.
        n: random circuits.
        p: null "it beats at most 90% of random circuits"; small means that it is better than that.
    """

    better: int
    n: int
    p: float


def minimality(effect: Float[ndarray, " comp"], null: Float[ndarray, " draw"]) -> Minimality:
    """Tests the components of a circuit, all against the same null draws.

    Args:
        effect: d(e) of each component.
        null: d_b of the random additions, at least 1,000 for a reported p.
    """
    drawn = np.sort(null)
    at_least = len(drawn) - np.searchsorted(drawn, effect, side="left")
    below = np.searchsorted(drawn, effect, side="left")
    p = (1 + at_least) / (len(drawn) + 1)
    p_shi = np.asarray(binom.cdf(below, len(drawn), QUANTILE))
    return Minimality(p, benjamini_hochberg(p), p_shi, holm(p_shi))


def against_random(better: int, n: int) -> AgainstRandom:
    """P(Bin(n, 0.9) >= better): small if a circuit beats more than 90% of random ones.

    With fewer than 29 random circuits no result is below 0.05.

    Example:
    >>> round(against_random(96, 100).p, 7)
    0.0237111
    """
    return AgainstRandom(better, n, float(binom.sf(better - 1, n, QUANTILE)))


def sufficiency(f: float, f_random: Float[ndarray, " draw"]) -> AgainstRandom:
    """Counts random circuits of the same size that are less faithful: |1 - f(C)| < |1 - f(C_b)|."""
    return against_random(int((abs(1 - f) < np.abs(1 - f_random)).sum()), len(f_random))


def necessity(f_without: float, f_without_random: Float[ndarray, " draw"]) -> AgainstRandom:
    """Counts random circuits whose knock-out hurts less: f(M - C) < f(M - C_b).

    Args:
        f_without: f of the model without the circuit.
        f_without_random: f without each random circuit of the same size, drawn from the circuit's complement where that
            is large enough.
    """
    return against_random(int((f_without < f_without_random).sum()), len(f_without_random))
