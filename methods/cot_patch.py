"""Head and MLP scores on chain-of-thought steps: what one node recovers of the clean prediction, or loses.

Reference: Dutta et al., arXiv:2402.18312, section 4 (denoising, KL recovery); the logit difference, noising and the mean
of ratios are variants of our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, PromptPair, Scores, TooFewPairs
from arithloc.benchmark.api.errors import NoEffect, quoted
from arithloc.benchmark.engine import Readings, Run
from arithloc.benchmark.metrics.faithfulness import MIN_KL, faithfulness, mean_of_ratios

CONFLICTS: Final = frozenset({"decision_g", "induction_q", "induction_g"})
"""Kinds of pairs whose counterfactual has two readings: they tell routes apart and score nothing."""


@dataclass(frozen=True)
class CotPatch:
    """Share of the clean prediction that one node alone carries between the two runs of a pair.

    Attributes:
        recovery: `LD`, of the logit difference; `KL`, of the divergence from the clean prediction (the paper's), over
            pairs whose prompts differ by at least 0.05 nats.
        direction: `denoise` puts clean values into the counterfactual run (the paper's): 1 is all recovered; `noise`
            puts counterfactual values into the clean run: 1 is all lost.
        average: `ratio_of_means` (the paper's), or `mean_of_ratios`, where one pair can carry the score.
    """

    recovery: Literal["LD", "KL"] = "LD"
    direction: Literal["denoise", "noise"] = "denoise"
    average: Literal["ratio_of_means", "mean_of_ratios"] = "ratio_of_means"

    info = MethodInfo(
        name="cot-patch",
        summary="Share of the clean prediction that patching one head or MLP recovers, or loses.",
        granularities={Granularity.NODE},
        reference="arXiv:2402.18312",
        cost="components",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each node; one sweep over the space, position group by position group if it has any.

        Raises:
            TooFewPairs: the counterfactual prompts have two right answers.
            NoEffect: the two runs do not differ.
        """
        refuse_conflicts(problem.pairs)
        denoise = self.direction == "denoise"
        edited: Run = "counterfactual" if denoise else "clean"
        donor: Run = "clean" if denoise else "counterfactual"
        patched = engine.sweep(
            problem.model,
            problem.pairs,
            problem.space,
            run=edited,
            donor=donor,
            pair_logits=self.recovery == "LD",
            progress=problem.progress,
        )
        clean = engine.read(problem.model, problem.pairs, "clean")
        counterfactual = engine.read(problem.model, problem.pairs, "counterfactual")
        kept = self._kept(patched, clean, counterfactual)
        return Scores.of(problem.space, kept if denoise else 1.0 - kept)

    def _kept(self, patched: Readings, clean: Readings, counterfactual: Readings) -> Float[ndarray, " comp"]:
        """What of the clean prediction is there in each patched run: 1 for the clean run, 0 for the counterfactual one."""
        if self.recovery == "LD":
            rows, full, empty = (readings.metric("logit_diff") for readings in (patched, clean, counterfactual))
        else:  # the divergence from the clean run is 0 in the clean run itself
            used = counterfactual.kl >= MIN_KL
            if not used.any():
                raise NoEffect(
                    f"Expected pairs whose two predictions differ by {MIN_KL} nats, found none of {len(used)}. "
                    "Use another kind of pair."
                )
            rows, empty = -patched.kl[:, used], -counterfactual.kl[used]
            full = np.zeros(int(used.sum()))
        if self.average == "ratio_of_means":
            return faithfulness(rows, full, empty)
        return np.array([mean_of_ratios(row, full, empty).value for row in rows])


def refuse_conflicts(pairs: Sequence[PromptPair]) -> None:
    """Raises TooFewPairs for pairs whose counterfactual prompt has two right answers."""
    found = next((pair.kind for pair in pairs if pair.kind in CONFLICTS), None)
    if found is not None:
        raise TooFewPairs(
            f"Expected counterfactual prompts with one right answer, found the kind {quoted(found)}. Use kind=consistent."
        )
