"""One cell: localize on the discovery pairs, evaluate circuits of every size on the test pairs."""

import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from arithloc.benchmark import engine
from arithloc.benchmark.api import ArithlocError, BadScores, ComponentSpace, Problem, Scores
from arithloc.benchmark.api.errors import MethodCrashed, MethodError, quoted
from arithloc.benchmark.api.registry import methods, one_line
from arithloc.benchmark.engine.batching import is_out_of_memory
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.choices import instantiate
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.oracle import oracle_scores
from arithloc.benchmark.runner.pairs import PairSet
from arithloc.benchmark.runner.process_state import process_state_kept
from arithloc.benchmark.runner.refusal import CannotScore
from arithloc.benchmark.runner.scoring import score
from arithloc.benchmark.runner.seeds import seed_of
from arithloc.benchmark.runner.suites import ORACLE
from arithloc.benchmark.runner.truth import truth_for
from arithloc.benchmark.storage.records import CellResult


@dataclass(frozen=True)
class Localization:
    """What a method returned, and what it cost.

    Attributes:
        scores: checked component scores.
        seconds: wall time, device synchronised.
        forward_equivalents: work done through the engine.
        peak_device_bytes: memory beyond what was allocated before, 0 on a CPU.
    """

    scores: Scores
    seconds: float
    forward_equivalents: float
    peak_device_bytes: int


def run_cell(
    job: Job,
    model: SubjectModel,
    pairs: PairSet,
    intact: Callable[[SubjectModel], bool],
    phase: Callable[[str, int, int], None],
) -> CellResult:
    """Runs one cell.

    Args:
        job: the cell.
        model: loaded.
        pairs: both splits, filtered.
        intact: whether the model is unchanged.
        phase: told the progress.

    Raises:
        CannotScore: the model answers too few pairs, there are none, or removing everything changes nothing.
        MethodError: the method raised, or broke its contract.
    """
    check_pairs(job, pairs)
    space = ComponentSpace(job.granularity, model.shape)
    phase("localize", 0, 1)
    if job.method.name == ORACLE:
        localization = _timed(model, lambda: _oracle(job, model, pairs, space, phase))
    else:
        localization = localize(job, model, pairs, space, phase)
        if not intact(model):
            raise MethodError(
                f"Expected {job.method} to leave the model as it was, found changed weights, hooks or modes. "
                "Work on copies, and remove hooks before returning."
            )
    phase("score", 0, 1)
    started = time.perf_counter()
    truth = truth_for(job.model, space)  # read only now: no method has seen it
    scored = score(job, model, pairs, localization.scores, truth, lambda done, total: phase("score", done, total))
    _synchronise(model)
    discovery, evaluation = pairs.records()
    return CellResult(
        scores=scored.scores,
        curve=scored.curve,
        components=localization.scores.values,
        discovery=discovery,
        evaluation=evaluation,
        replicates=scored.replicates,
        pair_values=scored.pair_values if pairs.privacy is None else {},  # nothing of a single private pair is stored
        pair_clusters=tuple(pair.cluster for pair in pairs.evaluation) if pairs.privacy is None else (),
        roc=scored.roc,
        costs={
            "wall_localize_s": localization.seconds,
            "wall_score_s": time.perf_counter() - started,
            "forward_equivalents": localization.forward_equivalents,
            "peak_host_bytes": float(peak_host_bytes()),
            "peak_device_bytes": float(localization.peak_device_bytes),
        },
    )


def check_pairs(job: Job, pairs: PairSet) -> None:
    """Refuses a cell whose pairs cannot carry a score.

    Raises:
        CannotScore: as `run_cell`.
    """
    if pairs.too_few_correct and not job.force_incapable:
        raise CannotScore(
            "model-cannot",
            f"Expected {job.model} to answer at least {pairs.gate.share:.0%} of the prompts, found "
            f"{' and '.join(f'{share:.1%} of the {prompts}' for prompts, share in pairs.shares)}. "
            "Choose an easier task or another prompt form, or add --force-incapable.",
        )
    if not pairs.discovery or not pairs.evaluation:
        raise CannotScore(
            "no-pairs",
            f"Expected correctly answered pairs in both splits, found {len(pairs.discovery)} for discovery and "
            f"{len(pairs.evaluation)} for testing. Raise --limit, or choose an easier task.",
        )


def localize(
    job: Job, model: SubjectModel, pairs: PairSet, space: ComponentSpace, phase: Callable[[str, int, int], None]
) -> Localization:
    """Runs the method and checks what it returns.

    Raises:
        MethodError: it raised, or broke its contract.
    """
    seed = seed_of(job.key, "localize")
    problem = Problem(
        model=model,
        pairs=pairs.discovery,
        space=space,
        metric=job.metric,
        ablation=job.ablation,
        seed=seed,
        rng=np.random.default_rng(seed),
        progress=lambda done, total: phase("localize", done, total),
    )
    _, method = instantiate(methods, job.method)
    return _timed(model, lambda: checked(_call(method, problem, str(job.method)), space))


def checked(returned: Any, space: ComponentSpace) -> Scores:
    """The scores a method returned, checked against the space it was asked for.

    Raises:
        BadScores: not scores, of another space or shape, or not finite.
    """
    if not isinstance(returned, Scores):
        raise BadScores(
            f"Expected localize to return Scores, found {type(returned).__name__}. "
            "Return Scores.of(problem.space, values)."
        )
    if returned.space != space:
        raise BadScores(
            f"Expected scores of the {space.granularity} space of problem.space, found another space "
            f"({returned.space.granularity}, {len(returned.space)} components). Return Scores.of(problem.space, values)."
        )
    try:
        values = np.asarray(returned.values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadScores(
            f"Expected numbers as scores, found {quoted(returned.values)} ({one_line(error)}). "
            "Return one number per component of problem.space."
        ) from None
    return Scores.of(space, values)


def peak_host_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _timed(model: SubjectModel, work: Callable[[], Scores]) -> Localization:
    """Scores with what they cost."""
    before = _device_bytes(model)
    _synchronise(model)
    started = time.perf_counter()
    with engine.Meter() as meter:
        scores = work()
    _synchronise(model)
    seconds = time.perf_counter() - started
    peak = max(0, torch.cuda.max_memory_allocated(model.device) - before) if model.device.type == "cuda" else 0
    return Localization(scores, seconds, meter.forward_equivalents, peak)


def _oracle(
    job: Job, model: SubjectModel, pairs: PairSet, space: ComponentSpace, phase: Callable[[str, int, int], None]
) -> Scores:
    truth = truth_for(job.model, space)
    return oracle_scores(job, model, pairs, space, truth, lambda done, total: phase("localize", done, total))


def _call(method: Any, problem: Problem, name: str) -> Any:
    # a careless method draws from global generators; its scores must depend on the cell alone all the same
    random.seed(problem.seed)
    np.random.seed(problem.seed)
    torch.manual_seed(problem.seed)
    try:
        with process_state_kept():
            return method.localize(problem)
    except ArithlocError:
        raise
    except BaseException as error:  # a stranger's code may raise anything, SystemExit too; it costs this cell only
        if is_out_of_memory(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise MethodCrashed(
            f"{name} raised {one_line(error)} ({place.filename.rpartition('/')[2]}, line {place.lineno})."
        ) from error


def _synchronise(model: SubjectModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def _device_bytes(model: SubjectModel) -> int:
    if model.device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(model.device)
    return int(torch.cuda.memory_allocated(model.device))
