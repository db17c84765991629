"""Checks of prompt pairs that share no code with the generator: everything is recomputed from tokens and text."""

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
}
EDITED = {
    "operands": {"operand1", "operand2"},
    "same_answer": {"operand1", "operand2"},
    "order_swap": {"operand1", "operand2"},
    "carry_flip_iso": {"operand1", "operand2"},
    "operator_swap": {"operator", "shot"},
    "operator_null": {"operator"},
    "selector_swap": {"operator", "shot"},
}
SAME = {"same_answer", "order_swap"}


def membership(seed: int, *parts: int | str) -> Split:
    """Split of a cluster, from the published rule."""
    digest = hashlib.sha256("/".join(["arithloc/split/1", str(seed), *map(str, parts)]).encode("ascii")).digest()
    number = int.from_bytes(digest[:8], "big") % 100
    return Split.DISCOVERY if number < 50 else Split.VALIDATION if number < 70 else Split.TEST


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


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
    assert pair.answer_ids[:j] == pair.answer_cf_ids[:j]
    assert pair.answer_token != pair.foil_token
    assert {pair.answer_token, pair.foil_token} <= set(pair.candidates)
    assert list(pair.candidates) == sorted(set(pair.candidates))
    for token in (pair.answer_token, pair.foil_token):
        assert token not in tokenizer.all_special_ids and token != tokenizer.unk_token_id
        assert tokenizer.decode([token]).strip()
    assert clean[len(clean) - j :] == pair.answer_ids[:j] and other[len(other) - j :] == pair.answer_ids[:j]
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
        for place, value in (("operand1", operands[0]), ("operand2", operands[1])):
            spelled = [i for i, cls in zip(ids, pair.classes, strict=True) if cls == place]
            assert tokenizer.decode(spelled, clean_up_tokenization_spaces=False).strip() == str(value)
    assert COMPUTE[pair.operator](*clean) == int(pair.answer)
    tags = dict(pair.strata)
    then = tags.get("swapped_to", pair.operator)
    if pair.kind != "operator_null":
        truth = COMPUTE[then](*other)
        assert int(truth) == truth == int(pair.answer if pair.kind in SAME else pair.answer_cf)
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
