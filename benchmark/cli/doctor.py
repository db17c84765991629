"""`bench doctor`: what this machine has, and what is wrong with it."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from arithloc.benchmark.api.errors import ArithlocError
from arithloc.benchmark.api.registry import BrokenPlugin, methods, model_families, model_sources, one_line, tasks
from arithloc.benchmark.storage import DEFAULT_DB

GOOD, NOTE, BAD = "ok", "note", "PROBLEM"

_MIN_FREE = 2 * 1024**3
"""Bytes of free disk below which a built model may not fit."""


@dataclass(frozen=True)
class Finding:
    """One line of the report: `ok`, `note` or `PROBLEM`, what was looked at, and what was found."""

    level: str
    what: str
    text: str


def doctor(
    db: Annotated[str, typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.")] = DEFAULT_DB,
    results: Annotated[Path | None, typer.Option(envvar="ARITHLOC_RESULTS", help="Folder of tensors and logs.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Load this model and report its tokenizer. Repeatable.")
    ] = None,
) -> int:
    """Check Python, packages, devices, plugins, cache, database and models. Exit code 1 if there is a problem."""
    out = Console(highlight=False)
    bad = 0
    for finding in findings(db, results, model or []):
        bad += finding.level == BAD
        out.print(f"{finding.level:<8}{finding.what:<14}{finding.text}", markup=False, soft_wrap=True)
    return 1 if bad else 0


def findings(db: str, results: Path | None, models: list[str]) -> Iterator[Finding]:
    """Everything that is looked at, in order; a check that fails is a finding, not an error."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _python),
        ("packages", _packages),
        ("device", _device),
        ("plugins", _plugins),
        ("cache", _cache),
        ("database", lambda: _database(db, results)),
    ]
    checks += [(name, lambda name=name: _model(name)) for name in models]  # type: ignore[misc]  # bound in the loop
    for what, check in checks:
        try:
            yield from check()
        except ArithlocError as error:
            yield Finding(BAD, what, str(error))
        except Exception as error:  # the report goes on whatever a check meets
            yield Finding(BAD, what, one_line(error))


def _python() -> Iterator[Finding]:
    enough = sys.version_info >= (3, 11)
    yield Finding(GOOD if enough else BAD, "python", f"{platform.python_version()} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    names = ("arithloc", "torch", "transformers", "tokenizers", "numpy", "sqlalchemy")
    yield Finding(GOOD, "packages", ", ".join(f"{name} {metadata.version(name)}" for name in names))
    for extra, module in (("leaderboard", "streamlit"), ("ray", "ray"), ("lm-eval", "lm_eval")):
        if importlib.util.find_spec(module) is None:
            yield Finding(NOTE, "extra", f"{extra} is not installed: pip install 'arithloc[{extra}]'")


def _device() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(GOOD, "cpu", f"{cores} cores, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Finding(NOTE, "gpu", "none; cells run on the CPU")
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory
        yield Finding(GOOD, f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory / 1024**3:.0f} GiB")


def _plugins() -> Iterator[Finding]:
    for registry in (methods, tasks, model_families):
        found = registry.all()
        yield Finding(GOOD, "plugins", f"{len(found)} under {registry.group}")
        for plugin in found:
            if isinstance(plugin, BrokenPlugin):
                yield Finding(BAD, "plugins", f"{plugin.name} of {plugin.distribution} does not load: {plugin.error}")


def _cache() -> Iterator[Finding]:
    from arithloc.benchmark.models.cache import default_cache

    cache = default_cache()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        yield Finding(BAD, "cache", f"{cache} cannot be written; set ARITHLOC_CACHE to another folder")
        return
    free = shutil.disk_usage(existing).free
    text = f"{cache}, {free / 1024**3:.1f} GiB free"
    yield Finding(GOOD if free > _MIN_FREE else NOTE, "cache", text)


def _database(db: str, results: Path | None) -> Iterator[Finding]:
    from arithloc.benchmark.cli.counts import cell_counts
    from arithloc.benchmark.storage.filesystem import check_local
    from arithloc.benchmark.storage.integrity import orphans, problems
    from arithloc.benchmark.storage.location import locate
    from arithloc.benchmark.storage.repository import Repository

    location = locate(db, results)
    if location.file is not None:
        kind = check_local(location.file.parent) or "unknown"
        yield Finding(NOTE if kind == "tmpfs" else GOOD, "disk", f"{location.file.parent} on {kind}")
        if not location.file.exists():
            yield Finding(NOTE, "database", f"{location.shown} is not there yet; 'bench evaluate' makes it")
            return
    with Repository.open(db, results, read_only=True) as repository:
        counts = ", ".join(f"{n} {status}" for status, n in sorted(cell_counts(repository).items())) or "no cells"
        yield Finding(GOOD, "database", f"{location.shown}: {counts}")
        for problem in problems(repository):
            yield Finding(BAD, "database", problem)
        leftovers = orphans(repository)
        if leftovers:
            yield Finding(NOTE, "database", f"{len(leftovers)} files that no cell names; they are harmless")


def _model(name: str) -> Iterator[Finding]:
    from arithloc.benchmark import models

    loaded = models.load(name)
    shape = loaded.shape
    yield Finding(
        GOOD,
        "model",
        f"{loaded.name}: {loaded.identity.family}, {shape.n_layers} layers, {shape.n_heads} heads, "
        f"{loaded.identity.n_params:,} parameters{', known circuit' if name in model_sources() and loaded.identity.is_toy else ''}",
    )
    for text, start in (("3 + 5 = ", "a space"), ("3+5=", "no space")):
        yield Finding(GOOD, "tokenizer", f"numbers after {start}: {single_token_numbers(loaded.tokenizer, text)}")


def single_token_numbers(tokenizer: Any, prefix: str) -> str:
    """How far whole numbers are one token each behind a prefix: `0..9 are one token each`."""

    def length(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    try:
        before = length(prefix)
        limit = next(n for n in range(1001) if n == 1000 or length(f"{prefix}{n}") != before + 1)
    except Exception as error:  # a tokenizer without an unknown token raises on characters that it does not have
        return f"cannot be asked: {one_line(error)}"
    return "none is one token" if limit == 0 else f"0..{limit - 1} are one token each"
