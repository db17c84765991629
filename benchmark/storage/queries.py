"""Cells as a person wants to read them: a filtered list, and one cell with all that is known of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from arithloc.benchmark.api.errors import UnknownName, UsageError, quoted
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.artifacts import Artifacts
from arithloc.benchmark.storage.records import Direction, RankingRule, ScoreRecord, Status

_CHUNK = 500


@dataclass(frozen=True)
class CellFilter:
    """Which cells; an empty field does not restrict.

    Attributes:
        keys: keys of cells.
        methods: names of methods.
        tasks: names of tasks.
        models: names of models.
        granularities: stored text of granularities.
        ablations: stored text of ablations.
        statuses: how they ended.
    """

    keys: Sequence[str] = ()
    methods: Sequence[str] = ()
    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    granularities: Sequence[str] = ()
    ablations: Sequence[str] = ()
    statuses: Sequence[Status] = ()


@dataclass(frozen=True)
class CellSummary:
    """One cell with its scores."""

    key: str
    entry_id: str
    title: str
    sanity: bool
    method: str
    task: str
    task_options: Mapping[str, Any]
    model: str
    granularity: str
    positions: tuple[str, ...]
    ablation: str
    seed: int
    dtype: str
    status: Status
    error_type: str
    error_message: str
    note: str
    finished_at: str
    wall_localize_s: float | None
    wall_score_s: float | None
    forward_equivalents: float | None
    scores: Mapping[str, ScoreRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class CellView:
    """All that is known of one cell: rows by table, JSON columns read and named without `_json`."""

    cell: Mapping[str, Any]
    entry: Mapping[str, Any]
    method: Mapping[str, Any]
    task: Mapping[str, Any]
    model: Mapping[str, Any]
    environment: Mapping[str, Any]
    scores: tuple[ScoreRecord, ...]
    attempts: tuple[Mapping[str, Any], ...]
    artifacts: Mapping[str, Path]


def cells(connection: Connection, wanted: CellFilter) -> list[CellSummary]:
    """Cells that fit a filter, by method, task, model, granularity, ablation and seed."""
    if not wanted.keys:
        rows = _summaries(connection, _conditions(wanted))
    else:
        rows = []
        for start in range(0, len(wanted.keys), _CHUNK):
            some = schema.cell.c.key.in_(wanted.keys[start : start + _CHUNK])
            rows += _summaries(connection, [*_conditions(wanted), some])
    scores = _scores(connection, [row["key"] for row in rows])
    found = [
        CellSummary(
            **{
                **row,
                "sanity": bool(row["sanity"]),
                "task_options": json.loads(row["task_options"]),
                "positions": tuple(json.loads(row["positions"])),
                "status": Status(row["status"]),
                "scores": scores.get(row["key"], {}),
            }
        )
        for row in rows
    ]
    return sorted(found, key=lambda c: (c.title, c.entry_id, c.task, c.model, c.granularity, c.ablation, c.seed, c.key))


def show(connection: Connection, files: Artifacts, prefix: str) -> CellView:
    """The one cell whose key starts with `prefix`.

    Raises:
        UsageError: fewer than four characters, not hexadecimal, or several such cells.
        UnknownName: no such cell.
    """
    if len(prefix) < 4 or not set(prefix) <= set("0123456789abcdef"):
        raise UsageError(
            f"Expected at least four hexadecimal digits of a cell's key, found {quoted(prefix)}. "
            "'bench evaluate --json' and the leaderboard give whole keys."
        )
    cell = schema.cell
    matching = select(cell).where(cell.c.key >= prefix, cell.c.key <= prefix + "g").order_by(cell.c.key).limit(3)
    found = connection.execute(matching).mappings().all()
    if not found:
        some = connection.scalars(select(cell.c.key).order_by(cell.c.finished_at.desc()).limit(1000))
        raise UnknownName.among("cell", prefix, [key[: max(len(prefix), 8)] for key in some][:5])
    if len(found) > 1:
        raise UsageError(f"Several cells have keys that start with {quoted(prefix)}. Give more digits.")
    row = found[0]
    key = row["key"]
    entry = _one(connection, schema.entry, row["entry_id"])
    attempts = connection.execute(
        select(schema.attempt).where(schema.attempt.c.key == key).order_by(schema.attempt.c.number)
    ).mappings()
    links = connection.execute(
        select(schema.cell_artifact.c.role, schema.artifact.c.sha256, schema.artifact.c.media_type)
        .join_from(schema.cell_artifact, schema.artifact)
        .where(schema.cell_artifact.c.key == key)
    ).all()
    return CellView(
        cell=_read(dict(row)),
        entry=entry,
        method=_one(connection, schema.method, entry["method_id"]),
        task=_one(connection, schema.task, row["task_id"]),
        model=_one(connection, schema.model, row["model_id"]),
        environment=_one(connection, schema.environment, row["env_hash"]),
        scores=tuple(_scores(connection, [key]).get(key, {}).values()),
        attempts=tuple(dict(attempt) for attempt in attempts),
        artifacts={role: files.path(sha256, media_type) for role, sha256, media_type in links},
    )


def score_record(row: Mapping[str, Any]) -> ScoreRecord:
    """A row of `score` as it was handed in."""
    return ScoreRecord(
        name=row["name"],
        value=row["value"],
        low=row["low"],
        high=row["high"],
        se=row["se"],
        n_pairs=row["n_pairs"],
        n_clusters=row["n_clusters"],
        ranking_rule=RankingRule(row["ranking_rule"]),
        direction=Direction(row["direction"]),
        unit=row["unit"],
        reason=row["reason"],
        flags=tuple(json.loads(row["flags_json"])),
    )


def _conditions(wanted: CellFilter) -> list[ColumnElement[bool]]:
    cell = schema.cell.c
    restricted = (
        (schema.method.c.name, wanted.methods),
        (schema.task.c.name, wanted.tasks),
        (schema.model.c.name, wanted.models),
        (cell.granularity, wanted.granularities),
        (cell.ablation, wanted.ablations),
        (cell.status, [Status(status).value for status in wanted.statuses]),
    )
    return [column.in_(values) for column, values in restricted if values]


def _summaries(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> list[dict[str, Any]]:
    c, e, m, t = schema.cell.c, schema.entry.c, schema.method.c, schema.task.c
    query = (
        select(
            c.key, c.entry_id, e.title, m.sanity, m.name.label("method"), t.name.label("task"),
            t.options_json.label("task_options"), schema.model.c.name.label("model"), c.granularity,
            c.positions_json.label("positions"), c.ablation, c.seed, c.dtype, c.status, c.error_type, c.error_message,
            c.note, c.finished_at, c.wall_localize_s, c.wall_score_s, c.forward_equivalents,
        )
        .join_from(schema.cell, schema.entry, c.entry_id == e.entry_id)
        .join(schema.method, e.method_id == m.method_id)
        .join(schema.task, c.task_id == t.task_id)
        .join(schema.model, c.model_id == schema.model.c.model_id)
        .where(*conditions)
    )  # fmt: skip
    return [dict(row) for row in connection.execute(query).mappings()]


def _scores(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, ScoreRecord]]:
    scores: dict[str, dict[str, ScoreRecord]] = {}
    table = schema.score
    for start in range(0, len(keys), _CHUNK):
        some = table.c.key.in_(keys[start : start + _CHUNK])
        for row in connection.execute(select(table).where(some).order_by(table.c.key, table.c.name)).mappings():
            scores.setdefault(row["key"], {})[row["name"]] = score_record(dict(row))
    return scores


def _one(connection: Connection, table: Table, key: str) -> dict[str, Any]:
    (column,) = table.primary_key
    return _read(dict(connection.execute(select(table).where(column == key)).mappings().one()))


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix("_json"): json.loads(value) if name.endswith("_json") else value
        for name, value in row.items()
    }
