"""The symbolic program: answers, carries, borrows and difficulty classes of digit columns.

Arrays of questions hold the units digit first: `x[:, j]` is digit D_j of the first operand. For a column j,
s_j = D_j + D'_j and d_j = D_j - D'_j. Classes S, M, N follow Quirke, Neo and Barez (arXiv:2402.02619).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from arithloc.tasks.toy.formats import BOS, EQUALS, MINUS, PLUS, Format


@dataclass(frozen=True, eq=False)
class Questions:
    """A batch of questions.

    Attributes:
        x: digits of the first operand, units first.
        y: digits of the second operand.
        minus: true for subtraction.
    """

    x: Int[ndarray, "batch digit"]
    y: Int[ndarray, "batch digit"]
    minus: Bool[ndarray, " batch"]

    def __len__(self) -> int:
        return len(self.minus)

    def __getitem__(self, rows: slice | Int[ndarray, " rows"]) -> "Questions":
        return Questions(self.x[rows], self.y[rows], self.minus[rows])

    @classmethod
    def of(
        cls, x: Int[ndarray, " batch"], y: Int[ndarray, " batch"], minus: Bool[ndarray, " batch"], n: int
    ) -> "Questions":
        """Questions about the operands `x` and `y`, each of at most `n` digits."""
        return cls(digits(x, n), digits(y, n), minus)


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to a batch of questions.

    Attributes:
        negative: sign.
        digits: n + 1 digits, units first.
    """

    negative: Bool[ndarray, " batch"]
    digits: Int[ndarray, "batch column"]


def digits(numbers: Int[ndarray, " batch"], n: int) -> Int[ndarray, "batch digit"]:
    """The lowest `n` decimal digits of each number, units first."""
    return numbers[:, None].astype(np.int64) // 10 ** np.arange(n) % 10


def enumerate_questions(n: int, operators: str) -> Questions:
    """All 10^(2n) operand pairs, for each operator in turn."""
    grid = np.arange(10 ** (2 * n))
    x, y = grid // 10**n, grid % 10**n
    parts = [Questions.of(x, y, np.full(len(grid), sign == "-"), n) for sign in operators]
    return join(parts)


def random_questions(
    n: int, operators: str, count: int, rng: np.random.Generator, transparent: float = 0.0
) -> Questions:
    """Uniform operands; each column is made transparent with probability `transparent`."""
    x, y = rng.integers(0, 10, (count, n)), rng.integers(0, 10, (count, n))
    minus = np.full(count, operators == "-") if len(operators) == 1 else rng.random(count) < 0.5
    forced = rng.random((count, n)) < transparent
    y = np.where(forced, np.where(minus[:, None], x, 9 - x), y)
    return Questions(x, y, minus)


def join(parts: list[Questions]) -> Questions:
    """Several batches as one."""
    return Questions(
        np.concatenate([p.x for p in parts]),
        np.concatenate([p.y for p in parts]),
        np.concatenate([p.minus for p in parts]),
    )


def ripple(values: Int[ndarray, "batch digit"], add: bool) -> Bool[ndarray, "batch column"]:
    """Carry (`add`) or borrow into every column, from the units up.

    Args:
        values: s_j for addition; d_j (or -d_j for a negative answer) for subtraction.
        add: carry when the column exceeds 9, else borrow when it falls below 0.

    Returns: into column 0 (never) up to column n.
    """
    state = np.zeros((len(values), values.shape[1] + 1), dtype=bool)
    for j in range(values.shape[1]):
        total = values[:, j] + state[:, j] if add else values[:, j] - state[:, j]
        state[:, j + 1] = total >= 10 if add else total < 0
    return state


@dataclass(frozen=True, eq=False)
class Carries:
    """What the circuit's carry role holds for every column, column 0 first.

    Attributes:
        up: c (addition) or p (borrow of X - Y).
        swapped: q (borrow of Y - X); false for addition.
    """

    up: Bool[ndarray, "batch column"]
    swapped: Bool[ndarray, "batch column"]


