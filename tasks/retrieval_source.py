"""Number retrieval as a source of questions: which contexts are asked, and which counterfactuals they have."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import permutations, product

from arithloc.benchmark.api import Split, TokenizerMismatch, TooFewPairs
from arithloc.tasks.answered import lay_out_for
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import in_random_order
from arithloc.tasks.layout import Bos, Exemplar, Layout, asked, tokenized
from arithloc.tasks.nouns import NOUNS
from arithloc.tasks.questions import Frame, Question
from arithloc.tasks.retrieval_questions import ASKED, NUMBERS, Context, bounds, evaluate, number_pairs, question
from arithloc.tasks.sources import Proposal

ROUNDS = 1024
"""How often a number pair comes again at most, in other contexts."""


class RetrievalKind(StrEnum):
    """How a counterfactual differs from the clean prompt."""

    ENTITY_SWAP = "entity_swap"
    """The other thing asked for, in the same context."""
    OPERANDS = "operands"
    """Both numbers drawn again, another answer."""


@dataclass(frozen=True)
class RetrievalSource:
    """Questions and counterfactuals of number retrieval.

    Attributes:
        task: name stored in every pair.
        frames: templates, drawn equally often.
        digits: range of both numbers.
        kind: how counterfactuals differ.
        shots: exemplars in front.
        chat: use the tokenizer's chat template.
        bos: whether a token stands in front.
        split: part of the task.
        split_seed: decides which number pairs belong to it.
        seed: sampling seed.
        lengths: tokens of each noun; both nouns of a prompt have equally many.
        keep_digits: counterfactual numbers keep their digit counts.
    """

    task: str
    frames: tuple[Frame, ...]
    digits: Range
    kind: RetrievalKind
    shots: int
    chat: bool
    bos: Bos
    split: Split
    split_seed: int
    seed: int
    lengths: Mapping[str, int]
    keep_digits: bool

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every pair."""
        return {"shots": str(self.shots), "surface": "chat" if self.chat else "spaced"}

    @cached_property
    def exemplars(self) -> tuple[Context, ...]:
        """Contexts of the exemplars: of the discovery part, the same for every frame, tokenizer and sampling seed.

        Raises:
            TooFewPairs: the range has too few number pairs.
        """
        rng = random.Random(f"arithloc/exemplars/1/{self.split_seed}/retrieve/{self.digits}")  # noqa: S311
        pairs = number_pairs(self.digits, Split.DISCOVERY, self.split_seed)
        chosen: list[Context] = []
        for x, y in in_random_order(pairs, rng) if self.shots else ():
            if len(chosen) < self.shots and (min(x, y), max(x, y)) not in {c.key for c in chosen}:
                one, two = rng.sample(sorted(NOUNS), 2)
                slot = 1 + len(chosen) % 2
                chosen.append(Context(x, rng.choice(NOUNS[one]), y, rng.choice(NOUNS[two]), slot))
        if len(chosen) < self.shots or (self.shots and len({(min(p), max(p)) for p in pairs}) <= self.shots):
            raise TooFewPairs(
                f"Expected {self.shots} exemplars besides the discovery pairs, found {len(pairs) // 2} number pairs in "
                f"{self.digits}. Use fewer shots or a larger range."
            )
        return tuple(chosen)

    @cached_property
    def members(self) -> tuple[tuple[int, int], ...]:
        """Number pairs of the split, without those of the exemplars."""
        reserved = {context.key for context in self.exemplars}
        pairs = number_pairs(self.digits, self.split, self.split_seed)
        return tuple([pair for pair in pairs if (min(pair), max(pair)) not in reserved])

    @cached_property
    def partners(self) -> dict[tuple[str, str], tuple[tuple[str, str], ...]]:
        """Nouns of two classes by classes in order: all of one length in tokens, that which allows most of them.

        So every prompt of a frame and of numbers of one length has the same form.

        Raises:
            TokenizerMismatch: no two classes have nouns of one length.
        """
        found: dict[int, dict[tuple[str, str], tuple[tuple[str, str], ...]]] = {}
        for length in sorted(set(self.lengths.values())):
            alike = {name: [noun for noun in nouns if self.lengths[noun] == length] for name, nouns in NOUNS.items()}
            found[length] = {
                (one, two): tuple(product(alike[one], alike[two]))
                for one, two in permutations(NOUNS, 2)
                if alike[one] and alike[two]
            }
        best = max(found.values(), key=lambda pairs: sum(map(len, pairs.values())))
        if not best:
            raise TokenizerMismatch(
                "Expected nouns of two classes with equally many tokens, found none: this tokenizer gives the nouns of "
                f"{' and '.join(sorted(NOUNS))} different lengths. Use another model's tokenizer, or the task copying."
            )
        return best

    def questions(self) -> Iterator[Question]:
        """Number pairs in random order, none again before all have come, each in a context drawn for it.

        Asked slot and order of the two classes take turns, frames and classes come equally often.
        """
        rng = random.Random(f"{self.seed}/{self.task}/{self.split.value}/{self.kind.value}")  # noqa: S311
        designs = self._designs(rng)
        seen: set[tuple[str, Context]] = set()
        for _ in range(ROUNDS):
            for x, y in in_random_order(self.members, rng):
                frame, classes, slot = next(designs)
                noun1, noun2 = rng.choice(self.partners[classes])
                context = Context(x, noun1, y, noun2, slot)
                if (frame.id, context) not in seen:
                    seen.add((frame.id, context))
                    yield question(frame, context)

    def _designs(self, rng: random.Random) -> Iterator[tuple[Frame, tuple[str, str], int]]:
        """Frames, classes and asked slots without end."""
        cells = [
            [
                (frame, classes, slot)
                for frame in self.frames
                for classes in self.partners
                if (classes < classes[::-1]) is up
            ]
            for slot in (1, 2)
            for up in (True, False)
        ]
        while True:
            for cell in cells:
                rng.shuffle(cell)
            for turn in zip(*cells, strict=True):
                yield from turn

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """Candidate counterfactuals of the kind."""
        number1, noun1, number2, noun2, slot = clean.key
        context = Context(int(number1), str(noun1), int(number2), str(noun2), int(slot))
        if self.kind is RetrievalKind.ENTITY_SWAP:
            yield Proposal(question(clean.frame, context._replace(slot=3 - context.slot)), ASKED)
            return
        for x, y in in_random_order(self.members, rng):
            other = context._replace(x=x, y=y)
            wide = (len(str(x)), len(str(y))) != (len(str(context.x)), len(str(context.y)))
            if x == context.x or y == context.y or other.answer == context.answer or other.key == context.key:
                continue
            if not (self.keep_digits and wide):
                yield Proposal(question(clean.frame, other), NUMBERS)

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of the questions of a frame."""
        if question.frame.id not in self._layouts:
            solved = [self._exemplar(question.frame, context) for context in self.exemplars]
            self._layouts[question.frame.id] = lay_out_for(encoder, question, ("2",), solved, self.chat, self.bos)
        return self._layouts[question.frame.id]

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        return {}

    def _exemplar(self, frame: Frame, context: Context) -> Exemplar:
        shown = question(frame, context)
        if not self.truth(shown):
            raise ValueError(f"the exemplar {shown.body!r} does not mean {shown.answer}")
        return Exemplar(shown, shown.answer)

    def answers(self, operator: str) -> Sequence[str]:
        """Every number of the range."""
        first, second = bounds(self.digits)
        return [str(number) for number in sorted({*first, *second})]

    def truth(self, question: Question) -> bool:
        """Whether the text of the question means its answer."""
        return str(evaluate(asked(question, self.chat))) == question.answer


def noun_lengths(encoder: Encoder) -> dict[str, int]:
    """Tokens of a phrase with each noun: equal for nouns that take equally many."""
    nouns = [noun for listed in NOUNS.values() for noun in listed]
    ids = tokenized(encoder.tokenizer, [f"many {noun} do" for noun in nouns])["input_ids"]
    return {noun: len(found) for noun, found in zip(nouns, ids, strict=True)}
