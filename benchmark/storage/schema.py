"""Tables of the results database, for SQLite (`STRICT`) and PostgreSQL.

Identity rows (method, entry, task, model, dataset, environment, artifact) never change after insert; their ids are
hashes of the columns that identify them (`keys`), so that two databases agree on them. Results hang on
`cell.key`; a cell row and all rows below it are written in one transaction. NaN and infinities never enter a REAL
column: they are NULL with a reason or a flag beside them.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

SCHEMA_NUMBER = 3
"""Number of the layout of exported documents; raised with every migration that changes a table."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_INTEGER = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
_REAL: TypeEngine[float] = Double().with_variant(sqlite.REAL(), "sqlite")


def _text(name: str, *items: SchemaItem, null: bool = False) -> Column[str]:
    return Column(name, Text(), *items, nullable=null)


def _integer(name: str, *items: SchemaItem, null: bool = False) -> Column[int]:
    return Column(name, _INTEGER, *items, nullable=null)


def _real(name: str, null: bool = True) -> Column[float]:
    return Column(name, _REAL, nullable=null)


def _flag(name: str) -> list[SchemaItem]:
    return [_integer(name), CheckConstraint(f"{name} IN (0, 1)", name=name)]


def _one_of(name: str, *values: str) -> list[SchemaItem]:
    listed = ", ".join(f"'{value}'" for value in values)
    return [_text(name), CheckConstraint(f"{name} IN ({listed})", name=name)]


def _key(*names: str) -> PrimaryKeyConstraint:
    return PrimaryKeyConstraint(*names)


def _of_cell() -> Column[str]:
    return _text("key", ForeignKey("cell.key", ondelete="CASCADE"))


def _table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items, sqlite_strict=True)


schema_migration = _table("schema_migration", _text("name"), _text("applied_at"), _text("app_version"), _key("name"))
meta = _table("meta", _text("name"), _text("value"), _key("name"))
revision = _table(
    "revision", Column("id", _INTEGER, autoincrement=False, nullable=False), _integer("results"), _integer("entries"), _text("updated_at"), _key("id"),
    CheckConstraint("id = 1", name="single"),
)  # fmt: skip

method = _table(
    "method",
    _text("method_id"), _text("name"), _text("version"), _text("distribution"), _text("source_hash"),
    _text("granularities"), _text("access"), _text("summary"), _text("reference"), *_flag("sanity"),
    _key("method_id"),
)  # fmt: skip
entry = _table(
    "entry",
    _text("entry_id"), _text("title"), *_one_of("kind", "builtin", "plugin", "local"),
    _text("method_id", ForeignKey("method.method_id")), _text("options_hash"), _text("options_json"),
    _text("created_at"), _key("entry_id"), UniqueConstraint("method_id", "options_hash"),
)  # fmt: skip
task = _table(
    "task",
    _text("task_id"), _text("name"), _text("version"), _text("distribution"), _text("options_json"),
    _text("family"), _text("control_for"), _text("summary"), _key("task_id"),
)  # fmt: skip
model = _table(
    "model",
    _text("model_id"), _text("name"), _text("revision"), _text("weights_hash"), _text("config_hash"),
    _text("tokenizer_hash"), _text("family"), _integer("n_layers"), _integer("n_heads"), _integer("n_kv_heads"),
    _integer("d_model"), _integer("d_mlp"), _integer("n_params"), _integer("n_edges"), *_flag("is_toy"),
    _key("model_id"),
)  # fmt: skip
dataset = _table(
    "dataset", _text("data_hash"), _text("split"), _integer("n_pairs"), _integer("n_clusters"), _key("data_hash"),
)  # fmt: skip
environment = _table(
    "environment",
    _text("env_hash"), _text("python"), _text("os"), _text("cpu"), _text("gpu"), _text("packages_json"),
    _text("code_version"), _text("code_commit"), *_flag("code_dirty"), _text("determinism_json"), _key("env_hash"),
)  # fmt: skip
artifact = _table(
    "artifact",
    _text("sha256"), _text("kind"), _integer("bytes"), _text("media_type"), _text("created_at"), _key("sha256"),
    CheckConstraint("length(sha256) = 64", name="sha256"),
)  # fmt: skip

