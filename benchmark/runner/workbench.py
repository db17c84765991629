"""What a worker keeps between jobs: the loaded model and its pairs. Answers surveys and runs jobs."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from arithloc.benchmark import engine, models
from arithloc.benchmark.api import ArithlocError, Split
from arithloc.benchmark.api.edges import total_weight
from arithloc.benchmark.api.errors import OutOfMemory, PrerequisiteError, TaskError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import one_line, tasks
from arithloc.benchmark.engine.batching import is_out_of_memory, release_memory
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.cell import run_cell
from arithloc.benchmark.runner.choices import instantiate
from arithloc.benchmark.runner.discovery import for_split
from arithloc.benchmark.runner.integrity import Fingerprint
from arithloc.benchmark.runner.job import Job, SurveyRequest
from arithloc.benchmark.runner.outcome import Failure
from arithloc.benchmark.runner.pairs import PairSet, answered, draw_pairs
from arithloc.benchmark.runner.private import VARIABLE, PrivateSeed
from arithloc.benchmark.runner.refusal import CannotScore
from arithloc.benchmark.runner.survey import DataSurvey, Refused, Survey
from arithloc.benchmark.runner.truth import truth_document
from arithloc.benchmark.storage.records import CellResult, ModelRecord

Phase = Callable[[str, int, int], None]
"""Called with a phase (`load`, `pairs`, `localize`, `score`), steps done and steps in all."""


@dataclass
class Workbench:
    """One device with at most one model on it.

    Attributes:
        device: `auto` for an accelerator where there is one, else a torch device.
        private_seed: secret that private test pairs are drawn with, where there are some.
    """

    device: str
    private_seed: PrivateSeed | None = None
    _model: SubjectModel | None = field(default=None, init=False)
    _loaded: tuple[str, str] = field(default=("", ""), init=False)
    _fingerprint: Fingerprint | None = field(default=None, init=False)
    _pairs: dict[tuple[Any, ...], PairSet] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def survey(self, request: SurveyRequest) -> Survey:
        """Describes a model and the pairs of each task for it.

        Raises:
            ArithlocError: the model cannot be used.
        """
        model = self._load(request.model, request.dtype)
        data: dict[str, DataSurvey | Refused] = {}
        for reference in request.tasks:
            try:
                found = self._pair_set(
                    model, reference, request.n_discovery, request.n_evaluation, request.private_commitment
                )
            except TaskError as error:
                data[str(reference)] = Refused(type(error).__name__, str(error))
            else:
                data[str(reference)] = DataSurvey(
                    discovery_hash=found.discovery_hash,
                    evaluation_hash=found.evaluation_hash,
                    n_discovery=len(found.discovery),
                    n_evaluation=len(found.evaluation),
                )
        return Survey(
            model=model_record(model),
            attention=str(getattr(model.module.config, "_attn_implementation", "")),
            engine_version=engine.ENGINE_VERSION,
            has_truth=truth_document(request.model) is not None,
            data=data,
        )

    def run(self, job: Job, phase: Phase) -> CellResult | Failure:
        """Runs one cell; whatever goes wrong in it comes back as a failure."""
        try:
            model, pairs = self.prepare(job, phase)
            return run_cell(job, model, pairs, self._intact, phase)
        except CannotScore as reason:
            return Failure.of(reason.name, str(reason))
        except ArithlocError as error:
            return Failure.of(type(error).__name__, str(error), traceback.format_exc())
        except Exception as error:  # nothing that happens in one cell may end the worker
            if is_out_of_memory(error):
                release_memory()
                return Failure.of(OutOfMemory.__name__, f"Memory ran out: {one_line(error)}. Use a smaller --limit.")
            return Failure.of(type(error).__name__, str(error) or "no message", traceback.format_exc())

    def prepare(self, job: Job, phase: Phase) -> tuple[SubjectModel, PairSet]:
        """The model of a cell and its pairs, filtered.

        Raises:
            ArithlocError: the model cannot be used, or the task gives other pairs than before.
        """
        phase("load", 0, 1)
        model = self._load(job.model, job.dtype)
        phase("pairs", 0, 1)
        effort = job.effort
        pairs = self._pair_set(model, job.task, effort.n_discovery, effort.n_evaluation, job.private_commitment)
        self._check_hashes(pairs, job)
        return model, self._correct(model, job, pairs, phase)

    def _load(self, reference: str, dtype: str) -> SubjectModel:
        if self._model is not None and self._loaded == (reference, dtype):
            return self._model
        self._model, self._fingerprint = None, None  # the old weights go before the new ones come
        self._pairs.clear()
        release_memory()
        self._model = models.load(reference, device=self.device, dtype=dtype)
        self._loaded = (reference, dtype)
        self._fingerprint = Fingerprint.of(self._model.module)
        return self._model

    def _intact(self, model: SubjectModel) -> bool:
        """Whether the model is as it was loaded; one that is not is dropped and loaded again for the next cell."""
        if self._fingerprint == Fingerprint.of(model.module):
            return True
        self._model, self._loaded = None, ("", "")
        return False

    def _pair_set(
        self, model: SubjectModel, reference: Reference, n_discovery: int, n_evaluation: int, commitment: str
    ) -> PairSet:
        key = (reference, n_discovery, n_evaluation, commitment)
        if key not in self._pairs:
            secret = self._secret_of(commitment) if commitment else None
            self._pairs[key] = draw_pairs(model, reference, n_discovery, n_evaluation, secret)
        return self._pairs[key]

    def _secret_of(self, commitment: str) -> PrivateSeed:
        if self.private_seed is None or self.private_seed.commitment != commitment:
            found = "none" if self.private_seed is None else f"that of {self.private_seed.commitment[:12]}..."
            raise PrerequisiteError(
                f"Expected the secret seed of the private test pairs (SHA-256 {commitment[:12]}...), found {found}. "
                f"Give it with --private-seed-file or in {VARIABLE}."
            )
        return self.private_seed

    def _check_hashes(self, pairs: PairSet, job: Job) -> None:
        if (pairs.discovery_hash, pairs.evaluation_hash) != (job.discovery_hash, job.evaluation_hash):
            raise TaskError(
                f"Expected the task {job.task} to give the same pairs twice for one seed, found two different splits. "
                "Draw only from the seed that `pairs` is given."
            )

    def _correct(self, model: SubjectModel, job: Job, pairs: PairSet, phase: Phase) -> PairSet:
        _, task = instantiate(tasks, for_split(job.task, Split.TEST))
        if not task.info.correct_only:
            return pairs
        key = (job.task, job.effort.n_discovery, job.effort.n_evaluation, job.private_commitment, "correct")
        if key not in self._pairs:
            self._pairs[key] = answered(model, pairs, task.info.gate, lambda done, total: phase("pairs", done, total))
        return self._pairs[key]


def model_record(model: SubjectModel) -> ModelRecord:
    """Identity of a loaded model as it is stored."""
    shape, identity = model.shape, model.identity
    return ModelRecord(
        name=model.name,
        revision=identity.revision,
        weights_hash=identity.weights_hash,
        config_hash=identity.config_hash,
        tokenizer_hash=identity.tokenizer_hash,
        family=identity.family,
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        n_kv_heads=shape.n_kv_heads,
        d_model=shape.d_model,
        d_mlp=shape.d_mlp,
        n_params=identity.n_params,
        n_edges=total_weight(shape),
        is_toy=identity.is_toy,
    )
