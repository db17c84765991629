"""The tokenizers of `number_tokenizers`, with pieces for the words of the controls: frequent ones whole, others in parts."""

import json
from collections.abc import Iterator
from functools import cache

from support import number_tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from arithloc.tasks.facts.schema import shipped
from arithloc.tasks.nouns import NOUNS
from arithloc.tasks.professions import FRAMES, OTHER, PROFESSIONS
from arithloc.tasks.retrieval_questions import FRAMES as RETRIEVAL

NAMES = number_tokenizers.NAMES
N_PIECES = 2600


@cache
def build(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer called `name`."""
    plain = number_tokenizers.build(name)
    fields = json.loads(plain.backend_tokenizer.to_str())
    trained = _trained(name in ("llama2", "mistral"), fields["pre_tokenizer"])
    model = fields["model"]
    for token in trained["vocab"]:
        model["vocab"].setdefault(token, len(model["vocab"]))
    model["merges"] = trained["merges"] + [merge for merge in model["merges"] if merge not in trained["merges"]]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(fields)),
        bos_token=plain.bos_token,
        eos_token=plain.eos_token,
        unk_token=plain.unk_token,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = plain.chat_template
    return fast


def _trained(sentencepiece: bool, pre_tokenizer: dict) -> dict:
    tokenizer = Tokenizer(models.BPE())
    if sentencepiece:
        marked = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([marked, pre_tokenizers.Punctuation()])
    else:
        tokenizer = Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | {"pre_tokenizer": pre_tokenizer}))
    alphabet = [] if sentencepiece else sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=N_PIECES, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_texts(), trainer)
    fields = json.loads(tokenizer.to_str())["model"]
    merges = [m if isinstance(m, list) else m.split(" ") for m in fields["merges"]]
    return {"vocab": [t for t in fields["vocab"] if not t[-1].isdigit()], "merges": merges}


def _texts() -> Iterator[str]:
    """Sentences without numbers; what comes often gets a token of its own, the rest is spelled in pieces."""
    for frame in (*RETRIEVAL.values(), *FRAMES.values()):
        words = [word for word in frame.body.split() if "{" not in word]
        yield from [" ".join(["Q:", *words, "A:"])] * 20
    for listed in NOUNS.values():
        for place, noun in enumerate(listed):
            yield from [f"How many {noun} do"] * (20 - place)
    for gender in OTHER:
        yield from [f"A {gender} works", f"A {gender}'s work"] * 30
    for listed in PROFESSIONS.values():
        for place, profession in enumerate(listed):
            yield from [f"as a {profession}"] * (20 - place)
    for relation in shipped().relations:
        for place, fact in enumerate(relation.facts):
            sentence = f"Q: {relation.question} A: {relation.statement}".replace("{s}", fact.subject)
            if not fact.object.isdigit():
                sentence += f" {fact.object}"
            yield from [sentence] * (3 if place % 3 else 1)