cell = _table(
    "cell",
    _text("key"), _text("localization_key"), _text("question"),
    _text("entry_id", ForeignKey("entry.entry_id")), _text("task_id", ForeignKey("task.task_id")),
    _text("model_id", ForeignKey("model.model_id")), _text("task_source_hash"), _text("discovery_hash"),
    _text("evaluation_hash"), _text("granularity"), _text("positions_json"), _text("ablation"), _text("metric"), _integer("seed"),
    _text("dtype"), _text("attention"), _integer("n_discovery"), _integer("n_evaluation"), _integer("n_draws"),
    _integer("n_sizes"), _integer("engine_version"), _integer("scoring_version"),
    *_one_of("status", "ok", "failed", "timeout", "killed"), _text("error_type"), _text("error_message"),
    _text("note"), _integer("attempts"), _text("result_digest", null=True),
    _text("env_hash", ForeignKey("environment.env_hash")), _text("device"), _text("executor"),
    _text("started_at"), _text("finished_at"), _real("wall_localize_s"), _real("wall_score_s"),
    _real("forward_equivalents"), _integer("peak_host_bytes", null=True), _integer("peak_device_bytes", null=True),
    _integer("discovery_requested", null=True), _real("discovery_kept_fraction"),
    _integer("evaluation_requested", null=True), _real("evaluation_kept_fraction"), _text("spec_json"),
    _key("key"),
    CheckConstraint("length(key) = 64", name="key"),
    CheckConstraint("(status = 'ok') = (result_digest IS NOT NULL)", name="digest"),
)  # fmt: skip
attempt = _table(
    "attempt",
    _text("key"), _integer("number"), *_one_of("status", "ok", "failed", "timeout", "killed"), _text("error_type"),
    _text("error_message"), _text("device"), _text("executor"), _integer("exit_code", null=True),
    _text("started_at"), _text("finished_at"), _key("key", "number"),
)  # fmt: skip
score = _table(
    "score",
    _of_cell(), _text("name"), _real("value"), _real("low"), _real("high"), _real("se"), _integer("n_pairs"),
    _integer("n_clusters"), *_one_of("ranking_rule", "absolute", "signed", "none"),
    *_one_of("direction", "higher", "lower"), _text("unit"), _text("reason"), _text("flags_json"),
    _key("key", "name"),
)  # fmt: skip
replicate = _table(
    "replicate",
    _of_cell(), _text("name"), _integer("n"), _text("draws"), Column("data", LargeBinary(), nullable=False),
    _key("key", "name"), CheckConstraint("length(data) = 8 * n", name="data"),
)  # fmt: skip
curve_point = _table(
    "curve_point",
    _of_cell(), _text("curve"), *_one_of("ranking_rule", "absolute", "signed", "none"), _integer("i"),
    _integer("n_components"), _real("size", null=False), _real("nominal"), _real("m"), _real("f"), _real("f_low"),
    _real("f_high"), _real("b"), _real("f_ror"), _real("accuracy"), _real("kl"), _real("f_accuracy"), _real("f_kl"),
    _key("key", "curve", "ranking_rule", "i"),
)  # fmt: skip
roc_point = _table(
    "roc_point",
    _of_cell(), _text("kind"), _integer("i"), _real("fpr", null=False), _real("tpr", null=False), _real("precision"),
    _real("recall"), _integer("n"), _key("key", "kind", "i"),
)  # fmt: skip
cell_artifact = _table(
    "cell_artifact",
    _of_cell(), *_one_of("role", "scores", "values"), _text("sha256", ForeignKey("artifact.sha256")),
    _key("key", "role"),
)  # fmt: skip

truth = _table(
    "truth",
    _text("truth_id"), _text("name"), _text("model_id", ForeignKey("model.model_id")), _text("tier"),
    _text("stressors_json"), _text("ablation"), _text("tolerance_json"), _text("certificates_json"),
    _text("document_sha256", ForeignKey("artifact.sha256")), _key("truth_id"),
    UniqueConstraint("model_id", "document_sha256"),
)  # fmt: skip
truth_component = _table(
    "truth_component",
    _text("truth_id", ForeignKey("truth.truth_id", ondelete="CASCADE")), *_one_of("kind", "node", "neuron", "edge"),
    _text("name"), _integer("layer", null=True), _text("slot"), _text("role"),
    *_one_of("label", "in", "out", "undecided", "static"), _real("flip_rate"), _key("truth_id", "kind", "name"),
)  # fmt: skip

