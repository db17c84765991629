"""Ontology chains of thought as a source of questions."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from arithloc.benchmark.api import Split
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.layout import Bos, Exemplar, Layout, lay_out
from arithloc.tasks.ontology_chain import Step, WordType
from arithloc.tasks.ontology_edits import CONFLICTS, Kind, edits, stored_name
from arithloc.tasks.ontology_items import Item, Order, Puzzle, draw_item
from arithloc.tasks.ontology_text import prompt, solved
from arithloc.tasks.ontology_truth import next_word, verdict
from arithloc.tasks.ontology_worlds import World
from arithloc.tasks.questions import Frame, Piece, Question
from arithloc.tasks.sources import Proposal

MAX_ITEMS = 100_000
"""Most clean questions of a draw."""

MAX_REPEATS = 1000
"""Questions in a row that were there already, after which the words are taken to be used up."""


@dataclass(frozen=True)
class OntologySource:
    """Questions and counterfactuals of one step.

    Attributes:
        task: name stored in every pair.
        world: draws the ontologies of the split.
        shown: draws those of the exemplars.
        step: the scored word.
        site: where counterfactuals are edited.
        order: order of the statements.
        shots: solved questions in front.
        bos: whether a token stands in front.
        split: part of the task.
        split_seed: decides the exemplars.
        seed: sampling seed.
    """

    task: str
    world: World
    shown: World
    step: Step
    site: Kind
    order: Order
    shots: int
    bos: Bos
    split: Split
    split_seed: int
    seed: int

    @property
    def kind(self) -> str:
        """How its counterfactuals differ."""
        return stored_name(self.step, self.site)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every pair."""
        return {
            "distractors": str(self.world.distractors),
            "hops": str(self.world.hops),
            "shots": str(self.shots),
            "step_type": self.step.type.value,
            "world": self.world.name.value,
        }

    @property
    def operator(self) -> WordType:
        """Type of the scored word."""
        return self.step.word_type(self.world.hops)

    def item(self, index: int) -> Item:
        """Item `index` of the split: the same for every step and kind; labels alternate."""
        if index not in self._items:
            rng = random.Random(f"{self.seed}/{self.task}/{self.split.value}/{index}")  # noqa: S311
            self._items[index] = draw_item(self.world, self.order, index % 2 == 0, rng)
        return self._items[index]

    def questions(self) -> Iterator[Question]:
        """Clean questions in drawing order, each once."""
        seen: set[tuple[Piece, ...]] = set()
        repeats = 0
        for index in range(MAX_ITEMS):
            item = self.item(index)
            clean = self._question(item, index, item.puzzle, item.word(self.step), _tags(item, self.step))
            repeats = repeats + 1 if clean.pieces in seen else 0
            if repeats == MAX_REPEATS:
                return
            if repeats == 0:
                seen.add(clean.pieces)
                yield clean

    @cached_property
    def _items(self) -> dict[int, Item]:
        return {}

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """Candidate counterfactuals of the kind."""
        index = int(clean.key[0])
        item = self.item(index)
        foils = (item.word(self.step, chain=1),) if self.site is Kind.CONTROL else ()
        for edit in edits(item, self.step, self.site, self.world, rng):
            other = self._question(item, index, edit.puzzle, edit.answer)
            yield Proposal(other, edit.edited, foils, bool(foils))

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of all questions."""
        if encoder not in self._layouts:
            self._layouts[encoder] = lay_out(encoder.tokenizer, question, self.exemplars, False, self.bos)
        return self._layouts[encoder]

    @cached_property
    def _layouts(self) -> dict[Encoder, Layout]:
        return {}

    @cached_property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """Solved questions, the same for every split, step, kind and sampling seed; their labels alternate."""
        rng = random.Random(f"arithloc/exemplars/1/{self.split_seed}/{self.task}")  # noqa: S311
        return tuple(self._exemplar(rng, index % 2 == 0) for index in range(self.shots))

    def _exemplar(self, rng: random.Random, label: bool) -> Exemplar:
        item = draw_item(self.shown, self.order, label, rng)
        question = Question(Frame("solved", ""), "label", solved(item.puzzle), str(label), (), item.classes)
        if verdict(question.body) is not label:
            raise ValueError(f"the exemplar {question.body!r} does not mean {label}")
        return Exemplar(question, question.answer)

    def answers(self, operator: str) -> Sequence[str]:
        """Every word of the split of the scored type."""
        return self.world.vocabulary.words(WordType(operator))

    def truth(self, question: Question) -> bool:
        """Whether the text means the answer; in a conflict, whether the edited one of question and chain does."""
        by_question, by_chain = next_word(question.body)
        if by_question == by_chain or self.site not in CONFLICTS:
            return by_question == by_chain == question.answer
        return question.answer == (by_question if self.site is Kind.QUESTION else by_chain)

    def _question(
        self, item: Item, index: int, puzzle: Puzzle, answer: str, strata: tuple[tuple[str, str], ...] = ()
    ) -> Question:
        frame = Frame(self.step.name, "", style="qa")
        pieces = prompt(puzzle, self.step)
        return Question(frame, self.operator.value, pieces, answer, (index,), item.classes, strata)


def _tags(item: Item, step: Step) -> tuple[tuple[str, str], ...]:
    """Tags of a clean question; `source` is the place of the statement that ends in the answer."""
    word = item.word(step)
    places = [slot for slot, statement in enumerate(item.puzzle.statements) if statement.object == word]
    source = (("source", str(places[0] + 1)),) if places else ()
    return (("label", str(item.label)), ("order", item.order), *source)
