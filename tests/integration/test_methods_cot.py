"""Methods of chain-of-thought analysis against hand-worked numbers and slow forms, on tiny random models."""

import dataclasses

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem, TooFewPairs
from arithloc.benchmark.api.errors import NoEffect, UnsupportedArchitecture
from arithloc.benchmark.engine import Readings
from arithloc.methods.cot_copy_attention import CotCopyAttention, answer_sources
from arithloc.methods.cot_copy_projection import CotCopyProjection
from arithloc.methods.cot_decision_lens import CotDecisionLens
from arithloc.methods.cot_patch import CotPatch
from arithloc.methods.cot_writers import CotWriters


def problem(model, pairs, granularity=Granularity.NODE, ablation=Ablation.COUNTERFACTUAL, **space):
    return Problem(
        model=model,
        pairs=pairs,
        space=ComponentSpace(granularity, model.shape, **space),
        metric="logit_diff",
        ablation=ablation,
        seed=0,
        rng=np.random.default_rng(0),
    )


def readings(answer, foil, kl):
    values = {"answer": answer, "foil": foil, "logprob_answer": answer, "logprob_foil": foil, "kl": kl}
    values = {name: np.array(value, dtype=float) for name, value in values.items()}
    tops = {name: np.zeros(values["answer"].shape, dtype=int) for name in ("top", "top_candidate")}
    token = np.zeros(len(values["answer"][..., :].reshape(-1, 2)[0]), dtype=int)
    return Readings(**values, **tops, top_logit=values["answer"], answer_token=token, clean_top=token)


def test_recovery_by_hand() -> None:
    clean, corrupted = readings([3.0, 1.0], [0.0, 0.0], [0.0, 0.0]), readings([-1.0, -1.0], [0.0, 0.0], [0.5, 0.7])
    # four nodes: as the clean run, as the counterfactual one, between them, worse than the counterfactual one
    patched = readings(
        [[3.0, 1.0], [-1.0, -1.0], [1.0, 0.0], [-2.0, -1.0]],
        np.zeros((4, 2)),
        [[0.0, 0.0], [0.5, 0.7], [0.1, 0.2], [0.8, 0.7]],
    )
    # LD: means 2, -1, .5, -1.5 between 2 and -1; ratios of the third node 2/4 and 1/2, of the last -1/4 and 0
    assert CotPatch()._kept(patched, clean, corrupted) == pytest.approx([1, 0, 0.5, -1 / 6])
    ratios = CotPatch(average="mean_of_ratios")._kept(patched, clean, corrupted)
    assert ratios == pytest.approx([1, 0, 0.5, -0.125])
    # KL: 1 - (.1 + .2) / (.5 + .7) and 1 - (.8 + .7) / (.5 + .7)
    assert CotPatch(recovery="KL")._kept(patched, clean, corrupted) == pytest.approx([1, 0, 0.75, -0.25])
    # the second pair differs by under .05 nats and is left out: 1 - .1 / .5
    quiet = dataclasses.replace(corrupted, kl=np.array([0.5, 0.01]))
    assert CotPatch(recovery="KL")._kept(patched, clean, quiet) == pytest.approx([1, 0, 0.8, -0.6])
    with pytest.raises(NoEffect, match=r"0\.05 nats"):
        CotPatch(recovery="KL")._kept(patched, clean, dataclasses.replace(corrupted, kl=np.array([0.01, 0.01])))


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_patching_one_head_alone(direction) -> None:
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = easy(model, random_pairs(model.shape.vocab, (6, 7, 6), shots=1))
    found = {
        name: CotPatch(recovery=name, direction=direction).localize(problem(model, pairs)).values
        for name in ("LD", "KL")
    }
    gaps, changes, kls, lost = [], [], [], []
    for pair in pairs:
        clean, first = reference.run(model, pair.clean_ids)
        other, second = reference.run(model, pair.counterfactual_ids)
        ids, donor = (pair.counterfactual_ids, clean) if direction == "denoise" else (pair.clean_ids, other)
        patched = reference.sweep_one(model, pair, ("head", 1), 2, "all", ids, donor)
        before = second if direction == "denoise" else first
        gaps.append(difference(pair, first) - difference(pair, second))
        changes.append(difference(pair, patched) - difference(pair, before))
        kls.append(divergence(first, second))
        lost.append(divergence(first, patched))
    assert min(kls) > 0.05
    sign = 1 if direction == "denoise" else -1
    ratio = np.mean(lost) / np.mean(kls)
    node = 1 * (model.shape.n_heads + 1) + 2
    assert found["LD"][node] == pytest.approx(sign * np.mean(changes) / np.mean(gaps), abs=1e-9)
    assert found["KL"][node] == pytest.approx(1 - ratio if direction == "denoise" else ratio, abs=1e-9)


