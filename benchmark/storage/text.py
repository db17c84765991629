"""How values are written as text: canonical JSON, times, cut messages."""

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

MAX_TEXT = 4000
_CUT_MARK = " ... [cut]"


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values on every machine.

    Keys are sorted, separators are `,` and `:`, strings are NFC and unescaped, enums are their value, sets are sorted,
    and numbers that are equal are written equally (2.0 as 2), so that an int given for a float changes nothing.

    Raises:
        ValueError: NaN, an infinity, or a value that is not JSON.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, Enum):
        return _canonical(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"expected a finite number, found {value}")
        return int(value) if value.is_integer() else value
    if isinstance(value, str):
        text = clean(value)
        return text if text.isascii() else unicodedata.normalize("NFC", text)
    if isinstance(value, Mapping):
        named = {_canonical(key): _canonical(item) for key, item in value.items()}
        if len(named) != len(value) or not all(isinstance(key, str) for key in named):
            raise ValueError("expected distinct text keys")
        return named
    if isinstance(value, set | frozenset):
        return sorted((_canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    raise ValueError(f"expected a JSON value, found {type(value).__name__}")


def clean(text: str) -> str:
    """Text that every database accepts: lone surrogates and NUL are written as escapes."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\x00")


def cut(text: str) -> str:
    """Clean text of at most 4,000 characters, with a mark where it was cut."""
    cleaned = clean(text)
    return cleaned if len(cleaned) <= MAX_TEXT else cleaned[: MAX_TEXT - len(_CUT_MARK)] + _CUT_MARK


def now() -> str:
    """The time as `YYYY-MM-DDTHH:MM:SS.mmmZ`, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
