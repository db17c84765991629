"""AtP*: attribution patching without its two common false negatives.

Reference: Kramár, Lieberum, Shah and Nanda, arXiv:2403.00745.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.methods.first_order import first_order, slope


@dataclass(frozen=True)
class AtPStar:
    """Attribution patching with attention recomputed for queries and keys, and gradients dropped block by block.

    Edges into queries and keys: the head's output is computed with the changed query or key, because a saturated
    softmax has no slope. All components: for each block in turn no gradient passes back through it, because a direct
    and an indirect effect may cancel; the score is the sum of the sizes of these estimates over the number of blocks
    less one (a component's own block gives 0), averaged over pairs.

    Attributes:
        grad_drop: drop gradients; without, scores keep their sign.
    """

    grad_drop: bool = True

    info = MethodInfo(
        name="atp-star",
        summary="Attribution patching with attention recomputed for queries and keys, and GradDrop.",
        granularities=set(Granularity),
        reference="arXiv:2403.00745",
        access="gradient",
        cost="layers",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component; a gradient per pair and block, for edges attention once per sender and reader."""
        layers = problem.space.shape.n_layers
        dropped = self.grad_drop and layers > 1  # with a single block nothing would be left
        effects = _effects(problem, [(layer,) for layer in range(layers)] if dropped else [()])
        if not self.grad_drop:
            return Scores.of(problem.space, effects[0].mean(-1))
        return Scores.of(problem.space, np.abs(effects).sum(0).mean(-1) / max(1, layers - 1))


def _effects(problem: Problem, stopped: Sequence[tuple[int, ...]]) -> Float[ndarray, "variant comp pair"]:
    """First-order effects for each variant of the gradients."""
    effects = np.stack([first_order(problem, stopped=blocks) for blocks in stopped])
    if problem.space.granularity is Granularity.EDGE:
        metric, sign = slope(problem)
        chosen = engine.query_key_edges(problem.space)
        recomputed = engine.attention_effects(
            problem.model,
            problem.pairs,
            problem.space,
            metric,
            baseline=problem.ablation,
            stopped=stopped,
            reference=problem.pairs,
            seed=problem.seed,
        )
        effects[:, chosen] = sign * recomputed[:, chosen]
    return effects
