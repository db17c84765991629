"""Attribution patching: patching of each component, to first order.

Reference: Nanda 2023, https://www.neelnanda.io/mechanistic-interpretability/attribution-patching; Kramár et al.,
arXiv:2403.00745 (AtP).
"""

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


class AttributionPatching:
    """(Clean - ablated activation) times the gradient in the clean run."""

    info = MethodInfo(
        name="attribution-patching",
        summary="First-order effect of patching each component in the clean run.",
        granularities={Granularity.LAYER, Granularity.NODE, Granularity.NEURON},
        reference="arXiv:2403.00745",
        access="gradient",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its mean effect over pairs; one gradient and two forwards per pair."""
        return Scores.of(problem.space, first_order(problem).mean(-1))
