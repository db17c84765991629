"""Direct effects of heads and MLPs on the answer, and the heads that they single out.

Reference: Zhang et al., arXiv:2409.01659, section 3; Goldowsky-Dill et al., arXiv:2304.05969, for `frozen="all"`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import ComponentSpace, Granularity, Progress, PromptPair
from arithloc.benchmark.engine.packed_sweep import Frozen
from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.measured import Spread, draws_of, masked_means
from arithloc.benchmark.models import SubjectModel

KEY: Final = -0.05
"""Relative change of the answer's logit from which on the paper calls a head a key head."""
FEW: Final = 0.05
"""The paper's claim: fewer heads than this share matter."""


@dataclass(frozen=True, eq=False)
class DirectEffects:
    """What each node's counterfactual value does to the answer along direct paths, at the last position.

    Attributes:
        pairs: the pairs.
        change: change of the logit difference, (layer, heads then the MLP, pair).
        relative: relative change of the answer's logit, where that is positive.
        positive: pairs whose answer logit is positive.
    """

    pairs: tuple[PromptPair, ...]
    change: Float[ndarray, "layer node pair"]
    relative: Float[ndarray, "layer node pair"]
    positive: Bool[ndarray, " pair"]

    @cached_property
    def draws(self) -> Resamples:
        """Resamples of the pairs."""
        return draws_of(self.pairs)

    @cached_property
    def score(self) -> Spread:
        """The paper's s: mean relative change of the answer's logit, (layer, node)."""
        return masked_means(self.relative, np.broadcast_to(self.positive, self.relative.shape), self.draws)

    @cached_property
    def logit_diff(self) -> Spread:
        """Mean change of the logit difference, (layer, node)."""
        return masked_means(self.change, np.ones(self.change.shape, dtype=np.bool_), self.draws)

    @property
    def heads(self) -> Float[ndarray, "layer head"]:
        """S of the heads."""
        return np.asarray(self.score.value[:, :-1])

    @property
    def order(self) -> Int[ndarray, " comp"]:
        """Heads from the largest |s| to the smallest, as layer * n_heads + head."""
        return np.argsort(-np.abs(self.heads).reshape(-1), kind="stable")

    def few(self) -> int:
        """How many heads are 5 % of all, at least one."""
        return max(1, int(FEW * self.heads.size))


def direct_effects(
    model: SubjectModel, pairs: tuple[PromptPair, ...], frozen: Frozen, progress: Progress
) -> DirectEffects:
    """Path patching from every node to the logits, from the counterfactual into the clean run."""
    space = ComponentSpace(Granularity.NODE, model.shape)
    clean = engine.read(model, pairs)
    patched = engine.direct_effect(model, pairs, space, frozen=frozen, progress=progress)
    grid = (*space.grid_shape, len(pairs))
    return DirectEffects(
        pairs,
        (patched.metric("logit_diff") - clean.metric("logit_diff")).reshape(grid),
        relative_change(clean.answer, patched.answer).reshape(grid),
        np.asarray(clean.answer > 0),
    )


def relative_change(
    reference: Float[ndarray, " pair"], patched: Float[ndarray, "row pair"]
) -> Float[ndarray, "row pair"]:
    """(patched - reference) / reference per pair; 0 where the reference is not positive and the ratio has no meaning.

    Example: -0.1, -0.05, and no ratio
    >>> relative_change(np.array([20.0, 10, -5]), np.array([[18.0, 9.5, -4]])).tolist()
    [[-0.1, -0.05, 0.0]]
    """
    usable = reference > 0
    return np.asarray(np.where(usable, (patched - reference) / np.where(usable, reference, 1.0), 0.0))


def shared_of_top(a: Int[ndarray, " comp"], b: Int[ndarray, " comp"], k: int) -> float:
    """|top k of a and top k of b| / k.

    Example:
    >>> shared_of_top(np.array([3, 1, 2]), np.array([1, 2, 3]), 2)
    0.5
    """
    return len(np.intersect1d(a[:k], b[:k])) / k


def jaccard(a: Int[ndarray, " comp"], b: Int[ndarray, " comp"], k: int) -> float:
    """|top k of a and top k of b| / |either|.

    Example: one of three
    >>> round(jaccard(np.array([3, 1, 2]), np.array([1, 2, 3]), 2), 4)
    0.3333
    """
    both = len(np.intersect1d(a[:k], b[:k]))
    return both / (2 * k - both)


def overlap_spread(a: DirectEffects, b: DirectEffects, k: int) -> Spread:
    """Share of common heads among the top k of two lists, in the samples and in every resample of both."""
    first, second = (one.score.map(lambda s: _among_top(s, k)) for one in (a, b))
    return Spread(
        np.asarray((first.value * second.value).sum() / k),
        np.asarray((first.replicates * second.replicates).sum(-1) / k),
        min(first.n, second.n),
    )


def _among_top(score: Float[ndarray, "rep layer node"], k: int) -> Float[ndarray, "rep head"]:
    """1 for the k heads with the largest |s|, 0 for the others; NaN in a resample without scores."""
    size = np.abs(score[:, :, :-1]).reshape(len(score), -1)
    marked = np.zeros_like(size)
    np.put_along_axis(marked, np.argsort(-size, axis=-1, kind="stable")[:, :k], 1.0, axis=-1)
    marked[~np.isfinite(size).all(-1)] = np.nan
    return np.asarray(marked)


def head_name(model: SubjectModel, index: int) -> str:
    """Name of a head from its place among all heads.

    Args:
        model: the subject model.
        index: layer * n_heads + head.
    """
    layer, head = divmod(int(index), model.shape.n_heads)
    return f"a{layer}.h{head}"
