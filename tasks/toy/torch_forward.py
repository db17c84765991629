"""A differentiable forward pass of GPT-2 whose head outputs and MLP outputs can be replaced, for interchange training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

Parameters = dict[str, Tensor]
"""Tensors by state-dict name."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What one run computed.

    Attributes:
        logits: at all positions.
        nodes: z of every head and output of every MLP, by component id.
    """

    logits: Float[Tensor, "batch pos vocab"]
    nodes: dict[str, Float[Tensor, "batch pos width"]]


@dataclass(frozen=True, eq=False)
class Replacement:
    """Values that a node takes from elsewhere.

    Attributes:
        value: what it takes.
        where: rows and positions at which it does.
    """

    value: Float[Tensor, "batch pos width"]
    where: Bool[Tensor, "batch pos"]


@dataclass(frozen=True, eq=False)
class TorchNetwork:
    """Weights of a `GPT2LMHeadModel` with ReLU or exact GELU.

    Attributes:
        parameters: its weights.
        n_layers, n_heads: its shape.
        activation: `relu` or `gelu`.
        epsilon: of every LayerNorm.
    """

    parameters: Parameters = field(repr=False)
    n_layers: int
    n_heads: int
    activation: str
    epsilon: float = 1e-5

    def run(self, ids: Int[Tensor, "batch pos"], replaced: Mapping[str, Replacement] | None = None) -> Outputs:
        """Runs the model; a replaced node's value is what all later computation reads."""
        weights, edits = self.parameters, replaced or {}
        nodes: dict[str, Tensor] = {}

        def settle(node: str, own: Tensor) -> Tensor:
            edit = edits.get(node)
            nodes[node] = own if edit is None else torch.where(edit.where[..., None], edit.value, own)
            return nodes[node]

        x = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"][: ids.shape[1]]
        for layer in range(self.n_layers):
            z = self._heads(x, layer)
            settled = [settle(f"a{layer}.h{head}", z[:, head]) for head in range(self.n_heads)]
            x = x + self._affine(torch.cat(settled, dim=-1), f"h.{layer}.attn.c_proj")
            hidden = self._affine(self._norm(x, f"h.{layer}.ln_2"), f"h.{layer}.mlp.c_fc")
            hidden = functional.relu(hidden) if self.activation == "relu" else functional.gelu(hidden)
            x = x + settle(f"m{layer}", self._affine(hidden, f"h.{layer}.mlp.c_proj"))
        return Outputs(self._norm(x, "ln_f") @ weights["lm_head.weight"].T, nodes)

    def _heads(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> Float[Tensor, "batch head pos d_head"]:
        qkv = self._affine(self._norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn.c_attn")
        q, k, v = (part.reshape(*x.shape[:2], self.n_heads, -1).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        z: Tensor = scores.masked_fill(ahead, -math.inf).softmax(dim=-1) @ v
        return z

    def _affine(self, x: Float[Tensor, "batch pos d_in"], name: str) -> Float[Tensor, "batch pos d_out"]:
        return x @ self.parameters[f"transformer.{name}.weight"] + self.parameters[f"transformer.{name}.bias"]

    def _norm(self, x: Float[Tensor, "batch pos d_model"], name: str) -> Float[Tensor, "batch pos d_model"]:
        scale, shift = (self.parameters[f"transformer.{name}.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(x, x.shape[-1:], scale, shift, self.epsilon)
