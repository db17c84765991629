"""The frozen linear lens against hand-worked numbers and a direct recomputation."""

import pytest
import torch

from arithloc.benchmark.engine.lens import FrozenLens

UNEMBEDDING = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)


def lens(pairs: int = 1, scale: float = 2.0) -> FrozenLens:
    return FrozenLens(UNEMBEDDING, torch.full((pairs,), scale, dtype=torch.float64))


def one(base: list[float], m: float, v: list[float], target: int = 0) -> float:
    f64 = {"dtype": torch.float64}
    found = lens().importance(
        torch.tensor([base], **f64), torch.tensor([[m]], **f64), torch.tensor([v], **f64), torch.tensor([target])
    )
    return float(found)


def test_importance_of_one_neuron() -> None:
    # lens(base) = (.5, 0, -.5), m lens(v) = (.25, -.25, 0): log p -0.6802697 -> -0.5034289 (EX-N1)
    assert one([1.0, 0.0], 0.5, [1.0, -1.0]) == pytest.approx(0.1768408, abs=1e-7)


def test_small_coefficients_approach_the_gradient() -> None:
    # u[0] - sum_t p_t u[t] = 0.4003577; at m = 1e-3 the quotient is 0.4002610 (EX-N2)
    assert one([1.0, 0.0], 1e-3, [1.0, -1.0]) / 1e-3 == pytest.approx(0.4002610, abs=1e-6)
    assert one([1.0, 0.0], 1e-7, [1.0, -1.0]) / 1e-7 == pytest.approx(0.4003577, abs=1e-6)


def test_the_fall_under_an_intervention() -> None:
    # base (.5, .5) and m' = .1 give .0489891; delta = .1768408 - .0489891 (EX-N3)
    after = one([0.5, 0.5], 0.1, [1.0, -1.0])
    assert after == pytest.approx(0.0489891, abs=1e-7)
    assert one([1.0, 0.0], 0.5, [1.0, -1.0]) - after == pytest.approx(0.1278517, abs=1e-7)


def test_increments_of_blocks_telescope() -> None:
    # embedding (.2, .1), attention (.8, -.1), MLP (.5, .5): .3240430 + .1034852 (EX-N5)
    attention = one([0.2, 0.1], 1.0, [0.8, -0.1])
    mlp = one([1.0, 0.0], 1.0, [0.5, 0.5])
    whole = lens().logprobs(torch.tensor([[1.5, 0.5]], dtype=torch.float64))[0, 0] + 1.0043127
    assert attention == pytest.approx(0.3240430, abs=1e-7)
    assert mlp == pytest.approx(0.1034852, abs=1e-7)
    assert attention + mlp == pytest.approx(float(whole), abs=1e-7)


@pytest.mark.parametrize("size", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_importance_is_the_difference_of_two_softmaxes(size: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    vocab, d_model, units, pairs = 9000, 12, 7, 3  # more than one chunk of the vocabulary
    made = FrozenLens(
        torch.randn(vocab, d_model, generator=generator, dtype=torch.float64).to(dtype),
        torch.tensor([0.7, 1.0, 2.5], dtype=dtype),
    )
    base = torch.randn(pairs, d_model, generator=generator, dtype=torch.float64).to(dtype)
    m = size * torch.randn(pairs, units, generator=generator, dtype=torch.float64).to(dtype)
    v = torch.randn(units, d_model, generator=generator, dtype=torch.float64).to(dtype)
    target = torch.tensor([5, 8999, 17])
    found = made.importance(base, m, v, target)

    for i in range(pairs):
        for k in range(units):
            h = torch.stack([base[i], base[i] + m[i, k] * v[k]]).double()
            logp = torch.log_softmax(h @ made.weight.double().T / made.scale[i].double(), -1)[:, target[i]]
            assert float(found[i, k]) == pytest.approx(
                float(logp[1] - logp[0]), abs=3e-6 if dtype == torch.float64 else 2e-5
            )


def test_signs_of_coefficient_and_value_cancel_and_zero_is_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    m = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    v = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    target = torch.tensor([0, 2])
    a, b = lens(2).importance(base, m, v, target), lens(2).importance(base, -m, -v, target)
    assert torch.allclose(a, b, atol=1e-9)
    assert (lens(2).importance(base, m * 0, v, target) == 0).all()
    assert (lens(2).importance(base, m, v * 0, target) == 0).all()
