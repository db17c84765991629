"""Writers, merges, exports and migrations killed with SIGKILL at random times leave whole databases behind.

`ARITHLOC_CRASH_ROUNDS` sets the number of rounds (2 without it; 20 for a full run).
"""

import hashlib
import os
import signal
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest
from sqlalchemy import func, select
from support.processes import finish, start
from support.results import ENVIRONMENT, SPEC, attempt
from support.writer import outcome, spec

from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.integrity import orphans, problems
from arithloc.benchmark.storage.keys import cell_key
from arithloc.benchmark.storage.merge import merge
from arithloc.benchmark.storage.migrations import MIGRATIONS
from arithloc.benchmark.storage.repository import Repository

ROUNDS = int(os.environ.get("ARITHLOC_CRASH_ROUNDS", "2"))
FOREVER = 1_000_000
CURVE = 110


def kill(process, seconds):
    """SIGKILL after some seconds from when the process has opened its database."""
    assert process.stdout.readline() == "open\n", process.stderr.read()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def rows_of(repository):
    """Number of rows of each cell in the tables below it."""
    counted = {}
    with repository.reading() as connection:
        for table in (schema.score, schema.curve_point, schema.roc_point, schema.replicate, schema.cell_artifact):
            query = select(schema.cell.c.key, func.count(table.c.key)).outerjoin_from(
                schema.cell, table, schema.cell.c.key == table.c.key
            )
            for key, n in connection.execute(query.group_by(schema.cell.c.key)):
                counted.setdefault(key, {})[table.name] = n
    return counted


@pytest.mark.parametrize("size", [0, 2_000_000], ids=["rows", "files"])
def test_killed_writers_leave_whole_cells(tmp_path, size):
    database = tmp_path / "results.db"
    generator = np.random.default_rng(1 + size)
    written = 0
    for number in range(ROUNDS):
        writers = [
            start("-m", "support.writer", database, FOREVER * (4 * number + i), FOREVER, CURVE, size) for i in range(4)
        ]
        for writer in writers:
            kill(writer, generator.uniform(0.05, 0.6))
        with Repository.open(database) as repository:
            assert problems(repository, contents=number == ROUNDS - 1) == []
            whole = {"score": 3, "curve_point": CURVE, "roc_point": 2, "replicate": 1, "cell_artifact": 2}
            counted = rows_of(repository)
            assert all(rows == whole for rows in counted.values())
            assert len(counted) == repository.revision()
            written = len(counted)
    assert written >= ROUNDS
    with Repository.open(database) as repository:
        for file in orphans(repository):  # written, but its cell was not: harmless, and whole
            assert hashlib.sha256(file.read_bytes()).hexdigest() == file.stem


def test_a_killed_merge_leaves_the_target_as_it_was_or_whole(tmp_path):
    finish(start("-m", "support.writer", tmp_path / "source" / "results.db", 0, 60, CURVE, 0), timeout=120)
    target = tmp_path / "target" / "results.db"
    with Repository.open(target) as repository:
        repository.store(spec(FOREVER), attempt(), outcome(0, CURVE, 0), ENVIRONMENT)
    code = (
        "import sys\n"
        "from arithloc.benchmark.storage.merge import merge\n"
        "from arithloc.benchmark.storage.repository import Repository\n"
        "target, source = Repository.open(sys.argv[1]), Repository.open(sys.argv[2], read_only=True)\n"
        "print('open', flush=True)\n"
        "merge(target, source)\n"
    )
    generator = np.random.default_rng(3)
    for _ in range(ROUNDS):
        process = start("-c", code, target, tmp_path / "source" / "results.db")
        assert process.stdout.readline() == "open\n", process.stderr.read()
        time.sleep(generator.uniform(0.0, 0.15))
        process.kill()
        process.communicate()
        with Repository.open(target) as repository:
            assert problems(repository) == []
            assert len(repository.cells()) in (1, 61)
    with Repository.open(target) as repository, Repository.open(tmp_path / "source" / "results.db") as source:
        merge(repository, source)
        assert len(repository.cells()) == 61


def test_a_killed_export_leaves_the_old_file_or_the_new_one(tmp_path):
    database = tmp_path / "results.db"
    finish(start("-m", "support.writer", database, 0, 60, CURVE, 0), timeout=120)
    target = tmp_path / "public" / "copy.sqlite"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from arithloc.benchmark.storage.export import Format, export\n"
        "from arithloc.benchmark.storage.repository import Repository\n"
        "repository = Repository.open(sys.argv[1], read_only=True)\n"
        "export(repository, Path(sys.argv[2]), Format.SQLITE)\n"
        "print('open', flush=True)\n"
        "while True:\n"
        "    export(repository, Path(sys.argv[2]), Format.SQLITE)\n"
    )
    generator = np.random.default_rng(4)
    for _ in range(ROUNDS):
        kill(start("-c", code, database, target), generator.uniform(0.05, 0.3))
        with closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert copy.execute("SELECT count(*) FROM cell").fetchone() == (60,)


def test_a_killed_migration_leaves_the_old_schema_or_the_new_one(tmp_path):
    code = (
        "import sys, time\n"
        "from arithloc.benchmark.storage.connection import writing_engine\n"
        "from arithloc.benchmark.storage.location import locate\n"
        "from arithloc.benchmark.storage.migrations import MIGRATIONS, migrate\n"
        "def m999_slow(connection):\n"
        "    for i in range(100):\n"
        "        connection.exec_driver_sql(f'CREATE TABLE t{i} (x TEXT) STRICT')\n"
        "        time.sleep(0.002)\n"
        "location = locate(sys.argv[1])\n"
        "engine = writing_engine(location)\n"
        "print('open', flush=True)\n"
        "migrate(engine, location, (*MIGRATIONS, m999_slow))\n"
    )
    generator = np.random.default_rng(5)
    database = tmp_path / "results.db"
    with Repository.open(database) as repository:
        repository.store(SPEC, attempt(), outcome(0, CURVE, 0), ENVIRONMENT)
    seen = set()
    for _ in range(ROUNDS):
        process = start("-c", code, database)
        assert process.stdout.readline() == "open\n", process.stderr.read()
        time.sleep(generator.uniform(0.0, 0.2))
        process.kill()
        process.communicate()
        with closing(sqlite3.connect(database)) as opened:
            assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            tables = opened.execute("SELECT count(*) FROM sqlite_master WHERE name GLOB 't[0-9]*'").fetchone()[0]
            steps = opened.execute("SELECT count(*) FROM schema_migration").fetchone()[0]
            assert (tables, steps) in ((0, len(MIGRATIONS)), (100, len(MIGRATIONS) + 1))
            assert opened.execute("SELECT key FROM cell").fetchall() == [(cell_key(SPEC),)]
        seen.add(steps)
    process = start("-c", code, database)
    finish(process)
    assert len(MIGRATIONS) in seen
