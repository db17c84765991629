"""What a metric reports: a number with its interval, or no number and the reason."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Estimate:
    """One named number.

    Attributes:
        name: name of the score.
        value: point value; None where it is not defined, and `reason` says why.
        low, high: 95% interval; `high` is None with the flag `high-not-reached` where it has no upper end.
        se: standard deviation of the bootstrap replicates.
        n_pairs: pairs behind it.
        n_clusters: independent clusters of pairs behind it.
        ranking_rule: how components were ordered: `absolute`, `signed` or `none`.
        direction: which way it is better: `higher` or `lower`.
        unit: unit of the value, empty for shares and ratios.
        reason: why there is no value: `no-effect`, `denominator`, `not-reached`, `no-size-range`.
        flags: cautions: `few-clusters`, `denominator`, `high-not-reached`.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    n_pairs: int = 0
    n_clusters: int = 0
    ranking_rule: Literal["absolute", "signed", "none"] = "none"
    direction: Literal["higher", "lower"] = "higher"
    unit: str = ""
    reason: str = ""
    flags: tuple[str, ...] = ()
