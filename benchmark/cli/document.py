"""The JSON document of a run."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from arithloc.benchmark.runner.plan import Refusal
from arithloc.benchmark.storage.queries import CellSummary

RUN_SCHEMA = 1
"""Number of the layout; raised when a field changes its meaning."""


def run_document(
    rows: Sequence[CellSummary], refusals: Sequence[Refusal], database: str, *, interrupted: bool
) -> dict[str, Any]:
    """Everything a run has to say, as JSON values.

    Args:
        rows: cells of the plan that are in the database.
        refusals: what could not be run.
        database: where the results are.
        interrupted: the run was stopped before all cells were done.
    """
    return {
        "schema": RUN_SCHEMA,
        "database": database,
        "interrupted": interrupted,
        "cells": [asdict(row) for row in rows],
        "refused": [asdict(refusal) for refusal in refusals],
    }
