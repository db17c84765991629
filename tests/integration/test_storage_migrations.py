"""Steps from an older schema to the current one."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import create_engine, inspect
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.api.errors import SchemaTooNew
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.accuracy import accuracies
from arithloc.benchmark.storage.connection import writing_engine
from arithloc.benchmark.storage.export import document
from arithloc.benchmark.storage.location import locate
from arithloc.benchmark.storage.merge import merge
from arithloc.benchmark.storage.migrations import MIGRATIONS, applied, check_schema, migrate, readable
from arithloc.benchmark.storage.repository import Repository


def m901_colour(connection):
    connection.exec_driver_sql("ALTER TABLE entry ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'")
    connection.exec_driver_sql("UPDATE entry SET colour = 'red'")


def m902_broken(connection):
    connection.exec_driver_sql("CREATE TABLE half (x TEXT) STRICT")
    raise RuntimeError("in the middle")


def described(engine):
    """Everything SQLite knows about the tables, for comparison."""
    found = {}
    looked = inspect(engine)
    for table in looked.get_table_names():
        with engine.connect() as connection:
            columns = connection.exec_driver_sql(f"PRAGMA table_xinfo({table})").all()
            foreign = connection.exec_driver_sql(f"PRAGMA foreign_key_list({table})").all()
            strict = connection.exec_driver_sql(
                "SELECT strict FROM pragma_table_list WHERE name = ?", (table,)
            ).scalar_one()
        found[table] = {
            "columns": columns,
            "foreign": foreign,
            "strict": strict,
            "checks": sorted((check["name"], check["sqltext"]) for check in looked.get_check_constraints(table)),
            "unique": sorted(
                (unique["name"], unique["column_names"]) for unique in looked.get_unique_constraints(table)
            ),
            "indexes": sorted((index["name"], index["column_names"]) for index in looked.get_indexes(table)),
        }
    return found


@pytest.fixture
def place(tmp_path):
    location = locate(tmp_path / "results.db")
    engine = writing_engine(location)
    yield location, engine
    engine.dispose()


def test_the_steps_make_what_the_schema_says(place, tmp_path):
    location, engine = place
    assert migrate(engine, location) == [step.__name__ for step in MIGRATIONS]
    declared = create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    schema.metadata.create_all(declared)
    assert described(engine) == described(declared)
    assert all(table["strict"] == 1 for table in described(engine).values())
    assert len(described(engine)) == len(schema.metadata.tables)
    declared.dispose()


def test_a_second_run_does_nothing(place):
    location, engine = place
    migrate(engine, location)
    assert migrate(engine, location) == []
    assert check_schema(engine, location)


def test_a_new_step_keeps_the_rows_and_leaves_a_copy_of_the_old_file(tmp_path):
    file = tmp_path / "results.db"
    with Repository.open(file) as repository:
        repository.store(SPEC, attempt(), result(), ENVIRONMENT)
    location = locate(file)
    engine = writing_engine(location)
    steps = (*MIGRATIONS, m901_colour)
    assert not check_schema(engine, location, steps)
    assert migrate(engine, location, steps) == ["m901_colour"]
    assert migrate(engine, location, steps) == []
    with engine.connect() as connection:
        assert applied(connection) == [*(step.__name__ for step in MIGRATIONS), "m901_colour"]
        assert connection.exec_driver_sql("SELECT colour FROM entry").scalars().all() == ["red"]
        assert connection.exec_driver_sql("SELECT count(*) FROM score").scalar() == 3
    engine.dispose()
    with pytest.raises(SchemaTooNew, match=rf"m901_colour.*{MIGRATIONS[-1].__name__}"):
        Repository.open(file)
    with Repository.open(tmp_path / "results.db.before-m901_colour.sqlite", read_only=True) as before:
        assert before.revision() == 1


def test_a_failing_step_leaves_the_state_before_it(place):
    location, engine = place
    with pytest.raises(RuntimeError, match="in the middle"):
        migrate(engine, location, (*MIGRATIONS, m901_colour, m902_broken))
    with engine.connect() as connection:
        assert applied(connection) == [*(step.__name__ for step in MIGRATIONS), "m901_colour"]
    assert "half" not in inspect(engine).get_table_names()
    assert migrate(engine, location, (*MIGRATIONS, m901_colour)) == []


def test_a_database_without_the_added_tables_is_read_as_it_is(tmp_path):
    file = tmp_path / "results.db"
    engine = writing_engine(locate(file))
    assert migrate(engine, locate(file), MIGRATIONS[:1]) == ["m001_initial"]
    engine.dispose()
    with Repository.open(file, read_only=True) as old:
        with old.reading() as connection:
            assert accuracies(connection) == []
        assert "accuracy" not in document(old)["tables"] and "cell" in document(old)["tables"]
        assert old.cells() == []
        with Repository.open(tmp_path / "all" / "results.db") as receiver:
            assert merge(receiver, old).added == 0
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("SELECT name FROM schema_migration").fetchall() == [("m001_initial",)]
    with Repository.open(file), closing(sqlite3.connect(file)) as opened:
        assert opened.execute("SELECT count(*) FROM accuracy").fetchone() == (0,)


def test_a_step_that_changes_a_table_must_be_run_before_reading(place):
    location, engine = place
    migrate(engine, location)
    assert readable(engine) and not readable(engine, (*MIGRATIONS, m901_colour))


def test_a_new_database_needs_no_copy(place):
    location, engine = place
    migrate(engine, location)
    assert sorted(entry.name for entry in location.file.parent.glob("*before*")) == []


def test_every_database_has_its_own_identity(tmp_path):
    names = set()
    for name in ("a", "b"):
        Repository.open(tmp_path / name).close()
        with closing(sqlite3.connect(tmp_path / name)) as opened:
            names.add(opened.execute("SELECT value FROM meta WHERE name = 'database_id'").fetchone()[0])
    assert len(names) == 2
