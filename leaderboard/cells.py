"""Queries about entries and their cells: scores, curves, attempts, provenance. No Streamlit."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Select, select

from arithloc.benchmark.api import Granularity
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.circuit_tests import circuit_tests
from arithloc.benchmark.storage.repository import Repository
from arithloc.leaderboard.text import plain

GRANULARITIES = (Granularity.NODE, Granularity.EDGE, Granularity.NEURON, Granularity.LAYER)
"""In the order in which they are offered."""

UNNAMED_SUITE = "custom"
"""Name of the suites that a grid of the command line makes; `--suite` does not take it."""

MAX_CURVES = 8
"""More curves than this cannot be told apart."""


@dataclass(frozen=True)
class Entry:
    """A method with its options, as it stands on the board."""

    entry_id: str
    label: str
    """The given title, or the method's name with what tells it from others of that name."""
    kind: str
    method: str
    version: str
    distribution: str
    source_hash: str
    options: Mapping[str, Any]
    granularities: tuple[str, ...]
    access: str
    summary: str
    reference: str
    sanity: bool
    created_at: str

    @property
    def argument(self) -> str:
        """What `bench evaluate --method` takes for it."""
        return with_options(self.method, self.options)


def with_options(name: str, options: Mapping[str, Any]) -> str:
    """A name with its options, as the command line takes them.

    >>> with_options("cna", {"top": 5, "modes": ["a", "b"]})
    'cna[modes=a b,top=5]'
    """

    def text(value: Any) -> str:
        if isinstance(value, bool | None):
            return str(value).lower()
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    inner = ",".join(f"{key}={text(value)}" for key, value in sorted(options.items()))
    return f"{name}[{inner}]" if inner else name


def entries(results: Repository) -> dict[str, Entry]:
    """All entries by id."""
    e, m = schema.entry.c, schema.method.c
    columns = (
        e.entry_id, e.title, e.kind, e.options_json, e.created_at, m.name, m.version, m.distribution, m.source_hash,
        m.granularities, m.access, m.summary, m.reference, m.sanity,
    )  # fmt: skip
    query = select(*columns).join_from(schema.entry, schema.method).order_by(e.entry_id)
    with results.reading() as connection:
        rows = connection.execute(query).all()
    options = {row.entry_id: json.loads(row.options_json) for row in rows}
    names = _told_apart(
        [
            (
                row.entry_id,
                row.name,
                {
                    **options[row.entry_id],
                    "version": row.version,
                    "distribution": row.distribution,
                    "source": row.source_hash[:8],
                },
            )
            for row in rows
        ]
    )
    given = {row.entry_id for row in rows if row.title != row.name and not row.title.startswith(f"{row.name}[")}
    return {
        row.entry_id: Entry(
            entry_id=row.entry_id, label=plain(row.title) if row.entry_id in given else names[row.entry_id],
            kind=row.kind, method=plain(row.name), version=row.version, distribution=row.distribution,
            source_hash=row.source_hash, options=options[row.entry_id], granularities=tuple(row.granularities.split()),
            access=row.access, summary=row.summary, reference=row.reference, sanity=bool(row.sanity),
            created_at=row.created_at,
        )
        for row in rows
    }  # fmt: skip


def labels(results: Repository) -> tuple[dict[str, str], dict[str, str]]:
    """Names of tasks and of models by id; where a name stands for several, what tells them apart is added."""
    t, m = schema.task.c, schema.model.c
    with results.reading() as connection:
        tasks = connection.execute(select(t.task_id, t.name, t.version, t.options_json)).all()
        models = connection.execute(select(m.model_id, m.name, m.revision)).all()
    named_tasks = [(row.task_id, row.name, {**json.loads(row.options_json), "version": row.version}) for row in tasks]
    named_models = [(row.model_id, row.name, {"revision": row.revision[:8]}) for row in models]
    return _told_apart(named_tasks), _told_apart(named_models)


