"""`bench audit`: true circuits pass, broken copies and edited documents fail."""

import copy
import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from arithloc.benchmark.api import ModelSource
from arithloc.benchmark.api.errors import BadOption, UnknownName, UsageError
from arithloc.benchmark.api.model import AuditedSource
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.metrics.truth_document import read_truth_document
from arithloc.tasks.toy import plans
from arithloc.tasks.toy.models import COMPILED, CompiledSource

TINY = plans.Plan(nodes=50, classes=30, edges=25, swaps=50, joint=50, behaviour=100)
SOURCE = COMPILED[0]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARITHLOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plans, "QUICK", TINY)
    return tmp_path / "cache"


def test_a_true_circuit_passes_and_its_document_is_written(cache, tmp_path, capsys):
    assert command(["audit", SOURCE.name, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "toy-a-base-1: proven" in printed and "124 of 124 questions right (sampled)" not in printed
    assert printed.count("yes") == 10 and "NO" not in printed.split()
    document = json.loads((tmp_path / "out" / "toy-a-base-1.json").read_text(encoding="utf-8"))
    assert read_truth_document(document).id == SOURCE.name
    assert list(document) == list(SOURCE.truth()) and document["provenance"]["commit"]


def test_a_scaled_weight_fails_and_nothing_is_written(cache, tmp_path, capsys):
    folder = SOURCE.folder(cache)
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.1.mlp.c_proj.weight"] *= 0.7
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert command(["audit", SOURCE.name, "--out", str(tmp_path / "out"), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert not found["passed"] and 8 in {c["check"] for c in found["certificates"] if not c["passed"]}
    assert not (tmp_path / "out").exists()


def test_an_edited_document_fails(cache, monkeypatch, capsys):
    edited = copy.deepcopy(SOURCE.truth())
    moved = next(node for node in edited["nodes"] if node["label"] == "in")
    moved["label"] = "out"
    monkeypatch.setattr(CompiledSource, "truth", lambda self: edited)
    assert command(["audit", SOURCE.name, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert [c["check"] for c in found["certificates"] if not c["passed"]] == [9]


def test_names_that_cannot_be_audited_are_refused(cache):
    with pytest.raises(UnknownName, match="toy-a-base-1"):
        command(["audit", "toy-a-bse-1"])
    with pytest.raises(UsageError, match="found 'smollm2'"):
        command(["audit", "smollm2"])
    for arguments in (["audit"], ["audit", SOURCE.name, "--all"]):
        with pytest.raises(BadOption, match="--all"):
            command(arguments)
    assert not cache.exists()


def test_only_sources_with_an_audit_follow_the_contract():
    class Plain:
        name, summary, is_toy = "plain", "", False

        def folder(self, cache: Path) -> Path:
            return cache

        def truth(self):
            return None

    assert isinstance(SOURCE, AuditedSource) and isinstance(Plain(), ModelSource)
    assert not isinstance(Plain(), AuditedSource)
