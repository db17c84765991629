"""One cell through the serial executor: numbers against a slow reference, and every way in which a cell can fail."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Gate, Granularity, Split
from arithloc.benchmark.api.errors import PrerequisiteError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import model_sources, tasks
from arithloc.benchmark.metrics.size import circuit_size, prune
from arithloc.benchmark.runner.cell import check_pairs
from arithloc.benchmark.runner.choices import choose, instantiate
from arithloc.benchmark.runner.job import Effort, SurveyRequest
from arithloc.benchmark.runner.outcome import Failure
from arithloc.benchmark.runner.pairs import answered, draw_pairs
from arithloc.benchmark.runner.plan import Grid, make_plan
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.private_pairs import PUBLIC_PAIRS, PUBLIC_SEED
from arithloc.benchmark.runner.refusal import CannotScore
from arithloc.benchmark.runner.seeds import seed_of
from arithloc.benchmark.runner.workbench import Workbench

PLUGINS = Path(__file__).parents[1] / "support" / "evaluate_plugins.py"
EFFORT = Effort(n_discovery=6, n_evaluation=8, n_draws=50, n_sizes=4)


def plugin(name, **options):
    return Reference(f"{PLUGINS}:{name}", tuple(sorted((k, str(v)) for k, v in options.items())))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A compiled adder under a path: the runner knows nothing about its circuit."""
    return model_sources()["toy-a-base-1"].folder(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def clueless(tmp_path_factory):
    """A random model."""
    return tiny.folder(tmp_path_factory.mktemp("models"), "gpt2", layers=2, seed=3)


@pytest.fixture(scope="module")
def bench():
    return Workbench("cpu")


def plan(
    bench,
    folder,
    method,
    task=None,
    granularity=Granularity.NODE,
    ablation=Ablation.COUNTERFACTUAL,
    dtype="float32",
    **grid,
):
    task = task or Reference("toy-arith")
    choices = choose([method], [task])
    survey = bench.survey(SurveyRequest(str(folder), dtype, (choices.tasks[0].reference,), 6, 8))
    asked = Grid(
        methods=choices.methods,
        tasks=choices.tasks,
        models=(str(folder),),
        granularities=(granularity,),
        ablations=(ablation,),
        seeds=(0,),
        effort=EFFORT,
        dtype=dtype,
        **grid,
    )
    return make_plan(asked, {str(folder): survey}).cells[0]


def run(bench, folder, method, **how):
    cell = plan(bench, folder, method, **how)
    phases = []
    return bench.run(cell.job, lambda phase, done, total: phases.append(phase)), cell, phases


def score(result, name):
    return {s.name: s for s in result.scores}[name]


@pytest.mark.parametrize("ablation", [Ablation.COUNTERFACTUAL, Ablation.MEAN])
def test_the_stored_curve_is_what_the_engine_gives_for_the_pruned_prefixes(bench, folder, ablation):
    result, _, phases = run(bench, folder, plugin("Steady"), ablation=ablation, dtype="float64")
    model = bench._model
    space = ComponentSpace(Granularity.NODE, model.shape)
    pairs = next(iter(bench._pairs.values()))
    kept = [point for point in result.curve if point.curve == "kept"]
    circuits = np.zeros((len(space) + 1, len(space)), dtype=np.bool_)
    for n in range(len(space)):
        circuits[n + 1, : n + 1] = True  # Steady ranks by index
    circuits = prune(space, circuits)
    values = engine.circuit_forward(
        model, pairs.evaluation, space, circuits, ablation, reference=pairs.discovery
    ).metric("logit_diff")
    each_full, each_empty = engine.read(model, pairs.evaluation).metric("logit_diff"), values[0]
    full, empty = each_full.mean(), each_empty.mean()
    bounded = 1 - np.minimum(np.abs(values - each_full) / np.abs(each_full - each_empty), 1)
    recovery_by_size = {
        round(float(size), 9): float(b.mean()) for size, b in zip(circuit_size(space, circuits), bounded, strict=True)
    }
    by_size = {
        round(float(size), 9): float(m.mean()) for size, m in zip(circuit_size(space, circuits), values, strict=True)
    }
    assert len(kept) >= 4
    for point in kept:
        expected = by_size[round(point.size, 9)]
        assert point.m == pytest.approx(expected, abs=1e-9)
        assert point.f == pytest.approx((expected - empty) / (full - empty), abs=1e-9)
        assert point.b == pytest.approx(recovery_by_size[round(point.size, 9)], abs=1e-9)
        assert None not in (point.accuracy, point.kl, point.f_accuracy, point.f_kl)
    assert score(result, "metric_full").value == pytest.approx(full, abs=1e-9)
    assert score(result, "metric_empty").value == pytest.approx(empty, abs=1e-9)
    assert ("cpr" in {s.name for s in result.scores}) == (ablation is Ablation.COUNTERFACTUAL)
    assert [phase for i, phase in enumerate(phases) if i == 0 or phases[i - 1] != phase][-2:] == ["localize", "score"]


def test_the_empty_circuit_is_the_counterfactual_run(bench, folder):
    result, _, _ = run(bench, folder, plugin("Steady"), dtype="float64")
    pairs = next(iter(bench._pairs.values()))
    other = engine.read(bench._model, pairs.evaluation, "counterfactual").metric("logit_diff")
    np.testing.assert_allclose(result.pair_values["logit_diff/empty"], other, atol=1e-5)


def test_components_costs_and_data_are_recorded(bench, folder):
    result, cell, _ = run(bench, folder, plugin("Steady", scale=2.0), granularity=Granularity.NEURON)
    space = ComponentSpace(Granularity.NEURON, bench._model.shape)
    np.testing.assert_array_equal(result.components, 2.0 * np.arange(len(space), 0, -1.0))
    assert result.discovery.split == "discovery" and result.evaluation.split == "test"
    assert (result.discovery.requested, result.discovery.n_pairs) == (6, 6)
    assert (result.evaluation.requested, result.evaluation.n_pairs) == (8, 8)
    assert result.discovery.kept_fraction == result.evaluation.kept_fraction == 1.0
    assert result.evaluation.data_hash == cell.spec.evaluation_hash == cell.job.evaluation_hash
    assert len(result.pair_clusters) == 8
    assert set(result.costs) == {
        "wall_localize_s", "wall_score_s", "forward_equivalents", "peak_host_bytes", "peak_device_bytes",
    }  # fmt: skip
    assert result.costs["peak_host_bytes"] > 2**25


def test_signed_and_absolute_rankings_give_other_budgets(bench, folder):
    result, _, _ = run(bench, folder, plugin("Steady", turn=3))
    budgets = {
        rule: [p for p in result.curve if p.curve == "budget" and p.ranking_rule == rule]
        for rule in ("signed", "absolute")
    }
    assert len(budgets["signed"]) == len(budgets["absolute"]) == 10
    assert [p.m for p in budgets["signed"]] != [p.m for p in budgets["absolute"]]
    assert budgets["signed"][-1].f == pytest.approx(1.0)


def test_a_cell_is_the_same_twice_and_other_seeds_differ(bench, folder):
    first, cell, _ = run(bench, folder, plugin("Noise"))
    second, _, _ = run(bench, folder, plugin("Noise"))
    np.testing.assert_array_equal(first.components, second.components)
    choices = choose([plugin("Noise")], [Reference("toy-arith")])
    survey = bench.survey(SurveyRequest(str(folder), "float32", (choices.tasks[0].reference,), 6, 8))
    grid = Grid(
        choices.methods,
        choices.tasks,
        (str(folder),),
        (Granularity.NODE,),
        (Ablation.COUNTERFACTUAL,),
        (0, 1),
        EFFORT,
        "float32",
    )
    zero, one = make_plan(grid, {str(folder): survey}).cells
    assert zero.job.key == cell.job.key != one.job.key
    other = bench.run(one.job, lambda *step: None)
    assert not np.array_equal(first.components, other.components)
    assert first.evaluation == other.evaluation


def test_a_method_sees_discovery_pairs_and_nothing_else(bench, folder):
    result, _, _ = run(bench, folder, plugin("Peeks"))
    assert not isinstance(result, Failure), result


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("Raises", "MethodCrashed", ["ValueError: first line", "evaluate_plugins.py, line"]),
        ("WrongShape", "BadScores", ["(2, 5)", "(3,)"]),
        ("NotFinite", "BadScores", ["nan", "a0.h1"]),
        ("NotScores", "BadScores", ["Scores", "ndarray"]),
        ("OtherSpace", "BadScores", ["another space"]),
        ("Exits", "MethodCrashed", ["SystemExit: giving up"]),
        ("EditsWeights", "MethodError", ["changed weights"]),
        ("LeavesHook", "MethodError", ["changed weights, hooks"]),
        ("PatchesForward", "MethodError", ["changed weights, hooks"]),
    ],
)
def test_a_method_that_breaks_the_contract_fails_by_name(bench, folder, name, error, words):
    failure, _, _ = run(bench, folder, plugin(name))
    assert isinstance(failure, Failure)
    assert failure.error_type == error
    assert "\n" not in failure.message
    for word in words:
        assert word in failure.message


@pytest.mark.parametrize("culprit", ["EditsWeights", "PatchesForward"])
def test_after_an_edited_model_the_next_cell_sees_a_clean_one(bench, folder, culprit):
    before, _, _ = run(bench, folder, plugin("Steady"))
    assert isinstance(run(bench, folder, plugin(culprit))[0], Failure)
    after, _, _ = run(bench, folder, plugin("Steady"))
    for name, values in before.pair_values.items():
        np.testing.assert_array_equal(values, after.pair_values[name])


def process_state():
    return (
        Path.cwd(), dict(os.environ), np.geterr(), torch.get_default_dtype(), torch.get_default_device(),
        torch.get_num_threads(), torch.is_grad_enabled(), torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
    )  # fmt: skip


def test_what_a_method_leaves_changed_in_the_process_is_put_back(bench, folder):
    before = process_state()
    result, _, _ = run(bench, folder, plugin("Untidy"))
    assert not isinstance(result, Failure)
    assert process_state() == before


def test_a_model_that_cannot_do_the_task_is_refused_unless_forced(bench, clueless):
    failure, _, _ = run(bench, clueless, plugin("Steady"), task=plugin("Filtered"))
    assert isinstance(failure, Failure) and failure.error_type == "model-cannot"
    assert "75%" in failure.message and "of the clean prompts" in failure.message
    forced, _, _ = run(bench, clueless, plugin("Steady"), task=plugin("Filtered"), force_incapable=True)
    pairs = next(found for key, found in bench._pairs.items() if key[-1] == "correct")
    right = engine.read(bench._model, pairs.evaluation_drawn).metric("accuracy_candidates")
    assert pairs.evaluation_kept == right.mean() < 0.75
    assert len(pairs.evaluation) == right.sum()
    if isinstance(forced, Failure):
        assert forced.error_type in ("no-pairs", "no-effect")
    else:
        assert forced.evaluation.kept_fraction == right.mean()
        assert forced.evaluation.n_pairs == 8 and score(forced, "faithfulness_area").n_pairs == right.sum()


def test_discovery_and_test_pairs_can_be_of_different_kinds(bench, folder):
    bench._pairs.clear()
    crossed = Reference.parse("toy-arith[discovery_kind=single_operand]")
    result, cell, _ = run(bench, folder, plugin("Steady"), task=crossed)
    pairs = bench._pairs[crossed, 6, 8, ""]
    assert {pair.kind for pair in pairs.discovery} == {"single_operand"}
    assert {pair.kind for pair in pairs.evaluation} == {"operands"}
    assert not {pair.cluster for pair in pairs.discovery} & {pair.cluster for pair in pairs.evaluation}
    usual, usual_cell, _ = run(bench, folder, plugin("Steady"))
    assert cell.spec.discovery_kind == "single_operand" and cell.spec.task == usual_cell.spec.task
    assert result.evaluation == usual.evaluation and result.discovery.data_hash != usual.discovery.data_hash
    assert score(result, "faithfulness_area").value == score(usual, "faithfulness_area").value  # Steady sees no pairs


def test_a_task_can_ask_more_of_a_model_before_it_is_scored(bench, folder):
    """A toy answers its clean and its counterfactual prompts; where every answer is a foil, none of the latter."""
    model = bench._load(str(folder), "float32")
    drawn = draw_pairs(model, Reference("toy-arith"), 6, 8, None)
    strict = Gate(share=0.8, counterfactual=True, vocabulary=True)
    able = answered(model, drawn, strict, lambda done, total: None)
    assert able.shares == (("clean prompts", 1.0), ("counterfactual prompts", 1.0)) and not able.too_few_correct
    foils = replace(
        drawn,
        discovery=tuple(replace(pair, answer_cf_is_foil=True) for pair in drawn.discovery),
        evaluation=tuple(replace(pair, answer_cf_is_foil=i < 2) for i, pair in enumerate(drawn.evaluation)),
    )
    unable = answered(model, foils, strict, lambda done, total: None)
    assert unable.shares == (("clean prompts", 1.0), ("counterfactual prompts", 6 / 14)) and unable.too_few_correct
    assert unable.kept == 1.0 and not answered(model, foils, Gate(), lambda done, total: None).too_few_correct
    job = plan(bench, folder, plugin("Steady")).job
    with pytest.raises(CannotScore, match=r"80% of the prompts, found 100.0% of the clean .* and 42.9% of the counter"):
        check_pairs(job, unable)


def test_private_test_pairs_come_from_the_seed_and_need_it(folder):
    secret = PrivateSeed(bytes(range(32)))
    toy = Reference("toy-arith")
    wanted = SurveyRequest(str(folder), "float32", (toy,), 6, 8, secret.commitment)
    bench = Workbench("cpu", secret)
    private, public = bench.survey(wanted), bench.survey(replace(wanted, private_commitment=""))
    assert private.data["toy-arith"].discovery_hash == public.data["toy-arith"].discovery_hash
    assert private.data["toy-arith"].evaluation_hash != public.data["toy-arith"].evaluation_hash
    pairs = bench._pairs[toy, 6, 8, secret.commitment]
    task = instantiate(tasks, toy)[1]
    seed = secret.of_task(choose([], [toy]).tasks[0].record, bench._model.identity.tokenizer_hash)
    drawn = [(pair.clean, pair.cluster) for pair in task.pairs(bench._model.tokenizer, Split.TEST, 80, seed)]
    public = {
        pair.cluster for split in Split for pair in task.pairs(bench._model.tokenizer, split, PUBLIC_PAIRS, PUBLIC_SEED)
    }
    fresh = [clean for clean, cluster in drawn if cluster not in public]
    expected = fresh if len(fresh) >= 8 and len(drawn) == 80 else [clean for clean, _ in drawn]
    assert [pair.clean for pair in pairs.evaluation] == expected[:8]
    assert pairs.privacy.commitment == secret.commitment and pairs.records()[1].split == "private"
    for other in (None, PrivateSeed(bytes(32))):
        bench.private_seed, found = other, secret.commitment[:12]
        bench._pairs.clear()
        with pytest.raises(PrerequisiteError, match=found):
            bench.survey(wanted)


def test_a_task_that_draws_other_pairs_each_time_is_refused(bench, clueless):
    cell = plan(bench, clueless, plugin("Steady"), task=plugin("Fickle"))
    bench._pairs.clear()
    failure = bench.run(cell.job, lambda *step: None)
    assert isinstance(failure, Failure) and failure.error_type == "TaskError"
    assert "same pairs twice" in failure.message


def test_a_survey_says_why_a_task_cannot_be_used(bench, clueless):
    impossible, raising = plugin("Impossible"), plugin("RaisingTask")
    toy = Reference("toy-arith")
    survey = bench.survey(SurveyRequest(str(clueless), "float32", (impossible, raising, toy), 6, 8))
    assert survey.data["toy-arith"].error == "TokenizerMismatch"
    assert survey.data[str(impossible)].error == "TooFewPairs"
    assert "KeyError" in survey.data[str(raising)].message
    assert (survey.model.n_layers, survey.model.n_heads, survey.model.is_toy) == (2, 4, False)
    assert survey.has_truth is False


def test_a_random_model_that_gains_nothing_has_no_effect(bench, clueless):
    failure, _, _ = run(bench, clueless, plugin("Steady"), task=plugin("Digits"))
    assert isinstance(failure, Failure) and failure.error_type == "no-effect"


def test_equal_scores_are_ordered_by_the_cell_and_not_by_index(bench, folder):
    result, cell, _ = run(bench, folder, plugin("Peeks"))  # all scores are 1
    first = next(point for point in result.curve if point.curve == "kept")
    order = np.random.default_rng(seed_of(cell.job.key, "ties")).permutation(len(result.components))
    space = ComponentSpace(Granularity.NODE, bench._model.shape)
    kept = np.zeros(len(space), dtype=np.bool_)
    kept[np.argsort(order)[: first.n_components]] = True
    assert first.size == pytest.approx(float(circuit_size(space, kept)))
