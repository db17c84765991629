"""A toy model read back from its folder, and batches of questions with everything that it computed on them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from safetensors.numpy import load_file

from arithloc.tasks.toy.arithmetic import Questions, token_ids
from arithloc.tasks.toy.formats import Format
from arithloc.tasks.toy.forward import Edits, Network, Trace
from arithloc.tasks.toy.partial import changed_logits

Scored = Float[ndarray, "batch answer vocab"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under audit.

    Attributes:
        network: its forward pass.
        form: format of its questions.
    """

    network: Network
    form: Format

    @classmethod
    def load(cls, folder: Path, dtype: Any = np.float64) -> "Subject":
        """Reads `model.safetensors`, `config.json` and `tokenizer_config.json`."""
        config, stated = (
            json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", "tokenizer_config.json")
        )
        form = Format(stated["n_digits"], stated["operators"], stated["bos"])
        return cls(Network(load_file(folder / "model.safetensors"), config, dtype), form)

    @property
    def nodes(self) -> list[str]:
        """Ids of all heads and MLPs."""
        layers, heads = range(self.network.n_layers), range(self.network.n_heads)
        return [name for layer in layers for name in (*(f"a{layer}.h{h}" for h in heads), f"m{layer}")]

    def scored(self, trace: Trace) -> Scored:
        """Logits at the positions that predict an answer token: `eq` first, units last."""
        return trace.logits[:, -len(self.form.scored) :]


@dataclass(frozen=True, eq=False)
class Batch:
    """Questions and an unedited run on them.

    Attributes:
        subject: the model.
        questions: what was asked.
        ids: input tokens, right answers teacher-forced.
        target: right answer tokens, sign first.
        trace: the run.
        predicted: answer tokens with the largest logits.
    """

    subject: Subject
    questions: Questions
    ids: Int[ndarray, "batch pos"]
    target: Int[ndarray, "batch answer"]
    trace: Trace
    predicted: Int[ndarray, "batch answer"]

    @classmethod
    def of(cls, subject: Subject, questions: Questions) -> "Batch":
        """Runs the model on questions."""
        tokens = token_ids(questions, subject.form)
        trace = subject.network.run(tokens[:, :-1])
        target = tokens[:, -len(subject.form.scored) :]
        return cls(subject, questions, tokens[:, :-1], target, trace, subject.scored(trace).argmax(axis=-1))

    def changed(self, edits: Edits) -> Float[ndarray, "batch changed vocab"]:
        """Logits of an edited run at the last scored positions, those that the edit can reach."""
        return changed_logits(self.subject.network, self.trace, edits, self.target.shape[1])

    def tokens(self, edits: Edits) -> Int[ndarray, "batch answer"]:
        """Predicted answer tokens of an edited run."""
        tokens = self.changed(edits).argmax(axis=-1)
        return np.concatenate([self.predicted[:, : -tokens.shape[1]], tokens], axis=1)

    def compare(self, edits: Edits) -> "Change":
        """What an edit changes."""
        logits = self.changed(edits)
        reached = logits.shape[1]
        flips = (logits.argmax(axis=-1) != self.predicted[:, -reached:]).any(axis=1)
        return Change(flips, float(np.abs(logits - self.trace.logits[:, -reached:]).max()))


@dataclass(frozen=True, eq=False)
class Change:
    """Effect of an edit on a batch: questions with another predicted token, and the largest change of a logit."""

    flips: Bool[ndarray, " batch"]
    dlogit: float


@dataclass
class Tally:
    """Effect of an edit, added up over batches."""

    flipped: int = 0
    total: int = 0
    dlogit: float = 0.0

    def add(self, change: Change) -> None:
        """Counts one batch."""
        self.flipped += int(change.flips.sum())
        self.total += len(change.flips)
        self.dlogit = max(self.dlogit, change.dlogit)

    @property
    def flip(self) -> float:
        """Share of questions with another predicted token."""
        return self.flipped / self.total if self.total else 0.0

    def as_dict(self) -> Mapping[str, float]:
        """`flip` and `dlogit`, rounded to what is worth reading."""
        return {"flip": round(self.flip, 6), "dlogit": round(self.dlogit, 6)}


def batches(subject: Subject, questions: Questions, size: int = 250) -> Iterator[Batch]:
    """Runs the model on questions, `size` at a time."""
    for start in range(0, len(questions), size):
        yield Batch.of(subject, questions[start : start + size])
