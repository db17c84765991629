"""The rules that every emitted pair satisfies, and the check of a clean and a counterfactual prompt against them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """Why a candidate pair is not emitted."""

    LENGTH = "V1"
    """Clean and counterfactual prompt differ in token length."""
    ALIGNMENT = "V2"
    """Position classes disagree, a token spans two classes, or tokens differ where nothing was edited."""
    PREFIX = "V3"
    """The prompt's tokens are not a prefix of those of prompt and answer."""
    ANSWERS = "V4"
    """The answers do not differ, or do not agree where they should, or there is no valid foil."""
    UNSCORABLE = "V5"
    """The scored token is unknown, special or a bare space."""
    TRUTH = "V6"
    """The text does not mean what the answer says."""
    DUPLICATE = "V7"
    """Identical or swapped prompts, or the pair is there already."""
    ANSWER_LENGTH = "V9"
    """An answer ends before the other differs from it, or before the scored token."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt and its answer as a tokenizer sees them.

    Attributes:
        text: text of the prompt.
        ids: its token ids.
        classes: position class of each.
        answer_ids: token ids of the answer behind it; empty where the question has no answer.
    """

    text: str
    ids: tuple[int, ...]
    classes: tuple[str, ...]
    answer_ids: tuple[int, ...]


def check_prompts(clean: Encoded, counterfactual: Encoded, edited: Collection[str]) -> Rule | None:
    """Checks V1 and V2, and that the prompts are not identical.

    Args:
        clean: clean prompt.
        counterfactual: counterfactual prompt.
        edited: position classes at which the prompts may differ.
    """
    if len(clean.ids) != len(counterfactual.ids):
        return Rule.LENGTH
    if clean.classes != counterfactual.classes:
        return Rule.ALIGNMENT
    if clean.ids == counterfactual.ids:
        return Rule.DUPLICATE
    for one, other, cls in zip(clean.ids, counterfactual.ids, clean.classes, strict=True):
        if one != other and cls not in edited:
            return Rule.ALIGNMENT
    return None


def first_difference(answer: tuple[int, ...], other: tuple[int, ...]) -> int | Rule:
    """Index of the first token at which two answers differ, or the rule that forbids the pair.

    Example:
    >>> first_difference((5, 7, 1), (5, 8))
    1
    """
    for index, (one, two) in enumerate(zip(answer, other, strict=False)):
        if one != two:
            return index
    return Rule.ANSWERS if len(answer) == len(other) else Rule.ANSWER_LENGTH


def describe(rejected: Mapping[Rule, int]) -> str:
    """Counts of rejected candidates in words, most frequent first."""
    parts = [
        f"{rule.value} {count}x ({DESCRIPTIONS[rule]})"
        for rule, count in sorted(rejected.items(), key=lambda entry: (-entry[1], entry[0].value))
    ]
    return "; ".join(parts)


DESCRIPTIONS = {
    Rule.LENGTH: "prompts differ in token length",
    Rule.ALIGNMENT: "positions do not line up",
    Rule.PREFIX: "the answer changes the prompt's tokens",
    Rule.ANSWERS: "answers do not differ as they must, or no foil",
    Rule.UNSCORABLE: "scored token is unknown, special or a space",
    Rule.TRUTH: "text and answer disagree",
    Rule.DUPLICATE: "identical or swapped prompts",
    Rule.ANSWER_LENGTH: "one answer ends before the scored token or begins the other",
}
