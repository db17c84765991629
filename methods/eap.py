"""Edge attribution patching.

Reference: Syed, Rager and Conmy, arXiv:2310.10348.
"""

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


class EAP:
    """(Clean - ablated write of the sender) times the gradient at what the receiver reads, in the clean run."""

    info = MethodInfo(
        name="eap",
        summary="First-order effect of cutting each edge in the clean run.",
        granularities={Granularity.EDGE},
        reference="arXiv:2310.10348",
        access="gradient",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each edge by its mean effect over pairs; one gradient and two forwards per pair."""
        return Scores.of(problem.space, first_order(problem).mean(-1))
