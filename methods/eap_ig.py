"""Attribution patching with integrated gradients over the input.

Reference: Hanna, Pezzelle and Belinkov, arXiv:2403.17806.
"""

from dataclasses import dataclass

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


@dataclass(frozen=True)
class EAPIG:
    """(Clean - ablated activation) times the mean gradient while the embedding goes from ablated to clean.

    Attributes:
        steps: points on the way, the last one in the clean run.
    """

    steps: int = 5

    info = MethodInfo(
        name="eap-ig",
        summary="Attribution patching with gradients averaged between the two inputs.",
        granularities=set(Granularity),
        reference="arXiv:2403.17806",
        access="gradient",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its mean effect over pairs; `steps` gradients and two forwards per pair."""
        return Scores.of(problem.space, first_order(problem, steps=self.steps).mean(-1))
