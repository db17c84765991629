"""What the plan must know about models and data: identities, hashes, and which tasks a tokenizer can express.

The worker finds out (`workbench.py`), so that the parent needs no model code; this module holds what it answers.
"""

from dataclasses import asdict, dataclass
from typing import Any

from arithloc.benchmark.storage.records import ModelRecord


@dataclass(frozen=True)
class DataSurvey:
    """The pairs of one task for one tokenizer.

    Attributes:
        discovery_hash: `data_hash` of the discovery pairs.
        evaluation_hash: `data_hash` of the test pairs.
        n_discovery: pairs drawn, fewer than asked for where the grid is smaller.
        n_evaluation: the same for the test split.
    """

    discovery_hash: str
    evaluation_hash: str
    n_discovery: int
    n_evaluation: int


@dataclass(frozen=True)
class Refused:
    """Why a model or a task on a model cannot be used.

    Attributes:
        error: class name of the error.
        message: its text.
    """

    error: str
    message: str


@dataclass(frozen=True)
class Survey:
    """One model and the tasks asked about.

    Attributes:
        model: identity of the model.
        attention: attention implementation it runs with.
        engine_version: of the engine it would be measured with.
        has_truth: its circuit is known.
        data: by task reference as text.
    """

    model: ModelRecord
    attention: str
    engine_version: int
    has_truth: bool
    data: dict[str, DataSurvey | Refused]


def survey_to_json(survey: Survey) -> dict[str, Any]:
    """A survey as JSON values."""
    return {
        "model": asdict(survey.model),
        "attention": survey.attention,
        "engine_version": survey.engine_version,
        "has_truth": survey.has_truth,
        "data": {
            task: {"kind": "refused" if isinstance(found, Refused) else "data", **asdict(found)}
            for task, found in survey.data.items()
        },
    }


def survey_from_json(value: dict[str, Any]) -> Survey:
    """Inverse of `survey_to_json`."""
    data: dict[str, DataSurvey | Refused] = {}
    for task, found in value["data"].items():
        fields = {key: item for key, item in found.items() if key != "kind"}
        data[task] = Refused(**fields) if found["kind"] == "refused" else DataSurvey(**fields)
    return Survey(
        model=ModelRecord(**value["model"]),
        attention=value["attention"],
        engine_version=value["engine_version"],
        has_truth=value["has_truth"],
        data=data,
    )
