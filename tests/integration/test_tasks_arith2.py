"""Two-operand pairs on tokenizers of every number behaviour: all invariants, recomputed from the tokens."""

from collections import Counter

import pytest
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import check_arithmetic, check_edits, check_splits, check_tokens, numbers
from support.tiny_tokenizers import characters

from arithloc.benchmark.api import Split, Task, TokenizerMismatch, TooFewPairs, data_hash
from arithloc.benchmark.api.errors import BadOption, UnknownName
from arithloc.benchmark.api.options import build, recorded
from arithloc.tasks.arith2 import Addition, Division, Modulo, Multiplication, Subtraction
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.frames import FRAMES, Surface
from arithloc.tasks.grid import Grid, Operands, Range
from arithloc.tasks.kinds import Kind
from arithloc.tasks.layout import Bos, lay_out
from arithloc.tasks.two_operands import question

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
    for operator, kind in (("add", Kind.OPERANDS), ("sub", Kind.SINGLE_OPERAND)):
        pairs = TASKS[operator](digits=digits, frames=("all", "Y3"), kind=kind).pairs(tok, Split.TEST, 40, 2)
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
    if kind is Kind.OPERATOR_SWAP and operator == "mod":
        frames = ("F1", "F5")
    if kind in REFUSED[operator]:
        with pytest.raises(ValueError, match=rf"kind {kind}, found {operator}"):
            cls(frames=frames, kind=kind)
        return
    wide = {"digits": Range.D2} if (operator, kind) == ("mul", Kind.SAME_ANSWER) else {}  # 2 x 6 = 3 x 4 and few more
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


@pytest.mark.parametrize("kind", [Kind.OPERANDS, Kind.OPERATOR_SWAP])
@pytest.mark.parametrize("name", NAMES)
def test_exemplars_are_right_and_shared(name, kind):
    tok = tokenizer(name)
    task = Subtraction(digits=Range.D2, frames=("F0", "F5", "Y3"), shots=3, kind=kind)
    pairs = [p for split in Split for seed in (0, 1) for p in task.pairs(tok, split, 40, seed)]
    for pair in pairs:
        check_tokens(tok, pair)
        for text, symbols in ((pair.clean, ("-", "minus")), (pair.counterfactual, ("+", "plus", "-", "minus"))):
            *solved, query = text.split("\n")
            assert len(solved) == 3
            for line in solved:
                sign = next(s for s in symbols if s in line)
                x, y, z = (
                    int(w) for w in line.replace("?", " ").replace("=", " = ").replace(sign, " ").split() if w.isdigit()
                )
                assert x - y == z if sign in ("-", "minus") else x + y == z
                assert f"{x}" not in query or f"{y}" not in query
        n_shot = pair.classes.count("shot")
        assert pair.classes[:n_shot] == ("shot",) * n_shot
        assert tok.decode(pair.clean_ids[n_shot - 1]) == "\n"
    prefixes = {(p.frame, p.clean[: p.clean.rindex("\n")]) for p in pairs}
    assert len(prefixes) == 3  # one per frame, whatever split and seed


def test_exemplars_stay_out_of_discovery():
    tok = tokenizer("qwen")
    without = Addition(shots=0).pairs(tok, Split.DISCOVERY, 1000, 0)
    with_shots = Addition(shots=4).pairs(tok, Split.DISCOVERY, 1000, 0)
    gone = {p.cluster for p in without} - {p.cluster for p in with_shots}
    shown = {",".join(sorted(line.split(" =")[0].split(" + "))) for line in with_shots[0].clean.split("\n")[:-1]}
    assert gone == shown and len(gone) == 4


CHAT = {
    "F1": ("What is {x} minus {y}?", "{z}"),
    "F3": ("What is the difference between {x} and {y}?", "{z}"),
    "F5": ("{x} - {y} =", "{z}"),
    "C0": ("Calculate {x} - {y}.", "= {z}"),
    "C1": ("Calculate {x} - {y}.", "{x} - {y} = {z}"),
}


