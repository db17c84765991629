"""Registries of methods, tasks, models and analyses: entry points of installed distributions, and classes named by path.

Built-ins come in through the same entry points as everybody else's. A plugin that cannot be imported is kept as a
`BrokenPlugin` under its name and never stops the others. `ARITHLOC_PLUGINS` (comma-separated distribution names)
restricts which distributions are loaded.
"""

import hashlib
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from arithloc.benchmark.api.errors import ArithlocError, UnknownName, UsageError, quoted
from arithloc.benchmark.api.model import ModelSource
from arithloc.benchmark.api.sources import imported_files

OWN = "arithloc"
LOCAL = "local"


@dataclass(frozen=True)
class Plugin:
    """A registered object and where it comes from.

    Attributes:
        name: public name; third-party names are `distribution/name`.
        distribution: installed distribution, or `local` for a file named on the command line.
        version: version of the distribution, or empty.
        target: the class (methods, tasks) or object (models).
    """

    name: str
    distribution: str
    version: str
    target: Any

    @property
    def source_hash(self) -> str:
        """SHA-256 of the code behind the target: part of the key of every cell that uses it.

        For a third party that is every Python file of its top-level package, for a class named by its file that file
        and what it imports from its folder. Built-ins count with their own file: what they share is versioned
        (engine, scoring, tasks).
        """
        module = sys.modules[self.target.__module__ if isinstance(self.target, type) else type(self.target).__module__]
        own = Path(str(module.__file__)).resolve()
        digest = hashlib.sha256()
        for file in sorted({own, *self._shared(own, module.__name__)}):
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def _shared(self, own: Path, module: str) -> set[Path]:
        if self.distribution == OWN:
            return set()
        if self.distribution == LOCAL:
            return imported_files(own, own.parent)
        top = module.partition(".")[0]
        folder = next((parent for parent in own.parents if parent.name == top), None)
        return set(folder.rglob("*.py")) if folder else set()


@dataclass(frozen=True)
class BrokenPlugin:
    """An entry point that failed to load.

    Attributes:
        name: public name.
        distribution: whose it is.
        error: one line.
    """

    name: str
    distribution: str
    error: str


class Registry:
    """Everything registered under one entry-point group; nothing is imported before it is asked for."""

    def __init__(self, group: str, what: str) -> None:
        self.group = group
        self.what = what

    def _entries(self) -> dict[str, EntryPoint]:
        allowed = {d.strip() for d in os.environ.get("ARITHLOC_PLUGINS", "").split(",") if d.strip()}
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            distribution = _distribution(entry)
            if allowed and distribution not in allowed:
                continue
            name = entry.name if distribution == OWN else f"{distribution}/{entry.name}"
            if name in found and found[name].value != entry.value:
                raise UsageError(
                    f"The {self.what} {quoted(name)} is registered twice, as {found[name].value} and as {entry.value}. "
                    "Uninstall one of the two distributions or rename its entry point."
                )
            found[name] = entry
        return found

    def names(self) -> list[str]:
        """All registered names, broken ones included."""
        return sorted(self._entries())

    def all(self) -> list[Plugin | BrokenPlugin]:
        """Everything, loaded; what does not load is returned as broken."""
        return [self._load(name, entry) for name, entry in sorted(self._entries().items())]

    def get(self, name: str) -> Plugin:
        """The plugin called `name`, or the class a `path.py:Class` / `package.module:Class` text names.

        Raises:
            UnknownName: nothing of that name; near names are suggested.
            UsageError: it is there but does not load.
        """
        if ":" in name:
            return load_path(name, self.what)
        entries = self._entries()
        if name not in entries:
            short = [full for full in entries if full.endswith("/" + name)]
            if len(short) != 1:
                raise UnknownName.among(self.what, name, entries)
            name = short[0]
        plugin = self._load(name, entries[name])
        if isinstance(plugin, BrokenPlugin):
            raise UsageError(
                f"The {self.what} {quoted(name)} of {plugin.distribution} does not load: {plugin.error}. "
                "Repair or uninstall that distribution."
            )
        return plugin

    def _load(self, name: str, entry: EntryPoint) -> Plugin | BrokenPlugin:
        distribution = _distribution(entry)
        try:
            target = entry.load()
        except Exception as error:  # a stranger's module may raise anything; it is reported by name
            return BrokenPlugin(name, distribution, one_line(error))
        return Plugin(name, distribution, entry.dist.version if entry.dist else "", target)


methods = Registry("arithloc.methods", "method")
tasks = Registry("arithloc.tasks", "task")
model_families = Registry("arithloc.models", "model family")
analyses = Registry("arithloc.analyses", "analysis")


def model_sources() -> dict[str, ModelSource]:
    """All named models of all loadable families.

    Raises:
        UsageError: one name in two families.
    """
    found: dict[str, ModelSource] = {}
    for plugin in model_families.all():
        if isinstance(plugin, BrokenPlugin):
            continue
        for source in plugin.target:
            if source.name in found:
                raise UsageError(f"The model {quoted(source.name)} is registered twice. Uninstall one of the plugins.")
            found[source.name] = source
    return found


def load_path(text: str, what: str) -> Plugin:
    """Loads the class that `path.py:Class` or `package.module:Class` names.

    Raises:
        UsageError: no such file, module or class, or it does not import.
    """
    place, _, attribute = text.rpartition(":")
    try:
        module = _module_from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        target = getattr(module, attribute)
    except ArithlocError:
        raise
    except Exception as error:  # the user's own file may raise anything while it is imported
        raise UsageError(
            f"Expected a {what} class at {quoted(text)}, but: {one_line(error)}. Check the file."
        ) from error
    if not isinstance(target, type):
        raise UsageError(
            f"Expected a class at {quoted(text)}, found {type(target).__name__}. Name the {what} class itself."
        )
    name = getattr(getattr(target, "info", None), "name", attribute)
    return Plugin(name, LOCAL, "", target)


def _module_from_file(path: Path) -> Any:
    return _module_at(path.expanduser().resolve())  # the same relative path is another file in another folder


@cache
def _module_at(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"Expected a Python file at {quoted(str(path))}, found none. Check the path.")
    name = f"arithloc_local_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{quoted(str(path))} is not a Python source file. Name a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def one_line(error: BaseException) -> str:
    """An exception as `Type: first line`, cut at 200 characters."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"[:200]
