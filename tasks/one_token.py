"""Questions of which every number is one token, for a given tokenizer."""

import re
from collections.abc import Iterable
from dataclasses import replace

from arithloc.benchmark.api import TokenizerMismatch
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.grid import Grid, Range, enumerate_grid
from arithloc.tasks.numerals import ONE_WORD, in_words
from arithloc.tasks.questions import Frame

_NUMBER = re.compile(r"\W?(0|[1-9]\d*)")


def one_token_numbers(encoder: Encoder, words: bool, spaced: bool) -> frozenset[int]:
    """The numbers that a tokenizer writes as one token.

    Args:
        encoder: the tokenizer.
        words: number words (of one word) instead of digits.
        spaced: with a space in front, which may be a token of its own only if it is one in front of every number.
    """
    front = "of " if spaced else ""
    if words:
        alone = encoder.sizes(front.strip())
        one_more = (alone[0] + 1, alone[1])
        return frozenset(n for n in ONE_WORD if encoder.sizes(front + in_words(n)) == one_more)
    # a number of one token is in the vocabulary, with or without a mark for the space in front; \u0120 is a letter
    pieces = (piece.removeprefix("\u0120") for piece in encoder.tokenizer.get_vocab())
    known = {int(found[1]) for piece in pieces if (found := _NUMBER.fullmatch(piece))}
    digit = encoder.sizes(f"{front}5")
    return frozenset(n for n in known if encoder.sizes(f"{front}{n}") == digit)


def in_one_token(grid: Grid, encoder: Encoder, frames: Iterable[Frame]) -> Grid:
    """The part of a grid in which every operand and every result is one token.

    Raises:
        TokenizerMismatch: there is none; the message names the ranges that have one.
    """
    words, spaced = grid.range is Range.WORDS, any(not frame.tight for frame in frames)
    part = replace(grid, among=one_token_numbers(encoder, words, spaced))
    if enumerate_grid(part):
        return part
    if words:
        split = [in_words(n) for n in ONE_WORD if n not in (part.among or ())]
        raise TokenizerMismatch(
            f"Expected number words of one token, found that this tokenizer splits {len(split)} of {len(ONE_WORD)} "
            f"(such as {split[-1]!r}). Use digits=d1 or another range of digits."
        )
    among = part.among or frozenset()
    top = next(n for n in range(len(among) + 1) if n not in among) - 1
    digits = [r for r in Range if r is not Range.WORDS]
    others = [r.value for r in digits if enumerate_grid(replace(part, range=r))]
    ways = f"digits={' or '.join(others)}, or " if others else ""
    raise TokenizerMismatch(
        f"Expected questions of {grid.operator} in {grid.range} whose operands and results are one token each, found "
        f"none: this tokenizer writes the numbers up to {top} as one token. Use {ways}one_token=false (an answer of "
        "several tokens is scored at the first one that differs)."
    )
