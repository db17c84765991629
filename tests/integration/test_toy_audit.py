"""Audits prove what is true of a compiled circuit and refuse what is not."""

from dataclasses import replace

import numpy as np
import pytest

from arithloc.tasks.toy import groups, measure, swaps
from arithloc.tasks.toy.arithmetic import random_questions
from arithloc.tasks.toy.assembly import assemble_weights
from arithloc.tasks.toy.audit import Audit
from arithloc.tasks.toy.behaviour import exam_questions, examine
from arithloc.tasks.toy.compiled import compile_circuit
from arithloc.tasks.toy.controls import untrained_twin
from arithloc.tasks.toy.forward import Network
from arithloc.tasks.toy.labels import count_edges, edge_labels, node_labels, real_edges, role_ids
from arithloc.tasks.toy.plans import FULL, Plan
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.subject import Batch, Subject, batches

SMALL = Plan(nodes=100, classes=50, edges=40, swaps=100, joint=100, behaviour=200)
BASE = Recipe(2, "+-", 2)


def subject_of(built, dtype=np.float64):
    stored = {name: array.astype(np.float32) for name, array in built.weights.items()}
    return Subject(Network(stored, built.config, dtype), built.recipe.format)


def audit_of(built, subject=None, plan=SMALL):
    subject = subject or subject_of(built)
    return Audit("test", built, subject, subject, plan)


def asked(recipe, count, seed=0):
    return random_questions(recipe.n_digits, recipe.operators, count, np.random.default_rng(seed))


@pytest.mark.parametrize("recipe", [Recipe(2, "+", 2), BASE], ids=["add", "both"])
def test_a_true_circuit_passes_every_check(recipe):
    done = audit_of(compile_circuit(recipe)).run()
    assert [c for c in done.certificates if not c.passed] == []
    assert {c.check for c in done.certificates} == set(range(1, 10))
    assert {v["iia"] for v in done.document["variables"]} == {1.0}


def test_node_interchange_has_the_predicted_flip_rates():
    built = compile_circuit(Recipe(2, "+-", 4))
    effects = measure.node_effects(batches(subject_of(built), asked(built.recipe, 500)), 1, np.random.default_rng(0), 0)
    # measured on a prototype: sign 23%, operator 50%, carry 73%, the others 93 to 99%
    bands = {"sgn": (0.16, 0.30), "op": (0.42, 0.58), "carry": (0.64, 0.80)}
    for node, label in node_labels(built).items():
        tally = effects[node].resample
        if label.role is None:
            assert tally.flipped == 0 and tally.dlogit < 0.01
        else:
            low, high = bands.get(label.role, (0.9, 1.0))
            assert low < tally.flip < high, (label.role, tally.flip)


@pytest.mark.parametrize(
    ("recipe", "labelled", "total"),
    [
        (Recipe(2, "+", 2), {"in": 10, "static": 8}, 110),
        (BASE, {"in": 16, "static": 11}, 110),
        (Recipe(2, "+-", 4), {"in": 16, "static": 11}, 479),
        (Recipe(2, "+-", 3, stressor=1), {"in": 16, "static": 14}, 262),
        (Recipe(2, "+-", 3, stressor=3), {"in": 22, "static": 15}, 262),
        (Recipe(2, "+-", 3, stressor=4, lag=1), {"in": 21, "static": 14}, 262),
        (Recipe(2, "+-", 3, stressor=5), {"in": 16, "static": 15, "undecided": 4}, 262),
        (Recipe(2, "+-", 3, stressor=7), {"in": 16, "static": 13}, 262),
        (Recipe(2, "+-", 4, variant="B"), {"in": 23, "static": 16}, 479),
        (Recipe(2, "+-", 3, variant="C"), {"in": 14, "static": 12}, 262),
        (Recipe(2, "+-", 3, variant="D"), {"in": 16, "static": 11}, 262),
        (Recipe(2, "+-", 3, variant="E"), {"in": 14, "static": 12}, 262),
    ],
    ids=lambda value: f"{value.variant}{value.stressor}{value.operators}" if isinstance(value, Recipe) else "",
)
def test_edges_derived_from_the_weights(recipe, labelled, total):
    found = edge_labels(compile_circuit(recipe))
    assert {label: sum(e.label == label for e in found.values()) for label in labelled} == labelled
    assert len(found) == sum(labelled.values())
    edges = list(real_edges(recipe.n_layers, recipe.n_heads))
    assert len(edges) == len(set(edges)) == count_edges(recipe.n_layers, recipe.n_heads) == total


