"""Expressions of three operands: wordings, structure, and the triples found without listing them against brute force."""

import itertools
from fractions import Fraction

import pytest
from support.triple_checks import READ

from arithloc.tasks.arith3_expressions import EXPRESSIONS, FRAMES, resolve
from arithloc.tasks.arith3_grid import RANGES, Triple, TripleRange, Triples, triples
from arithloc.tasks.grid import Range
from arithloc.tasks.truth import evaluate

COMPUTE = {text: compute for text, compute in READ.values()}


def test_29_expressions_with_their_wordings():
    asked = {frame.body.format(x="#", y="#", z="#"): e.text for i, (frame, e) in FRAMES.items() if i[-1] != "o"}
    assert asked == {wording: text for wording, (text, _) in READ.items()}
    assert len(asked) == 29
    released = [frame.body for i, (frame, _) in FRAMES.items() if i[-1] == "o"]
    assert sum(body.endswith(" ") for body in released) == 28 and not any(
        frame.tail for frame, _ in resolve(("original",))
    )
    assert [b for b in released if " bu " in b or b[0].islower()] == [
        "How much is {x} divided bu the sum of {y} and {z}? ",
        "what is the sum of {x} and the ratio between {y} and {z}? ",
    ]


def test_names_of_expressions():
    assert resolve(("x-y*z", "T4", "T0o")) == (FRAMES["T4"], FRAMES["T0o"])
    assert len(resolve(("all", "original"))) == 58
    with pytest.raises(ValueError, match="at least one expression"):
        resolve(())


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda e: e.text)
def test_values_are_exact(expression):
    """All operands to 12 against fractions: a result exactly where every operation is whole and not below zero."""
    inner = expression.text.split(")")[0].split("(")[1] if "(" in expression.text else None
    for x, y, z in itertools.product(range(1, 13), repeat=3):
        found = expression.value(x, y, z, True)
        try:
            expected = COMPUTE[expression.text](x, y, z)
        except ZeroDivisionError:
            assert found is None
            continue
        if inner is not None:
            part = eval(inner.replace("/", "*F(1)/"), {"F": Fraction, "x": x, "y": y, "z": z})  # noqa: S307
        elif expression.text in ("x+y*z", "x-y*z"):
            part = y * z
        elif expression.text in ("x+y/z", "x-y/z"):
            part = Fraction(y, z)
        else:
            part = eval(expression.text[:3].replace("/", "*F(1)/"), {"F": Fraction, "x": x, "y": y})  # noqa: S307
        whole = part.denominator == 1 and part >= 0 and expected.denominator == 1
        assert found == (expected if whole else None)


@pytest.mark.parametrize("shortcuts", [False, True])
@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda e: e.text)
def test_triples_without_listing_them(expression, shortcuts):
    """Operands to 9 and number words: exactly the triples of a search through all of them, by result."""
    for named in (Range.D1, Range.WORDS):
        valid = TripleRange(named, shortcuts, frozenset(range(13)) if named is Range.WORDS else None)
        listed = [Triple(*t) for t in itertools.product(valid.operands, repeat=3)]
        expected = sorted((r, t) for t in listed if (r := valid.result(expression, t)) is not None)
        found = Triples(expression, valid)
        results = [valid.result(expression, triple) for triple in found]
        assert sorted(zip(results, found, strict=True)) == expected
        assert results == sorted(results) and found.results == tuple(sorted(set(results)))
        assert all(results[i] == r for r in found.results for i in found.places(r))
        assert sum(len(found.places(r)) for r in found.results) == len(found)
    with pytest.raises(IndexError):
        found[len(found)]


def test_counts_by_hand():
    """x + y + z <= 300: 300 over 3; x - y - z >= 1: the same; x - y + z: x >= y, so 300 x 301 / 2 pairs before z."""
    by_text = {e.text: e for e in EXPRESSIONS}
    everything = TripleRange(Range.N300, shortcuts=True)
    assert len(triples(by_text["x+y+z"], everything)) == 300 * 299 * 298 // 6
    assert len(triples(by_text["x-y-z"], everything)) == 300 * 299 * 298 // 6
    moves = sum((301 - d) * (300 - d) for d in range(300))  # d = x - y: 300 - d pairs of x and y, z from 1 to 300 - d
    assert len(triples(by_text["x-y+z"], everything)) == moves - sum(300 - d for d in range(300))
    products = sum(1 for x in range(1, 301) for y in range(1, 300 // x + 1) for z in range(1, 300 // (x * y) + 1))
    assert len(triples(by_text["x*y*z"], everything)) == products


def test_shortcuts_are_steps_without_computing():
    free, strict = TripleRange(Range.N300, True), TripleRange(Range.N300, False)
    by_text = {e.text: e for e in EXPRESSIONS}
    for text, triple, result in (
        ("x*y+z", (1, 7, 5), 12), ("x*y+z", (2, 7, 5), 19), ("x-(y-z)", (9, 4, 4), 9), ("x/y/z", (12, 3, 4), 1),
        ("(x-y)/z", (9, 3, 1), 6), ("x-y+z", (5, 5, 3), 3),
    ):  # fmt: skip
        assert free.result(by_text[text], Triple(*triple)) == result
        assert strict.result(by_text[text], Triple(*triple)) == (19 if triple == (2, 7, 5) else None)
    assert set(RANGES) == {Range.D1, Range.N300, Range.N300_EXCLUSIVE, Range.SINGLE_DIGIT, Range.WORDS}


@pytest.mark.parametrize("frame_id", FRAMES)
def test_every_frame_can_be_read_back(frame_id):
    frame, expression = FRAMES[frame_id]
    triple = next(t for t in triples(expression, TripleRange(Range.N300)) if len(set(t)) == 3)
    values = dict(zip("xyz", map(str, triple), strict=True))
    assert evaluate(frame.lead + frame.body.format(**values) + frame.tail) == COMPUTE[expression.text](*triple)
