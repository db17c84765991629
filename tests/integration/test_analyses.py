"""The analyses on tiny random models, where every task counts as solved, and their commands on a toy."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.analysis.folder import write_report
from arithloc.benchmark.analysis.session import Question, answer
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Split
from arithloc.benchmark.api.errors import UnknownName, UsageError
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import analyses
from arithloc.benchmark.api.report import Heatmap, Verdict
from arithloc.benchmark.api.study import Sample, Study
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.cli.guard import guarded
from arithloc.benchmark.engine import Intervention, Site, SiteKind
from arithloc.benchmark.metrics import measured
from arithloc.methods.analyses.mediation.analysis import MediationAnalysis
from arithloc.methods.analyses.mediation.maps import ATTENTION, MLP
from arithloc.methods.analyses.path_patching.analysis import PathPatchingAnalysis
from arithloc.methods.analyses.path_patching.effects import direct_effects
from arithloc.methods.analyses.path_patching.knockout import MATCHED, RANDOM, TOP, head_mask, knockout

TASK = Reference.parse("addition[shots=1]")


@pytest.fixture(scope="module")
def model():
    return tiny.subject("llama", layers=7, dtype=torch.float64)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(measured, "N_DRAWS", 20)


def study_of(model, *, solved=lambda text: True):
    """A study in which every task gives random pairs, which the model is said to answer or not."""

    def sample(reference, split, n):
        text = str(reference)
        pairs = tuple(random_pairs(model.shape.vocab, [6, 6, 6], seed=len(text) + (split is Split.TEST), shots=2))
        if solved(text):
            return Sample(text, pairs, 3, 3, 1.0)
        return Sample(text, pairs[:1], 4, 1, 0.25)

    return Study(model, TASK, 4, 0, sample, lambda what: no_progress)


def picture(report, name):
    return next(p for section in report.sections for p in section.pictures if p.name == name)


def table(report, name):
    return next(t for section in report.sections for t in section.tables if t.name == name)


def test_mediation_says_what_it_finds_and_what_is_not_solved(model, tmp_path):
    def solved(text):
        return any(part in text for part in ("kind=operands", "kind=same_answer", "words", "retrieval"))

    report = MediationAnalysis(coordinate_pairs=3).run(study_of(model, solved=solved))
    untested = {claim.id: claim for claim in report.claims if claim.verdict is Verdict.UNTESTED}
    assert set(untested) == {"M6.1", "M6.3", "M6.4", "M6.5", "M7", "M8.2", "M8.3"}
    assert all("25%" in claim.note for claim in untested.values())
    tested = {claim.id for claim in report.claims} - set(untested)
    assert tested == {"M1", "M2.1", "M2.2", "M3", "M4", "M5", "M6.2", "M8.1", "M9", "M10.1", "M10.2"}
    assert {"copying[shots=1]", "copying[shots=0]", "copying[shots=2]"} <= {
        s.task for s in report.samples if not s.solved
    }
    heat = picture(report, "map_operands_mlp")
    assert heat.columns == ("early", "operand1", "operator", "operand2", "late", "last") and len(heat.rows) == 7
    # the prompts are the same up to the first operand; the last MLP at the operand comes too late for the last position
    np.testing.assert_allclose([*heat.values[:, 0], heat.values[-1, 1]], 0.0, atol=1e-12)
    assert np.all(np.abs(heat.values[:-1, 1]) > 1e-6)
    ours = table(report, "relative_importance").rows
    assert [row[0] for row in ours] == ["operands", "same-answer", "words", "retrieval"]
    overlaps = {(row[0], row[2]): row for row in table(report, "output_coordinates").rows}
    size = model.shape.d_model
    k = round(400 / 4096 * size)
    assert overlaps[k, "words"][6] == pytest.approx(k / size) and (k, "two halves of it") in overlaps
    from_random_donor = table_of_points(picture(report, "random_donor"))
    assert from_random_donor["from the pair's clean run"] != from_random_donor["from another pair"]
    write_report(report, provenance(model), tmp_path / "out")
    assert (tmp_path / "out/tables/cells_operands.csv").read_text().count("\n") == 1 + 6 * (7 * 2 + 1)


def table_of_points(curves):
    return {line.label: line.y.tolist() for line in curves.series}


def provenance(model):
    from arithloc.benchmark.analysis.provenance import Provenance

    return Provenance.of(model, command="bench", analysis="x", options={}, task="t", limit=4, seed=0, seconds=0.0)


def test_cells_are_single_patches_into_the_counterfactual_run(model):
    from arithloc.methods.analyses.mediation.designs import choose, designs_of
    from arithloc.methods.analyses.mediation.maps import module_map

    study = study_of(model)
    found = module_map(model, choose(study, designs_of(TASK)[0]), no_progress)
    before = engine.read(model, found.pairs, "counterfactual")
    for layer, module, name in ((2, MLP, "operand1"), (5, ATTENTION, "last"), (6, MLP, "last")):
        site = Site(SiteKind.MLP if module == MLP else SiteKind.ATTENTION, layer)
        patched = engine.patch(model, found.pairs, [Intervention(site, "clean", name)], "counterfactual")
        place = (layer, module, found.classes.index(name))
        np.testing.assert_allclose(
            found.effects.d[place], patched.logprob_answer - before.logprob_answer, rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(
            found.effects.d_prime[place], before.logprob_foil - patched.logprob_foil, rtol=0, atol=1e-9
        )
    last = engine.patch(model, found.pairs, [Intervention(Site(SiteKind.MLP, 6), "clean", "last")], "counterfactual")
    np.testing.assert_allclose(found.last_mlps[6].logprob_answer, last.logprob_answer, rtol=0, atol=1e-9)
    clean = engine.read(model, found.pairs, "clean")
    np.testing.assert_allclose(found.ceiling.d, clean.logprob_answer - before.logprob_answer, rtol=0, atol=1e-9)


def test_a_task_that_is_not_solved_leaves_nothing_to_analyse(model):
    for analysis in (MediationAnalysis(), PathPatchingAnalysis()):
        report = analysis.run(study_of(model, solved=lambda text: False))
        assert [claim.verdict for claim in report.claims] == [Verdict.UNTESTED] and report.sections == ()
        assert report.samples and not any(sample.solved for sample in report.samples)


def test_path_patching_says_what_it_finds_and_what_is_not_solved(model, tmp_path):
    def solved(text):
        return any(part in text for part in ("addition[kind", "subtraction", "frames=zS0", "copying"))

    report = PathPatchingAnalysis(draws=2, receiver_pairs=2).run(study_of(model, solved=solved))
    tested = {claim.id for claim in report.claims if claim.verdict is not Verdict.UNTESTED}
    assert tested == {
        "P1", "P2", "P3", "P4.1", "P4.2", "P5.1", "P5.2", "P6.1", "P6.2", "P7.subtraction.needed", "P7.subtraction.same",
        "P7.statement.needed", "P7.statement.same", "P8.copying",
    }  # fmt: skip
    assert all("25%" in claim.note for claim in report.claims if claim.id.startswith(("P7.division", "P8.factual")))
    sizes = picture(report, "knockout_accuracy").series[0].x.tolist()
    assert sizes == [0.0, 1.0, 2.0, 5.0, 10.0, 20.0]
    receivers = picture(report, "receivers_v")
    assert str(table(report, "heads").rows[0][0]).partition(".")[0] in receivers.title
    first = min(int(name) for name in re.findall(r"a(\d+)\.h", receivers.title))
    last = max(int(name) for name in re.findall(r"a(\d+)\.h", receivers.title))
    np.testing.assert_allclose(receivers.values[last:], 0.0, atol=1e-12)
    assert first == 0 or np.abs(receivers.values[:first]).max() > 1e-6
    assert isinstance(picture(report, "attention"), Heatmap)
    np.testing.assert_allclose(picture(report, "attention").values.sum(-1), 1.0)
    rows = {row[1]: row for row in table(report, "transfer").rows}
    assert set(rows) == {
        "subtraction", "multiplication", "division", "equation", "statement", "question", "two-digit",
        "retrieval", "copying", "comparison", "factual",
    }  # fmt: skip
    write_report(report, provenance(model), tmp_path / "out")


def test_direct_effects_stand_at_their_head(model):
    pairs = tuple(random_pairs(model.shape.vocab, [6, 6], seed=3))
    found = direct_effects(model, pairs, "heads", no_progress)
    space = ComponentSpace(Granularity.NODE, model.shape)
    clean, row = engine.read(model, pairs), space.names.index("a5.h2")
    patched = engine.direct_effect(model, pairs, space)[row]
    np.testing.assert_allclose(found.change[5, 2], patched.metric("logit_diff") - clean.metric("logit_diff"))
    usable = clean.answer > 0
    np.testing.assert_allclose(found.relative[5, 2][usable], (patched.answer / clean.answer - 1)[usable])
    assert np.all(found.relative[:, :, ~usable] == 0.0)


def test_knocking_out_ablates_the_first_heads_of_the_order(model):
    pairs, reference = (random_pairs(model.shape.vocab, [6, 6, 7], seed=seed) for seed in (4, 5))
    order = np.random.default_rng(0).permutation(7 * 4)
    found = knockout(
        model, order, (0, 3, 1000), pairs, reference, ablation=Ablation.MEAN, draws=3, seed=1, progress=no_progress
    )
    space = ComponentSpace(Granularity.NODE, model.shape)
    assert found.sizes == (0, 3)
    kept = ~head_mask(space, order[:3])[None]
    expected = engine.circuit_forward(model, pairs, space, kept, Ablation.MEAN, reference=reference)
    np.testing.assert_allclose(found.values["logit_diff", TOP][1, 0], expected.metric("logit_diff")[0], atol=1e-9)
    whole = engine.read(model, pairs).metric("logit_diff")
    for kind in (TOP, RANDOM, MATCHED):
        np.testing.assert_allclose(found.values["logit_diff", kind][0], np.broadcast_to(whole, (len(found.values["logit_diff", kind][0]), 3)), atol=1e-9)  # fmt: skip
    spread = found.values["logit_diff", RANDOM][1]
    assert spread.shape == (3, 3) and np.ptp(spread, axis=0).max() > 1e-6


# ---- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARITHLOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_the_command_writes_a_report_on_a_toy(cache, tmp_path, capsys):
    name = "path-patching[draws=2,receiver_pairs=2]"
    arguments = ["analyze", name, "--model", "toy-a-base-1", "--task", "toy-arith", "--limit", "4", "--device", "cpu"]
    assert command(arguments) == 0
    folder = tmp_path / "reports" / "path-patching-toy-a-base-1"
    assert f"Report: reports/{folder.name}/index.html" in capsys.readouterr().out
    found = json.loads((folder / "report.json").read_text())
    claims = {row["id"]: row for row in found["claims"]}
    assert claims["P4.1"]["estimate"]["n"] > 1 and found["provenance"]["limit"] == 4
    assert {row["analysed"] for row in found["samples"]} == {True, False}
    assert (folder / "index.html").read_text().count("<svg") == len(list((folder / "pictures").iterdir())) > 3


def test_wrong_input_is_one_sentence_before_any_model_is_loaded(cache, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    model = ["--model", "no-such-model"]
    for arguments, words in (
        (["mediaton", *model], "Did you mean mediation?"),
        (["mediation[coordinates=3]", *model], "coordinate_pairs"),
        (["mediation", *model, "--task", "additon"], "Did you mean addition"),
        (["mediation", *model, "--task", "addition[digits=9]"], "addition.digits"),
        (["mediation", *model, "--out", "full"], "Choose another --out."),
        (["mediation", *model, "--device", "gpu"], "--device"),
        (["mediation", *model, "--limit", "0"], "limit"),
        (["mediation", *model], "no-such-model"),
    ):
        assert guarded(command, ["analyze", *arguments]) == 2
        shown = capsys.readouterr().err
        assert words in shown and shown.count("error:") == 1 and "Traceback" not in shown
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_an_interrupt_leaves_nothing_behind(cache, tmp_path, monkeypatch):
    def interrupted(self, study):
        raise KeyboardInterrupt

    monkeypatch.setattr(MediationAnalysis, "run", interrupted)
    arguments = ["analyze", "mediation", "--model", "toy-a-base-1", "--task", "toy-arith", "--out", "here"]
    assert guarded(command, arguments) == 130
    assert not (tmp_path / "here").exists() and not list(tmp_path.glob(".here*"))


def test_help_says_what_each_analysis_does(capsys):
    assert command(["analyze", "--help"]) == 0
    text = " ".join(re.sub(r"[^\w.:(),-]+", " ", capsys.readouterr().out).split())
    for plugin in analyses.all():
        info = plugin.target.info
        assert f"{info.name} {info.summary[:-1].replace(chr(39), ' ')} ({info.reference})." in text
    assert command(["list", "analyses", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["analyses"]
    assert {item["name"] for item in listed} == set(analyses.names())


def test_the_example_of_the_documentation_runs(cache, tmp_path, capsys):
    page = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    arguments = ["analyze", "mine.py:Mine", "--model", "toy-a-base-1", "--task", "toy-arith", "--limit", "4"]
    assert command(arguments) == 0
    assert "Report: reports/Mine-toy-a-base-1/index.html" in capsys.readouterr().out
    assert (tmp_path / "reports" / "Mine-toy-a-base-1" / "report.md").exists()


def test_a_class_that_is_no_analysis_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    info = None\n    def run(self, study):\n        return 1\n")
    question = Question(Reference(f"{file}:Mine"), "toy-a-base-1", None, 4, 0, "cpu", "float32", "")
    with pytest.raises(UsageError, match="AnalysisInfo"):
        answer(question, tmp_path / "out", lambda what: no_progress)
    with pytest.raises(UnknownName):
        answer(Question(Reference("nothing"), "toy-a-base-1", None, 4, 0, "cpu", "float32", ""), tmp_path / "out", lambda what: no_progress)  # fmt: skip
