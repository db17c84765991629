"""Which tokens of a prompt an operation touches. Exemplar tokens (class `shot`) are never touched."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from arithloc.benchmark.api import SHOT, ComponentSpace, PromptPair
from arithloc.benchmark.api.errors import BadOption, quoted

ALL = "all"
"""Every position that is not an exemplar's."""
LAST = "last"
"""The scored position."""

Positions = str | Sequence[int]
"""`all`, `last`, the name of a position class or sub-class (`operand1_last`), or token indices valid for every pair."""


def selected(pair: PromptPair, positions: Positions) -> tuple[int, ...]:
    """Token indices that `positions` means in one pair, ascending; empty for a class or sub-class that the pair does not have.

    Raises:
        BadOption: the class of exemplars, or an index that is outside the prompt or an exemplar's.
    """
    if isinstance(positions, str):
        if positions == SHOT:
            raise BadOption(
                "Expected positions of the query, found the class 'shot'. Exemplars are never intervened on."
            )
        if positions == LAST:
            return (pair.n_tokens - 1,)
        found = tuple(t for t, c in enumerate(pair.classes) if c == positions or (positions == ALL and c != SHOT))
        return found or tuple(t for t, c in enumerate(pair.subclasses) if c == positions)
    for t in positions:
        if not 0 <= t < pair.n_tokens or pair.classes[t] == SHOT:
            raise BadOption(
                f"Expected token indices of the query, below {pair.n_tokens}, found {quoted(t)}. "
                "Count from 0 over the whole prompt and leave exemplars out."
            )
    return tuple(sorted(set(positions)))


def mask(pairs: Sequence[PromptPair], positions: Positions, device: torch.device) -> Bool[Tensor, "pair pos"]:
    """True where `positions` touches a token, for pairs of equal length."""
    found = torch.zeros(len(pairs), pairs[0].n_tokens, dtype=torch.bool)
    for i, pair in enumerate(pairs):
        found[i, list(selected(pair, positions))] = True
    return found.to(device)


def first_difference(pair: PromptPair) -> int:
    """First token at which the two prompts differ, or their length: before it both runs have equal activations."""
    differing = (t for t, (a, b) in enumerate(zip(pair.clean_ids, pair.counterfactual_ids, strict=True)) if a != b)
    return next(differing, pair.n_tokens)


def groups_of(space: ComponentSpace) -> tuple[Positions, ...]:
    """What the components of a space touch: its position classes, or all positions in a space without classes."""
    return space.classes or (ALL,)
