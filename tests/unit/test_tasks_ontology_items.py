"""Ontology items as words: every item is solved by a reasoner that reads the text, every kind edits what it declares."""

import random
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from support.ontology_reasoner import follows, gold, next_by_chain, next_by_question, read

from arithloc.benchmark.api import Split, TooFewPairs
from arithloc.tasks.layout import Bos
from arithloc.tasks.ontology_chain import Step, WordType, chain_of, steps
from arithloc.tasks.ontology_edits import CONFLICTS, Kind, kinds
from arithloc.tasks.ontology_items import Order
from arithloc.tasks.ontology_source import OntologySource
from arithloc.tasks.ontology_taxonomy import may_hold, trees
from arithloc.tasks.ontology_truth import next_word, verdict
from arithloc.tasks.ontology_vocabulary import Vocabulary, WorldName, divide
from arithloc.tasks.ontology_words import ENTITIES, PROPERTIES, nonce_nouns
from arithloc.tasks.ontology_worlds import World

N_ITEMS = 100
REAL = [word for tree in trees() for path in tree.paths for word in path]
PATHS = [path for tree in trees() for path in tree.paths]
PARENT = {pair for leaf, middle, top in PATHS for pair in ((leaf, middle), (middle, top), (leaf, top))}
CASES = [(hops, world, distractors) for hops in (1, 2, 3) for world in WorldName for distractors in (0, 2, 4)]


@cache
def parts(world):
    if world is WorldName.FICTIONAL:
        return divide(Vocabulary(ENTITIES, nonce_nouns()[:400], PROPERTIES), 0, 30)
    said = tuple(dict.fromkeys(word for tree in trees() for word in tree.properties))
    return divide(Vocabulary(ENTITIES, tuple(dict.fromkeys(REAL)), said, trees()), 0, 30)


def source(hops=2, world=WorldName.FICTIONAL, distractors=0, step=5, kind=Kind.CONSISTENT, order=Order.SHUFFLED):
    words = parts(world)
    return OntologySource(
        task="ontology-cot",
        world=World(world, words[Split.TEST], hops, distractors),
        shown=World(world, words[None], hops, distractors),
        step=Step(step),
        site=kind,
        order=order,
        shots=4,
        bos=Bos.ALWAYS,
        split=Split.TEST,
        split_seed=0,
        seed=7,
    )


def some(made, n):
    return [question for question, _ in zip(made.questions(), range(n), strict=False)]


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_steps(hops):
    """4n + 2 scored words: decision and copy in turn, but the object of every derived sentence is an induction."""
    found = [step.name for step in steps(hops)]
    ten = "decision-0 copy-1 decision-2 copy-3 decision-4 induction-5 decision-6 copy-7 decision-8 induction-9".split()
    more = "decision-10 copy-11 decision-12 induction-13".split()
    assert found == [*ten, *more][: {1: 6, 2: 10, 3: 14}[hops]]


def test_word_types_of_two_hops():
    assert [step.word_type(2).value for step in steps(2)] == [
        "entity", "class", "class", "class", "entity", "class", "class", "property", "entity", "property",
    ]  # fmt: skip
    words = [word for sentence in chain_of("Max", ("blim", "dup", "red")) for word in sentence]
    assert words == "Max blim blim dup Max dup dup red Max red".split()


@pytest.mark.parametrize(("hops", "world", "distractors"), CASES)
def test_a_reasoner_agrees_with_every_item(hops, world, distractors):
    """The label is what forward chaining says; at a step that turns with the item, so is the next word."""
    made = source(hops, world, distractors)
    labels = Counter()
    for index in range(N_ITEMS):
        item = made.item(index)
        step = steps(hops)[index % (4 * hops + 2)]
        one = source(hops, world, distractors, step.index)
        text = one._question(item, index, item.puzzle, item.word(step)).body
        prompt = read(text)
        assert len(prompt.statements) == 2 * (hops + 1) + distractors
        assert follows(prompt) is item.label is verdict(text)
        assert next_by_question(prompt) == next_by_chain(prompt) == item.word(step)
        words = [word for sentence in item.puzzle.chain for word in sentence]
        assert gold(prompt.statements, prompt.query[0]) == words and len(words) == 4 * hops + 2
        labels[item.label] += 1
        check_world(world, prompt)
    assert abs(labels[True] - labels[False]) <= 1


def check_world(world, prompt):
    rules = [row for row in prompt.statements if row[0] not in ENTITIES]
    of = {word: tree for tree in trees() for path in tree.paths for word in path}
    for subject, object_ in rules:
        if world is WorldName.FICTIONAL:
            assert subject in nonce_nouns() and object_ in (*nonce_nouns(), *PROPERTIES)
        elif world is WorldName.TRUE:
            assert (subject, object_) in PARENT or object_ in of[subject].properties
        elif object_ in of:
            assert of[subject] is not of[object_]
        else:
            assert not may_hold(of[subject], object_)


