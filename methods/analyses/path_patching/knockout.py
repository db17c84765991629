"""Knocking heads out: the found ones, random ones, and random ones of the same blocks.

Reference: Zhang et al., arXiv:2409.01659, section 3 (accuracy after removing the top k heads).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Progress, PromptPair
from arithloc.benchmark.api.report import Curves, Series
from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.measured import Spread, draws_of, means_of
from arithloc.benchmark.metrics.random_circuits import same_blocks
from arithloc.benchmark.models import SubjectModel

SIZES: Final = (0, 1, 2, 5, 10, 20, 50, 100)
METRICS: Final = ("accuracy", "accuracy_candidates", "logit_diff")
TOP, RANDOM, MATCHED = "found heads", "random heads", "random heads of the same blocks"


@dataclass(frozen=True, eq=False)
class Knockout:
    """What is left without some heads, per pair.

    Attributes:
        sizes: numbers of heads.
        values: for each metric and kind of set (size, draw, pair); the found heads have one draw.
        pairs: the pairs.
    """

    sizes: tuple[int, ...]
    values: dict[tuple[str, str], Float[ndarray, "size draw pair"]]
    pairs: tuple[PromptPair, ...]

    @cached_property
    def draws(self) -> Resamples:
        """Resamples of the pairs."""
        return draws_of(self.pairs)

    def mean(self, metric: str, kind: str, size: int) -> Spread:
        """Mean over pairs, and over draws of random heads."""
        per_pair = self.values[metric, kind][self.sizes.index(size)].mean(0)
        return Spread(np.asarray(per_pair.mean()), self.draws.means(per_pair), self.draws.n_clusters)

    def curves(self, metric: str, title: str) -> Curves:
        """One metric over the number of heads, for the found and for random ones."""
        lines = tuple(
            Series.of(kind, [float(n) for n in self.sizes], means_of(self.values[metric, kind].mean(1), self.draws))
            for kind in (TOP, RANDOM, MATCHED)
        )
        return Curves(f"knockout_{metric}", title, "Heads knocked out", metric.replace("_", " "), lines)


def knockout(
    model: SubjectModel,
    order: Int[ndarray, " comp"],
    sizes: Sequence[int],
    pairs: Sequence[PromptPair],
    reference: Sequence[PromptPair],
    *,
    ablation: Ablation,
    draws: int,
    seed: int,
    progress: Progress,
) -> Knockout:
    """Ablates growing sets of heads; MLPs and all other heads stay.

    Args:
        model: the subject model.
        order: heads, most important first, as layer * n_heads + head.
        sizes: numbers of heads to ablate; those beyond all heads are left out.
        pairs: evaluation pairs, which the heads were not found on.
        reference: pairs whose counterfactual prompts the mean is taken over.
        ablation: what takes the heads' place.
        draws: random sets of each size.
        seed: of the random sets.
        progress: called with (done, total).
    """
    space = ComponentSpace(Granularity.NODE, model.shape)
    kept_sizes = tuple(dict.fromkeys(n for n in sizes if n <= len(order)))
    removed = {
        TOP: np.array([[head_mask(space, order[:n])] for n in kept_sizes]),
        RANDOM: _random(space, kept_sizes, draws, seed),
        MATCHED: np.array(
            [same_blocks(space, head_mask(space, order[:n]), draws, seed + i) for i, n in enumerate(kept_sizes)]
        ),
    }
    stacked = np.concatenate([sets.reshape(-1, len(space)) for sets in removed.values()])
    distinct, row_of = np.unique(stacked, axis=0, return_inverse=True)
    found = engine.circuit_forward(
        model, pairs, space, ~distinct, ablation, reference=reference, seed=seed, progress=progress
    )
    values = {}
    for metric in METRICS:
        table, start = found.metric(metric)[row_of.reshape(-1)], 0
        for kind, sets in removed.items():
            n = sets.shape[0] * sets.shape[1]
            values[metric, kind] = table[start : start + n].reshape(*sets.shape[:2], len(pairs))
            start += n
    return Knockout(kept_sizes, values, tuple(pairs))


def head_mask(space: ComponentSpace, heads: Int[ndarray, " head"]) -> Bool[ndarray, " comp"]:
    """Heads as components of a node space, whose rows end with the MLP.

    Args:
        space: the node space.
        heads: layer * n_heads + head.
    """
    layers, places = np.divmod(heads, space.shape.n_heads)
    mask = np.zeros(space.grid_shape, dtype=np.bool_)
    mask[layers, places] = True
    return mask.reshape(-1)


def _random(space: ComponentSpace, sizes: Sequence[int], draws: int, seed: int) -> Bool[ndarray, "size draw comp"]:
    """For each draw one random order of all heads, of which the sizes are the first ones."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(space.shape.n_layers * space.shape.n_heads) for _ in range(draws)]
    return np.array([[head_mask(space, order[:n]) for order in orders] for n in sizes])