def test_the_sixteen_edges_by_name():
    built = compile_circuit(BASE)
    names = {node: role for role, node in role_ids(built).items()}
    named = {
        f"{names.get(e.sender, e.sender)}->{names.get(e.receiver, e.receiver)}" + (f".{e.slot}" if e.slot else "")
        for e, label in edge_labels(built).items()
        if label.label == "in"
    }
    assert named == set(
        "input->fetch.v input->op.v input->mlp_a fetch->mlp_a op->mlp_a input->sum.v fetch->sum.v mlp_a->sum.v "
        "mlp_a->carry.k mlp_a->carry.v input->sgn.v op->mlp_b sum->mlp_b carry->mlp_b sgn->mlp_b mlp_b->logits".split()
    )


def run_check(recipe, *names, plan=SMALL):
    subject = audit_of(compile_circuit(recipe), plan=plan)
    return {name: getattr(subject, name)() for name in names}


@pytest.mark.parametrize("stressor", [1, 2, 3, 5, 7])
def test_stressed_circuits_have_the_truth_that_they_claim(stressor):
    recipe = Recipe(2, "+-", 3, beta=240.0 if stressor == 2 else 24.0, stressor=stressor)
    for name, outcome in run_check(recipe, "behaviour", "single_nodes", "joint", "swaps").items():
        assert outcome[0], (name, outcome)


@pytest.mark.parametrize("variant", ["B", "C", "D", "E"])
def test_variants_have_the_truth_that_they_claim(variant):
    recipe = Recipe(2, "+-", 4 if variant == "B" else 3, variant=variant)
    for name, outcome in run_check(recipe, "behaviour", "single_nodes", "joint", "swaps").items():
        assert outcome[0], (name, outcome)


def test_rare_role_is_needed_by_few_questions():
    recipe = Recipe(3, "+-", 3, stressor=4)
    built = compile_circuit(recipe)
    far = role_ids(built)["far"]
    found = measure.together(batches(subject_of(built), asked(recipe, 1_500)), [far], np.random.default_rng(0))
    assert 0 < found.flip < 0.02
    for name, outcome in run_check(recipe, "behaviour", "joint", "swaps").items():
        assert outcome[0], (name, outcome)


def test_majority_hides_one_copy_and_shows_two():
    recipe = Recipe(2, "+-", 3, stressor=3)
    built = compile_circuit(recipe)
    ids = role_ids(built)
    copies = [ids[f"carry_{i}"] for i in (1, 2, 3)]
    batch = Batch.of(subject_of(built), asked(recipe, 250))
    rng = np.random.default_rng(0)
    for copy in copies:
        assert measure.joint_effect([batch], [[copy]], 2, rng).flipped == 0
    assert measure.joint_effect([batch], [copies[:2]], 2, rng).flip > 0.3
    assert measure.joint_effect([batch], [copies], 2, rng).flip > 0.6
    redundant = [edge for edge, label in edge_labels(built).items() if label.quorum]
    assert len(redundant) == 9
    assert all(t.flipped == 0 for t in measure.edge_effects([batch], redundant, rng).values())
    assert groups.hidden_edges(redundant, [batch], rng) == 0


def test_cancelling_pair_shows_alone_and_not_together():
    recipe = Recipe(2, "+-", 3, stressor=5)
    built = compile_circuit(recipe)
    pair = [role_ids(built)[name] for name in ("cp", "cm")]
    batch = Batch.of(subject_of(built), asked(recipe, 250))
    rng = np.random.default_rng(0)
    assert measure.together([batch], pair, rng).flipped == 0
    assert all(measure.together([batch], [member], rng).flip > 0.3 for member in pair)


def test_constant_writer_matters_under_zero_only():
    built = compile_circuit(Recipe(2, "+-", 3, stressor=1))
    writer = role_ids(built)["writer"]
    effects = measure.node_effects([Batch.of(subject_of(built), asked(built.recipe, 200))], 1, np.random.default_rng(0))
    found = effects[writer]
    assert found.resample.flipped == found.mean.flipped == 0 and found.zero.flip > 0.9