SITES = [(hops, step, kind) for hops in (1, 2, 3) for step in steps(hops) for kind in kinds(step)]


@pytest.mark.parametrize(("hops", "step", "kind"), SITES, ids=[f"{h}-{s.name}-{k}" for h, s, k in SITES])
def test_kinds_edit_what_they_declare(hops, step, kind):
    world = list(WorldName)[(hops + step.index) % 3]
    made = source(hops, world, 2, step.index, kind)
    rng = random.Random(0)  # noqa: S311
    for clean in some(made, 6):
        proposal = next(made.proposals(clean, rng))
        before, after = read(clean.body), read(proposal.question.body)
        assert before.spans().keys() == after.spans().keys()
        differ = {place for place, word in before.spans().items() if after.spans()[place] != word}
        assert differ == proposal.edited == declared(step, kind, before, after)
        check_answers(step, kind, before, after, clean.answer, proposal)
        assert made.truth(clean) and made.truth(proposal.question)
        assert not made.truth(replace(clean, answer="wrong"))


def declared(step, kind, before, after):
    """The places that a kind may edit, found from the text."""
    statements = {subject: number for number, (subject, _) in enumerate(before.statements, start=1)}
    chain = before.chain
    if kind is Kind.CONTROL:
        entities = [subject for subject in statements if subject in ENTITIES]
        used = {word for entity in entities for word in gold(before.statements, entity)}
        spare = {n for s, n in statements.items() if s not in used}
        (changed,) = [n for n in spare if before.statements[n - 1] != after.statements[n - 1]]
        return {f"question{changed}_object"}
    if step.index == 0:
        return {"query_subject"}
    if step.is_object and not step.is_derived:
        return {f"question{statements[before.begun]}_object"}
    if step.is_object:  # induction: the rule in front of the sentence
        question = {f"question{statements[chain[-1][0]]}_object"}
        said = {f"chain{len(chain)}_object"}
        return {Kind.QUESTION: question, Kind.CHAIN: said, Kind.CONSISTENT: question | said}[kind]
    if step.is_derived:
        return {f"chain{n}_subject" for n in range(1, len(chain) + 1) if n == 1 or n % 2}
    arrived = chain[-1][1]
    support = {f"question{n}_object" for n, (_, object_) in enumerate(before.statements, 1) if object_ == arrived}
    depth = sum(1 for subject, _ in chain if subject != before.query[0])
    (other,) = [s for s, _ in before.statements if s in ENTITIES and s != before.query[0]]
    there = gold(before.statements, other)[4 * depth + 1 if depth == 0 else 4 * depth - 1]
    support |= {f"question{n}_object" for n, (_, object_) in enumerate(before.statements, 1) if object_ == there}
    return support | {f"chain{n}_object" for n, (_, object_) in enumerate(chain, 1) if object_ == arrived}


def check_answers(step, kind, before, after, answer, proposal):
    changed = proposal.question.answer
    by_question, by_chain = next_by_question(after), next_by_chain(after)
    assert (by_question, by_chain) == next_word(proposal.question.body)
    match kind:
        case Kind.CONSISTENT:
            assert by_question == by_chain == changed != answer
        case Kind.QUESTION:
            assert by_chain == answer and by_question == changed != answer
        case Kind.CHAIN:
            assert by_question == answer and by_chain == changed != answer
        case Kind.CONTROL:
            assert by_question == by_chain == changed == answer
            (foil,) = proposal.foils
            assert foil in before.words() and foil != answer and proposal.foil_first_token
    new = after.words() - before.words()
    swapped = step.type.value == "decision" or kind is Kind.CHAIN
    assert len(new) == (0 if swapped and kind is not Kind.CONTROL else 1)
    for word in new:
        (place,) = {p for p, w in after.spans().items() if w == word and p.startswith("question")}
        old = before.spans()[place]
        assert old != word and (old in said_properties()) == (word in said_properties())


def said_properties():
    return {*PROPERTIES, *(word for tree in trees() for word in tree.properties)}


def test_orders():
    """Shuffled: every statement stands everywhere; paper: property rule, rules, fact, entity by entity."""
    shuffled = source(distractors=2)
    places = Counter(shuffled.item(i).order.split().index("a0") for i in range(160))
    assert set(places) == set(range(8)) and min(places.values()) >= 8
    fixed = {source(distractors=2, order=Order.PAPER).item(i).order for i in range(20)}
    assert fixed == {"a2 a1 a0 b2 b1 b0 c2 c1", "b2 b1 b0 a2 a1 a0 c2 c1"}
    third = [source(distractors=2, order=Order.PAPER).item(i).puzzle.statements[2].subject for i in range(5)]
    assert set(third) <= set(ENTITIES)


