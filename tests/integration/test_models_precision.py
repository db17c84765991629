"""Float64 models compute in float64 throughout."""

import pytest
import torch
from support import tiny
from torch.overrides import TorchFunctionMode

from arithloc.benchmark.models.precision import keep_double

IDS = torch.arange(3, 15)[None]
CASES = [(family, {}) for family in tiny.FAMILIES] + [
    (family, {"attn_implementation": "eager"}) for family in ("llama", "gemma3_text", "gpt_neox", "gpt2")
]


class _Downcasts(TorchFunctionMode):
    """Collects operations that turn float64 activations into float32 ones."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        first = args[0] if args else None
        is_downcast = (
            isinstance(first, torch.Tensor)
            and isinstance(result, torch.Tensor)
            and (first.dtype, result.dtype) == (torch.float64, torch.float32)
        )
        # the rotation's angles depend on positions only; they have no batch of activations
        if is_downcast and first.requires_grad:
            self.seen.append(func)
        return result


@pytest.mark.parametrize(("family", "options"), CASES)
def test_no_activation_passes_through_float32(family, options):
    subject = tiny.subject(family, dtype=torch.float64, **options)
    embeds = subject.module.get_input_embeddings()(IDS).requires_grad_(True)
    with _Downcasts() as downcasts:
        subject.module(inputs_embeds=embeds)
    assert downcasts.seen == []


def test_the_stock_model_does_pass_through_float32():
    module = tiny.model("llama", vocab=168, dtype=torch.float64).requires_grad_(False)
    embeds = module.get_input_embeddings()(IDS).requires_grad_(True)
    with _Downcasts() as downcasts:
        module(inputs_embeds=embeds)
    assert downcasts.seen


@pytest.mark.parametrize(("family", "options"), CASES)
def test_gradients_agree_with_central_differences(family, options):
    """With float32 inside, the differences at this step would be wrong in the second digit."""
    subject = tiny.subject(family, dtype=torch.float64, **options)
    embeds = subject.module.get_input_embeddings()(IDS).requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(embeds.shape, generator=generator, dtype=torch.float64)

    def answer(at):
        return subject.module(inputs_embeds=at).logits[0, -1, 7]

    (gradient,) = torch.autograd.grad(answer(embeds), embeds)
    with torch.no_grad():
        slope = (answer(embeds + 1e-6 * direction) - answer(embeds - 1e-6 * direction)) / 2e-6
    expected = (gradient * direction).sum()
    assert abs(slope - expected) < 1e-6 * max(1.0, abs(expected))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_model_stays_the_stock_one_up_to_float32_rounding(family):
    subject = tiny.subject(family, dtype=torch.float64)
    stock = tiny.model(family, vocab=len(subject.tokenizer), dtype=torch.float64)
    with torch.no_grad():
        expected = stock(IDS).logits
    assert torch.allclose(subject.module(IDS).logits, expected, rtol=0, atol=1e-5 * expected.abs().max())


def test_float32_models_are_left_alone():
    subject = tiny.subject("llama", dtype=torch.float32)
    assert not any("forward" in vars(module) for module in subject.module.modules())


def test_keeping_double_twice_changes_nothing_more():
    subject = tiny.subject("llama", dtype=torch.float64)
    first = subject.final_norm.forward
    keep_double([subject.final_norm])
    assert subject.final_norm.forward is first
