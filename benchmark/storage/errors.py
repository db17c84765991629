"""Turns what the database driver raises into one clear sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from arithloc.benchmark.api.errors import ArithlocError, StorageError, UnusableDatabase
from arithloc.benchmark.storage.location import Location

_UNUSABLE = ("not a database", "malformed", "unable to open", "encrypted", "authorization denied")


@contextmanager
def clear_errors(location: Location) -> Iterator[None]:
    """Re-raises driver errors of the block as arithloc errors that name the database without credentials.

    Raises:
        UnusableDatabase: the file is no database, is damaged, or cannot be reached.
        StorageError: full disk, locked too long, read-only, or another failure of an open database.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise explain(error, location) from error


def explain(error: SQLAlchemyError, location: Location) -> ArithlocError:
    """The arithloc error for a driver error."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = location.redact(str(cause)).strip().splitlines()
    text = lines[0] if lines else type(cause).__name__
    at = f"The results database {location.shown}"
    if "is locked" in text:
        return StorageError(f"{at} stayed locked by another process: {text}. End that process, then run again.")
    if "disk is full" in text or "No space left" in text:
        return StorageError(f"{at} found the disk full: {text}. Free some space, then run again to go on.")
    if "readonly" in text or "read-only" in text:
        return StorageError(f"{at} cannot be written: {text}. Make the file and its folder writable.")
    if any(sign in text for sign in _UNUSABLE):
        return UnusableDatabase(f"{at} cannot be opened: {text}. Name another one with --db; this one is unchanged.")
    if location.file is None and isinstance(error, OperationalError | InterfaceError):
        return UnusableDatabase(f"{at} does not answer: {text}. Check --db and the server.")
    return StorageError(f"{at} refused a statement: {text}. Please report this.")
