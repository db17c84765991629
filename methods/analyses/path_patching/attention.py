"""What heads attend to from the last position.

Reference: Zhang et al., arXiv:2409.01659, section 4 (operand heads and operator heads).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.measured import Spread, draws_of

OPERANDS: Final = ("operand1", "operand2")
OPERATOR: Final = "operator"
MAIN: Final = 0.5
"""Share of the attention that a head's type takes."""


@dataclass(frozen=True, eq=False)
class AttentionByClass:
    """Attention of the last position, summed within position classes.

    Attributes:
        pairs: the pairs.
        classes: position classes, exemplars included, in the order of the prompts.
        mass: (layer, head, class, pair); sums to 1 over classes.
    """

    pairs: tuple[PromptPair, ...]
    classes: tuple[str, ...]
    mass: Float[ndarray, "layer head cls pair"]

    @cached_property
    def draws(self) -> Resamples:
        """Resamples of the pairs."""
        return draws_of(self.pairs)

    def to(self, names: Sequence[str]) -> Float[ndarray, "layer head pair"]:
        """Attention to some classes together."""
        return np.asarray(self.mass[:, :, [self.classes.index(n) for n in names if n in self.classes]].sum(2))

    def excess(self, heads: Sequence[int], names: Sequence[str]) -> Spread:
        """Attention of some heads to some classes minus that of all other heads.

        Args:
            heads: layer * n_heads + head.
            names: position classes.
        """
        mass = self.to(names).reshape(-1, len(self.pairs))
        inside = np.isin(np.arange(len(mass)), heads)
        difference = mass[inside].mean(0) - mass[~inside].mean(0)
        return Spread(np.asarray(difference.mean()), self.draws.means(difference), self.draws.n_clusters)

    def head_type(self, head: int) -> str:
        """The class that takes more than half of a head's attention, or `mixed`."""
        mean = self.mass.mean(-1).reshape(-1, len(self.classes))[head]
        return self.classes[int(mean.argmax())] if mean.max() > MAIN else "mixed"


def by_class(pairs: Sequence[PromptPair], weights: Sequence[Float[ndarray, "layer head _"]]) -> AttentionByClass:
    """Sums attention weights over the tokens of each position class.

    Args:
        pairs: the pairs.
        weights: attention of the last position of each pair.
    """
    classes = tuple(dict.fromkeys(name for pair in pairs for name in pair.classes))
    n_layers, n_heads = weights[0].shape[:2]
    mass = np.zeros((n_layers, n_heads, len(classes), len(pairs)))
    for i, (pair, weight) in enumerate(zip(pairs, weights, strict=True)):
        for c, name in enumerate(classes):
            mass[:, :, c, i] = weight[:, :, np.array([cls == name for cls in pair.classes])].sum(-1)
    return AttentionByClass(tuple(pairs), classes, mass)