def test_swapped_variables_follow_the_program_by_hand():
    """27 + 58 with the carry of 21 + 58 (none) reads 75; with the column sums of 41 + 12 (5, 3) and its own carry 064."""
    from arithloc.tasks.toy.kinds import Question
    from arithloc.tasks.toy.questions import as_batch

    base, without, other = (as_batch([Question(x, y, "+")], 2) for x, y in ((27, 58), (21, 58), (41, 12)))
    assert swaps.carry_swapped(base, without).digits[0].tolist() == [5, 7, 0]
    assert swaps.sum_swapped(base, other).digits[0].tolist() == [3, 6, 0]
    minus = as_batch([Question(12, 34, "-")], 2)
    # 12 + 34 with the minus read: differences -2, -2 under the sign + of the sum: 8, 7 and a borrow that shows as 9
    swapped = swaps.operator_swapped(as_batch([Question(12, 34, "+")], 2), minus)
    assert swapped.digits[0].tolist() == [8, 7, 9] and swapped.negative[0]


# what an audit must refuse


def test_an_untrained_model_fails():
    built = compile_circuit(BASE)
    twin = untrained_twin(subject_of(built), np.random.default_rng(0))
    done = audit_of(built, twin)
    assert not done.behaviour()[0] and not done.joint()[0] and not done.swaps()[0]


def test_truth_of_another_placement_fails():
    first, other = compile_circuit(Recipe(2, "+-", 4)), compile_circuit(Recipe(2, "+-", 4, seed=1))
    done = audit_of(other, subject_of(first), replace(SMALL, nodes=50, edges=16))
    assert not done.single_nodes()[0] and not done.joint()[0] and not done.all_edges()[0]


def test_a_moved_role_fails():
    built = compile_circuit(Recipe(2, "+-", 4))
    used = set(built.placement.heads.values())
    spare = next((layer, h) for layer in range(4) for h in range(4) if (layer, h) not in used)
    placement = replace(built.placement, heads={**built.placement.heads, "sgn": spare})
    done = audit_of(replace(built, placement=placement), subject_of(built))
    assert not done.single_nodes()[0]


def test_scaled_weights_fail():
    built = compile_circuit(BASE)
    layer, head = built.placement.heads["sum"]
    weights = dict(built.weights)
    name = f"transformer.h.{layer}.attn.c_proj.weight"
    weights[name] = weights[name].copy()
    d_head = built.config["n_embd"] // built.config["n_head"]
    weights[name][head * d_head : (head + 1) * d_head] *= 1.2
    done = audit_of(built, subject_of(replace(built, weights=weights)))
    assert not done.behaviour()[0] and not done.swaps()[0]


def test_a_removed_edge_fails():
    built = compile_circuit(replace(BASE, disguised=False))
    layer, head = built.placement.heads["carry"]
    build = assemble_weights(built.program, built.placement, built.recipe)
    width = built.config["n_embd"]
    d_head = width // built.config["n_head"]
    name = f"transformer.h.{layer}.attn.c_attn.weight"
    weights = {**built.weights, name: built.weights[name].copy()}
    # the key of the transparent flag: what mlp_a -> carry carries
    weights[name][build.index["TR"], width + head * d_head : width + (head + 1) * d_head] = 0.0
    done = audit_of(built, subject_of(replace(built, weights=weights)))
    assert not done.swaps()[0] and not done.all_edges()[0]


def test_controls_are_refused():
    done = audit_of(compile_circuit(Recipe(2, "+-", 3, stressor=3)))
    assert done.controls()[0]
    assert {row["name"] for row in done.document["controls"]} >= {"untrained model", "circuit node moved out"}


def test_sampled_exams_contain_chains_and_extremes():
    exam = exam_questions(5, "+-", np.random.default_rng(0), sample=100)
    # per operator: 100 random, 20 transparent, 15 chains (5 + 4 + 3 + 2 + 1), 4 extremes
    assert len(exam) == 2 * (100 + 20 + 15 + 4)
    assert len(exam_questions(2, "+", np.random.default_rng(0))) == 10_000


def test_free_running_errors_are_counted():
    recipe = Recipe(2, "+", 2)
    twin = untrained_twin(subject_of(compile_circuit(recipe)), np.random.default_rng(0))
    found = examine(twin, asked(recipe, 50), "sampled")
    assert found.wrong == 50 and 45 <= found.free_running_wrong <= 50 and found.min_margin < 0


def test_full_plan_is_exhaustive_for_two_digits():
    questions = audit_of(compile_circuit(BASE), plan=FULL).questions(20_000, "nodes")
    assert len(questions) == 20_000
    numbers = (questions.x * [1, 10]).sum(1) * 100 + (questions.y * [1, 10]).sum(1) + questions.minus * 10_000
    assert len(set(numbers.tolist())) == 20_000
