"""Prompt pairs as a `datasets.Dataset` and as a Parquet file that says where they come from."""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from arithloc.benchmark.api import PromptPair, data_hash
from arithloc.benchmark.api.errors import MissingExtra, UsageError, quoted
from arithloc.benchmark.storage.atomic import atomic_write
from arithloc.benchmark.storage.text import canonical_json
from arithloc.benchmark.taskdata.rows import pair_of, row_of

NOTES = b"arithloc"
"""Key of our document in the metadata of a Parquet file."""
_WHOLE, _TEXT = "int64", "string"


def to_dataset(pairs: Iterable[PromptPair]) -> Any:
    """The pairs as a `datasets.Dataset`, one row each, columns named as the fields of `PromptPair`.

    Raises:
        MissingExtra: the package datasets is not installed.
    """
    datasets = datasets_library()
    features, rows = _features(datasets), [row_of(pair) for pair in pairs]
    return datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


def from_dataset(dataset: Iterable[Mapping[str, Any]]) -> tuple[PromptPair, ...]:
    """The pairs of a dataset that `to_dataset` made, whole or filtered, from memory or from a file."""
    return tuple(pair_of(row) for row in dataset)


def write_parquet(pairs: Iterable[PromptPair], target: Path, about: Mapping[str, Any]) -> str:
    """Writes pairs to a Parquet file, which is replaced whole or left as it was; returns their `data_hash`.

    Args:
        pairs: rows of the file.
        target: the file.
        about: JSON values that say how they were drawn; stored with the hash in the metadata of the file.

    Raises:
        MissingExtra: the package datasets is not installed.
        StorageError: the file cannot be written.
    """
    pairs = tuple(pairs)
    dataset = to_dataset(pairs)
    import pyarrow.parquet

    digest = data_hash(pairs)
    notes = canonical_json({**about, "data_hash": digest})
    known = dataset.features.arrow_schema.metadata  # how `datasets` types the columns when it reads the file
    table = dataset.data.table.replace_schema_metadata({**known, NOTES: notes.encode()})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    atomic_write(target, buffer.getvalue(), target.parent)
    return digest


def read_parquet(file: Path) -> tuple[tuple[PromptPair, ...], dict[str, Any]]:
    """Pairs of a file that `write_parquet` wrote, and what it says about them.

    Raises:
        MissingExtra: the package datasets is not installed.
        UsageError: another file, or its pairs do not have the hash that it names.
    """
    datasets_library()
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"Expected a Parquet file at {quoted(str(file))}, but it cannot be read. {_AGAIN}") from error
    notes = (table.schema.metadata or {}).get(NOTES)
    if notes is None:
        raise UsageError(f"Expected pairs of a task in {quoted(str(file))}, found another Parquet file. {_AGAIN}")
    about: dict[str, Any] = json.loads(notes)
    pairs = from_dataset(table.to_pylist())
    if data_hash(pairs) != about["data_hash"]:
        raise UsageError(
            f"Expected pairs with the hash {about['data_hash'][:12]} in {quoted(str(file))}, found other pairs. {_AGAIN}"
        )
    return pairs, about


_AGAIN = "Write it again with 'bench tasks export'."


def datasets_library() -> Any:
    """The package datasets.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingExtra.named("datasets", "Prompt pairs as a dataset") from error
    return datasets


def _features(datasets: Any) -> Any:
    """Type of every column."""
    value, listed = datasets.Value, datasets.List
    texts = ("task", "frame", "operator", "kind", "clean", "counterfactual", "answer", "answer_cf", "cluster", "split")
    ids = ("clean_ids", "counterfactual_ids", "answer_ids", "answer_cf_ids", "candidates")
    return datasets.Features(
        {
            **{name: value(_TEXT) for name in texts},
            **{name: listed(value(_WHOLE)) for name in ids},
            "classes": listed(value(_TEXT)),
            "first_diff": value(_WHOLE),
            "strata": listed({"tag": value(_TEXT), "value": value(_TEXT)}),
            "index": value(_WHOLE),
            "answer_cf_is_foil": value("bool"),
        }
    )
