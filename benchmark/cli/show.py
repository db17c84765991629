"""`bench show`: one cell with its circumstances, or the latest cells."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import select

from arithloc.benchmark.cli.again import evaluating_command, task_text
from arithloc.benchmark.cli.table import KEY_DIGITS, MISSING, number, plain_table, with_interval
from arithloc.benchmark.cli.tests_table import print_tests, tests_document
from arithloc.benchmark.runner.discovery import DISCOVERY_KIND, KIND
from arithloc.benchmark.storage import DEFAULT_DB, schema
from arithloc.benchmark.storage.circuit_tests import CircuitTests, circuit_tests
from arithloc.benchmark.storage.queries import CellFilter, CellSummary, CellView
from arithloc.benchmark.storage.repository import Repository

SHOW_SCHEMA = 1
"""Number of the layout of the JSON document."""

_COSTS = ("wall_localize_s", "wall_score_s", "forward_equivalents", "peak_host_bytes", "peak_device_bytes")


def show(
    key: Annotated[str, typer.Argument(help="First digits of a cell's key; without it the latest cells.")] = "",
    db: Annotated[str, typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.")] = DEFAULT_DB,
    results: Annotated[Path | None, typer.Option(envvar="ARITHLOC_RESULTS", help="Folder of tensors and logs.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many of the latest cells.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Show one cell: its question, scores, curve, attempts, provenance and the command that runs it again."""
    out = Console(highlight=False)
    with Repository.open(db, results, read_only=True) as repository:
        if not key:
            latest = latest_cells(repository, n)
            if json:
                out.print_json(data={"schema": SHOW_SCHEMA, "cells": [asdict(cell) for cell in latest]})
            else:
                _print_latest(latest, out)
            return 0
        view = repository.show(key.lower())
        curve = _curve(repository, view.cell["key"])
        log = _log(repository, view)
        with repository.reading() as connection:
            tests = circuit_tests(connection, view.cell["key"])
    if json:
        out.print_json(data=document(view, curve, log, tests))
    else:
        _print_cell(view, curve, log, tests, out)
    return 0


def latest_cells(repository: Repository, n: int) -> list[CellSummary]:
    """The cells that finished last, newest first."""
    cell = schema.cell.c
    with repository.reading() as connection:
        keys = list(connection.scalars(select(cell.key).order_by(cell.finished_at.desc(), cell.key).limit(n)))
    if not keys:
        return []
    order = {key: i for i, key in enumerate(keys)}
    return sorted(repository.cells(CellFilter(keys=keys)), key=lambda found: order[found.key])


def document(
    view: CellView, curve: Sequence[Mapping[str, Any]], log: str, tests: CircuitTests | None = None
) -> dict[str, Any]:
    """All that is known of a cell, as JSON values."""
    return {
        "schema": SHOW_SCHEMA,
        "cell": dict(view.cell),
        "entry": dict(view.entry),
        "method": dict(view.method),
        "task": dict(view.task),
        "model": dict(view.model),
        "environment": dict(view.environment),
        "scores": [asdict(score) for score in view.scores],
        "curve": [dict(point) for point in curve],
        "circuit_tests": [] if tests is None else tests_document(tests.records),
        "attempts": [dict(attempt) for attempt in view.attempts],
        "artifacts": {role: str(path) for role, path in view.artifacts.items()},
        "log": log,
        "command": evaluating_command(view.cell["spec"]),
    }


def _curve(repository: Repository, key: str) -> list[dict[str, Any]]:
    point = schema.curve_point
    query = select(point).where(point.c.key == key).order_by(point.c.curve, point.c.ranking_rule, point.c.i)
    with repository.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _log(repository: Repository, view: CellView) -> str:
    from arithloc.benchmark.runner.recorder import log_path

    path = log_path(repository.location.results, view.cell["key"])
    return str(path) if view.cell["status"] != "ok" and path.is_file() else ""


def _print_latest(cells: Sequence[CellSummary], out: Console) -> None:
    if not cells:
        out.print("No cells yet. Make some with 'bench evaluate'.")
        return
    columns = ("key", "method", "task", "model", "granularity", "area", "status")
    table = plain_table(dict.fromkeys(columns, "left"), fold=("method", "task", "model", "granularity"))
    for cell in cells:
        area = number(cell.scores.get("faithfulness_area"))
        names = (escape(text) for text in (cell.title, cell.task, cell.model, cell.granularity))
        table.add_row(cell.key[:KEY_DIGITS], *names, area, cell.status.value)
    out.print(table)


