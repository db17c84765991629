"""`bench models`: the registered models, and making those that ship inside Python packages."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from arithloc.benchmark.api.errors import PrerequisiteError, UnknownName
from arithloc.benchmark.api.model import ModelSource
from arithloc.benchmark.api.registry import model_sources
from arithloc.benchmark.cli.progress import counting
from arithloc.benchmark.cli.table import plain_table

app = typer.Typer(help="List models and build them on this machine.", no_args_is_help=True)


@app.command("list")
def list_models() -> int:
    """List registered models and whether they are on this machine."""
    from arithloc.benchmark.models.cache import default_cache

    cache = default_cache()
    out = Console(highlight=False)
    table = plain_table(dict.fromkeys(("name", "kind", "here", "what it is"), "left"), fold=("what it is",))
    for name, source in sorted(model_sources().items()):
        kind = "toy" if source.is_toy else "pretrained"
        table.add_row(
            escape(name), kind, "on demand" if source.is_toy else _here(source, cache), escape(source.summary)
        )
    out.print(table)
    out.print(f"Cache: {cache}", markup=False, soft_wrap=True)
    return 0


@app.command("build")
def build_model(name: Annotated[str, typer.Argument(help="Name of a model: see 'bench models list'.")]) -> int:
    """Build a model below the cache, so that it can be evaluated without a model hub."""
    from arithloc.benchmark.models import packaged
    from arithloc.benchmark.models.cache import default_cache

    sources = model_sources()
    if name not in sources:
        raise UnknownName.among("model", name, sources)
    if name in {source.name for source in packaged.SOURCES}:
        with counting(f"building {name}") as progress:
            folder = packaged.build(name, progress=progress)
    else:
        folder = sources[name].folder(default_cache())
    Console(highlight=False).print(f"{name}: {folder}", markup=False, soft_wrap=True)
    return 0


def _here(source: ModelSource, cache: Path) -> str:
    try:
        source.folder(cache)
    except PrerequisiteError:
        return "no"
    return "yes"
