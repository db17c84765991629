"""Three-operand arithmetic as a source of questions."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from arithloc.benchmark.api import Split, TooFewPairs
from arithloc.tasks.arith3_expressions import LABELS, Expression
from arithloc.tasks.arith3_grid import Triple, TripleRange, Triples, triples
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.kinds import Kind, in_random_order
from arithloc.tasks.layout import Bos, Exemplar, Layout, asked, lay_out
from arithloc.tasks.questions import Frame, Question, render
from arithloc.tasks.sources import Proposal
from arithloc.tasks.splits import split_of
from arithloc.tasks.strata import MEMORISED_UP_TO, flag
from arithloc.tasks.truth import agrees

ALL_THREE = frozenset({"operand1", "operand2", "operand3"})
KINDS = (Kind.OPERANDS, Kind.SINGLE_OPERAND, Kind.SAME_ANSWER)

MAX_TRIPLES = 50_000
"""Triples of one expression that are looked at for clean questions."""

MAX_TRIES = 4_000
"""Triples that are looked at for one counterfactual or for the exemplars of one frame."""

N_FOILS = 64
"""Foils tried for one pair."""


@dataclass(frozen=True)
class ThreeOperandSource:
    """Questions and counterfactuals of three operands.

    Attributes:
        task: name stored in every pair.
        frames: templates with their expressions, drawn equally often.
        valid: which triples are valid.
        shots: exemplars in front.
        chat: use the tokenizer's chat template.
        bos: whether a token stands in front.
        kind: how counterfactuals differ.
        split: part of the task.
        split_seed: decides which triples belong to it.
        seed: sampling seed.
        keep_digits: counterfactual operands keep their digit counts.
    """

    task: str
    frames: tuple[tuple[Frame, Expression], ...]
    valid: TripleRange
    shots: int
    chat: bool
    bos: Bos
    kind: Kind
    split: Split
    split_seed: int
    seed: int
    keep_digits: bool

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every pair."""
        return {"shots": str(self.shots), "surface": "chat" if self.chat else "spaced"}

    @cached_property
    def _expressions(self) -> dict[str, Expression]:
        return {expression.text: expression for _, expression in self.frames}

    @cached_property
    def _exemplars(self) -> dict[str, tuple[Triple, ...]]:
        return {}

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        return {}

    def _grid(self, expression: Expression) -> Triples:
        return triples(expression, self.valid)

    def exemplars(self, expression: Expression) -> tuple[Triple, ...]:
        """Triples of the exemplars of an expression: of the discovery split, each with another result.

        Raises:
            TooFewPairs: there are not enough.
        """
        if expression.text not in self._exemplars:
            rng = random.Random(f"arithloc/exemplars/1/{self.split_seed}/{expression.text}/{self.valid.range}")  # noqa: S311
            chosen: dict[int | None, Triple] = {}
            for triple in islice(in_random_order(self._grid(expression), rng), MAX_TRIES if self.shots else 0):
                if len(chosen) == self.shots:
                    break
                if split_of(self.split_seed, triple.key) is Split.DISCOVERY:
                    chosen.setdefault(self.valid.result(expression, triple), triple)
            if len(chosen) < self.shots:
                raise TooFewPairs(
                    f"Expected {self.shots} exemplars of {expression.text}, found {len(chosen)} with different results in "
                    f"{self.valid.range}. Use fewer shots, digits=n300 or other expressions."
                )
            self._exemplars[expression.text] = tuple(chosen.values())
        return self._exemplars[expression.text]

    def questions(self) -> Iterator[Question]:
        """The frames in turn, each with another valid triple of the split every time."""
        rng = random.Random(f"{self.seed}/{self.task}/{self.split.value}/{self.kind.value}")  # noqa: S311
        running = [(frame, expression, self._members(expression, rng)) for frame, expression in self.frames]
        while running:
            rng.shuffle(running)
            turn = [(place, next(place[2], None)) for place in running]
            for (frame, expression, _), triple in turn:
                if triple is not None:
                    yield question_of(frame, expression, self.valid, triple)
            running = [place for place, triple in turn if triple is not None]

    def _members(self, expression: Expression, rng: random.Random) -> Iterator[Triple]:
        """Triples of the split in random order, without those of the exemplars' clusters."""
        reserved = {triple.key for triple in self.exemplars(expression)}
        own = random.Random(f"{rng.random()}/{expression.text}")  # noqa: S311
        for triple in islice(in_random_order(self._grid(expression), own), MAX_TRIPLES):
            if split_of(self.split_seed, triple.key) is self.split and triple.key not in reserved:
                yield triple

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """Candidate counterfactuals of the kind."""
        triple, expression = Triple(*map(int, clean.key)), self._expressions[clean.operator]
        foils = self._foils(clean, expression, rng) if self.kind is Kind.SAME_ANSWER else ()
        reserved = {exemplar.key for exemplar in self.exemplars(expression)}
        for other, tag in self._edits(expression, triple, rng):
            if self.keep_digits and other.widths != triple.widths:
                continue
            if other.key in reserved or split_of(self.split_seed, other.key) is not self.split:
                continue
            asked_ = question_of(clean.frame, expression, self.valid, other)
            if (asked_.answer == clean.answer) == (self.kind is Kind.SAME_ANSWER):
                edited = ALL_THREE if not tag else frozenset({f"operand{tag}"})
                strata = (("edited_operand", tag),) if tag else ()
                yield Proposal(asked_, edited, foils, bool(foils), strata)

    def _edits(self, expression: Expression, clean: Triple, rng: random.Random) -> Iterator[tuple[Triple, str]]:
        """Other triples, with the number of the operand that is changed where it is one."""
        grid = self._grid(expression)
        match self.kind:
            case Kind.SINGLE_OPERAND:
                options = [(place, n) for place in range(3) for n in self.valid.operands if n != clean[place]]
                for place, number in in_random_order(options, rng):
                    other = Triple(*(number if i == place else n for i, n in enumerate(clean)))
                    if self.valid.result(expression, other) is not None:
                        yield other, str(place + 1)
            case Kind.SAME_ANSWER:
                result = self.valid.result(expression, clean)
                places = grid.places(result) if result is not None else range(0)
                for index in islice(in_random_order(places, rng), MAX_TRIES):
                    if (other := grid[index]).key != clean.key:
                        yield other, ""
            case _:
                for other in islice(in_random_order(grid, rng), MAX_TRIES):
                    if all(a != b for a, b in zip(clean, other, strict=True)) and other.key != clean.key:
                        yield other, ""

    def _foils(self, clean: Question, expression: Expression, rng: random.Random) -> tuple[str, ...]:
        """Results of other triples, in random order."""
        results = islice(in_random_order(self._grid(expression).results, rng), N_FOILS)
        return tuple(text for result in results if (text := self.valid.written(result)) != clean.answer)

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of the questions of a frame.

        Raises:
            ValueError: an exemplar that does not mean its answer.
        """
        if question.frame.id not in self._layouts:
            expression = self._expressions[question.operator]
            solved = []
            for triple in self.exemplars(expression):
                shown = question_of(question.frame, expression, self.valid, triple)
                if not self.truth(shown):
                    raise ValueError(f"the exemplar {shown.body!r} does not mean {shown.answer}")
                solved.append(Exemplar(shown, shown.answer))
            probe = replace(question, answer=self.valid.written(1))
            self._layouts[question.frame.id] = lay_out(encoder.tokenizer, probe, solved, self.chat, self.bos)
        return self._layouts[question.frame.id]

    def answers(self, operator: str) -> Sequence[str]:
        """Every result of the range; expressions share them, though not every one has all."""
        return [self.valid.written(result) for result in sorted(self.valid.results)]

    def truth(self, question: Question) -> bool:
        """Whether the text of the question means its answer."""
        return agrees(asked(question, self.chat), question.answer)


def question_of(frame: Frame, expression: Expression, valid: TripleRange, triple: Triple) -> Question:
    """A frame filled with a triple.

    Raises:
        ValueError: the triple is not valid.
    """
    result = valid.result(expression, triple)
    if result is None:
        raise ValueError(f"{triple} is not a valid question of {expression.text} in {valid.range}")
    values = {name: valid.written(operand) for name, operand in zip("xyz", triple, strict=True)}
    strata = {
        "digits": ",".join(str(len(str(number))) for number in (*triple, result)),
        "magnitude": str(10 ** (len(str(result)) - 1)),
        "copy_shortcut": flag(expression.value(*triple, False) is None),
        "answer_is_operand": flag(result in triple),
        "memorised": flag(max(triple) <= MEMORISED_UP_TO),
    }
    return Question(
        frame,
        expression.text,
        render(frame.body, LABELS, values),
        valid.written(result),
        tuple(triple),
        triple.key,
        tuple(strata.items()),
    )
