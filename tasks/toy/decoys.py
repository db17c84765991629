"""Random parts that do not compute anything, with output norms like those of the roles.

Without the calibration, decoys feed on each other, grow by orders of magnitude per layer, and break the neutral
LayerNorm; and activation norm would tell them from roles.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.tasks.toy.arithmetic import random_questions, token_ids
from arithloc.tasks.toy.assembly import COMPENSATOR, DECOY_FEATURES, Assembly
from arithloc.tasks.toy.export import config_document
from arithloc.tasks.toy.forward import Network
from arithloc.tasks.toy.placement import Placement

CALIBRATION_QUESTIONS = 256


@dataclass(frozen=True)
class Part:
    """Something whose output is scaled: a head (layer, head), or the decoy units of an MLP (layer, None)."""

    layer: int
    head: int | None


def draw_decoys(build: Assembly, placement: Placement) -> list[Part]:
    """Fills every unused head and unit with random readers of all features and writers of decoy features."""
    rng, d, dh = build.recipe.rng("decoys"), build.d_model, build.d_head
    readable = np.array([name != COMPENSATOR for name in build.index], dtype=float)
    readable = np.pad(readable, (0, d - len(readable)))[:, None]
    written = [build.index[name] for name in DECOY_FEATURES]
    taken = set(placement.heads.values())
    parts = []
    for layer in range(build.recipe.n_layers):
        attention, projection = build.block(layer, "attn.c_attn.weight"), build.block(layer, "attn.c_proj.weight")
        for head in range(build.recipe.n_heads):
            if (layer, head) in taken:
                continue
            own = slice(head * dh, (head + 1) * dh)
            for offset, deviation in ((0, 0.7), (d, 0.7), (2 * d, 0.5)):
                attention[:, offset + own.start : offset + own.stop] = rng.normal(0, deviation, (d, dh)) * readable
            projection[own, written[0] : written[-1] + 1] = rng.normal(0, 0.5, (dh, len(written)))
            parts.append(Part(layer, head))
        first = len(build.units.get(layer, []))
        free = build.recipe.n_inner - first
        build.block(layer, "mlp.c_fc.weight")[:, first:] = rng.normal(0, 0.1, (d, free)) * readable
        build.block(layer, "mlp.c_proj.weight")[first:, written[0] : written[-1] + 1] = rng.normal(
            0, 0.1, (free, len(written))
        )
        if free:
            parts.append(Part(layer, None))
    return parts


def calibrate(build: Assembly, placement: Placement, parts: list[Part]) -> None:
    """Scales each decoy's output, from the lowest layer up, to a norm drawn log-uniformly between those of the roles.

    Norms are means of L2 over 256 random questions and their positions; those of the roles with all decoys silent.
    """
    recipe = build.recipe
    questions = random_questions(
        recipe.n_digits, recipe.operators, CALIBRATION_QUESTIONS, recipe.rng("calibration-questions")
    )
    ids = token_ids(questions, recipe.format)[:, :-1]
    network = Network(build.weights, config_document(build))
    originals = {part: written_rows(build, part).copy() for part in parts}
    for part in parts:
        written_rows(build, part)[:] = 0.0
    silent = network.run(ids)
    roles = [mean_norm(network.head_write(*slot, silent.heads[slot])) for slot in placement.heads.values()]
    roles += [mean_norm(silent.mlps[layer]) for layer in placement.mlps.values()]
    low, high = np.log(min(roles)), np.log(max(roles))
    rng = recipe.rng("calibration-norms")
    targets = {part: np.exp(rng.uniform(low, high)) for part in parts}
    x = network.embed(ids)
    for layer in range(recipe.n_layers):
        z = network.head_outputs(x, layer)
        for part in (p for p in parts if p.layer == layer and p.head is not None):
            scale(build, part, originals[part], z[part.head or 0], targets[part])
        x = x + network.attention_write(z, layer)
        hidden = network.hidden(x, layer)
        for part in (p for p in parts if p.layer == layer and p.head is None):
            scale(build, part, originals[part], hidden[..., len(build.units.get(layer, [])) :], targets[part])
        x = x + network.mlp_write(hidden, layer)


def written_rows(build: Assembly, part: Part) -> Float[ndarray, "units d_model"]:
    """Rows of the projection that write the part's output; a view."""
    if part.head is None:
        return build.block(part.layer, "mlp.c_proj.weight")[len(build.units.get(part.layer, [])) :]
    return build.block(part.layer, "attn.c_proj.weight")[part.head * build.d_head : (part.head + 1) * build.d_head]


def scale(
    build: Assembly,
    part: Part,
    rows: Float[ndarray, "units d_model"],
    activations: Float[ndarray, "batch pos units"],
    target: float,
) -> None:
    """Writes the part's rows so that its output has the target norm."""
    written_rows(build, part)[:] = rows * (target / mean_norm(activations @ rows))


def mean_norm(writes: Float[ndarray, "batch pos d_model"]) -> float:
    """Mean L2 norm over questions and positions."""
    return float(np.linalg.norm(writes, axis=-1).mean())
