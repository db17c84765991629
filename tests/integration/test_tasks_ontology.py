"""Ontology pairs on tokenizers of every family: all invariants, recomputed from the tokens."""

from collections import Counter
from functools import cache

import pytest
from support.number_tokenizers import build as number_tokenizer
from support.ontology_checks import check_ontology_pair
from support.ontology_reasoner import follows, read
from support.tiny_tokenizers import characters
from support.word_tokenizers import NAMES
from support.word_tokenizers import build as tokenizer
from transformers import AutoTokenizer

from arithloc.benchmark.api import Split, Task, TokenizerMismatch, data_hash
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.api.options import build
from arithloc.benchmark.models.cache import default_cache
from arithloc.tasks import ontology
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.layout import Bos, front_ids
from arithloc.tasks.ontology import OntologyCot
from arithloc.tasks.ontology_chain import steps
from arithloc.tasks.ontology_edits import Kind, kinds
from arithloc.tasks.ontology_encoding import PromptEncoder
from arithloc.tasks.ontology_vocabulary import WorldName, separable


@pytest.fixture(autouse=True)
def words_once(monkeypatch):
    """Every tokenizer's words are looked up once, not once per test."""
    monkeypatch.setattr(ontology, "separable", _separable)


_separable = cache(separable)
SITES = [(step, kind) for step in steps(2) for kind in kinds(step)]


