"""Step 2: accuracies measured through lm-eval. Released steps are never edited."""

from sqlalchemy import Connection

from arithloc.benchmark.storage.m001_initial import TYPES

_STATEMENTS = """
CREATE TABLE accuracy (
    accuracy_id TEXT NOT NULL, model_id TEXT NOT NULL, task_id TEXT NOT NULL, data_hash TEXT NOT NULL,
    split TEXT NOT NULL, seed {integer}, private_commitment TEXT NOT NULL, public_share {real},
    requested {integer} NOT NULL, n_pairs {integer} NOT NULL, n_clusters {integer} NOT NULL,
    n_left_out {integer} NOT NULL, dtype TEXT NOT NULL, part TEXT NOT NULL, circuit_key TEXT,
    n_components {integer}, size {real}, acc {real} NOT NULL, acc_low {real} NOT NULL, acc_high {real} NOT NULL,
    top {real} NOT NULL, top_low {real} NOT NULL, top_high {real} NOT NULL,
    exact_match {real} NOT NULL, exact_match_low {real} NOT NULL, exact_match_high {real} NOT NULL,
    lm_eval_version TEXT NOT NULL, engine_version {integer} NOT NULL, env_hash TEXT NOT NULL, device TEXT NOT NULL,
    measured_at TEXT NOT NULL, CONSTRAINT pk_accuracy PRIMARY KEY (accuracy_id),
    CONSTRAINT ck_accuracy_part CHECK (part IN ('whole', 'kept', 'removed')),
    CONSTRAINT ck_accuracy_circuit CHECK ((part = 'whole') = (circuit_key IS NULL)),
    CONSTRAINT fk_accuracy_model_id FOREIGN KEY(model_id) REFERENCES model (model_id),
    CONSTRAINT fk_accuracy_task_id FOREIGN KEY(task_id) REFERENCES task (task_id),
    CONSTRAINT fk_accuracy_env_hash FOREIGN KEY(env_hash) REFERENCES environment (env_hash)
){strict};
CREATE INDEX ix_accuracy_model_id_task_id ON accuracy (model_id, task_id)
"""


def m002_accuracy(connection: Connection) -> None:
    """Adds one table; nothing that is there changes."""
    for statement in _STATEMENTS.format_map(TYPES[connection.dialect.name]).split(";"):
        connection.exec_driver_sql(statement)