accuracy = _table(
    "accuracy",
    _text("accuracy_id"), _text("model_id", ForeignKey("model.model_id")),
    _text("task_id", ForeignKey("task.task_id")), _text("data_hash"), _text("split"), _integer("seed", null=True),
    _text("private_commitment"), _real("public_share"), _integer("requested"), _integer("n_pairs"),
    _integer("n_clusters"), _integer("n_left_out"), _text("dtype"), *_one_of("part", "whole", "kept", "removed"),
    _text("circuit_key", null=True),  # the key of a cell keeps its meaning where the cell itself is not
    _integer("n_components", null=True), _real("size"), _real("acc", null=False), _real("acc_low", null=False),
    _real("acc_high", null=False), _real("top", null=False), _real("top_low", null=False), _real("top_high", null=False),
    _real("exact_match", null=False), _real("exact_match_low", null=False), _real("exact_match_high", null=False),
    _text("lm_eval_version"), _integer("engine_version"),
    _text("env_hash", ForeignKey("environment.env_hash")), _text("device"), _text("measured_at"),
    _key("accuracy_id"),
    CheckConstraint("(part = 'whole') = (circuit_key IS NULL)", name="circuit"),
)  # fmt: skip

circuit_test = _table(
    "circuit_test",
    _of_cell(), _text("name"), _real("value"), _real("low"), _real("high"), _real("se"), _integer("n_pairs"),
    _integer("n_clusters"), *_one_of("ranking_rule", "absolute", "signed", "none"),
    *_one_of("direction", "higher", "lower"), _text("unit"), _text("reason"), _text("flags_json"),
    _text("settings_json"), _text("measured_at"), _key("key", "name"),
)  # fmt: skip

suite = _table(
    "suite",
    _text("suite_id"), _text("name"), _text("version"), _text("title"), _text("created_at"), _key("suite_id"),
)  # fmt: skip
suite_cell = _table(
    "suite_cell",
    _text("suite_id", ForeignKey("suite.suite_id", ondelete="CASCADE")), _text("question"), _integer("seed"),
    _text("task_id", ForeignKey("task.task_id")), _text("model_id", ForeignKey("model.model_id")),
    _text("granularity"), _text("ablation"), _real("weight", null=False), _key("suite_id", "question", "seed"),
)  # fmt: skip
board = _table(
    "board",
    _text("board_id"), _text("suite_id", ForeignKey("suite.suite_id")), _text("granularity"), _text("ablation"),
    _text("score"), *_one_of("direction", "higher", "lower"), _integer("scoring_version"),
    _integer("results_revision"), _text("computed_at"), _key("board_id"),
    UniqueConstraint("suite_id", "granularity", "ablation", "score"),
)  # fmt: skip
board_row = _table(
    "board_row",
    _text("board_id", ForeignKey("board.board_id", ondelete="CASCADE")),
    _text("entry_id", ForeignKey("entry.entry_id")), *_flag("complete"), _integer("done"), _integer("required"),
    _real("value"), _real("low"), _real("high"), _integer("rank_low", null=True), _integer("rank_high", null=True),
    _text("tied_with_json"), _key("board_id", "entry_id"),
)  # fmt: skip

for _columns in (
    (cell.c.status, cell.c.finished_at),
    (cell.c.entry_id, cell.c.status),
    (cell.c.task_id, cell.c.model_id, cell.c.granularity, cell.c.ablation, cell.c.status),
    (cell.c.model_id, cell.c.status),
    (cell.c.question, cell.c.seed, cell.c.status),
    (cell.c.scoring_version,),
    (cell.c.wall_score_s, cell.c.key),
    (cell.c.finished_at, cell.c.key),
    (cell.c.localization_key,),
    (score.c.name, score.c.value, score.c.key),
    (board_row.c.board_id, board_row.c.rank_low),
    (accuracy.c.model_id, accuracy.c.task_id),
):
    Index(None, *_columns)
