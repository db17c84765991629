"""Counterfactuals of a step: which words of the question and of the chain are replaced, and what then follows."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from arithloc.tasks.ontology_chain import Statement, Step, StepType
from arithloc.tasks.ontology_items import Item, Puzzle, with_object, with_subject
from arithloc.tasks.ontology_worlds import World

MAX_EDITS = 4
"""Candidate edits of one item where a random unused word takes part."""


class Kind(StrEnum):
    """Where the counterfactual is edited."""

    CONSISTENT = "consistent"
    """Smallest edit after which another word is the only right one: question and, where it repeats the edited statement,
    chain."""
    QUESTION = "question"
    """Induction only: the middle link changed in the question, not in the chain. Question and chain disagree."""
    CHAIN = "chain"
    """Induction: the middle link changed in the chain alone; decision 4, 8, 12: the chain speaks of the other entity.
    Question and chain disagree."""
    CONTROL = "control"
    """One distractor changed: the same word follows."""


CONFLICTS = frozenset({Kind.QUESTION, Kind.CHAIN})
"""Kinds whose counterfactual has two readings; for route preference, not for localization scores."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A counterfactual.

    Attributes:
        puzzle: its words.
        answer: the word that follows; where question and chain disagree, the word of the edited one.
        edited: position classes at which the prompts differ.
    """

    puzzle: Puzzle
    answer: str
    edited: frozenset[str]


def kinds(step: Step) -> tuple[Kind, ...]:
    """The kinds that a step has.

    Example:
    >>> [str(kind) for kind in kinds(Step(4))]
    ['chain', 'control']
    """
    if step.type is StepType.INDUCTION:
        return tuple(Kind)
    if step.type is StepType.DECISION and step.is_derived:
        return (Kind.CHAIN, Kind.CONTROL)
    return (Kind.CONSISTENT, Kind.CONTROL)


def stored_name(step: Step, kind: Kind) -> str:
    """Name of the kind in a pair: `decision`, `copy`, `induction_qg`, `induction_q`, `induction_g`, `decision_g`, `control`."""
    if kind is Kind.CONTROL:
        return "control"
    sites = {Kind.QUESTION: "_q", Kind.CHAIN: "_g"}
    return step.type + sites.get(kind, "_qg" if step.type is StepType.INDUCTION else "")


def edits(item: Item, step: Step, kind: Kind, world: World, rng: random.Random) -> Iterator[Edit]:
    """Candidate counterfactuals of an item, for a kind that the step has."""
    if kind is Kind.CONTROL:
        for _ in range(MAX_EDITS):
            yield _distractor(item, step, world, rng)
    elif step.is_object:
        for _ in range(MAX_EDITS):
            yield _link(item, step, kind, world, rng)
    elif step.sentence == 0:
        other = item.entities[1]
        puzzle = replace(item.puzzle, query=item.puzzle.query._replace(subject=other))
        yield Edit(puzzle, other, frozenset({"query_subject"}))
    elif step.is_derived:
        yield _running_entity(item, step)
    else:
        yield _running_class(item, step)


def _link(item: Item, step: Step, kind: Kind, world: World, rng: random.Random) -> Edit:
    """Another object for the statement that says the answer: the source of a copy, the middle link of an induction."""
    puzzle = item.puzzle
    index = step.sentence - 1 if step.is_derived else step.sentence  # the chain's sentence that is the statement
    source = puzzle.chain[index]
    new = world.unused(item.type_of(source.object), puzzle.words, source.subject, rng)
    statements, chain, edited = puzzle.statements, puzzle.chain, set()
    if kind is not Kind.CHAIN:
        slot = puzzle.slot(source)
        statements = with_object(statements, slot, new)
        edited.add(question_class(slot, "object"))
    if kind is not Kind.QUESTION and step.is_derived:
        chain = with_object(chain, index, new)
        edited.add(chain_class(index, "object"))
    return Edit(replace(puzzle, statements=statements, chain=chain), new, frozenset(edited))


def _running_class(item: Item, step: Step) -> Edit:
    """The class in which the chain has arrived exchanged with that of the other entity's chain."""
    puzzle = item.puzzle
    depth = (step.sentence - 1) // 2
    here, there = item.links[0][depth], item.links[1][depth]
    swapped = {here: there, there: here}
    edited = set()
    statements = puzzle.statements
    for slot, statement in enumerate(statements):
        if statement.object in swapped:
            statements = with_object(statements, slot, swapped[statement.object])
            edited.add(question_class(slot, "object"))
    chain = puzzle.chain
    for index in range(step.sentence):
        if chain[index].object == here:
            chain = with_object(chain, index, there)
            edited.add(chain_class(index, "object"))
    return Edit(replace(puzzle, statements=statements, chain=chain), there, frozenset(edited))


def _running_entity(item: Item, step: Step) -> Edit:
    """The chain so far told of the other entity."""
    asked, other = item.entities
    puzzle = with_subject(item.puzzle, asked, other, step.sentence)
    changed = [i for i, (a, b) in enumerate(zip(item.puzzle.chain, puzzle.chain, strict=True)) if a != b]
    return Edit(puzzle, other, frozenset(chain_class(i, "subject") for i in changed))


def _distractor(item: Item, step: Step, world: World, rng: random.Random) -> Edit:
    puzzle = item.puzzle
    slots = [slot for slot, (chain, _) in enumerate(item.places) if chain >= 2]
    slot = rng.choice(slots)
    old: Statement = puzzle.statements[slot]
    new = world.unused(item.type_of(old.object), puzzle.words, old.subject, rng)
    statements = with_object(puzzle.statements, slot, new)
    edited = frozenset({question_class(slot, "object")})
    return Edit(replace(puzzle, statements=statements), item.word(step), edited)


def question_class(slot: int, part: str) -> str:
    """Position class of a part of a statement of the question.

    Example:
    >>> question_class(0, "object")
    'question1_object'
    """
    return f"question{slot + 1}_{part}"


def chain_class(index: int, part: str) -> str:
    """Position class of a part of a sentence of the chain."""
    return f"chain{index + 1}_{part}"
