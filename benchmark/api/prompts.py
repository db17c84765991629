"""Prompt pairs: a clean prompt and its counterfactual, aligned token by token."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from arithloc.benchmark.api.vocabulary import Split

SHOT = "shot"
"""Position class of exemplars and of everything in front of the query that no intervention may touch."""

OPERAND = "operand"
"""Beginning of the position classes of operands."""


@dataclass(frozen=True, slots=True)
class PromptPair:
    """A clean prompt (answer a) and a counterfactual prompt (answer a'), of equal token length.

    The scored position is the last token of both: teacher-forced answer tokens up to the first difference are part of
    `clean_ids` and `counterfactual_ids`.

    Attributes:
        task: name of the task family.
        frame: template id.
        operator: `add`, `sub`, ...
        kind: how the counterfactual differs (`operands`, `operator_null`, ...).
        clean: text of the clean prompt, without teacher-forced answer tokens.
        counterfactual: text of the counterfactual prompt.
        clean_ids: token ids of the clean run, special tokens and teacher-forced answer tokens included.
        counterfactual_ids: the same for the counterfactual run; same length.
        classes: position class of each token, valid for both prompts; the last one is `last`, or the toy's own class.
        answer: answer to the clean prompt.
        answer_cf: answer to the counterfactual prompt, or a foil where none exists.
        answer_ids: token ids of the whole answer.
        answer_cf_ids: token ids of the whole counterfactual answer.
        first_diff: index of the scored answer token: the first at which the two answers differ, or a later one; then each
            prompt has its own answer tokens in front of it.
        candidates: token ids among which restricted accuracy is measured; contains both scored tokens.
        strata: tags such as ("carries", "1,0"), sorted by tag.
        cluster: canonical operand pair or entity; unit of the bootstrap and of the split.
        split: part of the task.
        index: position in the split, from 0.
        answer_cf_is_foil: `answer_cf` is another item's result because the counterfactual has no answer.
    """

    task: str
    frame: str
    operator: str
    kind: str
    clean: str
    counterfactual: str
    clean_ids: tuple[int, ...]
    counterfactual_ids: tuple[int, ...]
    classes: tuple[str, ...]
    answer: str
    answer_cf: str
    answer_ids: tuple[int, ...]
    answer_cf_ids: tuple[int, ...]
    first_diff: int
    candidates: tuple[int, ...]
    strata: tuple[tuple[str, str], ...]
    cluster: str
    split: Split
    index: int
    answer_cf_is_foil: bool = False

    @property
    def answer_token(self) -> int:
        """Scored token of the clean answer."""
        return self.answer_ids[self.first_diff]

    @property
    def foil_token(self) -> int:
        """Scored token of the counterfactual answer, or of the foil."""
        return self.answer_cf_ids[self.first_diff]

    @property
    def subclasses(self) -> tuple[str, ...]:
        """Sub-class of each token: `operand1_last` on the last token of operand 1, and so on; else empty.

        A number of one token is its own last one, so that the sub-class means the same for every tokenizer.
        """
        following = (*self.classes[1:], "")
        return tuple(
            f"{cls}_last" if cls.startswith(OPERAND) and cls != after else ""
            for cls, after in zip(self.classes, following, strict=True)
        )

    @property
    def n_tokens(self) -> int:
        """Length of both prompts in tokens; the last one is the scored position."""
        return len(self.clean_ids)


def data_hash(pairs: Iterable[PromptPair]) -> str:
    """SHA-256 of the canonical JSON lines of a split: part of every cell's key."""
    digest = hashlib.sha256()
    for pair in pairs:
        line = json.dumps(dataclasses.asdict(pair), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
