"""Where the roles of a program go: a layer for each, a head slot for each attention role."""

from dataclasses import dataclass

import numpy as np

from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import Program

TRIES = 2000


@dataclass(frozen=True)
class Placement:
    """Layer of every MLP role, layer and head of every attention role."""

    mlps: dict[str, int]
    heads: dict[str, tuple[int, int]]


def place(program: Program, recipe: Recipe) -> Placement:
    """Draws layers that respect the program's orders, and head slots.

    Roles are drawn from the lowest up, each uniformly between the lowest layer that the roles before it allow and the
    highest that leaves room for those after it. Drawn again until heads fit, every MLP has at most one role, and, if
    there are enough roles, no layer is empty.

    Raises:
        ValueError: the roles do not fit into these layers and heads.
    """
    rng = recipe.rng("placement")
    names = [role.name for role in program.roles]
    mlp_names = {role.name for role in program.mlps}
    sequence = _topological(names, program)
    latest = _latest(sequence, program, recipe.n_layers)
    fill = len(names) >= recipe.n_layers
    for attempt in range(TRIES):
        layers: dict[str, int] = {}
        for name in sequence:
            floor = max((layers[o.first] + (not o.same) for o in program.orders if o.then == name), default=0)
            if floor > latest[name]:
                break
            layers[name] = int(rng.integers(floor, latest[name] + 1))
        if len(layers) < len(names):
            break
        used = [layers[m] for m in mlp_names]
        per_layer = np.bincount([layers[h.name] for h in program.heads], minlength=recipe.n_layers)
        covered = len(set(layers.values())) == recipe.n_layers
        if len(set(used)) < len(used) or per_layer.max() > recipe.n_heads:
            continue
        if covered or not fill or attempt > TRIES // 2:
            return Placement({m.name: layers[m.name] for m in program.mlps}, _slots(program, layers, recipe, rng))
    raise ValueError(
        f"Expected room for {len(program.heads)} heads and {len(program.mlps)} MLPs in order, found {recipe.n_layers} "
        f"layers of {recipe.n_heads} heads. Use more layers or heads."
    )


def _slots(
    program: Program, layers: dict[str, int], recipe: Recipe, rng: np.random.Generator
) -> dict[str, tuple[int, int]]:
    free = {layer: list(rng.permutation(recipe.n_heads)) for layer in range(recipe.n_layers)}
    return {h.name: (layers[h.name], int(free[layers[h.name]].pop())) for h in program.heads}


def _topological(names: list[str], program: Program) -> list[str]:
    """Names in an order in which every role follows the roles it must not precede."""
    rest, done = list(names), []
    while rest:
        ready = [n for n in rest if not any(o.then == n and o.first in rest for o in program.orders)]
        done += ready
        rest = [n for n in rest if n not in ready]
    return done


def _latest(sequence: list[str], program: Program, n_layers: int) -> dict[str, int]:
    """Highest layer of each role that leaves room for every chain of roles after it."""
    latest: dict[str, int] = {}
    for name in reversed(sequence):
        later = [latest[o.then] - (not o.same) for o in program.orders if o.first == name]
        latest[name] = min(later, default=n_layers - 1)
    return latest
