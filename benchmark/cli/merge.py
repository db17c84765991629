"""`bench merge`: brings results of several databases into one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from arithloc.benchmark.storage.merge import Prefer


def merge(
    target: Annotated[str, typer.Argument(help="Database that receives the results; made where it is not there.")],
    sources: Annotated[list[str], typer.Argument(help="Databases to read.")],
    prefer: Annotated[
        Prefer | None, typer.Option(help="Which of two results for one cell to keep where they differ.")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Folder of tensors and logs of the target.")] = None,
    source_results: Annotated[
        Path | None, typer.Option(help="Folder of tensors and logs of the sources, where they are servers.")
    ] = None,
) -> int:
    """Merge databases, as of the parts of a run on several machines. Sources are only read."""
    from arithloc.benchmark.storage import merge as merging
    from arithloc.benchmark.storage.repository import Repository

    out = Console(highlight=False)
    with Repository.open(target, results) as receiver:
        for name in sources:
            with Repository.open(name, source_results, read_only=True) as source:
                done = merging.merge(receiver, source, prefer)
            out.print(
                f"{name}: {done.added} cells added, {done.replaced} replaced, {done.kept} kept, {done.disputed} disputed.",
                markup=False,
                soft_wrap=True,
            )
    return 0
