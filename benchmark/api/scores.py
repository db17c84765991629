"""Scores: what a method returns."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.errors import BadScores


@dataclass(frozen=True, eq=False)
class Scores:
    """One signed number per component: large means important, negative means it works against the answer.

    Attributes:
        space: the space that was scored.
        values: one float64 per component, in the space's order.
    """

    space: ComponentSpace
    values: Float[ndarray, " comp"]

    @classmethod
    def of(cls, space: ComponentSpace, values: Shaped[ndarray, "..."]) -> "Scores":
        """Builds scores from an array of `space.grid_shape`, or flat in the space's order.

        Raises:
            BadScores: another shape, or a value that is not finite (the first such component is named).
        """
        array = np.asarray(values, dtype=np.float64)
        if array.shape not in (space.grid_shape, (len(space),)):
            raise BadScores(
                f"Expected scores of shape {space.grid_shape} for the {space.granularity} space, found {array.shape}. "
                "Return one number per component of problem.space."
            )
        flat = array.reshape(-1)
        bad = np.flatnonzero(~np.isfinite(flat))
        if bad.size:
            raise BadScores(
                f"Expected finite scores, found {flat[bad[0]]} for component {space.name(int(bad[0]))} "
                f"({bad.size} of {flat.size} are not finite). Score every component with a number."
            )
        return cls(space, flat)
