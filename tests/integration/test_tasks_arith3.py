"""Three-operand pairs on tokenizers of every number behaviour: all invariants, recomputed from the tokens."""

import pytest
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import check_tokens
from support.tiny_tokenizers import characters
from support.triple_checks import READ, check_triples

from arithloc.benchmark.api import Split, Task, TokenizerMismatch, TooFewPairs
from arithloc.benchmark.api.errors import BadOption, UnknownName
from arithloc.benchmark.api.options import build
from arithloc.tasks.arith3 import ThreeOperands
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import Kind

KINDS = (Kind.OPERANDS, Kind.SINGLE_OPERAND, Kind.SAME_ANSWER)


def check(tok, pairs, **options):
    for pair in pairs:
        check_tokens(tok, pair)
        check_triples(tok, pair, **options)
    assert len({(p.clean, p.counterfactual, p.first_diff) for p in pairs}) == len(pairs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_on_every_tokenizer(name, kind):
    """All expressions in turn; on a tokenizer that splits digits few have no counterfactual of the same digits."""
    tok = tokenizer(name)
    split, shots = (Split.TEST, 0) if kind is Kind.OPERANDS else (Split.DISCOVERY, 1)
    pairs = ThreeOperands(kind=kind, shots=shots).pairs(tok, split, 29, 1)
    check(tok, pairs)
    assert len(pairs) == 29 and len({p.operator for p in pairs}) >= 27
    assert {p.kind for p in pairs} == {kind.value} and {p.split for p in pairs} == {split}


@pytest.mark.parametrize("digits", [Range.D1, Range.SINGLE_DIGIT, Range.N300_EXCLUSIVE, Range.WORDS])
@pytest.mark.parametrize("name", NAMES)
def test_every_range(name, digits):
    tok = tokenizer(name)
    pairs = ThreeOperands(digits=digits, kind=Kind.SINGLE_OPERAND).pairs(tok, Split.TEST, 20, 0)
    check(tok, pairs)
    assert len(pairs) == 20
    if digits is Range.SINGLE_DIGIT:
        assert all(1 <= int(p.answer) <= 9 for p in pairs)


def test_characters():
    tok = characters()
    check(tok, ThreeOperands(score_digit="all").pairs(tok, Split.TEST, 30, 0))


@pytest.mark.parametrize("name", NAMES)
def test_released_strings(name):
    """The prompt is the released string, with its space at the end; exemplars have the same spacing as the question."""
    tok = tokenizer(name)
    task = ThreeOperands(expressions=("original",), digits=Range.N300_EXCLUSIVE, copy_shortcuts=True, shots=1)
    pairs = task.pairs(tok, Split.TEST, 29, 0)
    check(tok, pairs, original=True)
    for pair in pairs:
        solved, asked = pair.clean.split("\n")
        assert asked.endswith(" ") == (pair.operator != "x*y*z" or name not in ("gpt2", "neox"))
        gap = solved[: len(solved) - len(solved.split(" ")[-1])]
        joins = name in ("gpt2", "neox")  # where the space is part of the number there are two
        assert gap.endswith("  ") == (joins and pair.operator != "x*y*z")
        continued = tok(asked + (" " if joins else "") + pair.answer, add_special_tokens=False)["input_ids"]
        prompt = tok(asked, add_special_tokens=False)["input_ids"]
        assert tuple(continued[len(prompt) :]) == pair.answer_ids
    assert all(("divided bu" in p.clean) == (p.operator == "x/(y+z)") for p in pairs)
    assert all(p.clean.split("\n")[1].startswith("what") == (p.operator == "x+y/z") for p in pairs)


def test_same_arguments_same_pairs():
    tok = tokenizer("qwen")
    one, two = (ThreeOperands(kind=Kind.SAME_ANSWER).pairs(tok, Split.TEST, 20, 3) for _ in range(2))
    assert one == two and ThreeOperands(kind=Kind.SAME_ANSWER).pairs(tok, Split.TEST, 8, 3) == one[:8]
    assert ThreeOperands(kind=Kind.SAME_ANSWER).pairs(tok, Split.TEST, 20, 4) != one
    assert isinstance(ThreeOperands(), Task)


def test_exemplars_are_right_and_stay_out_of_discovery():
    tok = tokenizer("gpt2")
    task = ThreeOperands(expressions=("T5", "T16"), shots=5)
    pairs = [p for split in Split for seed in (0, 1) for p in task.pairs(tok, split, 8, seed)]
    fronts = {(p.operator, p.clean[: p.clean.rindex("\n")]) for p in pairs}
    assert len(fronts) == 2  # one for each expression, whatever split and seed
    clusters = {p.cluster for p in pairs}
    for operator, front in fronts:
        lines = front.split("\n")
        assert len(lines) == 5 and len({line.rsplit(" ", 1)[1] for line in lines}) == 5
        for line in lines:
            body, answer = line.removeprefix("Q: ").split(" A: ")
            operands = [int(w.strip("?")) for w in body.split() if w.strip("?").isdigit()]
            wording = " ".join("#" + w[len(w.strip("?")) :] if w.strip("?").isdigit() else w for w in body.split())
            expression, compute = READ[wording]
            assert expression == operator and compute(*operands) == int(answer)
            assert ",".join(map(str, sorted(operands))) not in clusters


def test_one_token_each():
    for name, top in (("qwen", 9), ("llama3", 300), ("gpt2", 300)):
        pairs = ThreeOperands(one_token=True).pairs(tokenizer(name), Split.TEST, 15, 0)
        check(tokenizer(name), pairs)
        for pair in pairs:
            assert len(pair.answer_ids) == 1 and int(pair.answer) <= top
            assert all(pair.classes.count(f"operand{k}") == 1 for k in (1, 2, 3))


def test_impossible_requests_say_why():
    with pytest.raises(TokenizerMismatch, match=r"this tokenizer splits them. Use digits=n300"):
        ThreeOperands(digits=Range.WORDS).pairs(characters(), Split.TEST, 5, 0)
    with pytest.raises(TooFewPairs, match=r"Expected 5 exemplars of x/y/z, found 0 .* Use fewer shots"):
        ThreeOperands(expressions=("x/y/z",), digits=Range.D1, shots=5).pairs(tokenizer("qwen"), Split.TEST, 5, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"expressions": "T29"}, UnknownName, "No expression is called 'T29'"),
        ({"digits": "d3"}, BadOption, "a range of three operands, found d3. Use one of d1, n300"),
        ({"kind": "carry_flip"}, BadOption, "found carry_flip. Use one of operands, single_operand, same_answer"),
        ({"shots": "17"}, BadOption, "0 to 16 shots, found 17"),
        ({"kind": "same_answer", "score_digit": "2"}, BadOption, "compares the answer with a foil"),
    ],
)
def test_refused_options(options, error, message):
    with pytest.raises(error, match=message):
        build(ThreeOperands, "three-operands", options)
