"""The model contract: a source of a model folder under a short name, with its ground truth if it has one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


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
