"""Fast tokenizers that treat numbers and spaces as the well-known families do, built in code.

name       numbers                                         space before a number     front
gpt2       one token up to 361 after a space, 520 without   part of the number        nothing added, has one token
neox       one token up to 529 either way                   part of the number        nothing added, has one token
llama2     one token a digit, SentencePiece BPE             a piece of its own        <s> added
mistral    the same, space marker put by the pre-tokenizer  a piece of its own        <s> added
llama3     groups of three digits                           a token of its own        <|begin_of_text|> added
qwen       one token a digit                                a token of its own        nothing added, has one token
"""

import json
import re
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from arithloc.tasks.frames import FRAMES

NAMES = ("gpt2", "neox", "llama2", "mistral", "llama3", "qwen")

GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
MODERN_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = (
    "plus minus times over divided by divides mod sum of difference between product ratio remainder addition "
    "subtraction multiplication division modulo nothing none system user assistant first second larger smaller greater "
    "than Yes No true false multiply by zero one two three four five six seven eight nine ten eleven twelve thirteen "
    "fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
).split()
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


@cache
def build(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer called `name`."""
    match name:
        case "gpt2":
            return _byte_level(
                GPT2_SPLIT, [str(i) for i in range(521)] + [f" {i}" for i in range(362)], "<|endoftext|>"
            )
        case "neox":
            numbers = [space + str(i) for i in range(530) for space in ("", " ")]
            return _byte_level(GPT2_SPLIT, numbers, "<|endoftext|>")
        case "llama3":
            special = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
            numbers = [str(i) for i in range(1000)] + [f"{i:03d}" for i in range(100)] + [f"{i:02d}" for i in range(10)]
            return _byte_level(MODERN_SPLIT % 3, numbers, *special, add_bos=True, chat=HEADERS)
        case "qwen":
            return _byte_level(MODERN_SPLIT % 1, [], "<|endoftext|>", "<|im_start|>", "<|im_end|>", chat=CHATML)
        case "llama2" | "mistral":
            return _sentencepiece(marker_by_normalizer=name == "llama2")
        case _:
            raise ValueError(name)


def words() -> list[str]:
    """Every word and sign of the templates."""
    text = " ".join(f"{frame.lead} {frame.body} {frame.tail}" for frame in FRAMES.values())
    return sorted({*WORDS, *re.findall(r"[A-Za-z]+", re.sub(r"\{.\}", " ", text))})


def _byte_level(
    pattern: str, numbers: list[str], bos: str, *others: str, add_bos: bool = False, chat: str = ""
) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*numbers, *(space + word for word in words() for space in ("", " ")), " +", " -", " *", " =", " <", " %"]
    texts = [piece.replace(" ", "\u0120") for piece in pieces]
    digits = sorted((t for t in texts if t[-1].isdigit() and len(t) > 1), key=len)
    merges = [(text[:-1], text[-1]) for text in digits]
    vocab = {token: i for i, token in enumerate(dict.fromkeys((bos, *others, *alphabet, *texts)))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return _finish(tokenizer, bos, others, add_bos, chat)


def _sentencepiece(marker_by_normalizer: bool) -> PreTrainedTokenizerFast:
    alphabet = [chr(i) for i in range(33, 127)] + ["\u2581"]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    corpus = (
        3 * [f" {word}" for word in WORDS]
        + [re.sub(r"\{.\}", " ", f"{f.lead}{f.body}{f.tail}") for f in FRAMES.values()]
        + words()
    )
    trained.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    )
    fields = json.loads(trained.to_str())["model"]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    tokens = dict.fromkeys(("<unk>", "<s>", "</s>", *bytes_, *fields["vocab"]))
    vocab = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in fields["merges"]]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)  # noqa: S106
    )
    if marker_by_normalizer:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _finish(tokenizer, "<s>", ("</s>", "<unk>"), True, INST)


def _finish(
    tokenizer: Tokenizer, bos: str, others: tuple[str, ...], add_bos: bool, chat: str
) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (bos, *others)])
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=others[0] if "</s>" in others else bos,
        unk_token="<unk>" if "<unk>" in others else None,
        clean_up_tokenization_spaces=False,
    )
    if chat:
        fast.chat_template = chat
    return fast
