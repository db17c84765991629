"""Rankings as rows: computed by the writer at the end of a run, read by everybody.

A board is a suite at one granularity, one ablation and one score. The value of an entry is the mean of the score over the
cells that the suite asks for, seeds averaged inside a question; its interval and ranks come from the stored bootstrap
replicates, which are paired between entries. Only complete entries have ranks; reference rows never have.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, delete, insert, select

from arithloc.benchmark.storage import keys, schema, writing
from arithloc.benchmark.storage.ranks import Answer, BoardRow, board_rows, reading_order
from arithloc.benchmark.storage.records import Direction
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.storage.text import canonical_json, now

LOGARITHMIC = frozenset({"sparsity"})
"""Scores whose replicates are stored as logarithms, 0 for "not reached"; they are averaged and compared as such."""
NOT_REACHED = "not-reached"
"""Reason of a logarithmic score without value; it counts as 1, the largest."""


@dataclass(frozen=True)
class Board:
    """One ranking.

    Attributes:
        suite_id: the suite that asks.
        granularity: of its cells.
        ablation: of its cells.
        score: name of the score.
        direction: which way it is better.
        results_revision: state of the results that it was computed from.
        reference: entries that never rank.
        rows: ranked entries by value, then incomplete ones, then reference rows.
    """

    suite_id: str
    granularity: str
    ablation: str
    score: str
    direction: Direction
    results_revision: int
    reference: frozenset[str]
    rows: tuple[BoardRow, ...]


@dataclass(frozen=True)
class _Question:
    """What boards of one suite ask."""

    suite_id: str
    granularity: str
    ablation: str

    def required(self) -> Select[Any]:
        """Its rows of `suite_cell`."""
        part = schema.suite_cell.c
        return select(schema.suite_cell).where(
            part.suite_id == self.suite_id, part.granularity == self.granularity, part.ablation == self.ablation
        )

    def cells(self) -> Select[Any]:
        """The cells that answer: `key`, `entry_id`, `status`, `scoring_version`, `weight`."""
        part, cell = self.required().subquery().c, schema.cell.c
        return (
            select(cell.key, cell.entry_id, cell.status, cell.scoring_version, part.weight)
            .join(part.question.table, (cell.question == part.question) & (cell.seed == part.seed))
            .order_by(part.question, part.seed, cell.key)  # equal entries get equal sums
        )


def update_boards(repository: Repository) -> int:
    """Computes every board of every suite anew, in one transaction; returns how many there are.

    Raises:
        StorageError: as `Repository.writing`.
    """
    with repository.writing() as connection:
        connection.execute(delete(schema.board_row))
        connection.execute(delete(schema.board))
        revision = writing.raise_revision(connection)
        part = schema.suite_cell.c
        asked = connection.execute(select(part.suite_id, part.granularity, part.ablation).distinct())
        return sum(_write(connection, _Question(*row), revision) for row in sorted(map(tuple, asked)))


def read_boards(repository: Repository, suite_id: str) -> list[Board]:
    """Boards of a suite, as they were last computed, by granularity, ablation and score."""
    board, entry = schema.board.c, schema.entry.c
    heads = select(schema.board).where(board.suite_id == suite_id)
    with repository.reading() as connection:
        sanity = select(entry.entry_id).join_from(schema.entry, schema.method).where(schema.method.c.sanity == 1)
        reference = frozenset(connection.scalars(sanity))
        return [
            _board(connection, dict(head), reference)
            for head in connection.execute(heads.order_by(board.granularity, board.ablation, board.score)).mappings()
        ]


def _board(connection: Connection, head: Mapping[str, Any], reference: frozenset[str]) -> Board:
    direction = Direction(head["direction"])
    found = connection.execute(select(schema.board_row).where(schema.board_row.c.board_id == head["board_id"]))
    rows = [
        BoardRow(
            row.entry_id, bool(row.complete), row.done, row.required, row.value, row.low, row.high, row.rank_low,
            row.rank_high, tuple(json.loads(row.tied_with_json)),
        )
        for row in found
    ]  # fmt: skip
    return Board(
        suite_id=head["suite_id"],
        granularity=head["granularity"],
        ablation=head["ablation"],
        score=head["score"],
        direction=direction,
        results_revision=head["results_revision"],
        reference=reference & {row.entry_id for row in rows},
        rows=tuple(sorted(rows, key=lambda row: reading_order(row, reference, direction))),
    )


def _write(connection: Connection, question: _Question, revision: int) -> int:
    """Writes the boards of one question, one per score; returns their number."""
    required = len(connection.execute(question.required()).all())
    cells = connection.execute(question.cells()).all()
    entry, method = schema.entry.c, schema.method.c
    flags = select(entry.entry_id, method.sanity).join_from(schema.entry, schema.method)
    sanity = {name: bool(flag) for name, flag in connection.execute(flags)}
    entrants = sorted({cell.entry_id for cell in cells})
    reference = frozenset(name for name in entrants if sanity[name])
    version = max((cell.scoring_version for cell in cells if cell.status == "ok"), default=0)
    answers: dict[str, dict[str, list[Answer]]] = {}
    directions: dict[str, Direction] = {}
    for cell in cells:
        for score, direction, answer in _answers(connection, cell.key, cell.weight):
            directions[score] = direction
            answers.setdefault(score, {name: [] for name in entrants})[cell.entry_id].append(answer)
    for score, listed in sorted(answers.items()):
        rows = board_rows(listed, required, reference, directions[score], logarithmic=score in LOGARITHMIC)
        _insert(connection, question, score, directions[score], version, revision, rows)
    return len(answers)


def _answers(connection: Connection, key: str, weight: float) -> list[tuple[str, Direction, Answer]]:
    """The ranked scores of a cell: those with replicates and a point value."""
    score, replicate = schema.score.c, schema.replicate.c
    query = (
        select(score.name, score.value, score.reason, score.direction, replicate.data)
        .join_from(schema.score, schema.replicate, (score.key == replicate.key) & (score.name == replicate.name))
        .where(score.key == key)
    )
    found = []
    for row in connection.execute(query):
        value = row.value
        if row.name in LOGARITHMIC:
            value = math.log(value) if value is not None else 0.0 if row.reason == NOT_REACHED else None
        if value is not None:
            draws = np.frombuffer(row.data, "<f8").astype(np.float64)
            found.append((row.name, Direction(row.direction), Answer(weight, value, draws)))
    return found


def _insert(
    connection: Connection,
    question: _Question,
    score: str,
    direction: Direction,
    version: int,
    revision: int,
    rows: list[BoardRow],
) -> None:
    board_id = keys.short_hash([question.suite_id, question.granularity, question.ablation, score])
    head = {
        "board_id": board_id,
        "suite_id": question.suite_id,
        "granularity": question.granularity,
        "ablation": question.ablation,
        "score": score,
        "direction": direction.value,
        "scoring_version": version,
        "results_revision": revision,
        "computed_at": now(),
    }
    connection.execute(insert(schema.board).values(**head))
    values = [
        {
            "board_id": board_id,
            "entry_id": row.entry_id,
            "complete": int(row.complete),
            "done": row.done,
            "required": row.required,
            "value": row.value,
            "low": row.low,
            "high": row.high,
            "rank_low": row.rank_low,
            "rank_high": row.rank_high,
            "tied_with_json": canonical_json(row.tied_with),
        }
        for row in rows
    ]
    connection.execute(insert(schema.board_row), values)
