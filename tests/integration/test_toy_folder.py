"""Toy models as folders: stock classes load them, with the logits of the plain forward pass."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from support import tiny_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from arithloc.benchmark.api import ArithlocError, ModelSource, Split, TokenizerMismatch
from arithloc.benchmark.models.loading import load
from arithloc.tasks.toy.arithmetic import random_questions, token_ids
from arithloc.tasks.toy.audit import audit, truth_document
from arithloc.tasks.toy.compiled import compile_circuit
from arithloc.tasks.toy.models import SOURCES, CompiledSource
from arithloc.tasks.toy.plans import Plan
from arithloc.tasks.toy.questions import ToyArith
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.subject import Subject

SOURCE = SOURCES[1]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(cache):
    return SOURCE.folder(cache)


def test_sources_follow_the_contract(folder, cache):
    assert all(isinstance(source, ModelSource) and source.is_toy for source in SOURCES)
    assert folder == cache / "toys" / f"toy-a-base-2-{SOURCE.recipe.sha256[:12]}"
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_folder_is_built_once(folder, cache):
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert SOURCE.folder(cache) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_failed_build_leaves_nothing(tmp_path):
    broken = CompiledSource("toy-broken", Recipe(3, "+-", 2, variant="B"), "does not fit")
    with pytest.raises(ValueError, match="layers"):
        broken.folder(tmp_path)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-2)])
def test_stock_model_equals_the_plain_forward(folder, dtype, tolerance):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    assert type(model) is GPT2LMHeadModel and model.config._attn_implementation == "eager"
    subject = Subject.load(folder)
    tokens = token_ids(random_questions(2, "+-", 200, np.random.default_rng(0)), subject.form)[:, :-1]
    with torch.no_grad():
        logits = model(torch.tensor(tokens)).logits.double().numpy()
    assert np.abs(logits - subject.network.run(tokens).logits).max() < tolerance


def test_saved_again_it_gives_the_same_logits(folder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    ids = torch.tensor([[15, 2, 7, 10, 5, 8, 12]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, again(ids).logits)


def test_tokenizer_states_the_format_and_answers_follow(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    stated = {key: tokenizer.init_kwargs[key] for key in ("n_digits", "operators", "bos")}
    assert tokenizer.is_fast and stated == {"n_digits": 2, "operators": "+-", "bos": True}
    assert tokenizer("27+58=").input_ids == [15, 2, 7, 10, 5, 8, 12]
    assert tokenizer.decode([2, 7, 10, 5, 8, 12]) == "27+58="
    with pytest.raises(Exception, match="UNK"):
        tokenizer("27 + 58")
    for pair in ToyArith().pairs(tokenizer, Split.TEST, 20, seed=0):
        for ids, token in ((pair.clean_ids, pair.answer_token), (pair.counterfactual_ids, pair.foil_token)):
            with torch.no_grad():
                assert int(model(torch.tensor([ids])).logits[0, -1].argmax()) == token
    free = torch.tensor([tokenizer("27-58=").input_ids])
    for _ in range(4):
        free = torch.cat([free, model(free).logits[:, -1:].argmax(-1)], dim=1)
    assert tokenizer.decode(free[0, 1:]) == "27-58=-031"


def test_other_tokenizers_are_refused():
    with pytest.raises(TokenizerMismatch, match="toy"):
        ToyArith().pairs(tiny_tokenizers.digits(), Split.TEST, 1, seed=0)


def test_half_precision_is_refused(folder):
    with pytest.raises(ArithlocError, match="float32"):
        load(str(folder), dtype="bfloat16")


def test_listing_models_builds_nothing_and_stays_light(tmp_path):
    code = (
        "import sys\nfrom arithloc.tasks.toy.models import SOURCES\n"
        "assert len(SOURCES) >= 24 and all(s.summary for s in SOURCES)\n"
        "heavy = {'torch', 'transformers', 'scipy', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    env = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(Path(tmp_path).iterdir())


def test_the_same_recipe_gives_the_same_weights(folder):
    stored = load_file(folder / "model.safetensors")
    for name, array in compile_circuit(SOURCE.recipe).weights.items():
        assert np.allclose(stored[name], array, atol=1e-5, rtol=1e-5)


def test_an_audit_makes_a_document(tmp_path):
    plan = Plan(nodes=50, classes=30, edges=25, swaps=50, joint=50, behaviour=100)
    done = audit("toy-a-base-1", SOURCES[0].recipe, tmp_path / "model", plan)
    document = truth_document(done, "2026-01-01T00:00:00Z", "0" * 40)
    shipped = SOURCES[0].truth()
    assert done.passed and list(document) == list(shipped)
    assert document["edges_out"]["count"] + len(document["edges"]) == 110
    assert document["provenance"]["commit"] == "0" * 40


def test_a_source_is_audited_on_its_own_folder(cache):
    document = SOURCES[0].audit(cache)
    assert all(certificate["passed"] for certificate in document["certificates"])
    folder = SOURCES[0].folder(cache)
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.1.mlp.c_proj.weight"] *= 0.7
    broken = tmp_copy(folder, cache / "broken", weights)
    plan = Plan(nodes=50, classes=10, edges=5, swaps=50, joint=50, behaviour=100)
    failed = {c.check for c in audit("toy-a-base-1", SOURCES[0].recipe, broken, plan).certificates if not c.passed}
    assert 8 in failed


def tmp_copy(folder, target, weights):
    """The folder with other weights."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target
