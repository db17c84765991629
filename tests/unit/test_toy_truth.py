"""Shipped truth documents: complete, valid, and what the recipes say."""

import copy
import json
from importlib.resources import files

import pytest

from arithloc.benchmark.api import Problem
from arithloc.benchmark.metrics.truth_document import read_truth_document
from arithloc.tasks.toy.certify import as_text
from arithloc.tasks.toy.compiled import compile_circuit
from arithloc.tasks.toy.models import COMPILED, SOURCES
from arithloc.tasks.toy.truth import disagreements

NAMES = [source.name for source in COMPILED]


@pytest.fixture(scope="module")
def documents():
    return {source.name: source.truth() for source in SOURCES}


def test_the_release_set_is_complete():
    assert NAMES == [f"toy-a-base-{i}" for i in range(1, 9)] + [f"toy-a-stress-{i}" for i in range(1, 17)]
    shipped = {entry.name for entry in (files("arithloc.tasks.toy") / "circuits").iterdir()}
    assert shipped == {f"{source.name}.json" for source in SOURCES}


def test_every_document_follows_the_schema(documents):
    for name, document in documents.items():
        assert read_truth_document(document).id == name


def test_every_check_passed(documents):
    for document in documents.values():
        assert all(certificate["passed"] for certificate in document["certificates"])
        checks = {certificate["check"] for certificate in document["certificates"]}
        assert checks == set(range(1, 10)) - (
            {4} if document["tier"] == "C" else set()
        )  # natural ones claim no variable
        assert all(control["passed"] for control in document["controls"])
        assert document["behaviour"]["wrong"] == 0
        assert all(variable["iia"] == 1.0 for variable in document["variables"])


@pytest.mark.parametrize("source", COMPILED, ids=NAMES)
def test_rebuilt_claims_equal_the_shipped_ones(source, documents):
    """Everything but the measurements follows from the recipe."""
    assert disagreements(documents[source.name], compile_circuit(source.recipe)) == []


def test_an_edited_document_is_noticed(documents):
    built = compile_circuit(COMPILED[0].recipe)
    for edit in ("node", "class", "edge", "neuron", "recipe"):
        edited = copy.deepcopy(documents["toy-a-base-1"])
        if edit == "node":
            edited["nodes"][0]["label"] = "in" if edited["nodes"][0]["label"] == "out" else "out"
        elif edit == "class":
            edited["nodes"][-1]["classes"]["bos"] = "in"
        elif edit == "edge":
            del edited["edges"][0]
        elif edit == "neuron":
            edited["neurons"][3]["label"] = "in" if edited["neurons"][3]["label"] == "out" else "out"
        else:
            edited["generator"]["recipe"]["beta"] = 14.0
        expected = {"node": "nodes", "class": "nodes", "edge": "edges", "neuron": "neurons", "recipe": "generator"}[
            edit
        ]
        assert disagreements(edited, built) == [expected]


def test_labels_agree_with_measured_effects(documents):
    for document in documents.values():
        for node in document["nodes"]:
            flip = node["effect"]["resample"]["flip"]
            if document["tier"] == "C" and node["label"] == "undecided":
                continue  # redundant, or rarely needed
            assert (flip > 0) == (node["label"] != "out" and node["quorum"] is None), (document["id"], node["id"])


def test_a_problem_has_no_truth():
    assert not [name for name in Problem.__dataclass_fields__ if "truth" in name or "circuit" in name]


def test_text_is_json_again():
    document = {"schema": 1, "rows": [{"a": 1.5}, {"a": None}], "empty": [], "name": "x"}
    assert json.loads(as_text(document)) == document
    assert as_text(document).count("\n") == 9
    with pytest.raises(ValueError, match="JSON"):
        as_text({"bad": float("nan")})
