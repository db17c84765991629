"""`bench export`: results in other forms, or the component scores of one cell."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from arithloc.benchmark.storage import DEFAULT_DB


def export(
    target: Annotated[Path, typer.Argument(help="File to write.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, json, parquet or sqlite; by default the ending of the file decides. With --cell csv, parquet or mib.",
        ),
    ] = "",
    cell: Annotated[
        str, typer.Option(help="First digits of a cell's key: write its component scores, .json as MIB's circuit file.")
    ] = "",
    db: Annotated[str, typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.")] = DEFAULT_DB,
    results: Annotated[Path | None, typer.Option(envvar="ARITHLOC_RESULTS", help="Folder of tensors and logs.")] = None,
) -> int:
    """Write the results as a table, as JSON, or as a single SQLite file to publish; or the scores of one cell."""
    from arithloc.benchmark.api.errors import BadOption, quoted
    from arithloc.benchmark.storage import export as exporting
    from arithloc.benchmark.storage.repository import Repository

    ending = target.suffix.lstrip(".").lower()
    if cell:
        return _export_cell(target, form.lower() or ending, cell, db, results)
    chosen = form.lower() or {"db": "sqlite"}.get(ending, ending)
    if chosen not in [known.value for known in exporting.Format]:
        raise BadOption(
            f"Expected --format {', '.join(exporting.Format)}, or a file that ends like one of them, found "
            f"{quoted(form or target.name)}."
        )
    with Repository.open(db, results, read_only=True) as repository:
        exporting.export(repository, target, exporting.Format(chosen))
    Console(stderr=True, highlight=False).print(f"Written: {target}", markup=False, soft_wrap=True)
    return 0


def _export_cell(target: Path, form: str, cell: str, db: str, results: Path | None) -> int:
    from arithloc.benchmark.api.errors import BadOption, quoted
    from arithloc.benchmark.exchange.score_files import ScoreFormat, score_data
    from arithloc.benchmark.storage.atomic import atomic_write
    from arithloc.benchmark.storage.components import component_scores
    from arithloc.benchmark.storage.repository import Repository

    chosen = "mib" if form == "json" else form
    if chosen not in list(ScoreFormat):
        raise BadOption(f"Expected --format {', '.join(ScoreFormat)} with --cell, found {quoted(form or target.name)}.")
    with Repository.open(db, results, read_only=True) as repository:
        scores = component_scores(repository, repository.show(cell.lower()).cell["key"])
    atomic_write(target, score_data(scores, ScoreFormat(chosen)), target.parent)
    Console(stderr=True, highlight=False).print(f"Written: {target}", markup=False, soft_wrap=True)
    return 0
