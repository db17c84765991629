"""Accuracies of a model, or of one with a circuit kept or removed, as lm-eval measured them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, inspect, select

from arithloc.benchmark.storage import keys, schema, writing
from arithloc.benchmark.storage.cellrows import environment_row, model_row, task_row
from arithloc.benchmark.storage.records import Environment, ModelRecord, TaskRecord
from arithloc.benchmark.storage.text import now


class Part(StrEnum):
    """What of the model was running."""

    WHOLE = "whole"
    """All of it."""
    KEPT = "kept"
    """The circuit; everything else was ablated."""
    REMOVED = "removed"
    """Everything but the circuit."""


@dataclass(frozen=True)
class Proportion:
    """A share with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CircuitRecord:
    """The circuit of a stored cell.

    Attributes:
        key: key of the cell.
        part: kept or removed.
        n_components: components of the circuit.
        size: its realised size.
    """

    key: str
    part: Part
    n_components: int
    size: float


@dataclass(frozen=True)
class DataRecord:
    """The pairs of one measurement.

    Attributes:
        data_hash: of the drawn pairs.
        split: part of the task.
        seed: sampling seed; None for a private draw.
        requested: pairs asked for.
        n_pairs: pairs scored.
        n_clusters: distinct clusters among them.
        n_left_out: drawn pairs that cannot be written as text for this tokenizer.
        private_commitment: SHA-256 of the secret seed; empty for a public draw.
        public_share: share of private pairs whose operands are also in a public split; None for a public draw.
    """

    data_hash: str
    split: str
    seed: int | None
    requested: int
    n_pairs: int
    n_clusters: int
    n_left_out: int
    private_commitment: str = ""
    public_share: float | None = None


@dataclass(frozen=True)
class AccuracyRecord:
    """One measurement.

    Attributes:
        model: the subject model.
        task: the task with its options.
        data: the pairs.
        dtype: floating-point type of the model.
        circuit: what of the model was running; None for all of it.
        acc: candidate-restricted accuracy: the answer's token leads among the candidates (lm-eval's `acc`).
        top: open-vocabulary accuracy: it leads among all tokens at the scored position.
        exact_match: greedy decoding writes it behind the prompt as lm-eval cuts it (lm-eval's `exact_match`): less than
            `top` where white space at the end of the prompt is a token of its own, which is then to be written too.
        lm_eval_version: of the package.
        engine_version: of our engine.
        device: where the model ran.
    """

    model: ModelRecord
    task: TaskRecord
    data: DataRecord
    dtype: str
    circuit: CircuitRecord | None
    acc: Proportion
    top: Proportion
    exact_match: Proportion
    lm_eval_version: str
    engine_version: int
    device: str


@dataclass(frozen=True)
class StoredAccuracy:
    """One row of the table, with the names of its model and task; fields are named as the columns."""

    accuracy_id: str
    model: str
    task: str
    task_options: str
    data_hash: str
    split: str
    private_commitment: str
    public_share: float | None
    n_pairs: int
    n_clusters: int
    n_left_out: int
    dtype: str
    part: str
    circuit_key: str | None
    n_components: int | None
    size: float | None
    acc: float
    acc_low: float
    acc_high: float
    top: float
    top_low: float
    top_high: float
    exact_match: float
    exact_match_low: float
    exact_match_high: float
    lm_eval_version: str
    measured_at: str


def accuracy_id(record: AccuracyRecord) -> str:
    """Id of a measurement: hash of what was asked, not of the answer."""
    circuit = record.circuit
    asked = [keys.model_id(record.model), keys.task_id(record.task), record.data.data_hash, record.dtype]
    part = [circuit.key, circuit.part.value, circuit.n_components] if circuit else []
    return keys.short_hash([*asked, *part, record.engine_version])


def put_accuracy(connection: Connection, record: AccuracyRecord, environment: Environment) -> str:
    """Stores a measurement in place of an earlier one of the same question; returns its id.

    Args:
        connection: inside a writing transaction.
        record: what was measured.
        environment: where.
    """
    place = environment_row(environment)
    writing.insert_identity(connection, [model_row(record.model), task_row(record.task), place])
    data, circuit = record.data, record.circuit
    row: dict[str, Any] = {
        "accuracy_id": accuracy_id(record),
        "model_id": keys.model_id(record.model),
        "task_id": keys.task_id(record.task),
        **{field.name: getattr(data, field.name) for field in fields(data)},
        "dtype": record.dtype,
        "part": (circuit.part if circuit else Part.WHOLE).value,
        "circuit_key": circuit.key if circuit else None,
        "n_components": circuit.n_components if circuit else None,
        "size": circuit.size if circuit else None,
        "lm_eval_version": record.lm_eval_version,
        "engine_version": record.engine_version,
        "env_hash": place[1]["env_hash"],
        "device": record.device,
        "measured_at": now(),
    }
    for name, share in (("acc", record.acc), ("top", record.top), ("exact_match", record.exact_match)):
        row |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
    table = schema.accuracy
    connection.execute(delete(table).where(table.c.accuracy_id == row["accuracy_id"]))
    connection.execute(insert(table).values(**row))
    writing.raise_revision(connection)
    return str(row["accuracy_id"])


def accuracies(connection: Connection, ids: Sequence[str] | None = None) -> list[StoredAccuracy]:
    """Stored measurements by model, task and circuit; all of them, or those with the given ids."""
    if not inspect(connection).has_table(schema.accuracy.name):  # a database of an older arithloc
        return []
    a, own = schema.accuracy.c, {"model", "task", "task_options"}
    names = [a[field.name] for field in fields(StoredAccuracy) if field.name not in own]
    query = (
        select(
            *names, schema.model.c.name.label("model"), schema.task.c.name.label("task"),
            schema.task.c.options_json.label("task_options"),
        )
        .join_from(schema.accuracy, schema.model, a.model_id == schema.model.c.model_id)
        .join(schema.task, a.task_id == schema.task.c.task_id)
    )  # fmt: skip
    if ids is not None:
        query = query.where(a.accuracy_id.in_(list(ids)))
    found = [StoredAccuracy(**row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda row: (row.model, row.task, row.task_options, row.circuit_key or "", row.part))