def _told_apart(rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for identifier, name, details in rows:
        others = [other for _, same, other in rows if same == name]
        differing = {k: v for k, v in details.items() if any(other.get(k) != v for other in others)}
        names[identifier] = plain(with_options(name, differing))
    return names


def questions(results: Repository) -> pd.DataFrame:
    """Every task, model, granularity and ablation with a finished cell, and the task's summary."""
    c = schema.cell.c
    query = (
        select(c.task_id, c.model_id, c.granularity, c.ablation, schema.task.c.summary)
        .join_from(schema.cell, schema.task)
        .where(c.status == "ok")
        .distinct()
    )
    tasks, models = labels(results)
    frame = frame_of(results, query)
    frame = frame.assign(task=frame["task_id"].map(tasks), model=frame["model_id"].map(models))
    return _ordered(frame, ["task", "model", "granularity", "ablation"])


def cells_of_entry(results: Repository, entry_id: str) -> pd.DataFrame:
    """All cells of an entry, failed ones included; one row each, with task and model by label."""
    return _cells(results, schema.cell.c.entry_id == entry_id)


def cells_of_task(results: Repository, task_id: str, model_id: str, granularity: str, ablation: str) -> pd.DataFrame:
    """All cells of one task on one model, failed ones included."""
    c = schema.cell.c
    return _cells(
        results, c.task_id == task_id, c.model_id == model_id, c.granularity == granularity, c.ablation == ablation
    )


def _cells(results: Repository, *conditions: ColumnElement[bool]) -> pd.DataFrame:
    c = schema.cell.c
    columns = (
        c.key, c.entry_id, c.question, c.task_id, c.model_id, c.granularity, c.positions_json, c.ablation, c.metric,
        c.seed, c.status, c.error_type, c.error_message, c.attempts, c.n_evaluation, c.wall_localize_s, c.wall_score_s,
        c.forward_equivalents, c.peak_host_bytes, c.peak_device_bytes, c.finished_at,
    )  # fmt: skip
    frame = frame_of(results, select(*columns).where(*conditions))
    tasks, models = labels(results)
    names = {entry_id: entry.label for entry_id, entry in entries(results).items()}
    frame = frame.assign(
        task=frame["task_id"].map(tasks), model=frame["model_id"].map(models), entry=frame["entry_id"].map(names)
    )
    return _ordered(frame, ["model", "task", "granularity", "ablation", "positions_json", "entry", "seed", "key"])


def _ordered(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Rows by some columns; granularities come in the order in which boards are read, nodes first."""
    ranks = frame["granularity"].map({name: place for place, name in enumerate(GRANULARITIES)})
    return (
        frame.assign(granularity=ranks)
        .sort_values(by, ignore_index=True)
        .assign(granularity=lambda f: f["granularity"].map(dict(enumerate(GRANULARITIES))))
    )


def scores_of(results: Repository, keys: Sequence[str]) -> pd.DataFrame:
    """All scores of some cells, one row per cell and score."""
    return frame_of(results, select(schema.score).where(schema.score.c.key.in_(keys)))


def circuit_tests_of(results: Repository, key: str) -> pd.DataFrame:
    """Tests of the circuit of one cell, one row each; none where it was not audited."""
    with results.reading() as connection:
        tests = circuit_tests(connection, key)
    columns = ["name", "value", "low", "high", "n", "direction", "remark"]
    rows = () if tests is None else tests.records
    return pd.DataFrame(
        [
            (
                r.name,
                r.value,
                r.low,
                r.high,
                r.n_clusters or r.n_pairs,
                r.direction.value,
                ", ".join((r.reason, *r.flags)),
            )
            for r in rows
        ],
        columns=columns,
    )


def curves(results: Repository, keys: Sequence[str], curve: str = "kept") -> pd.DataFrame:
    """Curve points of at most `MAX_CURVES` cells, ordered by absolute score, sizes increasing."""
    p = schema.curve_point.c
    query = (
        select(p.key, p.i, p.n_components, p.size, p.m, p.f, p.f_low, p.f_high, p.accuracy, p.kl)
        .where(p.key.in_(keys[:MAX_CURVES]), p.curve == curve, p.ranking_rule == "absolute", p.size > 0)
        .order_by(p.key, p.size, p.i)
    )
    return frame_of(results, query)


def attempts(results: Repository, keys: Sequence[str]) -> pd.DataFrame:
    """All tries at some cells, newest first."""
    a = schema.attempt.c
    return frame_of(results, select(schema.attempt).where(a.key.in_(keys)).order_by(a.finished_at.desc(), a.key))


def provenance(results: Repository, key: str) -> dict[str, dict[str, str]]:
    """What a cell's numbers come from: fields by group, as text."""
    c = schema.cell
    query = (
        select(
            c, schema.environment, schema.model.c.revision, schema.model.c.weights_hash, schema.task.c.version,
            schema.task.c.options_json,
        )
        .join_from(c, schema.environment).join(schema.model).join(schema.task)
        .where(c.c.key == key)
    )  # fmt: skip
    with results.reading() as connection:
        row = connection.execute(query).one()._mapping
        data = {
            r.data_hash: f"{r.n_pairs:,} pairs in {r.n_clusters:,} clusters ({r.split}), {r.data_hash[:16]}"
            for r in connection.execute(
                select(schema.dataset).where(
                    schema.dataset.c.data_hash.in_((row["discovery_hash"], row["evaluation_hash"]))
                )
            )
        }
    packages = json.loads(row["packages_json"])
    dirty = " with uncommitted changes" if row["code_dirty"] else ""
    return {
        "Code": {
            "arithloc": row["code_version"],
            "commit": (row["code_commit"] or "not recorded") + dirty,
            "packages": ", ".join(f"{name} {version}" for name, version in sorted(packages.items())),
            "versions": f"engine {row['engine_version']}, scoring {row['scoring_version']}",
        },
        "Inputs": {
            "model revision": row["revision"],
            "weights": row["weights_hash"],
            "task": f"version {row['version']}, options {row['options_json']}",
            "discovery": data.get(row["discovery_hash"], row["discovery_hash"]),
            "evaluation": data.get(row["evaluation_hash"], row["evaluation_hash"]),
            **_kinds(json.loads(row["options_json"]), json.loads(row["spec_json"])),
            "seed": str(row["seed"]),
            "metric": row["metric"],
        },
        "Machine": {
            "python": row["python"],
            "system": row["os"],
            "processor": row["cpu"],
            "accelerator": row["gpu"] or "none",
            "device": row["device"],
            "dtype": row["dtype"],
            "attention": row["attention"],
            "executor": row["executor"],
        },
        "Run": {
            "started": row["started_at"],
            "ended": row["finished_at"],
            "cell": row["key"],
            "result digest": row["result_digest"] or "none",
        },
    }


def _kinds(options: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, str]:
    """Counterfactual kinds of both splits, where the task has kinds, and the commitment of a private split."""
    private = {"private seed": str(spec["private_commitment"])} if "private_commitment" in spec else {}
    if "kind" not in options:
        return private
    own = str(options["kind"])
    shown = f"{_discovery_kind(spec).get('discovery_kind', own)} (discovery), {own} (test)"
    return {"counterfactuals": shown, **private}


def _discovery_kind(spec: Mapping[str, Any]) -> dict[str, str]:
    """The discovery kind as a task's option, empty where it is that of the test pairs."""
    return {name: spec[name] for name in ("discovery_kind",) if name in spec}


def command(results: Repository, key: str, argument: str) -> str:
    """The command that runs one cell again; `bench show` has it with every number of pairs and draws.

    Args:
        results: the database.
        key: the cell.
        argument: what `--method` takes for its entry.
    """
    c, t, part = schema.cell.c, schema.task.c, schema.suite_cell.c
    query = (
        select(
            c.granularity, c.ablation, c.seed, c.dtype, c.question, c.n_evaluation, c.spec_json, t.name, t.options_json,
            schema.model.c.name.label("model"),
        )
        .join_from(schema.cell, schema.task)
        .join(schema.model, c.model_id == schema.model.c.model_id)
        .where(c.key == key)
    )  # fmt: skip
    with results.reading() as connection:
        row = connection.execute(query).one()
        named = (
            select(schema.suite.c.name)
            .join_from(schema.suite, schema.suite_cell)
            .where(part.question == row.question, part.seed == row.seed, schema.suite.c.name != UNNAMED_SUITE)
            .order_by(schema.suite.c.created_at)
        )
        suite = connection.scalars(named).first()
    words = {
        **({"limit": str(row.n_evaluation)} if suite is None else {"suite": suite}),
        "method": argument,
        "task": with_options(row.name, json.loads(row.options_json) | _discovery_kind(json.loads(row.spec_json))),
        "model": row.model,
        "granularity": row.granularity,
        "ablation": row.ablation,
        "seed": str(row.seed),
        "dtype": row.dtype,
    }
    private = ["--private"] if "private_commitment" in json.loads(row.spec_json) else []
    return " ".join(["bench evaluate", *(f"--{name} {shlex.quote(value)}" for name, value in words.items()), *private])


def frame_of(results: Repository, query: Select[Any]) -> pd.DataFrame:
    """The rows of a query; its columns are there even where it has no rows."""
    with results.reading() as connection:
        result = connection.execute(query)
        return pd.DataFrame(result.all(), columns=list(result.keys()))
