"""Draws valid prompt pairs from a source of questions: every candidate is checked, a rejected one is redrawn."""

import dataclasses
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from arithloc.benchmark.api import PromptPair, Split, TokenizerMismatch, TooFewPairs
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.layout import Layout
from arithloc.tasks.questions import Question
from arithloc.tasks.rules import DESCRIPTIONS, Encoded, Rule, check_prompts, describe, first_difference
from arithloc.tasks.scoring import FIRST, forced, scored_tokens
from arithloc.tasks.splits import cluster_name

CONTEXT = 4
"""Characters in front of an answer that tell prompts apart when the tokens of all answers are looked up; digits and
what stands in front of them do not count."""

_ENDING = re.compile(r"\D*$")

MAX_PROPOSALS = 64
"""Counterfactual candidates tried for one clean prompt before it is given up."""


FIRST_CHUNK = 64
"""Clean questions that are tried at once before any pair has been found."""

MAX_BARREN = 4_000
"""Clean questions, or rejected candidates, after which a draw gives up that has found no pair at all."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate counterfactual of a clean question.

    Attributes:
        question: the counterfactual question; its answer is empty where it has none.
        edited: position classes that may differ.
        foils: where not empty, texts of which the first valid one stands in for the counterfactual answer.
        foil_first_token: the foil must differ in its first token (kinds with equal answers); otherwise it must have
            as many tokens as the answer.
        strata: tags of the pair.
    """

    question: Question
    edited: frozenset[str]
    foils: tuple[str, ...] = ()
    foil_first_token: bool = False
    strata: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class Source(Protocol):
    """What a task family provides."""

    @property
    def task(self) -> str:
        """Name of the family, as stored in every pair."""
        ...

    @property
    def kind(self) -> str:
        """How its counterfactuals differ."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of every pair, such as the number of exemplars."""
        ...

    def questions(self) -> Iterator[Question]:
        """Every clean question of the split, each once, in drawing order."""
        ...

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """Candidate counterfactuals of a clean question, without repeats."""
        ...

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of a question; equal for all of one frame and operator."""
        ...

    def answers(self, operator: str) -> Sequence[str]:
        """Every possible answer of an operator or relation: the range of the candidates."""
        ...

    def truth(self, question: Question) -> bool:
        """Whether the answer agrees with the text, recomputed independently."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Result of a draw.

    Attributes:
        pairs: valid pairs.
        rejected: how many candidates each rule turned away.
        considered: clean questions looked at.
    """

    pairs: tuple[PromptPair, ...]
    rejected: Mapping[Rule, int]
    considered: int

    @property
    def reasons(self) -> dict[str, str]:
        """What each rule that turned candidates away demands."""
        return {rule.value: DESCRIPTIONS[rule] for rule in self.rejected}


def draw(source: Source, tokenizer: Any, split: Split, n: int, seed: int, score_digit: str = FIRST) -> Drawn:
    """Draws up to `n` pairs; fewer only where the source has no more.

    The pair of a clean question depends on `seed` and that question alone, so a smaller draw is the beginning of a
    larger one.

    Args:
        source: what is asked.
        tokenizer: a fast tokenizer, or an encoder that has one.
        split: part of the task.
        n: how many.
        seed: sampling seed.
        score_digit: which answer token is scored, as in `scoring.scored_tokens`; `all` gives several pairs for one
            clean question.

    Raises:
        TooFewPairs: the source has no question, or no counterfactual for any of them.
        TokenizerMismatch: every candidate breaks a rule for this tokenizer.
    """
    encoder = tokenizer if isinstance(tokenizer, Encoder) else Encoder(tokenizer)
    return _Draw(source, encoder, split, seed, score_digit).run(n)


class _Draw:
    def __init__(self, source: Source, encoder: Encoder, split: Split, seed: int, score_digit: str) -> None:
        self.source, self.encoder, self.split, self.seed = source, encoder, split, seed
        self.score_digit = score_digit
        self.encoded: dict[tuple[str, str, tuple[int | str, ...], str], Encoded | Rule] = {}
        self.tables: dict[tuple[str, str, str], dict[str, tuple[int, ...]]] = {}
        self.shared: dict[tuple[str, str, tuple[str, ...]], dict[str, tuple[int, ...]]] = {}
        self.candidates: dict[tuple[str, str, str, int], tuple[int, ...]] = {}
        self.rejected: Counter[Rule] = Counter()
        self.seen: set[tuple[str, str, str, str]] = set()

    def run(self, n: int) -> Drawn:
        questions = self.source.questions()
        pairs: list[PromptPair] = []
        considered = 0
        while len(pairs) < n and (pairs or max(considered, self.rejected.total()) < MAX_BARREN):
            chunk = list(islice(questions, max(32, n - len(pairs)) if pairs else FIRST_CHUNK))
            if not chunk:
                break
            considered += len(chunk)
            pairs += self._match(chunk, len(pairs))
        if not pairs and n > 0:
            self._give_up(considered)
        return Drawn(tuple(pairs[:n]), dict(self.rejected), considered)

    def _give_up(self, considered: int) -> None:
        where = f"{self.source.task} ({self.source.kind}, {self.split.value})"
        if self.rejected and self.rejected.keys() - {Rule.DUPLICATE, Rule.TRUTH}:
            raise TokenizerMismatch(
                f"Expected valid pairs of {where}, found none: of the candidates were rejected "
                f"{describe(self.rejected)}. Use another range, frame, surface or kind for this tokenizer."
            )
        raise TooFewPairs(
            f"Expected pairs of {where}, found none among {considered} questions of this split. "
            "Use a larger range, another kind, more frames or fewer shots."
        )

    def _match(self, chunk: list[Question], n_before: int) -> list[PromptPair]:
        """The pairs of every clean question that can have one, in the order of the questions."""
        open_ = [
            (place, clean, islice(self.source.proposals(clean, self._rng(clean)), MAX_PROPOSALS))
            for place, clean in enumerate(chunk)
        ]
        found: dict[int, list[PromptPair]] = {}
        while open_:
            tried = [(place, clean, rest, proposal) for place, clean, rest in open_ if (proposal := next(rest, None))]
            self._encode([q for _, clean, _, proposal in tried for q in (clean, proposal.question)])
            open_ = []
            for place, clean, rest, proposal in tried:
                pairs = self._pairs(clean, proposal)
                if isinstance(pairs, Rule):
                    self.rejected[pairs] += 1
                    open_.append((place, clean, rest))
                else:
                    found[place] = pairs
        rows = [pair for place in sorted(found) for pair in found[place]]
        return [dataclasses.replace(pair, index=n_before + i) for i, pair in enumerate(rows)]

    def _rng(self, clean: Question) -> random.Random:
        return random.Random(f"{self.seed}/{clean.frame.id}/{clean.operator}/{clean.key}")  # noqa: S311

    def _encode(self, questions: list[Question]) -> None:
        new = {name: q for q in questions if (name := _name(q)) not in self.encoded}
        layouts = [self.source.layout(q, self.encoder) for q in new.values()]
        for name, question, encoded in zip(
            new, new.values(), self.encoder.encode(list(new.values()), layouts), strict=True
        ):
            self.encoded[name] = encoded if not question.answer or self.source.truth(question) else Rule.TRUTH

    def _table(self, question: Question) -> dict[str, tuple[int, ...]]:
        """Answer tokens of every possible answer behind prompts of this frame and operator.

        Prompts that end alike share a table: what differs further in front does not change these tokens, and a pair
        whose own answer tokens are not in the table is rejected.
        """
        layout = self.source.layout(question, self.encoder)
        name = (_ENDING.findall(layout.prompt(question)[-CONTEXT:])[0], layout.separator, question.operator)
        if name not in self.tables:
            answers = tuple(self.source.answers(question.operator))
            shared = (*name[:2], answers)  # operators with the same answers share one
            if shared not in self.shared:
                self.shared[shared] = self.encoder.answers(question, layout, answers)
            self.tables[name] = self.shared[shared]
        return self.tables[name]

    def _candidates(self, clean: Question, other: Question, index: int) -> tuple[int, ...]:
        name = (clean.frame.id, clean.operator, other.operator, index)
        if name not in self.candidates:
            tables = (self._table(clean), self._table(other))
            self.candidates[name] = tuple(sorted({i[index] for t in tables for i in t.values() if len(i) > index}))
        return self.candidates[name]

    def _pairs(self, clean: Question, proposal: Proposal) -> list[PromptPair] | Rule:
        """One pair for each scored token of the answer, or the rule that forbids the first of them."""
        other = proposal.question
        one, two = self.encoded[_name(clean)], self.encoded[_name(other)]
        if isinstance(one, Rule):
            return one
        if isinstance(two, Rule):
            return two
        broken = check_prompts(one, two, proposal.edited)
        if broken is not None:
            return broken
        name = (one.text, two.text, clean.answer, other.answer)  # one prompt can have several answers (professions)
        if name in self.seen:
            return Rule.DUPLICATE
        answer_cf = self._answer_cf(clean, one, proposal, two)
        if isinstance(answer_cf, Rule):
            return answer_cf
        text_cf, ids_cf, scored = answer_cf
        made = [self._row(clean, one, proposal, two, text_cf, ids_cf, index) for index in scored]
        rows = [row for row in made if not isinstance(row, Rule)]
        if isinstance(made[0], Rule):
            return made[0]
        self.seen.add(name)
        return rows

    def _row(
        self,
        clean: Question,
        one: Encoded,
        proposal: Proposal,
        two: Encoded,
        text_cf: str,
        ids_cf: tuple[int, ...],
        scored: int,
    ) -> PromptPair | Rule:
        """The pair that is scored at one token of the answer; each prompt has its own answer tokens in front of it."""
        candidates = self._candidates(clean, proposal.question, scored)
        tokens = (one.answer_ids[scored], ids_cf[scored])
        if not all(self.encoder.scorable(token) for token in tokens):
            return Rule.UNSCORABLE
        if not all(token in candidates for token in tokens):
            return Rule.PREFIX
        clean_ids, classes = forced(one, one.answer_ids, ids_cf, scored)
        strata = {
            **dict(clean.strata),
            **dict(proposal.strata),
            "answer_tokens": str(len(one.answer_ids)),
            "frame": clean.frame.id,
            "operator": clean.operator,
            **self.source.tags,
        }
        if self.score_digit != FIRST:
            strata["scored_digit"] = str(scored + 1)
        return PromptPair(
            task=self.source.task,
            frame=clean.frame.id,
            operator=clean.operator,
            kind=str(self.source.kind),
            clean=one.text,
            counterfactual=two.text,
            clean_ids=clean_ids,
            counterfactual_ids=forced(two, ids_cf, one.answer_ids, scored)[0],
            classes=classes,
            answer=clean.answer,
            answer_cf=text_cf,
            answer_ids=one.answer_ids,
            answer_cf_ids=ids_cf,
            first_diff=scored,
            candidates=candidates,
            strata=tuple(sorted(strata.items())),
            cluster=cluster_name(clean.cluster),
            split=self.split,
            index=0,
            answer_cf_is_foil=bool(proposal.foils),
        )

    def _answer_cf(
        self, clean: Question, one: Encoded, proposal: Proposal, two: Encoded
    ) -> tuple[str, tuple[int, ...], tuple[int, ...]] | Rule:
        """Text and tokens of the counterfactual answer or foil, and the indices of the scored tokens."""
        if not proposal.foils:
            scored = scored_tokens(self.score_digit, one.answer_ids, two.answer_ids)
            return scored if isinstance(scored, Rule) else (proposal.question.answer, two.answer_ids, scored)
        table = self._table(clean)
        for text in proposal.foils:
            ids = table.get(text, ())
            where = first_difference(one.answer_ids, ids)
            if isinstance(where, Rule):
                continue
            if where == 0 if proposal.foil_first_token else len(ids) == len(one.answer_ids):
                return text, ids, (where,)
        return Rule.ANSWERS


def _name(question: Question) -> tuple[str, str, tuple[int | str, ...], str]:
    return question.frame.id, question.operator, question.key, question.body
