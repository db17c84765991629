"""One cell as rows: everything that can be prepared before a transaction begins."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import Double, Table

from arithloc.benchmark.storage import keys, schema
from arithloc.benchmark.storage.artifacts import Artifact, Artifacts
from arithloc.benchmark.storage.digest import ResultRows, result_digest
from arithloc.benchmark.storage.records import (
    Attempt,
    CellResult,
    CellSpec,
    DatasetRecord,
    Environment,
    ModelRecord,
    Status,
    TaskRecord,
)
from arithloc.benchmark.storage.text import canonical_json, clean, cut, now

_COSTS = ("wall_localize_s", "wall_score_s", "forward_equivalents", "peak_host_bytes", "peak_device_bytes")
_WHOLE_COSTS = ("peak_host_bytes", "peak_device_bytes")

Row = dict[str, Any]


@dataclass(frozen=True)
class CellRows:
    """Rows of one cell by table.

    Attributes:
        identity: (table, row) of what the cell refers to, in the order in which they may be inserted.
        cell: the row of `cell`, without `attempts`.
        attempt: the row of `attempt`, without `number`.
        result: measured rows; None for a cell without result.
        replicates: rows of `replicate`.
        artifacts: rows of `cell_artifact`.
    """

    identity: list[tuple[str, Row]]
    cell: Row
    attempt: Row
    result: ResultRows | None
    replicates: list[Row]
    artifacts: list[Row]


def identity_rows(spec: CellSpec) -> list[tuple[str, Row]]:
    """Rows of the method, entry, task and model of a cell."""
    method = spec.method
    options = canonical_json(method.options)
    kind = {"arithloc": "builtin", "local": "local"}.get(method.distribution, "plugin")
    method_row = {
        "method_id": keys.method_id(method),
        "name": clean(method.name),
        "version": method.version,
        "distribution": method.distribution,
        "source_hash": method.source_hash,
        "granularities": " ".join(sorted(method.granularities)),
        "access": method.access,
        "summary": cut(method.summary),
        "reference": cut(method.reference),
        "sanity": int(method.sanity),
    }
    return [
        ("method", method_row),
        (
            "entry",
            {
                "entry_id": keys.entry_id(method),
                "title": cut(method.title or _title(method.name, method.options)),
                "kind": kind,
                "method_id": method_row["method_id"],
                "options_hash": keys.options_hash(method),
                "options_json": options,
                "created_at": now(),
            },
        ),
        task_row(spec.task),
        model_row(spec.model),
    ]


def model_row(model: ModelRecord) -> tuple[str, Row]:
    """Row of a subject model."""
    return "model", {"model_id": keys.model_id(model), **asdict(model), "is_toy": int(model.is_toy)}


def task_row(task: TaskRecord) -> tuple[str, Row]:
    """Row of a task with its options."""
    return (
        "task",
        {
            "task_id": keys.task_id(task),
            "name": clean(task.name),
            "version": task.version,
            "distribution": task.distribution,
            "options_json": canonical_json(task.options),
            "family": task.family,
            "control_for": task.control_for,
            "summary": cut(task.summary),
        },
    )


def environment_row(environment: Environment) -> tuple[str, Row]:
    """Row of an environment; its hash is that of all its fields."""
    row: Row = {
        "python": environment.python,
        "os": environment.os,
        "cpu": environment.cpu,
        "gpu": environment.gpu,
        "packages_json": canonical_json(environment.packages),
        "code_version": environment.code_version,
        "code_commit": environment.code_commit,
        "code_dirty": int(environment.code_dirty),
        "determinism_json": canonical_json(environment.determinism),
    }
    return "environment", {"env_hash": keys.short_hash(row), **row}


def cell_rows(
    spec: CellSpec, attempt: Attempt, result: CellResult | None, environment: Environment, files: Artifacts
) -> CellRows:
    """Prepares all rows of a cell and writes its files.

    Raises:
        ValueError: a result without status ok, or the other way round, or replicates of an unknown score.
        StorageError: a file cannot be written.
    """
    if (attempt.status is Status.OK) != (result is not None):
        raise ValueError(f"a cell has a result when its status is ok, and only then; found {attempt.status}")
    key = keys.cell_key(spec)
    environment_of = environment_row(environment)
    identity = [*identity_rows(spec), environment_of]
    ending = {
        "status": attempt.status.value,
        "error_type": cut(attempt.error_type),
        "error_message": cut(attempt.error_message),
        "device": attempt.device,
        "executor": attempt.executor,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
    }
    cell: Row = {
        "key": key,
        "localization_key": keys.localization_key(spec),
        "question": keys.question_key(spec),
        "entry_id": keys.entry_id(spec.method),
        "task_id": keys.task_id(spec.task),
        "model_id": keys.model_id(spec.model),
        "task_source_hash": spec.task.source_hash,
        "discovery_hash": spec.discovery_hash,
        "evaluation_hash": spec.evaluation_hash,
        "granularity": spec.granularity.value,
        "positions_json": canonical_json(spec.positions),
        "ablation": spec.ablation.value,
        **{name: getattr(spec, name) for name in ("metric", "seed", "dtype", "attention", "n_discovery")},
        **{name: getattr(spec, name) for name in ("n_evaluation", "n_draws", "n_sizes")},
        "engine_version": spec.engine_version,
        "scoring_version": spec.scoring_version,
        **ending,
        "note": "",
        "result_digest": None,
        "env_hash": environment_of[1]["env_hash"],
        "spec_json": keys.key_text(spec),
        **dict.fromkeys(_COSTS),
        **_data_columns("discovery", None),
        **_data_columns("evaluation", None),
    }
    attempt_row = {"key": key, **ending, "exit_code": attempt.exit_code}
    if result is None:
        return CellRows(identity, cell, attempt_row, None, [], [])
    measured = _result_rows(key, result)
    cell["result_digest"] = result_digest(measured)
    cell.update(_costs(result.costs))
    for split, data in (("discovery", result.discovery), ("evaluation", result.evaluation)):
        cell.update(_data_columns(split, data))
        identity.append(("dataset", _dataset_row(data)))
    links = []
    for role, artifact in _files(result, files).items():
        identity.append(("artifact", artifact_row(artifact)))
        links.append({"key": key, "role": role, "sha256": artifact.sha256})
    draws = f"{spec.evaluation_hash[:16]}-{spec.n_draws}"
    replicates = [
        {"key": key, "name": name, "n": len(values), "draws": draws, "data": values.astype("<f8").tobytes()}
        for name, values in measured.replicates.items()
    ]
    return CellRows(identity, cell, attempt_row, measured, replicates, links)


def artifact_row(artifact: Artifact) -> Row:
    """Row of a stored file."""
    row = asdict(artifact)
    row["bytes"] = row.pop("size")
    return row


def _title(name: str, options: dict[str, Any]) -> str:
    listed = ",".join(f"{field}={canonical_json(value).strip(chr(34))}" for field, value in sorted(options.items()))
    return f"{name}[{listed}]" if listed else name


def _result_rows(key: str, result: CellResult) -> ResultRows:
    scores = []
    for record in result.scores:
        row = {**asdict(record), "key": key, "ranking_rule": record.ranking_rule.value}
        flags = [*record.flags, *_plain_numbers(schema.score, row)]
        if row["value"] is None and not row["reason"]:
            row["reason"] = "not defined"
        del row["flags"]
        row |= {"direction": record.direction.value, "reason": cut(row["reason"]), "flags_json": canonical_json(flags)}
        scores.append(row)
    curve = [{**asdict(point), "key": key, "ranking_rule": point.ranking_rule.value} for point in result.curve]
    roc = [{**asdict(point), "key": key} for point in result.roc]
    for row in curve:
        _plain_numbers(schema.curve_point, row)
    for row in roc:
        _plain_numbers(schema.roc_point, row)
    names = {record.name for record in result.scores}
    if not names >= result.replicates.keys():
        raise ValueError(f"replicates without a score: {sorted(result.replicates.keys() - names)}")
    replicates = {name: np.asarray(values, np.float64) for name, values in sorted(result.replicates.items())}
    return ResultRows(scores, curve, roc, replicates)


def _plain_numbers(table: Table, row: Row) -> list[str]:
    """Makes numbers what the table's columns hold, None where they are not finite; returns what those were, as flags."""
    flags = []
    for name, value in row.items():
        if value is None or isinstance(value, str | tuple):
            continue
        kind = table.c[name].type
        row[name] = number = float(value) if isinstance(kind, Double) else int(value)
        if not math.isfinite(number):
            flags.append(f"{name}={number}")
            row[name] = None
    return flags


def _costs(costs: dict[str, float]) -> Row:
    unknown = costs.keys() - set(_COSTS)
    if unknown:
        raise ValueError(f"unknown costs: {sorted(unknown)}")
    return {name: int(value) if name in _WHOLE_COSTS else float(value) for name, value in costs.items()}


def _data_columns(split: str, data: DatasetRecord | None) -> Row:
    return {
        f"{split}_requested": None if data is None else data.requested,
        f"{split}_kept_fraction": None if data is None else data.kept_fraction,
    }


def _dataset_row(data: DatasetRecord) -> Row:
    return {name: getattr(data, name) for name in ("data_hash", "split", "n_pairs", "n_clusters")}


def _files(result: CellResult, files: Artifacts) -> dict[str, Artifact]:
    stored = {"scores": files.put_arrays({"scores": result.components.astype(np.float64)}, "scores")}
    if result.pair_values:
        clusters, index = np.unique(np.array(result.pair_clusters, dtype=str), return_inverse=True)
        arrays = {name: values.astype(np.float32) for name, values in result.pair_values.items()}
        arrays["cluster"] = index.astype(np.int64)
        stored["values"] = files.put_arrays(arrays, "values", clusters=clusters.tolist())
    return stored