@pytest.mark.parametrize("frame", sorted(CHAT))
@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", ["qwen", "llama3", "llama2"])
def test_chat_is_exactly_the_template(name, shots, frame):
    """The ids are those of the template with the same turns; a reply that is begun follows it."""
    tok = tokenizer(name)
    question, reply = CHAT[frame]
    begun = reply.removesuffix("{z}").rstrip()
    for pair in Subtraction(chat=True, shots=shots, frames=(frame,)).pairs(tok, Split.TEST, 20, 0):
        check_tokens(tok, pair)
        per_turn = 5 if frame == "C1" else 3
        found = numbers(pair.clean)
        messages = []
        for i in range(shots):
            x, y, z = *found[i * per_turn : i * per_turn + 2], found[(i + 1) * per_turn - 1]
            assert x - y == z
            messages.append({"role": "user", "content": question.format(x=x, y=y)})
            messages.append({"role": "assistant", "content": reply.format(x=x, y=y, z=z)})
        x, y = found[shots * per_turn :][:2]
        assert str(x - y) == pair.answer
        messages.append({"role": "user", "content": question.format(x=x, y=y)})
        ids = tok.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        prompt = list(pair.clean_ids[: len(pair.clean_ids) - pair.first_diff])
        assert prompt[: len(ids)] == ids
        rest = tok.decode(prompt[len(ids) :])
        assert rest.strip() == begun.format(x=x, y=y)
        assert "bos" not in pair.classes
        spelled = [i for i, c in zip(pair.clean_ids, pair.classes, strict=True) if c == "operand1"]
        assert tok.decode(spelled).replace(" ", "") == str(x) * (2 if frame == "C1" else 1)


def test_chat_needs_a_template():
    with pytest.raises(TokenizerMismatch, match=r"chat template for chat=true, found one without. Use chat=false"):
        Addition(chat=True).pairs(tokenizer("gpt2"), Split.TEST, 3, 0)


@pytest.mark.parametrize(
    ("name", "bos", "front"),
    [
        ("gpt2", Bos.ALWAYS, ["<|endoftext|>"]),
        ("gpt2", Bos.TOKENIZER, []),
        ("gpt2", Bos.NEVER, []),
        ("llama2", Bos.ALWAYS, ["<s>"]),
        ("llama2", Bos.TOKENIZER, ["<s>"]),
        ("llama2", Bos.NEVER, []),
        ("llama3", Bos.ALWAYS, ["<|begin_of_text|>"]),
        ("qwen", Bos.ALWAYS, ["<|endoftext|>"]),
    ],
)
def test_front_token(name, bos, front):
    tok = tokenizer(name)
    for shots, cls in ((0, "bos"), (2, "shot")):
        (pair,) = Addition(bos=bos, shots=shots).pairs(tok, Split.TEST, 1, 0)
        assert tok.convert_ids_to_tokens(pair.clean_ids[: len(front)]) == front
        assert pair.classes[: len(front)] == (cls,) * len(front)
        assert ("bos" in pair.classes) == bool(front and not shots)


@pytest.mark.parametrize(
    ("name", "frame", "tokens", "classes"),
    [
        ("gpt2", "F5", ["<|endoftext|>", "27", "Ġ+", "Ġ58", "Ġ="], "bos operand1 operator operand2 late"),
        (
            "qwen",
            "F5",
            ["<|endoftext|>", "2", "7", "Ġ+", "Ġ", "5", "8", "Ġ=", "Ġ"],
            "bos operand1 operand1 operator middle operand2 operand2 late late",
        ),
        (
            "llama3",
            "F5",
            ["<|begin_of_text|>", "27", "Ġ+", "Ġ", "58", "Ġ=", "Ġ"],
            "bos operand1 operator middle operand2 late late",
        ),
        (
            "llama2",
            "Y3",
            ["<s>", "▁", "2", "7", "+", "5", "8", "="],
            "bos early operand1 operand1 operator operand2 operand2 late",
        ),
        (
            "gpt2",
            "F3",
            ["<|endoftext|>", "Q", ":", "ĠWhat", "Ġis", "Ġthe", "Ġsum", "Ġof", "Ġ27", "Ġand", "Ġ58", "?", "ĠA", ":"],
            "bos early early early early early operator operator operand1 middle operand2 late late late",
        ),
    ],
)
def test_classes_by_hand(name, frame, tokens, classes):
    encoder = Encoder(tokenizer(name))
    asked = question(FRAMES[frame], Grid("add", Range.D2), Operands(27, 58))
    layout = lay_out(encoder.tokenizer, asked, (), chat=False, bos=Bos.ALWAYS)
    (found,) = encoder.encode([asked], [layout])
    assert encoder.tokenizer.convert_ids_to_tokens(found.ids) == tokens
    assert found.classes == tuple(classes.split())


def test_teacher_forcing_up_to_the_first_difference():
    """101 and 121 share the first digit: it becomes part of both prompts and the second one is scored."""
    tok = tokenizer("qwen")
    pairs = Addition(digits=Range.D2).pairs(tok, Split.TEST, 300, 0)
    forced = [p for p in pairs if p.first_diff == 1]
    assert forced and any(p.first_diff == 0 for p in pairs)
    for pair in forced:
        assert pair.answer[0] == pair.answer_cf[0] and pair.answer[1] != pair.answer_cf[1]
        assert tok.decode(pair.clean_ids[-1]) == pair.answer[0]
        assert pair.classes[-2:] == ("late", "last")
        assert tok.decode(pair.answer_token) == pair.answer[1]
        assert sorted(tok.decode(c) for c in pair.candidates) == list("0123456789")


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
