"""What a database has, in numbers."""

from sqlalchemy import func, select

from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.repository import Repository


def cell_counts(repository: Repository) -> dict[str, int]:
    """Number of cells by status; statuses without a cell are left out."""
    status = schema.cell.c.status
    with repository.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(select(status, func.count()).group_by(status))}


def stored_questions(repository: Repository) -> set[str]:
    """Questions that some stored suite asks."""
    with repository.reading() as connection:
        return set(connection.scalars(select(schema.suite_cell.c.question).distinct()))
