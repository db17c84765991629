"""What travels between parent and worker arrives as it was sent."""

import json

import numpy as np
import pytest

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.errors import RunError, UnknownName
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.choices import (
    Choices,
    MethodChoice,
    TaskChoice,
    choices_from_json,
    choices_to_json,
)
from arithloc.benchmark.runner.job import (
    Effort,
    Job,
    SurveyRequest,
    job_from_json,
    job_to_json,
    request_from_json,
    request_to_json,
)
from arithloc.benchmark.runner.outcome import Failure, in_one_line, result_from_json, result_to_json
from arithloc.benchmark.runner.refusals import error_from_json, error_to_json
from arithloc.benchmark.runner.survey import DataSurvey, Refused, Survey, survey_from_json, survey_to_json
from arithloc.benchmark.storage.records import (
    CellResult,
    CurvePoint,
    DatasetRecord,
    Direction,
    MethodRecord,
    ModelRecord,
    RankingRule,
    RocPoint,
    ScoreRecord,
    TaskRecord,
)

METHOD = Reference("cna", (("mode", "input"), ("top", "5")))
TASK = Reference("/some/file.py:Task")


def there_and_back(value):
    return json.loads(json.dumps(value))


def test_a_job_survives_the_trip():
    job = Job(
        key="0" * 64,
        method=METHOD,
        task=TASK,
        model="toy",
        dtype="float32",
        granularity=Granularity.NEURON,
        ablation=Ablation.MEAN,
        metric="logit_diff",
        seed=3,
        effort=Effort(1, 2, 3, 4),
        discovery_hash="a" * 64,
        evaluation_hash="b" * 64,
        force_incapable=True,
    )
    assert job_from_json(there_and_back(job_to_json(job))) == job
    request = SurveyRequest("toy", "float64", (METHOD, TASK), 5, 6)
    assert request_from_json(there_and_back(request_to_json(request))) == request


def test_choices_and_surveys_survive_the_trip():
    method = MethodRecord("cna", "1", "arithloc", "f", {"top": 5}, ("neuron",), "forward", "s", "r", True, "cna[top=5]")
    task = TaskRecord("t", "1", "local", "e", {"frames": ["F0"]}, "family", "", "summary")
    choices = Choices(
        (MethodChoice(METHOD, method, frozenset({Granularity.NEURON, Granularity.NODE})),), (TaskChoice(TASK, task),)
    )
    assert choices_from_json(there_and_back(choices_to_json(choices))) == choices
    model = ModelRecord("m", "r", "w", "c", "t", "gpt2", 1, 2, 2, 8, 16, 100, 13, True)
    survey = Survey(model, "sdpa", 7, True, {"a": DataSurvey("x", "y", 1, 2), "b": Refused("TooFewPairs", "none")})
    assert survey_from_json(there_and_back(survey_to_json(survey))) == survey


def result():
    rng = np.random.default_rng(0)
    data = DatasetRecord("d" * 64, "test", 3, 2, 4, 0.75)
    return CellResult(
        scores=(
            ScoreRecord("faithfulness_area", 0.5, 0.4, None, 0.1, 3, 2, RankingRule.ABSOLUTE, flags=("few-clusters",)),
            ScoreRecord("cmd", None, reason="no-effect", direction=Direction.LOWER),
        ),
        curve=(CurvePoint("kept", RankingRule.SIGNED, 0, 1, 0.1, None, 2.0, 0.5),),
        components=rng.random(5),
        discovery=data,
        evaluation=data,
        replicates={"faithfulness_area": rng.random(4)},
        pair_values={
            "logit_diff/kept": rng.random((2, 3)).astype(np.float32),
            "kl/full": rng.random(3).astype(np.float32),
        },
        pair_clusters=("1,2", "1,2", "3,4"),
        roc=(RocPoint("node", 0, 0.0, 0.5, 1.0, 0.5, 1),),
        costs={"wall_localize_s": 1.5, "peak_host_bytes": float("nan")},
    )


def test_a_result_survives_the_trip_and_leaves_no_file(tmp_path):
    sent = result()
    message = there_and_back(result_to_json(sent, tmp_path / "tmp"))
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    got = result_from_json(message, tmp_path / "tmp")
    assert list((tmp_path / "tmp").iterdir()) == []
    for name in ("scores", "curve", "discovery", "evaluation", "pair_clusters", "roc"):
        assert getattr(got, name) == getattr(sent, name)
    np.testing.assert_array_equal(got.components, sent.components)
    for name in ("replicates", "pair_values"):
        assert getattr(got, name).keys() == getattr(sent, name).keys()
        for key, array in getattr(sent, name).items():
            np.testing.assert_array_equal(getattr(got, name)[key], array)
    assert got.costs["wall_localize_s"] == 1.5 and np.isnan(got.costs["peak_host_bytes"])


def test_a_result_names_a_file_of_the_folder_only(tmp_path):
    message = result_to_json(result(), tmp_path)
    with pytest.raises(ValueError, match="plain file name"):
        result_from_json({**message, "arrays": "../" + message["arrays"]}, tmp_path)


def test_errors_keep_their_class_and_strangers_become_run_errors():
    known = error_from_json(there_and_back(error_to_json(UnknownName("No such thing."))))
    assert type(known) is UnknownName and str(known) == "No such thing." and known.exit_code == 2
    stranger = error_from_json(there_and_back(error_to_json(KeyError("x"))))
    assert type(stranger) is RunError and str(stranger) == "KeyError: 'x'"
    assert type(error_from_json({"error": "quoted", "message": "m"})) is RunError


def test_messages_are_one_line_and_cut():
    assert in_one_line("a\n  b\tc") == "a b c"
    cut = Failure.of("X", "long " * 100_000, "trace")
    assert len(cut.message) <= 4000 and cut.message.endswith("[cut]")
