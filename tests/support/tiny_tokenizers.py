"""Small fast tokenizers with the number behaviours found in the wild, built in code."""

import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

BOS, PAD, UNKNOWN = "<bos>", "<pad>", "<unk>"
WORDS = (
    *("plus minus times equals sum difference of and is the a between What Question Answer The than").split(),
    *("zero one two three four five six seven eight nine ten eleven twelve twenty thirty").split(),
    *("Paris France Rome Italy capital city larger number").split(),
)
ALPHABET = tuple(string.digits + string.ascii_letters + " \n+-*/=():.,?!'\"<>%_")

GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def digits(bos: bool = True) -> PreTrainedTokenizerFast:
    """Every digit is a token and the space before a number is one too, as in Llama 3, Qwen and SmolLM2."""
    symbols = [" " + symbol for symbol in "+-*/="]
    words = [prefix + word for word in WORDS for prefix in ("", " ")]
    return _byte_level(QWEN_SPLIT, [*symbols, *words], bos)


def numbers(bos: bool = False) -> PreTrainedTokenizerFast:
    """Numbers below 100 are one token, with or without the space in front; above, 2 + 1 digits: as in GPT-2."""
    values = [str(n) for n in range(10, 100)]
    spaced = [" " + str(n) for n in range(100)]
    symbols = [" " + symbol for symbol in "+-*/="]
    words = [prefix + word for word in WORDS for prefix in ("", " ")]
    return _byte_level(GPT2_SPLIT, [*values, *spaced, *symbols, *words], bos)


def characters() -> PreTrainedTokenizerFast:
    """One token per character and no special tokens in front."""
    vocab = {token: i for i, token in enumerate((BOS, PAD, UNKNOWN, *ALPHABET))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _wrapped(tokenizer)


def _byte_level(pattern: str, pieces: list[str], bos: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE over a fixed alphabet; `pieces` are tokens, and only numbers are merged inside a longer piece."""
    visible = {" ": "\u0120", "\n": "\u010a"}
    alphabet = [visible.get(character, character) for character in ALPHABET]
    texts = ["".join(visible.get(character, character) for character in piece) for piece in pieces]
    merges = [(text[:-1], text[-1]) for text in sorted(texts, key=len) if text[-1].isdigit() and len(text) > 1]
    vocab = {token: i for i, token in enumerate(dict.fromkeys((BOS, PAD, *alphabet, *texts)))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocab[BOS])]
        )
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=BOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )
