"""Opening databases: new, old, foreign, unreadable, locked; what cannot be used is left as it was."""

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from support.processes import finish, start
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.api.errors import (
    NetworkFilesystem,
    PrerequisiteError,
    SchemaTooNew,
    StorageError,
    UnusableDatabase,
    UsageError,
)
from arithloc.benchmark.storage import connection, filesystem
from arithloc.benchmark.storage.export import Format, export
from arithloc.benchmark.storage.integrity import problems
from arithloc.benchmark.storage.keys import cell_key
from arithloc.benchmark.storage.migrations import MIGRATIONS
from arithloc.benchmark.storage.repository import Repository

NOBODY = 65534


@contextmanager
def ordinary_user():
    """Permissions mean nothing to root: act as nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def folder():
    """A folder of the ordinary user."""
    with ordinary_user():
        made = Path(tempfile.mkdtemp())
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


@pytest.fixture
def database(tmp_path):
    with Repository.open(tmp_path / "results.db") as repository:
        repository.store(SPEC, attempt(), result(), ENVIRONMENT)
    return tmp_path / "results.db"


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 200, b"\0"])
def test_a_file_that_is_no_database_is_refused_and_unchanged(tmp_path, content, read_only):
    file = tmp_path / "results.db"
    file.write_bytes(content)
    with pytest.raises(UnusableDatabase, match=r"results\.db") as caught:
        Repository.open(file, read_only=read_only)
    assert caught.value.exit_code == 2
    assert file.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.db"]


def test_a_damaged_database_is_refused_and_unchanged(database):
    whole = database.read_bytes()
    database.write_bytes(whole[:100] + b"\x55" * 4000 + whole[4100:])
    with pytest.raises(UnusableDatabase, match="malformed"):
        Repository.open(database)
    assert database.read_bytes()[100:4100] == b"\x55" * 4000


@pytest.mark.parametrize("read_only", [False, True])
def test_another_programs_database_is_refused_and_unchanged(tmp_path, read_only):
    file = tmp_path / "photos.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE photo (name TEXT)")
        other.commit()
    before = file.read_bytes()
    with pytest.raises(UnusableDatabase, match="another program"):
        Repository.open(file, read_only=read_only)
    assert file.read_bytes() == before


def test_a_folder_is_refused(tmp_path):
    for read_only in (False, True):
        with pytest.raises(UnusableDatabase, match="found a folder"):
            Repository.open(tmp_path, read_only=read_only)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnusableDatabase, match="cannot be"):
        Repository.open(tmp_path / "file" / "results.db")


def test_an_absent_database_is_not_made_by_reading(tmp_path):
    with pytest.raises(UnusableDatabase, match="There is no results database"):
        Repository.open(tmp_path / "results.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_becomes_a_database_when_written_only(tmp_path):
    file = tmp_path / "results.db"
    file.touch()
    with pytest.raises(UnusableDatabase, match="empty or of an older"):
        Repository.open(file, read_only=True)
    assert file.stat().st_size == 0
    with Repository.open(file) as repository:
        assert repository.revision() == 0


def test_a_newer_schema_is_refused_and_unchanged(database):
    with closing(sqlite3.connect(database)) as other:
        other.execute("INSERT INTO schema_migration VALUES ('m999_future', '2030-01-01T00:00:00.000Z', '9.0')")
        other.commit()
    before = database.read_bytes()
    for read_only in (False, True):
        with pytest.raises(SchemaTooNew, match=f"m999_future.*{MIGRATIONS[-1].__name__}.*Upgrade"):
            Repository.open(database, read_only=read_only)
    assert database.read_bytes() == before


def test_files_without_permission_are_refused_and_unchanged(folder):
    file = folder / "results.db"
    with ordinary_user():
        Repository.open(file).close()
        before = file.read_bytes()
        file.chmod(0o400)
        with pytest.raises(UnusableDatabase, match="cannot be written: Permission denied"):
            Repository.open(file)
        file.chmod(0o000)
        for read_only in (False, True):
            with pytest.raises(UnusableDatabase, match="cannot be read: Permission denied"):
                Repository.open(file, read_only=read_only)
        file.chmod(0o600)
        folder.chmod(0o500)
        with pytest.raises(UnusableDatabase, match="cannot be made: Permission denied"):
            Repository.open(folder / "new" / "results.db")
        with pytest.raises(UnusableDatabase, match="bench export"):
            Repository.open(file, read_only=True)
        folder.chmod(0o000)
        for read_only in (False, True):
            with pytest.raises(UnusableDatabase, match="cannot be read: Permission denied"):
                Repository.open(file, read_only=read_only)
        folder.chmod(0o700)
    assert file.read_bytes() == before


def test_an_exported_copy_is_read_from_a_folder_that_cannot_be_written(folder, database):
    with Repository.open(database, read_only=True) as repository:
        export(repository, folder / "public" / "results.sqlite", Format.SQLITE)
    (folder / "public" / "results.sqlite").chmod(0o444)
    (folder / "public").chmod(0o555)
    with ordinary_user():
        with Repository.open(folder / "public" / "results.sqlite", read_only=True) as public:
            assert public.revision() == 1
    (folder / "public").chmod(0o755)


def test_results_cannot_be_written_through_a_read_only_repository(database):
    with Repository.open(database, read_only=True) as repository:
        with pytest.raises(UnusableDatabase, match="for reading only"):
            repository.store(SPEC, attempt(), result(), ENVIRONMENT)
        with pytest.raises(StorageError, match="cannot be written"), repository.reading() as reading:
            reading.execute(text("DELETE FROM cell"))


def test_the_write_ahead_log_is_on_and_checked(database, monkeypatch):
    with Repository.open(database) as repository, repository.writing() as writing:
        answers = {
            name: writing.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert answers == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}
    monkeypatch.setattr(connection, "_switch_to_wal", lambda cursor: "delete")
    with pytest.raises(UnusableDatabase, match="found journal mode 'delete'"):
        Repository.open(database)


def test_a_network_disk_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "mounted", lambda: {"/": "nfs4"})
    with pytest.raises(NetworkFilesystem):
        Repository.open(tmp_path / "results.db")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_one_state_while_a_writer_goes_on(database):
    with Repository.open(database) as writer, Repository.open(database, read_only=True) as reader:
        with reader.reading() as reading:
            first = reading.execute(text("SELECT results FROM revision")).scalar()
            writer.store(SPEC, attempt(), result(), ENVIRONMENT)
            assert reading.execute(text("SELECT results FROM revision")).scalar() == first
        assert reader.revision() == writer.revision() == first + 1


def test_a_lock_that_does_not_end_is_one_clear_error(database, monkeypatch):
    monkeypatch.setattr(connection, "BUSY_MS", 50)
    with Repository.open(database) as repository, closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="stayed locked"):
            repository.store(SPEC, attempt(), result(), ENVIRONMENT)
        other.rollback()
        repository.store(SPEC, attempt(), result(), ENVIRONMENT)


def test_a_full_disk_is_one_clear_error_and_the_database_stays_whole(database):
    with Repository.open(database) as repository:
        with repository.writing() as writing:
            pages = writing.exec_driver_sql("PRAGMA page_count").scalar()
            writing.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        other = [replace(SPEC, seed=seed) for seed in range(1, 9)]
        with pytest.raises(StorageError, match="found the disk full") as caught:
            for spec in other:
                repository.store(spec, attempt(), result(n_draws=2000), ENVIRONMENT)
        assert caught.value.exit_code == 1
        assert problems(repository) == []
        assert cell_key(SPEC) in repository.statuses([cell_key(SPEC)])


def test_old_drafts_are_swept_when_opening_for_writing_only(database):
    draft = database.parent / "tmp" / "999999999-abc"
    draft.write_bytes(b"half")
    yesterday = time.time() - 90_000
    os.utime(draft, (yesterday, yesterday))
    Repository.open(database, read_only=True).close()
    assert draft.exists()
    Repository.open(database).close()
    assert not draft.exists()


def test_two_processes_make_and_fill_one_database_together(tmp_path):
    file = tmp_path / "new" / "results.db"
    writers = [start("-m", "support.writer", file, first, 20, 10, 0) for first in (0, 10, 20, 0)]
    for writer in writers:
        finish(writer)
    with Repository.open(file, read_only=True) as repository:
        assert {cell.seed for cell in repository.cells()} == set(range(40))
        assert problems(repository) == []
        assert repository.revision() == 80


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("postgresql+nonsense://someone:s3cret@localhost/x", UsageError, "does not know"),
        ("postgresql+pg8000://someone:s3cret@localhost/x", PrerequisiteError, "pip install pg8000"),
    ],
)
def test_a_server_without_driver_is_one_clear_error(tmp_path, url, error, message):
    with pytest.raises(error, match=message) as caught:
        Repository.open(url, tmp_path)
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_another_process_that_closes_leaves_the_log_of_an_open_repository_alone(tmp_path):
    """SQLite deletes the write-ahead log with the last connection, which it recognises by the locks of the others."""
    file = tmp_path / "results.db"
    with Repository.open(file) as repository:
        repository.store(replace(SPEC, seed=0), attempt(), result(0), ENVIRONMENT)
    with Repository.open(file) as repository:  # one that finds the database there
        repository.store(replace(SPEC, seed=1), attempt(), result(1), ENVIRONMENT)
        code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select * from meta').fetchall(); c.close()"
        finish(start("-c", code, file))
        repository.store(replace(SPEC, seed=2), attempt(), result(2), ENVIRONMENT)
        assert file.with_name("results.db-wal").stat().st_nlink == 1
    with Repository.open(file, read_only=True) as repository:
        assert {cell.seed for cell in repository.cells()} == {0, 1, 2}