def _print_cell(
    view: CellView, curve: Sequence[Mapping[str, Any]], log: str, tests: CircuitTests | None, out: Console
) -> None:
    cell = view.cell
    error = ": ".join(part for part in (cell["status"], cell["error_type"], cell["error_message"]) if part)
    task = task_text(cell["spec"])
    _fields(
        out,
        {
            "key": cell["key"],
            "cell": f"{view.entry['title']} on {task}, {view.model['name']}, {cell['granularity']}, {cell['ablation']}",
            "status": error,
            "note": cell["note"],
            "data": _kinds(cell["spec"]),
            "numerics": f"{cell['dtype']}, attention {cell['attention']}, seed {cell['seed']}",
            "log": log,
        },
    )
    scores = plain_table(
        {"name": "left", "value [95% interval]": "right", "better": "left", "remark": "left"}, fold=("remark",)
    )
    for score in view.scores:
        remark = ", ".join(part for part in (score.reason, *score.flags) if part)
        scores.add_row(score.name, with_interval(score, 4), score.direction.value, escape(remark))
    if view.scores:
        first = view.scores[0]
        _section(f"scores on {first.n_pairs} pairs in {first.n_clusters} clusters", scores, out)
    _print_curve(curve, out)
    if tests is not None:
        out.print("[bold]tests of one circuit[/bold]")
        print_tests(tests.records, out)
        out.print()
    attempts = plain_table(
        dict.fromkeys(("number", "status", "started", "finished", "device", "error"), "left"), fold=("error",)
    )
    for attempt in view.attempts:
        error = ": ".join(part for part in (attempt["error_type"], attempt["error_message"]) if part)
        shown = [attempt[name] for name in ("status", "started_at", "finished_at", "device")]
        attempts.add_row(str(attempt["number"]), *shown, escape(error))
    _section("attempts", attempts, out)
    environment = view.environment
    commit = environment["code_commit"][:12] + (" with changes" if environment["code_dirty"] else "")
    costs = {name: cell[name] for name in _COSTS if cell[name] is not None}
    _fields(
        out,
        {
            "code": f"arithloc {environment['code_version']} {commit}".strip(),
            "machine": ", ".join(filter(None, (environment["os"], environment["cpu"], environment["gpu"]))),
            "python": environment["python"],
            "packages": ", ".join(f"{name} {version}" for name, version in environment["packages"].items()),
            "costs": ", ".join(f"{name} {value:.6g}" for name, value in costs.items()),
            **{f"{role} file": str(path) for role, path in view.artifacts.items()},
            "again": evaluating_command(cell["spec"]),
        },
    )


def _print_curve(curve: Sequence[Mapping[str, Any]], out: Console) -> None:
    kept = [point for point in curve if point["curve"] == "kept"]
    if not kept:
        return
    table = plain_table(dict.fromkeys(("components", "size", "f [95% interval]", "accuracy", "KL"), "right"))
    for point in kept:
        f, low, high = (MISSING if point[name] is None else f"{point[name]:.3f}" for name in ("f", "f_low", "f_high"))
        others = [MISSING if point[name] is None else f"{point[name]:.3f}" for name in ("accuracy", "kl")]
        table.add_row(str(point["n_components"]), f"{point['size']:.4f}", f"{f} [{low}, {high}]", *others)
    _section("circuits", table, out)


def _kinds(spec: Mapping[str, Any]) -> str:
    """Counterfactual kinds of both splits, where the task has kinds, and the commitment of a private split."""
    own = spec["task"]["options"].get(KIND)
    kinds = f"kind {spec.get(DISCOVERY_KIND, own)} for discovery, {own} for the scores" if own else ""
    commitment = spec.get("private_commitment", "")
    return ", ".join(filter(None, (kinds, f"private test pairs, seed {commitment}" if commitment else "")))


def _section(title: str, table: Table, out: Console) -> None:
    out.print()
    out.print(f"[bold]{title}[/bold]")
    out.print(table)
    out.print()


def _fields(out: Console, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        if value:
            out.print(f"{name + ':':<14}{value}", markup=False, soft_wrap=True)
