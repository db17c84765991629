"""Whether a database and its files are whole; reads only."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, func, select

from arithloc.benchmark.api.errors import ArtifactCorrupt, ArtifactMissing
from arithloc.benchmark.storage import schema, writing
from arithloc.benchmark.storage.artifacts import Artifacts
from arithloc.benchmark.storage.digest import result_digest
from arithloc.benchmark.storage.keys import key_of_text
from arithloc.benchmark.storage.repository import Repository


def problems(repository: Repository, *, contents: bool = True) -> list[str]:
    """What is wrong, one sentence each; empty when all is well.

    Checked are the file's own structure (SQLite) and references between rows; with `contents` also that every named file
    is there with its content, each key against its specification, and each digest against its rows.
    """
    with repository.reading() as connection:
        found = list(_structure(connection))
        if contents:
            found += [*_files(connection, repository.artifacts), *_cells(connection)]
    return found


def orphans(repository: Repository) -> list[Path]:
    """Artifact files that no row names: harmless leftovers of interrupted writers."""
    with repository.reading() as connection:
        rows = connection.execute(select(schema.artifact.c.sha256, schema.artifact.c.media_type))
        named = {repository.artifacts.path(sha256, media_type) for sha256, media_type in rows}
    return sorted(file for file in repository.artifacts.root.glob("*/*") if file not in named)


def _structure(connection: Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"The database file is damaged: {line}."
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"Row {row} of {table} refers to a row of {parent} that is not there."


def _files(connection: Connection, files: Artifacts) -> Iterator[str]:
    for sha256, media_type in connection.execute(select(schema.artifact.c.sha256, schema.artifact.c.media_type)):
        try:
            files.get(sha256, media_type)
        except (ArtifactMissing, ArtifactCorrupt) as error:
            yield str(error)


def _cells(connection: Connection) -> Iterator[str]:
    cell = schema.cell.c
    for key, text, status, digest, attempts in connection.execute(
        select(cell.key, cell.spec_json, cell.status, cell.result_digest, cell.attempts)
    ):
        if key_of_text(text) != key:
            yield f"The specification of cell {key[:12]} does not belong to its key."
        if status == "ok" and result_digest(writing.read_result(connection, key)) != digest:
            yield f"The numbers of cell {key[:12]} do not have its digest."
        history = schema.attempt.c
        counted = connection.scalar(select(func.count()).select_from(schema.attempt).where(history.key == key))
        if counted != attempts:
            yield f"Cell {key[:12]} counts {attempts} attempts, its history has {counted}."
