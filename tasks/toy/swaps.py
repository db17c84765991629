"""Variable swaps: a role takes its value from another question, and the answer must follow the symbolic program."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from arithloc.tasks.toy.arithmetic import Answers, Questions, answer_digits, answers, carries
from arithloc.tasks.toy.formats import MINUS, PLUS
from arithloc.tasks.toy.interchange import taken
from arithloc.tasks.toy.subject import Batch

Draw = Callable[[Questions, np.random.Generator], Questions]


@dataclass(frozen=True)
class Variable:
    """A variable of the program and the roles that carry it together.

    Attributes:
        name: its name.
        definition: one sentence.
        values: what it can be.
        roles: roles swapped at once.
        target: answer to the base question when the variable is that of the source, in the base's context.
        source: draws questions whose variable may differ.
        agreeing: draws questions that have the base's value of the variable and differ otherwise.
    """

    name: str
    definition: str
    values: tuple[int | str, ...]
    roles: tuple[str, ...]
    target: Callable[[Questions, Questions], Answers]
    source: Draw
    agreeing: Draw


def column_values(q: Questions) -> Int[ndarray, "batch digit"]:
    """s_j or d_j."""
    return np.asarray(np.where(q.minus[:, None], q.x - q.y, q.x + q.y))


def in_context(base: Questions, read: Questions) -> Answers:
    """The answer to `read`, worked out under the sign token of `base`."""
    into, negative = carries(read), answers(base).negative
    sign = read.minus & into.up[:, -1]
    return Answers(sign, answer_digits(column_values(read), into, read.minus, negative))


def digit_swapped(base: Questions, source: Questions) -> Answers:
    """First operand of the source."""
    return in_context(base, Questions(source.x, base.y, base.minus))


def operator_swapped(base: Questions, source: Questions) -> Answers:
    """Operator of the source."""
    return in_context(base, Questions(base.x, base.y, source.minus))


def sum_swapped(base: Questions, source: Questions) -> Answers:
    """Column values of the source, carries and sign of the base."""
    right = answers(base)
    return Answers(right.negative, answer_digits(column_values(source), carries(base), base.minus, right.negative))


def carry_swapped(base: Questions, source: Questions) -> Answers:
    """Carries of the source, column values and operator of the base."""
    into, negative = carries(source), answers(base).negative
    return Answers(base.minus & into.up[:, -1], answer_digits(column_values(base), into, base.minus, negative))


def sign_swapped(base: Questions, source: Questions) -> Answers:
    """Digits as read under the sign of the source."""
    digits = answer_digits(column_values(base), carries(base), base.minus, answers(source).negative)
    return Answers(answers(base).negative, digits)


def state_swapped(base: Questions, source: Questions) -> Answers:
    """Column states (hence carries) of the source, column values of the base."""
    return carry_swapped(base, source)


def column_swapped(base: Questions, source: Questions) -> Answers:
    """Columns of the source, whole."""
    return in_context(base, source)


def shuffled(q: Questions, rng: np.random.Generator) -> Questions:
    """The same questions in random order."""
    return q[rng.permutation(len(q))]


def same_operator(q: Questions, rng: np.random.Generator) -> Questions:
    """Other operands."""
    return Questions(rng.integers(0, 10, q.x.shape), rng.integers(0, 10, q.y.shape), q.minus)


def same_second(q: Questions, rng: np.random.Generator) -> Questions:
    """Another first operand."""
    return Questions(rng.integers(0, 10, q.x.shape), q.y, q.minus)


def same_first(q: Questions, rng: np.random.Generator) -> Questions:
    """Another second operand, and any operator."""
    return Questions(q.x, rng.integers(0, 10, q.y.shape), q.minus[rng.permutation(len(q))])


def same_values(q: Questions, rng: np.random.Generator) -> Questions:
    """Other digits with the same s_j or d_j in every column."""
    value, minus = column_values(q), q.minus[:, None]
    low = np.maximum(0, np.where(minus, value, value - 9))
    high = np.minimum(9, np.where(minus, 9 + value, value))
    x = rng.integers(low, high + 1)
    return Questions(x, np.where(minus, x - value, value - x), q.minus)


def same_states(q: Questions, rng: np.random.Generator, keep_second: bool = False) -> Questions:
    """Other digits with the same column states, hence the same carries; with the same second operand if asked."""
    found, wanted = Questions(q.x.copy(), q.y.copy(), q.minus), tri_state(q)
    left = np.ones(q.x.shape, dtype=bool)
    while left.any():
        trial = Questions(
            rng.integers(0, 10, q.x.shape), q.y if keep_second else rng.integers(0, 10, q.y.shape), q.minus
        )
        hit = left & (tri_state(trial) == wanted)
        found.x[hit], found.y[hit] = trial.x[hit], trial.y[hit]
        left &= ~hit
    return found


def same_states_and_second(q: Questions, rng: np.random.Generator) -> Questions:
    """Another first operand with the same column states."""
    return same_states(q, rng, keep_second=True)


def same_sign(q: Questions, rng: np.random.Generator) -> Questions:
    """Questions of the batch whose answers have the same sign."""
    negative, rows = answers(q).negative, np.arange(len(q))
    for value in (False, True):
        members = np.flatnonzero(negative == value)
        rows[members] = rng.permutation(members)
    return q[rows]


def tri_state(q: Questions) -> Int[ndarray, "batch digit"]:
    """Addition: 1 generates, -1 (U) transparent, else 0. Subtraction: sign of d_j."""
    s, d = q.x + q.y, q.x - q.y
    add = np.where(s == 9, -1, (s >= 10).astype(np.int64))
    return np.asarray(np.where(q.minus[:, None], np.sign(d), add))


DIGITS = tuple(range(10))


def variables(variant: str, stressor: int, subtracts: bool) -> tuple[Variable, ...]:
    """The variables of a compiled circuit."""
    carry_roles: tuple[str, ...] = ("mlp_c",) if variant in ("B", "D") else ("carry",)
    if stressor == 3:
        carry_roles = ("carry_1", "carry_2", "carry_3")
    if stressor == 4:
        carry_roles = ("near", "mlp_c")
    whole = variant in ("C", "E")
    found = [
        Variable("D", "digit of the first operand", DIGITS, ("fetch",), digit_swapped, shuffled, same_first),
        Variable(
            "S",
            "s_i, or d_i with subtraction; one-hot variants carry it modulo 10",
            tuple(range(-9, 19)) if subtracts else tuple(range(19)),
            ("sum",),
            sum_swapped,
            same_operator,
            same_values,
        ),
        Variable(
            "C",
            "carry into column i; with subtraction the borrows of X - Y and of Y - X",
            (0, 1),
            carry_roles,
            carry_swapped,
            shuffled,
            same_states,
        ),
        Variable(
            "ST",
            "state of column j: generates, transparent or neither" + ("; and its digit" if whole else ""),
            (-1, 0, 1),
            ("mlp_a",),
            column_swapped if whole else state_swapped,
            same_operator if whole else same_second,
            same_values if whole else same_states_and_second,
        ),
    ]
    if subtracts:
        found += [
            Variable("OPR", "operator", ("+", "-"), ("op",), operator_swapped, shuffled, same_operator),
            Variable(
                "SGN",
                "sign of the answer",
                ("+", "-"),
                ("sgn",),
                sign_swapped,
                shuffled,
                same_sign,
            ),
        ]
    return tuple(found)


def target_tokens(right: Answers) -> Int[ndarray, "batch answer"]:
    """Answers as tokens, sign first."""
    sign = np.where(right.negative, MINUS, PLUS)[:, None]
    return np.concatenate([sign, right.digits[:, ::-1]], axis=1)


@dataclass
class SwapScore:
    """Right answers of swaps: with any allowed source (`followed`), and with one that agrees (`kept`)."""

    followed: int = 0
    kept: int = 0
    total: int = 0

    @property
    def iia(self) -> float:
        """Interchange intervention accuracy: share of swapped answers that follow the program."""
        return self.followed / self.total if self.total else 0.0


def swap(batch: Batch, variable: Variable, nodes: list[str], rng: np.random.Generator, score: SwapScore) -> None:
    """Swaps one variable in a batch, freely and among questions that agree on it.

    Args:
        batch: base questions.
        variable: what is swapped.
        nodes: components that carry it; all positions are swapped.
        rng: for the sources.
        score: where the outcome is counted.
    """
    q = batch.questions
    source = variable.source(q, rng)
    tokens = batch.tokens(taken(Batch.of(batch.subject, source), nodes))
    score.followed += int((tokens == target_tokens(variable.target(q, source))).all(axis=1).sum())
    agreeing = Batch.of(batch.subject, variable.agreeing(q, rng))
    score.kept += int((batch.tokens(taken(agreeing, nodes)) == batch.predicted).all(axis=1).sum())
    score.total += len(q)
