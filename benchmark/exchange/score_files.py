"""Component scores in files: read, checked and put in the order of a component space; written back.

Two kinds of files are known. A *table* (CSV or Parquet) has the columns `component` and `score`; other columns are
ignored. A *circuit file* (JSON) is what MIB and EAP-IG write, see `mib`. Nothing in a file is executed: no pickles.
"""

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.errors import BadScores, PrerequisiteError, UsageError, quoted
from arithloc.benchmark.api.scores import Scores
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.exchange.mib import CircuitFile, circuit_document, read_circuit

MAX_BYTES: Final = 512 * 2**20
"""Largest file that is read: the 1.6 million edges of an 8B model take about 130 MB as a circuit file."""
MAX_ROWS: Final = 20_000_000
"""Most components of a table."""

_KINDS: Final = (
    (re.compile(r"(input|a\d+\.h\d+|m\d+)->(logits|m\d+|a\d+\.h\d+<[qkv]>)"), Granularity.EDGE),
    (re.compile(r"m\d+\.n\d+"), Granularity.NEURON),
    (re.compile(r"a\d+\.h\d+"), Granularity.NODE),
    (re.compile(r"a\d+"), Granularity.LAYER),
)
_MLP = re.compile(r"m\d+")


class ScoreFormat(StrEnum):
    """How component scores are written."""

    CSV = "csv"
    """Columns `component`, `score`."""
    PARQUET = "parquet"
    """The same table."""
    MIB = "mib"
    """MIB's circuit JSON, edges or nodes."""


class Missing(StrEnum):
    """What to do with components that a file does not score."""

    REFUSE = "refuse"
    """An error that names the first of them."""
    ZERO = "zero"
    """They get the score 0: behind all others in the ranking by absolute score that circuits are built from."""


@dataclass(frozen=True)
class ScoreFile:
    """What a file says.

    Attributes:
        name: file name without folder.
        sha256: of the content.
        granularity: what its components are, read off their names.
        scores: score by component name.
        circuit: the circuit file that the scores come from, None for a table.
    """

    name: str
    sha256: str
    granularity: Granularity
    scores: Mapping[str, float]
    circuit: CircuitFile | None = None


def read_score_file(path: Path) -> ScoreFile:
    """Reads a file of component scores; its ending says what it is: .csv, .parquet or .json.

    Raises:
        UsageError: no such file, too large, another ending, or content that does not follow the format.
        PrerequisiteError: Parquet without pyarrow.
    """
    data = _content(path)
    circuit = None
    scores: Mapping[str, float]
    match path.suffix.lower():
        case ".csv":
            scores = _unique(_csv_rows(data, path.name), path.name)
        case ".parquet":
            scores = _unique(_parquet_rows(data, path.name), path.name)
        case ".json":
            circuit = read_circuit(data, path.name)
            scores = circuit.scores
        case _:
            raise UsageError(f"Expected a score file that ends in .csv, .parquet or .json, found {quoted(path.name)}.")
    if not scores:
        raise UsageError(f"Expected scores of components in {quoted(path.name)}, found none.")
    granularity = circuit.granularity if circuit else _granularity(scores, path.name)
    return ScoreFile(path.name, hashlib.sha256(data).hexdigest(), granularity, scores, circuit)


