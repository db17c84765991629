"""Which tokens of an answer are scored, and what stands in front of them."""

from arithloc.tasks.questions import LAST, LATE
from arithloc.tasks.rules import Encoded, Rule, first_difference

FIRST = "first"
"""Only the first token at which the answers differ."""

ALL = "all"
"""Every token at which they differ, each in a pair of its own."""

ANSWER = "answer"
"""Position class of answer tokens in which the two prompts may differ."""


def check_score_digit(text: str, has_foil: bool) -> None:
    """Checks the option of that name.

    Raises:
        ValueError: neither `first`, `all` nor a number from 1 on, or a later token of a kind whose counterfactual
            answer is a foil: nothing that follows its first token is an answer to the counterfactual prompt.
    """
    if text not in (FIRST, ALL) and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"Expected score_digit first, all or a number from 1 on, found {text!r}. Use first.")
    if has_foil and text != FIRST:
        raise ValueError(
            f"Expected score_digit=first for a kind that compares the answer with a foil, found {text}. "
            "Use score_digit=first or kind=operands."
        )


def scored_tokens(score_digit: str, answer: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | Rule:
    """Indices of the answer tokens that are scored, or the rule that forbids the pair.

    Example:
    >>> scored_tokens("first", (5, 7, 1), (5, 8, 2)), scored_tokens("all", (5, 7, 1), (5, 8, 2))
    ((1,), (1, 2))
    >>> scored_tokens("3", (5, 7, 1), (5, 8, 2)), scored_tokens("1", (5, 7, 1), (5, 8, 2))
    ((2,), <Rule.ANSWERS: 'V4'>)
    """
    first = first_difference(answer, other)
    if isinstance(first, Rule) or score_digit == FIRST:
        return first if isinstance(first, Rule) else (first,)
    differing = tuple(i for i, (a, b) in enumerate(zip(answer, other, strict=False)) if a != b)
    if score_digit == ALL:
        return differing
    wanted = int(score_digit) - 1
    if wanted >= min(len(answer), len(other)):
        return Rule.ANSWER_LENGTH
    return (wanted,) if wanted in differing else Rule.ANSWERS


def forced(
    prompt: Encoded, answer: tuple[int, ...], other: tuple[int, ...], scored: int
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and classes of a prompt followed by its own answer tokens up to the scored one.

    Args:
        prompt: the prompt.
        answer: its answer.
        other: the answer to the other prompt of the pair.
        scored: index of the answer token that the last position predicts.
    """
    shared = [LATE if answer[: i + 1] == other[: i + 1] else ANSWER for i in range(scored)]
    return prompt.ids + answer[:scored], (*(*prompt.classes, *shared)[:-1], LAST)