def easy(model, pairs):
    """The same prompts with answer and foil so that the clean run is right and the counterfactual one is not."""
    found = []
    for pair in pairs:
        change = reference.run(model, pair.clean_ids)[1] - reference.run(model, pair.counterfactual_ids)[1]
        answer, foil = int(change.argmax()), int(change.argmin())
        tokens = {"answer_ids": (answer,), "answer_cf_ids": (foil,), "candidates": (answer, foil)}
        found.append(dataclasses.replace(pair, **tokens))
    return found


def difference(pair, logits):
    return float(logits[pair.answer_token] - logits[pair.foil_token])


def divergence(p, q):
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    return float((p.exp() * (p - q)).sum())


def test_groups_of_positions_are_patched_one_by_one() -> None:
    model = tiny.subject("qwen2", dtype=torch.float64)
    pairs = easy(model, random_pairs(model.shape.vocab, (6, 7)))
    grouped = CotPatch().localize(problem(model, pairs, classes=CLASSES)).values.reshape(-1, len(CLASSES))
    assert (grouped[:, 0] == 0).all()  # nothing differs there
    gap = engine.read(model, pairs).metric("logit_diff") - engine.read(model, pairs, "counterfactual").metric(
        "logit_diff"
    )
    last = engine.sweep(model, pairs, ComponentSpace(Granularity.NODE, model.shape), positions="last")
    recovered = last.metric("logit_diff") - engine.read(model, pairs, "counterfactual").metric("logit_diff")
    assert grouped[:, -1] == pytest.approx(recovered.mean(-1) / gap.mean(), abs=1e-9)


@pytest.mark.parametrize("kind", ["induction_q", "induction_g", "decision_g"])
def test_pairs_with_two_right_answers_are_refused(kind) -> None:
    model = tiny.subject("llama")
    pairs = [dataclasses.replace(pair, kind=kind) for pair in random_pairs(model.shape.vocab, (6,))]
    with pytest.raises(TooFewPairs, match=f"found the kind '{kind}'"):
        CotPatch().localize(problem(model, pairs))


def holding(pairs):
    """The same pairs with the answer token in the prompt, twice: as the second token and as the second to last."""
    found = []
    for pair in pairs:
        ids = (pair.clean_ids[0], pair.answer_token, *pair.clean_ids[2:-2], pair.answer_token, pair.clean_ids[-1])
        found.append(dataclasses.replace(pair, clean_ids=ids, counterfactual_ids=ids))
    return found


def test_attention_to_where_the_answer_stands() -> None:
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = holding(random_pairs(model.shape.vocab, (6, 9)))
    found = CotCopyAttention().localize(problem(model, pairs)).values.reshape(2, -1)
    assert (found[:, -1] == 0).all()
    model.module.set_attn_implementation("eager")
    with torch.no_grad():
        rows = [
            torch.stack(model.module(torch.tensor([p.clean_ids]), output_attentions=True).attentions)[:, 0, :, -1]
            for p in pairs
        ]
    expected = np.mean([(row[..., 1] + row[..., -2]).numpy() for row in rows], 0)
    assert found[:, :-1] == pytest.approx(expected, abs=1e-9)


def test_the_tag_says_which_statement_is_the_source() -> None:
    (pair,) = holding(random_pairs(30, (7,)))
    assert answer_sources([pair]) == ({1, 5},)
    classes = ("early", "question1_object", "question1_object", "question2_object", "question2_object", "stop", "last")
    tagged = dataclasses.replace(pair, classes=classes, strata=(("source", "1"),))
    assert answer_sources([tagged]) == ({1},)
    shown = dataclasses.replace(pair, classes=("shot", "shot", *pair.classes[2:]))
    assert answer_sources([shown]) == ({5},)


def test_prompts_without_the_answer_are_refused_by_the_name_of_their_task() -> None:
    with pytest.raises(TooFewPairs, match="found 2 of 2 pairs of 'random' without it"):
        answer_sources(
            [
                dataclasses.replace(p, clean_ids=tuple(t if t != p.answer_token else 1 for t in p.clean_ids))
                for p in random_pairs(30, (6, 6))
            ]
        )


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_projections_of_heads_add_up_to_that_of_the_block(family) -> None:
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (6, 7))
    found = CotCopyProjection().localize(problem(model, pairs)).values.reshape(2, -1)
    for layer in range(2):
        total = []
        for pair in pairs:
            write = reference.run(model, pair.clean_ids)[0]["attention", layer][-1]
            if family == "gpt2":
                write = write - model.attention_output(layer).bias
            total.append(float(write @ model.unembedding.weight[pair.answer_token]))
        assert found[layer].sum() == pytest.approx(np.mean(total), abs=1e-9)


