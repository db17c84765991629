"""Accuracy through lm-eval: of whole models and of circuits, against the engine and against each other."""

import dataclasses
import json

import numpy as np
import pytest
from support import tiny, tiny_tokenizers

from arithloc.benchmark import engine, models
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Split
from arithloc.benchmark.api.errors import BadOption, PlanError, UsageError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.cli.accuracy_report import is_fit
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.metrics.proportion import wilson
from arithloc.benchmark.storage.accuracy import CircuitRecord, Part, accuracies
from arithloc.benchmark.storage.merge import merge
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.taskdata.circuit_lm import Circuit, CircuitLM
from arithloc.benchmark.taskdata.documents import documents
from arithloc.benchmark.taskdata.drawing import draw
from arithloc.benchmark.taskdata.harness import Setup, _whole, evaluate, measure
from arithloc.benchmark.taskdata.hub import read_parquet


def silent(done, total):
    pass


@pytest.fixture(scope="module", params=["digits", "numbers"])
def case(request):
    """A tiny model whose tokenizer writes the space before a number as a token of its own, and one where it does not."""
    model = tiny.subject("llama", tokenizer=getattr(tiny_tokenizers, request.param)(), seed=3)
    drawn = draw(Reference.parse("modulo"), model.tokenizer, Split.TEST, 24)
    return model, drawn, documents(drawn.pairs, model.tokenizer).rows


def answers(lm, rows):
    """Log-probability and greediness of every choice, document by document."""
    return [(sample["filtered_resps"], sample["acc"], sample["exact_match"]) for sample in evaluate(lm, "modulo", rows)]


def logprobs(found):
    return np.array([value for responses, _, _ in found for value, _ in responses])


def circuit_of(model, kept, ablation=Ablation.COUNTERFACTUAL):
    space = ComponentSpace(Granularity.NODE, model.shape)
    return Circuit(space, np.full(len(space), kept), ablation)


def test_the_whole_circuit_answers_as_the_model_does(case):
    model, drawn, rows = case
    whole = answers(_whole(model, drawn.pairs), rows)
    circuit = CircuitLM(model, drawn.pairs, circuit_of(model, True), drawn.pairs, silent)
    kept = answers(circuit, rows)
    assert {row["n_scored"] for row in rows} == {2 if rows[0]["prompt"].endswith(" ") else 1}
    np.testing.assert_allclose(logprobs(kept), logprobs(whole), atol=2e-4)
    assert [(acc, exact) for _, acc, exact in kept] == [(acc, exact) for _, acc, exact in whole]
    assert [[greedy for _, greedy in r] for r, _, _ in kept] == [[greedy for _, greedy in r] for r, _, _ in whole]


def test_the_empty_circuit_answers_as_the_counterfactual_run(case):
    model, drawn, rows = case
    circuit = CircuitLM(model, drawn.pairs, circuit_of(model, False), drawn.pairs, silent)
    found = answers(circuit, rows)
    swapped = [dataclasses.replace(pair, clean_ids=pair.counterfactual_ids) for pair in drawn.pairs]
    expected = engine.read(model, swapped).metric("accuracy_candidates")
    assert [acc for _, acc, _ in found] == expected.tolist()
    assert circuit.leading(rows) == engine.read(model, swapped).metric("accuracy").tolist()


@pytest.mark.parametrize("ablation", [Ablation.MEAN, Ablation.RESAMPLE, Ablation.ZERO])
def test_every_choice_is_read_under_the_same_ablation(case, ablation):
    model, drawn, rows = case
    circuit = circuit_of(model, True, ablation)
    circuit.kept[:2] = False
    found = answers(CircuitLM(model, drawn.pairs, circuit, drawn.pairs, silent), rows)
    readings = engine.circuit_forward(
        model, drawn.pairs, circuit.space, circuit.kept[None, :], ablation, reference=drawn.pairs, seed=0
    )
    assert [acc for _, acc, _ in found] == readings.metric("accuracy_candidates")[0].tolist()
    for row, (responses, _, _), answer, foil in zip(rows, found, readings.answer[0], readings.foil[0], strict=True):
        gap = responses[row["gold"]][0] - responses[row["foil"]][0]  # white space in front cancels
        assert gap == pytest.approx(answer - foil, abs=1e-4)


