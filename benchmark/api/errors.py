"""Every error arithloc raises on purpose, with the exit code of the command line.

ArithlocError
+- UsageError            2   UnknownName, BadOption, PlanError
+- PrerequisiteError     2   MissingExtra, NetworkFilesystem, SchemaTooNew, UnusableDatabase, NoFastTokenizer
+- ModelError            1   UnsupportedArchitecture, AdapterCheckFailed
+- TaskError             1   TokenizerMismatch, TooFewPairs
+- MethodError           1   BadScores, MethodCrashed, UnsupportedGranularity
+- MetricError           1   NoEffect
+- RunError              1   CellTimeout, WorkerDied, OutOfMemory
+- StorageError          1   MergeConflict, ArtifactMissing, ArtifactCorrupt

A message says what was expected, what was found and what to do, in three sentences at most.
"""

import difflib
from collections.abc import Iterable


class ArithlocError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class UsageError(ArithlocError):
    """The command or call cannot be carried out as given."""

    exit_code = 2


class UnknownName(UsageError):
    """A method, task, model, suite or option that nobody registered."""

    @classmethod
    def among(cls, what: str, name: str, known: Iterable[str]) -> "UnknownName":
        """Builds the error for `name`, suggesting the nearest of the `known` names."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names) or 'none'}."
        return cls(f"No {what} is called {quoted(name)}. {hint}")


class BadOption(UsageError):
    """An option with a value of the wrong type or out of range."""


class PlanError(UsageError):
    """A grid of cells that has no valid cell."""


class PrerequisiteError(ArithlocError):
    """Something the machine lacks."""

    exit_code = 2


class MissingExtra(PrerequisiteError):
    """An optional dependency that is not installed."""

    @classmethod
    def named(cls, extra: str, purpose: str) -> "MissingExtra":
        """Builds the one-sentence error that names the extra."""
        return cls(f"{purpose} needs the extra {extra!r}: pip install 'arithloc[{extra}]'.")


class NetworkFilesystem(PrerequisiteError):
    """A SQLite database on a file system that cannot lock it."""


class SchemaTooNew(PrerequisiteError):
    """A database written by a newer arithloc."""


class UnusableDatabase(PrerequisiteError):
    """A results database that cannot be opened: not one, not readable, not reachable."""


class NoFastTokenizer(PrerequisiteError):
    """A model whose tokenizer cannot give token offsets."""


class ModelError(ArithlocError):
    """The subject model cannot be studied."""


class UnsupportedArchitecture(ModelError):
    """No anatomy row for this model type, or an operation that is not exact on it."""


class AdapterCheckFailed(ModelError):
    """The anatomy does not describe this model: parts do not add up to the whole."""


class TaskError(ArithlocError):
    """A task cannot give valid pairs."""


class TokenizerMismatch(TaskError):
    """The tokenizer cannot express the task."""


class TooFewPairs(TaskError):
    """Fewer valid pairs than needed."""


class MethodError(ArithlocError):
    """A method broke its contract."""


class BadScores(MethodError):
    """Scores of the wrong shape or space, or not finite."""


class MethodCrashed(MethodError):
    """A method raised an exception."""


class UnsupportedGranularity(MethodError):
    """A method asked for a granularity that it does not score."""


class MetricError(ArithlocError):
    """A metric is not defined on these values."""


class NoEffect(MetricError):
    """The model does no better than the empty circuit, so faithfulness has no denominator."""


class RunError(ArithlocError):
    """A cell could not be finished."""


class CellTimeout(RunError):
    """A cell ran past its wall-clock limit."""


class WorkerDied(RunError):
    """The process of a cell ended without a result."""


class OutOfMemory(RunError):
    """The smallest batch does not fit the device."""


class StorageError(ArithlocError):
    """The results cannot be read or written."""


class MergeConflict(StorageError):
    """Two results for one key that differ beyond tolerance."""


class ArtifactMissing(StorageError):
    """A row names a file that is not there."""


class ArtifactCorrupt(StorageError):
    """A file whose content does not match its hash."""


def quoted(value: object) -> str:
    """`repr` of a value as it appears in a message, cut at 200 characters."""
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
