"""Step 1: the first schema. Released steps are never edited."""

from uuid import uuid4

from sqlalchemy import Connection, text

from arithloc.benchmark.storage.text import now

TYPES = {
    "sqlite": {"integer": "INTEGER", "real": "REAL", "bytes": "BLOB", "strict": " STRICT"},
    "postgresql": {"integer": "BIGINT", "real": "DOUBLE PRECISION", "bytes": "BYTEA", "strict": ""},
}

_STATEMENTS = """
CREATE TABLE artifact (
    sha256 TEXT NOT NULL, kind TEXT NOT NULL, bytes {integer} NOT NULL, media_type TEXT NOT NULL,
    created_at TEXT NOT NULL, CONSTRAINT pk_artifact PRIMARY KEY (sha256),
    CONSTRAINT ck_artifact_sha256 CHECK (length(sha256) = 64)
){strict};
CREATE TABLE attempt (
    key TEXT NOT NULL, number {integer} NOT NULL, status TEXT NOT NULL, error_type TEXT NOT NULL,
    error_message TEXT NOT NULL, device TEXT NOT NULL, executor TEXT NOT NULL, exit_code {integer},
    started_at TEXT NOT NULL, finished_at TEXT NOT NULL, CONSTRAINT pk_attempt PRIMARY KEY (key, number),
    CONSTRAINT ck_attempt_status CHECK (status IN ('ok', 'failed', 'timeout', 'killed'))
){strict};
CREATE TABLE dataset (
    data_hash TEXT NOT NULL, split TEXT NOT NULL, n_pairs {integer} NOT NULL, n_clusters {integer} NOT NULL,
    CONSTRAINT pk_dataset PRIMARY KEY (data_hash)
){strict};
CREATE TABLE environment (
    env_hash TEXT NOT NULL, python TEXT NOT NULL, os TEXT NOT NULL, cpu TEXT NOT NULL, gpu TEXT NOT NULL,
    packages_json TEXT NOT NULL, code_version TEXT NOT NULL, code_commit TEXT NOT NULL,
    code_dirty {integer} NOT NULL, determinism_json TEXT NOT NULL,
    CONSTRAINT pk_environment PRIMARY KEY (env_hash),
    CONSTRAINT ck_environment_code_dirty CHECK (code_dirty IN (0, 1))
){strict};
CREATE TABLE meta (
    name TEXT NOT NULL, value TEXT NOT NULL, CONSTRAINT pk_meta PRIMARY KEY (name)
){strict};
CREATE TABLE method (
    method_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, distribution TEXT NOT NULL,
    source_hash TEXT NOT NULL, granularities TEXT NOT NULL, access TEXT NOT NULL, summary TEXT NOT NULL,
    reference TEXT NOT NULL, sanity {integer} NOT NULL, CONSTRAINT pk_method PRIMARY KEY (method_id),
    CONSTRAINT ck_method_sanity CHECK (sanity IN (0, 1))
){strict};
CREATE TABLE model (
    model_id TEXT NOT NULL, name TEXT NOT NULL, revision TEXT NOT NULL, weights_hash TEXT NOT NULL,
    config_hash TEXT NOT NULL, tokenizer_hash TEXT NOT NULL, family TEXT NOT NULL, n_layers {integer} NOT NULL,
    n_heads {integer} NOT NULL, n_kv_heads {integer} NOT NULL, d_model {integer} NOT NULL,
    d_mlp {integer} NOT NULL, n_params {integer} NOT NULL, n_edges {integer} NOT NULL,
    is_toy {integer} NOT NULL, CONSTRAINT pk_model PRIMARY KEY (model_id),
    CONSTRAINT ck_model_is_toy CHECK (is_toy IN (0, 1))
){strict};
CREATE TABLE revision (
    id {integer} NOT NULL, results {integer} NOT NULL, entries {integer} NOT NULL, updated_at TEXT NOT NULL,
    CONSTRAINT pk_revision PRIMARY KEY (id), CONSTRAINT ck_revision_single CHECK (id = 1)
){strict};
CREATE TABLE schema_migration (
    name TEXT NOT NULL, applied_at TEXT NOT NULL, app_version TEXT NOT NULL,
    CONSTRAINT pk_schema_migration PRIMARY KEY (name)
){strict};
CREATE TABLE suite (
    suite_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, title TEXT NOT NULL,
    created_at TEXT NOT NULL, CONSTRAINT pk_suite PRIMARY KEY (suite_id)
){strict};
CREATE TABLE task (
    task_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, distribution TEXT NOT NULL,
    options_json TEXT NOT NULL, family TEXT NOT NULL, control_for TEXT NOT NULL, summary TEXT NOT NULL,
    CONSTRAINT pk_task PRIMARY KEY (task_id)
){strict};
CREATE TABLE board (
    board_id TEXT NOT NULL, suite_id TEXT NOT NULL, granularity TEXT NOT NULL, ablation TEXT NOT NULL,
    score TEXT NOT NULL, direction TEXT NOT NULL, scoring_version {integer} NOT NULL,
    results_revision {integer} NOT NULL, computed_at TEXT NOT NULL, CONSTRAINT pk_board PRIMARY KEY (board_id),
    CONSTRAINT ck_board_direction CHECK (direction IN ('higher', 'lower')),
    CONSTRAINT uq_board_suite_id_granularity_ablation_score UNIQUE (suite_id, granularity, ablation, score),
    CONSTRAINT fk_board_suite_id FOREIGN KEY(suite_id) REFERENCES suite (suite_id)
){strict};
CREATE TABLE entry (
    entry_id TEXT NOT NULL, title TEXT NOT NULL, kind TEXT NOT NULL, method_id TEXT NOT NULL,
    options_hash TEXT NOT NULL, options_json TEXT NOT NULL, created_at TEXT NOT NULL,
    CONSTRAINT pk_entry PRIMARY KEY (entry_id),
    CONSTRAINT ck_entry_kind CHECK (kind IN ('builtin', 'plugin', 'local')),
    CONSTRAINT uq_entry_method_id_options_hash UNIQUE (method_id, options_hash),
    CONSTRAINT fk_entry_method_id FOREIGN KEY(method_id) REFERENCES method (method_id)
){strict};
CREATE TABLE suite_cell (
    suite_id TEXT NOT NULL, question TEXT NOT NULL, seed {integer} NOT NULL, task_id TEXT NOT NULL,
    model_id TEXT NOT NULL, granularity TEXT NOT NULL, ablation TEXT NOT NULL, weight {real} NOT NULL,
    CONSTRAINT pk_suite_cell PRIMARY KEY (suite_id, question, seed),
    CONSTRAINT fk_suite_cell_suite_id FOREIGN KEY(suite_id) REFERENCES suite (suite_id) ON DELETE CASCADE,
    CONSTRAINT fk_suite_cell_task_id FOREIGN KEY(task_id) REFERENCES task (task_id),
    CONSTRAINT fk_suite_cell_model_id FOREIGN KEY(model_id) REFERENCES model (model_id)
){strict};
CREATE TABLE truth (
    truth_id TEXT NOT NULL, name TEXT NOT NULL, model_id TEXT NOT NULL, tier TEXT NOT NULL,
    stressors_json TEXT NOT NULL, ablation TEXT NOT NULL, tolerance_json TEXT NOT NULL,
    certificates_json TEXT NOT NULL, document_sha256 TEXT NOT NULL, CONSTRAINT pk_truth PRIMARY KEY (truth_id),
    CONSTRAINT uq_truth_model_id_document_sha256 UNIQUE (model_id, document_sha256),
    CONSTRAINT fk_truth_model_id FOREIGN KEY(model_id) REFERENCES model (model_id),
    CONSTRAINT fk_truth_document_sha256 FOREIGN KEY(document_sha256) REFERENCES artifact (sha256)
){strict};
CREATE TABLE board_row (
    board_id TEXT NOT NULL, entry_id TEXT NOT NULL, complete {integer} NOT NULL, done {integer} NOT NULL,
    required {integer} NOT NULL, value {real}, low {real}, high {real}, rank_low {integer},
    rank_high {integer}, tied_with_json TEXT NOT NULL,
    CONSTRAINT pk_board_row PRIMARY KEY (board_id, entry_id),
    CONSTRAINT ck_board_row_complete CHECK (complete IN (0, 1)),
    CONSTRAINT fk_board_row_board_id FOREIGN KEY(board_id) REFERENCES board (board_id) ON DELETE CASCADE,
    CONSTRAINT fk_board_row_entry_id FOREIGN KEY(entry_id) REFERENCES entry (entry_id)
){strict};
CREATE TABLE cell (
    key TEXT NOT NULL, localization_key TEXT NOT NULL, question TEXT NOT NULL, entry_id TEXT NOT NULL,
    task_id TEXT NOT NULL, model_id TEXT NOT NULL, task_source_hash TEXT NOT NULL,
    discovery_hash TEXT NOT NULL, evaluation_hash TEXT NOT NULL, granularity TEXT NOT NULL,
    positions_json TEXT NOT NULL, ablation TEXT NOT NULL, metric TEXT NOT NULL, seed {integer} NOT NULL,
    dtype TEXT NOT NULL, attention TEXT NOT NULL, n_discovery {integer} NOT NULL,
    n_evaluation {integer} NOT NULL, n_draws {integer} NOT NULL, n_sizes {integer} NOT NULL,
    engine_version {integer} NOT NULL, scoring_version {integer} NOT NULL, status TEXT NOT NULL,
    error_type TEXT NOT NULL, error_message TEXT NOT NULL, note TEXT NOT NULL, attempts {integer} NOT NULL,
    result_digest TEXT, env_hash TEXT NOT NULL, device TEXT NOT NULL, executor TEXT NOT NULL,
    started_at TEXT NOT NULL, finished_at TEXT NOT NULL, wall_localize_s {real}, wall_score_s {real},
    forward_equivalents {real}, peak_host_bytes {integer}, peak_device_bytes {integer},
    discovery_requested {integer}, discovery_kept_fraction {real}, evaluation_requested {integer},
    evaluation_kept_fraction {real}, spec_json TEXT NOT NULL, CONSTRAINT pk_cell PRIMARY KEY (key),
    CONSTRAINT ck_cell_status CHECK (status IN ('ok', 'failed', 'timeout', 'killed')),
    CONSTRAINT ck_cell_key CHECK (length(key) = 64),
    CONSTRAINT ck_cell_digest CHECK ((status = 'ok') = (result_digest IS NOT NULL)),
    CONSTRAINT fk_cell_entry_id FOREIGN KEY(entry_id) REFERENCES entry (entry_id),
    CONSTRAINT fk_cell_task_id FOREIGN KEY(task_id) REFERENCES task (task_id),
    CONSTRAINT fk_cell_model_id FOREIGN KEY(model_id) REFERENCES model (model_id),
    CONSTRAINT fk_cell_env_hash FOREIGN KEY(env_hash) REFERENCES environment (env_hash)
){strict};
CREATE TABLE truth_component (
    truth_id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, layer {integer}, slot TEXT NOT NULL,
    role TEXT NOT NULL, label TEXT NOT NULL, flip_rate {real},
    CONSTRAINT pk_truth_component PRIMARY KEY (truth_id, kind, name),
    CONSTRAINT ck_truth_component_kind CHECK (kind IN ('node', 'neuron', 'edge')),
    CONSTRAINT ck_truth_component_label CHECK (label IN ('in', 'out', 'undecided', 'static')),
    CONSTRAINT fk_truth_component_truth_id FOREIGN KEY(truth_id) REFERENCES truth (truth_id) ON DELETE CASCADE
){strict};
CREATE TABLE cell_artifact (
    key TEXT NOT NULL, role TEXT NOT NULL, sha256 TEXT NOT NULL,
    CONSTRAINT pk_cell_artifact PRIMARY KEY (key, role),
    CONSTRAINT ck_cell_artifact_role CHECK (role IN ('scores', 'values')),
    CONSTRAINT fk_cell_artifact_key FOREIGN KEY(key) REFERENCES cell (key) ON DELETE CASCADE,
    CONSTRAINT fk_cell_artifact_sha256 FOREIGN KEY(sha256) REFERENCES artifact (sha256)
){strict};
CREATE TABLE curve_point (
    key TEXT NOT NULL, curve TEXT NOT NULL, ranking_rule TEXT NOT NULL, i {integer} NOT NULL,
    n_components {integer} NOT NULL, size {real} NOT NULL, nominal {real}, m {real}, f {real}, f_low {real},
    f_high {real}, b {real}, f_ror {real}, accuracy {real}, kl {real}, f_accuracy {real}, f_kl {real},
    CONSTRAINT pk_curve_point PRIMARY KEY (key, curve, ranking_rule, i),
    CONSTRAINT ck_curve_point_ranking_rule CHECK (ranking_rule IN ('absolute', 'signed', 'none')),
    CONSTRAINT fk_curve_point_key FOREIGN KEY(key) REFERENCES cell (key) ON DELETE CASCADE
){strict};
CREATE TABLE replicate (
    key TEXT NOT NULL, name TEXT NOT NULL, n {integer} NOT NULL, draws TEXT NOT NULL, data {bytes} NOT NULL,
    CONSTRAINT pk_replicate PRIMARY KEY (key, name), CONSTRAINT ck_replicate_data CHECK (length(data) = 8 * n),
    CONSTRAINT fk_replicate_key FOREIGN KEY(key) REFERENCES cell (key) ON DELETE CASCADE
){strict};
CREATE TABLE roc_point (
    key TEXT NOT NULL, kind TEXT NOT NULL, i {integer} NOT NULL, fpr {real} NOT NULL, tpr {real} NOT NULL,
    precision {real}, recall {real}, n {integer} NOT NULL, CONSTRAINT pk_roc_point PRIMARY KEY (key, kind, i),
    CONSTRAINT fk_roc_point_key FOREIGN KEY(key) REFERENCES cell (key) ON DELETE CASCADE
){strict};
CREATE TABLE score (
    key TEXT NOT NULL, name TEXT NOT NULL, value {real}, low {real}, high {real}, se {real},
    n_pairs {integer} NOT NULL, n_clusters {integer} NOT NULL, ranking_rule TEXT NOT NULL,
    direction TEXT NOT NULL, unit TEXT NOT NULL, reason TEXT NOT NULL, flags_json TEXT NOT NULL,
    CONSTRAINT pk_score PRIMARY KEY (key, name),
    CONSTRAINT ck_score_ranking_rule CHECK (ranking_rule IN ('absolute', 'signed', 'none')),
    CONSTRAINT ck_score_direction CHECK (direction IN ('higher', 'lower')),
    CONSTRAINT fk_score_key FOREIGN KEY(key) REFERENCES cell (key) ON DELETE CASCADE
){strict};
CREATE INDEX ix_board_row_board_id_rank_low ON board_row (board_id, rank_low);
CREATE INDEX ix_cell_entry_id_status ON cell (entry_id, status);
CREATE INDEX ix_cell_finished_at_key ON cell (finished_at, key);
CREATE INDEX ix_cell_localization_key ON cell (localization_key);
CREATE INDEX ix_cell_model_id_status ON cell (model_id, status);
CREATE INDEX ix_cell_question_seed_status ON cell (question, seed, status);
CREATE INDEX ix_cell_scoring_version ON cell (scoring_version);
CREATE INDEX ix_cell_status_finished_at ON cell (status, finished_at);
CREATE INDEX ix_cell_task_id_model_id_granularity_ablation_status ON cell (task_id, model_id, granularity, ablation, status);
CREATE INDEX ix_cell_wall_score_s_key ON cell (wall_score_s, key);
CREATE INDEX ix_score_name_value_key ON score (name, value, key)
"""


def m001_initial(connection: Connection) -> None:
    """Makes every table and index, and gives the database its identity."""
    for statement in _STATEMENTS.format_map(TYPES[connection.dialect.name]).split(";"):
        connection.exec_driver_sql(statement)
    identity = [{"name": "database_id", "value": uuid4().hex}, {"name": "created_at", "value": now()}]
    connection.execute(text("INSERT INTO meta (name, value) VALUES (:name, :value)"), identity)
    first = text("INSERT INTO revision (id, results, entries, updated_at) VALUES (1, 0, 0, :now)")
    connection.execute(first, {"now": now()})
