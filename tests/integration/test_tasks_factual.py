"""Factual recall: every invariant, recomputed from the decoded tokens and the fact file, on tokenizers of every behaviour."""

from collections import Counter

import pytest
from support.control_checks import check_fact, known
from support.control_tokenizers import NAMES
from support.control_tokenizers import build as tokenizer
from support.pair_checks import check_tokens
from support.tiny_tokenizers import characters
from transformers import AutoTokenizer

from arithloc.benchmark.api import Split, Task, TokenizerMismatch, TooFewPairs, data_hash
from arithloc.benchmark.api.errors import BadOption, UnknownName
from arithloc.benchmark.api.options import build
from arithloc.benchmark.models.cache import default_cache
from arithloc.tasks.factual import Factual


def check(tok, pairs, seed=0):
    for pair in pairs:
        check_tokens(tok, pair)
        check_fact(tok, pair, seed)
        assert pair.task == "factual"
    assert len({(p.clean, p.counterfactual) for p in pairs}) == len(pairs)
    assert [p.index for p in pairs] == list(range(len(pairs)))


@pytest.mark.parametrize("name", NAMES)
def test_every_relation_on_every_tokenizer(name):
    tok = tokenizer(name)
    pairs = Factual().pairs(tok, Split.TEST, 150, 0)
    assert len(pairs) == 150 and {p.frame[:2] for p in pairs} == {"F3", "F4"}
    assert len({p.operator for p in pairs}) >= 9
    check(tok, pairs)
    check(tok, Factual(shots=2, split_seed=1).pairs(tok, Split.DISCOVERY, 60, 2), seed=1)


def test_letters_alone():
    tok = characters()
    check(tok, Factual().pairs(tok, Split.TEST, 60, 0))


@pytest.mark.real_model
def test_a_real_tokenizer():
    tok = AutoTokenizer.from_pretrained(default_cache() / "models" / "smollm2")
    pairs = Factual().pairs(tok, Split.TEST, 80, 0)
    check(tok, pairs)
    assert {p.operator for p in pairs} == set(known())
    (pair,) = Factual(relations=("atomic_number",), frames=("F3",)).pairs(tok, Split.TEST, 1, 0)
    shown = [tok.decode(i) for i in pair.clean_ids]
    assert shown[:8] == ["<|endoftext|>", "Q", ":", " What", " is", " the", " atomic", " number"]
    assert pair.clean.endswith("? A: ") and pair.classes[:9] == ("bos", *["early"] * 8)


def test_a_subject_is_in_one_split():
    tok = tokenizer("gpt2")
    subjects = {}
    for split in Split:
        for pair in Factual(copy_shortcuts=True, frames=("F4",)).pairs(tok, split, 300, 0):
            for text in (pair.clean, pair.counterfactual):
                statement = known()[pair.operator]["statement"].split("{s}")
                subjects.setdefault(text.removeprefix(statement[0])[: -len(statement[1])].strip(), set()).add(split)
    assert len(subjects) > 300 and all(len(found) == 1 for found in subjects.values())


def test_relations_are_mixed_and_facts_come_again_against_others():
    tok = tokenizer("qwen")
    pairs = Factual().pairs(tok, Split.VALIDATION, 600, 0)
    shares = Counter(p.operator for p in pairs[:150])
    sizes = {name: len(relation["about"]) for name, relation in known().items()}
    assert all(shares[name] > 0.4 * 150 * size / sum(sizes.values()) for name, size in sizes.items() if size > 100)
    rounds = [dict(p.strata)["round"] for p in pairs]
    assert rounds == sorted(rounds, key=int) and set(rounds) >= {"0", "1"}
    first = {p.clean for p in pairs if dict(p.strata)["round"] == "0"}
    again = [p for p in pairs if dict(p.strata)["round"] == "1"]
    assert len(first) == rounds.count("0") and {p.clean for p in again} <= first


def test_exemplars_are_right_and_stay_out_of_discovery():
    tok = tokenizer("neox")
    pairs = Factual(shots=2).pairs(tok, Split.DISCOVERY, 200, 0)
    shown = {}
    for pair in pairs:
        solved, begun = pair.clean.split("\n")[:-1], pair.counterfactual.split("\n")[:-1]
        assert len(solved) == 2 and solved == begun
        shown.setdefault((pair.operator, pair.frame), set()).add(tuple(solved))
        relation = known()[pair.operator]
        ways = {"F3": f"Q: {relation['question']} A: {relation['reply']}".strip(), "F4": relation["statement"]}
        right = {f"{ways[pair.frame[:2]].replace('{s}', s)} {f['object']}": s for s, f in relation["about"].items()}
        assert {right[line] for line in solved}.isdisjoint({relation["about"][s]["subject"] for s in asked(pair)})
        assert "shot" in pair.classes
    assert all(len(found) == 1 for found in shown.values())


