"""Prompt pairs as documents of an lm-eval multiple-choice task: a prompt, and every candidate token as a choice.

lm-eval sees text, not tokens: it encodes prompt and choice together and takes what comes after the prompt's own tokens
as the continuation. So each document is checked to give the tokens of its pair back; a candidate whose text merges with
the prompt is left out of the choices, and a pair whose answer or foil cannot be written as text is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arithloc.benchmark.api import PromptPair, Split
from arithloc.benchmark.api.errors import TokenizerMismatch, UsageError, quoted
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.private_pairs import PUBLIC_SEED
from arithloc.benchmark.taskdata.drawing import draw
from arithloc.benchmark.taskdata.hub import datasets_library

DOCUMENTS: Final = 200
"""Pairs of an accuracy measurement that asks for no other number."""
EXAMPLES: Final = "test"
"""Name of the part of the dataset that lm-eval evaluates; whatever part of the task was drawn."""
TASK_PREFIX: Final = "arithloc_"
SETTINGS: Final[Mapping[str, Any]] = {
    "output_type": "multiple_choice",
    "test_split": EXAMPLES,
    "doc_to_text": "prompt",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "target_delimiter": "",
    "num_fewshot": 0,
    "metric_list": (
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True},
    ),
}
"""lm-eval configuration that all tasks share; the files in tasks/lm_eval hold the same."""
_TAIL: Final = 4
"""Tokens in front of a candidate that decide how it is written."""


@dataclass(frozen=True)
class Documents:
    """Documents of some pairs.

    Attributes:
        rows: one per pair that can be written as text: `index` (of the pair), `prompt`, `choices`, `choice_ids`, `gold`
            and `foil` (places in the choices), `n_scored` (tokens that lm-eval scores: the candidate, and the white
            space in front of it where that is a token of its own), `answer`, `answer_cf`, `cluster`, `frame`,
            `operator`, `kind`.
        left_out: pairs that cannot.
    """

    rows: tuple[dict[str, Any], ...]
    left_out: int


def documents(pairs: Sequence[PromptPair], tokenizer: Any) -> Documents:
    """Writes pairs as documents.

    Raises:
        TokenizerMismatch: none of them gives its tokens back, or lm-eval cannot use the tokenizer.
    """
    writer = _Writer(tokenizer)
    rows = [row for pair in pairs if (row := writer.row(pair)) is not None]
    if pairs and not rows:
        raise TokenizerMismatch(
            f"Expected prompts of {pairs[0].task} that lm-eval can encode as text, found that the tokenizer does not give "
            "the tokens of any pair back. Use another frame, or bos=tokenizer for a tokenizer that adds its own token."
        )
    return Documents(tuple(rows), len(pairs) - len(rows))


def build(
    *,
    task: str,
    n: int = DOCUMENTS,
    split: str = Split.TEST.value,
    seed: int = PUBLIC_SEED,
    options: str = "",
    tokenizer: str = "",
    pretrained: str = "",
    revision: str = "",
    **_: Any,
) -> dict[str, Any]:
    """Data of an lm-eval task: what the files in tasks/lm_eval name as `custom_dataset`.

    lm-eval calls it with the model's arguments (`--model_args pretrained=...`) and with `--metadata`.

    Args:
        task: name of the task.
        n: pairs to draw; fewer where the task has no more.
        split: `discovery`, `validation` or `test`.
        seed: sampling seed.
        options: options of the task as in brackets on the command line of `bench`, `shots=1,digits=d2`.
        tokenizer: model name, folder or hub id of the tokenizer; that of the model where empty.
        pretrained: the model, likewise.
        revision: of the model on the hub.

    Raises:
        UsageError: neither tokenizer nor model is named, or an unknown name.
        TaskError: the tokenizer cannot express the task.
    """
    from arithloc.benchmark.models import load_tokenizer

    named = tokenizer or pretrained
    if not named:
        raise UsageError(
            f"Expected the model's tokenizer for the pairs of {quoted(task)}, found none named. Add pretrained=MODEL to "
            "--model_args or tokenizer=MODEL to --metadata."
        )
    at = f"@{revision}" if revision and revision != "main" and not tokenizer else ""
    loaded, _hash = load_tokenizer(named + at)
    reference = Reference.parse(f"{task}[{options}]" if options else task)
    return dataset_of(documents(draw(reference, loaded, Split(split), int(n), int(seed)).pairs, loaded).rows)


def dataset_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as the dataset that lm-eval expects."""
    return {EXAMPLES: datasets_library().Dataset.from_list([dict(row) for row in rows])}


class _Writer:
    """Writes pairs as text for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        front = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if front is None:
            raise TokenizerMismatch(
                "Expected a tokenizer with a beginning- or end-of-text token, which lm-eval needs, found neither. "
                "Save the tokenizer with an eos_token."
            )
        self._front = self._text([front])
        self._special = frozenset(tokenizer.all_special_ids)
        self._suffixes: dict[tuple[tuple[int, ...], int], str] = {}
        self._written: dict[tuple[int, ...], tuple[str, int] | None] = {}

    def row(self, pair: PromptPair) -> dict[str, Any] | None:
        """The document of a pair, None where its tokens do not come back."""
        context = self._context(pair.clean_ids)
        if context is None:
            return None
        prompt, n_own = context
        texts = [self._suffix(pair.clean_ids, token) for token in pair.candidates]
        encoded = self._encode([prompt + text for text in texts])
        good = [
            (token, text)
            for token, text, ids in zip(pair.candidates, texts, encoded, strict=True)
            if text and ids == [*pair.clean_ids, token]
        ]
        tokens = [token for token, _ in good]
        if pair.answer_token not in tokens or pair.foil_token not in tokens:
            return None
        return {
            "index": pair.index,
            "prompt": prompt,
            "choices": [text for _, text in good],
            "choice_ids": tokens,
            "gold": tokens.index(pair.answer_token),
            "foil": tokens.index(pair.foil_token),
            "n_scored": pair.n_tokens + 1 - n_own,
            "answer": pair.answer,
            "answer_cf": pair.answer_cf,
            "cluster": pair.cluster,
            "frame": pair.frame,
            "operator": pair.operator,
            "kind": pair.kind,
        }

    def _context(self, ids: tuple[int, ...]) -> tuple[str, int] | None:
        """Text that encodes to `ids`, and how many of them lie in front of the white space at its end."""
        if ids not in self._written:
            self._written[ids] = self._found_context(ids)
        return self._written[ids]

    def _found_context(self, ids: tuple[int, ...]) -> tuple[str, int] | None:
        start = next((i for i, token in enumerate(ids) if token not in self._special), len(ids))
        for text in dict.fromkeys((self._text(ids[start:]), self._text(ids))):  # the tokenizer may add the front itself
            if not text.strip():
                continue
            own, whole = self._encode([text.rstrip(), text])
            if whole == list(ids) and whole[: len(own)] == own:
                return text, len(own)
        return None

    def _suffix(self, ids: tuple[int, ...], token: int) -> str:
        """What a token adds to the text."""
        tail = ids[-_TAIL:]
        if (tail, token) not in self._suffixes:
            self._suffixes[tail, token] = self._text([*tail, token]).removeprefix(self._text(tail))
        return self._suffixes[tail, token]

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _encode(self, texts: list[str]) -> list[list[int]]:
        """Tokens as lm-eval's Hugging Face model encodes texts that begin alike.

        That is with the special tokens that the tokenizer adds, unless the text begins with one.
        """
        own = texts[0].startswith(self._front)
        found: list[list[int]] = self.tokenizer(texts, **({"add_special_tokens": False} if own else {}))["input_ids"]
        return found
