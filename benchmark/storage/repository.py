"""The results of one database: what the runner writes and everybody reads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sqlalchemy import Connection, Engine, insert, select, update

from arithloc.benchmark.api.errors import UnusableDatabase
from arithloc.benchmark.storage import queries, schema, writing
from arithloc.benchmark.storage.artifacts import Artifacts
from arithloc.benchmark.storage.atomic import sweep
from arithloc.benchmark.storage.cellrows import CellRows, cell_rows
from arithloc.benchmark.storage.connection import check_file, reading_engine, writing_engine
from arithloc.benchmark.storage.digest import largest_difference, tolerance
from arithloc.benchmark.storage.errors import clear_errors
from arithloc.benchmark.storage.location import Location, locate
from arithloc.benchmark.storage.migrations import check_schema, migrate, readable
from arithloc.benchmark.storage.queries import CellFilter, CellSummary, CellView
from arithloc.benchmark.storage.records import Attempt, CellResult, CellSpec, Environment, ModelRecord, Status
from arithloc.benchmark.storage.suites import SuiteRecord, put_suite
from arithloc.benchmark.storage.truth import put_truth

_CHUNK = 500


class Fate(StrEnum):
    """What became of a result that was given to `Repository.store`."""

    STORED = "stored"
    """It is in the database; a row that was not ok was replaced."""
    SAME = "same"
    """An ok row was there already and has the same numbers."""
    CLOSE = "close"
    """An ok row was there already and agrees within tolerance."""
    DIFFERENT = "different"
    """An ok row was there already, differs beyond tolerance, and was kept."""
    OUTDONE = "outdone"
    """An ok row was there already; this attempt was not ok and is only in the history."""


@dataclass(frozen=True)
class Stored:
    """Answer of `Repository.store`.

    Attributes:
        key: key of the cell.
        fate: what became of the result.
        difference: largest relative difference to the row that was kept, 0 where nothing was compared.
    """

    key: str
    fate: Fate
    difference: float = 0.0


class Repository:
    """An open results database and its folder of artifacts.

    Attributes:
        location: where it is.
        artifacts: its files.
    """

    def __init__(self, location: Location, reader: Engine, writer: Engine | None) -> None:
        self.location = location
        self.artifacts = Artifacts(location.results)
        self._reader = reader
        self._writer = writer

    @classmethod
    def open(cls, database: str | Path, results: Path | None = None, *, read_only: bool = False) -> "Repository":
        """Opens a database; for writing, makes it or brings it to the current schema where needed.

        Args:
            database: path of a SQLite file, or a SQLAlchemy URL.
            results: folder of the artifacts; by default the folder of the file.
            read_only: nothing can be written, and the database must exist.

        Raises:
            UsageError: no such kind of database.
            UnusableDatabase: it cannot be opened, or is not a results database; it is unchanged.
            SchemaTooNew: a newer arithloc wrote it; it is unchanged.
            NetworkFilesystem: a SQLite file on a network disk.
        """
        location = locate(database, results)
        with clear_errors(location), ExitStack() as undo:
            # Looking at the file and closing it again drops every lock that this process holds on it (POSIX), and with
            # them what keeps another process from deleting a write-ahead log in use. So each engine is made, which
            # looks at the file, while no connection is open: dispose() closes them, the engine goes on.
            if read_only or location.file is None or check_file(location.file, writing=False):
                reader = reading_engine(location)
                undo.callback(reader.dispose)
                if not check_schema(reader, location) and read_only and not readable(reader):
                    raise UnusableDatabase(
                        f"The results database {location.shown} is empty or of an older arithloc. "
                        "Run 'bench evaluate' on it once to bring it up to date."
                    )
                reader.dispose()
            writer = None
            if not read_only:
                writer = writing_engine(location)
                undo.callback(writer.dispose)
                migrate(writer, location)
                sweep(location.results / "tmp")
                writer.dispose()
            repository = cls(location, reading_engine(location), writer)
            undo.pop_all()
            return repository

    def close(self) -> None:
        """Ends all connections."""
        self._reader.dispose()
        if self._writer is not None:
            self._writer.dispose()

    def __enter__(self) -> "Repository":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database and cannot write."""
        with clear_errors(self.location), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction of the only writer: committed whole at the end of the block, or not at all.

        Raises:
            UnusableDatabase: opened read-only.
            StorageError: the disk is full, the file is read-only, or another process holds it too long.
        """
        if self._writer is None:
            raise UnusableDatabase(f"The results database {self.location.shown} is open for reading only.")
        with clear_errors(self.location), self._writer.begin() as connection:
            yield connection

    def revision(self) -> int:
        """Number of changes of the results so far."""
        with self.reading() as connection:
            return int(connection.execute(select(schema.revision.c.results)).scalar_one())

    def statuses(self, keys: Sequence[str]) -> dict[str, Status]:
        """Status of those of the given cells that are in the database."""
        found: dict[str, Status] = {}
        cell = schema.cell.c
        with self.reading() as connection:
            for start in range(0, len(keys), _CHUNK):
                chunk = list(keys[start : start + _CHUNK])
                rows = connection.execute(select(cell.key, cell.status).where(cell.key.in_(chunk)))
                found.update((key, Status(status)) for key, status in rows)
        return found

    def store(self, spec: CellSpec, attempt: Attempt, result: CellResult | None, environment: Environment) -> Stored:
        """Writes the outcome of one attempt at a cell, in one transaction.

        Files are durable before the rows that name them. An ok row is never overwritten: a second result is compared
        with it and dropped. A row that is not ok is replaced. The history of attempts only grows.

        Args:
            spec: the cell.
            attempt: circumstances of this try.
            result: what it measured; given when and only when `attempt.status` is ok.
            environment: where it ran.

        Raises:
            ValueError: status and result do not fit together.
            StorageError: it cannot be written; the database is as before.
        """
        rows = cell_rows(spec, attempt, result, environment, self.artifacts)
        with self.writing() as connection:
            old = connection.scalar(select(schema.cell.c.status).where(schema.cell.c.key == rows.cell["key"]))
            if old == Status.OK.value:
                return self._keep(connection, rows)
            writing.delete_cell(connection, rows.cell["key"])
            entries = writing.insert_identity(connection, rows.identity)
            number = writing.append_attempt(connection, rows.attempt)
            connection.execute(insert(schema.cell).values(**rows.cell, attempts=number))
            if rows.result is not None:
                writing.insert_result(connection, rows.result, rows.replicates, rows.artifacts)
            writing.raise_revision(connection, entries)
        return Stored(rows.cell["key"], Fate.STORED)

    def _keep(self, connection: Connection, rows: CellRows) -> Stored:
        key = rows.cell["key"]
        number = writing.append_attempt(connection, rows.attempt)
        connection.execute(update(schema.cell).where(schema.cell.c.key == key).values(attempts=number))
        writing.raise_revision(connection)
        if rows.result is None:
            return Stored(key, Fate.OUTDONE)
        digest = connection.execute(select(schema.cell.c.result_digest).where(schema.cell.c.key == key)).scalar_one()
        if digest == rows.cell["result_digest"]:
            return Stored(key, Fate.SAME)
        difference = largest_difference(writing.read_result(connection, key), rows.result)
        if difference <= tolerance(rows.cell["dtype"]):
            writing.add_note(connection, key, "agrees within tolerance")
            return Stored(key, Fate.CLOSE, difference)
        writing.add_note(connection, key, f"a later run differs by {difference:.3g}")
        return Stored(key, Fate.DIFFERENT, difference)

    def localization(self, key: str) -> Float[ndarray, " comp"] | None:
        """Stored component scores of a `keys.localization_key`, in the order of the space; None where there are none.

        Raises:
            ArtifactMissing: their file is gone.
            ArtifactCorrupt: it was changed.
        """
        cell, link = schema.cell.c, schema.cell_artifact.c
        query = (
            select(link.sha256)
            .join_from(schema.cell_artifact, schema.cell, link.key == cell.key)
            .where(cell.localization_key == key, link.role == "scores")
            .order_by(cell.finished_at, cell.key)
            .limit(1)
        )
        with self.reading() as connection:
            sha256 = connection.scalar(query)
        return None if sha256 is None else np.asarray(self.artifacts.arrays(sha256)["scores"], np.float64)

    def cells(self, wanted: CellFilter | None = None) -> list[CellSummary]:
        """Cells with their scores, by method, task, model, granularity, ablation and seed."""
        with self.reading() as connection:
            return queries.cells(connection, wanted or CellFilter())

    def show(self, prefix: str) -> CellView:
        """All that is known of the one cell whose key starts with `prefix`.

        Raises:
            UsageError: too short, not hexadecimal, or several such cells.
            UnknownName: no such cell.
        """
        with self.reading() as connection:
            return queries.show(connection, self.artifacts, prefix)

    def put_truth(self, model: ModelRecord, document: Mapping[str, Any]) -> str:
        """Stores the truth document of a toy, once; returns its `truth_id`.

        Raises:
            StorageError: the document lacks a required key.
        """
        with self.writing() as connection:
            return put_truth(connection, self.artifacts, model, document)

    def put_suite(self, record: SuiteRecord, specs: Sequence[CellSpec]) -> str:
        """Stores the questions of a run under a name, once; returns their `suite_id`, which `boards` ranks."""
        with self.writing() as connection:
            return put_suite(connection, record, specs)
