"""Engines: one that writes, one that cannot.

SQLite: the driver is in autocommit; the writing engine begins with `BEGIN IMMEDIATE`, so that no reader upgrades into a
deadlock and table changes roll back too; the reading engine opens the file with `mode=ro` and begins with a plain
`BEGIN`, one snapshot per transaction. PostgreSQL: writers take turns by an advisory lock, readers have read-only transactions.
"""

import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from arithloc.benchmark.api.errors import PrerequisiteError, UnusableDatabase, UsageError
from arithloc.benchmark.storage.filesystem import check_local
from arithloc.benchmark.storage.location import Location

BUSY_MS = 30_000
_MAGIC = b"SQLite format 3\0"
_WRITER_LOCK = 4_710_238_551
"""Key of the advisory lock that makes writers of one PostgreSQL database take turns."""


def writing_engine(location: Location) -> Engine:
    """Engine whose transactions write; makes the folder of a new SQLite file.

    Raises:
        UnusableDatabase: the file is a folder, no database, another program's database, or cannot be made.
        NetworkFilesystem: it lies on a network disk.
        PrerequisiteError: the driver of a server URL is not installed.
    """
    if location.file is None:
        engine = _server_engine(location)
        event.listen(engine, "begin", _take_writer_lock)
        return engine
    file = location.file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableDatabase(
            f"The folder {file.parent} of the results database cannot be made: {error.strerror}. Choose another --db."
        ) from None
    check_local(file.parent)
    check_file(file, writing=True)
    engine = create_engine("sqlite://", creator=lambda: _connect(str(file)), poolclass=QueuePool)
    event.listen(engine, "connect", _prepare_writer)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reading_engine(location: Location) -> Engine:
    """Engine that cannot write; the database must exist.

    Raises:
        UnusableDatabase: no such file, or as `writing_engine`.
        PrerequisiteError: the driver of a server URL is not installed.
    """
    if location.file is None:
        return _server_engine(location).execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
    file = location.file
    if not check_file(file, writing=False):
        raise UnusableDatabase(
            f"There is no results database at {file}. Make one with 'bench evaluate', or check --db."
        )
    if _write_ahead(file) and not os.access(file.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise UnusableDatabase(
            f"The results database {file} is a live one in a folder that cannot be written, so it cannot be read there. "
            "Export it first: bench export --format sqlite."
        )
    address = f"file:{quote(str(file))}?mode=ro"
    engine = create_engine("sqlite://", creator=lambda: _connect(address), poolclass=QueuePool)
    event.listen(engine, "connect", _prepare_reader)
    event.listen(engine, "begin", _begin)
    return engine


def check_file(file: Path, *, writing: bool) -> bool:
    """Looks at a file without changing it; returns whether it is there.

    Raises:
        UnusableDatabase: it is not a file, cannot be opened, or is no SQLite database.
    """
    try:
        if stat.S_ISDIR(file.stat().st_mode):
            raise UnusableDatabase(
                f"Expected a results database at {file}, found a folder. Name a file in it with --db."
            )
        with file.open("r+b" if writing else "rb") as opened:
            head = opened.read(len(_MAGIC))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UnusableDatabase(
            f"The results database {file} cannot be {'written' if writing else 'read'}: {error.strerror}. "
            "Check its permissions or choose another --db."
        ) from None
    if head not in (b"", _MAGIC):
        raise UnusableDatabase(f"{file} is not a SQLite database; it is unchanged. Name another file with --db.")
    return True


def _write_ahead(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(20)[18:20] == b"\x02\x02"


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(
        address,
        uri=address.startswith("file:"),
        isolation_level=None,
        timeout=BUSY_MS / 1000,
        check_same_thread=False,
    )


def _prepare_writer(connection: Any, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        mode = _switch_to_wal(cursor)
        if mode != "wal":
            raise UnusableDatabase(
                f"Expected SQLite's write-ahead log, found journal mode {mode!r}: this disk does not support it. "
                "Put --db on a local disk."
            )
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
    finally:
        cursor.close()


def _switch_to_wal(cursor: Any) -> str:
    """The switch of a new file needs it alone for a moment, and SQLite does not wait for that by itself."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            return str(cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _prepare_reader(connection: Any, record: ConnectionPoolEntry) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _take_writer_lock(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")


def _server_engine(location: Location) -> Engine:
    try:
        return create_engine(location.url)
    except NoSuchModuleError:
        raise UsageError(
            f"The database URL names a driver that SQLAlchemy does not know: {location.url.drivername}. "
            "Use postgresql+psycopg://."
        ) from None
    except ModuleNotFoundError as error:
        raise PrerequisiteError(
            f"The database {location.shown} needs the Python package {error.name!r}. Install it: pip install {error.name}."
        ) from None
