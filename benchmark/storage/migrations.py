"""Brings a database to the current schema: an append-only list of steps, each in one transaction.

A released step is never edited; a change of `schema` comes with a new step, and a test compares what all steps make
with what `schema` says.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection, Engine, Inspector, inspect, select

from arithloc.benchmark.api.errors import SchemaTooNew, UnusableDatabase
from arithloc.benchmark.storage.location import Location
from arithloc.benchmark.storage.m001_initial import m001_initial
from arithloc.benchmark.storage.m002_accuracy import m002_accuracy
from arithloc.benchmark.storage.m003_circuit_test import m003_circuit_test
from arithloc.benchmark.storage.schema import schema_migration
from arithloc.benchmark.storage.text import now

Migration = Callable[[Connection], None]
MIGRATIONS: tuple[Migration, ...] = (m001_initial, m002_accuracy, m003_circuit_test)
ADDITIVE = frozenset({"m002_accuracy", "m003_circuit_test"})
"""Steps that only add tables: a database without them is read as it is, and has nothing in those tables."""


def applied(connection: Connection) -> list[str]:
    """Names of the steps a database has had, in order; none for a new one."""
    if not inspect(connection).has_table(schema_migration.name):
        return []
    return list(connection.scalars(select(schema_migration.c.name).order_by(schema_migration.c.name)))


def check_schema(engine: Engine, location: Location, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Whether a database has all steps; reads only.

    Raises:
        SchemaTooNew: it has steps that this version does not know.
        UnusableDatabase: it holds another program's tables.
    """
    known = [step.__name__ for step in migrations]
    with engine.connect() as connection:
        done = applied(connection)
        inspector: Inspector = inspect(connection)
        if not done and inspector.get_table_names():
            raise UnusableDatabase(
                f"The database {location.shown} belongs to another program; it is unchanged. Name another one with --db."
            )
    unknown = [name for name in done if name not in known]
    if unknown:
        raise SchemaTooNew(
            f"The results database {location.shown} has schema {unknown[-1]}, this arithloc knows up to {known[-1]}. "
            "Upgrade arithloc, or name another database with --db."
        )
    return done == known


def readable(engine: Engine, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Whether a checked database can be read without running its missing steps: all of them only add tables."""
    with engine.connect() as connection:
        done = applied(connection)
    return bool(done) and {step.__name__ for step in migrations} - set(done) <= ADDITIVE


def migrate(engine: Engine, location: Location, migrations: Sequence[Migration] = MIGRATIONS) -> list[str]:
    """Runs the missing steps; returns the names of those that this call ran.

    An existing SQLite file is first copied to `<name>.before-<step>.sqlite` beside it.

    Args:
        engine: a writing engine.
        location: where it leads.
        migrations: all steps, in order.
    """
    with engine.connect() as connection:
        before = applied(connection)
    if before and location.file is not None and len(before) < len(migrations):
        _back_up(engine, location.file, migrations[len(before)].__name__)
    ran = []
    for step in migrations:
        with engine.begin() as connection:
            if step.__name__ in applied(connection):
                continue
            step(connection)
            connection.execute(
                schema_migration.insert().values(name=step.__name__, applied_at=now(), app_version=version("arithloc"))
            )
            ran.append(step.__name__)
    return ran


def _back_up(engine: Engine, file: Path, step: str) -> None:
    copy = file.with_name(f"{file.name}.before-{step}.sqlite")
    copy.unlink(missing_ok=True)
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("VACUUM INTO ?", (str(copy),))
    finally:
        raw.close()
