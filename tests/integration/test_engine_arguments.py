"""What operations refuse by name before anything is run, and odd input that they take."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from support import tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, UnsupportedGranularity
from arithloc.benchmark.api.errors import BadOption, ModelError, UnsupportedArchitecture
from arithloc.benchmark.engine import Capture, Intervention, Site, SiteKind

MLP = Site(SiteKind.MLP, 0)


def space(model, granularity=Granularity.NODE):
    return ComponentSpace(granularity, model.shape)


def circuits(model, pairs, of=None, **options):
    of = of or space(model)
    return engine.circuit_forward(model, pairs, of, np.ones((1, len(of)), dtype=bool), Ablation.ZERO, **options)


def users(operation):
    """The operation as users call it, without the checks of its annotations that a test run adds."""
    return inspect.unwrap(operation)


CALLS = {
    "read": lambda m, p, **o: users(engine.read)(m, p, **o),
    "capture": lambda m, p, **o: users(engine.capture)(m, p, [MLP], **o),
    "patch": lambda m, p, **o: users(engine.patch)(m, p, [Intervention(MLP, "counterfactual")], **o),
    "sweep": lambda m, p, of=None, **o: users(engine.sweep)(m, p, of or space(m), **o),
    "direct": lambda m, p, of=None, **o: users(engine.direct_effect)(m, p, of or space(m), **o),
    "circuits": circuits,
    "masks": lambda m, p, of=None, **o: engine.MaskGradients(m, p, of or space(m), **o),
    "gradients": lambda m, p, sites=(MLP,), **o: users(engine.gradients)(m, p, sites, **o),
    "site effects": lambda m, p, of=None, **o: users(engine.site_effects)(m, p, of or space(m), **o),
    "edge effects": lambda m, p, of=None, **o: users(engine.edge_effects)(m, p, of or space(m, Granularity.EDGE), **o),
    "attention effects": lambda m, p, of=None, **o: users(engine.attention_effects)(
        m, p, of or space(m, Granularity.EDGE), **o
    ),
}
OPTIONS = [
    *((name, {"run": "Clean"}, "run to be 'clean' or 'counterfactual', found 'Clean'") for name in CALLS if name in (
        "read", "capture", "patch", "sweep", "direct", "gradients", "site effects", "edge effects"
    )),
    ("direct", {"frozen": "mlps"}, "frozen to be 'heads' or 'all', found 'mlps'"),
    ("gradients", {"sites": ()}, "at least one site"),
    ("attention effects", {"stopped": ((), (9,))}, "below 2, found 9"),
    *(
        (name, option, match)
        for name in ("gradients", "site effects", "edge effects")
        for option, match in (
            ({"path": "input"}, "path to be 'inputs' or 'activations', found 'input'"),
            ({"rule": "trapezoid"}, "rule to be 'right' or 'midpoint' or 'left', found 'trapezoid'"),
            ({"steps": 0}, "at least one step, found 0"),
            ({"stopped": (9,)}, "below 2, found 9"),
        )
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return tiny.subject("llama", dtype=torch.float64)


@pytest.fixture(scope="module")
def pairs(model):
    return random_pairs(model.shape.vocab, (8, 7, 8), shots=1)


@pytest.mark.parametrize(("name", "options", "match"), OPTIONS)
def test_options_outside_their_choices(model, pairs, name, options, match):
    with pytest.raises(BadOption, match=match):
        CALLS[name](model, pairs, **options)


@pytest.mark.parametrize("name", CALLS)
def test_pairs_that_no_operation_can_run(model, pairs, name):
    first = pairs[0]
    short = dataclasses.replace(first, counterfactual_ids=first.counterfactual_ids[:-1])
    unlabelled = dataclasses.replace(first, classes=first.classes[1:])
    unknown = dataclasses.replace(first, clean_ids=(*first.clean_ids[:-1], 9999))
    without = dataclasses.replace(first, candidates=())
    for wrong, match in (
        (short, "one length, found 9, 8 and 9"),
        (unlabelled, "one length, found 9, 9 and 8"),
        (unknown, f"below {model.shape.vocab}, found .* to 9999"),
        (without, "candidate tokens, found none"),
    ):
        with pytest.raises(BadOption, match=match):
            CALLS[name](model, [*pairs, wrong])


@pytest.mark.parametrize("name", CALLS)
def test_a_model_in_train_mode(pairs, name):
    model = tiny.subject("gpt2")
    model.blocks[1].train()
    with pytest.raises(ModelError, match="eval mode"):
        CALLS[name](model, pairs)


def test_a_space_of_another_model(model, pairs):
    shape = dataclasses.replace(model.shape, n_layers=1, n_heads=9)
    foreign = ComponentSpace(Granularity.NODE, shape)
    assert len(foreign) == len(space(model))
    for name in ("sweep", "direct", "circuits", "masks", "site effects"):
        with pytest.raises(BadOption, match="space of this model"):
            CALLS[name](model, pairs, of=foreign)


def test_effects_of_edges_need_an_edge_space(model, pairs):
    for operation in (engine.edge_effects, engine.attention_effects):
        with pytest.raises(UnsupportedGranularity, match="edge space, found node"):
            operation(model, pairs, space(model))


@pytest.mark.parametrize(
    ("site", "shape"),
    [
        (MLP, (3, 1)),
        (MLP, (3,)),
        (MLP, (3, 9, 24)),
        (MLP, ()),
        (MLP, (2, 24)),
        (Site(SiteKind.HEAD, 0), (3, 8)),
        (Site(SiteKind.HEAD, 0, 1), (3, 4, 8)),
        (Site(SiteKind.MLP, 0, 3), (3, 24)),
    ],
)
def test_tensors_of_another_shape(model, pairs, site, shape):
    given = [Intervention(site, torch.zeros(shape, dtype=torch.float64), "last")]
    with pytest.raises(BadOption, match="donor tensor of shape"):
        engine.patch(model, pairs, given)
    with pytest.raises(BadOption, match="donor tensor of shape"):
        engine.capture(model, pairs, [MLP], interventions=given)


def test_one_number_per_pair_is_not_one_per_position(model):
    nine = random_pairs(model.shape.vocab, (9,) * 9)
    with pytest.raises(BadOption, match=r"shape \(9, 24\) .*found \(9,\)"):
        engine.patch(model, nine, [Intervention(MLP, torch.arange(9.0, dtype=torch.float64))])


def test_captures_of_other_pairs(model, pairs):
    longer = engine.capture(model, random_pairs(model.shape.vocab, (12,) * 3, shots=1), [MLP], "clean", "all")
    more = engine.capture(model, [*pairs, pairs[0]], [MLP], "clean", "all")
    own = engine.capture(model, pairs, [MLP], "clean", "all")
    narrow = Capture(own.positions, {MLP: tuple(value[:, :1] for value in own.ragged(MLP))})
    for donor, match in (
        (longer, "tokens below 9 .* up to 12"),
        (more, "capture of the 3 pairs of this call, found one of 4"),
        (narrow, r"shape \(8, 24\) .*found (\n)?\(8, 1\)"),
    ):
        with pytest.raises(BadOption, match=match):
            engine.sweep(model, pairs, [MLP], run="clean", donor=donor, positions="last")
        with pytest.raises(BadOption, match=match):
            engine.patch(model, pairs, [Intervention(MLP, donor, "last")])


def test_circuits_as_any_boolean_array(model, pairs):
    of = space(model)
    kept = np.random.default_rng(0).random((3, len(of))) < 0.5
    expected = engine.circuit_forward(model, pairs, of, kept, Ablation.COUNTERFACTUAL).answer
    turned = engine.circuit_forward(model, pairs, of, kept[::-1], Ablation.COUNTERFACTUAL).answer
    np.testing.assert_allclose(turned[::-1], expected, rtol=0, atol=1e-12)
    locked = kept.copy()
    locked.flags.writeable = False
    found = engine.circuit_forward(model, pairs, of, locked, Ablation.COUNTERFACTUAL).answer
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    for wrong in (kept.astype(np.uint8), kept.astype(np.int64), kept[0]):
        with pytest.raises(BadOption, match=r"boolean array \(circuit, component\)"):
            users(engine.circuit_forward)(model, pairs, of, wrong, Ablation.COUNTERFACTUAL)


@pytest.mark.parametrize("granularity", Granularity)
def test_no_circuits_have_no_readings(model, pairs, granularity):
    of = space(model, granularity)
    found = engine.circuit_forward(model, pairs, of, np.zeros((0, len(of)), dtype=bool), Ablation.ZERO)
    assert found.answer.shape == (0, 3)


def test_attention_without_a_mask_tensor(pairs):
    model = tiny.subject("llama", attn_implementation="flex_attention")
    for name in ("sweep", "direct", "circuits"):
        with pytest.raises(UnsupportedArchitecture, match="found 'flex_attention'"):
            CALLS[name](model, pairs)


def test_captured_values_can_be_changed_and_part_of_a_graph(model, pairs):
    found = engine.capture(model, pairs, [MLP, Site(SiteKind.HEAD, 1, 2)], "clean", "all")
    for values in found.values.values():
        for value in values:
            weight = torch.ones_like(value, requires_grad=True)
            (value * weight).sum().backward()
            torch.testing.assert_close(weight.grad, value)
            assert float(value.zero_().abs().max()) == 0


def test_a_mean_is_right_after_memory_ran_out(model, pairs, monkeypatch):
    """The third sum of a batch runs out of memory: nothing of that batch may have been counted."""
    others = random_pairs(model.shape.vocab, (8, 7, 8, 8), shots=1, seed=5)

    def swept():
        return engine.sweep(model, pairs, [MLP, Site(SiteKind.MLP, 1)], donor=Ablation.MEAN, reference=others).answer

    expected, calls, add = swept(), [0], torch.Tensor.index_add_

    def failing(self, *args, **options):
        calls[0] += 1
        if calls[0] == 3:
            raise torch.OutOfMemoryError("full")
        return add(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "index_add_", failing)
    np.testing.assert_allclose(swept(), expected, rtol=0, atol=1e-12)
    assert calls[0] > 3


def test_progress_never_passes_its_total_when_memory_runs_out(monkeypatch):
    """A circuit of its own that does not fit halves the pairs, after other circuits of the batch have been counted."""
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8,) * 4, shots=1)
    of = space(model, Granularity.EDGE)
    kept = np.random.default_rng(0).random((5, len(of))) < 0.5
    calls, mlp, seen = [0], model.mlp(1).forward, []

    def failing(x):
        calls[0] += 1
        if calls[0] == 6:
            raise torch.OutOfMemoryError("full")
        return mlp(x)

    monkeypatch.setattr(model.mlp(1), "forward", failing)
    batcher = engine.Batcher(model, tokens=70)
    found = engine.circuit_forward(
        model, pairs, of, kept, Ablation.COUNTERFACTUAL, batcher=batcher, progress=lambda *done: seen.append(done)
    )
    assert calls[0] > 6
    assert seen[-1] == (20, 20)
    assert seen == sorted(seen)
    expected = engine.circuit_forward(model, pairs, of, kept, Ablation.COUNTERFACTUAL).answer
    np.testing.assert_allclose(found.answer, expected, rtol=0, atol=1e-11)
