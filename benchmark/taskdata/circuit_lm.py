"""A circuit as a language model of lm-eval: the clean prompt's continuation with everything outside the circuit ablated.

lm-eval's own Hugging Face model cannot run it, because what replaces the removed components depends on the pair. This
one answers `loglikelihood` for documents of `documents.documents` alone, in lm-eval's terms: the continuation is the
white space that lm-eval takes from the end of the prompt, where that is a token of its own, and the candidate token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Progress, PromptPair
from arithloc.benchmark.models import SubjectModel


@dataclass(frozen=True, eq=False)
class Circuit:
    """A circuit as it is run.

    Attributes:
        space: the components.
        kept: which of them stay.
        ablation: what the others are replaced with.
    """

    space: ComponentSpace
    kept: Bool[ndarray, " comp"]
    ablation: Ablation


@dataclass(frozen=True, eq=False)
class _Answers:
    """What the circuit says about each pair.

    Attributes:
        logprob: of each choice, white space included, nats; short lists are filled with their last choice.
        top: the most likely token at the scored position.
        led: whether the white space in front of it is what greedy decoding writes.
    """

    logprob: Float[ndarray, "pair choice"]
    top: Int[ndarray, " pair"]
    led: Bool[ndarray, " pair"]


class CircuitLM(LM):  # type: ignore[misc, unused-ignore]
    """A circuit of a subject model.

    Args:
        model: the subject model.
        pairs: pairs by the `index` of their documents.
        circuit: what is kept.
        reference: pairs that `mean` is taken over and `resample` draws from.
        progress: called with (done, total).
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: Sequence[PromptPair],
        circuit: Circuit,
        reference: Sequence[PromptPair],
        progress: Progress,
    ) -> None:
        super().__init__()
        self._model, self._circuit, self._progress = model, circuit, progress
        self._pairs = {pair.index: pair for pair in pairs}
        self._reference = reference

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Log-probability of each choice, and whether greedy decoding writes it."""
        rows: dict[int, Any] = {request.doc["index"]: request.doc for request in requests}
        answers = self._answers(list(rows.values()))
        place = {index: i for i, index in enumerate(rows)}
        found = []
        for request in requests:
            i, choice = place[request.doc["index"]], request.idx
            greedy = bool(answers.led[i] and answers.top[i] == request.doc["choice_ids"][choice])
            found.append((float(answers.logprob[i, choice]), greedy))
        return found

    def leading(self, rows: Sequence[Any]) -> list[float]:
        """1 where the answer's token leads among all tokens at the scored position, else 0, for each document."""
        pairs = [self._pairs[row["index"]] for row in rows]
        return [float(right) for right in self._run(pairs, self._reference).metric("accuracy")[0]]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Not defined: a circuit is a circuit of prompt pairs."""
        raise NotImplementedError("a circuit answers the multiple-choice documents of its pairs alone")

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Not defined, as `loglikelihood_rolling`."""
        raise NotImplementedError("a circuit answers the multiple-choice documents of its pairs alone")

    def _answers(self, rows: Sequence[Any]) -> _Answers:
        pairs = [self._pairs[row["index"]] for row in rows]
        choices = [list(row["choice_ids"]) for row in rows]
        width = max(map(len, choices))
        width += width % 2  # two choices are read at once
        choices = [ids + [ids[-1]] * (width - len(ids)) for ids in choices]
        moved = [row["n_scored"] - 1 for row in rows]
        steps = width // 2 + max(moved)
        logprob = np.empty((len(rows), width))
        for step in range(width // 2):
            asked = [_asking(pair, ids[2 * step], ids[2 * step + 1]) for pair, ids in zip(pairs, choices, strict=True)]
            readings = self._run(asked, self._reference)
            logprob[:, 2 * step], logprob[:, 2 * step + 1] = readings.logprob_answer[0], readings.logprob_foil[0]
            self._progress(step + 1, steps)
        top = readings.top[0]
        led = np.ones(len(rows), dtype=np.bool_)
        for back in range(1, max(moved) + 1):
            some = [i for i, n in enumerate(moved) if n >= back]
            space = np.array([pairs[i].clean_ids[-back] for i in some])
            asked = [_asking(_cut(pairs[i], back), token, token) for i, token in zip(some, space.tolist(), strict=True)]
            readings = self._run(asked, [_cut(pair, back) for pair in self._reference])
            logprob[some] += readings.logprob_answer[0][:, None]
            led[some] &= readings.top[0] == space
            self._progress(width // 2 + back, steps)
        return _Answers(logprob, top, led)

    def _run(self, pairs: Sequence[PromptPair], reference: Sequence[PromptPair]) -> engine.Readings:
        circuit = self._circuit
        kept = circuit.kept[None, :]
        return engine.circuit_forward(
            self._model, pairs, circuit.space, kept, circuit.ablation, reference=reference, seed=0
        )


def _asking(pair: PromptPair, answer: int, foil: int) -> PromptPair:
    """The same prompts, with other scored tokens."""
    return replace(pair, answer_ids=(answer,), answer_cf_ids=(foil,), first_diff=0, candidates=(answer, foil))


def _cut(pair: PromptPair, n: int) -> PromptPair:
    """A pair without its last `n` tokens."""
    return replace(
        pair,
        clean_ids=pair.clean_ids[:-n],
        counterfactual_ids=pair.counterfactual_ids[:-n],
        classes=pair.classes[:-n],
    )
