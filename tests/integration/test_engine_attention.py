"""Attention weights and cuts against the stock model with `output_attentions` and an edited mask."""

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.engine import Cut

FAMILIES = ("gpt2", "gptj", "gpt_neox", "qwen2", "gemma2", "olmo2")
"""Learned and rotated positions, parallel blocks, grouped queries, windows with soft-caps, norms of queries and keys."""


def forward(model, ids, closed=()):
    """Last logits and attention rows of the stock eager model.

    Args:
        closed: (layer, head or None, token) from which the last position looks away.
    """
    handles = []
    for layer in range(model.shape.n_layers):

        def close(_, args, kwargs, layer=layer):
            mask = kwargs["attention_mask"].expand(-1, model.shape.n_heads, -1, -1).clone()
            for block, head, token in closed:
                if block == layer:
                    mask[:, slice(None) if head is None else head, -1, token] = -torch.inf
            return args, {**kwargs, "attention_mask": mask}

        handles.append(model.attention(layer).register_forward_pre_hook(close, with_kwargs=True))
    before = model.config._attn_implementation
    model.module.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            out = model.module(input_ids=torch.tensor([ids]), use_cache=False, output_attentions=True)
    finally:
        model.module.set_attn_implementation(before)
        for handle in handles:
            handle.remove()
    return out.logits[0, -1], torch.stack([a[0, :, -1] for a in out.attentions]).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_stock_model(family) -> None:
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 12, 8), shots=2)  # more tokens than a head is wide
    for run in ("clean", "counterfactual"):
        found = engine.attention_weights(model, pairs, run)
        for pair, weights in zip(pairs, found, strict=True):
            ids = pair.clean_ids if run == "clean" else pair.counterfactual_ids
            np.testing.assert_allclose(weights, forward(model, ids)[1], atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_cuts_are_edits_of_the_mask(family) -> None:
    model = tiny.subject(family, dtype=torch.float64, layers=3)
    pairs = random_pairs(model.shape.vocab, (8, 12, 8), shots=2)
    wide = engine.sources_of(pairs, {"shot", "operand1"})
    narrow = engine.sources_of(pairs, {"operand2"})
    cuts = [Cut(wide), Cut(narrow, first=1), Cut(wide, stop=1), Cut(narrow, first=1, stop=2, head=2)]
    found = engine.attention_cuts(model, pairs, cuts)
    for row, cut in enumerate(cuts):
        layers = range(cut.first, 3 if cut.stop is None else cut.stop)
        for i, pair in enumerate(pairs):
            closed = [(layer, cut.head, token) for layer in layers for token in cut.sources[i]]
            logits = forward(model, pair.clean_ids, closed)[0]
            reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), torch.float64)


def test_nothing_cut_is_nothing_changed_and_batches_do_not_matter() -> None:
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7, 8))
    clean = engine.read(model, pairs)
    empty = engine.attention_cuts(model, pairs, [Cut(((), (), ())), Cut(engine.sources_of(pairs, {"early"}), stop=0)])
    assert np.abs(empty.answer - clean.answer).max() < 1e-12 and np.abs(empty.kl).max() < 1e-12
    some = engine.sources_of(pairs, {"operand1"})
    together = engine.attention_cuts(model, pairs, [Cut(some)]).answer[0]
    alone = [engine.attention_cuts(model, [p], [Cut((s,))]).answer[0, 0] for p, s in zip(pairs, some, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_attention_to_some_tokens_is_their_sum() -> None:
    weights = [np.arange(12.0).reshape(1, 2, 6), np.ones((1, 2, 3))]
    # 1 + 3 of the first head, 7 + 9 of the second; one token of the second pair
    assert engine.attention_to(weights, [{1, 3}, {0}]).tolist() == [[[4.0, 1.0], [16.0, 1.0]]]


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut(((7,),)), "always attends to itself"),
        (Cut(((1,), (2,))), "a set for each pair"),
        (Cut(((1,),), first=2, stop=1), "Count from 0"),
        (Cut(((1,),), head=4), "Count from 0"),
    ],
)
def test_cuts_that_are_not_there_are_refused(cut, message) -> None:
    model = tiny.subject("llama")
    with pytest.raises(BadOption, match=message):
        engine.attention_cuts(model, random_pairs(model.shape.vocab, (8,)), [cut])
