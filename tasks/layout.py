"""What stands around a question: beginning-of-text token, exemplars, chat template, and the space before the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from arithloc.benchmark.api import TokenizerMismatch
from arithloc.tasks.questions import Question, text_of

DOCUMENT_SEPARATOR = "<|endoftext|>"
_SENTINEL = "QUESTION-GOES-HERE"
_CHAT_DATE = "26 Jul 2024"  # some templates print the date: a fixed one keeps prompts reproducible


class Bos(StrEnum):
    """Whether a token stands in front of the prompt."""

    ALWAYS = "always"
    """The one that the tokenizer adds itself; else `<|endoftext|>`, which separates the documents that most such models
    were trained on; else its beginning- or end-of-text token."""
    TOKENIZER = "tokenizer"
    """Only if the tokenizer itself adds one."""
    NEVER = "never"
    """None."""


class Exemplar(NamedTuple):
    """A solved question."""

    question: Question
    answer: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Surroundings of every question of one frame and operator.

    Attributes:
        front: ids in front of the encoded text.
        prefix: text in front of the question; no intervention touches it.
        suffix: text between it and the reply; empty outside a chat.
        pad: a space at the end of the prompt, for tokenizers that make it a token of its own; or empty.
        separator: text between prompt and answer.
        chat: the question stands in a chat template, without lead and tail.
    """

    front: tuple[int, ...]
    prefix: str
    suffix: str
    pad: str
    separator: str
    chat: bool

    def prompt(self, question: Question) -> str:
        """Whole text of a prompt."""
        return self.prefix + asked(question, self.chat) + self.suffix + text_of(question.reply) + self.pad


def asked(question: Question, chat: bool) -> str:
    """Text of a question without its surroundings."""
    return question.body if chat else text_of(question.wrapped())


def lay_out(tokenizer: Any, probe: Question, exemplars: Sequence[Exemplar], chat: bool, bos: Bos) -> Layout:
    """The layout of `probe` and of every other question of its frame and operator.

    A tokenizer that makes the space before a number a token of its own gets that space as the end of the prompt, so
    that the scored token is a digit and not the space.

    Raises:
        TokenizerMismatch: no chat template, no token to put in front, or the prompt is not a prefix of prompt and
            answer in tokens.
    """
    if chat:
        prefix, suffix = _chat_surroundings(tokenizer, exemplars)
        front: tuple[int, ...] = ()
    else:
        question = asked(probe, False)
        ends_in_space = question.endswith(" ")  # as most released strings of three operands do: then there are two
        single = probe.frame.tight or (ends_in_space and not _continues(tokenizer, question, f" {probe.answer}"))
        gap = "" if single else " "
        prefix = "".join(f"{asked(e.question, False)}{gap}{e.answer}\n" for e in exemplars)
        suffix = ""
        front = front_ids(tokenizer, bos)
    layout = Layout(front, prefix, suffix, "", "", chat)
    prompt = layout.prompt(probe)
    if prompt.endswith(" ") and not chat:
        return Layout(front, prefix, suffix, "", gap, chat)
    if prompt[-1].isspace() or (probe.frame.tight and not chat):
        return layout
    prompt_ids = text_ids(tokenizer, prompt)
    whole = text_ids(tokenizer, f"{prompt} {probe.answer}")
    if whole[: len(prompt_ids)] != prompt_ids or len(whole) == len(prompt_ids):
        raise TokenizerMismatch(
            f"Expected the tokens of {prompt!r} to be a prefix of those of prompt and answer, found they are not. "
            "Use another frame or surface for this tokenizer."
        )
    if is_blank(tokenizer, whole[len(prompt_ids)]):
        return Layout(front, prefix, suffix, " ", "", chat)
    return Layout(front, prefix, suffix, "", " ", chat)


def _continues(tokenizer: Any, prompt: str, answer: str) -> bool:
    """Whether an answer leaves the tokens of the prompt as they are and begins with a token that can be seen."""
    ids, whole = text_ids(tokenizer, prompt), text_ids(tokenizer, prompt + answer)
    return whole[: len(ids)] == ids and len(whole) > len(ids) and not is_blank(tokenizer, whole[len(ids)])


def front_ids(tokenizer: Any, bos: Bos) -> tuple[int, ...]:
    """Ids that the policy puts in front of a prompt.

    Raises:
        TokenizerMismatch: `always`, and the tokenizer has neither a beginning- nor an end-of-text token.
    """
    if bos is Bos.NEVER:
        return ()
    with_special = list(tokenizer("1", add_special_tokens=True)["input_ids"])
    plain = text_ids(tokenizer, "1")
    added = tuple(with_special[: _find(with_special, plain)])
    if added or bos is Bos.TOKENIZER:
        return added
    separator = tokenizer.convert_tokens_to_ids(DOCUMENT_SEPARATOR)  # an unknown token's id where there is none
    if separator is not None and tokenizer.convert_ids_to_tokens(separator) != DOCUMENT_SEPARATOR:
        separator = None
    for token in (separator, tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return (int(token),)
    raise TokenizerMismatch(
        "Expected a beginning- or end-of-text token to put in front of the prompt, found neither. "
        "Use bos=never with a frame that does not begin with a number."
    )


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text without any special token added.

    Raises:
        TokenizerMismatch: as `tokenized`.
    """
    return list(tokenized(tokenizer, [text])["input_ids"][0])


def tokenized(tokenizer: Any, texts: Sequence[str], *, offsets: bool = False) -> Any:
    """What a tokenizer returns for texts without any special token added.

    Raises:
        TokenizerMismatch: it has no token for some character, and none for unknown text either.
    """
    try:
        return tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=offsets)
    except Exception as error:  # fast tokenizers raise plain Exceptions
        raise TokenizerMismatch(
            f"Expected a tokenizer that has tokens for texts like {texts[0]!r}, found one that has not ({error}). "
            "Use a task that is made for this model, or another model."
        ) from error


def is_blank(tokenizer: Any, token: int) -> bool:
    """Whether a token is nothing but white space."""
    return not tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False).strip()


def _chat_surroundings(tokenizer: Any, exemplars: Sequence[Exemplar]) -> tuple[str, str]:
    if not getattr(tokenizer, "chat_template", None):
        raise TokenizerMismatch(
            "Expected a tokenizer with a chat template for chat=true, found one without. Use chat=false."
        )
    messages = []
    for exemplar in exemplars:
        messages.append({"role": "user", "content": exemplar.question.body})
        reply = text_of(exemplar.question.reply)
        messages.append({"role": "assistant", "content": f"{reply} {exemplar.answer}" if reply else exemplar.answer})
    messages.append({"role": "user", "content": _SENTINEL})
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, date_string=_CHAT_DATE, enable_thinking=False
    )
    prefix, found, suffix = str(text).partition(_SENTINEL)
    if not found or _SENTINEL in suffix:
        raise TokenizerMismatch(
            "Expected the chat template to show the question once and unchanged, found it does not. Use chat=false."
        )
    return prefix, suffix


def _find(ids: list[int], part: list[int]) -> int:
    for start in range(len(ids) - len(part) + 1):
        if ids[start : start + len(part)] == part:
            return start
    return 0
