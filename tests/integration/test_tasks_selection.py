"""Copying and comparison: matched in form with addition, on every tokenizer."""

import re
from collections import Counter

import pytest
from support import control_tokenizers
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import check_arithmetic, check_edits, check_splits, check_tokens
from support.tiny_tokenizers import characters

from arithloc.benchmark.api import Split, TokenizerMismatch, TooFewPairs
from arithloc.tasks.arith2 import Addition, Division
from arithloc.tasks.grid import Grid, Range
from arithloc.tasks.kinds import Kind, pool
from arithloc.tasks.selection import Comparison, Copying, YesNoComparison

CASES = [(cls, kind) for cls in (Copying, Comparison) for kind in sorted(cls.kinds)]


@pytest.mark.parametrize(("cls", "kind"), CASES)
@pytest.mark.parametrize("name", NAMES)
def test_every_kind(name, cls, kind):
    tok = tokenizer(name)
    for digits, shots in ((Range.D1, 0), (Range.D2, 2)):
        pairs = cls(digits=digits, kind=kind, shots=shots).pairs(tok, Split.TEST, 20, 0)
        assert len(pairs) == 20
        for pair in pairs:
            check_tokens(tok, pair)
            check_edits(pair)
            check_splits(pair, *check_arithmetic(tok, pair))
            assert pair.task == cls.info.name


@pytest.mark.parametrize("name", NAMES)
def test_form_of_the_addition(name):
    """Same frame: as many tokens and the same classes as the sum of the same kind of numbers."""
    tok = tokenizer(name)
    forms = {}
    for cls in (Addition, Copying, Comparison):
        pairs = cls(digits=Range.D2, frames=("F3", "F4"), kind=Kind.OPERANDS).pairs(tok, Split.TEST, 40, 0)
        for frame in ("F3", "F4"):
            forms.setdefault(frame, set()).update(
                p.classes[: len(p.classes) - p.first_diff - 1] for p in pairs if p.frame == frame
            )
    assert all(len(classes) == 1 for classes in forms.values())


def test_slots_and_selectors_are_balanced():
    pairs = Comparison(digits=Range.D2, balance="larger_slot").pairs(tokenizer("qwen"), Split.TEST, 400, 0)
    slots = Counter(dict(p.strata)["larger_slot"] for p in pairs)
    assert slots == {"1": 200, "2": 200}
    assert min(Counter(p.operator for p in pairs).values()) > 160
    asked = Counter(p.answer == p.clean.split(" of ")[1].split(" and ")[0] for p in pairs)
    assert min(asked.values()) > 150


def test_swap_names_the_other_number():
    for pair in Copying().pairs(tokenizer("gpt2"), Split.TEST, 50, 0):
        assert {pair.answer, pair.answer_cf} == set(pair.cluster.split(","))
        swapped = {"first": "second", "second": "first"}
        assert pair.counterfactual == pair.clean.replace(pair.operator, swapped[pair.operator])


def test_refused_options():
    with pytest.raises(ValueError, match=r"Expected frames of this task, found F5. Use F3 or F4"):
        Copying(frames=("F5",))
    with pytest.raises(ValueError, match=r"found order_swap. Use one of operands, selector_swap, single_operand"):
        Copying(kind=Kind.ORDER_SWAP)
    with pytest.raises(ValueError, match=r"found selector_swap. Use operator_swap"):
        Addition(kind=Kind.SELECTOR_SWAP)


def test_other_token_counts_are_refused():
    """A tokenizer that spells 'second' in more tokens than 'sum' cannot express the matched control."""
    with pytest.raises(TokenizerMismatch, match=r"in the form of the addition of frame F3"):
        Copying().pairs(characters(), Split.TEST, 5, 0)


@pytest.mark.parametrize("kind", sorted(YesNoComparison.kinds))
@pytest.mark.parametrize("name", NAMES)
def test_yes_no_on_every_tokenizer(name, kind):
    tok = tokenizer(name)
    for digits, shots in ((Range.D1, 0), (Range.D2, 2), (Range.WORDS, 0)):
        pairs = YesNoComparison(digits=digits, kind=kind, shots=shots).pairs(tok, Split.TEST, 20, 0)
        found = Counter(p.answer for p in pairs)
        # a pair is drawn in one direction alone: the smallest range has 12 of order_swap, 19 of single_operand
        assert len(pairs) == 20 or (digits is Range.D1 and len(pairs) >= 12)
        assert abs(found["Yes"] - found["No"]) <= (0 if len(pairs) == 20 and kind is not Kind.ORDER_SWAP else 2)
        for pair in pairs:
            check_tokens(tok, pair)
            check_edits(pair)
            check_splits(pair, *check_arithmetic(tok, pair))
            assert {pair.answer, pair.answer_cf} == {"Yes", "No"} and not pair.answer_cf_is_foil
            assert pair.candidates == tuple(sorted((pair.answer_token, pair.foil_token)))
            question = pair.clean.split("\n")[-1]
            assert question.startswith("Q: Is ") and question.endswith("? A:") and " greater than " in question


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cls", [Copying, Comparison, YesNoComparison])
def test_defaults_have_pairs_for_every_tokenizer(cls, name):
    assert len(cls().pairs(tokenizer(name), Split.TEST, 8, 0)) == 8


def test_words_of_other_lengths_are_counted_and_a_way_out_is_named():
    with pytest.raises(TokenizerMismatch) as refused:
        Copying().pairs(control_tokenizers.build("llama2"), Split.TEST, 8, 0)
    assert re.search(r"'first': \d+ tokens, 'second': \d+ tokens, 'sum': \d+ tokens\. Use ", str(refused.value))
    assert "Use comparison-yes-no" in str(refused.value)


def test_a_split_without_operand_pairs_names_a_split_seed_that_has_some():
    with pytest.raises(TooFewPairs) as refused:
        Division(digits=Range.SINGLE_DIGIT).pairs(tokenizer("gpt2"), Split.VALIDATION, 8, 0)
    found = re.search(r"0 for validation, .*Use split_seed=(\d+) or a larger range", str(refused.value))
    for split in Split:
        assert pool(Grid("div", Range.SINGLE_DIGIT), split, int(found[1])).members
