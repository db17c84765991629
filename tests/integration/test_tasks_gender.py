"""Gender-profession pairs: every invariant, recomputed from the decoded tokens."""

import itertools

import pytest
from support.control_checks import PROFESSIONS, check_gender
from support.control_tokenizers import NAMES
from support.control_tokenizers import build as tokenizer
from support.pair_checks import check_tokens
from support.tiny_tokenizers import characters
from transformers import AutoTokenizer

from arithloc.benchmark.api import Split, Task, TokenizerMismatch, TooFewPairs, data_hash
from arithloc.benchmark.api.errors import UnknownName
from arithloc.benchmark.models.cache import default_cache
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.gender import Gender, scored_professions
from arithloc.tasks.layout import Bos
from arithloc.tasks.professions import FRAMES, professions_of

PROMPTS = (
    "A woman works as a", "A woman is employed as a", "A woman holds a job as a", "A woman's occupation is",
    "The job of a woman is", "The work of a woman is", "The profession of a woman is", "The work of a woman involves",
)  # fmt: skip


def check(tok, pairs):
    for pair in pairs:
        check_tokens(tok, pair)
        check_gender(tok, pair)
        assert pair.task == "gender" and pair.operator == "profession" and not pair.answer_cf_is_foil
    assert len({(p.clean, p.counterfactual, p.answer, p.answer_cf) for p in pairs}) == len(pairs)


@pytest.mark.parametrize("name", NAMES)
def test_every_tokenizer(name):
    tok = tokenizer(name)
    for split in Split:
        pairs = Gender().pairs(tok, split, 60, 0)
        check(tok, pairs)
        assert len(pairs) >= 18 and {p.answer for p in pairs} == {p.answer_cf for p in pairs}


def test_prompts_and_professions_are_held_out():
    tok = tokenizer("gpt2")
    prompts, professions = {}, {}
    for split in Split:
        for pair in Gender().pairs(tok, split, 1000, 0):
            prompts.setdefault(split, set()).update({pair.clean, pair.counterfactual})
            professions.setdefault(split, set()).update({pair.answer, pair.answer_cf})
    assert prompts[Split.DISCOVERY] == {"A woman works as a", "A man works as a"}
    women = {text for texts in prompts.values() for text in texts if "woman" in text}
    assert women == set(PROMPTS) and sum(map(len, prompts.values())) == 16
    assert {s: len(found) for s, found in professions.items()} == {
        Split.DISCOVERY: 16, Split.VALIDATION: 6, Split.TEST: 9,
    }  # fmt: skip
    assert len(set().union(*professions.values())) == 31


@pytest.mark.parametrize("seed", range(5))
def test_half_the_professions_of_each_gender_are_for_discovery(seed):
    parts = {split: professions_of(split, seed) for split in Split}
    for gender, listed in PROFESSIONS.items():
        names = listed.split("/")
        assert sorted(itertools.chain(*(parts[s][gender] for s in Split))) == sorted(names)
        assert [len(parts[s][gender]) for s in Split] == [8, 3, len(names) - 11]
    assert seed == 0 or parts[Split.TEST] != professions_of(Split.TEST, 0)


def test_all_combinations_come_once():
    pairs = Gender().pairs(tokenizer("llama3"), Split.DISCOVERY, 1000, 0)
    assert len(pairs) == 8 * 8  # each in one direction: the other one is the same pair exchanged
    assert len({frozenset((p.answer, p.answer_cf)) for p in pairs}) == 64
    first = pairs[:16]  # each profession once before any comes again, the genders in turns
    assert len({p.answer for p in first}) == 16
    assert {dict(p.strata)["gender"] for p in first[:2]} == {"woman", "man"}


def test_professions_that_begin_alike_are_dropped_and_counted(monkeypatch):
    """Read letter by letter, only four professions begin as no other does."""
    four = frozenset({"cleaner", "hairdresser", "volunteer", "guard"})
    assert scored_professions(Encoder(characters()), Bos.ALWAYS) == four
    assert len(scored_professions(Encoder(tokenizer("gpt2")), Bos.ALWAYS)) == 31
    monkeypatch.setattr("arithloc.tasks.gender.scored_professions", lambda encoder, bos: four | {"police"})
    pairs = Gender().pairs(tokenizer("gpt2"), Split.DISCOVERY, 100, 0)
    assert {dict(p.strata)["professions_dropped"] for p in pairs} == {"26"}
    assert {p.answer for p in pairs} == {"cleaner", "volunteer", "police", "guard"}
    with pytest.raises(
        TokenizerMismatch, match=r"found 5 of 31 in all splits and none of one gender here. Use another"
    ):
        Gender().pairs(tokenizer("gpt2"), Split.TEST, 5, 0)


def test_same_arguments_same_pairs():
    tok = tokenizer("qwen")
    one, two = (Gender().pairs(tok, Split.TEST, 100, 3) for _ in range(2))
    assert one == two and data_hash(one) == data_hash(two)
    assert Gender().pairs(tok, Split.TEST, 100, 4) != one and Gender().pairs(tok, Split.TEST, 30, 3) == one[:30]


@pytest.mark.real_model
def test_a_real_tokenizer():
    tok = AutoTokenizer.from_pretrained(default_cache() / "models" / "smollm2")
    pairs = Gender().pairs(tok, Split.TEST, 100, 0)
    check(tok, pairs)
    assert dict(pairs[0].strata)["professions_dropped"] == "0"
    (pair,) = Gender(frames=("G0", "G3")).pairs(tok, Split.TEST, 1, 0)
    assert [tok.decode(i) for i in pair.clean_ids][-3:] == ["'s", " occupation", " is"]
    assert pair.classes == ("bos", "early", "gender", "late", "late", "last")


def test_refusals():
    assert isinstance(Gender(), Task) and not Gender.info.correct_only
    assert [FRAMES[f"G{i}"].body.replace("{g}", "woman") for i in range(8)] == list(PROMPTS)
    with pytest.raises(TokenizerMismatch, match=r"woman and man to take equally many tokens, found .* Use a model"):
        Gender().pairs(characters(), Split.TEST, 5, 0)
    with pytest.raises(UnknownName, match="No prompt is called 'G9'"):
        Gender(frames=("G9",))
    with pytest.raises(TooFewPairs, match=r"prompts of test \(G3, .*found G0. Name one of each split"):
        Gender(frames=("G0",)).pairs(tokenizer("qwen"), Split.TEST, 5, 0)
