"""The same results on a PostgreSQL server.

`ARITHLOC_TEST_POSTGRES_URL` names an empty database that the tests may fill and empty again; psycopg must be installed.
"""

import os
from dataclasses import replace

import pytest
from sqlalchemy import text
from support import demo
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.api.errors import StorageError, UnusableDatabase
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.boards import read_boards, update_boards
from arithloc.benchmark.storage.connection import writing_engine
from arithloc.benchmark.storage.export import score_table
from arithloc.benchmark.storage.integrity import problems
from arithloc.benchmark.storage.keys import cell_key
from arithloc.benchmark.storage.location import locate
from arithloc.benchmark.storage.merge import Merged, merge
from arithloc.benchmark.storage.records import ScoreRecord, Status
from arithloc.benchmark.storage.repository import Fate, Repository

URL = os.environ.get("ARITHLOC_TEST_POSTGRES_URL", "")
pytestmark = pytest.mark.skipif(not URL, reason="ARITHLOC_TEST_POSTGRES_URL names no server")


@pytest.fixture
def server(tmp_path):
    """An open repository on an empty database."""
    location = locate(URL, tmp_path / "files")
    engine = writing_engine(location)
    schema.metadata.drop_all(engine)
    engine.dispose()
    with Repository.open(URL, tmp_path / "files") as repository:
        yield repository


def test_cells_are_stored_replaced_and_kept(server):
    assert server.store(SPEC, attempt(Status.FAILED), None, ENVIRONMENT).fate is Fate.STORED
    assert server.store(SPEC, attempt(), result(), ENVIRONMENT).fate is Fate.STORED
    assert server.store(SPEC, attempt(), result(), ENVIRONMENT).fate is Fate.SAME
    assert server.store(SPEC, attempt(), result(shift=0.5), ENVIRONMENT).fate is Fate.DIFFERENT
    twice = ScoreRecord("cmd", 0.5)
    with pytest.raises(StorageError, match="refused a statement"):
        broken = replace(result(), scores=(twice, twice), replicates={})
        server.store(replace(SPEC, seed=1), attempt(), broken, ENVIRONMENT)
    assert server.statuses([cell_key(SPEC), cell_key(replace(SPEC, seed=1))]) == {cell_key(SPEC): Status.OK}
    assert [row["status"] for row in server.show(cell_key(SPEC)[:8]).attempts] == ["failed", "ok", "ok", "ok"]
    assert problems(server) == []


def test_everything_reads_the_same_as_from_a_file(server, tmp_path):
    suite, _ = demo.build(tmp_path / "file" / "results.db")
    with Repository.open(tmp_path / "file" / "results.db") as file:
        assert merge(server, file) == Merged(83, 0, 0, 0)
        assert merge(server, file) == Merged(0, 0, 83, 0)
        assert update_boards(server) == update_boards(file) == 6
        assert server.cells() == file.cells()
        assert score_table(server) == score_table(file)
        assert [board.rows for board in read_boards(server, suite)] == [b.rows for b in read_boards(file, suite)]
    with Repository.open(tmp_path / "back" / "results.db") as back:
        assert merge(back, server) == Merged(83, 0, 0, 0)
        assert problems(back) == []


def test_readers_cannot_write_and_opening_again_keeps_everything(server, tmp_path):
    server.store(SPEC, attempt(), result(), ENVIRONMENT)
    with Repository.open(URL, tmp_path / "files", read_only=True) as reader:
        with pytest.raises(UnusableDatabase, match="for reading only"):
            reader.store(SPEC, attempt(), result(), ENVIRONMENT)
        with pytest.raises(StorageError, match="cannot be written"), reader.reading() as connection:
            connection.execute(text("DELETE FROM cell"))
    with Repository.open(URL, tmp_path / "files") as again:
        assert again.revision() == 1
