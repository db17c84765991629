"""Gradient times activation: the first-order effect of scaling a component's activation down to zero.

Reference: Shrikumar et al., arXiv:1605.01713; for transformer parts Michel et al., arXiv:1905.10650.
"""

from arithloc.benchmark.api import Ablation, Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


class GradientXActivation:
    """Activation in the clean run times the gradient there; no counterfactual prompt is used."""

    info = MethodInfo(
        name="gradient-x-activation",
        summary="Activation times gradient in the clean run.",
        granularities=set(Granularity),
        reference="arXiv:1605.01713",
        access="gradient",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its mean product over pairs; one gradient per pair."""
        effects = first_order(problem, baseline=Ablation.ZERO)
        return Scores.of(problem.space, effects.mean(-1))
