"""Token mixing: whether two words of a question are joined by a statement, read off their residual streams.

Reference: Dutta et al., arXiv:2402.18312, section 5. Their related words stand in one sentence and the others do not, so
distance separates them, and their pairs are not kept together. Here both words are objects of two different statements;
each joined pair has a partner of the same roles whose second word belongs to the other chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from arithloc.benchmark import engine
from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.models import SubjectModel

BATCH: Final = 32
STEPS: Final = 100
RATE: Final = 3e-3
HIDDEN: Final = (128, 64, 32)
"""Layers of the paper's probe."""


@dataclass(frozen=True)
class WordPair:
    """Two words of a question.

    Attributes:
        first, second: their tokens, first the one whose statement comes earlier in the chain.
        joined: whether a statement joins them.
    """

    first: int
    second: int
    joined: bool


def word_pairs(pair: PromptPair) -> list[WordPair]:
    """Objects of successive statements of the two named chains, and the same with the chains' second words exchanged.

    The tag `order` says what stands where: `a0` is the fact of the entity asked about, `b1` the first rule of the other one.

    Example: "N is A. M is B. A is p. B is q." (a0 b0 a1 b1) gives (A, p) and (B, q), joined, and (A, q) and (B, p), not joined.
    """
    order = dict(pair.strata)["order"].split()
    places = {name: pair.classes.index(f"question{number}_object") for number, name in enumerate(order, start=1)}
    n_links = sum(name.startswith("a") for name in order)
    one, two = ([places[f"{chain}{link}"] for link in range(n_links)] for chain in "ab")
    found = []
    for own, other in ((one, two), (two, one)):
        for place in range(n_links - 1):
            found.append(WordPair(own[place], own[place + 1], True))
            found.append(WordPair(own[place], other[place + 1], False))
    return found


@dataclass(frozen=True, eq=False)
class Examples:
    """Word pairs with their residual streams.

    Attributes:
        levels: concatenated residual streams of both words, block by block, the embedding first.
        joined: the label.
        prompt: index of the prompt of each word pair.
        distance: tokens between the two words.
    """

    levels: Float[Tensor, "level word_pair both"]
    joined: Bool[ndarray, " word_pair"]
    prompt: Int[ndarray, " word_pair"]
    distance: Int[ndarray, " word_pair"]


def examples(model: SubjectModel, pairs: Sequence[PromptPair]) -> Examples:
    """Reads the clean prompts at the words of their questions."""
    sites = [Site(SiteKind.RESIDUAL, layer) for layer in range(model.shape.n_layers + 1)]
    levels: list[list[Tensor]] = [[] for _ in sites]
    joined, prompt, distance = [], [], []
    found = engine.capture(model, pairs, sites, positions="all")
    for index, pair in enumerate(pairs):
        words = word_pairs(pair)
        place = {token: row for row, token in enumerate(found.positions[index])}
        for rows, site in zip(levels, sites, strict=True):
            stream = found.ragged(site)[index].float()
            rows += [torch.cat([stream[place[word.first]], stream[place[word.second]]]) for word in words]
        joined += [word.joined for word in words]
        distance += [abs(word.first - word.second) for word in words]
        prompt += [index] * len(words)
    return Examples(
        torch.stack([torch.stack(rows) for rows in levels]), np.array(joined), np.array(prompt), np.array(distance)
    )


def probe(
    train: Float[Tensor, "word_pair both"],
    labels: Bool[ndarray, " word_pair"],
    test: Float[Tensor, "asked both"],
    *,
    hidden: Sequence[int],
    generator: torch.Generator,
) -> Bool[ndarray, " asked"]:
    """Trains a probe on standardised inputs in shuffled batches and applies it.

    Args:
        train: inputs.
        labels: their classes.
        test: inputs of another part of the ontologies.
        hidden: widths of the hidden layers; none for a linear probe.
        generator: of weights and batches.
    """
    mean, scale = train.mean(0), train.std(0).clamp_min(1e-6)
    x, y = (train - mean) / scale, torch.from_numpy(labels).long()
    network = _network(x.shape[1], hidden, generator)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.1)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(STEPS):
        if len(order) < min(BATCH, len(x)):
            order = torch.randperm(len(x), generator=generator)
        batch, order = order[:BATCH], order[BATCH:]
        loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    with torch.no_grad():
        said: Bool[ndarray, " asked"] = network((test - mean) / scale).argmax(-1).bool().numpy()
    return said


def _network(width: int, hidden: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    sizes = [width, *hidden, 2]
    parts: list[nn.Module] = []
    for place, (n_in, n_out) in enumerate(pairwise(sizes)):
        linear = nn.Linear(n_in, n_out, device="meta").to_empty(device="cpu")
        last = place == len(hidden)  # starts at zero, so that a linear probe is an ordinary logistic regression
        with torch.no_grad():
            linear.weight.copy_(torch.randn(n_out, n_in, generator=generator) * (0.0 if last else (2 / n_in) ** 0.5))
            linear.bias.zero_()
        parts += [linear] if last else [linear, nn.ReLU()]
    return nn.Sequential(*parts)


def macro_f1(counts: Float[ndarray, "*rep 4"]) -> Float[ndarray, "*rep"]:
    """Mean of the F1 of both classes, from counts of (true 0 said 0, true 0 said 1, true 1 said 0, true 1 said 1).

    Example: 3 right and 1 wrong of class 0, 2 and 2 of class 1: F1 6/9 and 4/7
    >>> float(macro_f1(np.array([3.0, 1.0, 2.0, 2.0])).round(6))
    0.619048
    """
    n00, n01, n10, n11 = np.moveaxis(counts, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = np.where(2 * n00 + n01 + n10 > 0, 2 * n00 / (2 * n00 + n01 + n10), 0.0)
        one = np.where(2 * n11 + n01 + n10 > 0, 2 * n11 / (2 * n11 + n01 + n10), 0.0)
    return np.asarray((zero + one) / 2)


def confusion(
    joined: Bool[ndarray, " word_pair"], said: Bool[ndarray, " word_pair"], prompt: Int[ndarray, " word_pair"], n: int
) -> Float[ndarray, "4 prompt"]:
    """Counts of the four outcomes in each of n prompts."""
    counts = np.zeros((4, n))
    np.add.at(counts, (2 * joined.astype(int) + said.astype(int), prompt), 1.0)
    return counts


def control_labels(found: Examples, rng: np.random.Generator) -> Bool[ndarray, " word_pair"]:
    """Labels permuted among all word pairs: what a probe can learn by heart without any relation."""
    return np.asarray(rng.permutation(found.joined))
