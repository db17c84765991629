"""Boards: who is ahead of whom on a suite's cells, at one granularity, one ablation and by one score. No Streamlit.

The rows of whole boards are written with the results. What a reader filters is computed here, by the same functions.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, func, select

from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.boards import LOGARITHMIC, NOT_REACHED, read_boards
from arithloc.benchmark.storage.ranks import Answer, BoardRow, board_rows
from arithloc.benchmark.storage.records import Direction
from arithloc.benchmark.storage.repository import Repository
from arithloc.leaderboard.cells import GRANULARITIES, entries, frame_of, labels
from arithloc.leaderboard.filters import Facets, Filters
from arithloc.leaderboard.text import moment, plain

_CHUNK = 500


@dataclass(frozen=True)
class Suite:
    """A set of cells that entries are compared on.

    Attributes:
        suite_id: its id.
        label: name and version, with the date where that does not tell it from others.
        title: one line.
        questions: granularities and ablations with finished cells, in the order in which they are offered.
    """

    suite_id: str
    label: str
    title: str
    questions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Question:
    """What a board asks, whatever the score.

    Attributes:
        suite_id: whose cells.
        granularity: of the cells.
        ablation: of the cells.
        toys_only: only those on models with a known circuit.
    """

    suite_id: str
    granularity: str
    ablation: str
    toys_only: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """On `suite_cell` and `model`."""
        part = schema.suite_cell.c
        found = [part.suite_id == self.suite_id, part.granularity == self.granularity, part.ablation == self.ablation]
        return [*found, schema.model.c.is_toy == 1] if self.toys_only else found


@dataclass(frozen=True, eq=False)
class Ranking:
    """One board.

    Attributes:
        ranked: complete entries, best first: `entry_id`, `label`, `access`, `value`, `low`, `high`, `rank_low`,
            `rank_high`, `tied` (labels), `done`, `required`, `wall_s`.
        incomplete: entries without a rank, most cells first; `value` is over the cells they have.
        sanity: reference rows.
        required: cells of the board.
        higher: whether larger values are better.
        stored: the rows were written with the results, not computed for this view.
    """

    ranked: pd.DataFrame
    incomplete: pd.DataFrame
    sanity: pd.DataFrame
    required: int
    higher: bool
    stored: bool


def suites(results: Repository) -> list[Suite]:
    """All suites with a finished cell: most entries first, then newest first."""
    s, part, c = schema.suite.c, schema.suite_cell.c, schema.cell.c
    query = (
        select(
            s.suite_id, s.name, s.version, s.title, s.created_at, part.granularity, part.ablation,
            func.count(c.entry_id.distinct()).label("n"),
        )
        .join_from(schema.suite, schema.suite_cell)
        .join(schema.cell, (c.question == part.question) & (c.seed == part.seed))
        .where(c.status == "ok")
        .group_by(
            s.suite_id, s.name, s.version, s.title, s.created_at, part.granularity, part.ablation
        )
    )  # fmt: skip
    frame = frame_of(results, query)
    frame = frame.assign(
        label=[f"{name} {version}" for name, version in zip(frame["name"], frame["version"], strict=True)]
    )
    several = frame.groupby("label")["suite_id"].nunique()
    found = []
    for suite_id, rows in frame.groupby("suite_id"):
        first = rows.iloc[0]
        label = first["label"] if several[first["label"]] == 1 else f"{first['label']}, {moment(first['created_at'])}"
        asked = sorted(
            zip(rows["granularity"], rows["ablation"], strict=True), key=lambda q: (GRANULARITIES.index(q[0]), q[1])
        )
        suite = Suite(str(suite_id), plain(label), plain(first["title"]), tuple(asked))
        found.append((int(rows["n"].max()), first["created_at"], suite))
    return [suite for *_, suite in sorted(found, key=lambda item: item[:2], reverse=True)]


def required_cells(results: Repository, question: Question) -> pd.DataFrame:
    """The cells that a board asks for: `question`, `seed`, `weight`, `task`, `model`."""
    part = schema.suite_cell.c
    query = (
        select(part.question, part.seed, part.weight, part.task_id, part.model_id)
        .join_from(schema.suite_cell, schema.model)
        .where(*question.conditions())
    )
    tasks, models = labels(results)
    frame = frame_of(results, query)
    return frame.assign(task=frame["task_id"].map(tasks), model=frame["model_id"].map(models))


def answering_cells(results: Repository, question: Question) -> pd.DataFrame:
    """The cells that answer a board: `key`, `entry_id`, `question`, `seed`, `status`, `wall_s`."""
    part, c, m = schema.suite_cell.c, schema.cell.c, schema.model.c
    query = (
        select(c.key, c.entry_id, c.question, c.seed, c.status, c.wall_localize_s.label("wall_s"))
        .join_from(schema.suite_cell, schema.cell, (c.question == part.question) & (c.seed == part.seed))
        .join(schema.model, part.model_id == m.model_id)
        .where(*question.conditions())
    )
    return frame_of(results, query)


def facets(results: Repository, question: Question) -> Facets:
    """What the cells and entries of a board can be filtered by."""
    required, cells, known = required_cells(results, question), answering_cells(results, question), entries(results)
    access = pd.Series([known[i].access for i in cells["entry_id"].unique() if not known[i].sanity], dtype=str)

    def counts(values: pd.Series) -> dict[str, int]:
        return {str(name): int(n) for name, n in sorted(values.value_counts().items())}

    return Facets(counts(required["model"]), counts(required["task"]), counts(access))


def scores(results: Repository, question: Question) -> list[str]:
    """Names of the scores that some finished cell of a board has a value of."""
    part, c, s, m = schema.suite_cell.c, schema.cell.c, schema.score.c, schema.model.c
    query = (
        select(s.name)
        .join_from(schema.suite_cell, schema.cell, (c.question == part.question) & (c.seed == part.seed))
        .join(schema.model, part.model_id == m.model_id)
        .join(schema.score, s.key == c.key)
        .where(*question.conditions(), s.value.is_not(None))
        .distinct()
        .order_by(s.name)
    )
    with results.reading() as connection:
        return list(connection.scalars(query))


def ranking(results: Repository, question: Question, score: str, filters: Filters) -> Ranking:
    """Ranks all complete entries on the kept cells; `filters.access` then hides rows and changes no rank.

    Where all cells of a board are kept, the rows that were written with the results are read, if no results came in
    since; otherwise they are computed.
    """
    required = required_cells(results, question)
    kept = required[[filters.keeps_cell(*place) for place in zip(required["model"], required["task"], strict=True)]]
    cells = answering_cells(results, question).merge(kept[["question", "seed", "weight"]], on=["question", "seed"])
    stored = None if filters.cells or question.toys_only else _stored(results, question, score)
    rows, direction = stored or _computed(results, cells, len(kept), score)
    known = entries(results)
    time = cells[cells["status"] == "ok"].groupby("entry_id")["wall_s"].sum()
    table = pd.DataFrame([_row(row, score) for row in rows], columns=list(_row(BoardRow("", False, 0, 0), score)))
    tied: list[Any] = [tuple(known[name].label for name in row.tied_with) for row in rows]
    table = table.assign(
        label=table["entry_id"].map({name: entry.label for name, entry in known.items()}),
        access=table["entry_id"].map({name: entry.access for name, entry in known.items()}),
        wall_s=table["entry_id"].map(time),
        tied=tied,
    )
    sanity = table["entry_id"].map({name: entry.sanity for name, entry in known.items()}).astype(bool)
    shown = table["access"].map(filters.keeps_entry).astype(bool)
    unranked = table.drop(columns=["rank_low", "rank_high", "tied"])
    return Ranking(
        ranked=table[table["complete"] & ~sanity & shown].reset_index(drop=True),
        incomplete=unranked[~table["complete"] & ~sanity & shown].reset_index(drop=True),
        sanity=unranked[sanity].reset_index(drop=True),
        required=len(kept),
        higher=direction is Direction.HIGHER,
        stored=stored is not None,
    )


def _row(row: BoardRow, score: str) -> dict[str, object]:
    """A row with missing numbers for what no cell reached."""
    unreached = row.value is not None and score in LOGARITHMIC and row.value >= 1.0
    value, low, high = (None, None, None) if unreached else (row.value, row.low, row.high)
    return {
        "entry_id": row.entry_id, "complete": row.complete, "done": row.done, "required": row.required, "value": value,
        "low": low, "high": high, "rank_low": row.rank_low, "rank_high": row.rank_high,
    }  # fmt: skip


def _stored(results: Repository, question: Question, score: str) -> tuple[list[BoardRow], Direction] | None:
    """Rows of a board as they were written, or None where there are none for the current results."""
    place = (question.granularity, question.ablation, score, results.revision())
    for board in read_boards(results, question.suite_id):
        if (board.granularity, board.ablation, board.score, board.results_revision) == place:
            return list(board.rows), board.direction
    return None


def _computed(results: Repository, cells: pd.DataFrame, required: int, score: str) -> tuple[list[BoardRow], Direction]:
    """Rows of a board from the scores and replicates of its cells."""
    s, r = schema.score.c, schema.replicate.c
    query = (
        select(s.key, s.value, s.reason, s.direction, r.data)
        .join_from(schema.score, schema.replicate, (s.key == r.key) & (s.name == r.name), isouter=True)
        .where(s.name == score)
    )
    of_key = cells[cells["status"] == "ok"].set_index("key")
    answers: dict[str, list[Answer]] = {str(entry_id): [] for entry_id in sorted(cells["entry_id"].unique())}
    direction, keys = Direction.HIGHER, list(of_key.index)
    with results.reading() as connection:
        for start in range(0, len(keys), _CHUNK):
            for row in connection.execute(query.where(s.key.in_(keys[start : start + _CHUNK]))):
                direction = Direction(row.direction)
                value = row.value
                if score in LOGARITHMIC:
                    value = math.log(value) if value is not None else 0.0 if row.reason == NOT_REACHED else None
                if value is not None:  # a score without replicates, as of a ranking alone, has no spread over pairs
                    draws = np.array([value]) if row.data is None else np.frombuffer(row.data, "<f8").astype(np.float64)
                    place = of_key.loc[row.key]
                    answers[place["entry_id"]].append(Answer(float(place["weight"]), float(value), draws))
    reference = frozenset(name for name, entry in entries(results).items() if entry.sanity)
    rows = board_rows(answers, required, reference, direction, logarithmic=score in LOGARITHMIC)
    if not any(len(answer.replicates) > 1 for listed in answers.values() for answer in listed):
        rows = [replace(row, low=None, high=None) for row in rows]
    return rows, direction