def asked(pair):
    """Subjects of both prompts."""
    for text in (pair.clean, pair.counterfactual):
        line = text.split("\n")[-1]
        yield max((s for s in known()[pair.operator]["about"] if s in line), key=len)


def test_copies_only_on_request():
    tok = tokenizer("llama3")
    flags = [
        {dict(p.strata)["copy_shortcut"] for p in Factual(copy_shortcuts=wanted).pairs(tok, Split.TEST, 200, 0)}
        for wanted in (False, True)
    ]
    assert flags == [{"no"}, {"no", "yes"}]


def test_chat_begins_the_reply():
    tok = tokenizer("qwen")
    for pair in Factual(relations=("currency",), frames=("F3",), chat=True, shots=1).pairs(tok, Split.TEST, 20, 0):
        check_tokens(tok, pair)
        assert "Q:" not in pair.clean and pair.clean.endswith("<|im_start|>assistant\nThe")
        assert f"assistant\nThe {known()['currency']['about'][exemplar(pair)]['object']}<|im_end|>" in pair.clean


def exemplar(pair):
    question = pair.clean.split("<|im_end|>")[0]
    return max((s for s in known()["currency"]["about"] if s in question), key=len)


def test_same_arguments_same_pairs():
    tok = tokenizer("llama2")
    one, two = (Factual().pairs(tok, Split.TEST, 300, 3) for _ in range(2))
    assert one == two and data_hash(one) == data_hash(two)
    assert Factual().pairs(tok, Split.TEST, 300, 4) != one and Factual().pairs(tok, Split.TEST, 50, 3) == one[:50]


OWN = """{"format": "arithloc-facts/1", "relations": [{"id": "colour", "question": "Which colour has {s}?",
"statement": "The colour of {s} is", "facts": [%s]}]}"""


def own(tmp_path, subjects):
    colours = ("red", "green", "blue", "white")
    facts = [f'{{"subject": "{s}", "object": "{colours[i % 4]}"}}' for i, s in enumerate(subjects)]
    path = tmp_path / "mine.json"
    path.write_text(OWN % ", ".join(facts))
    return str(path)


def test_facts_of_your_own(tmp_path):
    tok = characters()
    path = own(tmp_path, [f"{a}{b}{c}" for a in "abcd" for b in "efgh" for c in "ijk"])
    task = build(Factual, "factual", {"facts": path, "relations": "colour"})
    assert isinstance(task, Task)
    pairs = task.pairs(tok, Split.DISCOVERY, 50, 0)
    assert {p.answer for p in pairs} == {"red", "green", "blue", "white"} and {p.operator for p in pairs} == {"colour"}
    assert all(p.clean.startswith(("Q: Which colour has ", "The colour of ")) for p in pairs)


def test_subjects_of_rare_lengths_are_left_out(tmp_path):
    """Two of 50 subjects have seven letters, under a twentieth; six of 54 are enough."""
    three = [f"{a}{b}{c}" for a in "abcd" for b in "efgh" for c in "ijk"]
    for n, lengths in ((2, {3}), (6, {3, 7})):
        path = own(tmp_path, three + [f"{i}-longer"[:7] for i in range(n)])
        found = set()
        for split in Split:
            for pair in Factual(facts=path, frames=("F4",)).pairs(characters(), split, 400, 0):
                found |= {len(text.removeprefix("The colour of ").removesuffix(" is").strip()) for text in texts(pair)}
        assert found == lengths


def texts(pair):
    return [text.strip().removesuffix(" is") for text in (pair.clean, pair.counterfactual)]


def test_subjects_that_cannot_stand_for_each_other(tmp_path):
    path = own(tmp_path, ["x" * n for n in range(1, 20)])
    with pytest.raises(
        TokenizerMismatch, match=r"two subjects of colour .* none for this tokenizer. Use more relations"
    ):
        Factual(facts=path).pairs(characters(), Split.DISCOVERY, 5, 0)
    with pytest.raises(TooFewPairs, match=r"Expected 16 exemplars of colour .* Use fewer shots"):
        Factual(facts=path, shots=16).pairs(characters(), Split.DISCOVERY, 5, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"relations": "capitol"}, UnknownName, "No relation is called 'capitol'. Did you mean capital"),
        ({"relations": ""}, BadOption, "at least one relation"),
        ({"frames": "F5"}, BadOption, "frames F3 or F4, found F5"),
        ({"shots": "-1"}, BadOption, "0 to 16 shots, found -1"),
        ({"facts": "nowhere.json"}, BadOption, "readable fact file, found 'nowhere.json'"),
    ],
)
def test_refused_options(options, error, message):
    with pytest.raises(error, match=message):
        build(Factual, "factual", options)
