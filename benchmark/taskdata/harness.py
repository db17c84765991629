"""Runs lm-eval on documents of prompt pairs, and says how accurate the model was."""

import copy
import io
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import lm_eval
import numpy as np
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from arithloc.benchmark import engine
from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.errors import TooFewPairs
from arithloc.benchmark.engine.batching import estimated_tokens
from arithloc.benchmark.metrics.proportion import wilson
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.workbench import model_record
from arithloc.benchmark.storage.accuracy import AccuracyRecord, CircuitRecord, DataRecord, Proportion
from arithloc.benchmark.taskdata.circuit_lm import Circuit, CircuitLM
from arithloc.benchmark.taskdata.documents import SETTINGS, TASK_PREFIX, dataset_of, documents
from arithloc.benchmark.taskdata.drawing import Draw

PRIVATE: Final = "private"
"""Stored name of the part that a private draw is."""
_MOST: Final = 64
"""Most prompts of one batch."""
_LOGITS: Final = 2**27
"""Most logits of one batch: lm-eval holds those of all positions."""


@dataclass(frozen=True)
class Setup:
    """What of the model runs.

    Attributes:
        circuit: the circuit; None for the whole model.
        record: where it comes from.
        reference: pairs that its ablation takes values from.
    """

    circuit: Circuit
    record: CircuitRecord
    reference: tuple[PromptPair, ...]


def measure(model: SubjectModel, dtype: str, drawn: Draw, setup: Setup | None, progress: Progress) -> AccuracyRecord:
    """Accuracy of a model, or of its circuit, on drawn pairs.

    Args:
        model: the subject model.
        dtype: its floating-point type, as named by the user.
        drawn: the pairs.
        setup: a circuit, or None for the whole model.
        progress: called with (done, total) where a circuit is run.

    Raises:
        TokenizerMismatch: no pair can be written as text.
        TooFewPairs: no pairs were drawn.
    """
    if not drawn.pairs:
        raise TooFewPairs(f"Expected pairs of {drawn.reference}, found none. Ask for more, or choose another split.")
    written = documents(drawn.pairs, model.tokenizer)
    if setup is None:
        lm: LM = _whole(model, drawn.pairs)
        by_index = {pair.index: pair for pair in drawn.pairs}
        leading = engine.read(model, [by_index[row["index"]] for row in written.rows]).metric("accuracy").tolist()
    else:
        lm = CircuitLM(model, drawn.pairs, setup.circuit, setup.reference, progress)
        leading = lm.leading(written.rows)
    samples = evaluate(lm, drawn.task.name, written.rows)
    clusters = [row["cluster"] for row in written.rows]
    privacy = drawn.privacy
    return AccuracyRecord(
        model=model_record(model),
        task=drawn.task,
        data=DataRecord(
            data_hash=drawn.data_hash,
            split=PRIVATE if privacy else drawn.split.value,
            seed=drawn.seed,
            requested=drawn.requested,
            n_pairs=len(written.rows),
            n_clusters=len(set(clusters)),
            n_left_out=written.left_out,
            private_commitment=privacy.commitment if privacy else "",
            public_share=privacy.public_share if privacy else None,
        ),
        dtype=dtype,
        circuit=setup.record if setup else None,
        acc=proportion([float(sample["acc"]) for sample in samples], clusters),
        top=proportion(leading, clusters),
        exact_match=proportion([float(sample["exact_match"]) for sample in samples], clusters),
        lm_eval_version=version("lm_eval"),
        engine_version=engine.ENGINE_VERSION,
        device=str(model.device),
    )


def evaluate(lm: LM, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Runs lm-eval on documents; returns what it found for each, in their order.

    Args:
        lm: the model, in lm-eval's terms.
        name: of the task.
        rows: as from `documents`.
    """
    task = TASK_PREFIX + name.replace("-", "_").replace("/", "_")
    settings = {**SETTINGS, "metric_list": [dict(metric) for metric in SETTINGS["metric_list"]]}
    config = {"task": task, **settings, "custom_dataset": lambda **_: dataset_of(rows)}
    with _quiet():
        loaded = TaskManager(include_defaults=False).load([config])
        results: Any = lm_eval.evaluate(lm=lm, task_dict=loaded, bootstrap_iters=0)
    return sorted(results["samples"][task], key=lambda sample: int(sample["doc_id"]))


def proportion(values: Sequence[float], clusters: Sequence[str]) -> Proportion:
    """Share of right answers; its interval counts each cluster once (see `wilson`)."""
    share = float(np.mean(values))
    return Proportion(share, *wilson(share, len(set(clusters))))


def _whole(model: SubjectModel, pairs: Sequence[PromptPair]) -> LM:
    """lm-eval's own Hugging Face model around the loaded one: `lm_eval --model hf` does the same."""
    longest = max(pair.n_tokens for pair in pairs)
    fitting = min(estimated_tokens(model) // longest, _LOGITS // (longest * model.shape.vocab))
    with _quiet():
        # a copy, because lm-eval gives the tokenizer a padding token
        return HFLM(
            pretrained=model.module,
            tokenizer=copy.deepcopy(model.tokenizer),
            backend="causal",
            batch_size=max(1, min(_MOST, fitting)),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the notes of lm-eval inside, and its bars where nobody watches them; errors are raised all the same."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
