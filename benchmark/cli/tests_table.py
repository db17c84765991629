"""Tests of a circuit on the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from arithloc.benchmark.cli.table import plain_table, with_interval
from arithloc.benchmark.storage.records import ScoreRecord


def print_tests(records: Sequence[ScoreRecord], out: Console) -> None:
    """Prints one line per test; `n` counts what the test is made of: clusters, draws or runs."""
    table = plain_table(
        {"test": "left", "value": "right", "n": "right", "better": "left", "remark": "left"}, fold=("test", "remark")
    )
    for record in records:
        remark = ", ".join(part for part in (record.reason, *record.flags) if part)
        n = record.n_clusters or record.n_pairs
        table.add_row(escape(record.name), _value(record), str(n) if n else "", record.direction.value, escape(remark))
    out.print(table)


def tests_document(records: Sequence[ScoreRecord]) -> list[dict[str, Any]]:
    """Tests as JSON values."""
    return [asdict(record) for record in records]


def _value(record: ScoreRecord) -> str:
    if record.low is None:
        return "-" if record.value is None else f"{record.value:.4g}"
    return with_interval(record, 3)
