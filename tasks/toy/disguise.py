"""Changes of basis that leave every logit as it is and hide the construction."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.tasks.toy.assembly import Assembly

Square = Float[ndarray, "d d"]


def orthogonal(size: int, rng: np.random.Generator) -> Square:
    """A random orthogonal matrix, uniform (Haar) over all of them."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    return np.asarray(q * np.sign(np.diag(r)))


def mean_preserving(size: int, rng: np.random.Generator) -> Square:
    """A random orthogonal R with R 1 = 1, so that LayerNorm's mean stays what it is.

    In an orthonormal basis that begins with the normalised ones vector it is block diag(1, Q).
    """
    basis, _ = np.linalg.qr(np.column_stack([np.ones(size), rng.normal(size=(size, size - 1))]))
    inner = np.eye(size)
    inner[1:, 1:] = orthogonal(size - 1, rng)
    return np.asarray(basis @ inner @ basis.T)


def rotate(build: Assembly, rng: np.random.Generator) -> None:
    """Rotates the residual stream: writers W -> W R, readers W -> R^T W."""
    rotation = mean_preserving(build.d_model, rng)
    for name, array in build.weights.items():
        if name in ("transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight") or ".c_proj." in name:
            build.weights[name] = array @ rotation
        elif name.endswith((".c_attn.weight", ".c_fc.weight")):
            build.weights[name] = rotation.T @ array


def change_head_bases(build: Assembly, rng: np.random.Generator) -> None:
    """Rotates each head's queries and keys together, and its values with the rows that write them."""
    d, dh = build.d_model, build.d_head
    for layer in range(build.recipe.n_layers):
        weight, bias = build.block(layer, "attn.c_attn.weight"), build.block(layer, "attn.c_attn.bias")
        projection = build.block(layer, "attn.c_proj.weight")
        for head in range(build.recipe.n_heads):
            matching, moving = orthogonal(dh, rng), orthogonal(dh, rng)
            for offset, basis in ((0, matching), (d, matching), (2 * d, moving)):
                columns = slice(offset + head * dh, offset + (head + 1) * dh)
                weight[:, columns] = weight[:, columns] @ basis
                bias[columns] = bias[columns] @ basis
            rows = slice(head * dh, (head + 1) * dh)
            projection[rows] = moving.T @ projection[rows]


def permute_neurons(build: Assembly, rng: np.random.Generator) -> None:
    """Shuffles the hidden units of each MLP; `build.units` follows."""
    for layer in range(build.recipe.n_layers):
        order = rng.permutation(build.recipe.n_inner)
        name = f"transformer.h.{layer}.mlp"
        build.weights[f"{name}.c_fc.weight"] = build.weights[f"{name}.c_fc.weight"][:, order]
        build.weights[f"{name}.c_fc.bias"] = build.weights[f"{name}.c_fc.bias"][order]
        build.weights[f"{name}.c_proj.weight"] = build.weights[f"{name}.c_proj.weight"][order]
        place = np.argsort(order)
        build.units[layer] = [int(place[unit]) for unit in build.units.get(layer, [])]
