"""Models whose blocks are spread over devices."""

import dataclasses

import numpy as np
import pytest
import torch
from accelerate import dispatch_model
from support import tiny
from support.fake_devices import FakeDevices, label, place
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity
from arithloc.benchmark.engine import Intervention, Site, SiteKind
from arithloc.benchmark.engine.devices import device_of

FAMILIES = ("qwen2", "gpt2", "gpt_neox", "olmo")
FIELDS = ("answer", "foil", "kl")


def operations(model):
    """Results of every operation, by name."""
    pairs = [
        dataclasses.replace(
            pair, clean_ids=(5, *pair.clean_ids[1:]), counterfactual_ids=(5, *pair.counterfactual_ids[1:])
        )
        for pair in random_pairs(model.shape.vocab, (6, 6), shots=1)  # a shared beginning, which is run once
    ]
    others = random_pairs(model.shape.vocab, (6, 6, 6), shots=1, seed=2)
    options = {"batcher": engine.Batcher(model, tokens=4000)}
    spaces = {g: ComponentSpace(g, model.shape) for g in Granularity}
    node, edge = spaces[Granularity.NODE], spaces[Granularity.EDGE]
    rng = np.random.default_rng(0)
    sites = [Site(SiteKind.RESIDUAL, layer) for layer in range(model.shape.n_layers + 1)]
    held = engine.capture(model, pairs, [Site(SiteKind.HEAD, 1), *sites], "counterfactual", "all", **options)
    vector = {Site(SiteKind.MLP, 2): torch.ones(2, model.shape.d_model, dtype=model.dtype)}
    yield "capture", [held.ragged(site)[1].cpu().numpy() for site in held.values]
    given = [Intervention(Site(SiteKind.HEAD, 1), held, "last")]
    given += [Intervention(site, value, "operand1") for site, value in vector.items()]
    ablated = Intervention(Site(SiteKind.ATTENTION, 2), Ablation.MEAN)
    readings = {
        "read": engine.read(model, pairs, "counterfactual", **options),
        "patch": engine.patch(model, pairs, [*given, ablated], reference=others, **options),
        "sweep": engine.sweep(model, pairs, node, **options),
        "sweep residual": engine.sweep(model, pairs, sites, run="clean", donor=held, **options),
        "sweep vector": engine.sweep(model, pairs, list(vector), donor=vector, **options),
        "direct": engine.direct_effect(model, pairs, node, **options),
        "direct, receivers": engine.direct_effect(
            model, pairs, node, receivers=["a1.h0<q>", "a2.h1<k>", "m1"], frozen="all", **options
        ),
    }
    for granularity, ablation in zip(spaces, Ablation, strict=True):
        kept = rng.random((3, len(spaces[granularity]))) < [[0.0], [0.5], [0.9]]
        readings[f"sweep {ablation}"] = engine.sweep(
            model, pairs, node, run="clean", donor=ablation, reference=others, **options
        )
        readings[f"circuits {granularity} {ablation}"] = engine.circuit_forward(
            model, pairs, spaces[granularity], kept, ablation, reference=others, **options
        )
    for name, found in readings.items():
        yield name, [getattr(found, field) for field in FIELDS]
    scored = engine.sweep(model, pairs, node, pair_logits=True, **options)
    yield "pair logits", [scored.answer, scored.foil]
    yield "edge effects", [engine.edge_effects(model, pairs, edge, "kl", steps=2, **options)]
    for path in ("inputs", "activations"):
        found = engine.gradients(model, pairs, [Site(SiteKind.HEAD, 1), sites[2]], path=path, steps=2, **options)
        yield f"gradients {path}", [value.cpu().numpy() for site in found.values for value in found.ragged(site)]


def compare(found, expected):
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (name, values), (_, plain) in zip(found, expected, strict=True):
        for value, other in zip(values, plain, strict=True):
            np.testing.assert_allclose(value, other, rtol=0, atol=1e-11, err_msg=name)


@pytest.fixture(scope="module")
def plain():
    found = {}

    def results(family):
        if family not in found:
            found[family] = list(operations(make(family)))
        return found[family]

    return results


def make(family):
    return tiny.subject(family, dtype=torch.float64, layers=3, tie_word_embeddings=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_on_two_devices(family, plain):
    """The model's own hooks move what goes into a module; the engine's tensors must be where each operation needs them."""
    model = make(family)
    place(model, "cpu:1", "cpu:2")
    with FakeDevices():
        assert model.device == torch.device("cpu:1")
        assert [str(device_of(model, layer)) for layer in range(4)] == ["cpu:1", "cpu:2", "cpu:2", "cpu:2"]
        found = list(operations(model))
    compare(found, plain(family))


def test_a_dispatched_model_gives_the_same_results(plain):
    model = make("qwen2")
    dispatch_model(model.module, device_map={"": "cpu"}, force_hooks=True)
    assert hasattr(model.mlp(1), "_hf_hook")
    compare(list(operations(model)), plain("qwen2"))


def test_the_fake_devices_refuse_to_mix():
    with FakeDevices():
        one, other = torch.ones(2, device="cpu:1"), torch.ones(2).to("cpu:2")
        assert (str(label(one)), str(label(other)), str((other * 2).device)) == ("cpu:1", "cpu:2", "cpu:2")
        with pytest.raises(RuntimeError, match="one device"):
            one + other
        assert str((one + other.to(one)).device) == "cpu:1"
