"""Compiled circuits: a recipe becomes the weights of a stock GPT-2 whose circuit is known exactly."""

from dataclasses import dataclass
from typing import Any

from arithloc.tasks.toy.assembly import Weights, assemble_weights, compensate
from arithloc.tasks.toy.decoys import calibrate, draw_decoys
from arithloc.tasks.toy.disguise import change_head_bases, permute_neurons, rotate
from arithloc.tasks.toy.export import config_document
from arithloc.tasks.toy.placement import Placement, place
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import Program
from arithloc.tasks.toy.stressors import program


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled circuit.

    Attributes:
        recipe: what it was built from.
        program: its roles.
        placement: where they are.
        units: hidden units of each layer's role neurons, in the order of the role's neurons.
        weights: float64 arrays by state-dict name.
        config: contents of `config.json`.
    """

    recipe: Recipe
    program: Program
    placement: Placement
    units: dict[int, list[int]]
    weights: Weights
    config: dict[str, Any]

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(array.size for array in self.weights.values())


def compile_circuit(recipe: Recipe) -> Compiled:
    """Builds a circuit: roles, decoys, compensator, calibration, and the changes of basis.

    Raises:
        ValueError: the roles do not fit into the layers and heads of the recipe.
    """
    circuit = program(recipe)
    placement = place(circuit, recipe)
    build = assemble_weights(circuit, placement, recipe)
    parts = draw_decoys(build, placement)
    compensate(build)
    if recipe.calibrated:
        calibrate(build, placement, parts)
    if recipe.disguised:
        rotate(build, recipe.rng("rotation"))
        change_head_bases(build, recipe.rng("head-bases"))
        permute_neurons(build, recipe.rng("neurons"))
    return Compiled(recipe, circuit, placement, build.units, build.weights, config_document(build))
