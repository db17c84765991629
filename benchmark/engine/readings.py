"""Readings: what the engine reports about the logits at the scored position."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.api.errors import BadOption, UnknownName, quoted

METRICS = (
    "logit_diff",
    "logprob",
    "logprob_diff",
    "prob",
    "accuracy",
    "accuracy_candidates",
    "kl",
    "agreement",
    "normalised_logit",
)
"""Names that `Readings.metric` knows; definitions in docs/scores.md."""

PAIR_METRICS = ("logit_diff", "logprob_diff")
"""Metrics that need the logits of the two scored tokens alone."""


@dataclass(frozen=True, eq=False)
class Readings:
    """The scored position of every row and pair. Logits are the model's own, uncentred.

    Attributes:
        answer, foil: logits of the scored answer token and of its counterfactual, float32 precision for models of
            at most that precision.
        logprob_answer, logprob_foil: the same after a log-softmax in float32 (float64 for float64 models), nats.
        top, top_logit: token with the largest logit, and that logit.
        top_candidate: the pair's candidate token with the largest logit.
        kl: KL(clean run || row), summed over the vocabulary, nats.
        answer_token: scored answer token of each pair.
        clean_top: `top` of the clean run.
    """

    answer: Float[ndarray, "*rows pair"]
    foil: Float[ndarray, "*rows pair"]
    logprob_answer: Float[ndarray, "*rows pair"]
    logprob_foil: Float[ndarray, "*rows pair"]
    top: Int[ndarray, "*rows pair"]
    top_logit: Float[ndarray, "*rows pair"]
    top_candidate: Int[ndarray, "*rows pair"]
    kl: Float[ndarray, "*rows pair"]
    answer_token: Int[ndarray, " pair"]
    clean_top: Int[ndarray, " pair"]

    def metric(self, name: str) -> Float[ndarray, "*rows pair"]:
        """Per-pair values of a metric.

        Raises:
            UnknownName: not one of `METRICS`.
            BadOption: the operation was asked for pair logits only, and the metric needs the whole vocabulary.
        """
        if name in METRICS and name not in PAIR_METRICS and bool(np.isnan(self.top_logit).any()):
            raise BadOption(
                f"Expected readings of the whole vocabulary for {quoted(name)}, found the two scored logits alone. "
                "Run the operation without pair_logits=True."
            )
        values: Float[ndarray, "*rows pair"]
        match name:
            case "logit_diff" | "logprob_diff":  # the log-normalisers cancel
                values = self.answer - self.foil
            case "logprob":
                values = self.logprob_answer
            case "prob":
                values = np.exp(self.logprob_answer)
            case "accuracy":
                values = (self.top == self.answer_token).astype(np.float64)
            case "accuracy_candidates":
                values = (self.top_candidate == self.answer_token).astype(np.float64)
            case "kl":
                values = self.kl
            case "agreement":
                values = (self.top == self.clean_top).astype(np.float64)
            case "normalised_logit":
                values = self.answer / self.top_logit
            case _:
                raise UnknownName.among("metric", name, METRICS)
        return values

    def __getitem__(self, row: int | slice) -> "Readings":
        """One row, or a range of rows."""
        rows = {f.name: getattr(self, f.name)[row] for f in fields(self) if f.name not in _PER_PAIR}
        return Readings(**rows, **{name: getattr(self, name) for name in _PER_PAIR})


_PER_PAIR = ("answer_token", "clean_top")


def as_logits(logits: Tensor) -> Tensor:
    """Logits in float32, or in float64 for a float64 model."""
    return logits if logits.dtype == torch.float64 else logits.float()


class Reducer:
    """Reduces logits of a batch of pairs to readings, one vocabulary-sized pass at a time.

    Args:
        pairs: the batch.
        clean_logits: logits of the clean run at the scored position, the reference of `kl`.

    Attributes:
        tokens: answer and foil of each pair, (pair, 1, 2).
        clean_top: prediction of the clean run.
    """

    def __init__(self, pairs: Sequence[PromptPair], clean_logits: Float[Tensor, "pair vocab"]) -> None:
        clean = as_logits(clean_logits)
        width = max(len(pair.candidates) for pair in pairs)
        # a short candidate list is filled with its own first token, which cannot change the argmax
        candidates = [list(p.candidates) + [p.candidates[0]] * (width - len(p.candidates)) for p in pairs]
        self.clean_top: Int[Tensor, " pair"] = clean.argmax(-1)
        self._clean = clean.unsqueeze(1)
        self._clean_lse = clean.logsumexp(-1, keepdim=True)
        self._clean_prob = (clean - self._clean_lse).exp().unsqueeze(1)
        self._candidates = torch.tensor(candidates, device=clean.device).unsqueeze(1)
        self.tokens = torch.tensor([[[p.answer_token, p.foil_token]] for p in pairs], device=clean.device)

    def __call__(self, logits: Float[Tensor, "pair row vocab"]) -> dict[str, Tensor]:
        """Readings by field name, each (row, pair)."""
        logits = as_logits(logits)
        rows = logits.shape[1]
        lse = logits.logsumexp(-1)
        top_logit, top = logits.max(-1)
        read = logits.gather(-1, self.tokens.expand(-1, rows, -1))
        candidates = self._candidates.expand(-1, rows, -1)
        best = logits.gather(-1, candidates).argmax(-1, keepdim=True)
        # KL(P || Q) = lse_Q - lse_P - sum_v P(v) (z_Q(v) - z_P(v)): exactly 0 when the logits are the clean run's
        kl = lse - self._clean_lse - (logits - self._clean).mul_(self._clean_prob).sum(-1)
        values = {
            "answer": read[..., 0],
            "foil": read[..., 1],
            "logprob_answer": read[..., 0] - lse,
            "logprob_foil": read[..., 1] - lse,
            "top": top,
            "top_logit": top_logit,
            "top_candidate": candidates.gather(-1, best).squeeze(-1),
            "kl": kl,
        }
        return {name: value.T for name, value in values.items()}


class ReadingsBuilder:
    """Collects readings batch by batch; what is asked for and was never put in stays NaN or -1."""

    def __init__(self, rows: tuple[int, ...], pairs: Sequence[PromptPair]) -> None:
        shape = (*rows, len(pairs))
        self._values = {
            f.name: np.full(shape, -1, dtype=np.int64)
            if f.name.startswith("top") and f.name != "top_logit"
            else np.full(shape, np.nan)
            for f in fields(Readings)
            if f.name not in _PER_PAIR
        }
        self._answer_token = np.array([pair.answer_token for pair in pairs], dtype=np.int64)
        self._clean_top = np.full(len(pairs), -1, dtype=np.int64)

    def clean_top(self, pairs: Sequence[int], top: Int[Tensor, " pair"]) -> None:
        """Stores the clean run's prediction of some pairs."""
        self._clean_top[list(pairs)] = top.cpu().numpy()

    def put(self, values: dict[str, Tensor], pairs: Sequence[int], rows: Sequence[int] | None = None) -> None:
        """Stores what a `Reducer` returned, for pairs `pairs` and rows `rows` (None where there is no row axis)."""
        for name, value in values.items():
            target, found = self._values[name], value.cpu().numpy()
            if rows is None:
                target[list(pairs)] = found[0]
            else:
                target[np.ix_(list(rows), list(pairs))] = found

    def build(self) -> Readings:
        """The finished readings."""
        return Readings(**self._values, answer_token=self._answer_token, clean_top=self._clean_top)
