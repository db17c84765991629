"""Tables of component scores, CSV or Parquet: the columns `component` and `score`; other columns are ignored."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api.errors import PrerequisiteError, UsageError, quoted

MAX_UNPACKED: Final = 2**31
"""Largest Parquet table in bytes, after decompression."""
MAX_ROWS: Final = 20_000_000
"""Most rows of one."""
_COLUMNS: Final = ("component", "score")


def read_csv(data: bytes, name: str) -> dict[str, float]:
    """Scores by component.

    Raises:
        UsageError: no such table.
    """
    return _unique(_csv_rows(data, name), name)


def read_parquet(data: bytes, name: str) -> dict[str, float]:
    """Scores by component.

    Raises:
        UsageError: no such table.
        PrerequisiteError: pyarrow is missing.
    """
    return _unique(_parquet_rows(data, name), name)


def csv_table(components: Sequence[str], scores: Float[ndarray, " comp"]) -> bytes:
    """A table of scores that are read back exactly."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((name, repr(float(value))) for name, value in zip(components, scores, strict=True))
    return text.getvalue().encode()


def parquet_table(components: Sequence[str], scores: Float[ndarray, " comp"]) -> bytes:
    """The same as Parquet.

    Raises:
        PrerequisiteError: pyarrow is missing.
    """
    arrow, parquet = _pyarrow()
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(dict(zip(_COLUMNS, (list(components), scores), strict=True))), buffer)
    return buffer.getvalue()


def _csv_rows(data: bytes, name: str) -> Iterator[tuple[str, float]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"Expected UTF-8 text in {quoted(name)}, found other bytes at {error.start}.") from None
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [cell.strip() for cell in next(rows, [])]
        _check_columns(header, name)
        component, score = header.index("component"), header.index("score")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise UsageError(
                    f"Expected {len(header)} values in line {rows.line_num} of {quoted(name)}, found {len(row)}."
                )
            yield row[component].strip(), _number(row[score], f"line {rows.line_num} of {quoted(name)}")
    except csv.Error as error:
        raise UsageError(f"Line {rows.line_num} of {quoted(name)} is no CSV: {error}.") from None


def _parquet_rows(data: bytes, name: str) -> Iterator[tuple[str, float]]:
    arrow, parquet = _pyarrow()
    try:
        _check_table(parquet.ParquetFile(io.BytesIO(data)), arrow, name)
        # as dictionaries, so that a text which a small file repeats a million times is held once
        file = parquet.ParquetFile(io.BytesIO(data), read_dictionary=list(_COLUMNS))
        row = 0
        for batch in file.iter_batches(columns=list(_COLUMNS)):
            for component, score in zip(*(_values(batch[column]) for column in _COLUMNS), strict=True):
                yield str(component), _number(score, f"row {row} of {quoted(name)}")
                row += 1
    except (arrow.ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{quoted(name)} is no Parquet table: {' '.join(str(error).split())[:150].rstrip('.')}."
        ) from None


def _check_table(file: Any, arrow: Any, name: str) -> None:
    schema, metadata = file.schema_arrow, file.metadata
    _check_columns(schema.names, name)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    unpacked = sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))
    if metadata.num_rows > MAX_ROWS or unpacked > MAX_UNPACKED:
        raise UsageError(
            f"Expected at most {MAX_ROWS:,} rows and {MAX_UNPACKED >> 20:,} MiB unpacked in {quoted(name)}, found "
            f"{metadata.num_rows:,} and {unpacked >> 20:,}."
        )
    for column in _COLUMNS:
        if arrow.types.is_nested(schema.field(column).type):
            raise UsageError(f"Expected one value per row in {column!r} of {quoted(name)}, found nested ones.")


def _values(column: Any) -> list[Any]:
    if not hasattr(column, "dictionary"):
        return list(column.to_pylist())
    words = column.dictionary.to_pylist()
    return [None if place is None else words[place] for place in column.indices.to_pylist()]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise PrerequisiteError("Parquet needs the Python package pyarrow. Install it: pip install pyarrow.") from None
    return pyarrow, pyarrow.parquet


def _check_columns(header: list[str], name: str) -> None:
    for column in _COLUMNS:
        if header.count(column) != 1:
            raise UsageError(
                f"Expected one column {column!r} in {quoted(name)}, found the columns {quoted(header)}. "
                "The first line names the columns: component,score."
            )


def _number(text: Any, where: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"Expected a finite number as score in {where}, found {quoted(text)}.")
    return value


def _unique(rows: Iterator[tuple[str, float]], name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for component, score in rows:
        if component in found:
            raise UsageError(f"Expected each component once in {quoted(name)}, found {quoted(component)} twice.")
        found[component] = score
    return found
