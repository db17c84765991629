"""Compiled circuits: behaviour, neutral LayerNorm, changes of basis, calibration."""

from dataclasses import replace

import numpy as np
import pytest

from arithloc.tasks.toy.arithmetic import enumerate_questions, random_questions, token_ids
from arithloc.tasks.toy.assembly import COMPENSATOR, assemble_weights, compensate
from arithloc.tasks.toy.behaviour import examine
from arithloc.tasks.toy.compiled import compile_circuit
from arithloc.tasks.toy.decoys import calibrate, draw_decoys
from arithloc.tasks.toy.disguise import change_head_bases, mean_preserving, permute_neurons, rotate
from arithloc.tasks.toy.export import config_document
from arithloc.tasks.toy.forward import Network
from arithloc.tasks.toy.placement import place
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.stressors import program
from arithloc.tasks.toy.subject import Subject

STRESSED = [
    *(Recipe(2, "+-", 3, beta=240.0 if s == 2 else 24.0, stressor=s) for s in (1, 2, 3, 5, 7)),
    Recipe(2, "+-", 3, stressor=4, lag=1),
    *(Recipe(2, "+-", 4, variant=v, stressor=6) for v in "BCDE"),
]


def subject(recipe, dtype=np.float32):
    built = compile_circuit(recipe)
    stored = {name: array.astype(np.float32) for name, array in built.weights.items()}
    return Subject(Network(stored, built.config, dtype), recipe.format)


@pytest.mark.parametrize("beta", [14.0, 24.0])
@pytest.mark.parametrize("operators", ["+", "+-"])
def test_every_two_digit_question_is_answered_right(operators, beta):
    found = examine(subject(Recipe(2, operators, 2, beta=beta)), enumerate_questions(2, operators), "exhaustive")
    assert (found.wrong, found.questions) == (0, 10_000 * len(operators))
    assert found.min_margin >= (10.0 if beta == 24.0 else 4.0)


@pytest.mark.parametrize("recipe", STRESSED, ids=lambda r: f"{r.variant}{r.stressor}")
def test_every_variant_and_stressor_answers_right(recipe):
    """On every fifth question; the shipped certificates cover all of them."""
    asked = enumerate_questions(2, "+-")
    found = examine(subject(recipe), asked[np.arange(recipe.n_layers % 5, len(asked), 5)], "sampled")
    assert (found.wrong, found.questions) == (0, 4_000)
    assert found.min_margin >= 19.5


@pytest.mark.parametrize("n_layers", [2, 3, 4, 6])
def test_random_placements_work(n_layers):
    placements = set()
    for seed in range(5):
        recipe = Recipe(2, "+-", n_layers, seed=seed)
        asked = random_questions(2, "+-", 300, np.random.default_rng(seed))
        assert examine(subject(recipe), asked, "sampled").wrong == 0
        placements.add(tuple(sorted(place(program(recipe), recipe).heads.items())))
    assert len(placements) == 5


@pytest.mark.parametrize(("variant", "margin"), [("A", 19.8), ("B", 18.8), ("C", 19.8), ("D", 10.0)])
def test_ten_digits(variant, margin):
    # D multiplies what it reads by 2^10 - 1: in float32 rounding takes about 5 of 19.5 logits, in transformers as here
    recipe = Recipe(10, "+-", 6, beta=240.0, variant=variant)
    asked = random_questions(10, "+-", 100, np.random.default_rng(0), transparent=0.6)
    found = examine(subject(recipe), asked, "sampled")
    assert found.wrong == 0 and found.min_margin > margin


def test_uncalibrated_decoys_break_deep_circuits():
    asked = random_questions(3, "+-", 500, np.random.default_rng(0))
    margins = {}
    for layers in (6, 8):
        for calibrated in (True, False):
            recipe = Recipe(3, "+-", layers, calibrated=calibrated)
            margins[layers, calibrated] = examine(subject(recipe), asked, "sampled")
    assert all(margins[layers, True].min_margin > 19.5 for layers in (6, 8))
    assert margins[6, False].min_margin < 10.0
    assert margins[8, False].wrong > 10 and margins[8, True].wrong == 0


