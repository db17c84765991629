"""Scores as pure functions on arrays; numpy and scipy only."""

from typing import Final

SCORING_VERSION: Final = 1
"""Raised when a score of the same measurements may change; part of the key of every cell."""
