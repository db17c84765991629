"""Two-operand arithmetic as a source of questions, for any operator."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from arithloc.benchmark.api import SHOT, Split
from arithloc.tasks.drawing import Proposal
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.exemplars import exemplar_operands
from arithloc.tasks.frames import LABELS, REPLY_LABELS, operator_slot
from arithloc.tasks.grid import Grid, Operands, enumerate_grid
from arithloc.tasks.kinds import Kind, Pool, edits, in_random_order, pool
from arithloc.tasks.layout import Bos, Exemplar, Layout, asked, lay_out
from arithloc.tasks.operators import NULL_SYMBOLS, NULL_WORDS, OPERATORS
from arithloc.tasks.questions import OPERATOR, Frame, Question, render, text_of
from arithloc.tasks.strata import arithmetic_strata
from arithloc.tasks.truth import evaluate

N_FOILS = 64
"""Foils tried for one pair."""

N_ANSWERS = 20_000
"""Most results whose tokens are looked up for the candidates."""

FOIL_KINDS = frozenset({Kind.OPERATOR_NULL, Kind.SAME_ANSWER, Kind.ORDER_SWAP})


@dataclass(frozen=True)
class TwoOperandSource:
    """Questions and counterfactuals of one operator, or of several that are asked equally often.

    Attributes:
        task: name stored in every pair.
        grids: valid operand pairs of each operator that is asked; all of them admit those of the first.
        swaps: where the operator is edited, the grid of the operator that replaces each one; otherwise empty.
        frames: templates, drawn equally often.
        surface: `spaced`, `tight` or `chat`, as a tag.
        shots: exemplars in front.
        chat: use the tokenizer's chat template.
        bos: whether a token stands in front.
        kind: how counterfactuals differ.
        balance: tag whose values are drawn equally often, or empty.
        split: part of the task.
        split_seed: decides which operand pairs belong to it.
        seed: sampling seed.
        keep_digits: counterfactual operands keep their digit counts.
    """

    task: str
    grids: tuple[Grid, ...]
    swaps: tuple[Grid, ...]
    frames: tuple[Frame, ...]
    surface: str
    shots: int
    chat: bool
    bos: Bos
    kind: Kind
    balance: str
    split: Split
    split_seed: int
    seed: int
    keep_digits: bool

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every pair."""
        return {"shots": str(self.shots), "surface": self.surface}

    @cached_property
    def exemplars(self) -> tuple[Operands, ...]:
        """Operands of the exemplars."""
        if self.shots == 0:
            return ()
        return exemplar_operands(tuple(self._grid_of.values()), self.shots, self.split_seed)

    @cached_property
    def _grid_of(self) -> dict[str, Grid]:
        return {grid.operator: grid for grid in (*self.grids, *self.swaps)}

    def pool(self, operator: str) -> Pool:
        """Operand pairs of the split that are valid for an operator, without those of the exemplars."""
        reserved = frozenset(x.key for x in self.exemplars)
        return pool(self._grid_of[operator], self.split, self.split_seed, reserved)

    def questions(self) -> Iterator[Question]:
        """Every frame with every operand pair, each once; no operand pair comes again before all have come."""
        rng = random.Random(f"{self.seed}/{self.task}/{self.split.value}/{self.kind.value}")  # noqa: S311
        members = self.pool(self.grids[0].operator).members
        offsets = [(rng.randrange(len(self.frames)), rng.randrange(len(self.grids))) for _ in members]
        for turn in range(len(self.frames)):
            order = list(range(len(members)))
            rng.shuffle(order)
            if self.balance:
                order = _interleave(order, [self._tag(members[i]) for i in order])
            for index in order:
                frame = self.frames[(offsets[index][0] + turn) % len(self.frames)]
                grid = self.grids[(offsets[index][1] + turn) % len(self.grids)]
                yield question(frame, grid, members[index])

    def _tag(self, operands: Operands) -> str:
        first = self.grids[0].operator
        return arithmetic_strata(first, operands, self.pool(first).result(operands))[self.balance]

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """Candidate counterfactuals of the kind."""
        operands = Operands(*map(int, clean.key))
        match self.kind:
            case Kind.OPERATOR_SWAP | Kind.SELECTOR_SWAP:
                yield from self._operator_swap(clean, operands)
            case Kind.OPERATOR_NULL:
                yield from self._operator_null(clean, operands, rng)
            case _:
                foils = self._foils(clean, rng) if self.kind in FOIL_KINDS else ()
                for edit in edits(self.kind, self.pool(clean.operator), operands, rng, self.keep_digits):
                    other = question(clean.frame, self._grid_of[clean.operator], edit.operands)
                    yield Proposal(other, edit.edited, foils, bool(foils), edit.strata)

    def _operator_swap(self, clean: Question, operands: Operands) -> Iterator[Proposal]:
        places = [grid.operator for grid in self.grids]
        other = self.swaps[places.index(clean.operator)]
        result = other.result(operands)
        if result is not None and str(result) != clean.answer:
            swapped = question(clean.frame, other, operands)
            yield Proposal(swapped, frozenset({OPERATOR, SHOT}), strata=(("swapped_to", other.operator),))

    def _operator_null(self, clean: Question, operands: Operands, rng: random.Random) -> Iterator[Proposal]:
        slot = operator_slot(clean.frame)
        foils = self._foils(clean, rng)
        for text in NULL_SYMBOLS if slot == "S" else NULL_WORDS:
            values = _values(slot, text, operands)
            nothing, reply = render(clean.frame.body, LABELS, values), render(clean.frame.reply, REPLY_LABELS, values)
            other = Question(clean.frame, clean.operator, nothing, "", clean.key, clean.cluster, reply=reply)
            yield Proposal(other, frozenset({OPERATOR}), foils, strata=(("null", text),))

    def _foils(self, clean: Question, rng: random.Random) -> tuple[str, ...]:
        """Results of other questions of the split, in random order."""
        answers = [str(result) for result in self.pool(clean.operator).results]
        shuffled = in_random_order(answers, rng)
        return tuple(text for text, _ in zip(shuffled, range(N_FOILS), strict=False) if text != clean.answer)

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of the questions of a frame and operator."""
        key = (question.frame.id, question.operator)
        if key not in self._layouts:
            grid = self._grid_of[question.operator]
            solved = [self._exemplar(question.frame, grid, operands) for operands in self.exemplars]
            probe = replace(question, answer="1")  # what matters is whether a digit keeps the space in front of it
            self._layouts[key] = lay_out(encoder.tokenizer, probe, solved, self.chat, self.bos)
        return self._layouts[key]

    @cached_property
    def _layouts(self) -> dict[tuple[str, str], Layout]:
        return {}

    def _exemplar(self, frame: Frame, grid: Grid, operands: Operands) -> Exemplar:
        shown = question(frame, grid, operands)
        if not self.truth(shown):
            raise ValueError(f"the exemplar {shown.body!r} does not mean {shown.answer}")
        return Exemplar(shown, shown.answer)

    def answers(self, operator: str) -> Sequence[str]:
        """Every result of the operator in its range."""
        return _all_answers(self._grid_of[operator])

    def truth(self, question: Question) -> bool:
        """Whether the text of the question, and an equation begun in the reply, mean its answer."""
        texts = [asked(question, self.chat)]
        if question.frame.reply_fields:
            texts.append(text_of(question.reply))
        return all(str(evaluate(text)) == question.answer for text in texts)


def question(frame: Frame, grid: Grid, operands: Operands) -> Question:
    """A frame filled with operands.

    Raises:
        ValueError: the operands are not in the grid.
    """
    result = grid.result(operands)
    if result is None:
        raise ValueError(f"{operands} is not a valid question of {grid.operator} in {grid.range}")
    slot = operator_slot(frame)
    values = _values(slot, OPERATORS[grid.operator].words[slot], operands)
    return Question(
        frame,
        grid.operator,
        render(frame.body, LABELS, values),
        str(result),
        tuple(operands),
        operands.key,
        tuple(arithmetic_strata(grid.operator, operands, result).items()),
        render(frame.reply, REPLY_LABELS, values),
    )


def _values(slot: str, operator: str, operands: Operands) -> dict[str, str]:
    return {"x": str(operands.x), "y": str(operands.y), slot: operator}


@lru_cache(maxsize=64)
def _all_answers(grid: Grid) -> tuple[str, ...]:
    apply = OPERATORS[grid.operator].apply
    results = sorted({result for x, y in enumerate_grid(grid) if (result := apply(x, y)) is not None})
    step = -(-len(results) // N_ANSWERS)  # three-digit products: evenly spaced results begin with every token there is
    return tuple(str(result) for result in results[::step])


def _interleave(order: Sequence[int], tags: Sequence[str]) -> list[int]:
    """The same indices, the tags in turn as long as each lasts."""
    queues: dict[str, list[int]] = {}
    for index, tag in zip(order, tags, strict=True):
        queues.setdefault(tag, []).append(index)
    turns = [(place, index) for queue in queues.values() for place, index in enumerate(queue)]
    return [index for _, index in sorted(turns, key=lambda turn: turn[0])]