def content_hash(path: Path) -> str:
    """SHA-256 of a score file.

    Raises:
        UsageError: no such file, or too large.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def scores_of(file: ScoreFile, space: ComponentSpace, missing: Missing = Missing.REFUSE) -> Scores:
    """The scores of a file in the order of a component space.

    Raises:
        BadScores: another granularity or model, a component that the model lacks, or one without a score.
    """
    if file.granularity is not space.granularity:
        raise BadScores(
            f"Expected {space.granularity} scores, found {file.granularity} scores in {quoted(file.name)}. "
            f"Run it with --granularity {file.granularity}."
        )
    given = file.circuit.native(space.shape) if file.circuit else file.scores
    place = {name: i for i, name in enumerate(space.names)}
    unknown = [name for name in given if name not in place]
    if unknown:
        raise BadScores(
            f"Expected the components of this model (such as {space.name(0)}), found {quoted(unknown[0])} in "
            f"{quoted(file.name)} ({len(unknown)} of {len(given)} are unknown). Use the model that the file belongs to."
        )
    without = len(place) - len(given)
    if without and missing is Missing.REFUSE:
        first = next(name for name in space.names if name not in given)
        raise BadScores(
            f"Expected a score for each of the {len(place)} components, found none for {first} in {quoted(file.name)} "
            f"({without} are missing). Score them, or add --option imported.missing=zero."
        )
    values = np.zeros(len(space))
    values[[place[name] for name in given]] = list(given.values())
    return Scores.of(space, values)


def score_data(scores: Scores, form: ScoreFormat) -> bytes:
    """A file of component scores.

    Raises:
        UsageError: `mib` for components that MIB has no name for: blocks, hidden units, position classes.
        PrerequisiteError: Parquet without pyarrow.
    """
    space = scores.space
    match form:
        case ScoreFormat.MIB:
            return circuit_document(scores)
        case ScoreFormat.CSV:
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("component", "score"))
            writer.writerows((name, repr(float(value))) for name, value in zip(space.names, scores.values, strict=True))
            return text.getvalue().encode()
        case ScoreFormat.PARQUET:
            arrow, parquet = _pyarrow()
            buffer = io.BytesIO()
            parquet.write_table(arrow.table({"component": list(space.names), "score": scores.values}), buffer)
            return buffer.getvalue()


def _content(path: Path) -> bytes:
    path = path.expanduser()
    if not path.is_file():
        raise UsageError(f"Expected a score file at {quoted(str(path))}, found none. Check the path.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UsageError(
            f"Expected a score file of at most {MAX_BYTES >> 20} MiB, found {size >> 20} MiB in {quoted(path.name)}."
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"The score file {quoted(path.name)} cannot be read: {error.strerror}.") from error


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
        file = parquet.ParquetFile(io.BytesIO(data))
        _check_columns(file.schema_arrow.names, name)
        if file.metadata.num_rows > MAX_ROWS:
            raise UsageError(f"Expected at most {MAX_ROWS:,} rows in {quoted(name)}, found {file.metadata.num_rows:,}.")
        columns = file.read(columns=["component", "score"])
    except arrow.ArrowException as error:
        raise UsageError(f"{quoted(name)} is no Parquet table: {str(error).splitlines()[0][:150]}") from None
    for row, (component, score) in enumerate(
        zip(columns["component"].to_pylist(), columns["score"].to_pylist(), strict=True)
    ):
        yield str(component), _number(score, f"row {row} of {quoted(name)}")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise PrerequisiteError("Parquet needs the Python package pyarrow. Install it: pip install pyarrow.") from None
    return pyarrow, pyarrow.parquet


def _check_columns(header: list[str], name: str) -> None:
    for column in ("component", "score"):
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


def _granularity(scores: Mapping[str, float], name: str) -> Granularity:
    """What the names are names of; a file with MLPs alone counts as nodes."""
    kinds: dict[Granularity, str] = {}
    for component in scores:
        base = component.partition("@")[0]
        kind = next((kind for pattern, kind in _KINDS if pattern.fullmatch(base)), None)
        if kind is None and not _MLP.fullmatch(base):
            raise UsageError(
                f"Expected names of components (a3.h5, m3, m3.n17, a3, a3.h5->a4.h0<q>) in {quoted(name)}, found "
                f"{quoted(component)}. 'bench export FILE --cell KEY' writes an example."
            )
        if kind is not None:
            kinds.setdefault(kind, component)
    if len(kinds) > 1:
        raise UsageError(
            f"Expected components of one granularity in {quoted(name)}, found {' and '.join(sorted(kinds.values()))}."
        )
    return next(iter(kinds), Granularity.NODE)
