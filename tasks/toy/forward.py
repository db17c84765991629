"""A plain forward pass of GPT-2 in NumPy, with one place to edit each part: for calibration and for proofs.

Nothing here is shared with the engine that methods use, nor with the code that compiles circuits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.special import erf

Residual = Float[ndarray, "batch pos d_model"]
HeadOutput = Float[ndarray, "batch pos d_head"]
Activations = Float[ndarray, "batch pos units"]
Queries = Float[ndarray, "batch head query d_head"]
Keys = Float[ndarray, "batch head key d_head"]
OFFSETS = {"q": 0, "k": 1, "v": 2}
Reader = tuple[str, int, int]
"""A receiver: ("q", layer, head), ("k", ...), ("v", ...), ("mlp", layer, 0) or ("logits", 0, 0)."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What one run computed.

    Attributes:
        residual: stream in front of every block, and behind the last.
        middle: stream between attention and MLP of every block.
        qkv: queries, keys and values of every block, as `Network.projected` gives them.
        heads: output z of every head, by (layer, head).
        mlps: output of every MLP, by layer.
        logits: at all positions.
    """

    residual: list[Residual]
    middle: list[Residual]
    qkv: list[Activations]
    heads: dict[tuple[int, int], HeadOutput]
    mlps: dict[int, Residual]
    logits: Float[ndarray, "batch pos vocab"]


@dataclass(frozen=True, eq=False)
class Edits:
    """Changes of a run.

    Attributes:
        heads: outputs z that are replaced, by (layer, head).
        mlps: outputs that are replaced, by layer.
        reads: terms added to what one receiver reads (before LayerNorm).
        at: positions at which an output is replaced, by (layer, head) or (layer, None); elsewhere it is computed from
            what the edited run holds there. All positions where nothing is given.
    """

    heads: Mapping[tuple[int, int], HeadOutput] = field(default_factory=dict)
    mlps: Mapping[int, Residual] = field(default_factory=dict)
    reads: Mapping[Reader, Residual] = field(default_factory=dict)
    at: Mapping[tuple[int, int | None], Bool[ndarray, " pos"]] = field(default_factory=dict)

    def head(self, layer: int, head: int, computed: HeadOutput) -> HeadOutput:
        """Output of a head after the edit."""
        if (layer, head) not in self.heads:
            return computed
        return self._masked((layer, head), self.heads[layer, head], computed)

    def mlp(self, layer: int, compute: Callable[[], Residual]) -> Residual:
        """Output of an MLP after the edit; it is computed only where it is needed."""
        if layer not in self.mlps:
            return compute()
        return self._masked((layer, None), self.mlps[layer], compute() if (layer, None) in self.at else None)

    def _masked(self, key: tuple[int, int | None], value: Residual, computed: Residual | None) -> Residual:
        if key not in self.at or computed is None:
            return value
        return np.where(self.at[key][:, None], value, computed)

    @property
    def first_layer(self) -> int:
        """Lowest block whose computation differs; a large number if only the logits do."""
        layers = [layer for layer, _ in self.heads] + list(self.mlps)
        layers += [layer for kind, layer, _ in self.reads if kind != "logits"]
        return min(layers, default=1 << 30)


NO_EDITS = Edits()


class Network:
    """Weights of a `GPT2LMHeadModel` and what its configuration says about them.

    Args:
        weights: arrays by state-dict name.
        config: contents of `config.json`.
        dtype: of the computation.
    """

    def __init__(
        self, weights: Mapping[str, Float[ndarray, "..."]], config: Mapping[str, Any], dtype: Any = np.float64
    ) -> None:
        self.config = config
        self.weights = {name: np.asarray(array, dtype=dtype) for name, array in weights.items()}
        self.n_layers, self.n_heads = int(config["n_layer"]), int(config["n_head"])
        self.d_model = int(config["n_embd"])
        self.d_head = self.d_model // self.n_heads
        self.epsilon = float(config["layer_norm_epsilon"])
        self.activation = _activation(str(config["activation_function"]))

    def as_type(self, dtype: Any) -> "Network":
        """The same network computed in another precision."""
        return Network(self.weights, self.config, dtype)

    def __getitem__(self, name: str) -> Float[ndarray, "..."]:
        return self.weights[f"transformer.{name}"]

    def norm(self, x: Residual, name: str) -> Residual:
        """LayerNorm `name` of the stream."""
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.einsum("bpd,bpd->bp", centred, centred) / self.d_model
        centred /= np.sqrt(variance + self.epsilon)[..., None].astype(x.dtype)
        centred *= self[f"{name}.weight"]
        centred += self[f"{name}.bias"]
        return np.asarray(centred)

    def affine(
        self, x: Float[ndarray, "batch pos d_in"], name: str, columns: slice = slice(None)
    ) -> Float[ndarray, "batch pos d_out"]:
        """`x @ weight + bias` of a projection, or of some of its output columns."""
        weight, bias = self[f"{name}.weight"][:, columns], self[f"{name}.bias"][columns]
        # one product of two matrices; NumPy would take a stack of small ones row of the batch by row
        product = x.reshape(-1, x.shape[-1]) @ weight
        product += bias
        return np.asarray(product.reshape(*x.shape[:2], product.shape[-1]))

    def head_write(self, layer: int, head: int, z: HeadOutput) -> Residual:
        """What a head with output z adds to the stream."""
        rows = slice(head * self.d_head, (head + 1) * self.d_head)
        return np.asarray(z @ self[f"h.{layer}.attn.c_proj.weight"][rows])

    def embed(self, ids: Int[ndarray, "batch pos"]) -> Residual:
        """Token plus position embedding."""
        return np.asarray(self["wte.weight"][ids] + self["wpe.weight"][: ids.shape[1]])

    def run(self, ids: Int[ndarray, "batch pos"], edits: Edits = NO_EDITS, base: Trace | None = None) -> Trace:
        """Runs the model.

        Args:
            ids: input tokens.
            edits: what to change.
            base: an unedited run on the same tokens; blocks below the first edit are taken from it.
        """
        start = min(edits.first_layer, self.n_layers) if base else 0
        residual = list(base.residual[: start + 1]) if base else [self.embed(ids)]
        middle = list(base.middle[:start]) if base else []
        qkv = list(base.qkv[:start]) if base else []
        heads = {key: z for key, z in base.heads.items() if key[0] < start} if base else {}
        mlps = {layer: o for layer, o in base.mlps.items() if layer < start} if base else {}
        x = residual[-1]
        for layer in range(start, self.n_layers):
            qkv.append(self.projected(x, layer, edits))
            z = self.attend(qkv[-1], layer, edits)
            heads.update({(layer, head): z[head] for head in range(self.n_heads)})
            x = x + self.attention_write(z, layer)
            middle.append(x)
            mlps[layer] = edits.mlp(layer, partial(self._mlp_output, x, layer, edits))
            x = x + mlps[layer]
            residual.append(x)
        last = x + edits.reads[("logits", 0, 0)] if ("logits", 0, 0) in edits.reads else x
        return Trace(residual, middle, qkv, heads, mlps, self.unembed(last))

    def unembed(self, x: Residual) -> Float[ndarray, "batch pos vocab"]:
        """Logits of the stream behind the last block."""
        return np.asarray(self.norm(x, "ln_f") @ self.weights["lm_head.weight"].T)

    def _mlp_output(self, x: Residual, layer: int, edits: Edits) -> Residual:
        return self.mlp_write(self.hidden(x, layer, edits), layer)

    def head_outputs(self, x: Residual, layer: int, edits: Edits = NO_EDITS) -> list[HeadOutput]:
        """Output z of each head of a block that reads the stream x."""
        return self.attend(self.projected(x, layer, edits), layer, edits)

    def projected(self, x: Residual, layer: int, edits: Edits = NO_EDITS) -> Activations:
        """Queries, keys and values of all heads of a block side by side, in this order."""
        name = f"h.{layer}"
        qkv = self.affine(self.norm(x, f"{name}.ln_1"), f"{name}.attn.c_attn")
        for (kind, at, head), extra in edits.reads.items():
            if at == layer and kind in OFFSETS:
                columns = self.columns(kind, head)
                qkv[..., columns] = self.affine(self.norm(x + extra, f"{name}.ln_1"), f"{name}.attn.c_attn", columns)
        return qkv

    def columns(self, slot: str, head: int) -> slice:
        """Columns of `projected` that hold one slot of one head."""
        start = OFFSETS[slot] * self.d_model + head * self.d_head
        return slice(start, start + self.d_head)

    def attend(self, qkv: Activations, layer: int, edits: Edits = NO_EDITS) -> list[HeadOutput]:
        """Output z of each head of a block, given its queries, keys and values."""
        split = qkv.reshape(*qkv.shape[:2], 3, self.n_heads, self.d_head).transpose(2, 0, 3, 1, 4)
        z = attention(split[0], split[1], split[2])
        return [edits.head(layer, head, z[:, head]) for head in range(self.n_heads)]

    def attention_write(self, z: list[HeadOutput], layer: int) -> Residual:
        """What the heads of a block add to the stream together."""
        return self.affine(np.concatenate(z, axis=-1), f"h.{layer}.attn.c_proj")

    def hidden(self, x: Residual, layer: int, edits: Edits = NO_EDITS) -> Activations:
        """Activations of an MLP's units for the stream x."""
        extra = edits.reads.get(("mlp", layer, 0))
        normed = self.norm(x if extra is None else x + extra, f"h.{layer}.ln_2")
        return np.asarray(self.activation(self.affine(normed, f"h.{layer}.mlp.c_fc")))

    def mlp_write(self, hidden: Activations, layer: int) -> Residual:
        """What an MLP with these activations adds to the stream."""
        return self.affine(hidden, f"h.{layer}.mlp.c_proj")


def attention(q: Queries, k: Keys, v: Keys) -> Queries:
    """Causal softmax attention; the queries are those of the last positions of the keys.

    Args:
        q: queries.
        k: keys of all positions up to the last query.
        v: values of the same positions.
    """
    n_queries, n_keys = q.shape[2], k.shape[2]
    scores = q @ k.swapaxes(2, 3)
    scores /= np.sqrt(q.shape[3])
    scores[..., np.triu(np.ones((n_queries, n_keys), dtype=bool), n_keys - n_queries + 1)] = -np.inf
    # the largest score is looked for along the first axis of a copy: several times faster than along a short last one
    scores -= np.ascontiguousarray(np.moveaxis(scores, 3, 0)).max(axis=0)[..., None]
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.asarray(scores @ v)


def _activation(name: str) -> Any:
    if name == "relu":
        return lambda x: np.maximum(x, 0.0, out=x)
    if name == "gelu":
        return lambda x: 0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))
    raise ValueError(f"Expected activation relu or gelu, found {name!r}. Toy models use no other.")
