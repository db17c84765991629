"""Shipped trained models: their weights, what their documents claim, and that broken copies fail."""

import copy
import hashlib
import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from arithloc.benchmark.api import ModelSource
from arithloc.benchmark.api.errors import ModelError
from arithloc.benchmark.api.model import AuditedSource
from arithloc.benchmark.metrics.truth_document import read_truth_document
from arithloc.tasks.toy import train, trained_models
from arithloc.tasks.toy.arithmetic import random_questions, token_ids
from arithloc.tasks.toy.closure import Loaded, Pairs, audit_questions
from arithloc.tasks.toy.natural_audit import NaturalAudit, NaturalPlan
from arithloc.tasks.toy.plans import Plan
from arithloc.tasks.toy.shipped import read_weights
from arithloc.tasks.toy.siit_audit import SiitAudit
from arithloc.tasks.toy.siit_recipe import SiitRecipe
from arithloc.tasks.toy.siit_swaps import silent_effect, swap_score
from arithloc.tasks.toy.subject import Subject, batches
from arithloc.tasks.toy.trained_models import TRAINED, TrainedSource
from arithloc.tasks.toy.truth import claims

SIIT = [source for source in TRAINED if isinstance(source.recipe, SiitRecipe)]
NATURAL = [source for source in TRAINED if not isinstance(source.recipe, SiitRecipe)]
MEGABYTES = 10
TINY = Plan(nodes=60, classes=60, edges=20, swaps=40, joint=60, behaviour=100)

TINY_NATURAL = NaturalPlan(alone=50, final=200, edges=250, behaviour=100)


def ids(sources):
    return [source.name for source in sources]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_everything_shipped_is_small_and_named():
    shipped = [file for folder in ("circuits", "weights") for file in (files("arithloc.tasks.toy") / folder).iterdir()]
    assert sum(len(file.read_bytes()) for file in shipped) < MEGABYTES * 1e6
    weights = {file.name for file in shipped if file.name.endswith(".safetensors")}
    assert weights == {f"{source.name}.safetensors" for source in TRAINED}
    assert all(isinstance(source, ModelSource) and isinstance(source, AuditedSource) for source in TRAINED)


@pytest.mark.parametrize("source", TRAINED, ids=ids(TRAINED))
def test_documents_are_about_the_shipped_weights_and_recipes(source):
    document = source.truth()
    read_truth_document(document)
    assert document["generator"]["recipe"] == source.recipe.as_dict()
    assert document["generator"]["recipe_sha256"] == source.recipe.sha256
    assert document["tier"] == ("B" if source in SIIT else "C")
    assert {row["check"] for row in document["certificates"]} == set(range(1, 10)) - (set() if source in SIIT else {4})
    assert all(row["passed"] for row in (*document["certificates"], *document["controls"]))


@pytest.mark.parametrize("source", SIIT, ids=ids(SIIT))
def test_interchange_trained_models_do_what_they_claim(source, cache):
    subject, program = Subject.load(source.folder(cache), np.float32), source.recipe.program
    rng = np.random.default_rng(11)
    asked = list(batches(subject, random_questions(source.recipe.n_digits, "+", 2_000, rng, transparent=0.3)))
    assert all((batch.predicted == batch.target).all() for batch in asked)
    assert silent_effect(asked, program, 1, rng).flipped == 0
    for held in program.variables:
        score = swap_score(asked[:2], held, rng, whole=False)
        assert score.followed == score.kept == score.total == 500
    # the labels hold under resampling; some head that carries nothing is missed when it is zero
    outside = [row for row in source.truth()["nodes"] if row["label"] == "out"]
    assert max(row["effect"]["zero"]["flip"] for row in outside) > 0.05
    assert all(row["effect"]["mean"]["flip"] == 0 for row in outside)


@pytest.mark.parametrize("source", NATURAL, ids=ids(NATURAL))
def test_natural_models_do_what_they_claim(source, cache):
    folder = source.folder(cache)
    found = NaturalAudit(source.name, source.recipe, folder, TINY_NATURAL)
    labels, rng = found.stated(source.truth()), np.random.default_rng(12)
    loaded = Loaded.of(found.shipped, Pairs.shuffled(audit_questions(found.shipped, 2_000, rng), rng))
    assert not loaded.wrong([]).any()
    assert not loaded.wrong([site for site, label in labels.items() if label == "out"]).any()
    inside = [site for site, label in labels.items() if label == "in"]
    assert inside and loaded.wrong(inside).mean() > 0.9


