"""The designs of the analysis: which prompts differ how, and in which form the model solves them.

Reference: Stolfo, Belinkov and Sachan, arXiv:2305.15054, sections 3 and 4.
"""

from dataclasses import dataclass
from typing import Final

from arithloc.benchmark.api import PromptPair, Split
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.study import Sample, Study
from arithloc.methods.analyses.forms import OPERATORS, Form, first_solved, forms, shared

SPLITS: Final = (Split.DISCOVERY, Split.TEST)
"""Nothing is chosen on one part and measured on the other here, so both are used."""


@dataclass(frozen=True)
class Design:
    """Pairs that differ in one way.

    Attributes:
        id: short name.
        title: what differs.
        forms: task references; the first that the model solves is used.
        result_fixed: both prompts have the same answer.
    """

    id: str
    title: str
    forms: tuple[Reference, ...]
    result_fixed: bool = False


@dataclass(frozen=True)
class Chosen:
    """A design with the form that was used."""

    design: Design
    form: Form

    @property
    def sample(self) -> Sample:
        """Pairs of all parts."""
        return self.form.tried[-1]

    @property
    def pairs(self) -> tuple[PromptPair, ...]:
        """Its pairs."""
        return self.sample.pairs


def designs_of(task: Reference) -> tuple[Design, ...]:
    """All designs around one arithmetic task.

    Args:
        task: the task with its options, which kinds of counterfactuals are set in.
    """
    options, control = dict(task.options), shared(task)
    words = {**options, "digits": "words", "frames": "words"}
    others = [name for name in OPERATORS if name != task.name]
    return (
        Design("operands", "Both operands change, and with them the result", (_kind(task, "operands"),)),
        Design("same-answer", "Both operands change, the result does not", (_kind(task, "same_answer"),), True),
        Design("operator", "The operator changes, and with it the result", (_kind(task, "operator_swap"),)),
        Design("words", "Number words instead of digits", forms(task.name, words)),
        *(Design(name, f"Another operator, {name}", forms(name, options)) for name in others),
        Design("three-operands", "Three operands", forms("three-operands", control)),
        Design("retrieval", "A number is looked up, nothing is computed", forms("retrieval", control)),
        Design("factual", "A fact is recalled", forms("factual", control)),
        Design("copying", "An operand is copied", forms("copying", control)),
    )


def choose(study: Study, design: Design) -> Chosen:
    """Draws the pairs of a design, in the first form that the model solves."""
    return Chosen(design, first_solved(study, design.forms, SPLITS))


def _kind(task: Reference, kind: str) -> Reference:
    return task.with_options({"kind": kind})
