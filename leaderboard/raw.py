"""The paged list of every cell. No Streamlit."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import ColumnElement, func, select

from arithloc.benchmark.api.errors import UsageError, quoted
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.repository import Repository
from arithloc.leaderboard.cells import entries, frame_of, labels

PAGE = 100
"""Rows of one page."""

SORTS = {
    "newest first": (schema.cell.c.finished_at.desc(), schema.cell.c.key.desc()),
    "oldest first": (schema.cell.c.finished_at, schema.cell.c.key),
    "longest to score first": (schema.cell.c.wall_score_s.desc(), schema.cell.c.key.desc()),
}
"""Orders of the list; each has an index."""

STATUSES = ("ok", "failed", "timeout", "killed")


@dataclass(frozen=True)
class Wanted:
    """Which cells are listed; an empty tuple keeps all.

    Attributes:
        statuses: how they ended.
        entries: ids of entries.
        models: ids of models.
        tasks: ids of tasks.
    """

    statuses: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL conditions with bound values."""
        c = schema.cell.c
        pairs = (
            (c.status, self.statuses),
            (c.entry_id, self.entries),
            (c.model_id, self.models),
            (c.task_id, self.tasks),
        )
        return [column.in_(values) for column, values in pairs if values]


def raw_count(results: Repository, wanted: Wanted) -> int:
    """How many cells are listed."""
    with results.reading() as connection:
        query = select(func.count()).select_from(schema.cell).where(*wanted.conditions())
        return connection.scalar(query) or 0


def raw_page(results: Repository, wanted: Wanted, sort: str, page: int, size: int = PAGE) -> pd.DataFrame:
    """One page of the list.

    Args:
        results: the database.
        wanted: which cells.
        sort: a key of `SORTS`.
        page: number from 1.
        size: rows of a page, at most 500.

    Raises:
        UsageError: another sort, a page below 1 or too many rows.
    """
    if sort not in SORTS or page < 1 or not 1 <= size <= 500:
        raise UsageError(
            f"Expected a sort among {', '.join(SORTS)}, a page from 1 and 1 to 500 rows, "
            f"found {quoted((sort, page, size))}."
        )
    c = schema.cell.c
    columns = (
        c.key, c.entry_id, c.task_id, c.model_id, c.granularity, c.ablation, c.seed, c.status, c.error_type,
        c.error_message, c.attempts, c.device, c.wall_localize_s, c.wall_score_s, c.finished_at,
    )  # fmt: skip
    query = select(*columns).where(*wanted.conditions()).order_by(*SORTS[sort]).limit(size).offset((page - 1) * size)
    frame = frame_of(results, query)
    tasks, models = labels(results)
    names = {entry_id: entry.label for entry_id, entry in entries(results).items()}
    areas = _area_of(results, list(frame["key"]))
    return frame.assign(
        entry=frame["entry_id"].map(names), task=frame["task_id"].map(tasks), model=frame["model_id"].map(models)
    ).merge(areas, on="key", how="left")


def _area_of(results: Repository, keys: Sequence[str]) -> pd.DataFrame:
    s = schema.score.c
    query = select(s.key, s.value, s.low, s.high).where(s.key.in_(keys), s.name == "faithfulness_area")
    return frame_of(results, query)
