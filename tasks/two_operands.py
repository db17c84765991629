"""Two-operand arithmetic as a source of questions, for any operator."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from arithloc.benchmark.api import SHOT, Split, TooFewPairs
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.exemplars import exemplar_operands
from arithloc.tasks.frames import LABELS, REPLY_LABELS, operator_slot
from arithloc.tasks.grid import Grid, Operands, enumerate_grid
from arithloc.tasks.kinds import BOTH, Kind, Pool, edits, in_random_order, pool, widths
from arithloc.tasks.layout import Bos, Exemplar, Layout, asked, lay_out
from arithloc.tasks.operators import NULL_SYMBOLS, NULL_WORDS, OPERATORS
from arithloc.tasks.questions import OPERATOR, Frame, Question, render, text_of
from arithloc.tasks.sources import Proposal
from arithloc.tasks.strata import arithmetic_strata
from arithloc.tasks.truth import agrees

N_FOILS = 64
"""Foils tried for one pair."""

MAX_SPLIT_SEEDS = 50
"""Split seeds that are tried for one that leaves no split without operand pairs."""

N_ANSWERS = 20_000
"""Most results whose tokens are looked up for the candidates."""

FOIL_KINDS = frozenset({Kind.OPERATOR_NULL, Kind.SAME_ANSWER, Kind.SAME_ANSWER_OTHER_OP, Kind.ORDER_SWAP})
SWAP_KINDS = frozenset({Kind.OPERATOR_SWAP, Kind.SELECTOR_SWAP, Kind.SAME_ANSWER_OTHER_OP})
"""Kinds whose counterfactual has another operator."""


@dataclass(frozen=True)
class TwoOperandSource:
    """Questions and counterfactuals of one operator, or of several that are asked equally often.

    Attributes:
        task: name stored in every pair.
        grids: valid operand pairs of each operator that is asked; all of them admit those of the first.
        swaps: for the kinds of `SWAP_KINDS`, the grid of the operator that replaces each one; otherwise empty.
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
        name = f"{self.seed}/{self.task}/{self.split.value}/{self.kind.value}"
        members = self.pool(self.grids[0].operator).members
        if not members:
            raise self._nothing_in_split()
        turns = _turns(name, len(members), len(self.frames), len(self.grids))
        for turn in range(len(self.frames)):
            order = turns.order(turn)
            if self.balance:
                order = _interleave(order, [self._tag(members[i]) for i in order])
            for index in order:
                frame = self.frames[(turns.offsets[index][0] + turn) % len(self.frames)]
                grid = self.grids[(turns.offsets[index][1] + turn) % len(self.grids)]
                yield question(frame, grid, members[index])

    def _nothing_in_split(self) -> TooFewPairs:
        """What to say where a small grid has operand pairs in other splits alone."""
        grid = self.grids[0]
        counts = {split.value: len(pool(grid, split, self.split_seed).members) for split in Split}
        seeds = (seed for seed in range(MAX_SPLIT_SEEDS) if all(pool(grid, s, seed).members for s in Split))
        fit = next(seeds, None)
        return TooFewPairs(
            f"Expected operand pairs of {grid.operator} in {grid.range} for {self.split.value}, found "
            f"{', '.join(f'{n} for {name}' for name, n in counts.items())}"
            f"{f', {self.shots} of them exemplars' if self.shots else ''}. "
            f"Use {f'split_seed={fit} or ' if fit is not None else ''}a larger range."
        )

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
            case Kind.SAME_ANSWER_OTHER_OP:
                yield from self._same_answer_other_op(clean, operands, rng)
            case _:
                foils = self._foils(clean, rng) if self.kind in FOIL_KINDS else ()
                for edit in edits(self.kind, self.pool(clean.operator), operands, rng, self.keep_digits):
                    other = question(clean.frame, self._grid_of[clean.operator], edit.operands)
                    if other.answer != clean.answer:
                        yield Proposal(other, edit.edited, strata=edit.strata)
                    else:
                        yield Proposal(other, edit.edited, foils, True, edit.strata)

    def _swap_of(self, operator: str) -> Grid:
        return self.swaps[[grid.operator for grid in self.grids].index(operator)]

    def _operator_swap(self, clean: Question, operands: Operands) -> Iterator[Proposal]:
        other = self._swap_of(clean.operator)
        result = other.result(operands)
        if result is not None and other.answer(result) != clean.answer:
            swapped = question(clean.frame, other, operands)
            yield Proposal(swapped, frozenset({OPERATOR, SHOT}), strata=(("swapped_to", other.operator),))

    def _same_answer_other_op(self, clean: Question, operands: Operands, rng: random.Random) -> Iterator[Proposal]:
        other, result = self._swap_of(clean.operator), self._grid_of[clean.operator].result(operands)
        same = [] if result is None else self.pool(other.operator).by_result.get(result, [])
        if not same:
            return  # before the foils, which cost as much as all the rest
        foils = self._foils(clean, rng)
        for chosen in in_random_order(same, rng):
            if chosen.key == operands.key or (self.keep_digits and widths(chosen) != widths(operands)):
                continue
            swapped = question(clean.frame, other, chosen)
            edited = BOTH | {OPERATOR, SHOT}
            yield Proposal(swapped, edited, foils, True, (("swapped_to", other.operator),))

    def _operator_null(self, clean: Question, operands: Operands, rng: random.Random) -> Iterator[Proposal]:
        slot = operator_slot(clean.frame)
        foils = self._foils(clean, rng)
        for text in NULL_SYMBOLS if slot == "S" else NULL_WORDS:
            values = _values(self._grid_of[clean.operator], slot, text, operands)
            nothing, reply = render(clean.frame.body, LABELS, values), render(clean.frame.reply, REPLY_LABELS, values)
            other = Question(clean.frame, clean.operator, nothing, "", clean.key, clean.cluster, reply=reply)
            yield Proposal(other, frozenset({OPERATOR}), foils, strata=(("null", text),))

    def _foils(self, clean: Question, rng: random.Random) -> tuple[str, ...]:
        """Results of other questions of the split, in random order."""
        grid, results = self._grid_of[clean.operator], self.pool(clean.operator).results
        shuffled = zip(in_random_order(results, rng), range(N_FOILS), strict=False)
        return tuple(text for result, _ in shuffled if (text := grid.answer(result)) != clean.answer)

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of the questions of a frame and operator."""
        key = (question.frame.id, question.operator)
        if key not in self._layouts:
            grid = self._grid_of[question.operator]
            solved = [self._exemplar(question.frame, grid, operands) for operands in self.exemplars]
            # what matters is whether a digit, or the word that is the answer, keeps the space in front of it
            probe = replace(question, answer=grid.answer(1))
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
        return all(agrees(text, question.answer) for text in texts)


def question(frame: Frame, grid: Grid, operands: Operands) -> Question:
    """A frame filled with operands.

    Raises:
        ValueError: the operands are not in the grid.
    """
    result = grid.result(operands)
    if result is None:
        raise ValueError(f"{operands} is not a valid question of {grid.operator} in {grid.range}")
    slot = operator_slot(frame)
    values = _values(grid, slot, OPERATORS[grid.operator].words[slot], operands)
    return Question(
        frame,
        grid.operator,
        render(frame.body, LABELS, values),
        grid.answer(result),
        tuple(operands),
        operands.key,
        tuple(arithmetic_strata(grid.operator, operands, result).items()),
        render(frame.reply, REPLY_LABELS, values),
    )


def _values(grid: Grid, slot: str, operator: str, operands: Operands) -> dict[str, str]:
    return {"x": grid.written(operands.x), "y": grid.written(operands.y), slot: operator}


@lru_cache(maxsize=64)
def _all_answers(grid: Grid) -> tuple[str, ...]:
    apply = OPERATORS[grid.operator].apply
    results = sorted({result for x, y in enumerate_grid(grid) if (result := apply(x, y)) is not None})
    step = -(-len(results) // N_ANSWERS)  # three-digit products: evenly spaced results begin with every token there is
    return tuple(grid.answer(result) for result in results[::step])


class _Turns:
    """In which order the members are asked: one shuffled order for each turn, made when it is needed."""

    def __init__(self, name: str, n_members: int, n_frames: int, n_grids: int) -> None:
        self._rng = random.Random(name)  # noqa: S311
        self.offsets = [(self._rng.randrange(n_frames), self._rng.randrange(n_grids)) for _ in range(n_members)]
        self._orders: list[list[int]] = []

    def order(self, turn: int) -> list[int]:
        """Indices of the members in the order of a turn."""
        while len(self._orders) <= turn:
            order = list(range(len(self.offsets)))
            self._rng.shuffle(order)
            self._orders.append(order)
        return self._orders[turn]


@lru_cache(maxsize=8)
def _turns(name: str, n_members: int, n_frames: int, n_grids: int) -> _Turns:
    return _Turns(name, n_members, n_frames, n_grids)


def _interleave(order: Sequence[int], tags: Sequence[str]) -> list[int]:
    """The same indices, the tags in turn as long as each lasts."""
    queues: dict[str, list[int]] = {}
    for index, tag in zip(order, tags, strict=True):
        queues.setdefault(tag, []).append(index)
    turns = [(place, index) for queue in queues.values() for place, index in enumerate(queue)]
    return [index for _, index in sorted(turns, key=lambda turn: turn[0])]
