"""From a placed program to weights in the basis of its features, with decoys in all that is left over."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.tasks.toy.formats import IDS, VOCAB
from arithloc.tasks.toy.placement import Placement
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import BIAS, HeadRole, Program, out

EPSILON = 1e12
"""LayerNorm epsilon: with weight sqrt(epsilon), LayerNorm is x - mean(x) up to a relative var(x) / (2 epsilon)."""

DECOY_FEATURES = tuple(f"DEC{i}" for i in range(8))
COMPENSATOR = "COMP"

Weights = dict[str, Float[ndarray, "..."]]


@dataclass
class Assembly:
    """Weights of one circuit while it is being built, in float64.

    Attributes:
        recipe: what is built.
        index: coordinate of each feature.
        d_head: width of a head.
        weights: arrays under the names of `GPT2LMHeadModel`'s state dict, input first (`Conv1D`).
        units: for each layer, the hidden units that belong to its MLP role, in the order of the role's neurons.
    """

    recipe: Recipe
    index: dict[str, int]
    d_head: int
    weights: Weights
    units: dict[int, list[int]] = field(default_factory=dict)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.d_head * self.recipe.n_heads

    def vector(self, features: dict[str, float]) -> Float[ndarray, " d_model"]:
        """A weighted feature list as coordinates."""
        row = np.zeros(self.d_model)
        for feature, weight in features.items():
            row[self.index[feature]] += weight
        return row

    def block(self, layer: int, name: str) -> Float[ndarray, "..."]:
        """One array of a transformer block."""
        return self.weights[f"transformer.h.{layer}.{name}"]


def assemble_weights(program: Program, placement: Placement, recipe: Recipe) -> Assembly:
    """Weights of the roles; everything else is 0."""
    features = (*program.features, *DECOY_FEATURES, COMPENSATOR)
    n, heads = recipe.n_digits, recipe.n_heads
    width = max(heads * max(2 * n + 4, 12), len(features))
    d_head = -(-width // heads)
    build = Assembly(recipe, {f: i for i, f in enumerate(features)}, d_head, empty_weights(recipe, d_head * heads))
    for token, row in program.token.items():
        build.weights["transformer.wte.weight"][token] = build.vector(row)
    for position, row in program.position.items():
        build.weights["transformer.wpe.weight"][position] = build.vector(row)
    for answer in output_tokens(recipe):
        build.weights["lm_head.weight"][IDS[answer]] = build.vector({out(answer): 1.0})
    for role in program.heads:
        write_head(build, role, *placement.heads[role.name])
    for mlp in program.mlps:
        layer = placement.mlps[mlp.name]
        if len(mlp.neurons) > recipe.n_inner:
            raise ValueError(f"Expected at most {recipe.n_inner} units in {mlp.name}, found {len(mlp.neurons)}.")
        for unit, neuron in enumerate(mlp.neurons):
            build.block(layer, "mlp.c_fc.weight")[:, unit] = build.vector(neuron.reads)
            build.block(layer, "mlp.c_fc.bias")[unit] = neuron.bias
            build.block(layer, "mlp.c_proj.weight")[unit] = build.vector(neuron.writes)
        build.units[layer] = list(range(len(mlp.neurons)))
    return build


def output_tokens(recipe: Recipe) -> tuple[str, ...]:
    """Tokens that an answer can contain."""
    return (*VOCAB[:10], "+", "-") if recipe.subtracts else (*VOCAB[:10], "+")


def empty_weights(recipe: Recipe, d_model: int) -> Weights:
    """All arrays of the model, neutral: zero matrices, LayerNorms that only centre."""
    inner = recipe.n_inner
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (len(VOCAB), d_model),
        "transformer.wpe.weight": (recipe.format.n_inputs + 1, d_model),
        "lm_head.weight": (len(VOCAB), d_model),
    }
    norms = ["transformer.ln_f"]
    for layer in range(recipe.n_layers):
        name = f"transformer.h.{layer}"
        norms += [f"{name}.ln_1", f"{name}.ln_2"]
        for part, rows, columns in (
            ("attn.c_attn", d_model, 3 * d_model),
            ("attn.c_proj", d_model, d_model),
            ("mlp.c_fc", d_model, inner),
            ("mlp.c_proj", inner, d_model),
        ):
            shapes[f"{name}.{part}.weight"] = (rows, columns)
            shapes[f"{name}.{part}.bias"] = (columns,)
    weights: Weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    for name in norms:
        weights[f"{name}.weight"] = np.full(d_model, EPSILON**0.5)
        weights[f"{name}.bias"] = np.zeros(d_model)
    return weights


def write_head(build: Assembly, role: HeadRole, layer: int, head: int) -> None:
    """Puts one attention role into a head slot.

    Each distinct key feature gets a dimension of the head's keys; the queries carry the scores, times sqrt(d_head).
    """
    keys = sorted(role.reads("k"))
    if max(len(keys), len(role.channels)) > build.d_head:
        raise ValueError(f"Expected at most {build.d_head} keys and channels in {role.name}.")
    attention, bias = build.block(layer, "attn.c_attn.weight"), build.block(layer, "attn.c_attn.bias")
    d, start = build.d_model, head * build.d_head
    for dimension, key in enumerate(keys):
        attention[build.index[key], d + start + dimension] = 1.0
    for (query, key), score in role.scores.items():
        column = start + keys.index(key)
        if query == BIAS:
            bias[column] += score * build.d_head**0.5
        else:
            attention[build.index[query], column] += score * build.d_head**0.5
    for dimension, channel in enumerate(role.channels):
        attention[:, 2 * d + start + dimension] = build.vector(channel.reads)
        build.block(layer, "attn.c_proj.weight")[start + dimension] = build.vector(channel.writes)


def compensate(build: Assembly) -> None:
    """Makes every row that is written into the residual stream sum to 0, through a coordinate that nothing reads."""
    column = build.index[COMPENSATOR]
    for name, array in build.weights.items():
        if name in ("transformer.wte.weight", "transformer.wpe.weight") or ".c_proj." in name:
            array[..., column] = 0.0
            array[..., column] = -array.sum(axis=-1)
