"""`bench compare`: paired differences of two entries, cell by cell."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.cli.table import MISSING, plain_table
from arithloc.benchmark.metrics.comparison import Comparison, Paired, compare
from arithloc.benchmark.metrics.stability import seed_spread
from arithloc.benchmark.runner.choices import option_text
from arithloc.benchmark.storage import DEFAULT_DB
from arithloc.benchmark.storage.records import Direction

COMPARE_SCHEMA = 1
"""Number of the layout of the JSON document."""
_COORDINATES = ("task", "model", "granularity", "ablation")


def compare_entries(
    a: Annotated[str, typer.Argument(help="Entry: its id, its title, or a method's name.")],
    b: Annotated[str, typer.Argument(help="Entry that it is compared with.")],
    score: Annotated[
        str, typer.Option(help="Score with replicates: faithfulness_area, completeness_area, sparsity, cpr, cmd.")
    ] = "faithfulness_area",
    task: Annotated[list[str] | None, typer.Option(help="Only this task. Repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model. Repeatable.")] = None,
    granularity: Annotated[list[Granularity] | None, typer.Option(help="Only these components. Repeatable.")] = None,
    ablation: Annotated[list[Ablation] | None, typer.Option(help="Only this ablation. Repeatable.")] = None,
    db: Annotated[str, typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.")] = DEFAULT_DB,
    results: Annotated[Path | None, typer.Option(envvar="ARITHLOC_RESULTS", help="Folder of tensors and logs.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Compare two entries: paired difference per cell with its interval, a verdict, and how many clusters it takes.

    The verdict is by Holm's correction over all cells that are compared. Exit code 2 where an entry is unknown or the
    two have no common cell.
    """
    from arithloc.benchmark.storage.comparisons import Filter, find_entry, shared_cells
    from arithloc.benchmark.storage.repository import Repository

    wanted = Filter(task or (), model or (), granularity or (), ablation or ())
    with Repository.open(db, results, read_only=True) as repository:
        first, second = find_entry(repository, a), find_entry(repository, b)
        cells = shared_cells(repository, first, second, score, wanted)
    compared = compare(
        [Paired(c.a, c.b, c.a_replicates, c.b_replicates, c.n_clusters, c.direction is Direction.HIGHER) for c in cells]
    )
    out = Console(highlight=False)
    rows = [_row(cell, found) for cell, found in zip(cells, compared, strict=True)]
    if json:
        head = {"schema": COMPARE_SCHEMA, "score": score, "a": asdict(first), "b": asdict(second)}
        out.print_json(data={**head, "cells": rows})
    else:
        _print(rows, score, (first.title, second.title), out)
    return 0


def _row(cell: Any, found: Comparison) -> dict[str, Any]:
    """One cell as JSON values; logarithmic scores as numbers, their difference as a ratio a / b."""
    shown = math.exp if cell.logarithmic else float
    numbers = {name: shown(getattr(found, name)) for name in ("difference", "low", "high")}
    per_cluster = cell.n_pairs / cell.n_clusters
    needed = found.clusters_needed
    return {
        "task": cell.task + option_text(cell.task_options),
        **{name: getattr(cell, name) for name in _COORDINATES[1:]},
        "a": shown(cell.a),
        "b": shown(cell.b),
        "scale": "ratio" if cell.logarithmic else "difference",
        **numbers,
        "direction": cell.direction.value,
        **{name: getattr(found, name) for name in ("p", "p_holm")},
        "verdict": found.verdict.value,
        "n_pairs": cell.n_pairs,
        "n_clusters": cell.n_clusters,
        "clusters_needed": needed,
        "pairs_needed": None if needed is None else math.ceil(needed * per_cluster),
        "a_seed_sd": _spread(cell.a_seeds),
        "b_seed_sd": _spread(cell.b_seeds),
        "flags": list(found.flags),
    }


def _spread(seeds: Sequence[float]) -> float | None:
    import numpy as np

    return seed_spread(np.array(seeds))


def _print(rows: Sequence[dict[str, Any]], score: str, titles: tuple[str, str], out: Console) -> None:
    scale = "a / b" if rows[0]["scale"] == "ratio" else "a - b"
    names = ("a", "b", f"{scale} [95% interval]", "p (Holm)", "clusters", "needed")
    table = plain_table({"cell": "left", **dict.fromkeys(names, "right"), "a is": "left"}, fold=("cell", "a is"))
    common = [name for name in _COORDINATES if len({row[name] for row in rows}) == 1]
    for row in rows:
        cell = ", ".join(row[name] for name in _COORDINATES if name not in common) or row["model"]
        interval = f"{row['difference']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        interval += " ~" if "few-clusters" in row["flags"] else ""
        needed = MISSING if row["clusters_needed"] is None else str(row["clusters_needed"])
        numbers = (f"{row['a']:.3f}", f"{row['b']:.3f}", interval, f"{row['p_holm']:.3g}")
        table.add_row(escape(cell), *numbers, str(row["n_clusters"]), needed, row["verdict"])
    out.print(f"{score}: a = {titles[0]}, b = {titles[1]}", markup=False, soft_wrap=True)
    if common:
        out.print(f"on {', '.join(rows[0][name] for name in common)}", markup=False, soft_wrap=True)
    out.print(table)
    better = "higher" if rows[0]["direction"] == "higher" else "lower"
    out.print(
        f"{better} is better; verdicts hold for all {len(rows)} cells together (Holm, 0.05); needed: clusters that would "
        "separate such a difference with a chance of 80%.",
        soft_wrap=True,
    )
    for row in rows:
        for label, name in (("a", "a_seed_sd"), ("b", "b_seed_sd")):
            if row[name] is not None:
                out.print(f"spread of {label} over seeds, {row['model']}: sd {row[name]:.3f}", markup=False)
    if any("few-clusters" in row["flags"] for row in rows):
        out.print("~ fewer than 20 clusters: unreliable")
    if any("too-few-draws" in row["flags"] for row in rows):
        out.print(
            "The cells have too few bootstrap draws for so many comparisons: choose fewer cells, or a suite with more."
        )
