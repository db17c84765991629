"""The program of addition and subtraction, column by column, with one of its variables taken from another question.

Variables are those of Quirke, Neo and Barez (arXiv:2402.02619). Columns count from the units, which are column 0:
s_j = D_j + D'_j, d_j = D_j - D'_j. Addition: A_i = (s_i + c_i) mod 10, c_(i+1) = [s_i + c_i >= 10]. Subtraction with
X >= Y: A_i = (d_i - p_i) mod 10, p_(i+1) = [d_i - p_i < 0]; else the digits of Y - X, A_i = (-d_i - q_i) mod 10,
q_(i+1) = [-d_i - q_i < 0]. X < Y exactly if p_n = 1. Digits are read under the sign token that the prompt shows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

Values = Int[ndarray, " batch"]


@dataclass(frozen=True, eq=False)
class Columns:
    """Questions as digits, units first.

    Attributes:
        x, y: operands.
        minus: subtraction.
    """

    x: Int[ndarray, "batch digit"]
    y: Int[ndarray, "batch digit"]
    minus: Bool[ndarray, " batch"]

    def __getitem__(self, rows: Int[ndarray, " rows"]) -> "Columns":
        return Columns(self.x[rows], self.y[rows], self.minus[rows])

    @property
    def difference(self) -> Int[ndarray, "batch digit"]:
        """d_j."""
        return np.asarray(self.x - self.y)

    @property
    def total(self) -> Int[ndarray, "batch digit"]:
        """s_j."""
        return np.asarray(self.x + self.y)

    @property
    def state(self) -> Int[ndarray, "batch digit"]:
        """Tri-state of each column: addition 1 above 9, 0 at 9, -1 below; subtraction the sign of d_j."""
        return np.sign(np.where(self.minus[:, None], self.difference, self.total - 9))

    @property
    def negative(self) -> Bool[ndarray, " batch"]:
        """Whether the answer is negative."""
        return np.asarray(self.minus & borrows(self.difference)[:, -1].astype(bool))


def carries(total: Int[ndarray, "batch digit"]) -> Int[ndarray, "batch column"]:
    """Carry into every column, from the units up."""
    into = np.zeros((len(total), total.shape[1] + 1), dtype=np.int64)
    for j in range(total.shape[1]):
        into[:, j + 1] = total[:, j] + into[:, j] >= 10
    return into


def borrows(difference: Int[ndarray, "batch digit"]) -> Int[ndarray, "batch column"]:
    """Borrow into every column, from the units up."""
    into = np.zeros((len(difference), difference.shape[1] + 1), dtype=np.int64)
    for j in range(difference.shape[1]):
        into[:, j + 1] = difference[:, j] - into[:, j] < 0
    return into


def chained(state: Int[ndarray, "batch digit"], generates: int) -> Int[ndarray, "batch column"]:
    """Carry or borrow into every column from tri-states: a column passes on what comes in where its state is 0."""
    into = np.zeros((len(state), state.shape[1] + 1), dtype=np.int64)
    for j in range(state.shape[1]):
        into[:, j + 1] = np.where(state[:, j] == 0, into[:, j], state[:, j] == generates)
    return into


@dataclass(frozen=True, eq=False)
class Reading:
    """What the last step of the program reads.

    Attributes:
        value: s_j or d_j; the column above the operands is 0.
        carry: c, or p.
        swapped: q.
        minus: the operator.
        negative: the sign under which each digit is read, that of the sign token in front of the digits.
        predicted_negative: the sign that is predicted.
    """

    value: Int[ndarray, "batch column"]
    carry: Int[ndarray, "batch column"]
    swapped: Int[ndarray, "batch column"]
    minus: Bool[ndarray, " batch"]
    negative: Bool[ndarray, "batch column"]
    predicted_negative: Bool[ndarray, " batch"]

    @classmethod
    def of(cls, q: Columns) -> "Reading":
        """The program's own values."""
        minus = q.minus[:, None]
        value = np.pad(np.where(minus, q.difference, q.total), ((0, 0), (0, 1)))
        carry = np.where(minus, borrows(q.difference), carries(q.total))
        swapped = np.where(minus, borrows(-q.difference), 0)
        return cls(value, carry, swapped, q.minus, np.tile(q.negative[:, None], value.shape[1]), q.negative)

    def answer(self) -> Int[ndarray, "batch answer"]:
        """Sign (1 negative) and digits from the top."""
        minus = self.minus[:, None]
        taken = np.where(self.negative, -self.value - self.swapped, self.value - self.carry)
        digits = np.where(minus, taken, self.value + self.carry) % 10
        return np.concatenate([self.predicted_negative[:, None], digits[:, ::-1]], axis=1).astype(np.int64)