def carries(q: Questions) -> Carries:
    """Carry or borrow into every column of every question."""
    total, difference, minus = q.x + q.y, q.x - q.y, q.minus[:, None]
    return Carries(
        np.where(minus, ripple(difference, add=False), ripple(total, add=True)),
        minus & ripple(-difference, add=False),
    )


def answer_digits(
    sums: Int[ndarray, "batch digit"],
    into: Carries,
    minus: Bool[ndarray, " batch"],
    negative: Bool[ndarray, " batch"],
) -> Int[ndarray, "batch column"]:
    """Answer digits from column sums (or differences), carries, operator and sign as a circuit reads them."""
    padded = np.pad(sums, ((0, 0), (0, 1)))
    m, s = minus[:, None], negative[:, None]
    value = np.where(m, np.where(s, -padded - into.swapped, padded - into.up), padded + into.up)
    return np.asarray(value % 10)


def answers(q: Questions) -> Answers:
    """Right answers."""
    into = carries(q)
    negative = q.minus & into.up[:, -1]
    return Answers(negative, answer_digits(np.where(q.minus[:, None], q.x - q.y, q.x + q.y), into, q.minus, negative))


def token_ids(q: Questions, form: Format) -> Int[ndarray, "batch token"]:
    """Token ids of whole questions with their answers (teacher forcing), all 3n + 4 (+ 1) tokens."""
    right, rows = answers(q), len(q)
    column = [np.full((rows, 1), BOS)] if form.bos else []
    return np.concatenate(
        [
            *column,
            q.x[:, ::-1],
            np.where(q.minus, MINUS, PLUS)[:, None],
            q.y[:, ::-1],
            np.full((rows, 1), EQUALS),
            np.where(right.negative, MINUS, PLUS)[:, None],
            right.digits[:, ::-1],
        ],
        axis=1,
    )


def depth(values: Int[ndarray, "batch digit"], add: bool, below: Int[ndarray, " batch"]) -> Int[ndarray, " batch"]:
    """Length of the longest chain: 0 if no column generates, else 1 + the longest transparent run right above one.

    Args:
        values: s_j or d_j.
        add: addition; generates at s_j >= 10, transparent at s_j = 9. Otherwise d_j < 0 and d_j = 0.
        below: only columns below this one count as transparent.
    """
    longest = np.zeros(len(values), dtype=np.int64)
    running = np.zeros(len(values), dtype=np.int64)
    for j in range(values.shape[1]):
        generates = values[:, j] >= 10 if add else values[:, j] < 0
        transparent = (values[:, j] == 9 if add else values[:, j] == 0) & (j < below)
        running = np.where(generates, 1, np.where(transparent & (running > 0), running + 1, 0))
        longest = np.maximum(longest, running)
    return longest


@dataclass(frozen=True)
class Stratum:
    """Difficulty of one question.

    Attributes:
        name: `S0`..`S5` (addition), `M0`..`M4` (subtraction, answer >= 0) or `N1`..`N4` (negative answer).
        swapped: chain length of the subtraction that really runs: on Y - X for negative answers.
    """

    name: str
    swapped: int


def strata(q: Questions) -> list[Stratum]:
    """Difficulty class of every question.

    `N` classes count chains of X - Y as published, and ignore transparent columns above the highest non-zero digit.
    """
    right, n = answers(q), q.x.shape[1]
    everywhere = np.full(len(q), n)
    nonzero = (q.x > 0) | (q.y > 0)
    top = np.where(nonzero.any(axis=1), n - np.argmax(nonzero[:, ::-1], axis=1), 0)
    add, sub = depth(q.x + q.y, True, everywhere), depth(q.x - q.y, False, everywhere)
    neg, swap = depth(q.x - q.y, False, top), depth(q.y - q.x, False, top)
    found = []
    for row in range(len(q)):
        if not q.minus[row]:
            found.append(Stratum(f"S{min(int(add[row]), 5)}", int(add[row])))
        elif right.negative[row]:
            found.append(Stratum(f"N{min(int(neg[row]), 4)}", int(swap[row])))
        else:
            found.append(Stratum(f"M{min(int(sub[row]), 4)}", int(sub[row])))
    return found
