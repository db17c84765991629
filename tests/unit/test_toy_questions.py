"""Prompt pairs of the toy task."""

from dataclasses import replace

import pytest

from arithloc.benchmark.api import Split, Task, TooFewPairs
from arithloc.tasks.splits import split_of
from arithloc.tasks.toy import questions
from arithloc.tasks.toy.formats import VOCAB
from arithloc.tasks.toy.questions import ToyArith


class Stated:
    """What the task asks of a tokenizer."""

    name_or_path = "toy"

    def __init__(self, n_digits=2, operators="+-", bos=True):
        self.init_kwargs = {"n_digits": n_digits, "operators": operators, "bos": bos}

    def __len__(self):
        return len(VOCAB)


def solved(text):
    """Sign and digits of the answer, by Python."""
    operator = "-" if "-" in text else "+"
    x, y = text.rstrip("=").split(operator)
    value = int(x) - int(y) if operator == "-" else int(x) + int(y)
    return f"{'-' if value < 0 else '+'}{abs(value):0{len(x) + 1}d}"


def operands(text):
    x, y = text.rstrip("=").replace("-", "+").split("+")
    return int(x), int(y)


@pytest.fixture(scope="module")
def pairs():
    return ToyArith().pairs(Stated(), Split.DISCOVERY, 300, seed=0)


def test_no_pair_comes_twice_or_exchanged():
    found = ToyArith().pairs(Stated(n_digits=1), Split.TEST, 200, seed=0)
    asked = [(pair.clean, pair.counterfactual) for pair in found]
    assert len(asked) == len({frozenset(pair) for pair in asked}) > 100


def test_it_is_a_task():
    assert isinstance(ToyArith(), Task)


def test_every_pair_is_valid(pairs):
    assert len(pairs) == 300 and len({(p.clean, p.counterfactual) for p in pairs}) == 300
    for index, pair in enumerate(pairs):
        assert pair.index == index and pair.answer_token != pair.foil_token
        assert {pair.answer_token, pair.foil_token} <= set(pair.candidates)
        assert len(pair.clean_ids) == len(pair.counterfactual_ids) == len(pair.classes)
        for text, answer, ids in (
            (pair.clean, pair.answer, pair.clean_ids),
            (pair.counterfactual, pair.answer_cf, pair.counterfactual_ids),
        ):
            assert answer == solved(text)
            # each prompt keeps the beginning of its own answer, and ends where the scored token is predicted
            assert "".join(VOCAB[i] for i in ids) == "<bos>" + text + answer[: pair.first_diff]


def test_all_scored_classes_and_both_operators_occur(pairs):
    assert {p.classes[-1] for p in pairs} == {"eq", "sign", "a2", "a1"}
    assert {p.operator for p in pairs} == {"add", "sub"}
    assert any(p.clean_ids[7] != p.counterfactual_ids[7] for p in pairs if len(p.clean_ids) > 8)


def test_strata_are_sorted_tags(pairs):
    for pair in pairs:
        tags = dict(pair.strata)
        assert list(tags) == sorted(tags)
        assert tags["scored"] == pair.classes[-1] and tags["operator"] == pair.operator
        assert tags["stratum"][0] == {"add": "S", "sub": "N" if pair.answer[0] == "-" else "M"}[pair.operator]


def test_splits_are_disjoint_by_operand_pair():
    seen = {}
    for split in Split:
        for pair in ToyArith().pairs(Stated(), split, 100, seed=3):
            for text in (pair.clean, pair.counterfactual):
                cluster = tuple(sorted(operands(text)))
                assert split_of(0, cluster) is split
                assert seen.setdefault(cluster, split) is split


def test_same_seed_same_pairs():
    first, again, other = (ToyArith().pairs(Stated(), Split.TEST, 20, seed) for seed in (5, 5, 6))
    assert first == again and first != other


@pytest.mark.parametrize("kind", ["operator_swap", "single_operand", "carry_flip_iso", "column"])
def test_each_kind_edits_what_it_says(kind):
    for pair in ToyArith(kind).pairs(Stated(3), Split.DISCOVERY, 40, seed=0):
        (x, y), (x2, y2) = operands(pair.clean), operands(pair.counterfactual)
        same_operator = ("-" in pair.clean) == ("-" in pair.counterfactual)
        changed = [c for a, b in ((x, x2), (y, y2)) for c in range(3) if a // 10**c % 10 != b // 10**c % 10]
        if kind == "operator_swap":
            assert (x, y) == (x2, y2) and not same_operator
        elif kind == "single_operand":
            assert same_operator and (x == x2) != (y == y2)
        elif kind == "column":
            assert same_operator and len(set(changed)) == 1
        else:
            assert same_operator and set(changed) == {0}
            assert abs(int(pair.answer) - int(pair.answer_cf)) == 10 and pair.answer[-1] == pair.answer_cf[-1]


def test_kinds_that_need_two_operators_say_so():
    with pytest.raises(TooFewPairs, match="operator_swap"):
        ToyArith("operator_swap").pairs(Stated(operators="+"), Split.DISCOVERY, 4, seed=0)


def test_only_draws_in_a_row_without_a_new_pair_end_the_search(monkeypatch):
    monkeypatch.setattr(questions, "MAX_BARREN", 400)
    assert len(ToyArith().pairs(Stated(), Split.TEST, 200, seed=0)) == 200  # about eleven draws for each pair
    assert len(ToyArith().pairs(Stated(n_digits=1, operators="+"), Split.TEST, 10_000, seed=0)) < 1_000


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="operands"):
        ToyArith("sideways")
    assert replace(ToyArith(), kind="column").kind == "column"


def test_models_without_bos_get_none():
    pair = ToyArith().pairs(Stated(bos=False), Split.DISCOVERY, 1, seed=0)[0]
    assert pair.classes[0] == "x1" and VOCAB[pair.clean_ids[0]].isdigit()
