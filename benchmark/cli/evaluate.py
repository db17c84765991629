"""`bench evaluate`: runs a grid of cells and prints their scores."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.storage import DEFAULT_DB


class ExecutorName(enum.StrEnum):
    """Where cells run."""

    LOCAL = "local"
    """One worker process per device."""
    SERIAL = "serial"
    """In this process: for debugging; no limits, no protection from crashes."""


class Dtype(enum.StrEnum):
    """Floating-point type of the models."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Retry(enum.StrEnum):
    """Statuses of stored cells that are run again."""

    FAILED = "failed"
    TIMEOUT = "timeout"
    KILLED = "killed"


WHAT, HOW, WHERE = "What is run", "How it is run", "Where it goes"

Several = list[str] | None


def evaluate(
    suite: Annotated[
        str, typer.Option(help="Grid to start from: see 'bench list suites'.", rich_help_panel=WHAT)
    ] = "quick",
    method: Annotated[
        Several,
        typer.Option(
            help="Method instead of the suite's: name, name[field=value,...], path.py:Class or module:Class. Repeatable.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Component scores to measure instead of a method: .csv, .parquet or MIB's .json. Repeatable.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    task: Annotated[
        Several,
        typer.Option(help="Task instead of the suite's, written like a method. Repeatable.", rich_help_panel=WHAT),
    ] = None,
    model: Annotated[
        Several,
        typer.Option(
            help="Model instead of the suite's: name, folder, GGUF file or Hugging Face id. Repeatable.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    granularity: Annotated[
        list[Granularity] | None, typer.Option(help="What is scored. Repeatable.", rich_help_panel=WHAT)
    ] = None,
    ablation: Annotated[
        list[Ablation] | None,
        typer.Option(help="What removed components are replaced with. Repeatable.", rich_help_panel=WHAT),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Seed of the methods. Repeatable.", rich_help_panel=WHAT)
    ] = None,
    option: Annotated[
        Several,
        typer.Option(help="Option of a method or task: name.field=value. Repeatable.", rich_help_panel=WHAT),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Pairs drawn for each split, instead of the suite's.", rich_help_panel=WHAT),
    ] = None,
    force_incapable: Annotated[
        bool,
        typer.Option(
            "--force-incapable", help="Score models that answer under 75% of the pairs too.", rich_help_panel=WHAT
        ),
    ] = False,
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="Draw the test pairs with the secret seed of ARITHLOC_PRIVATE_SEED or --private-seed-file.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    private_seed_file: Annotated[
        Path | None,
        typer.Option(
            help="File of the secret seed: 64 hexadecimal digits, readable by its owner alone.", rich_help_panel=WHAT
        ),
    ] = None,
    device: Annotated[
        Several,
        typer.Option(
            help="auto, cpu, mps, cuda or cuda:N; one worker for each one given. Repeatable.", rich_help_panel=HOW
        ),
    ] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Floating-point type of the models.", rich_help_panel=HOW)] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Limit of one cell in seconds; loading the model is not counted.", rich_help_panel=HOW
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running cells get after Ctrl-C.", rich_help_panel=HOW)
    ] = 10.0,
    retry: Annotated[
        list[Retry] | None,
        typer.Option(help="Run stored cells of this status again. Repeatable.", rich_help_panel=HOW),
    ] = None,
    executor: Annotated[ExecutorName, typer.Option(help="Where cells run.", rich_help_panel=HOW)] = ExecutorName.LOCAL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.", rich_help_panel=HOW)] = False,
    db: Annotated[
        str,
        typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.", rich_help_panel=WHERE),
    ] = DEFAULT_DB,
    results: Annotated[
        Path | None,
        typer.Option(
            envvar="ARITHLOC_RESULTS",
            help="Folder of tensors and logs; that of the database by default.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of the table.", rich_help_panel=WHERE)
    ] = False,
) -> int:
    """Measure localization methods: localize, evaluate circuits of every size, store the scores, print a table.

    Without options it runs the quick suite: every built-in method on two toy models whose circuit is known. Cells that
    are in the database are not run again.

    Exit code: 0 all cells have scores, 1 some failed, 2 wrong usage, 130 interrupted.
    """
    from arithloc.benchmark.cli.evaluation import Settings, run
    from arithloc.benchmark.cli.request import grid_request
    from arithloc.benchmark.cli.tasks import secret_seed

    asked_for = private or private_seed_file is not None
    secret = secret_seed(private_seed_file, Console(stderr=True, highlight=False)) if asked_for else None
    request = grid_request(
        suite=suite,
        methods=method,
        tasks=task,
        models=model,
        granularities=granularity,
        ablations=ablation,
        seeds=seed,
        options=option or [],
        limit=limit,
        dtype=dtype.value if dtype else None,
        timeout=timeout,
        force_incapable=force_incapable,
        score_files=scores or (),
        private_commitment=secret.commitment if secret else "",
    )
    settings = Settings(
        database=db,
        results=results,
        devices=tuple(device or ["auto"]),
        serial=executor is ExecutorName.SERIAL,
        grace=grace,
        retry=frozenset(status.value for status in retry or []),
        dry_run=dry_run,
        as_json=json,
        command=sys.argv[1:],
        private_seed=secret,
    )
    return run(request, settings)
