"""Two-operand pairs on tokenizers of every number behaviour: all invariants, recomputed from the tokens."""

from collections import Counter

import pytest
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import check_arithmetic, check_edits, check_splits, check_tokens
from support.tiny_tokenizers import characters

from arithloc.benchmark.api import Split, Task, TokenizerMismatch, TooFewPairs, data_hash
from arithloc.benchmark.api.errors import BadOption, UnknownName
from arithloc.benchmark.api.options import build, recorded
from arithloc.tasks.arith2 import Addition, Division, Modulo, Multiplication, Subtraction
from arithloc.tasks.frames import Surface
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import Kind
from arithloc.tasks.layout import Bos

TASKS = {"add": Addition, "sub": Subtraction}
WIDE = ("all", "Y1", "Y2", "Y3", "z")
INFIX = ("F0", "F1", "F2", "F5", "Y1", "Y2", "Y3")


def check(tok, pairs, seed=0):
    for pair in pairs:
        check_tokens(tok, pair)
        check_edits(pair)
        check_splits(pair, *check_arithmetic(tok, pair), seed)
    assert len({(p.clean, p.counterfactual) for p in pairs}) == len(pairs)
    assert [p.index for p in pairs] == list(range(len(pairs)))


KINDS = [kind for kind in Kind if kind is not Kind.SELECTOR_SWAP]
CASES = [(o, k) for o in TASKS for k in KINDS if (o, k) != ("sub", Kind.ORDER_SWAP)]  # 5 - 3 is not 3 - 5


@pytest.mark.parametrize(("operator", "kind"), CASES)
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_on_every_tokenizer(name, operator, kind):
    tok = tokenizer(name)
    frames = INFIX if kind is Kind.OPERATOR_NULL else WIDE
    for split in Split:
        pairs = TASKS[operator](digits=Range.D2, frames=frames, kind=kind).pairs(tok, split, 25, 1)
        assert len(pairs) == 25
        assert {p.kind for p in pairs} == {kind.value} and {p.split for p in pairs} == {split}
        check(tok, pairs)


@pytest.mark.parametrize("digits", [r for r in Range if r not in (Range.D2, Range.D3)])
@pytest.mark.parametrize("name", NAMES)
def test_every_range_on_every_tokenizer(name, digits):
    tok = tokenizer(name)
    frames = ("words",) if digits is Range.WORDS else ("all", "Y3")
    for operator, kind in (("add", Kind.OPERANDS), ("sub", Kind.SINGLE_OPERAND)):
        pairs = TASKS[operator](digits=digits, frames=frames, kind=kind).pairs(tok, Split.TEST, 40, 2)
        assert len(pairs) == 40
        check(tok, pairs)


