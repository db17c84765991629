"""What comes back from a worker: numbers as JSON, arrays as one safetensors file in the results folder."""

import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from arithloc.benchmark.api.errors import quoted
from arithloc.benchmark.storage.records import (
    Attempt,
    CellResult,
    CurvePoint,
    DatasetRecord,
    Direction,
    Environment,
    RankingRule,
    RocPoint,
    ScoreRecord,
    Status,
)
from arithloc.benchmark.storage.text import MAX_TEXT, cut


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: of the last attempt.
        attempts: every try, first to last.
        environment: of the last worker.
        result: what was measured; None unless the status is ok.
        log: last output of the worker, for the log file of the cell.
    """

    status: Status
    attempts: tuple[Attempt, ...]
    environment: Environment
    result: CellResult | None = None
    log: str = ""

    @property
    def error_type(self) -> str:
        """Class of the last error, empty when ok."""
        return self.attempts[-1].error_type

    @property
    def error_message(self) -> str:
        """One line for the user, empty when ok."""
        return self.attempts[-1].error_message


@dataclass(frozen=True)
class Failure:
    """Why a cell has no result, as a worker reports it.

    Attributes:
        error_type: class name, or `no-effect`, `model-cannot`, `no-pairs`.
        message: what happened, in plain words.
        trace: traceback for the log; empty where the message says it all.
    """

    error_type: str
    message: str
    trace: str = field(default="", repr=False)

    @classmethod
    def of(cls, error_type: str, message: str, trace: str = "") -> "Failure":
        """Builds a failure with its texts cut to what is stored."""
        return cls(error_type[:200], in_one_line(message), trace[-100_000:])


def in_one_line(message: str) -> str:
    """A message without line breaks, cut with a mark at the stored length."""
    return cut(" ".join(message[: 2 * MAX_TEXT].split()))


def result_to_json(result: CellResult, folder: Path) -> dict[str, Any]:
    """Writes the arrays of a result to a new file in `folder` and returns the rest as JSON values."""
    arrays = {"components": result.components}
    arrays |= {f"replicates/{name}": array for name, array in result.replicates.items()}
    arrays |= {f"pairs/{name}": array for name, array in result.pair_values.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{os.getpid()}-{secrets.token_hex(8)}.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return {
        "arrays": path.name,
        "scores": [asdict(score) for score in result.scores],
        "curve": [asdict(point) for point in result.curve],
        "roc": [asdict(point) for point in result.roc],
        "discovery": asdict(result.discovery),
        "evaluation": asdict(result.evaluation),
        "pair_clusters": list(result.pair_clusters),
        "costs": result.costs,
    }


def result_from_json(value: dict[str, Any], folder: Path) -> CellResult:
    """Reads a result back and removes its file.

    Raises:
        ValueError: the file name leaves `folder`.
    """
    name = str(value["arrays"])
    if Path(name).name != name:
        raise ValueError(f"Expected a plain file name, found {quoted(name)}.")
    path = folder / name
    arrays = load_file(path)
    path.unlink()
    return CellResult(
        scores=tuple(_score(score) for score in value["scores"]),
        curve=tuple(
            CurvePoint(**{**point, "ranking_rule": RankingRule(point["ranking_rule"])}) for point in value["curve"]
        ),
        components=arrays["components"],
        discovery=DatasetRecord(**value["discovery"]),
        evaluation=DatasetRecord(**value["evaluation"]),
        replicates=_below("replicates/", arrays),
        pair_values=_below("pairs/", arrays),
        pair_clusters=tuple(value["pair_clusters"]),
        roc=tuple(RocPoint(**point) for point in value["roc"]),
        costs=value["costs"],
    )


def _score(value: dict[str, Any]) -> ScoreRecord:
    return ScoreRecord(
        **{
            **value,
            "ranking_rule": RankingRule(value["ranking_rule"]),
            "direction": Direction(value["direction"]),
            "flags": tuple(value["flags"]),
        }
    )


def _below(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
