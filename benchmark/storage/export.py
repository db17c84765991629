"""Results in other forms: tables to read, and a single file to publish."""

import csv
import io
import json
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, select

from arithloc.benchmark.api.errors import PrerequisiteError, StorageError, UsageError, quoted
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.atomic import atomic_write, replace_file
from arithloc.benchmark.storage.repository import Repository


class Format(StrEnum):
    """What to write."""

    CSV = "csv"
    """One row per cell and score; a cell without result has one row."""
    PARQUET = "parquet"
    """The same table."""
    JSON = "json"
    """Every table but `replicate`, row by row."""
    SQLITE = "sqlite"
    """The whole database as one file, in a form that may lie on a read-only disk."""


def export(repository: Repository, target: Path, form: Format) -> None:
    """Writes the results to a file, which is replaced whole or left as it was.

    Raises:
        PrerequisiteError: Parquet without pyarrow.
        UsageError: a SQLite copy of a server.
        StorageError: the file cannot be written.
    """
    match form:
        case Format.CSV:
            data = _csv(score_table(repository))
        case Format.PARQUET:
            data = _parquet(score_table(repository))
        case Format.JSON:
            data = json.dumps(document(repository), ensure_ascii=False, indent=1).encode()
        case Format.SQLITE:
            _copy_database(repository, target)
            return
    atomic_write(target, data, target.parent)


@dataclass(frozen=True)
class ScoreTable:
    """One row per cell and score, by key and score; the columns and their order are part of the format."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def score_table(repository: Repository) -> ScoreTable:
    """All scores of all cells, with what identifies them."""
    c, e, m, t = schema.cell.c, schema.entry.c, schema.method.c, schema.task.c
    o, s = schema.model.c, schema.score.c
    query = (
        select(
            c.key, e.entry_id, e.title, m.name.label("method"), m.version.label("method_version"), m.distribution,
            e.options_json.label("method_options"), m.sanity, t.name.label("task"), t.version.label("task_version"),
            t.options_json.label("task_options"), o.name.label("model"), o.revision.label("model_revision"),
            o.is_toy, c.granularity, c.positions_json.label("positions"), c.ablation, c.metric, c.seed, c.dtype,
            c.n_discovery, c.n_evaluation, c.engine_version, c.scoring_version, c.status, c.error_type,
            c.error_message, c.note, s.name.label("score"), s.value, s.low, s.high, s.se, s.n_pairs, s.n_clusters,
            s.ranking_rule, s.direction, s.unit, s.reason, c.wall_localize_s, c.wall_score_s, c.forward_equivalents,
            c.device, c.finished_at,
        )
        .join_from(schema.cell, schema.entry, c.entry_id == e.entry_id)
        .join(schema.method, e.method_id == m.method_id)
        .join(schema.task, c.task_id == t.task_id)
        .join(schema.model, c.model_id == o.model_id)
        .outerjoin(schema.score, c.key == s.key)
        .order_by(c.key, s.name)
    )  # fmt: skip
    with repository.reading() as connection:
        found = connection.execute(query)
        return ScoreTable(tuple(found.keys()), [tuple(row) for row in found])


def document(repository: Repository) -> dict[str, Any]:
    """Every table but `replicate` as plain values, rows in the order of their keys."""
    with repository.reading() as connection:
        there = set(inspect(connection).get_table_names())  # a database of an older arithloc may lack the newest
        tables = [
            table for table in schema.metadata.sorted_tables if table is not schema.replicate and table.name in there
        ]
        return {
            "schema": schema.SCHEMA_NUMBER,
            "tables": {
                table.name: [
                    dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
                ]
                for table in tables
            },
        }


def _csv(table: ScoreTable) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue().encode()


def _parquet(table: ScoreTable) -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    try:
        pd.DataFrame(table.rows, columns=list(table.columns)).to_parquet(buffer, index=False)
    except ImportError:
        raise PrerequisiteError("Parquet needs the Python package pyarrow. Install it: pip install pyarrow.") from None
    return buffer.getvalue()


def _copy_database(repository: Repository, target: Path) -> None:
    file = repository.location.file
    if file is None:
        raise UsageError(
            "A server is exported by merging it into a new file: bench merge new.db URL --source-results FOLDER."
        )
    if target.exists() and target.resolve() == file.resolve():
        raise UsageError(f"Expected another file than the database itself, found {quoted(str(target))}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.part")
        draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror}. Choose another place.") from error
    try:
        with repository.reading() as connection:
            raw: Any = connection.connection.driver_connection
            connection.rollback()  # a copy cannot be made inside a transaction
            raw.execute("VACUUM INTO ?", (str(draft),))
        replace_file(draft, target)
    except sqlite3.Error as error:
        raise StorageError(f"{target} cannot be written: {error}. Free some space or choose another place.") from error
    finally:
        draft.unlink(missing_ok=True)
