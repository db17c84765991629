"""Statements inside a writing transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.digest import ResultRows
from arithloc.benchmark.storage.text import now

Row = Mapping[str, Any]


def insert_new(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Inserts rows whose primary key is not there yet; returns how many."""
    if not rows:
        return 0
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing()
    return sum(connection.execute(statement, row).rowcount for row in rows)


def insert_identity(connection: Connection, rows: Iterable[tuple[str, Row]]) -> int:
    """Inserts identity rows, given with their tables; returns how many entries are new."""
    entries = 0
    for name, row in rows:
        new = insert_new(connection, schema.metadata.tables[name], [row])
        entries += new if name == schema.entry.name else 0
    return entries


def insert_result(
    connection: Connection, result: ResultRows, replicates: Sequence[Row], artifacts: Sequence[Row]
) -> None:
    """Inserts everything that hangs on a new cell row."""
    for table, rows in (
        (schema.score, result.scores),
        (schema.curve_point, result.curve),
        (schema.roc_point, result.roc),
        (schema.replicate, replicates),
        (schema.cell_artifact, artifacts),
    ):
        if rows:
            connection.execute(insert(table), list(rows))


def read_result(connection: Connection, key: str) -> ResultRows:
    """Measured rows of a cell."""

    def rows(table: Table) -> list[dict[str, Any]]:
        found = connection.execute(select(table).where(table.c.key == key).order_by(*table.primary_key))
        return [dict(row) for row in found.mappings()]

    replicates = {row["name"]: np.frombuffer(row["data"], "<f8").astype(np.float64) for row in rows(schema.replicate)}
    return ResultRows(rows(schema.score), rows(schema.curve_point), rows(schema.roc_point), replicates)


def delete_cell(connection: Connection, key: str) -> None:
    """Removes a cell row and, by cascade, everything that hangs on it."""
    connection.execute(delete(schema.cell).where(schema.cell.c.key == key))


def append_attempt(connection: Connection, row: Row) -> int:
    """Appends to the history of a key; returns the number of the attempt, from 1."""
    last = connection.scalar(select(func.max(schema.attempt.c.number)).where(schema.attempt.c.key == row["key"]))
    number = (last or 0) + 1
    connection.execute(insert(schema.attempt).values(**row, number=number))
    return number


def raise_revision(connection: Connection, entries: int = 0) -> int:
    """Counts one more change of the results; returns the new revision."""
    table = schema.revision
    connection.execute(
        update(table).values(results=table.c.results + 1, entries=table.c.entries + entries, updated_at=now())
    )
    return int(connection.execute(select(table.c.results)).scalar_one())


def add_note(connection: Connection, key: str, note: str) -> None:
    """Adds a sentence to the note of a cell, once."""
    old = connection.execute(select(schema.cell.c.note).where(schema.cell.c.key == key)).scalar_one()
    sentences = [part for part in old.split("; ") if part]
    if note not in sentences:
        text = "; ".join([*sentences, note])
        connection.execute(update(schema.cell).where(schema.cell.c.key == key).values(note=text))
