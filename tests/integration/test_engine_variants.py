"""Configurations that change what a family computes, against one hook and one full forward."""

import dataclasses

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity
from arithloc.benchmark.api.errors import UnsupportedArchitecture


def rope(kind, **parameters):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **parameters}}


LONGROPE = {
    **rope("longrope", long_factor=[4.0] * 3, short_factor=[1.0] * 3, original_max_position_embeddings=10),
    "original_max_position_embeddings": 10,
}
DYNAMIC = {"max_position_embeddings": 12, **rope("dynamic", factor=2.0)}
VARIANTS = {
    "keys clamped in place": ("olmo", {"clip_qkv": 0.5}),
    "sequential blocks": ("gpt_neox", {"use_parallel_residual": False}),
    "one key for all heads, biases": ("llama", {"num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True}),
    "scores scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}),
    "a window in some layers": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 0,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "a window in all layers": ("phi3", {"sliding_window": 5}),
    "scores bounded": ("gemma2", {"attn_implementation": "eager", "attn_logit_softcapping": 1.0}),
    "linear rotation": ("llama", rope("linear", factor=2.0)),
    "llama3 rotation": (
        "llama",
        rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
    ),
    "yarn rotation": ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=32)),
    "longrope, long": ("phi3", LONGROPE),
    "dynamic rotation, short": ("llama", {**DYNAMIC, "max_position_embeddings": 20}),
}


def sharing(pairs, n):
    """The same pairs with the first `n` tokens of the first prompt."""
    first = pairs[0].clean_ids[:n]
    return [
        dataclasses.replace(
            pair, clean_ids=first + pair.clean_ids[n:], counterfactual_ids=first + pair.counterfactual_ids[n:]
        )
        for pair in pairs
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_sweeps_and_edge_circuits(variant):
    """Two pairs of 14 tokens that share their first six, so that these are run once."""
    family, options = VARIANTS[variant]
    model = tiny.subject(family, dtype=torch.float64, **options)
    pairs = sharing(random_pairs(model.shape.vocab, (8, 8), shots=6), 6)
    node, edge = (ComponentSpace(granularity, model.shape) for granularity in (Granularity.NODE, Granularity.EDGE))
    found = engine.sweep(model, pairs, node)
    for i, pair in enumerate(pairs):
        donor = reference.run(model, pair.clean_ids)[0]
        for row, site in enumerate(engine.sites_of(node)):
            place = (site.kind.value, site.layer)
            logits = reference.sweep_one(model, pair, place, site.index, "all", pair.counterfactual_ids, donor)
            reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), torch.float64)
    if family == "gemma2":
        return  # its heads do not write on their own
    kept = np.random.default_rng(0).random((1, len(edge))) < 0.6
    found = engine.circuit_forward(model, pairs, edge, kept, Ablation.COUNTERFACTUAL)
    columns, pair = {name: i for i, name in enumerate(edge.names)}, pairs[0]
    donor = reference.run(model, pair.counterfactual_ids)[0]
    logits = reference.edges_one(model, pair, lambda name, _: bool(kept[0, columns[name]]), donor)
    reference.assert_equal(found, (0,), 0, reference.readings_of(model, pair, logits), torch.float64)


def test_prompts_that_would_change_the_rotation_of_later_ones():
    model = tiny.subject("llama", **DYNAMIC)
    short, long = (random_pairs(model.shape.vocab, (length, length)) for length in (12, 13))
    node = ComponentSpace(Granularity.NODE, model.shape)
    engine.read(model, short)
    for call in (
        lambda: engine.read(model, long),
        lambda: engine.sweep(model, [*short, *long], node),
        lambda: engine.gradients(model, long, engine.sites_of(node)),
        lambda: engine.sweep(model, short, node, donor=Ablation.MEAN, reference=long),
    ):
        with pytest.raises(UnsupportedArchitecture, match="at most 12 tokens, found one of 13"):
            call()
