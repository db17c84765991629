"""The methods' own program of digit-wise arithmetic: against integers, the toys' program, and answers by hand."""

import numpy as np
import pytest

from arithloc.methods.digit_program import SUB_TASKS, Columns, Reading
from arithloc.tasks.toy.arithmetic import Questions, answers, random_questions
from arithloc.tasks.toy.swaps import carry_swapped, sign_swapped

TASKS = {task.tag: task for task in SUB_TASKS}


def columns(x, operator, y, n):
    digits = [[int(c) for c in f"{v:0{n}d}"[::-1]] for v in (x, y)]
    return Columns(np.array([digits[0]]), np.array([digits[1]]), np.array([operator == "-"]))


def text(answer):
    return "+-"[answer[0]] + "".join(map(str, answer[1:]))


def swapped(tag, base, source, i, n=5):
    found = TASKS[tag].swapped(columns(*base, n), columns(*source, n), i)
    return text(found.answer()[0])


def of(q):
    return Columns(q.x, q.y, q.minus)


@pytest.mark.parametrize("operator", ["+", "-"])
def test_answers_are_those_of_integers(operator):
    for x in range(0, 100, 9):
        for y in range(100):
            result = x + y if operator == "+" else x - y
            assert (
                text(Reading.of(columns(x, operator, y, 2)).answer()[0])
                == f"{'-' if result < 0 else '+'}{abs(result):03d}"
            )


def test_whole_swaps_agree_with_the_program_of_the_toys():
    rng = np.random.default_rng(0)
    base = random_questions(6, "+-", 300, rng, transparent=0.4)
    source = Questions(rng.integers(0, 10, base.x.shape), rng.integers(0, 10, base.y.shape), base.minus)
    state = of(base)
    for i in range(6):  # one column after the other until all states are the source's
        mixed = Columns(state.x.copy(), state.y.copy(), state.minus)
        mixed.x[:, i], mixed.y[:, i] = source.x[:, i], source.y[:, i]
        state = mixed
    right, found = answers(source), Reading.of(state).answer()
    assert (found[:, 0].astype(bool) == right.negative).all() and (found[:, :0:-1] == right.digits).all()
    expected = sign_swapped(base, source)
    for i in range(6):
        read, plain = TASKS["SGN"].swapped(of(base), of(source), i).answer(), Reading.of(of(base)).answer()
        assert (read[:, -1 - i] == expected.digits[:, i]).all()
        assert (np.delete(read, -1 - i, axis=1) == np.delete(plain, -1 - i, axis=1)).all()
    # a source that differs in column 2 alone: its state gives the carries that the toys' program swaps
    near = Questions(base.x.copy(), base.y.copy(), base.minus)
    near.x[:, 2], near.y[:, 2] = source.x[:, 2], source.y[:, 2]
    for tag, minus in (("ST", False), ("MT", True)):
        rows = np.flatnonzero(base.minus == minus)
        found = TASKS[tag].swapped(of(base)[rows], of(near)[rows], 2).answer()
        expected = carry_swapped(base[rows], near[rows])
        assert (found[:, :0:-1] == expected.digits).all() and (found[:, 0].astype(bool) == expected.negative).all()


@pytest.mark.parametrize(
    ("tag", "base", "source", "i", "answer"),
    [
        # the published pairs, expected answers worked out by hand
        ("SA", (55555, "+", 44444), (22222, "+", 11111), 2, "+099399"),
        ("SA", (55555, "+", 11111), (22222, "+", 66666), 0, "+066668"),
        ("SC", (33333, "+", 55555), (22222, "+", 66696), 1, "+088988"),
        ("ST", (33333, "+", 66666), (22222, "+", 77797), 1, "+100099"),
        ("SV", (33333, "+", 55555), (22222, "+", 77778), 1, "+088988"),
        ("MD", (99999, "-", 44444), (33333, "-", 11111), 3, "+052555"),
        ("MB", (77777, "-", 44444), (22222, "-", 11131), 1, "+033233"),
        ("ND", (9999, "-", 44444), (3333, "-", 11111), 1, "-034475"),
        ("NB", (7777, "-", 44444), (2222, "-", 11131), 1, "-036767"),
        # column 3 decides: X > Y; digits still under the sign token of the prompt, with q_4 = q_5 = 1
        ("MT", (22222, "-", 22242), (55555, "-", 0), 3, "+990020"),
    ],
)
def test_swaps_by_hand(tag, base, source, i, answer):
    assert swapped(tag, base, source, i) == answer
