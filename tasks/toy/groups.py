"""Groups of components that are only understood together: a majority of copies, or a pair that cancels."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from arithloc.tasks.toy.labels import Edge
from arithloc.tasks.toy.measure import joint_edges, joint_effect, together
from arithloc.tasks.toy.subject import Batch

VISIBLE = 0.3
"""Share of answers that must flip when a group is disturbed."""


def spares(groups: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Sets of members that a circuit can lose: each single one of a majority, or none."""
    for group in groups:
        if group["meaning"] == "majority":
            return [[member] for member in group["members"]]
    return [[]]


def check(
    group: dict[str, Any], batches: Callable[[], Iterable[Batch]], rng: np.random.Generator
) -> tuple[bool, int, float | None, float | None]:
    """Checks a group.

    A majority of three: any two, with a source each, flip more than 30% of the answers. A cancelling pair: both from
    one source flip nothing, each alone more than 30%.

    Returns: passed, questions, smallest share that flips where it must, and the bound.
    """
    members = group["members"]
    if group["meaning"] == "majority":
        found = [joint_effect(batches(), [pair], 1, rng) for pair in combinations(members, group["quorum"])]
        least = min(tally.flip for tally in found)
        return least > VISIBLE, sum(tally.total for tally in found), least, VISIBLE
    both = together(batches(), members, rng)
    alone = [together(batches(), [member], rng) for member in members]
    least = min(tally.flip for tally in alone)
    return both.flipped == 0 and least > VISIBLE, both.total, least, VISIBLE


def hidden_edges(edges: Sequence[Edge], batches: Iterable[Batch], rng: np.random.Generator) -> int:
    """How many edges of a redundant group do not matter even when those of the same kind change together.

    Edges of one kind join the same other component (the members' readers, or their sources) at the same slot.
    """
    if not edges:
        return 0
    kinds: dict[tuple[str, str | None], list[Edge]] = {}
    for edge in edges:
        shared = edge.sender if edge.slot else edge.receiver
        kinds.setdefault((shared, edge.slot), []).append(edge)
    kept = list(batches)
    return sum(len(kind) for kind in kinds.values() if joint_edges(kept, kind, rng).flipped == 0)
