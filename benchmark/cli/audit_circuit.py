"""`bench audit-circuit`: expensive tests of the circuits of stored cells."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from arithloc.benchmark.storage import DEFAULT_DB

AUDIT_SCHEMA = 1
"""Number of the layout of the JSON document."""


def audit_circuit(
    keys: Annotated[list[str], typer.Argument(help="First digits of the keys of finished cells.")],
    size: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Test the largest circuit of this size; by default the one of 'sparsity'."),
    ] = None,
    random: Annotated[
        int, typer.Option(min=1, help="Random circuits of the same size; 29 or more for p < 0.05.")
    ] = 100,
    additions: Annotated[int, typer.Option(min=1, help="Random additions behind minimality.")] = 1000,
    resamples: Annotated[
        int, typer.Option(min=0, help="Times that the method is run again on resampled discovery pairs.")
    ] = 10,
    model: Annotated[str, typer.Option(help="Where the model is, if not under its name.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    db: Annotated[str, typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.")] = DEFAULT_DB,
    results: Annotated[Path | None, typer.Option(envvar="ARITHLOC_RESULTS", help="Folder of tensors and logs.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Test one circuit of a cell: equivalence, independence, minimality, random circuits, stability, transfer.

    The numbers are stored beside the cell's scores and shown by 'bench show' and on the board. Transfer and specificity
    are measured against every other task that the same entry was run on in this database.
    """
    from arithloc.benchmark.cli.evaluation import expand_devices
    from arithloc.benchmark.cli.progress import counting
    from arithloc.benchmark.cli.tests_table import print_tests, tests_document
    from arithloc.benchmark.metrics.tested_circuits import Effort
    from arithloc.benchmark.runner.audit import AuditSettings, audit
    from arithloc.benchmark.runner.workbench import Workbench
    from arithloc.benchmark.storage.repository import Repository

    out = Console(highlight=False)
    bench = Workbench(expand_devices([device])[0])
    effort = Effort(n_random=random, n_additions=additions, n_resamples=resamples)
    settings = AuditSettings(size, model, effort)
    documents = []
    with Repository.open(db, results) as repository:
        for key in keys:
            with counting("Testing") as step:
                records = audit(repository, key.lower(), bench, settings, lambda _, done, total: step(done, total))
            if json:
                documents.append({"key": key, "tests": tests_document(records)})
            else:
                out.print(f"[bold]{key}[/bold]")
                print_tests(records, out)
    if json:
        out.print_json(data={"schema": AUDIT_SCHEMA, "cells": documents})
    return 0
