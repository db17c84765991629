"""Tests of the circuit of a cell: numbers beside its scores, measured later and not part of its digest."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, inspect, select

from arithloc.benchmark.storage import schema, writing
from arithloc.benchmark.storage.queries import score_record
from arithloc.benchmark.storage.records import ScoreRecord
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.storage.text import canonical_json, now

_NUMBERS = ("value", "low", "high", "se")


@dataclass(frozen=True)
class CircuitTests:
    """What was tested on the circuit of one cell.

    Attributes:
        records: the numbers, by name.
        settings: numbers of draws and choice of the circuit.
        measured_at: when.
    """

    records: tuple[ScoreRecord, ...]
    settings: Mapping[str, Any]
    measured_at: str


def put_circuit_tests(
    repository: Repository, key: str, records: Sequence[ScoreRecord], settings: Mapping[str, Any]
) -> None:
    """Stores the tests of a cell in the place of earlier ones, in one transaction.

    Raises:
        ValueError: a number that is not finite.
    """
    measured_at, written = now(), canonical_json(dict(settings))
    rows = []
    for record in records:
        row = asdict(record)
        if any(row[name] is not None and not math.isfinite(row[name]) for name in _NUMBERS):
            raise ValueError(f"Expected finite numbers or none for the test {record.name}, found {row}.")
        flags = canonical_json(row.pop("flags"))
        row |= {"ranking_rule": record.ranking_rule.value, "direction": record.direction.value, "flags_json": flags}
        rows.append({**row, "key": key, "settings_json": written, "measured_at": measured_at})
    table = schema.circuit_test
    with repository.writing() as connection:
        connection.execute(delete(table).where(table.c.key == key))
        if rows:
            connection.execute(insert(table), rows)
        writing.raise_revision(connection)


def circuit_tests(connection: Connection, key: str) -> CircuitTests | None:
    """The tests of a cell, None where there are none."""
    table = schema.circuit_test
    if not inspect(connection).has_table(table.name):  # a database of an older arithloc
        return None
    rows = connection.execute(select(table).where(table.c.key == key).order_by(table.c.name)).mappings().all()
    if not rows:
        return None
    records = tuple(score_record(dict(row)) for row in rows)
    return CircuitTests(records, json.loads(rows[0]["settings_json"]), rows[0]["measured_at"])
