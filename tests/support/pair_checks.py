"""Checks of prompt pairs that share no code with the generator: everything is recomputed from tokens and text."""

import dataclasses
import hashlib
import operator
import re
from fractions import Fraction

from arithloc.benchmark.api import PromptPair, Split

COMPUTE = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": Fraction,
    "mod": operator.mod,
    "first": lambda x, y: x,
    "second": lambda x, y: y,
    "larger": max,
    "smaller": min,
    "greater": operator.gt,
}
NUMBER_WORDS = dict(
    zero=0, one=1, two=2, three=3, four=4, five=5, six=6, seven=7, eight=8, nine=9, ten=10, eleven=11, twelve=12,
    thirteen=13, fourteen=14, fifteen=15, sixteen=16, seventeen=17, eighteen=18, nineteen=19, twenty=20, thirty=30,
    forty=40, fifty=50, sixty=60, seventy=70, eighty=80, ninety=90,
)  # fmt: skip
EDITED = {
    "operands": {"operand1", "operand2"},
    "same_answer": {"operand1", "operand2"},
    "same_answer_other_op": {"operand1", "operand2", "operator", "shot"},
    "order_swap": {"operand1", "operand2"},
    "carry_flip_iso": {"operand1", "operand2"},
    "operator_swap": {"operator", "shot"},
    "operator_null": {"operator"},
    "selector_swap": {"operator", "shot"},
}
SAME = {"same_answer", "same_answer_other_op"}


def membership(seed: int, *parts: int | str) -> Split:
    """Split of a cluster, from the published rule."""
    digest = hashlib.sha256("/".join(["arithloc/split/1", str(seed), *map(str, parts)]).encode("ascii")).digest()
    number = int.from_bytes(digest[:8], "big") % 100
    return Split.DISCOVERY if number < 50 else Split.VALIDATION if number < 70 else Split.TEST


def numbers(text: str) -> list[int]:
    """All numbers of a text, in digits or words."""
    words = re.findall(r"\d+|[a-z]+", text)
    return [int(w) if w.isdigit() else NUMBER_WORDS[w] for w in words if w.isdigit() or w in NUMBER_WORDS]


def value(answer: str) -> int | bool:
    """What an answer says."""
    if answer in ("Yes", "No"):
        return answer == "Yes"
    return NUMBER_WORDS[answer] if answer in NUMBER_WORDS else int(answer)


def query_text(tokenizer, pair: PromptPair, ids: tuple[int, ...]) -> str:
    """Decoded text of the tokens that are neither in front nor forced: the question itself."""
    forced = pair.first_diff
    kept = [i for i, cls in zip(ids[: len(ids) - forced], pair.classes, strict=False) if cls not in ("shot", "bos")]
    return tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def check_tokens(tokenizer, pair: PromptPair) -> None:
    """Everything about a pair that needs no arithmetic."""
    clean, other = pair.clean_ids, pair.counterfactual_ids
    assert len(clean) == len(other) == len(pair.classes)
    assert pair.classes[-1] == "last" and pair.classes.count("last") == 1
    assert clean != other and pair.clean != pair.counterfactual
    j = pair.first_diff
    assert pair.answer_token != pair.foil_token
    assert {pair.answer_token, pair.foil_token} <= set(pair.candidates)
    assert list(pair.candidates) == sorted(set(pair.candidates))
    for token in (pair.answer_token, pair.foil_token):
        assert token not in tokenizer.all_special_ids and token != tokenizer.unk_token_id
        assert tokenizer.decode([token]).strip()
    assert clean[len(clean) - j :] == pair.answer_ids[:j] and other[len(other) - j :] == pair.answer_cf_ids[:j]
    if "scored_digit" not in dict(pair.strata):
        assert pair.answer_ids[:j] == pair.answer_cf_ids[:j]
    for text, ids in ((pair.clean, clean), (pair.counterfactual, other)):
        prompt = list(ids[: len(ids) - j])
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert prompt[len(prompt) - len(plain) :] == plain
        front = prompt[: len(prompt) - len(plain)]
        assert len(front) <= 1
    texts = [(pair.clean, pair.answer, pair.answer_ids)]
    if not pair.answer_cf_is_foil:
        texts.append((pair.counterfactual, pair.answer_cf, pair.answer_cf_ids))
    for text, answer, answer_ids in texts:
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        continued = [tokenizer(text + gap + answer, add_special_tokens=False)["input_ids"] for gap in ("", " ")]
        assert [*plain, *answer_ids] in continued
        shown = tokenizer.decode(list(answer_ids), clean_up_tokenization_spaces=False)
        assert shown.strip() == answer
    assert list(pair.strata) == sorted(pair.strata)