@pytest.mark.parametrize("name", NAMES)
def test_every_step_and_kind(name):
    """Each tokenizer takes every third site, in turn."""
    tok = tokenizer(name)
    for place, (step, kind) in list(enumerate(SITES))[NAMES.index(name) % 3 :: 3]:
        split = list(Split)[place // 3 % 3]
        world = list(WorldName)[(place // 3 + place) % 3]
        task = OntologyCot(step=step.name, kind=kind, distractors=2, shots=place % 2, world=world)
        pairs = task.pairs(tok, split, 8, 1)
        assert len(pairs) == 8 and {p.split for p in pairs} == {split} and {p.frame for p in pairs} == {step.name}
        for pair in pairs:
            check_ontology_pair(tok, pair)


STORED = {
    ("decision-0", "consistent"): "decision",
    ("decision-6", "consistent"): "decision",
    ("decision-8", "chain"): "decision_g",
    ("copy-7", "consistent"): "copy",
    ("induction-9", "consistent"): "induction_qg",
    ("induction-9", "question"): "induction_q",
    ("induction-9", "chain"): "induction_g",
    ("induction-9", "control"): "control",
}


@pytest.mark.parametrize(("step", "kind"), STORED)
def test_names_of_the_kinds(step, kind):
    (pair,) = OntologyCot(step=step, kind=Kind(kind), distractors=2, shots=0).pairs(tokenizer("gpt2"), Split.TEST, 1, 0)
    assert pair.kind == STORED[step, kind]


@pytest.mark.parametrize("world", WorldName)
@pytest.mark.parametrize("hops", [1, 3])
def test_hops_worlds_and_distractors(world, hops):
    for place, name in list(enumerate(NAMES))[hops % 2 + list(WorldName).index(world) :: 2]:
        tok = tokenizer(name)
        distractors = (0, 2, 4)[(place + hops) % 3]
        step = steps(hops)[-1 - place % 2].name
        kind = Kind.CONSISTENT if step.startswith("induction") else Kind.CHAIN
        task = OntologyCot(step=step, hops=hops, world=world, distractors=distractors, shots=2, kind=kind)
        for pair in task.pairs(tok, Split.DISCOVERY, 3, 0):
            check_ontology_pair(tok, pair)
            assert dict(pair.strata)["world"] == world and dict(pair.strata)["hops"] == str(hops)


@pytest.mark.parametrize("name", NAMES)
def test_all_pairs_of_a_draw(name):
    """No candidate is rejected, every pair has partners of its classes, labels are balanced, no pair is there twice."""
    tok = tokenizer(name)
    drawn = OntologyCot(shots=1, step="decision-6").draw(tok, Split.TEST, 60, 3)
    assert len(drawn.pairs) == 60 and not drawn.rejected
    for pair in drawn.pairs[::3]:
        check_ontology_pair(tok, pair)
    shapes = Counter(pair.classes for pair in drawn.pairs)
    assert 2 <= len(shapes) <= 6 and min(shapes.values()) > 1 and len({pair.n_tokens for pair in drawn.pairs}) == 1
    assert len({(pair.clean, pair.counterfactual) for pair in drawn.pairs}) == 60
    assert [pair.index for pair in drawn.pairs] == list(range(60))
    labels = Counter(follows(read(pair.clean)) for pair in drawn.pairs)
    assert labels == {True: 30, False: 30}


@pytest.mark.parametrize("name", NAMES)
def test_words_are_told_apart_by_their_first_token(name):
    """Equal token counts within a type, first tokens distinct across all types, in every place of a sentence."""
    tok = tokenizer(name)
    for world in WorldName:
        words = _separable(tok, world)
        firsts = []
        for group in (words.entities, words.classes, words.properties):
            assert len(group) > 40
            counts = set()
            for word in group:
                before = tok("So it is", add_special_tokens=False)["input_ids"]
                after = tok(f"So it is {word}", add_special_tokens=False)["input_ids"]
                assert after[: len(before)] == before
                counts.add(len(after) - len(before))
                firsts.append(after[len(before)])
            assert len(counts) == 1
        assert len(set(firsts)) == len(firsts)


def test_splits_share_no_name_and_no_class():
    tok = tokenizer("qwen")
    for world in WorldName:
        seen = {}
        for split in Split:
            pairs = OntologyCot(world=world, distractors=2, shots=3).pairs(tok, split, 40, 0)
            words = {w for pair in pairs for row in read(pair.clean).statements for w in row}
            stays = {w for pair in pairs for w in pair.cluster.split(",")} | {w for w in words if w[0].isupper()}
            shots = {word for word in pairs[0].clean[: pairs[0].clean.rindex("Input:")].replace(".", "").split()}
            assert not stays & shots
            seen[split] = stays
        for one, other in ((Split.DISCOVERY, Split.TEST), (Split.DISCOVERY, Split.VALIDATION), (Split.VALIDATION, Split.TEST)):  # fmt: skip
            assert not seen[one] & seen[other]


def test_exemplars_are_the_same_in_every_prompt_and_never_touched():
    tok = tokenizer("llama3")
    fronts = set()
    for split in Split:
        for step in ("copy-1", "induction-9"):
            for pair in OntologyCot(step=step, shots=2).pairs(tok, split, 5, 0):
                fronts.add(pair.clean[: pair.clean.rindex("Input:")])
                n = pair.classes.count("shot")
                assert set(pair.classes[:n]) == {"shot"} and pair.classes[n] == "early"
                assert pair.clean_ids[:n] == pair.counterfactual_ids[:n]
                assert pair.clean_ids[0] == tok.bos_token_id
    (front,) = fronts
    assert front.count("Input:") == 2 and front.endswith("\n")
    for solved in front.strip().replace("\nInput:", "|Input:").split("|"):
        label = solved.rsplit(" ", 1)[1]
        assert label == str(follows(read(solved.rsplit(" ", 1)[0])))


@pytest.mark.parametrize("name", NAMES)
def test_exemplars_tokenized_once_or_with_every_prompt(name):
    tok = tokenizer(name)
    whole, once = Encoder(tok), PromptEncoder(tok)
    task = OntologyCot(shots=3, step="copy-3")
    source = task.source(tok, Split.TEST, 0)
    questions = [question for question, _ in zip(source.questions(), range(6), strict=False)]
    layouts = [source.layout(question, once) for question in questions]
    assert once.encode(questions, layouts) == whole.encode(questions, layouts)
    assert once._heads[layouts[0]] is not None


def test_same_arguments_same_pairs():
    tok = tokenizer("neox")
    task = OntologyCot(shots=1)
    one, two = (task.pairs(tok, Split.TEST, 20, 3) for _ in range(2))
    assert one == two and data_hash(one) == data_hash(two)
    assert task.pairs(tok, Split.TEST, 20, 4) != one
    assert task.pairs(tok, Split.TEST, 8, 3) == one[:8]
    other = OntologyCot(shots=1, split_seed=5).pairs(tok, Split.TEST, 5, 3)
    for pair in other:
        check_ontology_pair(tok, pair, split_seed=5)


def test_candidates_are_the_words_of_the_split():
    tok = tokenizer("gpt2")
    for step, places in (("decision-0", ("A",)), ("induction-9", ("r",)), ("copy-1", ("n",))):
        pairs = OntologyCot(step=step, shots=0).pairs(tok, Split.TEST, 60, 0)
        assert len({pair.candidates for pair in pairs}) == len(places)
        assert {pair.answer_token for pair in pairs} | {pair.foil_token for pair in pairs} <= set(pairs[0].candidates)
        assert len(pairs[0].candidates) > 20


def test_front_token_follows_the_option():
    for name in ("gpt2", "llama2"):
        tok = tokenizer(name)
        for bos in Bos:
            (pair,) = OntologyCot(bos=bos, shots=0).pairs(tok, Split.TEST, 1, 0)
            front = front_ids(tok, bos)
            assert pair.clean_ids[: len(front)] == front and pair.classes.count("bos") == len(front)


REFUSED = [
    ({"hops": 4}, "Expected 1 to 3 hops, found 4"),
    ({"distractors": 1}, "Expected 0, 2 or 4 distractors, found 1"),
    ({"shots": 10}, "Expected 0 to 9 shots, found 10"),
    ({"step": "copy-5"}, "found 'copy-5'. Use one of decision-0, copy-1, .*, induction-9"),
    ({"step": "induction-9", "hops": 1}, "a chain of 1 hops, found 'induction-9'"),
    ({"step": "decision-4"}, "Expected a kind of decision-4, found consistent. Use kind=chain or kind=control"),
    (
        {"step": "copy-1", "kind": Kind.CHAIN},
        "Expected a kind of copy-1, found chain. Use kind=consistent or kind=cont",
    ),
    ({"kind": Kind.CONTROL}, "Expected distractors to change for kind control, found none. Use distractors=2"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        OntologyCot(**options)


@pytest.mark.parametrize("tok", [number_tokenizer("gpt2"), number_tokenizer("llama2"), characters()])
def test_tokenizers_with_small_pieces_are_refused_with_the_reason(tok):
    """Where words are spelled letter by letter, at most 26 of a kind begin differently."""
    with pytest.raises(TokenizerMismatch, match=r"with equally many tokens and first tokens of their own: at least \d"):
        OntologyCot(hops=3, distractors=4).pairs(tok, Split.VALIDATION, 4, 0)


def test_options_as_text():
    task = build(OntologyCot, "ontology-cot", {"step": "copy-7", "world": "false", "distractors": "4"})
    assert isinstance(task, Task) and task.step == "copy-7" and task.world is WorldName.FALSE
    with pytest.raises(BadOption, match="Expected 1 to 3 hops"):
        build(OntologyCot, "ontology-cot", {"hops": "0"})


@pytest.mark.real_model
@pytest.mark.parametrize("world", WorldName)
def test_real_tokenizer(world):
    tok = AutoTokenizer.from_pretrained(default_cache() / "models" / "smollm2")
    for step, hops in (("induction-13", 3), ("decision-2", 2), ("copy-3", 1)):
        pairs = OntologyCot(step=step, hops=hops, world=world, distractors=4, shots=3).pairs(tok, Split.TEST, 20, 0)
        assert len(pairs) == 20
        for pair in pairs:
            check_ontology_pair(tok, pair)


def test_a_model_must_answer_clean_and_counterfactual_prompts_where_these_have_one_answer():
    for kind, asked in (("consistent", True), ("control", True), ("question", False), ("chain", False)):
        gate = OntologyCot(kind=Kind(kind), distractors=2).info.gate
        assert (gate.share, gate.vocabulary, gate.counterfactual) == (0.8, True, asked)
    assert OntologyCot.info.gate.counterfactual
