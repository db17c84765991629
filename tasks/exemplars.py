"""Operand pairs of the solved questions in front of a prompt."""

import random
from collections.abc import Sequence
from functools import lru_cache

from arithloc.benchmark.api import Split, TooFewPairs
from arithloc.tasks.grid import Grid, Operands, Range
from arithloc.tasks.kinds import in_random_order, pool


@lru_cache(maxsize=256)
def exemplar_operands(grids: tuple[Grid, ...], k: int, split_seed: int) -> tuple[Operands, ...]:
    """`k` operand pairs of the discovery split, the same for every frame, split and sampling seed.

    They are kept out of the discovery pairs, so that no prompt contains its own solution. Results differ from each
    other where the grid allows.

    Args:
        grids: the grid of each operator that is shown on these operands (two for the kind `operator_swap`, whose
            results must then have equally many digits); the first one decides the order.
        k: how many.
        split_seed: decides splits, and the order.

    Raises:
        TooFewPairs: fewer than `k` such pairs, or no pair would be left for discovery.
    """
    candidates = [x for x in pool(grids[0], Split.DISCOVERY, split_seed).members if _equally_long(grids, x)]
    rng = random.Random(f"arithloc/exemplars/1/{split_seed}/{grids[0].operator}/{grids[0].range}")  # noqa: S311
    chosen: list[Operands] = []
    spare: list[Operands] = []
    for operands in in_random_order(candidates, rng):
        if len(chosen) == k:
            break
        if operands.key in {c.key for c in chosen}:
            continue
        fresh = grids[0].result(operands) not in {grids[0].result(c) for c in chosen}
        (chosen if fresh else spare).append(operands)
    chosen += [x for x in spare if x.key not in {c.key for c in chosen}][: k - len(chosen)]
    if len(chosen) < k or len({x.key for x in candidates}) <= k:
        raise TooFewPairs(
            f"Expected {k} exemplars besides the discovery pairs, found {len(candidates)} operand pairs of "
            f"{grids[0].operator} in {grids[0].range}. Use fewer shots or a larger range."
        )
    return tuple(chosen)


def _equally_long(grids: Sequence[Grid], operands: Operands) -> bool:
    results = [grid.result(operands) for grid in grids]
    if None in results:
        return False
    return any(grid.range is Range.WORDS for grid in grids) or len({len(str(result)) for result in results}) == 1
