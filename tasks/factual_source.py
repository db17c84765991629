"""Factual recall as a source of questions: every fact in every frame, and the facts that can stand in its place."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from arithloc.benchmark.api import Split, TooFewPairs
from arithloc.tasks.answered import lay_out_for
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.facts.schema import SLOT, Fact, Relation
from arithloc.tasks.kinds import in_random_order
from arithloc.tasks.layout import Bos, Exemplar, Layout, asked, tokenized
from arithloc.tasks.questions import LATE, Frame, Labels, Piece, Question, render
from arithloc.tasks.sources import Proposal
from arithloc.tasks.splits import split_of

SUBJECT_SWAP = "subject_swap"
SUBJECT = frozenset({"subject_first", "subject_mid", "subject_last"})
STYLES = ("F3", "F4")
"""Question and statement, named after the arithmetic frames whose form they have."""

ROUNDS = 32
"""How often a fact is asked at most, against other subjects."""

RARE = 0.05
"""Subjects of a length that a smaller share of a relation's subjects have are left out: few others have their form."""

LABELS = Labels(fields=(("s", "subject"),), anchors=frozenset({"s"}), gaps=("early", "late"))


def frame(relation: Relation, style: str, chat: bool) -> Frame:
    """The template of a relation in a style; its id is that of the style and the relation's name."""
    name = f"{style}-{relation.id}"
    if style == "F4":
        return Frame(name, relation.statement, style="statement")
    tail = f" A: {relation.reply}".rstrip()
    return Frame(name, relation.question, "Q: ", tail, style="qa", reply=relation.reply if chat else "")


def style_of(template: Frame) -> str:
    """`F3` or `F4`."""
    return template.id.partition("-")[0]


def question(relation: Relation, style: str, fact: Fact, chat: bool, round_: int = 0) -> Question:
    """A fact asked for, in the round `round_` of its relation."""
    template = frame(relation, style, chat)
    pieces = render(template.body, LABELS, {"s": fact.subject})
    reply = (Piece(LATE, template.reply),) if template.reply else ()
    strata = (("copy_shortcut", "yes" if fact.shortcut else "no"), ("round", str(round_)))
    return Question(template, relation.id, pieces, fact.object, (fact.subject,), (fact.cluster,), strata, reply)


