"""The task contract: a generator of prompt pairs for a given tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from arithloc.benchmark.api.prompts import PromptPair
from arithloc.benchmark.api.study import MIN_CORRECT
from arithloc.benchmark.api.vocabulary import Split


@dataclass(frozen=True)
class Gate:
    """What a model must be able to do for its circuit to be worth asking for; else cells fail as `model-cannot`.

    Attributes:
        share: share of prompts that it must answer.
        counterfactual: so many of the counterfactual prompts too, whose answer is that of the pair, or the clean one where
            the pair has a foil.
        vocabulary: the answer must lead among all tokens, not only among the candidates.
    """

    share: float = MIN_CORRECT
    counterfactual: bool = False
    vocabulary: bool = False


@dataclass(frozen=True)
class TaskInfo:
    """What a task says about itself.

    Attributes:
        name: kebab-case public name.
        summary: one sentence.
        family: `arithmetic`, `toy`, `control`, ...
        version: raised when the pairs may change.
        control_for: name of the task this one is the matched control of.
        correct_only: score only pairs whose clean prompt the model answers correctly.
        gate: where `correct_only`, what is asked of the model before.
    """

    name: str
    summary: str
    family: str
    version: str = "1"
    control_for: str = ""
    correct_only: bool = True
    gate: Gate = Gate()


@runtime_checkable
class Task(Protocol):
    """A task family. Its dataclass fields are its options."""

    info: TaskInfo

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of one split, fewer only where the grid is smaller.

        Args:
            tokenizer: a fast Hugging Face tokenizer.
            split: which part; the same `seed` always puts an operand pair in the same part.
            n: how many.
            seed: sampling seed.

        Raises:
            TokenizerMismatch: the tokenizer cannot express the task; the message says why and what would work.
            TooFewPairs: no valid pair at all.
        """
        ...
