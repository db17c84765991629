"""From the scores of cells to the rows of a board; pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.metrics.ranking import rank
from arithloc.benchmark.storage.records import Direction


@dataclass(frozen=True, eq=False)
class Answer:
    """The score of one finished cell, on the scale on which it is averaged.

    Attributes:
        weight: of the cell in the mean, positive.
        value: point value.
        replicates: bootstrap replicates, finite, paired between the entries that answer the same question.
    """

    weight: float
    value: float
    replicates: Float[ndarray, " rep"]


@dataclass(frozen=True)
class BoardRow:
    """One entry on a board.

    Attributes:
        entry_id: whose row it is.
        complete: every cell that the suite asks for is ok and has the score.
        done: number of those that are.
        required: number of cells that the suite asks for.
        value: weighted mean over the cells that are done; None where there are none.
        low, high: 95% interval of `value`.
        rank_low, rank_high: interval of the rank; None for incomplete entries and reference rows.
        tied_with: entries whose rank intervals share a rank with this one.
    """

    entry_id: str
    complete: bool
    done: int
    required: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    tied_with: tuple[str, ...] = ()


class _Interval(NamedTuple):
    value: float
    low: float
    high: float


class _Place(NamedTuple):
    low: int
    high: int
    tied_with: tuple[str, ...]


def board_rows(
    answers: Mapping[str, Sequence[Answer]],
    required: int,
    reference: frozenset[str],
    direction: Direction,
    *,
    logarithmic: bool,
) -> list[BoardRow]:
    """Rows of a board: ranked entries by value, then incomplete ones, most cells first, then reference rows.

    Args:
        answers: of each entry, the cells it has finished.
        required: cells that the suite asks for.
        reference: entries that never rank.
        direction: which way the score is better.
        logarithmic: answers are logarithms; values and intervals are given back as numbers.
    """
    means = {name: _mean(listed) for name, listed in answers.items() if listed}
    ranked = sorted(name for name, listed in answers.items() if len(listed) == required and name not in reference)
    places = _places(ranked, means, direction)
    rows = []
    for name, listed in answers.items():
        row = BoardRow(name, len(listed) == required, len(listed), required)
        if name in means:
            shown = _interval(means[name], logarithmic)
            row = replace(row, value=shown.value, low=shown.low, high=shown.high)
        if name in places:
            place = places[name]
            row = replace(row, rank_low=place.low, rank_high=place.high, tied_with=place.tied_with)
        rows.append(row)
    return sorted(rows, key=lambda row: reading_order(row, reference, direction))


def reading_order(row: BoardRow, reference: frozenset[str], direction: Direction) -> tuple[bool, bool, int, float, str]:
    """Sort key: ranked entries by value, then incomplete ones, most cells first, then reference rows."""
    sign = 1.0 if direction is Direction.LOWER else -1.0
    worth = np.inf if row.value is None else sign * row.value
    return row.entry_id in reference, not row.complete, row.required - row.done, float(worth), row.entry_id


def _mean(answers: Sequence[Answer]) -> Answer:
    weights = np.array([answer.weight for answer in answers])
    weights = weights / weights.sum()
    n_draws = min(len(answer.replicates) for answer in answers)
    replicates = weights @ np.array([answer.replicates[:n_draws] for answer in answers])
    return Answer(1.0, float(weights @ np.array([answer.value for answer in answers])), replicates)


def _interval(mean: Answer, logarithmic: bool) -> _Interval:
    low, high = np.quantile(mean.replicates, (0.025, 0.975)) if len(mean.replicates) else (mean.value, mean.value)
    numbers = _Interval(mean.value, float(low), float(high))
    return _Interval(*(math.exp(number) for number in numbers)) if logarithmic else numbers


def _places(ranked: Sequence[str], means: Mapping[str, Answer], direction: Direction) -> dict[str, _Place]:
    if not ranked:
        return {}
    n_draws = min(len(means[name].replicates) for name in ranked)
    ranking = rank(
        np.array([means[name].value for name in ranked]),
        np.array([means[name].replicates[:n_draws] for name in ranked]),
        higher_is_better=direction is Direction.HIGHER,
    )
    return {
        name: _Place(
            int(ranking.low[i]),
            int(ranking.high[i]),
            tuple(other for j, other in enumerate(ranked) if j != i and ranking.tied[i, j]),
        )
        for i, name in enumerate(ranked)
    }
