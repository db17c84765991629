"""Prompt pairs as plain rows, the form in which they leave this program and come back."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from arithloc.benchmark.api import PromptPair, Split


def row_of(pair: PromptPair) -> dict[str, Any]:
    """A pair as JSON values: one entry per field, tuples as lists, strata as a list of `tag` and `value`."""
    row = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(pair).items()}
    return {
        **row,
        "split": pair.split.value,
        "strata": [{"tag": tag, "value": value} for tag, value in pair.strata],
    }


def pair_of(row: Mapping[str, Any]) -> PromptPair:
    """Inverse of `row_of`; entries that are no field of a pair are ignored."""
    values = {field.name: row[field.name] for field in fields(PromptPair)}
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    plain["split"] = Split(row["split"])
    plain["strata"] = tuple((item["tag"], item["value"]) for item in row["strata"])
    return PromptPair(**plain)
