"""Number words, and numbers that are one token each."""

import pytest
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import NUMBER_WORDS, check_arithmetic, check_edits, check_splits, check_tokens, numbers
from support.tiny_tokenizers import characters

from arithloc.benchmark.api import Split, TokenizerMismatch
from arithloc.tasks.arith2 import Addition, Division, Modulo, Multiplication, Subtraction
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.grid import Grid, Range, enumerate_grid
from arithloc.tasks.kinds import Kind
from arithloc.tasks.one_token import one_token_numbers
from arithloc.tasks.selection import Comparison

KINDS = (Kind.OPERANDS, Kind.SINGLE_OPERAND, Kind.OPERATOR_SWAP, Kind.SAME_ANSWER, Kind.SAME_ANSWER_OTHER_OP)


def check(tok, pairs):
    for pair in pairs:
        check_tokens(tok, pair)
        check_edits(pair)
        check_splits(pair, *check_arithmetic(tok, pair))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_words_on_every_tokenizer(name, kind):
    tok = tokenizer(name)
    for cls, shots in ((Addition, 0), (Subtraction, 2)):
        pairs = cls(digits=Range.WORDS, frames=("words",), kind=kind, shots=shots).pairs(tok, Split.TEST, 20, 0)
        assert len(pairs) >= 8
        check(tok, pairs)
        for pair in pairs:
            assert not any(c.isdigit() for c in pair.clean) and pair.answer in NUMBER_WORDS
            assert len(pair.answer_ids) == 1
            if pair.frame not in ("Y1", "Y2"):  # a word at the very beginning has no space in front
                assert pair.classes.count("operand1") == pair.classes.count("operand2") == 1


def test_words_of_the_other_operators_and_controls():
    tok = tokenizer("gpt2")
    for task in (
        Multiplication(digits=Range.WORDS, frames=("F0", "F3")),
        Division(digits=Range.WORDS, frames=("F1", "Y1")),
        Modulo(digits=Range.WORDS, frames=("M0", "F1")),
        Comparison(digits=Range.WORDS),
    ):
        pairs = task.pairs(tok, Split.DISCOVERY, 15, 0)
        assert len(pairs) == 15
        check(tok, pairs)


def test_the_grid_of_words():
    """Every operand and every result is one word, by brute force."""
    words = set(NUMBER_WORDS.values())
    for operator, compute in (("add", lambda x, y: x + y), ("mul", lambda x, y: x * y)):
        expected = {(x, y) for x in words for y in words if compute(x, y) in words}
        assert set(enumerate_grid(Grid(operator, Range.WORDS, shortcuts=True))) == expected


def test_words_need_frames_without_symbols():
    with pytest.raises(ValueError, match=r"without symbols for digits=words, found F5. Use frames=words"):
        Addition(digits=Range.WORDS)
    with pytest.raises(ValueError, match="digits for negative=true, found number words"):
        Subtraction(digits=Range.WORDS, frames=("F0",), negative=True)


def test_a_tokenizer_that_splits_number_words():
    with pytest.raises(TokenizerMismatch, match=r"splits 28 of 28 \(such as 'ninety'\). Use digits=d1"):
        Addition(digits=Range.WORDS, frames=("F0",)).pairs(characters(), Split.TEST, 5, 0)


@pytest.mark.parametrize(
    ("name", "spaced", "tight"),
    [("gpt2", 361, 520), ("neox", 529, 529), ("llama2", 9, 9), ("llama3", 999, 999), ("qwen", 9, 9)],
)
def test_measured_limits(name, spaced, tight):
    encoder = Encoder(tokenizer(name))
    assert one_token_numbers(encoder, words=False, spaced=True) == frozenset(range(spaced + 1))
    assert one_token_numbers(encoder, words=False, spaced=False) == frozenset(range(tight + 1))


@pytest.mark.parametrize("name", NAMES)
def test_one_token_each(name):
    tok = tokenizer(name)
    digits = Range.SINGLE_DIGIT if name in ("llama2", "mistral", "qwen") else Range.D2 if name == "llama3" else Range.D3
    for cls in (Addition, Subtraction):
        pairs = cls(digits=digits, frames=("F0", "F3"), one_token=True).pairs(tok, Split.DISCOVERY, 20, 0)
        assert len(pairs) == 20
        check(tok, pairs)
        for pair in pairs:
            assert len(pair.answer_ids) == 1 == pair.classes.count("operand1") == pair.classes.count("operand2")
            assert max(*numbers(pair.clean), int(pair.answer)) <= {"gpt2": 361, "neox": 529, "llama3": 999}.get(name, 9)


def test_three_digit_factors_with_an_answer_of_one_token():
    for name, top in (("qwen", 9), ("llama3", 999), ("gpt2", 361)):
        with pytest.raises(TokenizerMismatch, match=rf"up to {top} as one token. Use digits=d1 or .*one_token=false"):
            Multiplication(digits=Range.D3, one_token=True).pairs(tokenizer(name), Split.TEST, 5, 0)
    with pytest.raises(TokenizerMismatch) as refused:
        Addition(digits=Range.D2, one_token=True).pairs(tokenizer("qwen"), Split.TEST, 5, 0)
    ways = str(refused.value).split("Use digits=")[1].split(",")[0].split(" or ")
    assert ways == ["d1", "n300", "n300-exclusive", "single-digit", "d1-by"]
    for way in ways:  # what is said to work works
        assert Addition(digits=Range(way), one_token=True).pairs(tokenizer("qwen"), Split.TEST, 5, 0)
