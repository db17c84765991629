"""Known circuits as rows; only scoring and the leaderboard read them, never a method."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from arithloc.benchmark.api.errors import StorageError, quoted
from arithloc.benchmark.storage import keys, schema, writing
from arithloc.benchmark.storage.artifacts import Artifacts
from arithloc.benchmark.storage.cellrows import Row, artifact_row, model_row
from arithloc.benchmark.storage.records import ModelRecord
from arithloc.benchmark.storage.text import canonical_json


def put_truth(connection: Connection, files: Artifacts, model: ModelRecord, document: Mapping[str, Any]) -> str:
    """Stores the truth document of a model, once; returns its `truth_id`.

    Args:
        connection: inside a writing transaction.
        files: where the document goes whole.
        model: whose circuit it is.
        document: as `docs/ground-truth.md` describes; `nodes`, `edges` and `neurons` become rows.

    Raises:
        StorageError: a required key is missing.
    """
    artifact = files.put_document(document, "truth")
    row = _truth_row(model, document, artifact.sha256)
    known = connection.scalar(select(schema.truth.c.truth_id).where(schema.truth.c.truth_id == row["truth_id"]))
    if known is None:
        components = [{"truth_id": row["truth_id"], **component} for component in _components(document)]
        entries = writing.insert_identity(
            connection, [model_row(model), ("artifact", artifact_row(artifact)), ("truth", row)]
        )
        if components:
            connection.execute(insert(schema.truth_component), components)
        writing.raise_revision(connection, entries)
    return str(row["truth_id"])


def _truth_row(model: ModelRecord, document: Mapping[str, Any], sha256: str) -> Row:
    model_id = keys.model_id(model)
    return {
        "truth_id": keys.short_hash([model_id, sha256]),
        "name": str(_need(document, "id", "the document")),
        "model_id": model_id,
        "tier": str(_need(document, "tier", "the document")),
        "stressors_json": canonical_json(document.get("stressors", [])),
        "ablation": str(document.get("ablation", "counterfactual")),
        "tolerance_json": canonical_json(document.get("tolerance", {})),
        "certificates_json": canonical_json(document.get("certificates", [])),
        "document_sha256": sha256,
    }


def _components(document: Mapping[str, Any]) -> Iterator[Row]:
    for node in document.get("nodes") or []:
        head = node.get("head")
        effect = (node.get("effect") or {}).get("resample") or {}
        yield {
            "kind": "node",
            "name": _need(node, "id", "a node"),
            "layer": node.get("layer"),
            "slot": "mlp" if head is None else str(head),
            "role": node.get("role") or "",
            "label": _need(node, "label", "a node"),
            "flip_rate": effect.get("flip"),
        }
    for neuron in document.get("neurons") or []:
        yield {
            "kind": "neuron",
            "name": _need(neuron, "id", "a neuron"),
            "layer": int(neuron["id"].partition(".")[0].removeprefix("m")),
            "slot": "mlp",
            "role": neuron.get("role") or "",
            "label": _need(neuron, "label", "a neuron"),
            "flip_rate": None,
        }
    for edge in document.get("edges") or []:
        slot = edge.get("slot") or ""
        name = f"{_need(edge, 'sender', 'an edge')}->{_need(edge, 'receiver', 'an edge')}"
        yield {
            "kind": "edge",
            "name": f"{name}<{slot}>" if slot else name,
            "layer": None,
            "slot": slot,
            "role": edge.get("role") or "",
            "label": _need(edge, "label", "an edge"),
            "flip_rate": edge.get("flip"),
        }


def _need(part: Mapping[str, Any], name: str, whole: str) -> Any:
    if name not in part:
        raise StorageError(
            f"Expected the key {name!r} in {whole} of a truth file, found {quoted(sorted(part))}. Correct the truth file."
        )
    return part[name]