@pytest.mark.parametrize("source", [SIIT[0], NATURAL[0]], ids=lambda source: source.name)
def test_stock_classes_load_a_model_and_its_hash_is_checked(source, cache, monkeypatch):
    folder = source.folder(cache)
    stated = source.truth()["model"]["weights_sha256"]
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == stated
    assert folder.name == f"{source.name}-{stated[:12]}" and source.folder(cache) == folder
    asked = random_questions(source.recipe.n_digits, "+", 50, np.random.default_rng(0))
    tokens = token_ids(asked, source.recipe.format)
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(torch.from_numpy(tokens[:, :-1])).logits
    digits = source.recipe.n_digits + 2
    assert (logits[:, -digits:].argmax(-1).numpy() == tokens[:, -digits:]).all()
    assert AutoTokenizer.from_pretrained(folder).init_kwargs["bos"] is False
    monkeypatch.setattr(trained_models, "read_weights", lambda name: b"other bytes")
    with pytest.raises(ModelError, match=stated):
        source.folder(cache)


def audit_siit(folder, recipe=SIIT[0].recipe, claimed=None):
    document = SiitAudit(SIIT[0].name, recipe, folder, TINY, claimed or SIIT[0].truth()).run()
    return {row["check"] for row in document["certificates"] if not row["passed"]}


def copied(folder, target, change):
    """The folder with changed weights."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_the_shipped_model_passes_and_broken_copies_fail(cache, tmp_path):
    folder = SIIT[0].folder(cache)
    assert audit_siit(folder) == set()

    def scale(weights):
        # what the head of the carry writes, by a fifth: answers stay right, the weights are not those of the document
        weights["transformer.h.1.attn.c_proj.weight"][16:32] *= 1.2

    def cut(weights):
        # column head to first MLP and to the later heads
        weights["transformer.h.0.attn.c_proj.weight"][:16] = 0.0

    assert 9 in audit_siit(copied(folder, tmp_path / "scaled", scale))
    assert {1, 2, 4, 5, 9} <= audit_siit(copied(folder, tmp_path / "cut", cut))
    moved = replace(SIIT[0].recipe, alignment=2)
    assert {2, 3, 4, 9} <= audit_siit(folder, moved)
    edited = copy.deepcopy(SIIT[0].truth())
    edited["nodes"][0]["label"] = "out"
    edited["edges"].remove(max(edited["edges"], key=lambda row: row["flip"]))
    assert audit_siit(folder, claimed=edited) == {5, 9}


def test_proving_the_shipped_weights_again_claims_the_same(tmp_path, monkeypatch):
    source, kept, out = SIIT[0], tmp_path / "kept", tmp_path / "out"
    kept.mkdir()
    (kept / f"{source.name}.safetensors").write_bytes(read_weights(source.name))
    monkeypatch.setattr(train, "TRAINED_FULL", TINY)
    assert train.ship(source.name, source.recipe, kept, "cpu", out)
    assert (out / "weights" / f"{source.name}.safetensors").read_bytes() == read_weights(source.name)
    made = json.loads((out / "circuits" / f"{source.name}.json").read_text(encoding="utf-8"))
    shipped = source.truth()
    # edges are labelled by measurement, on fewer questions here
    same = [key for key in made if claims(made[key]) == claims(shipped[key])]
    assert {"generator", "model", "format", "distribution", "variables", "nodes", "groups"} <= set(same)
    assert list(made) == list(shipped)


def test_a_natural_model_passes_and_false_claims_fail(cache):
    source = NATURAL[0]
    folder = source.folder(cache)

    def failed(claimed):
        document = NaturalAudit(source.name, source.recipe, folder, TINY_NATURAL, claimed).run()
        return {row["check"] for row in document["certificates"] if not row["passed"]}

    assert failed(source.truth()) == set()
    edited = copy.deepcopy(source.truth())
    row = next(row for row in edited["nodes"] if row["label"] == "in")
    for cls, label in row["classes"].items():
        row["classes"][cls] = "out" if label == "in" else "in"
    row["label"] = "out"
    assert {2, 3, 9} <= failed(edited)


def test_the_command_audits_trained_models(cache, monkeypatch, capsys):
    from arithloc.benchmark.cli.app import command
    from arithloc.tasks.toy import plans

    monkeypatch.setenv("ARITHLOC_CACHE", str(cache))
    monkeypatch.setattr(plans, "TRAINED_QUICK", TINY)
    assert command(["audit", SIIT[0].name]) == 0
    assert f"{SIIT[0].name}: proven" in capsys.readouterr().out
    edited = copy.deepcopy(SIIT[0].truth())
    edited["model"]["weights_sha256"] = "0" * 64
    monkeypatch.setattr(TrainedSource, "truth", lambda self: edited)
    with pytest.raises(ModelError, match="SHA-256 0000"):
        command(["audit", SIIT[0].name])
