"""Causal mediation: patch one module's activation from the donor run into the edited run and see the prediction move.

Reference: Stolfo, Belinkov and Sachan, arXiv:2305.15054, section 3; effect variants of their released code.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.benchmark.engine import Readings

Effect = Literal["logprob_effect", "ie_stolfo_log", "ie_stolfo", "logit_diff_norm"]


@dataclass(frozen=True)
class Mediation:
    """Indirect effect of each attention block or head and each MLP, patched alone.

    Attributes:
        effect: `logprob_effect`, the mean of (d + d') / 2; `ie_stolfo`, the mean of the paper's IE; `ie_stolfo_log`,
            log(1 + mean IE) taken in log space; `logit_diff_norm`, the share of the logit difference recovered.
        direction: `denoise` patches clean activations into the counterfactual run (the paper's), `noise` the reverse.
        positions: `all`, `last`, or one position class; a space with position classes is patched class by class.
    """

    effect: Effect = "logprob_effect"
    direction: Literal["denoise", "noise"] = "denoise"
    positions: str = "all"

    info = MethodInfo(
        name="mediation",
        summary="Indirect effect of patching one module from the other run of the pair.",
        granularities={Granularity.LAYER, Granularity.NODE},
        reference="arXiv:2305.15054",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by the mean effect of patching it alone; one sweep over the space."""
        edited, donor = ("counterfactual", "clean") if self.direction == "denoise" else ("clean", "counterfactual")
        before = engine.read(problem.model, problem.pairs, edited)
        patched = engine.sweep(
            problem.model,
            problem.pairs,
            problem.space,
            run=edited,
            donor=donor,
            positions=self.positions,
            progress=problem.progress,
        )
        ceiling = engine.read(problem.model, problem.pairs, donor)
        return Scores.of(problem.space, effects(self.effect, before, patched, ceiling, towards_clean=edited != "clean"))


def effects(
    effect: Effect, before: Readings, patched: Readings, ceiling: Readings, *, towards_clean: bool
) -> Float[ndarray, " comp"]:
    """Mean effect of each patch over pairs.

    With r the donor's answer, r' the edited run's, P before and P* after the patch, d = log P*(r) - log P(r) and
    d' = log P(r') - log P*(r'): IE = ((exp d - 1) + (exp d' - 1)) / 2.

    Args:
        effect: which summary.
        before: the edited run, unpatched, [pair].
        patched: each patch, [comp, pair].
        ceiling: the donor run, [pair].
        towards_clean: the donor is the clean run, so r is the pair's answer and r' its foil.
    """
    if effect == "logit_diff_norm":
        edited, donor = before.metric("logit_diff"), ceiling.metric("logit_diff")
        gap = donor - edited
        # a pair whose two runs hardly differ has no share to recover
        kept = np.abs(gap) > 0.1 * np.abs(gap.mean())
        return ((patched.metric("logit_diff") - edited) / np.where(kept, gap, 1.0))[:, kept].mean(-1)
    # the roles of r and r' swap with the direction; the effects are symmetric in d and d', so only the sign matters
    sign = 1.0 if towards_clean else -1.0
    up = sign * (patched.logprob_answer - before.logprob_answer)
    down = sign * (before.logprob_foil - patched.logprob_foil)
    match effect:
        case "logprob_effect":
            return ((up + down) / 2).mean(-1)
        case "ie_stolfo":
            return ((np.exp(up) + np.exp(down)) / 2 - 1).mean(-1)
        case "ie_stolfo_log":
            both = np.concatenate([up, down], axis=-1)
            return np.logaddexp.reduce(both, axis=-1) - np.log(both.shape[-1])