def check_edits(pair: PromptPair) -> None:
    """Tokens differ only where the kind edits."""
    tags = dict(pair.strata)
    edited = EDITED.get(pair.kind) or {f"operand{tags['edited_operand']}"}
    if "scored_digit" in tags:
        n_prompt = pair.n_tokens - pair.first_diff
        pair = dataclasses.replace(
            pair, clean_ids=pair.clean_ids[:n_prompt], counterfactual_ids=pair.counterfactual_ids[:n_prompt],
            classes=pair.classes[:n_prompt],
        )  # fmt: skip
    differ = {c for a, b, c in zip(pair.clean_ids, pair.counterfactual_ids, pair.classes, strict=True) if a != b}
    assert differ and differ <= edited
    if pair.kind == "operands":
        assert differ == edited


def check_arithmetic(tokenizer, pair: PromptPair) -> tuple[list[int], list[int]]:
    """Answers, classes of the operands and the kind's relation, from the decoded tokens; returns both operand lists."""
    clean = numbers(query_text(tokenizer, pair, pair.clean_ids))
    other = numbers(query_text(tokenizer, pair, pair.counterfactual_ids))
    assert len(clean) == len(other) == 2
    for ids, operands in ((pair.clean_ids, clean), (pair.counterfactual_ids, other)):
        for place, number in (("operand1", operands[0]), ("operand2", operands[1])):
            spelled = [i for i, cls in zip(ids, pair.classes, strict=True) if cls == place]
            shown = tokenizer.decode(spelled, clean_up_tokenization_spaces=False).strip()
            assert shown == str(number) or NUMBER_WORDS[shown] == number
    assert COMPUTE[pair.operator](*clean) == value(pair.answer)
    tags = dict(pair.strata)
    then = tags.get("swapped_to", pair.operator)
    if pair.kind != "operator_null":
        truth = COMPUTE[then](*other)
        same = pair.kind in SAME or (pair.kind == "order_swap" and pair.operator != "greater")
        assert int(truth) == truth == value(pair.answer if same else pair.answer_cf)
        assert pair.answer_cf_is_foil == same
    assert pair.answer != pair.answer_cf
    match pair.kind:
        case "operands":
            assert clean[0] != other[0] and clean[1] != other[1] and sorted(clean) != sorted(other)
        case "single_operand" | "carry_flip":
            changed = int(tags["edited_operand"]) - 1
            assert clean[changed] != other[changed] and clean[1 - changed] == other[1 - changed]
        case "carry_flip_iso":
            assert abs(int(pair.answer) - int(pair.answer_cf)) == 10
            assert [n // 10 for n in clean] == [n // 10 for n in other]
        case "same_answer":
            assert set(clean) != set(other)
        case "same_answer_other_op":
            assert sorted(clean) != sorted(other) and then != pair.operator
        case "operator_swap" | "operator_null" | "selector_swap":
            assert clean == other
        case "order_swap":
            assert clean == other[::-1] and clean != other
    if pair.kind.startswith("carry_flip"):
        assert [n // 10 for n in clean] == [n // 10 for n in other]
        assert _unit_flag(pair.operator, clean) != _unit_flag(pair.operator, other)
    return clean, other


def check_splits(pair: PromptPair, clean: list[int], other: list[int], seed: int = 0) -> None:
    """Both prompts belong to the split of the pair."""
    for operands in (clean, other):
        assert membership(seed, *sorted(operands)) is pair.split
    assert pair.cluster == ",".join(map(str, sorted(clean)))


def _unit_flag(name: str, operands: list[int]) -> bool:
    x, y = (n % 10 for n in operands)
    return x + y > 9 if name == "add" else x < y
