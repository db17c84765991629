"""Test pairs drawn with a secret seed, apart from those of the public splits."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from arithloc.benchmark.api import PromptPair, Split
from arithloc.benchmark.api.errors import TaskError
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.storage.records import TaskRecord

PUBLIC_SEED: Final = 0
"""Sampling seed of the public pairs; a cell's own seed is its method's, so that seeds share their data."""
ROOM: Final = 10
"""A task that can give this many times the private request does without the public operands."""
PUBLIC_PAIRS: Final = 1000
"""Size of the largest public split; its operands are kept out of private draws."""

PairsOf = Callable[[Split, int, int], Sequence[PromptPair]]
"""Pairs of a task for a tokenizer, by split, number and sampling seed."""


@dataclass(frozen=True)
class Privacy:
    """How a private draw relates to the public splits.

    Attributes:
        commitment: SHA-256 of the secret seed.
        removed: pairs left out because their operands are in a public split.
        public_share: share of the pairs whose operands are in one all the same.
    """

    commitment: str
    removed: int
    public_share: float


def private_pairs(
    pairs_of: PairsOf, record: TaskRecord, tokenizer_hash: str, n: int, secret: PrivateSeed
) -> tuple[tuple[PromptPair, ...], Privacy]:
    """Pairs of the test part, drawn with the seed that a secret gives for a task and a tokenizer.

    Where the task has at least `ROOM` times as many pairs as asked for, pairs whose operands are also in a public split
    are left out; otherwise, or if too few were left, their share is reported.

    Raises:
        TaskError: what the task raises for its test part.
    """
    wide = pairs_of(Split.TEST, ROOM * n, secret.of_task(record, tokenizer_hash))
    public = _public_clusters(pairs_of)
    fresh = [i for i, pair in enumerate(wide) if pair.cluster not in public][:n]
    separable = len(wide) >= ROOM * n and len(fresh) == n
    chosen = fresh if separable else list(range(min(n, len(wide))))
    pairs = tuple(dataclasses.replace(wide[place], index=i) for i, place in enumerate(chosen))
    share = sum(pair.cluster in public for pair in pairs) / max(1, len(pairs))
    passed_over = chosen[-1] + 1 - len(chosen) if chosen else 0
    return pairs, Privacy(secret.commitment, passed_over, share)


def _public_clusters(pairs_of: PairsOf) -> set[str]:
    found: set[str] = set()
    for split in Split:
        try:
            found |= {pair.cluster for pair in pairs_of(split, PUBLIC_PAIRS, PUBLIC_SEED)}
        except TaskError:  # a part of which the task has no pairs shares none with a private draw
            continue
    return found
