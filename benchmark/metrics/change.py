"""Changes of predictions: relative logit change, and where an answer moves to."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError


@dataclass(frozen=True, eq=False)
class PredictionChange:
    """What a patch does to the predicted result of each pair.

    Attributes:
        changed: another prediction than without the patch.
        desired: changed, to the result of the run that the patch comes from.
        undesired: changed, although the prediction was right without the patch.
    """

    changed: Bool[ndarray, "*batch pair"]
    desired: Bool[ndarray, "*batch pair"]
    undesired: Bool[ndarray, "*batch pair"]


def rel_logit_change_zhang(reference: Float[ndarray, " pair"], patched: Float[ndarray, " pair"]) -> float:
    """Mean over pairs of (patched - reference) / reference, a mean of ratios.

    Raises:
        MetricError: a reference logit of 0.

    Reference: Zhang et al., arXiv:2409.01659.

    Example: -0.1, -0.05 and -0.2
    >>> import numpy as np
    >>> round(rel_logit_change_zhang(np.array([20.0, 10, 5]), np.array([18.0, 9.5, 4])), 7)
    -0.1166667
    """
    if (reference == 0).any():
        raise MetricError("Expected reference logits other than 0, found 0. Use the ratio of means.")
    return float(((patched - reference) / reference).mean())


def rel_logit_change(reference: Float[ndarray, " pair"], patched: Float[ndarray, " pair"]) -> float:
    """(mean patched - mean reference) / mean reference, the ratio of means.

    Raises:
        MetricError: a mean reference logit of 0.
    """
    if reference.mean() == 0:
        raise MetricError("Expected a mean reference logit other than 0, found 0. Use the mean difference.")
    return float((patched - reference).mean() / reference.mean())


def prediction_change(
    unpatched: Int[ndarray, " pair"],
    patched: Int[ndarray, "*batch pair"],
    donor_result: Int[ndarray, " pair"],
    answer: Int[ndarray, " pair"],
) -> PredictionChange:
    """Compares predicted results before and after a patch.

    Args:
        unpatched: prediction of the edited run without the patch.
        patched: prediction with it.
        donor_result: result of the run that the patch comes from.
        answer: right result of the edited prompt.

    Reference: Stolfo, Belinkov and Sachan, arXiv:2305.15054, section 4.
    """
    changed = patched != unpatched
    return PredictionChange(changed, changed & (patched == donor_result), changed & (unpatched == answer))
