"""The component scores of one cell: as a picture of layers, and the strongest of them. No Streamlit."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api import ComponentSpace, Granularity
from arithloc.benchmark.api.errors import StorageError
from arithloc.benchmark.storage import components
from arithloc.benchmark.storage.repository import Repository


@dataclass(frozen=True, eq=False)
class Components:
    """Scores of the components of one cell.

    Attributes:
        space: the components; its vocabulary and head width are not known here and are 0.
        values: one score per component, in the space's order.
    """

    space: ComponentSpace
    values: Float[ndarray, " comp"]

    @property
    def slots(self) -> list[str]:
        """Columns of the picture, from left to right."""
        if self.space.granularity is Granularity.NODE:
            return [*map(str, range(self.space.shape.n_heads)), "MLP"]
        return ["attention", "MLP"]

    def grid(self, position: str | None = None) -> pd.DataFrame:
        """Layer x slot picture: columns `layer`, `slot`, `score`, `component`.

        Args:
            position: position class; None where the space has none.
        """
        frame = self._frame()
        return frame if position is None else frame[frame["position"] == position].drop(columns="position")

    def by_position(self) -> pd.DataFrame:
        """Layer x position picture: the strongest slot of each; the position stands in the column `slot`."""
        frame = self._frame()
        strongest = frame["score"].abs().groupby([frame["layer"], frame["position"]]).idxmax()
        return frame.loc[strongest].drop(columns="slot").rename(columns={"position": "slot"})

    def _frame(self) -> pd.DataFrame:
        """Every component of a layer or node space; neurons are too many for a picture."""
        classes = self.space.classes
        flat, place = np.divmod(np.arange(len(self.values)), max(len(classes), 1))
        layer, slot = np.divmod(flat, self.space.grid_shape[1])
        frame = pd.DataFrame(
            {
                "layer": layer,
                "slot": [self.slots[s] for s in slot],
                "score": self.values,
                "component": list(self.space.names),
            }
        )
        return frame.assign(position=[classes[p] for p in place]) if classes else frame

    def strongest(self, n: int) -> pd.DataFrame:
        """The `n` components of largest absolute score, strongest first: `place`, `component`, `score`."""
        order = np.argsort(-np.abs(self.values), kind="stable")[:n]
        return pd.DataFrame(
            {
                "place": np.arange(1, len(order) + 1),
                "component": [self.space.name(int(i)) for i in order],
                "score": self.values[order],
            }
        )

    def by_layer(self, n: int) -> pd.DataFrame:
        """How many of the `n` strongest components lie in each layer: `layer`, `n`."""
        order = np.argsort(-np.abs(self.values), kind="stable")[:n]
        n_layers = self.space.grid_shape[0]
        counts = np.bincount(order // (len(self.values) // n_layers), minlength=n_layers)
        return pd.DataFrame({"layer": np.arange(n_layers), "n": counts})


def component_scores(results: Repository, key: str) -> Components:
    """The scores of a cell's components.

    Raises:
        ArtifactMissing: their file is gone.
        ArtifactCorrupt: it was changed.
        StorageError: they do not fit the model, or the components are edges.
    """
    stored = components.component_scores(results, key)
    if stored.space.granularity is Granularity.EDGE:
        raise StorageError("Edges have no layer by head picture. Choose a cell of another granularity.")
    return Components(stored.space, stored.values)