def test_items_do_not_depend_on_step_and_kind():
    one, two = source(step=0), source(step=9, kind=Kind.QUESTION)
    assert [one.item(i) for i in range(20)] == [two.item(i) for i in range(20)]
    assert one.item(0) != one.item(2)


def test_exemplars_share_no_name_or_class_with_the_items():
    made = source(distractors=2)
    shown = set()
    for index, exemplar in enumerate(made.exemplars):
        prompt = read(exemplar.question.body)
        assert exemplar.answer == str(follows(prompt)) == str(index % 2 == 0)
        words = gold(prompt.statements, prompt.query[0])
        assert [word for row in prompt.chain for word in row] == words
        shown |= prompt.words()
    assert len(made.exemplars) == 4
    for split in Split:
        own = parts(WorldName.FICTIONAL)[split]
        assert not shown & {*own.entities, *own.classes, *own.properties}


def test_what_a_vocabulary_lacks():
    few = Vocabulary(("Max", "Sam"), tuple(nonce_nouns()[:4]), PROPERTIES)
    assert World(WorldName.FICTIONAL, few, 2, 0).check() == "5 classes, found 4"
    assert World(WorldName.FICTIONAL, few, 2, 0).check(spare=0) == ""
    two = trees()[:2]
    classes = tuple(dict.fromkeys(word for tree in two for path in tree.paths for word in path))
    said = tuple(word for tree in two for word in tree.properties)
    assert World(WorldName.TRUE, Vocabulary(ENTITIES, classes, said, two), 3, 0).check() == ""
    lacking = World(WorldName.TRUE, Vocabulary(ENTITIES, classes, said, two), 1, 2).check()
    assert lacking == "3 taxonomies of 2 levels, found 2"
    one = Vocabulary(ENTITIES, tuple(dict.fromkeys(w for p in trees()[0].paths for w in p)), said, trees()[:1])
    with pytest.raises(
        TooFewPairs, match="Expected ontologies of the false world, found none in 1000 draws from 1 tax"
    ):
        World(WorldName.FALSE, one, 2, 0).draw(random.Random(0))  # noqa: S311


def test_questions_end_when_the_words_are_used_up():
    """Two names, two classes, two properties: a finite grid."""
    small = Vocabulary(("Max", "Sam"), ("blim", "dup"), ("red", "big"))
    made = replace(source(hops=1, step=0), world=World(WorldName.FICTIONAL, small, 1, 0))
    texts = [question.body for question in made.questions()]
    # asked entity 2 x its class 2 x its property 2 x labels 2; facts and property rules take turns: orders 2 x 2! x 2!
    assert len(texts) == len(set(texts)) == 2**4 * 8


@pytest.mark.parametrize("kind", sorted(CONFLICTS))
def test_a_conflict_has_two_readings(kind):
    made = source(kind=kind)
    clean = some(made, 1)[0]
    rng = random.Random(0)  # noqa: S311
    other = next(made.proposals(clean, rng)).question
    by_question, by_chain = next_word(other.body)
    assert by_question != by_chain
    assert other.answer == (by_question if kind is Kind.QUESTION else by_chain)


def test_a_text_without_a_query_has_no_verdict():
    assert verdict("Input: Max is blim.") is None
    assert next_word("Input: Max is blim.") == ("", "")


def test_every_word_has_one_type():
    entities, nonce, real, said = set(ENTITIES), set(nonce_nouns()), set(REAL), said_properties()
    assert len(ENTITIES) == len(entities) and len(nonce_nouns()) == len(nonce)
    for one, two in ((entities, nonce | real | said), (nonce, real | said), (real, said)):
        assert not one & two
    members = [{word for path in tree.paths for word in path} for tree in trees()]
    assert sum(map(len, members)) == len(real)
    assert {kind.value for kind in WordType} == {"entity", "class", "property"}


def test_the_example_of_the_page():
    """The prompt in docs/ontology.md and the table of its words."""
    page = (Path(__file__).parents[2] / "docs" / "ontology.md").read_text(encoding="utf-8")
    prompt = read(page.split("```text\n")[1].split("\n```")[0])
    rows = [row.strip("| ").replace("`", "").split(" | ") for row in page.splitlines() if row.startswith("| `step`")]
    assert rows[0][1:] == [step.name for step in steps(2)]
    (words,) = [row.strip("| ").split(" | ")[1:] for row in page.splitlines() if row.startswith("| word")]
    assert words == gold(prompt.statements, prompt.query[0])
    assert follows(prompt) and next_by_chain(prompt) == words[-1]
