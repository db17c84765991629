"""Number retrieval: every invariant, recomputed from the decoded tokens, on tokenizers of every behaviour."""

from collections import Counter
from itertools import pairwise

import pytest
from support.control_checks import check_retrieval
from support.control_tokenizers import NAMES
from support.control_tokenizers import build as tokenizer
from support.pair_checks import check_tokens
from support.tiny_tokenizers import characters
from transformers import AutoTokenizer

from arithloc.benchmark.api import Split, Task, TokenizerMismatch, TooFewPairs, data_hash
from arithloc.benchmark.api.errors import BadOption, UnknownName
from arithloc.benchmark.api.options import build
from arithloc.benchmark.models.cache import default_cache
from arithloc.tasks.grid import Range
from arithloc.tasks.nouns import NOUNS
from arithloc.tasks.retrieval import Retrieval
from arithloc.tasks.retrieval_questions import evaluate
from arithloc.tasks.retrieval_source import RetrievalKind


def check(tok, pairs, seed=0):
    for pair in pairs:
        check_tokens(tok, pair)
        check_retrieval(tok, pair, seed)
        assert pair.task == "retrieval"
    assert len({(p.clean, p.counterfactual) for p in pairs}) == len(pairs)
    assert [p.index for p in pairs] == list(range(len(pairs)))


@pytest.mark.parametrize("kind", RetrievalKind)
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_on_every_tokenizer(name, kind):
    tok = tokenizer(name)
    for split, digits, shots in ((Split.TEST, Range.D2, 0), (Split.DISCOVERY, Range.D1, 2)):
        pairs = Retrieval(digits=digits, kind=kind, shots=shots).pairs(tok, split, 80, 0)
        assert len(pairs) == 80 and {p.frame for p in pairs} == {f"R{i}" for i in range(8)}
        check(tok, pairs)


@pytest.mark.parametrize("digits", [Range.D2D1, Range.N300, Range.SINGLE_DIGIT])
def test_every_range(digits):
    for name in ("gpt2", "qwen"):
        pairs = Retrieval(digits=digits, frames=("R0", "R4"), split_seed=3).pairs(tokenizer(name), Split.TEST, 30, 1)
        assert len(pairs) == 30
        check(tokenizer(name), pairs, seed=3)


def test_letters_alone():
    tok = characters()
    check(tok, Retrieval(digits=Range.D2).pairs(tok, Split.TEST, 60, 0))


@pytest.mark.real_model
def test_a_real_tokenizer():
    tok = AutoTokenizer.from_pretrained(default_cache() / "models" / "smollm2")
    for kind in RetrievalKind:
        check(tok, Retrieval(digits=Range.D2, kind=kind, shots=1).pairs(tok, Split.TEST, 30, 0))
    (pair,) = Retrieval(frames=("R7",)).pairs(tok, Split.TEST, 1, 0)
    shown = [tok.decode(i) for i in pair.clean_ids]
    assert pair.classes == tuple(
        "bos early early early early early number1 entity1 other other number2 entity2 other other other asked_last late "
        "late late late late late last".split()
    )
    assert (shown[6], shown[10], shown[-1]) == (*[t for t in pair.clean.split() if t.isdigit()], " ")


