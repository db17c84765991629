"""Tables on the terminal: scores by question, planned cells, what could not be run."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from arithloc.benchmark.runner.job import question_text
from arithloc.benchmark.runner.plan import PlannedCell, Refusal
from arithloc.benchmark.storage.queries import CellSummary
from arithloc.benchmark.storage.records import ScoreRecord, Status

PLAN_SCHEMA = 1
"""Number of the layout of the document that a dry run prints."""
MISSING = "-"
KEY_DIGITS = 10
"""Digits of a key that tables show; enough for `bench show`."""

_AREA = "faithfulness_area"


def print_cells(rows: Sequence[CellSummary], tasks: Mapping[str, str], out: Console) -> None:
    """Prints one table for each model, task, granularity and ablation; best faithfulness area first.

    Args:
        rows: the cells.
        tasks: by key, the task as it was asked for.
        out: where to.
    """

    def question(row: CellSummary) -> tuple[str, str, str, str]:
        return row.model, tasks[row.key], row.granularity, row.ablation

    for asked, group in groupby(sorted(rows, key=question), key=question):
        cells = list(group)
        has_truth = any("auroc" in row.scores for row in cells)
        titles = ("faithfulness area", "sparsity", "compl.", "CPR", "CMD", *(["AUROC"] if has_truth else []), "time")
        table = plain_table({"method": "left", **dict.fromkeys(titles, "right")}, fold=("method",))
        for row in sorted(cells, key=_by_area):
            table.add_row(*_line(row, cells, has_truth))
        model, task, granularity, ablation = asked
        out.print(f"[bold]{escape(f'{model}, {task}, {granularity}, {ablation} ablation')}[/bold]")
        out.print(table)
        out.print()
    if any(row.sanity for row in rows):
        out.print("* reference row, never ranked")
    if any(_unreliable(row.scores.get(_AREA)) for row in rows):
        out.print("~ interval of fewer than 20 independent operand pairs: unreliable")
    failed = [row for row in rows if row.status != Status.OK]
    for row in failed:
        what = f"{row.title} on {row.task}, {row.model}, {question_text(row.granularity, row.ablation, row.seed)}"
        out.print(f"{row.status}: {what}: {row.error_type}: {row.error_message}", markup=False, soft_wrap=True)


def print_refusals(refusals: Sequence[Refusal], notes: Console) -> None:
    """Prints the combinations that cannot be run, one line each."""
    for refusal in refusals:
        notes.print(f"not run: {refusal.what}: {refusal.reason}", markup=False, soft_wrap=True)


def print_plan(
    cells: Sequence[PlannedCell],
    stored: Mapping[str, Status],
    pending: Sequence[PlannedCell],
    out: Console,
    *,
    as_json: bool,
) -> None:
    """Prints what a run would do with each cell."""
    due = {cell.job.key for cell in pending}
    if as_json:
        listed = [
            {
                "key": cell.job.key,
                "method": str(cell.job.method),
                "task": str(cell.job.task),
                "model": cell.job.model,
                "granularity": cell.job.granularity.value,
                "ablation": cell.job.ablation.value,
                "seed": cell.job.seed,
                "stored": stored[cell.job.key].value if cell.job.key in stored else None,
                "run": cell.job.key in due,
            }
            for cell in cells
        ]
        out.print_json(data={"schema": PLAN_SCHEMA, "cells": listed})
        return
    table = plain_table(dict.fromkeys(("key", "cell", "stored", "run"), "left"), fold=("cell",))
    for cell in cells:
        job = cell.job
        status = stored.get(job.key)
        table.add_row(
            job.key[:KEY_DIGITS],
            escape(job.describe()),
            status.value if status else MISSING,
            "yes" if job.key in due else "no",
        )
    out.print(table)
    out.print(f"{len(due)} of {len(cells)} cells would be run.")


def plain_table(columns: Mapping[str, JustifyMethod], *, fold: Sequence[str] = ()) -> Table:
    """A table without frame; the columns named in `fold` are broken into lines where they are too wide."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name, justify in columns.items():
        table.add_column(name, justify=justify, no_wrap=name not in fold, overflow="fold")
    return table


def number(score: ScoreRecord | None, digits: int = 2) -> str:
    """A score without interval, `-` where there is none."""
    return MISSING if score is None or score.value is None else f"{score.value:.{digits}f}"


def with_interval(score: ScoreRecord | None, digits: int = 2) -> str:
    """A score with its interval: `0.71 [0.66, 0.75]`, with `~` behind it where too few clusters make it unreliable.

    Example:
    >>> with_interval(ScoreRecord("faithfulness_area", 0.712, 0.66, None))
    '0.71 [0.66, -]'
    """
    if score is None or score.value is None:
        return MISSING
    low, high = (MISSING if end is None else f"{end:.{digits}f}" for end in (score.low, score.high))
    return f"{score.value:.{digits}f} [{low}, {high}]" + (" ~" if _unreliable(score) else "")


def _unreliable(score: ScoreRecord | None) -> bool:
    return score is not None and "few-clusters" in score.flags


def share(score: ScoreRecord | None) -> str:
    """A size as a percentage of the model's edges."""
    return MISSING if score is None or score.value is None else f"{100 * score.value:.1f}%"


def _line(row: CellSummary, group: Sequence[CellSummary], has_truth: bool) -> list[str]:
    seeds = {cell.seed for cell in group if cell.title == row.title}
    name = row.title + (f" (seed {row.seed})" if len(seeds) > 1 else "") + (" *" if row.sanity else "")
    times = (row.wall_localize_s, row.wall_score_s)
    seconds = MISSING if times[0] is None or times[1] is None else f"{times[0] + times[1]:.1f} s"
    if row.status != Status.OK:
        return [escape(name), row.status, *[MISSING] * (5 if has_truth else 4), seconds]
    scores = row.scores
    return [
        escape(name),
        with_interval(scores.get(_AREA)),
        share(scores.get("sparsity")),
        number(scores.get("completeness_area")),
        number(scores.get("cpr")),
        number(scores.get("cmd")),
        *([number(scores.get("auroc"))] if has_truth else []),
        seconds,
    ]


def _by_area(row: CellSummary) -> tuple[float, str, int]:
    area = row.scores.get(_AREA)
    return (-area.value if area is not None and area.value is not None else 1.0, row.title, row.seed)
