"""Step 3: tests of the circuits of cells. Released steps are never edited."""

from sqlalchemy import Connection

from arithloc.benchmark.storage.m001_initial import TYPES

_STATEMENT = """
CREATE TABLE circuit_test (
    key TEXT NOT NULL, name TEXT NOT NULL, value {real}, low {real}, high {real}, se {real},
    n_pairs {integer} NOT NULL, n_clusters {integer} NOT NULL, ranking_rule TEXT NOT NULL,
    direction TEXT NOT NULL, unit TEXT NOT NULL, reason TEXT NOT NULL, flags_json TEXT NOT NULL,
    settings_json TEXT NOT NULL, measured_at TEXT NOT NULL,
    CONSTRAINT pk_circuit_test PRIMARY KEY (key, name),
    CONSTRAINT ck_circuit_test_ranking_rule CHECK (ranking_rule IN ('absolute', 'signed', 'none')),
    CONSTRAINT ck_circuit_test_direction CHECK (direction IN ('higher', 'lower')),
    CONSTRAINT fk_circuit_test_key FOREIGN KEY(key) REFERENCES cell (key) ON DELETE CASCADE
){strict}
"""


def m003_circuit_test(connection: Connection) -> None:
    """Adds one table; nothing that is there changes."""
    connection.exec_driver_sql(_STATEMENT.format_map(TYPES[connection.dialect.name]))
