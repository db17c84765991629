"""Time as it is stored."""

from datetime import UTC, datetime


def now() -> str:
    """UTC with milliseconds, as `2026-01-31T12:00:00.000Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
