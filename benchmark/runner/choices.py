"""Methods and tasks as chosen on the command line: class found, options read, identity recorded.

Plugins are imported by the worker; the parent checks names beforehand and gets the identities as JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from arithloc.benchmark.api import Granularity, MethodInfo, TaskInfo
from arithloc.benchmark.api.errors import ArithlocError, BadOption, UnknownName, UsageError, quoted
from arithloc.benchmark.api.options import Reference, build, recorded
from arithloc.benchmark.api.registry import OWN, Plugin, Registry, methods, one_line, tasks
from arithloc.benchmark.api.vocabulary import Split
from arithloc.benchmark.runner import oracle_identity
from arithloc.benchmark.runner.discovery import check_has_kind, divided, for_split, with_discovery_kind
from arithloc.benchmark.runner.job import reference_from_json, reference_to_json
from arithloc.benchmark.runner.suites import ORACLE
from arithloc.benchmark.storage.records import MethodRecord, TaskRecord

SANITY = frozenset({"random"})
"""Built-in methods that are shown as a reference and never ranked."""


@dataclass(frozen=True)
class MethodChoice:
    """A method with its options.

    Attributes:
        reference: how a worker finds it again.
        record: its identity.
        granularities: what it scores.
    """

    reference: Reference
    record: MethodRecord
    granularities: frozenset[Granularity]


@dataclass(frozen=True)
class TaskChoice:
    """A task with its options.

    Attributes:
        reference: how a worker finds it again; names the discovery kind where it is another one than the task's own.
        record: its identity, that of the test pairs.
        discovery_kind: counterfactual kind of the discovery pairs, empty where it is that of the test pairs.
    """

    reference: Reference
    record: TaskRecord
    discovery_kind: str = ""


def instantiate(registry: Registry, reference: Reference) -> tuple[Plugin, Any]:
    """Finds the class a reference names and makes an instance with its options.

    Raises:
        UsageError: unknown name or option, bad value, broken plugin, or not a class of that kind.
    """
    plugin = registry.get(reference.name)
    try:
        return plugin, build(plugin.target, reference.name, dict(reference.options))
    except ArithlocError:
        raise
    except Exception as error:  # a stranger's constructor may raise anything
        raise UsageError(f"The {registry.what} {quoted(reference.name)} cannot be made: {one_line(error)}.") from error


def choose_method(reference: Reference) -> MethodChoice:
    """Resolves a method reference.

    Raises:
        UsageError: see `instantiate`; also a class without `info` or `localize`.
    """
    if reference.name == ORACLE:
        return MethodChoice(reference, oracle_identity.RECORD, frozenset(oracle_identity.GRANULARITIES))
    plugin, instance = instantiate(methods, reference)
    info = _info(instance, reference, MethodInfo, "localize")
    try:
        granularities = frozenset(Granularity(value) for value in info.granularities)
    except ValueError as error:
        raise UsageError(
            f"{quoted(reference.name)} declares an unknown granularity: {error}. "
            f"Use some of {', '.join(Granularity)} in its MethodInfo."
        ) from None
    record = MethodRecord(
        name=_public_name(plugin, info.name),
        version=info.version,
        distribution=plugin.distribution,
        source_hash=plugin.source_hash,
        options=recorded(instance),
        granularities=tuple(sorted(granularities)),
        access=info.access,
        summary=info.summary,
        reference=info.reference,
        sanity=plugin.distribution == OWN and plugin.name in SANITY,
        title=_own_title(plugin, instance) or _public_name(plugin, info.name) + option_text(_changed(instance)),
    )
    return MethodChoice(_located(reference), record, granularities)


def choose_task(reference: Reference) -> TaskChoice:
    """Resolves a task reference.

    Raises:
        UsageError: see `instantiate`; also a class without `info` or `pairs`, or a discovery kind that it does not have.
    """
    plain, kind = divided(reference)
    plugin, instance = instantiate(tasks, plain)
    info = _info(instance, plain, TaskInfo, "pairs")
    if kind:
        check_has_kind(instance, plain.name)
        _, other = instantiate(tasks, for_split(reference, Split.DISCOVERY))
        kind = "" if recorded(other) == recorded(instance) else kind
    record = TaskRecord(
        name=_public_name(plugin, info.name),
        version=info.version,
        distribution=plugin.distribution,
        source_hash=plugin.source_hash,
        options=recorded(instance),
        family=info.family,
        control_for=info.control_for,
        summary=info.summary,
    )
    return TaskChoice(_located(with_discovery_kind(plain, kind)), record, kind)


def parse_options(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Reads `name.field=value` texts into values by name and field.

    Raises:
        BadOption: a text of another form.

    Example:
    >>> parse_options(["cna.mode=input", "addition.shots=4"])
    {'cna': {'mode': 'input'}, 'addition': {'shots': '4'}}
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, field = key.rpartition(".")
        if not (equals and dot and name and field):
            raise BadOption(f"Expected --option name.field=value, found {quoted(text)}. Example: cna.mode=input.")
        found.setdefault(name.strip(), {})[field.strip()] = value.strip()
    return found


def apply_options(
    options: Mapping[str, Mapping[str, str]], method_names: Sequence[Reference], task_names: Sequence[Reference]
) -> tuple[list[Reference], list[Reference]]:
    """Adds `--option` values to the method and task references they name.

    Raises:
        UnknownName: an option of something that is not part of this run.
    """
    known = {reference.name for reference in (*method_names, *task_names)}
    for name in options:
        if name not in known:
            raise UnknownName.among("method or task of this run", name, known)
    return (
        [reference.with_options(options.get(reference.name, {})) for reference in method_names],
        [reference.with_options(options.get(reference.name, {})) for reference in task_names],
    )


@dataclass(frozen=True)
class Choices:
    """All methods and tasks of a run."""

    methods: tuple[MethodChoice, ...]
    tasks: tuple[TaskChoice, ...]


def choose(methods: Sequence[Reference], tasks: Sequence[Reference]) -> Choices:
    """Resolves every reference of a run.

    Raises:
        UsageError: see `choose_method` and `choose_task`.
    """
    return Choices(tuple(map(choose_method, methods)), tuple(map(choose_task, tasks)))


def check_names(method_references: Sequence[Reference], task_references: Sequence[Reference]) -> None:
    """Refuses unknown names and missing files at once, before any worker starts. Imports no plugin.

    Raises:
        UnknownName: nothing of that name is registered.
        UsageError: a file that is not there.
    """
    for registry, references in ((methods, method_references), (tasks, task_references)):
        names = registry.names()
        for reference in references:
            if ":" in reference.name:
                place = reference.name.rpartition(":")[0]
                if place.endswith(".py") and not Path(place).expanduser().is_file():
                    raise UsageError(f"Expected a Python file at {quoted(place)}, found none. Check the path.")
            elif registry is methods and reference.name == ORACLE:
                continue
            elif reference.name not in names and not any(name.endswith("/" + reference.name) for name in names):
                raise UnknownName.among(
                    registry.what, reference.name, [*names, ORACLE] if registry is methods else names
                )


def choices_to_json(choices: Choices) -> dict[str, Any]:
    """Choices as JSON values."""
    return {
        "methods": [
            {
                "reference": reference_to_json(choice.reference),
                "record": asdict(choice.record),
                "granularities": sorted(choice.granularities),
            }
            for choice in choices.methods
        ],
        "tasks": [
            {
                "reference": reference_to_json(choice.reference),
                "record": asdict(choice.record),
                "discovery_kind": choice.discovery_kind,
            }
            for choice in choices.tasks
        ],
    }


def choices_from_json(value: dict[str, Any]) -> Choices:
    """Inverse of `choices_to_json`."""
    found = []
    for item in value["methods"]:
        record = MethodRecord(**{**item["record"], "granularities": tuple(item["record"]["granularities"])})
        granularities = frozenset(Granularity(name) for name in item["granularities"])
        found.append(MethodChoice(reference_from_json(item["reference"]), record, granularities))
    return Choices(
        tuple(found),
        tuple(
            TaskChoice(reference_from_json(item["reference"]), TaskRecord(**item["record"]), item["discovery_kind"])
            for item in value["tasks"]
        ),
    )


def _info(instance: Any, reference: Reference, kind: type, call: str) -> Any:
    info = getattr(instance, "info", None)
    if not isinstance(info, kind) or not callable(getattr(instance, call, None)):
        raise UsageError(
            f"Expected a class with `info` ({kind.__name__}) and `{call}` at {quoted(reference.name)}, "
            f"found info = {quoted(info)} and {call} = {quoted(getattr(instance, call, None))}. "
            "See CONTRIBUTING.md for the smallest example."
        )
    return info


def option_text(options: Mapping[str, Any]) -> str:
    """Options as they are written behind a name.

    Example:
    >>> option_text({"shots": 4, "frames": ["F0", "F5"], "negative": False})
    '[frames=F0 F5,negative=false,shots=4]'
    """
    listed = ",".join(f"{name}={_as_text(value)}" for name, value in sorted(options.items()))
    return f"[{listed}]" if listed else ""


def _as_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_as_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _changed(instance: Any) -> dict[str, Any]:
    """Options of an instance that are not the default ones."""
    if not is_dataclass(instance):
        return {}
    defaults = {field.name: field.default for field in fields(instance)}
    given = recorded(instance)
    return {name: value for name, value in given.items() if defaults[name] != getattr(instance, name)}


def _own_title(plugin: Plugin, instance: Any) -> str:
    """The title that a built-in method gives itself; nobody else's may, so that no plugin poses as another entry."""
    return str(getattr(instance, "title", "")) if plugin.distribution == OWN else ""


def _public_name(plugin: Plugin, own_name: str) -> str:
    return own_name if plugin.distribution == "local" else plugin.name


def _located(reference: Reference) -> Reference:
    place, colon, attribute = reference.name.rpartition(":")
    if colon and place.endswith(".py"):
        return Reference(f"{Path(place).expanduser().resolve()}:{attribute}", tuple(sorted(reference.options)))
    return Reference(reference.name, tuple(sorted(reference.options)))
