"""Every operation on every architecture family, in float64 and float32; elsewhere each is tested in depth on a few."""

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity
from arithloc.benchmark.engine import Intervention, Site, SiteKind

DTYPES = (torch.float64, torch.float32)
MIXED = ("gemma2", "gemma3_text", "olmo2")
"""Families whose heads do not write into the residual stream on their own."""
WHOLE = [
    Site(kind, layer)
    for kind in SiteKind
    for layer in range(3 if kind is SiteKind.RESIDUAL else 2)
]  # fmt: skip


@pytest.fixture(params=[(f, d) for f in tiny.FAMILIES for d in DTYPES], ids=lambda p: f"{p[0]}-{str(p[1])[6:]}")
def model(request):
    family, dtype = request.param
    return tiny.subject(family, dtype=dtype)


def drawn(model):
    return random_pairs(model.shape.vocab, (7, 6), shots=1)


def close(found, expected, dtype):
    """1e-9 in float64 and 1e-4 in float32, relative to the largest value."""
    bound = 1e-9 if dtype == torch.float64 else 1e-4
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=bound * max(1.0, np.abs(expected).max()))


def test_capture_and_patch(model):
    pairs, columns = drawn(model), reference.columns_of
    sites = [*WHOLE, Site(SiteKind.HEAD, 0, 2)]
    held = engine.capture(model, pairs, sites, "counterfactual", "all")
    tensor = torch.randn(2, model.shape.d_model, generator=torch.Generator().manual_seed(3), dtype=model.dtype)
    found = engine.patch(
        model,
        pairs,
        [
            Intervention(Site(SiteKind.HEAD, 0, 2), held, "operand1"),
            Intervention(Site(SiteKind.HIDDEN, 0, 7), "counterfactual", (3, 5)),
            Intervention(Site(SiteKind.MLP, 0), Ablation.ZERO, "operator"),
            Intervention(Site(SiteKind.ATTENTION, 1), tensor, "last"),
        ],
    )
    for i, pair in enumerate(pairs):
        other = reference.run(model, pair.counterfactual_ids)[0]
        for site in sites:
            expected = other[site.kind.value, site.layer][1:, columns(model, site.kind.value, site.index)]
            close(held.ragged(site)[i].flatten(1), expected, model.dtype)
        touched = reference.touched
        changes = {
            ("head", 0): reference.swap(other["head", 0], touched(pair, "operand1"), columns(model, "head", 2)),
            ("hidden", 0): reference.swap(other["hidden", 0], [3, 5], columns(model, "hidden", 7)),
            ("mlp", 0): reference.swap(0 * other["mlp", 0], touched(pair, "operator")),
            ("attention", 1): reference.swap(tensor[i].expand(pair.n_tokens, -1), touched(pair, "last")),
        }
        logits = reference.run(model, pair.clean_ids, changes)[1]
        reference.assert_equal(found, (), i, reference.readings_of(model, pair, logits), model.dtype)


def test_patching_with_itself_and_with_everything(model):
    """With captured values, so that each patch is really done."""
    pairs = drawn(model)
    own, other = (engine.capture(model, pairs, WHOLE, run, "all") for run in ("clean", "counterfactual"))
    clean, counterfactual = (engine.read(model, pairs, run).answer for run in ("clean", "counterfactual"))
    swept = engine.sweep(model, pairs, WHOLE, run="clean", donor=own).answer
    close(swept, np.broadcast_to(clean, swept.shape), model.dtype)
    close(engine.patch(model, pairs, [Intervention(site, own) for site in WHOLE]).answer, clean, model.dtype)
    writes = [site for site in WHOLE if site.kind in (SiteKind.ATTENTION, SiteKind.MLP)]
    everything = [Intervention(site, other) for site in (engine.embedding(), *writes)]
    close(engine.patch(model, pairs, everything).answer, counterfactual, model.dtype)
    residual = engine.sweep(model, pairs, WHOLE, run="clean", donor=other).answer[:2]
    assert WHOLE[:2] == [engine.embedding(), Site(SiteKind.RESIDUAL, 1)]
    close(residual, np.broadcast_to(counterfactual, residual.shape), model.dtype)


def test_receivers_of_heads_and_blocks(model):
    """Heads and MLPs with later MLPs recomputed, attention and MLP blocks with everything frozen."""
    pair = random_pairs(model.shape.vocab, (7,), shots=1)[0]
    q, k, v = (model.head_rows(*place) for place in ((1, "q", 2), (1, "k", 1), (1, "v", 0)))
    receivers = [*((rows.module, rows.rows) for rows in (q, k, v)), (model.mlp(1), slice(None))]
    donor, rows = reference.run(model, pair.counterfactual_ids)[0], reference.touched(pair, "all")
    for granularity, frozen in ((Granularity.NODE, "heads"), (Granularity.LAYER, "all")):
        space = ComponentSpace(granularity, model.shape)
        found = engine.direct_effect(
            model, [pair], space, receivers=["a1.h2<q>", "a1.h1<k>", "a1.h0<v>", "m1"], frozen=frozen
        )
        for row, site in enumerate(engine.sites_of(space)):
            kind = "head" if site.kind is SiteKind.ATTENTION else site.kind.value  # a block is all its heads
            logits = reference.receivers_one(
                model, pair.clean_ids, donor, (kind, site.layer, site.index), rows, receivers, frozen
            )
            reference.assert_equal(found, (row,), 0, reference.readings_of(model, pair, logits), model.dtype)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_gradients_in_float32(family):
    """Next to the same weights in float64, where gradients are tested against central differences."""
    single, double = (tiny.subject(family, dtype=dtype) for dtype in (torch.float32, torch.float64))
    pairs = drawn(single)
    sites = [Site(kind, 1) for kind in SiteKind]
    found, expected = (engine.gradients(model, pairs, sites, steps=2) for model in (single, double))
    for site in sites:
        for value, other in zip(found.ragged(site), expected.ragged(site), strict=True):
            assert value.dtype == torch.float32
            close(value, other, torch.float32)
    node = ComponentSpace(Granularity.NODE, single.shape)
    close(engine.site_effects(single, pairs, node), engine.site_effects(double, pairs, node), torch.float32)
    if family not in MIXED:
        edge = ComponentSpace(Granularity.EDGE, single.shape)
        close(engine.edge_effects(single, pairs, edge), engine.edge_effects(double, pairs, edge), torch.float32)
