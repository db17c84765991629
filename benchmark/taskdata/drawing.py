"""Pairs of any registered task, public or private, with what is known of how they were drawn."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arithloc.benchmark.api import ArithlocError, PromptPair, Split, data_hash
from arithloc.benchmark.api.errors import TaskError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import one_line, tasks
from arithloc.benchmark.runner.choices import choose_task, instantiate
from arithloc.benchmark.runner.discovery import for_split
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.private_pairs import PUBLIC_SEED, Privacy, private_pairs
from arithloc.benchmark.storage.records import TaskRecord


@dataclass(frozen=True)
class Draw:
    """Pairs of one task for one tokenizer.

    Attributes:
        reference: the task as it was named.
        task: its identity.
        pairs: what was drawn.
        split: part of the task.
        requested: how many were asked for.
        seed: sampling seed; None for a private draw.
        privacy: for a private draw.
        rejected: candidates that each validity rule turned away, where the task reports them.
        reasons: what those rules say.
        correct_only: cells of this task score only the pairs that the model answers.
    """

    reference: Reference
    task: TaskRecord
    pairs: tuple[PromptPair, ...]
    split: Split
    requested: int
    seed: int | None
    privacy: Privacy | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    correct_only: bool = True

    @property
    def data_hash(self) -> str:
        """Hash of the pairs, as in the cells that use them."""
        return data_hash(self.pairs)

    @property
    def n_clusters(self) -> int:
        """Distinct operand pairs or entities."""
        return len({pair.cluster for pair in self.pairs})

    def about(self, tokenizer: str, tokenizer_hash: str) -> dict[str, Any]:
        """How the pairs were drawn, as JSON values, for a file that holds them. The secret seed is not in it."""
        return {
            "schema": 1,
            "task": self.task.name,
            "task_version": self.task.version,
            "distribution": self.task.distribution,
            "options": self.task.options,
            "tokenizer": tokenizer,
            "tokenizer_hash": tokenizer_hash,
            "split": self.split.value,
            "seed": self.seed,
            "requested": self.requested,
            "n_pairs": len(self.pairs),
            "n_clusters": self.n_clusters,
            "private": dataclasses.asdict(self.privacy) if self.privacy else None,
        }


def draw(reference: Reference, tokenizer: Any, split: Split, n: int, seed: int = PUBLIC_SEED) -> Draw:
    """Draws pairs of a task, the same ones as a cell of `bench evaluate` with these numbers.

    Raises:
        UsageError: no such task or option.
        TaskError: the tokenizer cannot express the task, or the task itself failed.
    """
    reference = for_split(reference, split)
    record = choose_task(reference).record
    plugin, task = instantiate(tasks, reference)
    found = _guarded(plugin.name, lambda: _Found.of(task, tokenizer, split, n, seed))
    return Draw(
        reference, record, found.pairs, split, n, seed,
        rejected=found.rejected, reasons=found.reasons, correct_only=task.info.correct_only,
    )  # fmt: skip


def draw_private(reference: Reference, tokenizer: Any, tokenizer_hash: str, n: int, secret: PrivateSeed) -> Draw:
    """Draws pairs of the test part with a secret sampling seed; see `private_pairs`.

    Raises:
        UsageError: no such task or option.
        TaskError: the tokenizer cannot express the task, or the task itself failed.
    """
    reference = for_split(reference, Split.TEST)
    record = choose_task(reference).record
    plugin, task = instantiate(tasks, reference)

    def pairs_of(split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        found: tuple[PromptPair, ...] = _guarded(plugin.name, lambda: tuple(task.pairs(tokenizer, split, n, seed)))
        return found

    pairs, privacy = private_pairs(pairs_of, record, tokenizer_hash, n, secret)
    return Draw(reference, record, pairs, Split.TEST, n, None, privacy, correct_only=task.info.correct_only)


@dataclass(frozen=True)
class _Found:
    """What a task gives: pairs, and where it has `draw` beside `pairs`, the candidates that its rules turned away."""

    pairs: tuple[PromptPair, ...]
    rejected: dict[str, int]
    reasons: dict[str, str]

    @classmethod
    def of(cls, task: Any, tokenizer: Any, split: Split, n: int, seed: int) -> "_Found":
        """Asks a task for pairs."""
        if not callable(getattr(task, "draw", None)):
            return cls(tuple(task.pairs(tokenizer, split, n, seed)), {}, {})
        found = task.draw(tokenizer, split, n, seed)
        rejected = {str(rule): int(count) for rule, count in getattr(found, "rejected", {}).items()}
        return cls(tuple(found.pairs), rejected, dict(getattr(found, "reasons", {})))


def _guarded(name: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ArithlocError:
        raise
    except Exception as error:  # a stranger's task may raise anything
        raise TaskError(f"The task {name!r} raised {one_line(error)}. Repair the task.") from error
