"""The counterfactual kind of the discovery pairs, where it is another one than that of the test pairs.

It is written among a task's options: `addition[kind=operands,discovery_kind=same_answer]`. The task itself does not know
it: discovery pairs are drawn by the same task with another `kind`, and the splits, which do not depend on the kind, keep
their operand pairs apart from those of the test pairs.
"""

import dataclasses
from typing import Any, Final

from arithloc.benchmark.api.errors import BadOption, quoted
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.vocabulary import Split

DISCOVERY_KIND: Final = "discovery_kind"
"""Option of every task that has the option `kind`."""
KIND: Final = "kind"


def divided(reference: Reference) -> tuple[Reference, str]:
    """A task reference without the discovery kind, and that kind; empty where none is given.

    Example:
    >>> divided(Reference.parse("addition[discovery_kind=same_answer,shots=1]"))
    (Reference(name='addition', options=(('shots', '1'),)), 'same_answer')
    """
    options = dict(reference.options)
    kind = options.pop(DISCOVERY_KIND, "")
    return (Reference(reference.name, tuple(options.items())), kind) if kind else (reference, "")


def with_discovery_kind(reference: Reference, kind: str) -> Reference:
    """Inverse of `divided`."""
    return reference.with_options({DISCOVERY_KIND: kind}) if kind else reference


def for_split(reference: Reference, split: Split) -> Reference:
    """The task that draws the pairs of a split.

    Example:
    >>> str(for_split(Reference.parse("addition[discovery_kind=same_answer]"), Split.DISCOVERY))
    'addition[kind=same_answer]'
    >>> str(for_split(Reference.parse("addition[discovery_kind=same_answer]"), Split.TEST))
    'addition'
    """
    plain, kind = divided(reference)
    return plain.with_options({KIND: kind}) if kind and split is Split.DISCOVERY else plain


def check_has_kind(task: Any, name: str) -> None:
    """Refuses a discovery kind of a task without kinds.

    Raises:
        BadOption: the task has no option `kind`.
    """
    fields = {field.name for field in dataclasses.fields(task)} if dataclasses.is_dataclass(task) else set()
    if KIND not in fields:
        raise BadOption(
            f"Expected a task with the option {KIND} for {DISCOVERY_KIND}, found {quoted(name)}, which has only one kind "
            f"of pairs. Leave {DISCOVERY_KIND} out."
        )
