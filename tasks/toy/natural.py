"""Naturally trained models: ordinary training from random weights, with long carry chains over-represented."""

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.tasks.toy.arithmetic import Questions, join, random_questions, token_ids
from arithloc.tasks.toy.formats import BOS, VOCAB, Format
from arithloc.tasks.toy.recipe import generator, identity

TRAINER_VERSION = 1
REPORT_EVERY = 250


@dataclass(frozen=True)
class TrainingRecipe:
    """How a model is trained.

    Attributes:
        n_digits: digits of an operand.
        operators: `+` or `+-`; with both, batches alternate.
        n_layers: transformer blocks.
        steps: optimiser steps.
        seed: of weights and data.
        n_heads, n_embd, n_inner: sizes.
        batch: questions per step.
        learning_rate: peak; warm-up over 5% of the steps, then cosine.
        weight_decay: of AdamW.
        transparent: probability that a column of an enriched question is transparent; half of a batch is enriched.
    """

    n_digits: int
    operators: str
    n_layers: int
    steps: int
    seed: int
    n_heads: int = 4
    n_embd: int = 64
    n_inner: int = 256
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    transparent: float = 0.4
    activation: ClassVar[str] = "relu"

    @property
    def format(self) -> Format:
        """Format of the questions; trained models read no `<bos>`."""
        return Format(self.n_digits, self.operators, bos=False)

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return dataclasses.asdict(self)

    @property
    def sha256(self) -> str:
        """Identity of the recipe."""
        return identity(self.as_dict())

    def rng(self, purpose: str) -> np.random.Generator:
        """Generator of the draws for one purpose."""
        return generator(self.sha256, purpose)


@dataclass(frozen=True)
class CurvePoint:
    """Mean loss over the last steps."""

    step: int
    loss: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model.

    Attributes:
        weights: float32 arrays by state-dict name.
        config: contents of `config.json`.
        curve: training loss.
        seconds: processor time.
    """

    weights: dict[str, Float[ndarray, "..."]]
    config: dict[str, Any]
    curve: tuple[CurvePoint, ...]
    seconds: float


def config_of(recipe: TrainingRecipe) -> dict[str, Any]:
    """Contents of `config.json`: stock GPT-2 with untied embeddings."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": recipe.activation,
        "n_layer": recipe.n_layers,
        "n_head": recipe.n_heads,
        "n_embd": recipe.n_embd,
        "n_inner": recipe.n_inner,
        "n_positions": recipe.format.n_inputs + 1,
        "vocab_size": len(VOCAB),
        "layer_norm_epsilon": 1e-5,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": BOS,
        "eos_token_id": BOS,
        "dtype": "float32",
        "attn_implementation": "eager",
        "arithloc_dtype_min": "float32",
    }


def initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Float[ndarray, "..."]:
    """Initial value: embeddings N(0, 0.02^2), matrices N(0, 0.64 / fan_in), biases 0, LayerNorm weights 1."""
    if len(shape) == 1:
        return np.ones(shape) if name.endswith("weight") else np.zeros(shape)
    if "wte" in name or "wpe" in name:
        return rng.normal(0, 0.02, shape)
    fan_in = shape[1] if "lm_head" in name else shape[0]  # Conv1D stores input first, the unembedding output first
    return rng.normal(0, 0.8 / math.sqrt(fan_in), shape)


def training_batch(recipe: TrainingRecipe, step: int, rng: np.random.Generator) -> Questions:
    """Fresh questions of one operator, half of them enriched."""
    operator = recipe.operators[step % len(recipe.operators)]
    half = recipe.batch // 2
    return join(
        [
            random_questions(recipe.n_digits, operator, recipe.batch - half, rng),
            random_questions(recipe.n_digits, operator, half, rng, recipe.transparent),
        ]
    )


def rate(recipe: TrainingRecipe, step: int) -> float:
    """Factor on the learning rate: linear warm-up times cosine, plus 0.001."""
    warm = min(1.0, (step + 1) / (0.05 * recipe.steps))
    return warm * (1 + math.cos(math.pi * step / recipe.steps)) / 2 + 0.001


def train(recipe: TrainingRecipe, device: str = "cpu", verbose: bool = False) -> Trained:
    """Trains a model; the loss is the mean cross-entropy of all answer tokens, sign included.

    Args:
        recipe: how.
        device: torch device.
        verbose: whether to report the loss on standard error.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config, rng = config_of(recipe), recipe.rng("weights")
    model: Any = GPT2LMHeadModel(GPT2Config(**config))
    model.to(device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(initial(name, tuple(parameter.shape), rng)))
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(recipe, step))
    data, answer = recipe.rng("data"), len(recipe.format.scored)
    start, curve, losses = time.process_time(), [], []
    for step in range(recipe.steps):
        ids = torch.from_numpy(token_ids(training_batch(recipe, step, data), recipe.format)).to(device)
        logits = model(ids[:, :-1]).logits[:, -answer:]
        loss: Any = torch.nn.functional.cross_entropy(logits.reshape(-1, len(VOCAB)), ids[:, -answer:].reshape(-1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
        if len(losses) == REPORT_EVERY or step == recipe.steps - 1:
            curve.append(CurvePoint(step + 1, round(float(torch.stack(losses).mean()), 6)))
            losses = []
            if verbose:
                rate_now = (step + 1) / (time.process_time() - start)
                sys.stderr.write(f"step {step + 1}/{recipe.steps} loss {curve[-1].loss:.5f} {rate_now:.0f} steps/s\n")
    weights = {name: p.detach().cpu().numpy().copy() for name, p in model.named_parameters()}
    return Trained(weights, config, tuple(curve), time.process_time() - start)
