"""Transfer of circuits between tasks, specificity against a control, and sensitivity to the ablation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError


@dataclass(frozen=True)
class Sensitivity:
    """How much a score depends on the ablation.

    Attributes:
        worst: lowest score.
        spread: highest minus lowest.
    """

    worst: float
    spread: float


def relative_transfer(f: Float[ndarray, "found evaluated"]) -> Float[ndarray, "found evaluated"]:
    """T_ij / T_jj with T_ij = f_j(C_i): the circuit of task i on task j, against task j's own circuit of equal size.

    NaN in the columns of tasks whose own circuit recovers nothing (T_jj <= 0).

    Example: f_j(C_i) = 0.6, f_j(C_j) = 0.8
    >>> round(float(relative_transfer(np.array([[1.0, 0.6], [0.5, 0.8]]))[0, 1]), 12)
    0.75
    """
    own = np.diag(f)
    return np.asarray(np.divide(f, own, out=np.full(f.shape, np.nan), where=own > 0))


def specificity(c_own: Float[ndarray, "*rep"], c_control: Float[ndarray, "*rep"]) -> Float[ndarray, "*rep"]:
    """S(C) = c_own(C) - c_control(C): the ablated circuit breaks its own task more than the matched control.

    Args:
        c_own: completeness on the task the circuit was found on; point value or replicates.
        c_control: completeness of the same circuit on the control, with the control's own full and empty runs.
    """
    return np.asarray(c_own - c_control)


def adjusted_specificity(
    c_own: Float[ndarray, "*rep"],
    c_control: Float[ndarray, "*rep"],
    random_own: Float[ndarray, "draw ..."],
    random_control: Float[ndarray, "draw ..."],
) -> Float[ndarray, "*rep"]:
    """S_adj = (c_own - mean c_own,random) - (c_control - mean c_control,random).

    Args:
        c_own: as in `specificity`.
        c_control: as in `specificity`.
        random_own: completeness on the own task of random circuits matched in size and block, one per draw.
        random_control: the same on the control.
    """
    return np.asarray((c_own - random_own.mean(axis=0)) - (c_control - random_control.mean(axis=0)))


def ablation_sensitivity(scores: Float[ndarray, " ablation"]) -> Sensitivity:
    """Worst case and spread of one score under several ablations.

    Raises:
        MetricError: fewer than two ablations.
    """
    if len(scores) < 2:
        raise MetricError(f"Expected scores under at least two ablations, found {len(scores)}. Run another one.")
    return Sensitivity(float(scores.min()), float(np.ptp(scores)))
