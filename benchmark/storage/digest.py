"""Whether two results for one key are the same."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.storage.text import canonical_json

Row = Mapping[str, Any]

_TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 2e-2}
_COARSEST = 2e-2
_IDS = ("name", "curve", "ranking_rule", "kind", "i")
_SKIPPED = frozenset(("key", "data", "n", "draws", *_IDS))


@dataclass(frozen=True)
class ResultRows:
    """The measured rows of one cell, as they are in the database.

    Attributes:
        scores: rows of `score`.
        curve: rows of `curve_point`.
        roc: rows of `roc_point`.
        replicates: bootstrap replicates by score name.
    """

    scores: Sequence[Row]
    curve: Sequence[Row]
    roc: Sequence[Row]
    replicates: Mapping[str, Float[ndarray, " rep"]]


def result_digest(rows: ResultRows) -> str:
    """SHA-256 over all numbers of a result, rounded to ten significant digits; times are not in it."""
    digest = hashlib.sha256()
    for label, value in _items(rows):
        digest.update(f"{label} {_rounded(value)}\n".encode())
    for name in sorted(rows.replicates):
        digest.update(f"replicate {name}\n".encode())
        digest.update(" ".join(map(_rounded, rows.replicates[name].tolist())).encode())
    return digest.hexdigest()


def tolerance(dtype: str) -> float:
    """Largest difference, relative to max(1, absolute value), that two runs in this floating-point type may show."""
    return _TOLERANCE.get(dtype, _COARSEST)


def largest_difference(kept: ResultRows, other: ResultRows) -> float:
    """Largest difference of any number, relative to max(1, absolute value in `kept`).

    Infinite where one result has a number that the other lacks, or where texts (reasons, units) differ.
    """
    first, second = dict(_items(kept)), dict(_items(other))
    if first.keys() != second.keys() or kept.replicates.keys() != other.replicates.keys():
        return math.inf
    largest = 0.0
    for label, value in first.items():
        largest = max(largest, _difference(value, second[label]))
    for name, values in kept.replicates.items():
        others = other.replicates[name]
        if values.shape != others.shape:
            return math.inf
        same = (values == others) | (np.isnan(values) & np.isnan(others))
        if not (np.isfinite(values) & np.isfinite(others))[~same].all():
            return math.inf
        a, b = values[~same], others[~same]
        largest = max(largest, float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(a)), initial=0.0)))
    return largest


def _items(rows: ResultRows) -> Iterator[tuple[str, Any]]:
    """Every value with a label that says which, in an order that does not depend on the order of the rows."""
    for table, listed in (("score", rows.scores), ("curve", rows.curve), ("roc", rows.roc)):
        labelled = sorted((canonical_json([table, *(row.get(name) for name in _IDS)]), row) for row in listed)
        for label, row in labelled:
            for column in sorted(row.keys() - _SKIPPED):
                yield f"{label}.{column}", row[column]


def _rounded(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value + 0.0:.9e}"  # adding zero makes -0.0 and 0.0 one
    return str(value)


def _difference(a: Any, b: Any) -> float:
    if a == b:
        return 0.0
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) / max(1.0, abs(a))
    return math.inf
