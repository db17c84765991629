"""Relevance patching: attribution patching with propagation coefficients in place of gradients.

Reference: Rezaei Jafari, Eberle, Khakzar and Nanda, arXiv:2508.21258.
"""

from dataclasses import dataclass
from typing import Literal

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order


@dataclass(frozen=True)
class RelP:
    """(Clean - ablated activation) times the coefficient with which relevance propagates from the metric to it.

    Attributes:
        attention: `frozen`, attention weights are constants, so that nothing comes back to queries and keys and edges
            into them score 0 (the paper's AH-rule); `gradient`, they are differentiated as in attribution patching.
    """

    attention: Literal["frozen", "gradient"] = "gradient"

    info = MethodInfo(
        name="relp",
        summary="Attribution patching with relevance propagation rules instead of gradients.",
        granularities=set(Granularity),
        reference="arXiv:2508.21258",
        access="gradient",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by its mean effect over pairs; one backward pass and three forwards per pair."""
        with engine.relevance_rules(problem.model, frozen_attention=self.attention == "frozen"):
            effects = first_order(problem)
        return Scores.of(problem.space, effects.mean(-1))