OTHERS = {
    "mul": (
        Multiplication,
        ("all", "Y1", "Y3", "z"),
    ),
    "div": (
        Division,
        ("all", "Y1", "Y3", "z"),
    ),
    "mod": (Modulo, ("mod", "Y3", "zQ9")),
}
REFUSED = {
    "mul": {Kind.CARRY_FLIP, Kind.CARRY_FLIP_ISO},
    "div": {Kind.CARRY_FLIP, Kind.CARRY_FLIP_ISO, Kind.ORDER_SWAP},
    "mod": {Kind.CARRY_FLIP, Kind.CARRY_FLIP_ISO, Kind.ORDER_SWAP},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operator", list(OTHERS))
def test_other_operators(operator, kind):
    cls, frames = OTHERS[operator]
    if kind is Kind.OPERATOR_NULL:
        frames = ("F1", "F5", "Y3")
    if kind in (Kind.OPERATOR_SWAP, Kind.SAME_ANSWER_OTHER_OP) and operator == "mod":
        frames = ("F1", "F5")
    if kind in REFUSED[operator]:
        with pytest.raises(ValueError, match=rf"kind {kind}, found {operator}"):
            cls(frames=frames, kind=kind)
        return
    wide = {"digits": Range.N300} if (operator, kind) == ("mul", Kind.SAME_ANSWER) else {}  # 2 x 6 = 3 x 4 and few more
    for name in NAMES:
        tok = tokenizer(name)
        pairs = cls(frames=frames, kind=kind, shots=1, **wide).pairs(tok, Split.TEST, 15, 0)
        assert len(pairs) >= 8
        for pair in pairs:
            check_tokens(tok, pair)
            check_edits(pair)
            check_splits(pair, *check_arithmetic(tok, pair))


@pytest.mark.parametrize("operator", ["mul", "div"])
def test_three_digit_results_of_other_operators(operator):
    cls = OTHERS[operator][0]
    for name in ("gpt2", "llama3", "qwen"):
        tok = tokenizer(name)
        pairs = cls(digits=Range.D2, frames=("F5", "F0")).pairs(tok, Split.TEST, 40, 0)
        assert len(pairs) == 40
        check(tok, pairs)


def test_frames_without_a_wording():
    with pytest.raises(ValueError, match=r"wording for mod, found F3, F4. Use F0, F1, F2, F5, M0, M1"):
        Modulo(frames=("all",))
    with pytest.raises(ValueError, match="wording for sub, found M0, M1"):
        Modulo(frames=("mod",), kind=Kind.OPERATOR_SWAP)


def test_three_digits_on_every_tokenizer():
    for name in NAMES:
        check(tokenizer(name), Addition(digits=Range.D3, frames=("F5", "F0")).pairs(tokenizer(name), Split.TEST, 60, 0))


@pytest.mark.parametrize("operator", ["add", "sub"])
def test_character_tokenizer(operator):
    tok = characters()
    pairs = TASKS[operator](digits=Range.D2, frames=("F0", "F5", "Y3"), kind=Kind.OPERANDS).pairs(
        tok, Split.TEST, 60, 0
    )
    check(tok, pairs)


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_pairs(name):
    tok = tokenizer(name)
    pairs = Addition(digits=Range.D2, frames=("all",)).pairs(tok, Split.DISCOVERY, 500, 5)
    assert len(pairs) == 500
    check(tok, pairs)


def test_same_arguments_same_pairs():
    tok = tokenizer("gpt2")
    for task in (Addition(frames=("all",), digits=Range.D2), Subtraction(kind=Kind.SAME_ANSWER, digits=Range.N300)):
        one, two = (task.pairs(tok, Split.TEST, 50, 3) for _ in range(2))
        assert one == two and data_hash(one) == data_hash(two)
        assert task.pairs(tok, Split.TEST, 50, 4) != one
        assert task.pairs(tok, Split.TEST, 20, 3) == one[:20]


def test_split_seed_decides_membership():
    tok = tokenizer("qwen")
    pairs = Addition(split_seed=7).pairs(tok, Split.TEST, 500, 0)
    check(tok, pairs, seed=7)
    assert {p.cluster for p in pairs} != {p.cluster for p in Addition().pairs(tok, Split.TEST, 500, 0)}


def test_whole_small_grid_is_used_once():
    """1..9 + 1..9, both orders, one frame: every ordered pair of the split exactly once."""
    tok = tokenizer("gpt2")
    clean = Counter()
    for split in Split:
        clean.update(p.clean for p in Addition().pairs(tok, split, 10_000, 0))
    assert len(clean) == 81 and set(clean.values()) == {1}
    assert len(Addition(frames=("F5", "F0", "F1")).pairs(tok, Split.TEST, 10_000, 0)) % 3 == 0


def test_operand_pairs_come_again_only_after_all_have_come():
    pairs = Addition(digits=Range.D2, frames=("all",)).pairs(tokenizer("gpt2"), Split.TEST, 600, 0)
    operands = [tuple(w.strip("?") for w in p.clean.split() if w.strip("?").isdigit()) for p in pairs]
    assert len(set(operands)) == 600
    counts = Counter(p.frame for p in pairs)
    assert len(counts) == 6 and min(counts.values()) > 60


def test_balanced_strata():
    tok = tokenizer("qwen")
    pairs = Addition(digits=Range.D2, balance="carry_count").pairs(tok, Split.TEST, 300, 0)
    assert Counter(dict(p.strata)["carry_count"] for p in pairs) == {"0": 100, "1": 100, "2": 100}
    drawn = Counter(dict(p.strata)["carry_count"] for p in Addition(digits=Range.D2).pairs(tok, Split.TEST, 300, 0))
    assert max(drawn.values()) > 120  # 1,980 : 3,735 : 2,385 in the grid


def test_negative_answers():
    tok = tokenizer("gpt2")
    pairs = Subtraction(negative=True).pairs(tok, Split.TEST, 100, 0)
    below = [p for p in pairs if p.answer.startswith("-")]
    assert below and len(below) < len(pairs)
    for pair in pairs:
        check_tokens(tok, pair)
        check_arithmetic(tok, pair)


def test_negative_answers_where_the_sign_takes_the_space():
    with pytest.raises(TokenizerMismatch, match=r"joins the minus sign .* Use negative=false"):
        Subtraction(negative=True).pairs(tokenizer("qwen"), Split.TEST, 100, 0)


def test_copy_shortcuts_only_on_request():
    tok = tokenizer("gpt2")
    flags = [
        {dict(p.strata)["copy_shortcut"] for p in Subtraction(copy_shortcuts=wanted).pairs(tok, Split.TEST, 100, 0)}
        for wanted in (False, True)
    ]
    assert flags == [{"no"}, {"no", "yes"}]


def test_options_from_text():
    task = build(
        Addition,
        "addition",
        {"digits": "d2", "frames": "F0+F5", "shots": "4", "chat": "false", "kind": "carry_flip", "bos": "tokenizer"},
    )
    assert task == Addition(digits=Range.D2, frames=("F0", "F5"), shots=4, kind=Kind.CARRY_FLIP, bos=Bos.TOKENIZER)
    assert isinstance(task, Task) and recorded(task)["frames"] == ["F0", "F5"]
    assert build(Addition, "addition", {"surface": "tight"}).surface is Surface.TIGHT


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"digits": "d4"}, BadOption, "expected one of d1, d2"),
        ({"frames": "F7"}, UnknownName, "No frame is called 'F7'"),
        ({"shots": "99"}, BadOption, "0 to 16 shots, found 99"),
        ({"kind": "carry_flip"}, BadOption, "digits d2 or d3 for kind carry_flip, found d1"),
        ({"kind": "operator_null", "frames": "F3 F5"}, BadOption, "between the operands .*found F3"),
        ({"swap_to": "add"}, BadOption, "another operator, found 'add'"),
        ({"balance": "colour"}, BadOption, "a tag of the task, found 'colour'"),
        ({"surface": "tight", "frames": "F0"}, BadOption, "operator symbol for surface=tight, found 'F0'"),
        ({"frames": "C0 F5"}, BadOption, "Expected chat=true for C0, found chat=false"),
    ],
)
def test_refused_options(options, error, message):
    with pytest.raises(error, match=message):
        build(Addition, "addition", options)


def test_too_many_exemplars():
    with pytest.raises(TooFewPairs, match=r"Expected 16 exemplars .* Use fewer shots or a larger range"):
        Addition(digits=Range.SINGLE_DIGIT, shots=16).pairs(tokenizer("qwen"), Split.TEST, 5, 0)


def test_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(TokenizerMismatch, match=r"fast tokenizer .* found Slow"):
        Addition().pairs(Slow(), Split.TEST, 5, 0)