def test_a_measurement_is_that_of_the_engine_with_its_interval(case):
    model, drawn, _ = case
    record = measure(model, "float32", drawn, None, silent)
    readings = engine.read(model, drawn.pairs)
    assert record.acc.value == readings.metric("accuracy_candidates").mean()
    assert record.top.value == readings.metric("accuracy").mean()
    assert (record.acc.low, record.acc.high) == wilson(record.acc.value, drawn.n_clusters)
    assert record.exact_match.value <= record.top.value
    assert (record.data.n_pairs, record.data.n_clusters, record.data.n_left_out) == (24, drawn.n_clusters, 0)
    setup = Setup(circuit_of(model, True), CircuitRecord("a" * 64, Part.KEPT, 9, 1.0), drawn.pairs)
    again = measure(model, "float32", drawn, setup, silent)
    assert (again.acc, again.top, again.exact_match) == (record.acc, record.top, record.exact_match)
    assert again.circuit.part is Part.KEPT


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A database with a cell of a toy, and the key of the cell."""
    folder = tmp_path_factory.mktemp("accuracy")
    db = str(folder / "results.db")
    grid = ["--model", "toy-a-base-1", "--method", "mediation", "--granularity", "node", "--limit", "24"]
    assert command(["evaluate", *grid, "--executor", "serial", "--device", "cpu", "--db", db]) == 0
    with Repository.open(db, read_only=True) as repository:
        (cell,) = repository.cells()
    return db, cell.key


def bench(capsys, *arguments):
    capsys.readouterr()
    code = command(["accuracy", *arguments, "--device", "cpu", "--json"])
    assert code == 0
    return json.loads(capsys.readouterr().out)["accuracies"]


def test_a_stored_circuit_answers_and_without_it_nothing_does(evaluated, capsys):
    db, key = evaluated
    whole = bench(capsys, "--model", "toy-a-base-1", "--task", "toy-arith", "--limit", "20", "--db", db)
    kept = bench(capsys, "--circuit", key[:10], "--limit", "20", "--db", db)
    removed = bench(capsys, "--circuit", key[:10], "--limit", "20", "--remove", "--db", db)
    assert [row["acc"] for row in (*whole, *kept, *removed)][:2] == [1.0, 1.0] and removed[0]["acc"] < 0.25
    assert [row["fit"] for row in (*whole, *kept, *removed)] == [True, True, False]
    assert (whole[0]["part"], kept[0]["part"], removed[0]["part"]) == ("whole", "kept", "removed")
    assert kept[0]["circuit_key"] == key and whole[0]["data_hash"] == kept[0]["data_hash"]
    # the curve's smallest circuit with a lower bound of at least 0.9
    with Repository.open(db, read_only=True) as repository, repository.reading() as connection:
        points = connection.exec_driver_sql(
            "SELECT n_components, size FROM curve_point WHERE curve = 'kept' AND f_low >= 0.9 ORDER BY size LIMIT 1"
        ).one()
    assert (kept[0]["n_components"], kept[0]["size"]) == (points[0], pytest.approx(points[1]))
    fewer = bench(capsys, "--circuit", key[:10], "--components", "2", "--limit", "20", "--db", db)
    assert fewer[0]["n_components"] <= 2 and fewer[0]["acc"] < 1.0
    stored = bench(capsys, "--stored", "--db", db)
    assert len(stored) == 4 and {row["accuracy_id"] for row in stored} >= {kept[0]["accuracy_id"]}
    again = bench(capsys, "--circuit", key[:10], "--limit", "20", "--db", db)
    assert {**again[0], "measured_at": ""} == {**kept[0], "measured_at": ""}
    assert len(bench(capsys, "--stored", "--db", db)) == 4


def test_an_exported_file_has_the_hash_of_the_cell(evaluated, tmp_path):
    db, key = evaluated
    with Repository.open(db, read_only=True) as repository:
        cell = repository.show(key).cell
    for split, name in (("discovery", "discovery_hash"), ("test", "evaluation_hash")):
        file = tmp_path / f"{split}.parquet"
        asked = ["--model", "toy-a-base-1", "--split", split, "-n", "24"]
        assert command(["tasks", "export", "toy-arith", str(file), *asked]) == 0
        assert read_parquet(file)[1]["data_hash"] == cell[name]


def test_measurements_are_merged_and_written_as_a_page(evaluated, capsys, tmp_path):
    db, key = evaluated
    bench(capsys, "--circuit", key[:10], "--limit", "12", "--db", db)
    rows = bench(capsys, "--model", "toy-a-base-1", "--task", "toy-arith", "--limit", "12", "--db", db)
    page = tmp_path / "accuracy.md"
    assert command(["accuracy", "--stored", "--db", db, "--page", str(page)]) == 0
    (line,) = [line for line in page.read_text().splitlines() if f" {rows[0]['n_pairs']} |" in line]
    assert line.startswith("| `toy-a-base-1` | `toy-arith` | 100.0% [") and line.endswith("| yes |")
    assert "kept" not in page.read_text() and page.read_text().startswith("# Accuracy")
    page.write_text("# Mine\n\n<!-- accuracy:begin -->\nold\n<!-- accuracy:end -->\n\nAfter.\n")
    assert command(["accuracy", "--stored", "--db", db, "--page", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# Mine\n") and text.endswith("\n\nAfter.\n") and line in text and "old" not in text
    with Repository.open(tmp_path / "all.db") as target, Repository.open(db, read_only=True) as source:
        merge(target, source)
        before = target.revision()
        merge(target, source)
        assert target.revision() == before
        with source.reading() as ours, target.reading() as theirs:
            query = "SELECT * FROM accuracy ORDER BY accuracy_id"
            assert ours.exec_driver_sql(query).all() == theirs.exec_driver_sql(query).all() != []


def test_what_cannot_be_measured_is_refused_with_the_reason(evaluated, tmp_path):
    db, key = evaluated
    for arguments, error, words in (
        (["--model", "toy-a-base-1", "--task", "addition"], PlanError, r"addition on toy-a-base-1.*tokens"),
        (["--model", "toy-a-base-2", "--circuit", key[:10]], UsageError, "Circuits belong to one model"),
        (["--circuit", "abcdef123"], UsageError, "abcdef123"),
        (["--components", "3", "--model", "toy-a-base-1"], BadOption, "--circuit"),
        ([], BadOption, "--model"),
    ):
        with pytest.raises(error, match=words):
            command(["accuracy", *arguments, "--device", "cpu", "--db", db])


def test_a_tokenizer_is_loaded_without_weights(tmp_path):
    tiny_tokenizers.digits().save_pretrained(tmp_path / "alone")
    tokenizer, digest = models.load_tokenizer(str(tmp_path / "alone"))
    assert tokenizer("5")["input_ids"] == tiny_tokenizers.digits()("5")["input_ids"]
    whole = tiny.folder(tmp_path, "llama")
    assert models.load(str(whole)).identity.tokenizer_hash == models.load_tokenizer(str(whole))[1] == digest


def test_a_chain_is_fit_by_what_its_task_asks(evaluated, capsys):
    db, _ = evaluated
    bench(capsys, "--model", "toy-a-base-1", "--task", "toy-arith", "--limit", "12", "--db", db)
    with Repository.open(db, read_only=True) as repository, repository.reading() as connection:
        row = dataclasses.replace(accuracies(connection)[0], acc=0.9, top=0.79, task="ontology-cot")
    assert not is_fit(row) and is_fit(dataclasses.replace(row, top=0.8))
    for other in ("addition", "a-task-that-is-not-installed"):
        usual = dataclasses.replace(row, task=other)
        assert is_fit(usual) and not is_fit(dataclasses.replace(usual, acc=0.74))
