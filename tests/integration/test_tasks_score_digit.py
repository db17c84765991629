"""Every token of an answer can be scored, each prompt with its own answer tokens in front of it."""

from collections import Counter

import pytest
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import check_arithmetic, check_edits, check_splits, check_tokens

from arithloc.benchmark.api import Split, TokenizerMismatch
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.api.options import build
from arithloc.tasks.arith2 import Addition, Multiplication
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import Kind


def check(tok, pairs):
    for pair in pairs:
        check_tokens(tok, pair)
        check_edits(pair)
        check_splits(pair, *check_arithmetic(tok, pair))
        assert dict(pair.strata)["scored_digit"] == str(pair.first_diff + 1)


@pytest.mark.parametrize("name", NAMES)
def test_all_tokens_that_differ(name):
    """The pairs of one clean question stand together: one for every token at which its two answers differ."""
    tok = tokenizer(name)
    task = Multiplication(digits=Range.D2, frames=("F0", "Y3"), score_digit="all")
    pairs = task.pairs(tok, Split.TEST, 60, 0)
    check(tok, pairs)
    assert [p.index for p in pairs] == list(range(60)) and len({(p.clean, p.first_diff) for p in pairs}) == 60
    groups = {}
    for pair in pairs[:-3]:
        groups.setdefault((pair.clean, pair.counterfactual), []).append(pair)
    complete = list(groups.values())[:-1]
    for rows in complete:
        one, two = rows[0].answer_ids, rows[0].answer_cf_ids
        differ = [i for i in range(min(len(one), len(two))) if one[i] != two[i]]
        assert [row.first_diff for row in rows] == differ
        assert len({row.cluster for row in rows}) == 1
    first = Multiplication(digits=Range.D2, frames=("F0", "Y3")).pairs(tok, Split.TEST, 60, 0)
    starts = [rows[0] for rows in complete]
    assert [(p.clean_ids, p.counterfactual_ids, p.classes) for p in starts] == [
        (p.clean_ids, p.counterfactual_ids, p.classes) for p in first[: len(starts)]
    ]


def test_own_answers_in_front_by_hand():
    """One digit a token: the third digit of products, each prompt with the first two digits of its own sum."""
    tok = tokenizer("qwen")
    task = Multiplication(digits=Range.D2, score_digit="3", kind=Kind.SINGLE_OPERAND)
    pairs = task.pairs(tok, Split.TEST, 80, 0)
    check(tok, pairs)
    seen = Counter()
    for pair in pairs:
        assert pair.first_diff == 2
        for text, ids, answer, scored in (
            (pair.clean, pair.clean_ids, pair.answer, pair.answer_token),
            (pair.counterfactual, pair.counterfactual_ids, pair.answer_cf, pair.foil_token),
        ):
            assert tok.decode(ids[1:]) == text + answer[:2]
            assert tok.decode([scored]) == answer[2]
        forced = "answer" if pair.answer[0] != pair.answer_cf[0] else "late"
        assert pair.classes[-2:] == (forced, "last")
        seen[forced] += 1
        assert len(pair.candidates) == 10
    assert min(seen["answer"], seen["late"]) > 5


def test_a_token_that_no_answer_has():
    with pytest.raises(TokenizerMismatch, match=r"V9 .*one answer ends before the scored token"):
        Multiplication(score_digit="3").pairs(tokenizer("qwen"), Split.TEST, 5, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_digit": "0"}, "first, all or a number from 1 on, found '0'"),
        ({"score_digit": "units"}, "first, all or a number from 1 on, found 'units'"),
        ({"score_digit": "all", "kind": "same_answer"}, "compares the answer with a foil, found all"),
        ({"score_digit": "2", "kind": "operator_null"}, "compares the answer with a foil, found 2"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(BadOption, match=message):
        build(Addition, "addition", options)
