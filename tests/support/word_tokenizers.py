"""Fast tokenizers that split words into pieces as the well-known families do, trained in code.

name       spaces                                         pieces of made-up words    front
gpt2       part of the word, byte-level BPE               two to four                nothing added, has one token
neox       the same, other vocabulary                     two to four                nothing added, has one token
smollm2    the same, digits apart                         two to four                nothing added, has one token
llama3     part of the word, byte-level BPE               two to four                <|begin_of_text|> added
qwen       the same                                       two to four                nothing added, has one token
llama2     a marker at the front of the word, SentencePiece BPE without a division into words       <s> added
mistral    the same, marker put by the pre-tokenizer                                                <s> added
"""

import json
from functools import cache

from support.number_tokenizers import GPT2_SPLIT, MODERN_SPLIT, _finish
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from arithloc.tasks.ontology_taxonomy import trees
from arithloc.tasks.ontology_words import ENTITIES, PROPERTIES, nonce_nouns

NAMES = ("gpt2", "neox", "smollm2", "llama3", "qwen", "llama2", "mistral")
SIZES = {"gpt2": 2600, "neox": 2400, "smollm2": 2300, "llama3": 2800, "qwen": 2700, "llama2": 2300, "mistral": 2200}


@cache
def build(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer called `name`."""
    match name:
        case "gpt2" | "neox":
            return _byte_level(name, [_split(GPT2_SPLIT)], "<|endoftext|>")
        case "smollm2":
            digits = pre_tokenizers.Digits(individual_digits=True)
            return _byte_level(name, [digits, _split(GPT2_SPLIT)], "<|endoftext|>")
        case "llama3":
            return _byte_level(name, [_split(MODERN_SPLIT % 3)], "<|begin_of_text|>", add_bos=True)
        case "qwen":
            return _byte_level(name, [_split(MODERN_SPLIT % 1)], "<|endoftext|>")
        case _:
            return _sentencepiece(name)


def _corpus(name: str) -> list[str]:
    """Sentences in which known words are frequent and made-up words rare; families see different made-up words."""
    nouns = [word for tree in trees() for path in tree.paths for word in (*path, *tree.properties)]
    known = [f"It is {word}. {word} is." for word in (*ENTITIES, *PROPERTIES, *nouns)]
    offset = NAMES.index(name)
    rare = [f"It is {word}." for word in nonce_nouns()[offset::8]]
    fixed = ["Input: True or false: Let us think step by step.\nResponse: True\nFalse"]
    return [*known * 4, *rare, *fixed * 9]


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _byte_level(
    name: str, before: list[pre_tokenizers.PreTokenizer], bos: str, add_bos: bool = False
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZES[name],
        special_tokens=[bos],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(name), trainer)
    return _finish(tokenizer, bos, (), add_bos, "")


def _sentencepiece(name: str) -> PreTrainedTokenizerFast:
    trained = Tokenizer(models.BPE())
    marker = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trained.pre_tokenizer = pre_tokenizers.Sequence([marker, pre_tokenizers.Punctuation()])
    alphabet = [chr(i) for i in range(33, 127)] + ["\u2581"]
    trainer = trainers.BpeTrainer(vocab_size=SIZES[name], initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator([text.replace("\n", " ") for text in _corpus(name)], trainer)
    fields = json.loads(trained.to_str())["model"]
    tokens = dict.fromkeys(("<unk>", "<s>", "</s>", *[f"<0x{i:02X}>" for i in range(256)], *fields["vocab"]))
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in fields["merges"]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=merges,
            unk_token="<unk>",  # noqa: S106
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if name == "llama2":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _finish(tokenizer, "<s>", ("</s>", "<unk>"), True, "")
