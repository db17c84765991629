"""Grids to cells: order, refusals, keys."""

import dataclasses

import pytest

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.errors import PlanError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.choices import MethodChoice, TaskChoice
from arithloc.benchmark.runner.job import Effort
from arithloc.benchmark.runner.plan import Grid, make_plan
from arithloc.benchmark.runner.suites import ORACLE
from arithloc.benchmark.runner.survey import DataSurvey, Refused, Survey
from arithloc.benchmark.storage.keys import cell_key
from arithloc.benchmark.storage.records import MethodRecord, ModelRecord, TaskRecord

NODE, LAYER, NEURON = Granularity.NODE, Granularity.LAYER, Granularity.NEURON


def method(name, *granularities):
    record = MethodRecord(name, "1", "arithloc", "f" * 64, {}, tuple(granularities), "forward", "For tests.", "")
    return MethodChoice(Reference(name), record, frozenset(granularities))


def task(name):
    return TaskChoice(Reference(name), TaskRecord(name, "1", "arithloc", "e" * 64, {}, "test", "", "For tests."))


def survey(name, n_params, *, has_truth=False, **data):
    model = ModelRecord(name, "r" * 64, "w" * 64, "c" * 64, "t" * 64, "gpt2", 2, 4, 4, 16, 64, n_params, 99, has_truth)
    return Survey(model, "eager", 1, has_truth, data)


def data(letter="a", n=8):
    return DataSurvey(letter * 64, letter.upper() * 64, n, n)


def grid(**changes):
    base = Grid(
        methods=(method("first", NODE, LAYER), method("second", NEURON)),
        tasks=(task("add"),),
        models=("small", "large"),
        granularities=(NODE, NEURON),
        ablations=(Ablation.COUNTERFACTUAL,),
        seeds=(0,),
        effort=Effort(8, 8, 100, 16),
        dtype="float32",
    )
    return dataclasses.replace(base, **changes)


SURVEYS = {"small": survey("small", 10, add=data("a")), "large": survey("large", 1000, add=data("b"))}


def summary(plan):
    return [(c.job.model, str(c.job.task), str(c.job.method), c.job.granularity.value, c.job.seed) for c in plan.cells]


def test_cells_are_grouped_by_model_with_the_largest_first_then_in_the_order_given():
    plan = make_plan(grid(seeds=(1, 0)), SURVEYS)
    assert summary(plan) == [
        ("large", "add", "first", "node", 1),
        ("large", "add", "first", "node", 0),
        ("large", "add", "second", "neuron", 1),
        ("large", "add", "second", "neuron", 0),
        ("small", "add", "first", "node", 1),
        ("small", "add", "first", "node", 0),
        ("small", "add", "second", "neuron", 1),
        ("small", "add", "second", "neuron", 0),
    ]
    assert plan.refusals == ()


def test_the_order_does_not_depend_on_the_order_of_models():
    assert summary(make_plan(grid(models=("large", "small")), SURVEYS)) == summary(make_plan(grid(), SURVEYS))


def test_a_granularity_asked_for_by_name_is_reported_where_it_is_not_scored():
    plan = make_plan(grid(every_granularity=True), SURVEYS)
    assert len(plan.cells) == 4
    assert [(r.what, r.reason) for r in plan.refusals] == [
        ("first at neuron", "The method scores layer, node only."),
        ("second at node", "The method scores neuron only."),
    ]


def test_a_method_without_any_of_the_granularities_is_reported_even_for_defaults():
    plan = make_plan(grid(granularities=(LAYER,)), SURVEYS)
    assert {c.job.method.name for c in plan.cells} == {"first"}
    assert [r.what for r in plan.refusals] == ["second at layer"]


def test_a_task_that_the_tokenizer_cannot_express_is_reported_once():
    surveys = {**SURVEYS, "small": survey("small", 10, add=Refused("TokenizerMismatch", "No digits here."))}
    plan = make_plan(grid(), surveys)
    assert {c.job.model for c in plan.cells} == {"large"}
    assert [(r.what, r.reason) for r in plan.refusals] == [("add on small", "No digits here.")]


def test_a_model_that_cannot_be_used_is_reported():
    plan = make_plan(grid(), {**SURVEYS, "large": Refused("UnsupportedArchitecture", "No anatomy.")})
    assert {c.job.model for c in plan.cells} == {"small"}
    assert [(r.what, r.reason) for r in plan.refusals] == [("large", "No anatomy.")]


def test_without_any_cell_the_reasons_are_the_error():
    refused = Refused("UnsupportedArchitecture", "No anatomy.")
    with pytest.raises(PlanError, match=r"None of the chosen.*No anatomy") as error:
        make_plan(grid(), {"small": refused, "large": refused})
    assert error.value.exit_code == 2


def test_the_oracle_runs_only_where_the_circuit_is_known():
    surveys = {"small": survey("small", 10, has_truth=True, add=data()), "large": SURVEYS["large"]}
    plan = make_plan(grid(methods=(method(ORACLE, NODE),)), surveys)
    assert [c.job.model for c in plan.cells] == ["small"]
    assert [r.what for r in plan.refusals] == ["oracle on large"]


def test_equal_cells_appear_once():
    assert len(make_plan(grid(methods=(method("first", NODE),) * 2), SURVEYS).cells) == 2


def test_the_key_is_that_of_the_specification_and_follows_data_seed_and_effort():
    cell = make_plan(grid(), SURVEYS).cells[0]
    assert cell.job.key == cell_key(cell.spec)
    assert (cell.job.discovery_hash, cell.job.evaluation_hash) == ("b" * 64, "B" * 64)
    assert (cell.spec.n_discovery, cell.spec.n_draws, cell.spec.n_sizes) == (8, 100, 16)
    others = [
        make_plan(grid(seeds=(1,)), SURVEYS),
        make_plan(grid(effort=Effort(8, 8, 101, 16)), SURVEYS),
        make_plan(grid(ablations=(Ablation.MEAN,)), SURVEYS),
        make_plan(grid(dtype="float64"), SURVEYS),
        make_plan(grid(), {**SURVEYS, "large": survey("large", 1000, add=data("c"))}),
    ]
    keys = {other.cells[0].job.key for other in others}
    assert len(keys) == len(others) and cell.job.key not in keys


def test_forcing_an_incapable_model_is_no_part_of_the_key():
    forced = make_plan(grid(force_incapable=True), SURVEYS).cells[0]
    assert forced.job.force_incapable and forced.job.key == make_plan(grid(), SURVEYS).cells[0].job.key
