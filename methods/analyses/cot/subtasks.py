"""The steps of a chain of thought as sub-tasks: their pairs, and whether the model solves them.

Reference: Dutta et al., arXiv:2402.18312, section 3. Their data keep generations that are wrong; here a step counts only if
the model says the right word in the clean and in the counterfactual prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from arithloc.benchmark import engine
from arithloc.benchmark.api import PromptPair, Split
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.study import Sample, Study
from arithloc.benchmark.engine import Readings, Site, SiteKind
from arithloc.benchmark.models import SubjectModel

GATE: Final = 0.8
"""Accuracy that both prompts need."""
GROUPS: Final = ("question", "query", "chain", "last")
"""Groups of position classes, in the order of the prompt."""


def step_names(hops: int) -> tuple[str, ...]:
    """The scored words of a chain of that many hops: in each of 2n + 1 sentences the subject, then the object.

    Example:
    >>> step_names(1)
    ('decision-0', 'copy-1', 'decision-2', 'copy-3', 'decision-4', 'induction-5')
    """
    return tuple(f"{_kind(index)}-{index}" for index in range(4 * hops + 2))


def _kind(index: int) -> str:
    sentence, is_object = divmod(index, 2)
    if not is_object:
        return "decision"
    return "induction" if sentence > 0 and sentence % 2 == 0 else "copy"


def has_consistent_pairs(step: str) -> bool:
    """Whether a step has counterfactuals with one right answer; who the chain goes on about (4, 8, 12) has none."""
    kind, _, index = step.partition("-")
    return kind != "decision" or int(index) == 0 or int(index) // 2 % 2 == 1


@dataclass(frozen=True)
class SubTask:
    """One step.

    Attributes:
        name: as the task calls it.
        discovery, test: answered pairs of both parts.
        clean: share of the drawn pairs whose clean prompt is answered; None where there are no pairs.
        counterfactual: share of the answered pairs whose counterfactual prompt is answered as well.
        reason: why it is not analysed, or empty.
    """

    name: str
    discovery: Sample
    test: Sample
    clean: float | None
    counterfactual: float | None
    reason: str

    @property
    def solved(self) -> bool:
        """Whether it passes the gate."""
        return not self.reason

    @property
    def is_induction(self) -> bool:
        """Whether the word follows from two statements."""
        return self.name.startswith("induction")


def with_step(task: Reference, step: str, kind: str = "consistent") -> Reference:
    """The task at another step."""
    return task.with_options({"step": step, "kind": kind})


def sub_task(study: Study, step: str) -> SubTask:
    """Draws a step's pairs and asks the model; answers count among the words that could stand there."""
    reference = with_step(study.task, step)
    discovery, test = (study.sample(reference, split, study.limit) for split in (Split.DISCOVERY, Split.TEST))
    if refused := discovery.refused or test.refused:
        return SubTask(step, discovery, test, None, None, refused)
    drawn = discovery.drawn + test.drawn
    clean = (len(discovery.pairs) + len(test.pairs)) / drawn
    if clean < GATE or not discovery.pairs or not test.pairs:
        reason = f"The model answers {clean:.0%} of {drawn} clean prompts, under {GATE:.0%}."
        return SubTask(step, discovery, test, clean, None, reason)
    other = accuracy_of_counterfactuals(study.model, (*discovery.pairs, *test.pairs))
    reason = "" if other >= GATE else f"The model answers {other:.0%} of the counterfactual prompts, under {GATE:.0%}."
    return SubTask(step, discovery, test, clean, other, reason)


def both_runs(model: SubjectModel, pairs: Sequence[PromptPair]) -> tuple[Readings, Readings]:
    """Readings of the clean and of the counterfactual run.

    A sweep that replaces nothing: other than `read` it runs the exemplars once for all prompts.
    """
    some = [Site(SiteKind.HEAD, 0, 0)]
    clean = engine.sweep(model, pairs, some, run="clean", donor="clean")
    return clean[0], engine.sweep(model, pairs, some, run="counterfactual", donor="counterfactual")[0]


def accuracy_of_counterfactuals(model: SubjectModel, pairs: tuple[PromptPair, ...]) -> float:
    """Share of pairs whose counterfactual prompt leads to the counterfactual answer, among the candidates."""
    found = both_runs(model, pairs)[1].top_candidate
    return float((found == np.array([pair.foil_token for pair in pairs])).mean())


def group_of(cls: str) -> str:
    """Group of a position class of the task; other classes stay as they are.

    Example:
    >>> [group_of(cls) for cls in ("question2_object", "query_subject", "cue", "chain1_stop", "last", "shot")]
    ['question', 'query', 'query', 'chain', 'last', 'shot']
    """
    if cls == "cue":
        return "query"
    return next((group for group in GROUPS if cls.startswith(group)), cls)
