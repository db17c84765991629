"""Content hashes: of a cell, of the parts of it that can be reused, and of the rows that identify things.

What is in a cell's key determines its result; device, batch size, executor, time limit, names for display and the
code's commit are not in it. A change of code that may change results raises `engine_version` or `scoring_version`.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from arithloc.benchmark.storage.records import CellSpec, MethodRecord, ModelRecord, TaskRecord
from arithloc.benchmark.storage.text import canonical_json

_CELL = "arithloc-cell-v1\n"
_LOCALIZATION = "arithloc-localization-v1\n"
_QUESTION = "arithloc-question-v1\n"
_SCORING = ("evaluation_hash", "n_evaluation", "n_draws", "n_sizes", "scoring_version", "private_commitment")
_WHERE_USED = ("discovery_kind", "private_commitment")
"""Fields that are in the key only where they are not empty."""


def cell_key(spec: CellSpec) -> str:
    """Key of a cell: 64 hex digits of the SHA-256 of `key_text(spec)`.

    Raises:
        ValueError: an option that is not a JSON value, or not finite.
    """
    return key_of_text(key_text(spec))


def key_of_text(text: str) -> str:
    """Key of the cell whose `key_text` is `text`: what is stored can be checked against its key."""
    return _sha256(_CELL + text)


def key_text(spec: CellSpec) -> str:
    """Canonical JSON of everything that determines the result of a cell."""
    return canonical_json(_document(spec))


def localization_key(spec: CellSpec) -> str:
    """Hash of what determines the component scores: the key without evaluation data and scoring."""
    document = _document(spec)
    for name in _SCORING:
        document.pop(name, None)
    return _sha256(_LOCALIZATION + canonical_json(document))


def question_key(spec: CellSpec) -> str:
    """Hash of the key without method and seed: entries that answer the same question can be compared."""
    document = _document(spec)
    del document["method"], document["seed"]
    return _sha256(_QUESTION + canonical_json(document))


def method_id(method: MethodRecord) -> str:
    """Id of a method, whatever its options."""
    return short_hash({name: value for name, value in _method(method).items() if name != "options"})


def options_hash(method: MethodRecord) -> str:
    """Hash of a method's options."""
    return short_hash(method.options)


def entry_id(method: MethodRecord) -> str:
    """Id of an entry, usable in an address: the method's name and eight hex digits of its identity and options."""
    plain = unicodedata.normalize("NFKD", method.name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-") or "entry"
    return f"{slug}-{short_hash(_method(method))[:8]}"


def task_id(task: TaskRecord) -> str:
    """Id of a task with its options."""
    return short_hash(_task(task))


def model_id(model: ModelRecord) -> str:
    """Id of a subject model."""
    return short_hash(_model(model))


def short_hash(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of `value`."""
    return _sha256(canonical_json(value))[:16]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _document(spec: CellSpec) -> dict[str, Any]:
    return {
        "method": _method(spec.method),
        "task": _task(spec.task),
        "model": _model(spec.model),
        "discovery_hash": spec.discovery_hash,
        "evaluation_hash": spec.evaluation_hash,
        "granularity": spec.granularity,
        "positions": spec.positions,
        "ablation": spec.ablation,
        "metric": spec.metric,
        "seed": spec.seed,
        "dtype": spec.dtype,
        "attention": spec.attention,
        "n_discovery": spec.n_discovery,
        "n_evaluation": spec.n_evaluation,
        "n_draws": spec.n_draws,
        "n_sizes": spec.n_sizes,
        "engine_version": spec.engine_version,
        "scoring_version": spec.scoring_version,
        **{name: value for name in _WHERE_USED if (value := getattr(spec, name))},
    }


def _method(method: MethodRecord) -> Mapping[str, Any]:
    return {
        "distribution": method.distribution,
        "name": method.name,
        "version": method.version,
        "source_hash": method.source_hash,
        "options": method.options,
    }


def _task(task: TaskRecord) -> Mapping[str, Any]:
    return {
        "distribution": task.distribution,
        "name": task.name,
        "version": task.version,
        "options": task.options,
    }


def _model(model: ModelRecord) -> Mapping[str, Any]:
    return {
        "name": model.name,
        "revision": model.revision,
        "weights_hash": model.weights_hash,
        "config_hash": model.config_hash,
        "tokenizer_hash": model.tokenizer_hash,
    }
