"""Where the predicted word comes from: attention of the predicting position cut to question, chain or exemplars.

Reference: Dutta et al., arXiv:2402.18312, section 6 (parallel routes). They trace heads; here routes are cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import SHOT, PromptPair
from arithloc.benchmark.engine import Cut
from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.measured import Spread
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.analyses.cot.subtasks import both_runs, group_of

ROUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "Q": ("question",),
    "G": ("chain",),
    "F": (SHOT,),
    "Q+G": ("question", "chain"),
    "Q+G+F": ("question", "chain", SHOT),
}
"""Groups that the predicting position does not look at."""
WRITERS: Final = 5
"""Strongest writers, the lowest of which is where routes begin."""


def first_writer(effects: Float[ndarray, "layer head"]) -> int:
    """Lowest block among the strongest writers.

    Example: the fifth of five strongest lies in block 1
    >>> first_writer(np.array([[0.0, 0.0], [0.1, 0.0], [0.5, 0.4], [0.3, 0.2]]))
    1
    """
    order = np.argsort(-effects, axis=None, kind="stable")[:WRITERS]
    return int((order // effects.shape[1]).min())


@dataclass(frozen=True, eq=False)
class Routes:
    """Logit differences with routes cut.

    Attributes:
        first: block from which on they are cut.
        cut: one row per route, in the order of `ROUTES`.
        clean, counterfactual: of the two runs.
    """

    first: int
    cut: Float[ndarray, "route pair"]
    clean: Float[ndarray, " pair"]
    counterfactual: Float[ndarray, " pair"]

    def effects(self, draws: Resamples) -> dict[str, Spread]:
        """Share of the gap between the two runs that is lost without each route, and the interaction of Q and G."""
        rows = np.concatenate([self.cut, self.clean[None], self.counterfactual[None]])
        value, replicates = _lost(rows.mean(-1)), _lost(draws.means(rows))
        found = {
            name: Spread(np.asarray(value[i]), replicates[:, i], draws.n_clusters) for i, name in enumerate(ROUTES)
        }
        found["interaction"] = found["Q+G"] - found["Q"] - found["G"]
        return found


def _lost(means: Float[ndarray, "*rep row"]) -> Float[ndarray, "*rep route"]:
    clean, other = means[..., -2, None], means[..., -1, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((clean - means[..., :-2]) / (clean - other))


def cut_routes(model: SubjectModel, pairs: Sequence[PromptPair], first: int) -> Routes:
    """Cuts each route from a block on."""
    cuts = [Cut(route_tokens(pairs, groups), first) for groups in ROUTES.values()]
    clean, counterfactual = (run.metric("logit_diff") for run in both_runs(model, pairs))
    return Routes(first, engine.attention_cuts(model, pairs, cuts).metric("logit_diff"), clean, counterfactual)


def route_tokens(pairs: Sequence[PromptPair], groups: Sequence[str]) -> tuple[frozenset[int], ...]:
    """Tokens of some groups in each pair."""
    classes = {cls for pair in pairs for cls in pair.classes if group_of(cls) in groups}
    return engine.sources_of(pairs, classes)


def preference(model: SubjectModel, pairs: Sequence[PromptPair], edited: str) -> Float[ndarray, " pair"]:
    """Logit of the word that the chain implies minus that of the word that the question implies, where they disagree.

    Args:
        model: the subject model.
        pairs: pairs whose counterfactual prompts were edited in one of the two alone.
        edited: `question` or `chain`; the counterfactual answer is the word of the edited one.
    """
    difference = both_runs(model, pairs)[1].metric("logit_diff")
    return difference if edited == "question" else -difference