def test_layer_norm_only_centres():
    recipe = Recipe(2, "+-", 4)
    built = compile_circuit(recipe)
    network = Network(built.weights, built.config)
    ids = token_ids(random_questions(2, "+-", 100, np.random.default_rng(0)), recipe.format)[:, :-1]
    for x in network.run(ids).residual:
        gap = np.abs(network.norm(x, "ln_f") - (x - x.mean(axis=-1, keepdims=True)))
        assert (gap <= 1e-6 * np.abs(x) + 1e-9).all()
        assert np.abs(x.mean(axis=-1)).max() < 1e-9


def test_written_rows_sum_to_zero_and_nothing_reads_the_compensator():
    recipe = Recipe(2, "+-", 2)
    circuit = program(recipe)
    placement = place(circuit, recipe)
    build = assemble_weights(circuit, placement, recipe)
    draw_decoys(build, placement)
    compensate(build)
    column = build.index[COMPENSATOR]
    for name, array in build.weights.items():
        if "wte" in name or "wpe" in name or ".c_proj.weight" in name:
            assert np.abs(array.sum(axis=-1)).max() < 1e-12
        elif name.endswith((".c_attn.weight", ".c_fc.weight")):
            assert not array[column].any()
    assert not build.weights["lm_head.weight"][:, column].any()


def test_rotation_keeps_the_mean():
    rotation = mean_preserving(48, np.random.default_rng(0))
    assert np.allclose(rotation @ rotation.T, np.eye(48), atol=1e-12)
    assert np.allclose(rotation @ np.ones(48), 1.0, atol=1e-12)
    assert np.abs(rotation - np.eye(48)).max() > 0.1


@pytest.mark.parametrize("recipe", [Recipe(2, "+", 2), Recipe(3, "+-", 4), STRESSED[2]], ids=lambda r: str(r.stressor))
@pytest.mark.parametrize("step", [rotate, change_head_bases, permute_neurons])
def test_each_disguise_changes_weights_and_no_logit(recipe, step):
    circuit = program(recipe)
    placement = place(circuit, recipe)
    build = assemble_weights(circuit, placement, recipe)
    parts = draw_decoys(build, placement)
    compensate(build)
    calibrate(build, placement, parts)
    asked = random_questions(recipe.n_digits, recipe.operators, 50, np.random.default_rng(0))
    ids = token_ids(asked, recipe.format)[:, :-1]
    before = Network({k: v.copy() for k, v in build.weights.items()}, config_document(build))
    units = {layer: list(own) for layer, own in build.units.items()}
    step(build, np.random.default_rng(7))
    after = Network(build.weights, config_document(build))
    assert np.abs(before.run(ids).logits - after.run(ids).logits).max() < 1e-6
    changed = [name for name in build.weights if not np.allclose(before.weights[name], after.weights[name])]
    assert len(changed) >= recipe.n_layers
    for layer, own in units.items():
        name = f"h.{layer}.mlp.c_fc.bias"
        assert np.array_equal(before[name][own], after[name][build.units[layer]])


def test_recipes_that_cannot_be_built_say_why():
    with pytest.raises(ValueError, match="variant"):
        Recipe(2, "+", 2, variant="Z")
    with pytest.raises(ValueError, match="variant A"):
        Recipe(2, "+-", 3, variant="B", stressor=3)
    with pytest.raises(ValueError, match="both operators"):
        Recipe(2, "+", 3, stressor=7)
    with pytest.raises(ValueError, match="layers"):
        compile_circuit(Recipe(3, "+-", 2, variant="B"))


def test_sizes_of_the_reference_builds():
    assert compile_circuit(Recipe(2, "+-", 2)).n_parameters == 46_288
    assert compile_circuit(Recipe(5, "+-", 4)).n_parameters == 113_072


def test_recipe_hash_names_every_field():
    base = Recipe(2, "+-", 2)
    changed = [replace(base, seed=1), replace(base, beta=14.0), replace(base, lag=1), replace(base, n_heads=5)]
    assert len({base.sha256, *(r.sha256 for r in changed)}) == 5
