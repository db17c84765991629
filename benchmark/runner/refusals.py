"""Errors on their way from a worker to the parent: class name and text, never a pickled exception."""

from typing import Any

from arithloc.benchmark.api import errors
from arithloc.benchmark.api.errors import ArithlocError, RunError
from arithloc.benchmark.runner.outcome import in_one_line


def error_to_json(error: BaseException) -> dict[str, Any]:
    """Class name and message of an error."""
    text = str(error) if isinstance(error, ArithlocError) else f"{type(error).__name__}: {error}"
    return {"error": type(error).__name__, "message": in_one_line(text)}


def error_from_json(value: dict[str, Any]) -> ArithlocError:
    """The error again: its own class where that is one of ours, else a `RunError`."""
    kind = getattr(errors, value["error"], None)
    if isinstance(kind, type) and issubclass(kind, ArithlocError):
        return kind(value["message"])
    return RunError(value["message"])
