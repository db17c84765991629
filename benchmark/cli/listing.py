"""`bench list`: what is registered."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from arithloc.benchmark.api.registry import (
    BrokenPlugin,
    Registry,
    analyses,
    methods,
    model_families,
    model_sources,
    one_line,
    tasks,
)
from arithloc.benchmark.cli.table import plain_table

LIST_SCHEMA = 1
"""Number of the layout of the JSON document."""


class What(enum.StrEnum):
    """What can be listed."""

    METHODS = "methods"
    TASKS = "tasks"
    MODELS = "models"
    SUITES = "suites"
    ANALYSES = "analyses"


@dataclass(frozen=True)
class Item:
    """One registered thing; `error` says why it cannot be used."""

    name: str
    kind: str
    summary: str
    origin: str
    error: str = ""


def list_registered(
    what: Annotated[What, typer.Argument(help="methods, tasks, models, suites or analyses.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """List what is registered, with plugins that do not load and why."""
    items = {
        What.METHODS: _methods,
        What.TASKS: _tasks,
        What.MODELS: _models,
        What.SUITES: _suites,
        What.ANALYSES: _analyses,
    }[what]()
    out = Console(highlight=False)
    if json:
        out.print_json(data={"schema": LIST_SCHEMA, what.value: [vars(item) for item in items]})
        return 0
    table = plain_table(
        dict.fromkeys(("name", "what it is", "kind", "from"), "left"), fold=("what it is", "kind", "from")
    )
    for item in items:
        if not item.error:
            table.add_row(escape(item.name), escape(item.summary), item.kind, escape(item.origin))
    out.print(table)
    for item in items:
        if item.error:
            out.print(f"broken: {item.name} of {item.origin}: {item.error}", markup=False, soft_wrap=True)
    return 0


def _methods() -> list[Item]:
    return _plugins(methods, lambda info: " ".join(sorted(str(value) for value in info.granularities)))


def _tasks() -> list[Item]:
    return _plugins(tasks, lambda info: str(info.family))


def _analyses() -> list[Item]:
    return _plugins(analyses, lambda info: str(info.task))


def _plugins(registry: Registry, kind_of: Callable[[Any], str]) -> list[Item]:
    items = []
    for plugin in registry.all():
        if isinstance(plugin, BrokenPlugin):
            items.append(Item(plugin.name, "", "", plugin.distribution, plugin.error))
            continue
        info: Any = getattr(plugin.target, "info", None)
        try:
            kind, summary = kind_of(info), str(info.summary)
        except Exception as error:  # a stranger's class may have anything as its info
            items.append(Item(plugin.name, "", "", plugin.distribution, f"no usable `info`: {one_line(error)}"))
        else:
            items.append(Item(plugin.name, kind, summary, plugin.distribution))
    return items


def _models() -> list[Item]:
    broken = [
        Item(plugin.name, "", "", plugin.distribution, plugin.error)
        for plugin in model_families.all()
        if isinstance(plugin, BrokenPlugin)
    ]
    known = [
        Item(source.name, "toy" if source.is_toy else "pretrained", source.summary, "registered")
        for source in model_sources().values()
    ]
    return sorted(known, key=lambda item: (item.kind, _natural(item.name))) + broken


def _suites() -> list[Item]:
    from arithloc.benchmark.runner.suites import SUITES

    return [Item(suite.name, "suite", suite.summary, "arithloc") for suite in SUITES.values()]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorting key in which `toy-a-base-10` comes after `toy-a-base-9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split("-")]
