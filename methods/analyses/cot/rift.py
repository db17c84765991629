"""The rift: from which block on the lens says what follows in the prompt rather than what follows in general.

At positions whose token has occurred before in the prompt, with a successor that is not the one that the model expects
after this token alone: ctx is the share of positions where the lens' first token is such an earlier successor, pre the
share where it is among the five that the model expects after the token alone. The rift is the first block from which on
ctx stays above pre. This statistic is ours; the published one is not known.

Reference: Dutta et al., arXiv:2402.18312, section 6.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import SHOT, PromptPair
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.measured import Spread
from arithloc.benchmark.models import SubjectModel

EXPECTED: Final = 5
"""Tokens that count as expected after a token alone."""
REPEATED: Final = 24
"""Words of the control text, said twice in the same order."""


def successors(ids: Sequence[int], place: int) -> frozenset[int]:
    """Tokens that have followed earlier occurrences of the token at a place.

    Example:
    >>> sorted(successors([7, 1, 7, 2, 7], 4)), sorted(successors([7, 1, 7, 2, 7], 2)), successors([7, 1], 1)
    ([1, 2], [1], frozenset())
    """
    return frozenset(ids[t + 1] for t in range(place) if ids[t] == ids[place])


@dataclass(frozen=True, eq=False)
class Readings:
    """What the lens says at the positions that count.

    Attributes:
        ctx: whether the lens' first token is an earlier successor, level by level, the embedding first.
        pre: whether it is expected after the token alone.
        prompt: index of the prompt of each position.
        n_prompts: all prompts.
    """

    ctx: Bool[ndarray, "level place"]
    pre: Bool[ndarray, "level place"]
    prompt: Int[ndarray, " place"]
    n_prompts: int

    def shares(self, draws: Resamples) -> tuple[Float[ndarray, "2 level"], Float[ndarray, "rep 2 level"]]:
        """Shares of ctx and pre at each level, and their replicates."""
        both = np.stack([self.ctx, self.pre]).astype(np.float64)
        sums = np.zeros((*both.shape[:2], self.n_prompts))
        np.add.at(np.moveaxis(sums, -1, 0), self.prompt, np.moveaxis(both, -1, 0))
        counts = np.bincount(self.prompt, minlength=self.n_prompts).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = sums.sum(-1) / counts.sum()
            replicates = draws.sums(sums) / draws.sums(counts)[:, None, None]
        return value, replicates


def rift(ctx: Float[ndarray, " level"], pre: Float[ndarray, " level"]) -> float:
    """First level from which on ctx is above pre; NaN where it is not at the last one.

    Example:
    >>> rift(np.array([0.3, 0.1, 0.4, 0.5]), np.array([0.2, 0.2, 0.2, 0.1])), rift(np.array([1.0, 0]), np.array([0, 1.0]))
    (2.0, nan)
    """
    above = ctx > pre
    if not above[-1]:
        return float("nan")
    below = np.flatnonzero(~above)
    return float(below[-1] + 1 if len(below) else 0)


def sharpness(ctx: Float[ndarray, " level"], pre: Float[ndarray, " level"]) -> float:
    """Levels between 10 % and 90 % of the change of ctx - pre from its smallest to its largest value; NaN without change.

    Example: the difference jumps from -1 to 1 between two levels, or rises in ten equal steps
    >>> sharpness(np.array([0, 0, 1.0, 1]), np.array([1.0, 1, 0, 0])), sharpness(np.linspace(0, 1, 11), np.zeros(11))
    (1.0, 8.0)
    """
    difference = ctx - pre
    low, high = difference.min(), difference.max()
    if high <= low:
        return float("nan")
    share = (difference - low) / (high - low)
    first = np.flatnonzero(share >= 0.9 - 1e-9)[0]
    before = np.flatnonzero(share[: first + 1] <= 0.1 + 1e-9)
    return float(first - before[-1]) if len(before) else float("nan")


def expected_after(
    model: SubjectModel, pair: PromptPair, tokens: Sequence[int]
) -> Mapping[int, Int[ndarray, " expected"]]:
    """The first tokens that the model expects after each token alone, behind the token that stands in front of a prompt.

    Args:
        model: the subject model.
        pair: any pair, which gives the shape of a prompt.
        tokens: distinct tokens.
    """
    front = pair.clean_ids[:1]
    asked = [_text(pair, (*front, token)) for token in tokens]
    final = Site(SiteKind.RESIDUAL, model.shape.n_layers)
    with torch.inference_mode():
        logits = model.logits(engine.capture(model, asked, [final]).last(final))
        first = logits.topk(EXPECTED, -1).indices.cpu().numpy()
    return dict(zip(tokens, first, strict=True))


def _text(pair: PromptPair, ids: tuple[int, ...]) -> PromptPair:
    """A prompt of some tokens, both runs alike."""
    classes = (*["early"] * (len(ids) - 1), "last")
    return replace(pair, clean_ids=ids, counterfactual_ids=ids, classes=classes, strata=())


def read_rift(model: SubjectModel, pairs: Sequence[PromptPair]) -> Readings:
    """Reads the lens at every level at all positions that count, exemplars and the scored position left out."""
    n_levels = model.shape.n_layers + 1
    tokens = sorted({t for pair in pairs for t, cls in zip(pair.clean_ids, pair.classes, strict=True) if cls != SHOT})
    expected = expected_after(model, pairs[0], tokens)
    sites = [Site(SiteKind.RESIDUAL, level) for level in range(n_levels)]
    ctx, pre, prompt = [], [], []
    for index, pair in enumerate(pairs):
        ids = pair.clean_ids
        later = {t: successors(ids, t) for t in range(pair.n_tokens - 1) if pair.classes[t] != SHOT}
        places = [t for t, known in later.items() if known - {int(expected[ids[t]][0])}]
        if not places:
            continue
        found = engine.capture(model, [pair], sites, positions=places)
        with torch.inference_mode():
            said = np.stack([model.logits(found.ragged(site)[0]).argmax(-1).cpu().numpy() for site in sites])
        ctx.append(np.array([[int(w) in later[t] for t, w in zip(places, row, strict=True)] for row in said]))
        pre.append(np.array([[w in expected[ids[t]] for t, w in zip(places, row, strict=True)] for row in said]))
        prompt += [index] * len(places)
    empty = np.zeros((n_levels, 0), dtype=np.bool_)
    return Readings(
        np.concatenate([empty, *ctx], 1), np.concatenate([empty, *pre], 1), np.array(prompt, dtype=np.int64), len(pairs)
    )


def control_text(pairs: Sequence[PromptPair], rng: np.random.Generator) -> list[PromptPair]:
    """Lists of the prompts' words in random order, said twice: a text to continue without any reasoning."""
    words = sorted({token for pair in pairs for token in pair.candidates})
    n = min(REPEATED, len(words))
    found = []
    for pair in pairs:
        listed = tuple(int(t) for t in rng.choice(words, size=n, replace=False))
        found.append(_text(pair, (*pair.clean_ids[:1], *listed, *listed)))
    return found


def crossing(found: Readings, draws: Resamples) -> tuple[Spread, Spread]:
    """Level of the rift, and levels that the change takes."""
    value, replicates = found.shares(draws)

    def spread(statistic: Callable[[ndarray, ndarray], float]) -> Spread:
        again = np.array([statistic(*one) for one in replicates])
        return Spread(np.asarray(statistic(*value)), again, draws.n_clusters)

    return spread(rift), spread(sharpness)
