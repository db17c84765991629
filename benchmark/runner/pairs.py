"""The pairs of a cell, and the filter on those that the model answers correctly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import ArithlocError, Gate, Progress, PromptPair, Split, data_hash
from arithloc.benchmark.api.errors import TaskError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import one_line, tasks
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.choices import choose_task, instantiate
from arithloc.benchmark.runner.discovery import for_split
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.private_pairs import PUBLIC_SEED, PairsOf, Privacy, private_pairs
from arithloc.benchmark.storage.records import DatasetRecord

USUAL: Final = Gate()
"""What a task asks of a model where it says nothing else."""


@dataclass(frozen=True)
class PairSet:
    """Both splits of a task for one model.

    Attributes:
        discovery: pairs for the method.
        evaluation: pairs for the scores.
        discovery_hash: `data_hash` of the discovery pairs as drawn.
        evaluation_hash: `data_hash` of the test pairs as drawn.
        discovery_requested: pairs asked for.
        evaluation_requested: pairs asked for.
        discovery_kept: share of the drawn discovery pairs that the model answers correctly, None where not asked.
        evaluation_kept: the same of the test pairs.
        discovery_drawn: pairs and clusters drawn, before the filter; None without filter.
        evaluation_drawn: the same of the test pairs.
        shares: kinds of prompts that the model was asked to answer, and the share of each that it does; empty without
            filter.
        gate: the least share.
        privacy: how test pairs that were drawn with a secret seed relate to the public splits; None for public ones.
    """

    discovery: tuple[PromptPair, ...]
    evaluation: tuple[PromptPair, ...]
    discovery_hash: str
    evaluation_hash: str
    discovery_requested: int
    evaluation_requested: int
    discovery_kept: float | None = None
    evaluation_kept: float | None = None
    discovery_drawn: tuple[PromptPair, ...] | None = None
    evaluation_drawn: tuple[PromptPair, ...] | None = None
    shares: tuple[tuple[str, float], ...] = ()
    gate: Gate = USUAL
    privacy: Privacy | None = None

    @property
    def kept(self) -> float | None:
        """Share of all drawn pairs that the model answers correctly."""
        if self.discovery_drawn is None or self.evaluation_drawn is None:
            return None
        return (len(self.discovery) + len(self.evaluation)) / (len(self.discovery_drawn) + len(self.evaluation_drawn))

    @property
    def too_few_correct(self) -> bool:
        """Whether the model answers fewer prompts than its circuit is worth asking for."""
        return any(share < self.gate.share for _, share in self.shares)

    def records(self) -> tuple[DatasetRecord, DatasetRecord]:
        """Discovery and evaluation data as they are stored; counts are those of the drawn pairs."""
        return (
            _record(
                self.discovery_drawn or self.discovery,
                self.discovery_hash,
                self.discovery_requested,
                self.discovery_kept,
                "discovery",
            ),
            _record(
                self.evaluation_drawn or self.evaluation,
                self.evaluation_hash,
                self.evaluation_requested,
                self.evaluation_kept,
                "test" if self.privacy is None else "private",
            ),
        )


def draw_pairs(
    model: SubjectModel, reference: Reference, n_discovery: int, n_evaluation: int, secret: PrivateSeed | None
) -> PairSet:
    """Draws both splits of a task for a model, the test pairs with a secret seed where there is one.

    Raises:
        TaskError: the tokenizer cannot express the task, or the task itself failed.
    """
    on_discovery, on_test = (_drawer(model, for_split(reference, split)) for split in (Split.DISCOVERY, Split.TEST))
    discovery = tuple(on_discovery(Split.DISCOVERY, n_discovery, PUBLIC_SEED))
    privacy = None
    if secret is None:
        evaluation = tuple(on_test(Split.TEST, n_evaluation, PUBLIC_SEED))
    else:
        record = choose_task(for_split(reference, Split.TEST)).record
        evaluation, privacy = private_pairs(on_test, record, model.identity.tokenizer_hash, n_evaluation, secret)
    hashes = (data_hash(discovery), data_hash(evaluation))
    return PairSet(discovery, evaluation, *hashes, n_discovery, n_evaluation, privacy=privacy)


def _drawer(model: SubjectModel, reference: Reference) -> PairsOf:
    """Draws pairs of one task for a model's tokenizer."""
    plugin, task = instantiate(tasks, reference)

    def pairs_of(split: Split, n: int, seed: int) -> tuple[PromptPair, ...]:
        try:
            return tuple(task.pairs(model.tokenizer, split, n, seed))
        except ArithlocError:
            raise
        except Exception as error:  # a stranger's task may raise anything
            raise TaskError(f"The task {plugin.name!r} raised {one_line(error)}. Repair the task.") from error

    return pairs_of


def answered(model: SubjectModel, pairs: PairSet, gate: Gate, progress: Progress) -> PairSet:
    """Keeps the pairs whose clean prompt the model answers: the answer token leads among the candidates.

    Measures beside it what the gate of the task asks of the model.
    """
    both = [*pairs.discovery, *pairs.evaluation]
    readings = engine.read(model, both, progress=progress)
    right = readings.metric("accuracy_candidates") > 0.5
    clean = readings.metric("accuracy") if gate.vocabulary else right
    shares = [("clean prompts", float(clean.mean()))]
    if gate.counterfactual:
        found = engine.read(model, both, "counterfactual", progress=progress)
        said = found.top if gate.vocabulary else found.top_candidate
        meant = np.array([pair.answer_token if pair.answer_cf_is_foil else pair.foil_token for pair in both])
        shares.append(("counterfactual prompts", float((said == meant).mean())))
    in_discovery, in_evaluation = np.split(right, [len(pairs.discovery)])
    return replace(
        pairs,
        discovery=_where(pairs.discovery, in_discovery),
        evaluation=_where(pairs.evaluation, in_evaluation),
        discovery_kept=float(in_discovery.mean()),
        evaluation_kept=float(in_evaluation.mean()),
        discovery_drawn=pairs.discovery,
        evaluation_drawn=pairs.evaluation,
        shares=tuple(shares),
        gate=gate,
    )


def answered_right(model: SubjectModel, pairs: Sequence[PromptPair], progress: Progress) -> Bool[ndarray, " pair"]:
    """Which clean prompts the model answers: the answer token leads among the pair's candidates."""
    return np.asarray(engine.read(model, pairs, progress=progress).metric("accuracy_candidates") > 0.5)


def _where(pairs: Sequence[PromptPair], mask: Bool[ndarray, " pair"]) -> tuple[PromptPair, ...]:
    return tuple(pair for pair, right in zip(pairs, mask, strict=True) if right)


def _record(
    drawn: Sequence[PromptPair], data_hash: str, requested: int, kept: float | None, split: str
) -> DatasetRecord:
    return DatasetRecord(
        data_hash=data_hash,
        split=split,
        n_pairs=len(drawn),
        n_clusters=len({pair.cluster for pair in drawn}),
        requested=requested,
        kept_fraction=kept,
    )