Swap = Callable[[Columns, Columns, int], Reading]


@dataclass(frozen=True)
class SubTask:
    """A variable of the program at one column.

    Attributes:
        tag: its published name.
        operator: `+` or `-`.
        negative: sign of the answers it is searched on; None for any.
        value: its value in each question.
        swapped: what the program reads in the base question when the variable is that of the source.
        top: whether it has a meaning at the highest column of the operands.
    """

    tag: str
    operator: str
    negative: bool | None
    value: Callable[[Columns, int], Values]
    swapped: Swap
    top: bool = True


def _edited(reading: Reading, **changes: ndarray) -> Reading:
    return Reading(**{**reading.__dict__, **changes})


def _digit(base: Columns, source: Columns, i: int) -> Reading:
    """s_i or d_i of the source: A_i alone changes."""
    reading, value = Reading.of(base), Reading.of(base).value.copy()
    value[:, i] = Reading.of(source).value[:, i]
    return _edited(reading, value=value)


def _into_next(field: str, from_source: Callable[[Columns, int], Values]) -> Swap:
    """The carry or borrow into column i + 1 is the source's: A_(i+1) alone changes."""

    def swapped(base: Columns, source: Columns, i: int) -> Reading:
        reading = Reading.of(base)
        into = getattr(reading, field).copy()
        into[:, i + 1] = from_source(source, i)
        return _edited(reading, **{field: into})

    return swapped


def _state(base: Columns, source: Columns, i: int) -> Reading:
    """The tri-state of column i is the source's: all carries above, and the predicted sign, are worked out again."""
    state = base.state.copy()
    state[:, i] = source.state[:, i]
    minus = base.minus[:, None]
    carry = np.where(minus, chained(state, -1), chained(state, 1))
    swapped = np.where(minus, chained(state, 1), 0)
    lost = base.minus & carry[:, -1].astype(bool)
    return _edited(Reading.of(base), carry=carry, swapped=swapped, predicted_negative=lost)


def _sign_read(base: Columns, source: Columns, i: int) -> Reading:
    """Digit A_i is read under the source's sign; the predicted sign stays."""
    reading = Reading.of(base)
    negative = reading.negative.copy()
    negative[:, i] = source.negative
    return _edited(reading, negative=negative)


def _bit(values: ndarray) -> Values:
    return np.asarray(values, dtype=np.int64)


SUB_TASKS: tuple[SubTask, ...] = (
    SubTask("SA", "+", False, lambda q, i: q.total[:, i] % 10, _digit),
    SubTask(
        "SC",
        "+",
        False,
        lambda q, i: _bit(q.total[:, i] >= 10),
        _into_next("carry", lambda q, i: _bit(q.total[:, i] >= 10)),
    ),
    SubTask(
        "SV",
        "+",
        False,
        lambda q, i: carries(q.total)[:, i + 1],
        _into_next("carry", lambda q, i: carries(q.total)[:, i + 1]),
    ),
    SubTask("ST", "+", False, lambda q, i: q.state[:, i], _state),
    SubTask("MD", "-", False, lambda q, i: q.difference[:, i] % 10, _digit),
    SubTask(
        "MB",
        "-",
        False,
        lambda q, i: _bit(q.difference[:, i] < 0),
        _into_next("carry", lambda q, i: _bit(q.difference[:, i] < 0)),
        top=False,
    ),
    SubTask(
        "MV",
        "-",
        False,
        lambda q, i: borrows(q.difference)[:, i + 1],
        _into_next("carry", lambda q, i: borrows(q.difference)[:, i + 1]),
        top=False,
    ),
    SubTask("ND", "-", True, lambda q, i: -q.difference[:, i] % 10, _digit),
    SubTask(
        "NB",
        "-",
        True,
        lambda q, i: _bit(q.difference[:, i] > 0),
        _into_next("swapped", lambda q, i: _bit(q.difference[:, i] > 0)),
        top=False,
    ),
    SubTask(
        "NV",
        "-",
        True,
        lambda q, i: borrows(-q.difference)[:, i + 1],
        _into_next("swapped", lambda q, i: borrows(-q.difference)[:, i + 1]),
        top=False,
    ),
    SubTask("MT", "-", None, lambda q, i: q.state[:, i], _state),
    SubTask("SGN", "-", None, lambda q, i: _bit(q.negative), _sign_read),
)
"""What is searched for."""
