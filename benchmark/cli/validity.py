"""`bench validity`: judges the benchmark by circuits that are known, and writes the page about it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def validity(
    out: Annotated[Path, typer.Argument(help="Markdown page to write.")] = Path("docs/validity.md"),
    db: Annotated[
        str, typer.Option(help="Results to read; cells that are missing are run and stored here.")
    ] = "results/validity.db",
    results: Annotated[Path | None, typer.Option(help="Folder of tensors and logs.")] = None,
    model: Annotated[str, typer.Option(help="Also a pretrained model: name, folder or id. Needs --task.")] = "",
    task: Annotated[str, typer.Option(help="What it is asked, for example 'addition[shots=1]'.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "cpu",
) -> int:
    """Measure whether the scores order methods as the truth does, and what wrong submissions, other pairs and other ablations do.

    Takes about three minutes of one core on the shipped toys, and half an hour more with a pretrained model of 135 million parameters.
    """
    from arithloc.benchmark.api.errors import BadOption
    from arithloc.benchmark.cli.evaluation import expand_devices
    from arithloc.benchmark.cli.progress import LineDisplay, counting
    from arithloc.benchmark.runner.serial import SerialExecutor
    from arithloc.benchmark.runner.workbench import Workbench
    from arithloc.benchmark.storage.atomic import atomic_write
    from arithloc.benchmark.storage.repository import Repository
    from arithloc.benchmark.validity.cells import run_missing
    from arithloc.benchmark.validity.findings import collect
    from arithloc.benchmark.validity.grids import PARTS, Pretrained
    from arithloc.benchmark.validity.page import page

    if bool(model) != bool(task):
        raise BadOption("Expected --model and --task together, found one of them. Give both or neither.")
    pretrained = [Pretrained(model, task)] if model else []
    notes = Console(stderr=True, highlight=False)
    place = expand_devices([device])[0]
    with Repository.open(db, results) as repository:
        executor = SerialExecutor(place)
        for part in (*PARTS, *(part for case in pretrained for part in case.parts)):
            run_missing(repository, executor, part, lambda total: LineDisplay(notes, total))
        with counting("Scoring submissions") as step:
            found = collect(repository, Workbench(place), lambda _, done, total: step(done, total), pretrained)
        text = page(found)
    atomic_write(out, text.encode(), out.parent)
    notes.print(f"Written: {out}", markup=False, soft_wrap=True)
    return 0
