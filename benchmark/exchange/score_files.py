"""Component scores in files: read, checked and put in the order of a component space; written back.

Two kinds of files are known. A *table* (CSV or Parquet) has the columns `component` and `score`; other columns are
ignored. A *circuit file* (JSON) is what MIB and EAP-IG write, see `mib`. Nothing in a file is executed: no pickles.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.errors import BadScores, UsageError, quoted
from arithloc.benchmark.api.scores import Scores
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.exchange.mib import CircuitFile, circuit_document, read_circuit
from arithloc.benchmark.exchange.tables import csv_table, parquet_table, read_csv, read_parquet

MAX_BYTES: Final = 512 * 2**20
"""Largest file that is read: the 1.6 million edges of an 8B model take about 130 MB as a circuit file."""
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
            scores = read_csv(data, path.name)
        case ".parquet":
            scores = read_parquet(data, path.name)
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
    given = file.circuit.native(space, partial=missing is Missing.ZERO) if file.circuit else file.scores
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
            return csv_table(space.names, scores.values)
        case ScoreFormat.PARQUET:
            return parquet_table(space.names, scores.values)


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
