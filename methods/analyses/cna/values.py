"""Whether the values of a prompt's most important neurons name its answer."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.engine import FrozenLens, Site, SiteKind
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.analyses.cna.importance import Importances, Neuron, best, like


def answer_hits(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    found: Importances,
    top: int,
    tokens: int,
    rng: np.random.Generator,
) -> Float[ndarray, "2 pair"]:
    """Share of neurons whose signed subvalue m v raises the answer token most, or nearly so.

    Args:
        model: the subject model.
        pairs: the pairs of the importances.
        found: importances in the clean run.
        top: most important neurons of each prompt.
        tokens: the answer has to be among this many tokens.
        rng: draws the controls.

    Returns: first row the most important neurons, second row matched ones of the same blocks.
    """
    layers = range(model.shape.n_layers)
    final = Site(SiteKind.RESIDUAL, model.shape.n_layers)
    run = engine.capture(model, pairs, [final, *(Site(SiteKind.HIDDEN, layer) for layer in layers)])
    lens = FrozenLens.of(model, run.last(final))
    hits = np.zeros((2, len(pairs)))
    for place, pair in enumerate(pairs):
        first = best(found.static[place], top)
        for row, neurons in enumerate((first, like(first, found.weight[place], rng))):
            signs = [float(run.last(Site(SiteKind.HIDDEN, layer))[place, unit].sign()) for layer, unit in neurons]
            hits[row, place] = _share(model, lens, neurons, signs, pair.answer_token, tokens)
    return hits


def _share(
    model: SubjectModel, lens: FrozenLens, neurons: Sequence[Neuron], signs: Sequence[float], answer: int, tokens: int
) -> float:
    """Share of signed values among whose first tokens the answer is."""
    values = torch.stack(
        [sign * model.down_weight(layer)[unit] for (layer, unit), sign in zip(neurons, signs, strict=True)]
    )
    logits = values.to(lens.weight) @ lens.weight.T
    rank = (logits > logits[:, answer, None]).sum(-1)
    return float((rank < tokens).double().mean())
