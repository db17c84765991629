"""Queries about the database as a whole. No Streamlit."""

from dataclasses import dataclass

from sqlalchemy import func, select

from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.repository import Repository


@dataclass(frozen=True)
class State:
    """State of the database, as the footer of every page shows it.

    Attributes:
        results: number of changes of the results so far.
        updated_at: time of the last one.
        cells: number of cells.
        scoring_versions: versions of the scores in it.
    """

    results: int
    updated_at: str
    cells: int
    scoring_versions: tuple[int, ...]


def state(results: Repository) -> State:
    """State of the database."""
    versions = select(schema.cell.c.scoring_version).distinct().order_by(schema.cell.c.scoring_version)
    with results.reading() as connection:
        revision = connection.execute(select(schema.revision)).one()
        cells = connection.scalar(select(func.count()).select_from(schema.cell)) or 0
        return State(revision.results, revision.updated_at, cells, tuple(connection.scalars(versions)))
