"""`bench audit`: prove the circuits of toy models again on this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, JustifyMethod
from rich.markup import escape

from arithloc.benchmark.api.errors import BadOption, UnknownName, UsageError, quoted
from arithloc.benchmark.api.model import AuditedSource
from arithloc.benchmark.api.registry import model_sources
from arithloc.benchmark.cli.progress import counting
from arithloc.benchmark.cli.table import plain_table

AUDIT_SCHEMA = 1
"""Number of the layout of the JSON document."""
COLUMNS: dict[str, JustifyMethod] = {
    "check": "right",
    "what": "left",
    "passed": "left",
    "n": "right",
    "value": "right",
    "bound": "right",
    "s": "right",
}
"""Columns of the printed table and their alignment."""


def audit(
    names: Annotated[list[str] | None, typer.Argument(help="Toy models: see 'bench models list'.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All models whose circuit can be proven.")] = False,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="As many questions as the shipped documents (minutes each), or few.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder that receives the truth document of each model that passed.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Prove the circuits of toy models again, on the weights in the cache. Exit code 1 if a check fails.

    Also checked is that the shipped truth document claims what the model's recipe says.
    """
    from arithloc.benchmark.models.cache import default_cache

    console = Console(highlight=False)
    cache, documents = default_cache(), []
    for source in chosen(names or [], every):
        with counting(f"Auditing {source.name}") as progress:
            document = source.audit(cache, full=full, out=out, progress=progress)
        documents.append(document)
        if not json:
            print_audit(document, console)
    if json:
        rows = [
            {key: document[key] for key in ("id", "behaviour", "certificates", "controls")}
            | {"passed": proven(document)}
            for document in documents
        ]
        console.print_json(data={"schema": AUDIT_SCHEMA, "models": rows})
    return 0 if all(map(proven, documents)) else 1


def chosen(names: Sequence[str], every: bool) -> list[AuditedSource]:
    """The sources to audit.

    Raises:
        BadOption: both names and `--all`, or neither.
        UnknownName: no model of that name.
        UsageError: a model whose circuit is not known.
    """
    if bool(names) == every:
        raise BadOption(
            "Expected names of toy models or --all, found both or neither. Example: bench audit toy-a-base-1."
        )
    sources = model_sources()
    found = []
    for name in sources if every else names:
        if name not in sources:
            raise UnknownName.among("model", name, sources)
        source = sources[name]
        if isinstance(source, AuditedSource):
            found.append(source)
        elif not every:
            raise UsageError(
                f"Expected a toy model with a circuit that can be proven, found {quoted(name)}. "
                "See 'bench models list' for the toys."
            )
    return found


def proven(document: Mapping[str, Any]) -> bool:
    """Whether every check passed."""
    return all(certificate["passed"] for certificate in document["certificates"])


def print_audit(document: Mapping[str, Any], out: Console) -> None:
    """One table: every certificate with what was measured and the bound."""
    table = plain_table(COLUMNS, fold=("what",))
    for row in document["certificates"]:
        table.add_row(
            str(row["check"]),
            escape(row["name"]),
            "yes" if row["passed"] else "NO",
            f"{row['n']:,}",
            number(row["value"]),
            number(row["bound"]),
            f"{row['seconds']:.1f}",
        )
    exam = document["behaviour"]
    right = exam["questions"] - exam["wrong"]
    out.print(f"[bold]{escape(document['id'])}[/bold]: {'proven' if proven(document) else 'NOT proven'}")
    out.print(
        f"{right:,} of {exam['questions']:,} questions right ({exam['mode']}), smallest margin {exam['min_margin']:.2f}"
    )
    out.print(table)


def number(value: float | None) -> str:
    """A measured value as text."""
    return "" if value is None else f"{value:g}"