def test_a_head_that_is_its_whole_block_decides_alone() -> None:
    model = tiny.subject("llama", dtype=torch.float64, num_attention_heads=1, num_key_value_heads=1)
    found = CotDecisionLens().localize(problem(model, random_pairs(model.shape.vocab, (6, 7)))).values
    assert found.reshape(2, 2) == pytest.approx(np.array([[1, 0], [1, 0]]), abs=1e-9)


@pytest.mark.parametrize("family", ["gpt2", "gptj"])
def test_decision_lens_head_by_head(family) -> None:
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (6, 7))
    found = CotDecisionLens().localize(problem(model, pairs)).values.reshape(2, -1)
    expected = []
    for pair in pairs:
        acts = reference.run(model, pair.clean_ids)[0]
        before, part = acts["residual", 1][-1], reference.columns_of(model, "head", 3)
        weight = model.attention_output(1).weight
        write = acts["head", 1][-1, part] @ (weight if model.anatomy.conv1d else weight.T)[part]
        alone, whole = (
            model.logits(x).softmax(-1)[pair.answer_token] for x in (before + write, before + acts["attention", 1][-1])
        )
        expected.append(float(alone / whole))
    assert found[1, 3] == pytest.approx(np.mean(expected), abs=1e-9)


@pytest.mark.parametrize("ablation", [Ablation.COUNTERFACTUAL, Ablation.ZERO])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_writers_lose_their_direct_path(family, ablation) -> None:
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (6, 7))
    found = CotWriters().localize(problem(model, pairs, ablation=ablation)).values.reshape(2, -1)
    expected = []
    for pair in pairs:
        acts, logits = reference.run(model, pair.clean_ids)
        other = reference.run(model, pair.counterfactual_ids)[0]
        part = reference.columns_of(model, "head", 1)
        change = acts["head", 0][-1, part]
        if ablation is Ablation.COUNTERFACTUAL:
            change = change - other["head", 0][-1, part]
        weight = model.attention_output(0).weight
        change = change @ (weight if model.anatomy.conv1d else weight.T)[part]
        final, norm = acts["residual", 2][-1], model.final_norm
        if family == "gpt2":  # the norm's scale stays that of the clean run
            scaled = norm.weight * (change - change.mean()) / (final.var(unbiased=False) + norm.eps).sqrt()
        else:
            scaled = norm.weight * change / (final.pow(2).mean() + norm.variance_epsilon).sqrt()
        after = model.unembedding(norm(final) - scaled)
        logprobs = [x.log_softmax(-1)[pair.answer_token] for x in (logits, after)]
        expected.append(float(logprobs[0] - logprobs[1]))
    assert found[0, 1] == pytest.approx(np.mean(expected), abs=1e-9)
    assert (found[:, -1] == 0).all()


def test_writers_as_edges_are_the_edges_to_the_logits() -> None:
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (6, 7))
    nodes = CotWriters().localize(problem(model, pairs))
    edges = CotWriters().localize(problem(model, pairs, Granularity.EDGE))
    named = dict(zip(edges.space.names, edges.values, strict=True))
    for name, value in zip(nodes.space.names, nodes.values, strict=True):
        assert named.pop(f"{name}->logits") == value
    assert not any(named.values())
    mixed = tiny.subject("gemma2")
    with pytest.raises(UnsupportedArchitecture, match="gemma2"):
        CotWriters().localize(problem(mixed, pairs, Granularity.EDGE))


@pytest.mark.parametrize(
    "method", [CotPatch(), CotCopyAttention(), CotCopyProjection(), CotDecisionLens(), CotWriters()]
)
def test_a_batch_is_its_pairs_one_by_one(method) -> None:
    model = tiny.subject("gemma2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (7, 9, 7))
    pairs = holding(pairs) if isinstance(method, CotCopyAttention) else easy(model, pairs)
    asked = problem(model, pairs, classes=("operand1", "last"))
    together = method.localize(asked).values
    assert np.array_equal(together, method.localize(asked).values)
    if isinstance(method, CotPatch):  # a ratio of means is no mean over pairs
        return
    alone = [method.localize(problem(model, [pair], classes=("operand1", "last"))).values for pair in pairs]
    np.testing.assert_allclose(together, np.mean(alone, 0), atol=1e-9)
