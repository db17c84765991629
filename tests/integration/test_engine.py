"""Plain forwards, capture and patch against one hook and one full forward."""

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation
from arithloc.benchmark.api.errors import BadOption, OutOfMemory
from arithloc.benchmark.engine import Intervention, Site, SiteKind

DTYPES = (torch.float64, torch.float32)


def pairs_for(model, lengths=(8, 7, 8), **options):
    return random_pairs(model.shape.vocab, lengths, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_read_agrees_with_single_forwards(family, dtype):
    model = tiny.subject(family, dtype=dtype)
    pairs = pairs_for(model)
    for run in ("clean", "counterfactual"):
        found = engine.read(model, pairs, run)
        for i, pair in enumerate(pairs):
            logits = reference.run(model, pair.clean_ids if run == "clean" else pair.counterfactual_ids)[1]
            reference.assert_equal(found, (), i, reference.readings_of(model, pair, logits), dtype)
    assert np.array_equal(engine.read(model, pairs).kl, np.zeros(3))


def test_metrics_of_known_readings():
    """Logits (2, 0, 1) of tokens (0, 1, 2), answer 0, foil 1: lse = 2 + ln(1 + e^-2 + e^-1) = 2.4076059644."""
    model = tiny.subject("llama")
    pair = pairs_for(model, (8,))[0]
    clean = torch.full((1, model.shape.vocab), -1e9, dtype=torch.float64)
    clean[0, [pair.answer_token, pair.foil_token]] = torch.tensor([2.0, 0.0], dtype=torch.float64)
    other = next(t for t in range(model.shape.vocab) if t not in (pair.answer_token, pair.foil_token))
    row = clean.clone()
    row[0, other] = 3.0
    builder = engine.readings.ReadingsBuilder((), [pair])
    reducer = engine.readings.Reducer([pair], clean)
    builder.clean_top([0], reducer.clean_top)
    builder.put(reducer(row.unsqueeze(1)), [0])
    found = builder.build()
    lse = np.log(np.exp(2) + 1 + np.exp(3))
    clean_lse = np.log(np.exp(2) + 1)
    assert found.metric("logit_diff") == pytest.approx([2.0])
    assert found.metric("logprob") == pytest.approx([2 - lse])
    assert found.metric("logprob_diff") == pytest.approx([2.0])
    assert found.metric("prob") == pytest.approx([np.exp(2 - lse)])
    assert found.metric("accuracy") == pytest.approx([0.0])
    assert found.metric("accuracy_candidates") == pytest.approx([1.0])
    assert found.metric("agreement") == pytest.approx([0.0])
    assert found.metric("kl") == pytest.approx([lse - clean_lse])
    assert found.metric("normalised_logit") == pytest.approx([2 / 3])


def test_half_precision_is_reduced_in_float32():
    model = tiny.subject("llama", dtype=torch.bfloat16)
    pairs = pairs_for(model, (8,))
    logits = model.module(torch.tensor([pairs[0].clean_ids])).logits[0, -1].float()
    found = engine.read(model, pairs)
    assert found.logprob_answer[0] == pytest.approx(float(logits.log_softmax(-1)[pairs[0].answer_token]), abs=1e-6)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_capture_finds_every_site(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = pairs_for(model, shots=2)
    heads = model.shape.n_heads
    sites = [
        engine.embedding(),
        Site(SiteKind.RESIDUAL, 2),
        Site(SiteKind.ATTENTION, 1),
        Site(SiteKind.MLP, 0),
        Site(SiteKind.HEAD, 1),
        Site(SiteKind.HEAD, 0, 2),
        Site(SiteKind.HIDDEN, 1),
    ]
    whole = engine.capture(model, pairs, sites, "counterfactual", "all")
    last = engine.capture(model, pairs, sites, "counterfactual")
    for i, pair in enumerate(pairs):
        acts = reference.run(model, pair.counterfactual_ids)[0]
        assert whole.positions[i] == tuple(range(2, pair.n_tokens))
        for site in sites:
            expected = acts[site.kind.value, site.layer][2:]
            if site.kind is SiteKind.HEAD:
                expected = expected.unflatten(-1, (heads, -1))
            if site.index is not None:
                expected = expected[:, site.index]
            torch.testing.assert_close(whole.ragged(site)[i], expected, rtol=0, atol=1e-9)
            torch.testing.assert_close(last.last(site)[i], expected[-1], rtol=0, atol=1e-9)
            assert last[site].shape == (3, 1, *expected.shape[1:])
    with pytest.raises(BadOption, match="ragged"):
        whole[sites[0]]


@pytest.mark.parametrize("family", ("llama", "gpt2", "gemma2"))
def test_patch_agrees_with_hooks(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = pairs_for(model, shots=1)
    generator = torch.Generator().manual_seed(3)
    tensor = torch.randn(3, model.shape.d_model, generator=generator, dtype=torch.float64)
    donor = engine.capture(model, pairs, [Site(SiteKind.HEAD, 1, 3)], "counterfactual", "all")
    found = engine.patch(
        model,
        pairs,
        [
            Intervention(Site(SiteKind.HEAD, 0, 1), "counterfactual", "operand1"),
            Intervention(Site(SiteKind.HEAD, 1, 3), donor),
            Intervention(Site(SiteKind.MLP, 0), Ablation.ZERO, "operator"),
            Intervention(Site(SiteKind.ATTENTION, 1), tensor, "last"),
            Intervention(Site(SiteKind.HIDDEN, 1, 7), "counterfactual", (3, 5)),
        ],
    )
    for i, pair in enumerate(pairs):
        other = reference.run(model, pair.counterfactual_ids)[0]
        columns = reference.columns_of
        changes = {
            ("head", 0): reference.swap(
                other["head", 0], reference.touched(pair, "operand1"), columns(model, "head", 1)
            ),
            ("head", 1): reference.swap(other["head", 1], reference.touched(pair, "all"), columns(model, "head", 3)),
            ("mlp", 0): reference.swap(torch.zeros_like(other["mlp", 0]), reference.touched(pair, "operator")),
            ("attention", 1): reference.swap(tensor[i].expand(pair.n_tokens, -1), [pair.n_tokens - 1]),
            ("hidden", 1): reference.swap(other["hidden", 1], [3, 5], columns(model, "hidden", 7)),
        }
        logits = reference.run(model, pair.clean_ids, changes)[1]
        reference.assert_equal(found, (), i, reference.readings_of(model, pair, logits), torch.float64)


def test_patching_a_residual_with_the_donor_gives_the_donor_run():
    model = tiny.subject("qwen2", dtype=torch.float64)
    pairs = pairs_for(model)
    found = engine.patch(model, pairs, [Intervention(Site(SiteKind.RESIDUAL, 1), "counterfactual")])
    np.testing.assert_allclose(found.answer, engine.read(model, pairs, "counterfactual").answer, rtol=0, atol=1e-12)


def test_wrong_places_are_named():
    model = tiny.subject("llama")
    pairs = pairs_for(model, shots=2)
    with pytest.raises(BadOption, match="within 2 layers"):
        engine.capture(model, pairs, [Site(SiteKind.HEAD, 2)])
    with pytest.raises(BadOption, match="index below 4"):
        engine.capture(model, pairs, [Site(SiteKind.HEAD, 0, 4)])
    with pytest.raises(BadOption, match="never intervened"):
        engine.patch(model, pairs, [Intervention(Site(SiteKind.MLP, 0), "counterfactual", "shot")])
    with pytest.raises(BadOption, match="leave exemplars out"):
        engine.patch(model, pairs, [Intervention(Site(SiteKind.MLP, 0), "counterfactual", (1,))])
    with pytest.raises(BadOption, match=r"shape \(3, 24\) .*found \(2, 24\)"):
        engine.patch(model, pairs, [Intervention(Site(SiteKind.MLP, 0), torch.zeros(2, 24))])
    donor = engine.capture(model, pairs, [Site(SiteKind.MLP, 0)], "clean", "last")
    with pytest.raises(BadOption, match="Capture the same"):
        engine.patch(model, pairs, [Intervention(Site(SiteKind.MLP, 0), donor, "operand1")])
    with pytest.raises(BadOption, match="reference"):
        engine.patch(model, pairs, [Intervention(Site(SiteKind.MLP, 0), Ablation.MEAN)])


def test_forward_equivalents_of_plain_runs():
    model = tiny.subject("llama")
    pairs = pairs_for(model)
    with engine.Meter() as outer:
        engine.read(model, pairs)
        with engine.Meter() as inner:
            engine.read(model, pairs, "counterfactual")
    assert inner.forward_equivalents == pytest.approx(6)
    assert outer.forward_equivalents == pytest.approx(9)


def test_batches_halve_when_memory_runs_out():
    model = tiny.subject("llama")
    batcher = engine.Batcher(model, tokens=64)
    seen = []

    def work(part):
        if part.stop - part.start > 3:
            raise torch.OutOfMemoryError("no")
        seen.append((part.start, part.stop))

    batcher.run(10, 8, work)
    assert seen == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert batcher.tokens == 16
    with pytest.raises(OutOfMemory, match="hold 8 tokens"):
        batcher.run(1, 8, lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(ValueError, match="other"):
        batcher.run(1, 8, lambda _: (_ for _ in ()).throw(ValueError("other")))


def test_results_do_not_depend_on_the_batch():
    model = tiny.subject("mistral", dtype=torch.float64)
    pairs = pairs_for(model, (8, 7, 12, 8, 7))
    together = engine.read(model, pairs)
    for tokens in (1, 17):
        apart = engine.read(model, pairs, batcher=engine.Batcher(model, tokens=tokens))
        np.testing.assert_allclose(apart.answer, together.answer, rtol=0, atol=1e-12)
        assert np.array_equal(apart.clean_top, together.clean_top)
