"""Prompts as labelled text: statements, query and the chain up to the word that is predicted."""

from functools import lru_cache

from arithloc.tasks.ontology_chain import Statement, Step
from arithloc.tasks.ontology_items import Puzzle
from arithloc.tasks.questions import EARLY, Piece

_FRONT = Piece(EARLY, "Input:")
_ASK = Piece("query", " True or false:")
_QUERY_RELATION = Piece("query_relation", " is")
_THINK = Piece("cue", ". Let us think step by step.\nResponse:")


def prompt(puzzle: Puzzle, step: Step) -> tuple[Piece, ...]:
    """The prompt in front of a step's word.

    Every word has a space in front of it, so that its tokens are the same wherever it stands.
    """
    pieces = _question(puzzle)
    for index in range(step.sentence):
        pieces += _sentence(f"chain{index + 1}", puzzle.chain[index])
    if step.is_object:
        pieces += _sentence(f"chain{step.sentence + 1}", puzzle.chain[step.sentence])[:2]
    return tuple(pieces)


def solved(puzzle: Puzzle) -> tuple[Piece, ...]:
    """The prompt with its whole chain, without the label."""
    pieces = _question(puzzle)
    for index, sentence in enumerate(puzzle.chain):
        pieces += _sentence(f"chain{index + 1}", sentence)
    return tuple(pieces)


def _question(puzzle: Puzzle) -> list[Piece]:
    pieces = [_FRONT]
    for slot, statement in enumerate(puzzle.statements):
        pieces += _sentence(f"question{slot + 1}", statement)
    subject, property_ = puzzle.query
    asked = [Piece("query_subject", f" {subject}"), _QUERY_RELATION, Piece("query_object", f" {property_}")]
    return [*pieces, _ASK, *asked, _THINK]


def _sentence(name: str, statement: Statement) -> tuple[Piece, ...]:
    subject, relation, object_, stop = _classes(name)
    return (
        Piece(subject, f" {statement.subject}"),
        relation,
        Piece(object_, f" {statement.object}"),
        stop,
    )


@lru_cache(maxsize=64)
def _classes(name: str) -> tuple[str, Piece, str, Piece]:
    return f"{name}_subject", Piece(f"{name}_relation", " is"), f"{name}_object", Piece(f"{name}_stop", ".")
