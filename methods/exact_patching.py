"""Exact patching: the effect of ablating each component alone, by running the model.

Reference: Zhang and Nanda, arXiv:2309.16042; for edges Mueller et al., arXiv:2504.13151 (EActP).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores

_CIRCUITS = 256
"""Circuits of one call: a table of all edges times all edges would not fit in memory."""


class ExactPatching:
    """Fall of the metric in the clean run when one component alone takes its ablated value.

    Components are ablated where circuits are: heads at z (an attention block is all its heads), MLPs at what they
    write, hidden units at the input of the down projection, edges at what the receiver reads.
    """

    info = MethodInfo(
        name="exact-patching",
        summary="Fall of the metric when each component alone is ablated, exactly.",
        granularities=set(Granularity),
        reference="arXiv:2309.16042",
        cost="components",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each component by the mean fall over pairs; a run from the component on per component and pair."""
        clean = engine.read(problem.model, problem.pairs).metric(problem.metric)
        change = clean - ablated_alone(problem)
        return Scores.of(problem.space, (-change if problem.metric == "kl" else change).mean(-1))


def ablated_alone(problem: Problem) -> Float[ndarray, "comp pair"]:
    """The metric with each component alone ablated."""
    space = problem.space
    if space.granularity in (Granularity.NODE, Granularity.NEURON):
        readings = engine.sweep(
            problem.model,
            problem.pairs,
            space,
            run="clean",
            donor=problem.ablation,
            reference=problem.pairs,
            seed=problem.seed,
            pair_logits=problem.metric in ("logit_diff", "logprob_diff"),
            progress=problem.progress,
        )
        return readings.metric(problem.metric)
    parts = []
    for kept in _all_but_one(len(space)):
        readings = engine.circuit_forward(
            problem.model, problem.pairs, space, kept, problem.ablation, reference=problem.pairs, seed=problem.seed
        )
        parts.append(readings.metric(problem.metric))
        problem.progress(sum(map(len, parts)), len(space))
    return np.concatenate(parts)


def _all_but_one(n: int) -> Iterator[Bool[ndarray, "circuit comp"]]:
    for start in range(0, n, _CIRCUITS):
        kept = np.ones((min(_CIRCUITS, n - start), n), dtype=np.bool_)
        kept[np.arange(len(kept)), start + np.arange(len(kept))] = False
        yield kept