def test_slots_and_order_take_turns():
    pairs = Retrieval(digits=Range.D2).pairs(tokenizer("qwen"), Split.TEST, 480, 0)
    for n in (32, 480):
        tags = [dict(p.strata) for p in pairs[:n]]
        assert Counter(t["asked_slot"] for t in tags) == {"1": n // 2, "2": n // 2}
        assert sum(a < b for a, b in (t["entities"].split(",") for t in tags)) == n // 2
    forms = {(p.frame, p.classes[: p.n_tokens - p.first_diff - 1]) for p in pairs}
    assert len(forms) == 8  # one a frame
    tags = [dict(p.strata) for p in pairs]
    assert max(Counter(t["frame"] for t in tags).values()) == 60  # every frame equally often
    assert len(Counter(t["entities"] for t in tags)) == 30 and min(Counter(t["entities"] for t in tags).values()) > 7
    assert 190 < sum(t["asked_larger"] == "yes" for t in tags) < 290


def test_number_pairs_come_again_only_after_all_have_come():
    pairs = Retrieval(digits=Range.D1).pairs(tokenizer("gpt2"), Split.TEST, 400, 0)
    assert len(pairs) == 400
    ordered = [tuple(w for w in p.clean.split() if w.isdigit()) for p in pairs]
    n = len(set(ordered))
    assert all(len(set(ordered[i:j])) == n for i, j in pairwise(range(0, 9 * n, n)))
    assert len({p.clean for p in pairs}) == 400


def test_nouns():
    listed = [noun for nouns in NOUNS.values() for noun in nouns]
    assert len(NOUNS) >= 5 and min(map(len, NOUNS.values())) >= 15 and len(set(listed)) == len(listed)
    assert all(noun.isalpha() and noun.islower() for noun in listed)
    assert [noun for noun in listed if not noun.endswith("s")] == ["sheep", "mice"]


def test_exemplars_are_right_and_stay_out_of_discovery():
    tok = tokenizer("llama3")
    without = Retrieval().pairs(tok, Split.DISCOVERY, 120, 0)
    pairs = Retrieval(shots=3).pairs(tok, Split.DISCOVERY, 120, 0)
    prefixes = {}
    for pair in pairs:
        *solved, _ = pair.clean.split("\n")
        assert len(solved) == 3 and pair.clean.split("\n")[:3] == pair.counterfactual.split("\n")[:3]
        prefixes.setdefault(pair.frame, set()).add(tuple(solved))
        for line in solved:
            question, _, answer = line.rpartition(" A: ")
            words = question.replace(".", "").split()
            asked = words[words.index("many") + 1]
            assert words[words.index(asked) - 1] == answer
    assert all(len(found) == 1 for found in prefixes.values()) and len(prefixes) == 8
    assert len({p.cluster for p in without} - {p.cluster for p in pairs}) == 3


def test_same_arguments_same_pairs():
    tok = tokenizer("mistral")
    task = Retrieval(digits=Range.D2, kind=RetrievalKind.OPERANDS)
    one, two = (task.pairs(tok, Split.TEST, 60, 3) for _ in range(2))
    assert one == two and data_hash(one) == data_hash(two)
    assert task.pairs(tok, Split.TEST, 60, 4) != one and task.pairs(tok, Split.TEST, 20, 3) == one[:20]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Q: I can see 12 cats and 3 cars. How many cats are there? A:", 12),
        ("I have 4 figs and 9 vans. How many vans do I have?", 9),
        ("I have 4 figs and 9 vans. How many cars do I have?", None),
        ("I have 4 figs and 9 figs. How many figs do I have?", None),
        ("Q: What is 3 plus 4? A:", None),
    ],
)
def test_reading_a_question(text, number):
    assert evaluate(text) == number


def test_options_and_refusals():
    task = build(Retrieval, "retrieval", {"digits": "d2", "frames": "R0+R7", "kind": "operands", "shots": "2"})
    assert task == Retrieval(digits=Range.D2, frames=("R0", "R7"), kind=RetrievalKind.OPERANDS, shots=2)
    assert isinstance(task, Task)
    with pytest.raises(UnknownName, match="No frame is called 'R8'"):
        Retrieval(frames=("R8",))
    with pytest.raises(BadOption, match=r"one of d1, d2, .*found d1-by"):
        build(Retrieval, "retrieval", {"digits": "d1-by"})
    with pytest.raises(BadOption, match="0 to 16 shots, found 17"):
        build(Retrieval, "retrieval", {"shots": "17"})
    with pytest.raises(TooFewPairs, match=r"found 14 number pairs in d1. Use fewer shots"):
        Retrieval(shots=16).pairs(tokenizer("qwen"), Split.TEST, 5, 0)


def test_a_tokenizer_without_nouns_of_one_length(monkeypatch):
    lengths = {noun: i for i, noun in enumerate(noun for nouns in NOUNS.values() for noun in nouns)}
    monkeypatch.setattr("arithloc.tasks.retrieval.noun_lengths", lambda encoder: lengths)
    with pytest.raises(
        TokenizerMismatch, match=r"equally many tokens, found none: .* Use another model's tokenizer, or"
    ):
        Retrieval().pairs(tokenizer("qwen"), Split.TEST, 5, 0)
