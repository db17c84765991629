"""The version of scoring, part of every cell's key: raised by hand in the commit that changes results."""

SCORING_VERSION = 1
"""Raised when a metric, the choice of circuits or the correctness filter changes."""
