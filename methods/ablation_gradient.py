"""Ablation gradient: sensitivity of the metric to a mask variable on each component.

Reference: Michel, Levy and Neubig, arXiv:1905.10650, equation 2 (there with zero ablation of heads).
"""

import numpy as np

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


class AblationGradient:
    """Mean over pairs of |d metric / d xi| at xi = 1, the activation being xi times clean plus 1 - xi times ablated."""

    info = MethodInfo(
        name="ablation-gradient",
        summary="Size of the gradient with respect to a mask between each component's clean and ablated value.",
        granularities=set(Granularity),
        reference="arXiv:1905.10650",
        access="gradient",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component without sign; one gradient and two forwards per pair."""
        return Scores.of(problem.space, np.abs(first_order(problem)).mean(-1))
