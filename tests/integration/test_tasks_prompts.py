"""How two-operand prompts are laid out: exemplars, chat turns, front token, position classes, teacher forcing."""

import pytest
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import check_tokens, numbers

from arithloc.benchmark.api import Split, TokenizerMismatch
from arithloc.tasks.arith2 import Addition, Subtraction
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.frames import FRAMES
from arithloc.tasks.grid import Grid, Operands, Range
from arithloc.tasks.kinds import Kind
from arithloc.tasks.layout import Bos, lay_out
from arithloc.tasks.two_operands import question


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
