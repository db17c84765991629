"""The secret seed of a private split: read from a file or the environment, never stored, never printed.

What is published is its commitment. Every task gets a sampling seed of its own from it, so that pairs of one task say
nothing about another.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from arithloc.benchmark.api.errors import PrerequisiteError, UsageError, quoted
from arithloc.benchmark.storage.records import TaskRecord
from arithloc.benchmark.storage.text import canonical_json

VARIABLE: Final = "ARITHLOC_PRIVATE_SEED"
"""Environment variable that holds the seed as hexadecimal digits."""
BYTES: Final = 32
"""Length of a seed: a short or thought-up one could be guessed from its commitment."""


class PrivateSeed:
    """A secret seed; its text and `repr` show the commitment alone."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @property
    def commitment(self) -> str:
        """SHA-256 of the seed's 32 bytes, in hex: what is published beforehand and checked after the reveal."""
        return hashlib.sha256(self._secret).hexdigest()

    def season_commitment(self, season: str, suite: str, suite_version: str, n_pairs: int) -> str:
        """SHA-256 of the canonical JSON of the seed and how it is used, which fixes that too."""
        document = {
            "season": season,
            "suite": suite,
            "suite_version": suite_version,
            "n_pairs": n_pairs,
            "seed_hex": self._secret.hex(),
        }
        return hashlib.sha256(canonical_json(document).encode()).hexdigest()

    def of_task(self, task: TaskRecord, tokenizer_hash: str) -> int:
        """Sampling seed of a task for a tokenizer: the first 8 bytes of HMAC-SHA256, below 2^63."""
        asked = [task.distribution, task.name, task.version, task.options, tokenizer_hash]
        digest = hmac.new(self._secret, canonical_json(asked).encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def reveal(self) -> str:
        """The seed itself, for the pipe to a worker: never for a file, a log, an argument or an environment."""
        return self._secret.hex()

    @classmethod
    def revealed(cls, text: str) -> "PrivateSeed":
        """Inverse of `reveal`.

        Raises:
            UsageError: not 64 hexadecimal digits.
        """
        return _parsed(text, "a message")

    def __repr__(self) -> str:
        return f"PrivateSeed({self.commitment[:12]}...)"


def read_private_seed(file: Path | None, environ: Mapping[str, str] = os.environ) -> tuple[PrivateSeed, list[str]]:
    """The seed of a file, else of the environment variable, and warnings to print.

    Raises:
        PrerequisiteError: neither is there.
        UsageError: not 64 hexadecimal digits; what was found is not shown.
    """
    if file is None:
        if not environ.get(VARIABLE):
            raise PrerequisiteError(
                f"Expected the secret seed in a file (--private-seed-file) or in {VARIABLE}, found neither. "
                "Make one: bench tasks commit --new FILE."
            )
        return _parsed(environ[VARIABLE], VARIABLE), []
    try:
        mode, text = file.stat().st_mode, file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        if _is_seed(str(file)):  # typed in the place of a file: not to be repeated in a log
            raise UsageError(
                f"Expected a file that holds the secret seed, found the seed itself (not shown). Put it into {VARIABLE} or a "
                "file; it may be in the history of your shell now, so make a new one: bench tasks commit --new FILE."
            ) from None
        raise PrerequisiteError(
            f"The file of the secret seed {quoted(str(file))} cannot be read: {error.strerror}. Check the path."
        ) from error
    warnings = []
    if stat.S_IMODE(mode) & 0o077:
        warnings.append(
            f"{file} can be read by others (mode {stat.S_IMODE(mode):04o}). Close it: chmod 600 {file}; if somebody may "
            "have read it, make a new seed."
        )
    return _parsed(text, quoted(str(file))), warnings


def new_private_seed(file: Path) -> PrivateSeed:
    """Draws a seed from the operating system and writes it to a new file that only its owner can read.

    Raises:
        UsageError: the file is there already.
        PrerequisiteError: it cannot be written.
    """
    secret = secrets.token_bytes(BYTES)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(secret.hex() + "\n")
    except FileExistsError as error:
        raise UsageError(
            f"The file {quoted(str(file))} is there already; a seed is never overwritten. Name a new file."
        ) from error
    except OSError as error:
        raise PrerequisiteError(f"The file {quoted(str(file))} cannot be written: {error.strerror}.") from error
    return PrivateSeed(secret)


def _is_seed(text: str) -> bool:
    return re.fullmatch(rf"[0-9a-fA-F]{{{2 * BYTES}}}", text) is not None


def _parsed(text: str, source: str) -> PrivateSeed:
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != BYTES:
        raise UsageError(
            f"Expected {2 * BYTES} hexadecimal digits in {source}, found something else (not shown, it is a secret). "
            "Make a seed: bench tasks commit --new FILE."
        ) from None
    return PrivateSeed(secret)
