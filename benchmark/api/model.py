"""The model contract: a source of a model folder under a short name, with its ground truth if it has one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from arithloc.benchmark.api.method import Progress, no_progress


@runtime_checkable
class ModelSource(Protocol):
    """A model that arithloc or a plugin can produce on this machine.

    An entry point of the group `arithloc.models` names a sequence of these.

    Attributes:
        name: what `--model` takes.
        summary: one sentence.
        is_toy: a model with known circuit.
    """

    name: str
    summary: str
    is_toy: bool

    def folder(self, cache: Path) -> Path:
        """Folder that `AutoModelForCausalLM.from_pretrained` loads, built below `cache` where it is not there yet.

        Raises:
            PrerequisiteError: it cannot be built here; the message names the command that does.
        """
        ...

    def truth(self) -> Mapping[str, Any] | None:
        """The truth document (`docs/ground-truth.md`), or None. Never shown to a method."""
        ...


@runtime_checkable
class AuditedSource(ModelSource, Protocol):
    """A source whose truth can be proven again on this machine: what `bench audit` runs."""

    def audit(
        self, cache: Path, *, full: bool = False, out: Path | None = None, progress: Progress = no_progress
    ) -> Mapping[str, Any]:
        """Proves the circuit on the model's folder again.

        Args:
            cache: where models are built.
            full: measure as much as the shipped document rests on, not a little.
            out: folder that receives the document if every check passed.
            progress: called after each check.

        Returns: a truth document with the certificates of this run, those that failed included.
        """
        ...
