"""Agreement of component scores with a proven circuit: AUROC, average precision, precision and recall.

Positives are the components of the circuit, negatives all others of the space; components whose truth is undecided, or
that are on in every circuit, are in neither class. Components enter by their score, ties by half or by expectation.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from arithloc.benchmark.api.errors import MetricError

NULL_VECTORS: Final = 400
"""Random score vectors behind a null band."""


def auroc(scores: Float[ndarray, " comp"], positive: Bool[ndarray, " comp"]) -> float:
    """P(score of a positive > score of a negative) + P(equal) / 2, the exact Mann-Whitney statistic.

    Equals the trapezoid over all distinct thresholds with the anchors (0, 0) and (1, 1). Chance is 0.5.

    Raises:
        MetricError: no positive or no negative component.

    Example: positives 5, 3, 3 and negatives 3, 1, 0 have average ranks 6, 4, 4: (14 - 6) / 9
    >>> scores = np.array([5.0, 3, 3, 3, 1, 0])
    >>> round(auroc(scores, np.array([True, True, True, False, False, False])), 7)
    0.8888889
    """
    _both_classes(positive)
    n_positive = int(positive.sum())
    ranks = rankdata(scores)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(ranks / (n_positive * (len(scores) - n_positive)))


def average_precision(scores: Float[ndarray, " comp"], positive: Bool[ndarray, " comp"]) -> float:
    """Sum over distinct thresholds of (R_t - R_(t-1)) P_t; ties enter together, no interpolation.

    Chance is the share of positives.

    Raises:
        MetricError: no positive or no negative component.
    """
    _both_classes(positive)
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(positive[order])[last_of_tie]
    kept = np.flatnonzero(last_of_tie) + 1
    recall = found / positive.sum()
    return float((np.diff(recall, prepend=0.0) * found / kept).sum())


def ap_above_chance(average_precision: float, positive: Bool[ndarray, " comp"]) -> float:
    """AP_norm = (AP - share) / (1 - share): 0 at chance, 1 at best."""
    share = float(positive.mean())
    return (average_precision - share) / (1 - share)


def top_share(scores: Float[ndarray, " comp"], members: Bool[ndarray, " comp"], k: int) -> float:
    """Expected share of `members` among the k highest scores, ties at the cut broken at random.

    With the positives as members and k their number this is precision and recall at the true size.

    Raises:
        MetricError: no members, or k not between 1 and the number of components.
    """
    if not members.any() or not 1 <= k <= len(scores):
        raise MetricError(
            f"Expected members and 1 <= k <= {len(scores)}, found {int(members.sum())} members and k = {k}. "
            "Score a space that contains the circuit."
        )
    cut = np.sort(scores)[-k]
    above, tied = scores > cut, scores == cut
    expected = (members & above).sum() + (k - above.sum()) * (members & tied).sum() / tied.sum()
    return float(expected / members.sum())


def auroc_mib(kept: Bool[ndarray, "budget comp"], positive: Bool[ndarray, " comp"]) -> float:
    """AUROC as MIB computes it, for comparison: trapezoid of TPR over FPR at the ten budgets, no (0, 0) anchor.

    FPR is divided by its last value. A reference edge that is missing from the hypothesis counts as not predicted;
    the released code counts it as predicted.

    Raises:
        MetricError: no positive or no negative component, or no negative is ever kept.
    """
    _both_classes(positive)
    tpr, fpr = kept[:, positive].mean(axis=1), kept[:, ~positive].mean(axis=1)
    if fpr[-1] == 0:
        raise MetricError("Expected the last budget to keep components outside the circuit, found none. Raise budgets.")
    return float(np.trapezoid(tpr, fpr / fpr[-1]))


def _both_classes(positive: Bool[ndarray, " comp"]) -> None:
    if positive.all() or not positive.any():
        raise MetricError(
            f"Expected components inside and outside the circuit, found {int(positive.sum())} inside of "
            f"{len(positive)}. Score a space that the truth distinguishes."
        )
