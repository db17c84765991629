"""Templates, their labelled pieces, and the independent reader of questions."""

import pytest

from arithloc.benchmark.api.errors import UnknownName
from arithloc.tasks.frames import ALIASES, FRAMES, LABELS, Surface, is_infix, operator_slot, resolve
from arithloc.tasks.operators import OPERATORS
from arithloc.tasks.questions import render
from arithloc.tasks.truth import evaluate


def text(frame, operator, x, y):
    slot = operator_slot(frame)
    pieces = render(frame.body, LABELS, {"x": x, "y": y, slot: OPERATORS[operator].words[slot]})
    return frame.lead + "".join(piece.text for piece in pieces) + frame.tail


def test_the_six_frames_literally():
    assert [text(FRAMES[f"F{i}"], "sub", "52", "27") for i in range(6)] == [
        "Q: How much is 52 minus 27? A:",
        "Q: What is 52 minus 27? A:",
        "Q: What is the result of 52 minus 27? A:",
        "Q: What is the difference between 52 and 27? A:",
        "The difference between 52 and 27 is",
        "52 - 27 =",
    ]


def test_operator_word_index():
    words = [text(FRAMES[f"F{i}"], "add", "3", "5").split() for i in range(6)]
    found = [next(i for i, w in enumerate(line) if w in ("plus", "sum", "+")) for line in words]
    assert found == [5, 4, 7, 4, 1, 1]


def test_36_distinct_z_frames_in_three_styles():
    frames = resolve(("z",))
    assert len(frames) == 36
    assert [sum(f.style == style for f in frames) for style in ("equation", "statement", "qa")] == [12, 12, 12]
    assert len({text(f, "add", "3", "5") for f in frames}) == 36


def test_aliases():
    assert [f.id for f in resolve(("all",))] == ["F0", "F1", "F2", "F3", "F4", "F5"]
    assert resolve(("Y0",)) == resolve(("F4",))
    assert [f.id for f in resolve(("F4", "Y0", "F5", "F4"))] == ["F4", "F5"]
    assert [f.id for f in resolve(("Y3", "B0"))] == ["Y3"]  # one text


def test_tight_surface():
    (frame,) = resolve(("F5",), Surface.TIGHT)
    assert text(frame, "add", "3", "5") == "3+5=" and frame.tight
    (equals,) = resolve(("zE3",), Surface.TIGHT)
    assert text(equals, "add", "3", "5") == "3+5 equals" and not equals.tight
    with pytest.raises(ValueError, match="surface=tight, found 'F0'"):
        resolve(("F0",), Surface.TIGHT)


def test_unknown_and_missing_frames():
    with pytest.raises(UnknownName, match="No frame is called 'F9'"):
        resolve(("F9",))
    with pytest.raises(ValueError, match="at least one frame"):
        resolve(())


def test_pieces_are_labelled():
    frame = FRAMES["F3"]
    pieces = render(frame.body, LABELS, {"x": "52", "y": "27", "N": "difference between"})
    assert pieces == (
        ("early", "What is the "),
        ("operator", "difference between"),
        ("early", " "),
        ("operand1", "52"),
        ("middle", " and "),
        ("operand2", "27"),
        ("late", "?"),
    )


def test_infix_frames():
    assert {i for i in ("F0", "F1", "F2", "F3", "F4", "F5", "Y1", "Y2", "Y3") if is_infix(FRAMES[i])} == {
        "F0", "F1", "F2", "F5", "Y1", "Y2", "Y3",
    }  # fmt: skip


VALUES = {"add": 60, "sub": 48, "mul": 324, "div": 9, "mod": 4}
WORDED = [(f, o) for f in sorted(FRAMES) for o in VALUES if operator_slot(FRAMES[f]) in OPERATORS[o].words]


@pytest.mark.parametrize(("frame_id", "operator"), WORDED)
def test_every_frame_can_be_read_back(frame_id, operator):
    x = "64" if operator == "mod" else "54"  # 64 = 10 x 6 + 4
    assert evaluate(text(FRAMES[frame_id], operator, x, "6")) == VALUES[operator]


def test_inexact_division_has_no_value():
    assert evaluate("55 / 6 =") is None and evaluate("5 / 0 =") is None and evaluate("5 % 0 =") is None


@pytest.mark.parametrize(
    "question",
    ["3 < 5 =", "What is 3 nothing 5?", "What is the number of 3 and 5?", "What is 3 plus?", "1 + 2 * 3 =", "3 5", ""],
)
def test_what_is_no_expression_is_not_read(question):
    assert evaluate(question) is None


def test_aliases_name_existing_frames():
    assert {frame for ids in ALIASES.values() for frame in ids} <= FRAMES.keys()
