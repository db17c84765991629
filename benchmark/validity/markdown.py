"""Tables and numbers of the validity page."""

from collections.abc import Iterable, Sequence

import numpy as np

from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.storage.records import ScoreRecord

NONE = "-"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines)


def estimate(found: Estimate | ScoreRecord | None) -> str:
    """A value with its interval."""
    if found is None or found.value is None:
        return NONE
    if found.low is None or found.high is None:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean, lowest and highest."""
    if not values:
        return NONE
    return f"{np.mean(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def correlation(value: float | None) -> str:
    """One rank correlation."""
    return NONE if value is None else f"{value:.2f}"
