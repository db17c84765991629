"""Integrated gradients over a component's own activation.

Reference: Sundararajan, Taly and Yan, arXiv:1703.01365; for hidden units Dai et al., arXiv:2104.08696.
"""

from dataclasses import dataclass
from typing import Literal

from arithloc.benchmark.api import Ablation, Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


@dataclass(frozen=True)
class IntegratedGradients:
    """Integral of the gradient along the straight way of an activation from its baseline to its clean value.

    The activations of one place (all hidden units, or all heads, of a block) go together, so that their scores add up
    to what replacing all of them does (completeness), up to the error of the midpoint rule.

    Attributes:
        baseline: `zero` (the paper's for hidden units), or `ablation`, the cell's ablation.
        steps: midpoints of the integral.
    """

    baseline: Literal["zero", "ablation"] = "zero"
    steps: int = 20

    info = MethodInfo(
        name="integrated-gradients",
        summary="Integral of the gradient along each activation's way from its baseline.",
        granularities={Granularity.LAYER, Granularity.NODE, Granularity.NEURON},
        reference="arXiv:1703.01365",
        access="gradient",
        cost="layers",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its mean integral over pairs; `steps` gradients per pair and place of the model."""
        baseline = Ablation.ZERO if self.baseline == "zero" else None
        effects = first_order(problem, baseline=baseline, steps=self.steps, path="activations", rule="midpoint")
        return Scores.of(problem.space, effects.mean(-1))
