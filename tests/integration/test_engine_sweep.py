"""`sweep` against one hook and one full forward per component."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, UnsupportedGranularity
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.engine import Site, SiteKind

DTYPES = (torch.float64, torch.float32)


def expected(model, pair, site, positions, run="counterfactual", donor="clean"):
    ids = {"clean": pair.clean_ids, "counterfactual": pair.counterfactual_ids}
    values = reference.run(model, ids[donor])[0] if isinstance(donor, str) else donor
    logits = reference.sweep_one(model, pair, (site.kind.value, site.layer), site.index, positions, ids[run], values)
    return reference.readings_of(model, pair, logits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("granularity", (Granularity.LAYER, Granularity.NODE))
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_component_agrees(family, granularity, dtype):
    model = tiny.subject(family, dtype=dtype)
    pairs = random_pairs(model.shape.vocab, (8, 7, 8), shots=1)
    space = ComponentSpace(granularity, model.shape)
    found = engine.sweep(model, pairs, space)
    for row, site in enumerate(engine.sites_of(space)):
        for i, pair in enumerate(pairs):
            reference.assert_equal(found, (row,), i, expected(model, pair, site, "all"), dtype)


@pytest.mark.parametrize("positions", ("last", "operand1", "operator"))
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_positions_and_directions(family, positions):
    model = tiny.subject(family, dtype=torch.float64, layers=3)
    pairs = random_pairs(model.shape.vocab, (9, 7), shots=2)
    sites = [
        *(Site(SiteKind.RESIDUAL, layer) for layer in range(4)),
        Site(SiteKind.RESIDUAL, 1, 5),
        Site(SiteKind.ATTENTION, 1, 3),
        Site(SiteKind.MLP, 2, 7),
        Site(SiteKind.HEAD, 2, 1),
        Site(SiteKind.HEAD, 0),
        Site(SiteKind.HIDDEN, 1, 11),
        Site(SiteKind.HIDDEN, 0),
        Site(SiteKind.MLP, 0),
        Site(SiteKind.ATTENTION, 2),
    ]
    found = engine.sweep(model, pairs, sites, run="clean", donor="counterfactual", positions=positions)
    for row, site in enumerate(sites):
        for i, pair in enumerate(pairs):
            values = expected(model, pair, site, positions, "clean", "counterfactual")
            reference.assert_equal(found, (row,), i, values, torch.float64)


@pytest.mark.parametrize("family", ("gpt2", "gptj", "qwen2", "gemma3_text"))
def test_position_classes(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7, 9), shots=1)
    space = ComponentSpace(Granularity.NODE, model.shape, classes=CLASSES)
    found = engine.sweep(model, pairs, space)
    sites = engine.sites_of(ComponentSpace(Granularity.NODE, model.shape))
    for row in range(0, len(space), 7):
        site, cls = sites[row // len(CLASSES)], CLASSES[row % len(CLASSES)]
        assert space.name(row).endswith(cls)
        for i, pair in enumerate(pairs):
            reference.assert_equal(found, (row,), i, expected(model, pair, site, cls), torch.float64)


def test_hidden_units():
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7))
    space = ComponentSpace(Granularity.NEURON, model.shape)
    found = engine.sweep(model, pairs, space)
    assert found.answer.shape == (2 * 40, 2)
    for row in (0, 39, 40, 77):
        site = Site(SiteKind.HIDDEN, *divmod(row, 40))
        for i, pair in enumerate(pairs):
            reference.assert_equal(found, (row,), i, expected(model, pair, site, "all"), torch.float64)


@pytest.mark.parametrize("ablation", (Ablation.ZERO, Ablation.MEAN))
@pytest.mark.parametrize("family", ("qwen2", "gpt_neox", "olmo2"))
def test_ablations_as_donors(family, ablation):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=1)
    others = random_pairs(model.shape.vocab, (7, 8, 7, 9), shots=1, seed=5, frames=("f0", "f1"))
    space = ComponentSpace(Granularity.NODE, model.shape)
    found = engine.sweep(model, pairs, space, run="clean", donor=ablation, reference=others)
    for i, pair in enumerate(pairs):
        if ablation is Ablation.MEAN:
            donor = reference.mean_activations(model, pair, others)
        else:
            donor = {place: 0 * value for place, value in reference.run(model, pair.clean_ids)[0].items()}
        for row, site in enumerate(engine.sites_of(space)):
            values = expected(model, pair, site, "all", "clean", donor)
            reference.assert_equal(found, (row,), i, values, torch.float64)


@pytest.mark.parametrize("family", ("qwen2", "gptj", "gemma2"))
def test_given_tensors_as_donors(family):
    """One vector per pair and site; the same prompts come twice with different vectors."""
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=1)
    pairs = [*pairs, pairs[0]]
    generator = torch.Generator().manual_seed(8)
    draw = {
        Site(SiteKind.HEAD, 0): (4, model.shape.d_head),
        Site(SiteKind.HEAD, 1, 2): (model.shape.d_head,),
        Site(SiteKind.MLP, 0): (24,),
        Site(SiteKind.RESIDUAL, 1, 5): (),
        Site(SiteKind.HIDDEN, 1, 3): (),
    }
    given = {site: torch.randn(3, *size, generator=generator, dtype=torch.float64) for site, size in draw.items()}
    sites = [Site(SiteKind.HEAD, 0, 1), *draw]
    found = engine.sweep(
        model, pairs, sites, run="clean", donor=given, positions="operand1", batcher=engine.Batcher(model, tokens=30)
    )
    for i, pair in enumerate(pairs):
        for row, site in enumerate(sites):
            columns = reference.columns_of(model, site.kind.value, site.index)
            value = given[site if site in given else site.whole][i]
            value = value[site.index] if site not in given else value
            activation = reference.run(model, pair.clean_ids)[0][site.kind.value, site.layer].clone()
            activation[:, columns] = value.flatten()
            donor = {(site.kind.value, site.layer): activation}
            values = expected(model, pair, site, "operand1", "clean", donor)
            reference.assert_equal(found, (row,), i, values, torch.float64)


def test_a_capture_as_donor_equals_the_run_it_is_of():
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7, 8), shots=1)
    space = ComponentSpace(Granularity.NODE, model.shape, classes=("operand1", "last"))
    sites = engine.sites_of(space)
    by_run = engine.sweep(model, pairs, space, run="clean", donor="counterfactual")
    whole = list({site.whole: None for site in sites})
    for captured in (sites, whole):
        donor = engine.capture(model, pairs, captured, "counterfactual", "all")
        found = engine.sweep(model, pairs, space, run="clean", donor=donor)
        np.testing.assert_allclose(found.answer, by_run.answer, rtol=0, atol=1e-12)
    patched = engine.sweep(model, pairs, [Site(SiteKind.MLP, 1)], run="clean", donor=donor, positions="last")
    intervention = engine.Intervention(Site(SiteKind.MLP, 1), donor, "last")
    np.testing.assert_allclose(patched.answer[0], engine.patch(model, pairs, [intervention]).answer, rtol=0, atol=1e-12)


def test_wrong_given_donors_are_named():
    model = tiny.subject("llama")
    pairs = random_pairs(model.shape.vocab, (8, 7))
    site, head = Site(SiteKind.MLP, 1), Site(SiteKind.HEAD, 0)
    with pytest.raises(BadOption, match="found no tensor"):
        engine.sweep(model, pairs, [site], donor={head: torch.zeros(2, 4, 8)})
    with pytest.raises(BadOption, match=r"\(2, 24\) for .*found \(3, 24\)"):
        engine.sweep(model, pairs, [site], donor={site: torch.zeros(3, 24)})
    donor = engine.capture(model, pairs, [site], "clean", "last")
    with pytest.raises(BadOption, match="Capture the same"):
        engine.sweep(model, pairs, [site], donor=donor)
    with pytest.raises(BadOption, match="2 pairs of this call, found one of 1"):
        engine.sweep(model, pairs, [site], donor=engine.capture(model, pairs[:1], [site], "clean", "all"))
    both = {head: torch.zeros(2, 4, 8), Site(SiteKind.HEAD, 0, 1): torch.ones(2, 8)}
    with pytest.raises(BadOption, match="as a whole and in parts"):
        engine.sweep(model, pairs, [head, Site(SiteKind.HEAD, 0, 1)], donor=both)


def test_patching_with_itself_changes_nothing():
    model = tiny.subject("gemma2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7))
    space = ComponentSpace(Granularity.NODE, model.shape)
    found = engine.sweep(model, pairs, space, run="clean", donor="clean")
    plain = engine.read(model, pairs)
    np.testing.assert_allclose(found.answer, np.broadcast_to(plain.answer, found.answer.shape), rtol=0, atol=1e-12)


def test_results_do_not_depend_on_the_batch():
    model = tiny.subject("mistral", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7, 12, 8, 7), shots=1)
    space = ComponentSpace(Granularity.NODE, model.shape)
    together = engine.sweep(model, pairs, space)
    apart = engine.sweep(model, pairs, space, batcher=engine.Batcher(model, tokens=11))
    np.testing.assert_allclose(apart.answer, together.answer, rtol=0, atol=1e-12)
    np.testing.assert_allclose(apart.kl, together.kl, rtol=0, atol=1e-12)


def test_progress_ends_at_the_total():
    model = tiny.subject("llama")
    pairs = random_pairs(model.shape.vocab, (8, 7))
    seen = []
    engine.sweep(
        model,
        pairs,
        ComponentSpace(Granularity.LAYER, model.shape),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (8, 8)
    assert seen == sorted(seen)


def test_edges_are_not_sites():
    model = tiny.subject("llama")
    with pytest.raises(UnsupportedGranularity, match="layer, node or neuron"):
        engine.sweep(model, random_pairs(model.shape.vocab, (8,)), ComponentSpace(Granularity.EDGE, model.shape))
    with pytest.raises(BadOption, match="within 2 layers"):
        engine.sweep(model, random_pairs(model.shape.vocab, (8,)), [Site(SiteKind.MLP, 2)])


@pytest.mark.parametrize("family", ("llama", "gptj", "gemma2"))
def test_pair_logits_alone(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7))
    space = ComponentSpace(Granularity.NODE, model.shape, classes=("early", "operand1"))
    for operation in (engine.sweep, engine.direct_effect):
        both = operation(model, pairs, space, pair_logits=True)
        everything = operation(model, pairs, space)
        np.testing.assert_allclose(both.metric("logit_diff"), everything.metric("logit_diff"), rtol=0, atol=1e-12)
        np.testing.assert_allclose(both.answer, everything.answer, rtol=0, atol=1e-12)
        with pytest.raises(BadOption, match="pair_logits"):
            both.metric("logprob")


def test_work_is_that_of_the_affected_part():
    """Two layers, one pair of 8 tokens that differs from token 1 on, all positions, blocks: with the first token read
    from the clean run, 7 of 8 tokens are run, the last block only at one token after its attention. Half blocks x
    tokens: a0 enters before m0: 7 (m0) + 7 (a1) + 1 (m1); m0: 7 + 1; a1: 1; m1: 0. Base runs: 2 x 2 x 8 clean,
    2 x 2 x 7 counterfactual. (24 + 32 + 28) / (2 x 2 x 8) = 2.625."""
    model = tiny.subject("llama")
    pairs = random_pairs(model.shape.vocab, (8,))
    with engine.Meter() as meter:
        engine.sweep(model, pairs, ComponentSpace(Granularity.LAYER, model.shape))
    assert meter.forward_equivalents == pytest.approx(2.625)


def test_position_classes_share_their_base_runs():
    """Six classes that start at six tokens of a pair: one clean and one counterfactual run for all of them."""
    model = tiny.subject("mistral", dtype=torch.float64)
    pairs, runs = random_pairs(model.shape.vocab, (8, 7), shots=2), []
    space = ComponentSpace(Granularity.LAYER, model.shape, classes=CLASSES)
    handle = model.embedding.register_forward_hook(lambda *_: runs.append(None))
    found = engine.sweep(model, pairs, space).answer.reshape(4, len(CLASSES), 2)
    handle.remove()
    assert len(runs) == 2 * len(pairs)
    for column, cls in enumerate(CLASSES):
        plain = ComponentSpace(Granularity.LAYER, model.shape)
        apart = engine.sweep(model, pairs, plain, positions=cls).answer
        np.testing.assert_allclose(found[:, column], apart, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_any_sites_positions_and_batches(data):
    """Random family, sites, positions, direction, lengths and batch size."""
    model = tiny.subject(data.draw(st.sampled_from(tiny.FAMILIES)), dtype=torch.float64)
    lengths = data.draw(st.lists(st.integers(6, 10), min_size=1, max_size=3))
    shots = data.draw(st.integers(0, 3))
    pairs = random_pairs(model.shape.vocab, lengths, shots=shots, seed=data.draw(st.integers(0, 99)))
    sites = []
    for kind in data.draw(st.lists(st.sampled_from(list(SiteKind)), min_size=1, max_size=4)):
        size = {SiteKind.HEAD: 4, SiteKind.HIDDEN: 40}.get(kind, 24)
        layer = data.draw(st.integers(0, 2 if kind is SiteKind.RESIDUAL else 1))
        sites.append(Site(kind, layer, data.draw(st.none() | st.integers(0, size - 1))))
    positions = data.draw(st.sampled_from(("all", *CLASSES)))
    run, donor = data.draw(st.permutations(("clean", "counterfactual")))
    tokens = data.draw(st.integers(1, 200))
    found = engine.sweep(
        model, pairs, sites, run=run, donor=donor, positions=positions, batcher=engine.Batcher(model, tokens=tokens)
    )
    for row, site in enumerate(sites):
        for i, pair in enumerate(pairs):
            reference.assert_equal(found, (row,), i, expected(model, pair, site, positions, run, donor), torch.float64)
