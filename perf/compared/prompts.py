"""Addition prompts of one length: a question, one behind exemplars, and sums with nothing in front of them."""

import dataclasses
from collections import Counter
from typing import Any

from arithloc.benchmark.api import PromptPair, Split
from arithloc.tasks.arith2 import Addition

_SHORT_ASIDE = ", if you work it all out,"
_LONG_ASIDE = (
    ", which is a sum that children meet early in school and that a careful reader can work out on the fingers of "
    "both hands without any help at all from a book,"
)
PROMPTS = {
    "question": "`Q: How much is 8 plus 5? A: `",
    "aside": f"`8 plus 5{_SHORT_ASIDE} gives `",
    "exemplars": "four solved sums, then `6 + 4 = `",
    "long-aside": f"`8 plus 5{_LONG_ASIDE} gives `",
}
"""What the prompts look like, by name."""


def prompts(name: str, tokenizer: Any, n: int) -> list[PromptPair]:
    """`n` pairs of one length, the most frequent one of the task."""
    match name:
        case "question":
            found = _drawn(Addition(frames=("F0",)), tokenizer, n)
        case "exemplars":
            found = _drawn(Addition(shots=4), tokenizer, n)
        case _:
            aside = _SHORT_ASIDE if name == "aside" else _LONG_ASIDE
            sums = _drawn(Addition(frames=("zS4",)), tokenizer, n)
            found = [_with_aside(pair, tokenizer(aside, add_special_tokens=False)["input_ids"]) for pair in sums]
    return found


def _drawn(task: Addition, tokenizer: Any, n: int) -> list[PromptPair]:
    pairs = [pair for split in Split for pair in task.pairs(tokenizer, split, 8 * n, 0)]
    length = Counter(pair.n_tokens for pair in pairs).most_common(1)[0][0]
    found = [pair for pair in pairs if pair.n_tokens == length]
    if len(found) < n:
        raise SystemExit(f"Expected {n} pairs of {length} tokens, found {len(found)}. Use --pairs {len(found)}.")
    return found[:n]


def _with_aside(pair: PromptPair, aside: list[int]) -> PromptPair:
    """The same sum with words between the second operand and the verb, so that the prompts differ from token 1 on."""
    at = len(pair.classes) - pair.classes[::-1].index("operand2")

    def inserted(tokens: tuple[Any, ...], new: list[Any]) -> tuple[Any, ...]:
        return (*tokens[:at], *new, *tokens[at:])

    return dataclasses.replace(
        pair,
        clean_ids=inserted(pair.clean_ids, aside),
        counterfactual_ids=inserted(pair.counterfactual_ids, aside),
        classes=inserted(pair.classes, ["late"] * len(aside)),
    )


def shared(pairs: list[PromptPair]) -> int:
    """First tokens that all prompts, clean and counterfactual, have in common."""
    columns = zip(*(ids for pair in pairs for ids in (pair.clean_ids, pair.counterfactual_ids)), strict=True)
    return next(i for i, column in enumerate(columns) if len(set(column)) > 1)
