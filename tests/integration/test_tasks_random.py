"""Arithmetic tasks with options drawn at random: whatever they are, every pair holds every invariant."""

import random
import zlib

import pytest
from support.number_tokenizers import NAMES
from support.number_tokenizers import build as tokenizer
from support.pair_checks import check_arithmetic, check_edits, check_splits, check_tokens
from support.tiny_tokenizers import characters
from support.triple_checks import check_triples

from arithloc.benchmark.api import PromptPair, Split, TokenizerMismatch, TooFewPairs
from arithloc.tasks.arith2 import Addition, Division, Modulo, Multiplication, Subtraction
from arithloc.tasks.arith3 import ThreeOperands
from arithloc.tasks.frames import resolve
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import Kind
from arithloc.tasks.selection import Comparison, Copying, YesNoComparison

PLENTY = (Range.D1, Range.D2, Range.D2D1, Range.SINGLE_DIGIT, Range.WORDS)
FAMILIES = (
    Addition,
    Subtraction,
    Multiplication,
    Division,
    Modulo,
    ThreeOperands,
    Copying,
    Comparison,
    YesNoComparison,
)
FRAMES = {
    "digits": [frame.id for frame in resolve(("all", "y", "z", "mod"))],
    "words": [f.id for f in resolve(("words",))],
}
N_CASES = 5


def some_task(cls, rng):
    """A task whose options go together."""
    while True:
        options = {"digits": rng.choice(PLENTY), "shots": rng.choice((0, 0, 2, 5)), "kind": rng.choice(list(Kind))}
        options["split_seed"] = rng.randrange(3)
        if cls in FAMILIES[:6]:
            options["score_digit"] = rng.choice(("first", "first", "all", "2"))
            options["one_token"] = rng.random() < 0.2
        if cls in FAMILIES[:5]:
            known = FRAMES["words" if options["digits"] is Range.WORDS else "digits"]
            options["frames"] = tuple(rng.sample(known, 2))
        if cls is ThreeOperands:
            options["expressions"] = rng.choice((("T2", "T9", "T22", "T23"), ("T0o", "T10o", "T28o")))
        try:
            return cls(**options), options
        except ValueError:
            continue


def check(tok, pair: PromptPair, options) -> None:
    check_tokens(tok, pair)
    if pair.task == "three-operands":
        check_triples(tok, pair, original=pair.frame.endswith("o"), seed=options["split_seed"])
        return
    check_edits(pair)
    check_splits(pair, *check_arithmetic(tok, pair), options["split_seed"])


@pytest.mark.parametrize("name", [*NAMES, "characters"])
def test_any_options(name):
    tok = characters() if name == "characters" else tokenizer(name)
    rng = random.Random(zlib.crc32(name.encode()))  # noqa: S311
    drawn = 0
    for _ in range(N_CASES):
        # characters cannot spell the controls in the form of a sum
        task, options = some_task(rng.choice(FAMILIES[:6] if name == "characters" else FAMILIES), rng)
        try:
            pairs = task.pairs(tok, rng.choice(list(Split)), 8, rng.randrange(100))
        except (TokenizerMismatch, TooFewPairs) as refused:
            assert str(refused).startswith("Expected") and "Use " in str(refused)
            continue
        for pair in pairs:
            check(tok, pair, options)
        drawn += len(pairs)
    assert drawn >= 8
