"""Files that are either whole or not there."""

import errno
import os
import secrets
import time
from pathlib import Path

from arithloc.benchmark.api.errors import StorageError

_STALE_S = 86_400.0


def atomic_write(target: Path, data: bytes, temporary: Path) -> None:
    """Puts a file in place so that no reader and no crash ever sees part of it.

    The bytes go to a new file in `temporary`, are flushed to the disk, and replace `target` in one step.

    Args:
        target: where the file shall be; its folder is made.
        data: its content.
        temporary: folder for files in the making, on the same file system as `target`.

    Raises:
        StorageError: no space, no permission, or another file system. Nothing is left behind.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(parents=True, exist_ok=True)
        draft = temporary / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with draft.open("xb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync(target.parent)
    except OSError as error:
        raise StorageError(_message(target, error)) from error


def replace_file(draft: Path, target: Path) -> None:
    """Puts a finished file on the same file system in the place of `target`, durably.

    Raises:
        StorageError: it cannot be done.
    """
    try:
        _sync(draft)
        draft.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise StorageError(_message(target, error)) from error


def sweep(temporary: Path) -> list[Path]:
    """Removes files in the making that are older than a day and whose process is gone; returns them."""
    removed = []
    for draft in temporary.glob("*-*") if temporary.is_dir() else ():
        owner = draft.name.partition("-")[0]
        try:
            if owner.isdecimal() and time.time() - draft.stat().st_mtime > _STALE_S and not _alive(int(owner)):
                draft.unlink()
                removed.append(draft)
        except (FileNotFoundError, PermissionError):  # finished by its writer meanwhile, or another user's
            continue
    return removed


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _message(target: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"There is no space left to write {target}. Free some space, then run again to go on."
    if error.errno == errno.EXDEV:
        return f"{target} and its temporary folder are on two file systems. Keep the results folder on one."
    return f"{target} cannot be written: {error.strerror}. Make the results folder writable, or choose another one."