@dataclass(frozen=True)
class FactSource:
    """Questions and counterfactuals of factual recall.

    Attributes:
        task: name stored in every pair.
        relations: which facts there are.
        styles: `F3`, `F4`, or both, drawn equally often.
        shortcuts: keep facts whose answer can be copied from the prompt.
        shots: exemplars of the same relation in front.
        chat: use the tokenizer's chat template.
        bos: whether a token stands in front.
        split: part of the task.
        split_seed: decides which entities belong to it.
        seed: sampling seed.
        lengths: tokens of each fact's statement, by relation and subject.
    """

    task: str
    relations: tuple[Relation, ...]
    styles: tuple[str, ...]
    shortcuts: bool
    shots: int
    chat: bool
    bos: Bos
    split: Split
    split_seed: int
    seed: int
    lengths: Mapping[tuple[str, str], int]

    @property
    def kind(self) -> str:
        """How counterfactuals differ."""
        return SUBJECT_SWAP

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every pair."""
        return {"shots": str(self.shots), "surface": "chat" if self.chat else "spaced"}

    @cached_property
    def _relation(self) -> dict[str, Relation]:
        return {relation.id: relation for relation in self.relations}

    @cached_property
    def exemplars(self) -> dict[str, tuple[Fact, ...]]:
        """Facts of the exemplars by relation: of the discovery part, the same for every tokenizer and sampling seed.

        Raises:
            TooFewPairs: a relation has too few facts in the discovery part.
        """
        return {relation.id: self._exemplars(relation) for relation in self.relations}

    def _exemplars(self, relation: Relation) -> tuple[Fact, ...]:
        rng = random.Random(f"arithloc/exemplars/1/{self.split_seed}/{relation.id}")  # noqa: S311
        usable = [fact for fact in self._usable(relation) if self._split(fact) is Split.DISCOVERY]
        order = list(in_random_order(usable, rng))
        fresh = [f for i, f in enumerate(order) if f.object not in {e.object for e in order[:i]}]
        spare = [f for f in order if f not in fresh]
        if self.shots and len(order) <= self.shots:
            raise TooFewPairs(
                f"Expected {self.shots} exemplars of {relation.id} besides the discovery facts, found {len(order)} "
                "facts. Use fewer shots or other relations."
            )
        return tuple((fresh + spare)[: self.shots])

    def _usable(self, relation: Relation) -> list[Fact]:
        return [fact for fact in relation.facts if self.shortcuts or not fact.shortcut]

    def _split(self, fact: Fact) -> Split:
        return split_of(self.split_seed, (fact.cluster,))

    @cached_property
    def pools(self) -> dict[str, dict[int, list[Fact]]]:
        """Facts of the split that are not exemplars, by relation and by tokens of the subject, rare lengths left out."""
        found: dict[str, dict[int, list[Fact]]] = {}
        for relation in self.relations:
            pool = found.setdefault(relation.id, {})
            shown = {fact.subject for fact in self.exemplars[relation.id]}
            usable = self._usable(relation)
            times = Counter(self.lengths[relation.id, fact.subject] for fact in usable)
            for fact in usable:
                length = self.lengths[relation.id, fact.subject]
                if times[length] >= RARE * len(usable) and fact.subject not in shown:
                    if self._split(fact) is self.split:
                        pool.setdefault(length, []).append(fact)
        return found

    def questions(self) -> Iterator[Question]:
        """Every fact of the split in turns, relations mixed evenly; then all again, against other subjects."""
        rng = random.Random(f"{self.seed}/{self.task}/{self.split.value}/{self.kind}")  # noqa: S311
        queues = []
        for relation in self.relations:
            listed = [fact for pool in self.pools[relation.id].values() for fact in pool]
            rng.shuffle(listed)
            starts = [rng.randrange(len(self.styles)) for _ in listed]
            queues += [((i + 0.5) / len(listed), relation, fact, starts[i]) for i, fact in enumerate(listed)]
        queues.sort(key=lambda entry: entry[0])
        for turn in range(ROUNDS * len(self.styles)):
            round_ = turn // len(self.styles)
            for _, relation, fact, start in queues:
                style = self.styles[(start + turn) % len(self.styles)]
                yield question(relation, style, fact, self.chat, round_)

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """Facts of the same relation and split, with another answer and a subject of as many tokens.

        Their order depends on the question alone; every round begins one further.
        """
        relation, round_ = self._relation[clean.operator], int(dict(clean.strata)["round"])
        pool = self.pools[relation.id][self.lengths[relation.id, str(clean.key[0])]]
        others = (fact for fact in in_random_order(pool, rng) if fact.object != clean.answer)
        for fact in islice(others, round_, None):
            yield Proposal(question(relation, style_of(clean.frame), fact, self.chat), SUBJECT)

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of the questions of a relation and style."""
        key = question.frame.id
        if key not in self._layouts:
            solved = [self._exemplar(question, fact) for fact in self.exemplars[question.operator]]
            answers = self.answers(question.operator)
            self._layouts[key] = lay_out_for(encoder, question, answers, solved, self.chat, self.bos)
        return self._layouts[key]

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        return {}

    def _exemplar(self, like: Question, fact: Fact) -> Exemplar:
        shown = question(self._relation[like.operator], style_of(like.frame), fact, self.chat)
        if not self.truth(shown):
            raise ValueError(f"the exemplar {shown.body!r} does not mean {shown.answer}")
        return Exemplar(shown, shown.answer)

    def answers(self, operator: str) -> Sequence[str]:
        """Every answer of the relation."""
        return sorted({fact.object for fact in self._usable(self._relation[operator])})

    @cached_property
    def _known(self) -> dict[str, set[str]]:
        """Answers of every text, filled in without the templates' pieces."""
        known: dict[str, set[str]] = {}
        for relation in self.relations:
            begun = f" {relation.reply}" if relation.reply else ""
            for fact in relation.facts:
                asked_for = relation.question.replace(SLOT, fact.subject)
                said = relation.statement.replace(SLOT, fact.subject)
                for text in (f"Q: {asked_for} A:{begun}", said, asked_for):
                    known.setdefault(text, set()).add(fact.object)
        return known

    def truth(self, question: Question) -> bool:
        """Whether the facts give the text this one answer."""
        return self._known.get(asked(question, self.chat)) == {question.answer}


def statement_lengths(encoder: Encoder, relations: Sequence[Relation]) -> dict[tuple[str, str], int]:
    """Tokens of every fact's statement: equal within a relation for subjects that take equally many."""
    keys = [(relation.id, fact.subject) for relation in relations for fact in relation.facts]
    texts = [relation.statement.replace(SLOT, fact.subject) for relation in relations for fact in relation.facts]
    ids = tokenized(encoder.tokenizer, texts)["input_ids"]
    return {key: len(found) for key, found in zip(keys, ids, strict=True)}
