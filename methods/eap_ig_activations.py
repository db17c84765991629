"""Attribution patching with integrated gradients over each activation.

Reference: Mueller et al. (MIB), arXiv:2504.13151, section on circuit localization; path as in Marks et al.,
arXiv:2403.19647.
"""

from dataclasses import dataclass

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


@dataclass(frozen=True)
class EAPIGActivations:
    """(Clean - ablated activation) times the mean gradient while that activation goes from ablated to clean.

    Attributes:
        steps: points on the way of each activation, the last one in the clean run.
    """

    steps: int = 5

    info = MethodInfo(
        name="eap-ig-activations",
        summary="Attribution patching with gradients averaged along each component's own way to its ablated value.",
        granularities=set(Granularity),
        reference="arXiv:2504.13151",
        access="gradient",
        cost="layers",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its mean effect over pairs; `steps` gradients per pair and place of the model."""
        return Scores.of(problem.space, first_order(problem, steps=self.steps, path="activations").mean(-1))
