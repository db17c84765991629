"""Clean-corrupted attribution: gradients at both ends of the input's path and nowhere in between.

Reference: Hanna, Pezzelle and Belinkov, arXiv:2403.17806.
"""

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


class CleanCorrupted:
    """(Clean - ablated activation) times the mean of the gradients with clean and with ablated embedding.

    With counterfactual ablation the second gradient is that of the counterfactual run.
    """

    info = MethodInfo(
        name="clean-corrupted",
        summary="Attribution patching with the mean of the gradients in the clean and in the ablated input.",
        granularities=set(Granularity),
        reference="arXiv:2403.17806",
        access="gradient",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its mean effect over pairs; two gradients and four forwards per pair."""
        clean, ablated = first_order(problem), first_order(problem, rule="left")
        return Scores.of(problem.space, (clean + ablated).mean(-1) / 2)
