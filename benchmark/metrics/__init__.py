"""Scores as pure functions on arrays; numpy and scipy only."""

from typing import Final

__all__ = ["SCORING_VERSION"]

SCORING_VERSION: Final = 1
"""Raised when a score of the same measurements may change; part of the key of every cell."""
