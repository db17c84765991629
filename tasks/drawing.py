"""Draws valid prompt pairs from a source of questions: every candidate is checked, a rejected one is redrawn."""

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from arithloc.benchmark.api import PromptPair, Split, TokenizerMismatch, TooFewPairs
from arithloc.tasks.answer_tables import AnswerTables
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.questions import Question
from arithloc.tasks.rules import DESCRIPTIONS, Encoded, Rule, check_prompts, describe, first_difference
from arithloc.tasks.scoring import FIRST, forced, scored_tokens
from arithloc.tasks.sources import Proposal, Source
from arithloc.tasks.splits import cluster_name

MAX_PROPOSALS = 64
"""Counterfactual candidates tried for one clean prompt before it is given up."""

FIRST_CHUNK = 64
"""Clean questions that are tried at once before any pair has been found."""

MAX_BARREN = 4_000
"""Clean questions, or rejected candidates, after which a draw gives up that has found no pair at all."""


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


_Asked = tuple[tuple[str, str], tuple[str, str]]
"""What decides whether a pair is there already: both prompts with the answers they ask for. One prompt can have several
answers (professions)."""

_Made = tuple[_Asked, list[PromptPair]]


class _Draw:
    def __init__(self, source: Source, encoder: Encoder, split: Split, seed: int, score_digit: str) -> None:
        self.source, self.encoder, self.split, self.seed = source, encoder, split, seed
        self.score_digit = score_digit
        self.encoded: dict[tuple[str, str, tuple[int | str, ...], str], Encoded | Rule] = {}
        self.tables = AnswerTables(source, encoder)
        self.rejected: Counter[Rule] = Counter()
        self.seen: set[_Asked] = set()

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
        found: dict[int, tuple[Question, Iterator[Proposal], _Made]] = {}
        while open_:
            tried = [(place, clean, rest, proposal) for place, clean, rest in open_ if (proposal := next(rest, None))]
            self._encode([q for _, clean, _, proposal in tried for q in (clean, proposal.question)])
            open_ = []
            for place, clean, rest, proposal in tried:
                made = self._made(clean, proposal)
                if isinstance(made, Rule):
                    self.rejected[made] += 1
                    open_.append((place, clean, rest))
                else:
                    found[place] = (clean, rest, made)
        rows = [pair for place in sorted(found) for pair in self._new(*found[place])]
        return [dataclasses.replace(pair, index=n_before + i) for i, pair in enumerate(rows)]

    def _new(self, clean: Question, rest: Iterator[Proposal], made: _Made) -> list[PromptPair]:
        """The pairs of a clean question, or those of its next candidate where they are there already or exchanged.

        Called in the order of the questions, so that what comes first does not depend on how many are drawn at once.
        """
        name, pairs = made
        while not self.seen.isdisjoint((name, name[::-1])):
            self.rejected[Rule.DUPLICATE] += 1
            following = self._next(clean, rest)
            if following is None:
                return []
            name, pairs = following
        self.seen.add(name)
        return pairs

    def _next(self, clean: Question, rest: Iterator[Proposal]) -> _Made | None:
        """The next valid candidate of a clean question."""
        for proposal in rest:
            self._encode([clean, proposal.question])
            made = self._made(clean, proposal)
            if not isinstance(made, Rule):
                return made
            self.rejected[made] += 1
        return None

    def _rng(self, clean: Question) -> random.Random:
        return random.Random(f"{self.seed}/{clean.frame.id}/{clean.operator}/{clean.key}")  # noqa: S311

    def _encode(self, questions: list[Question]) -> None:
        new = {name: q for q in questions if (name := _name(q)) not in self.encoded}
        layouts = [self.source.layout(q, self.encoder) for q in new.values()]
        for name, question, encoded in zip(
            new, new.values(), self.encoder.encode(list(new.values()), layouts), strict=True
        ):
            self.encoded[name] = encoded if not question.answer or self.source.truth(question) else Rule.TRUTH

    def _made(self, clean: Question, proposal: Proposal) -> _Made | Rule:
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
        answer_cf = self._answer_cf(clean, one, proposal, two)
        if isinstance(answer_cf, Rule):
            return answer_cf
        text_cf, ids_cf, scored = answer_cf
        made = [self._row(clean, one, proposal, two, text_cf, ids_cf, index) for index in scored]
        rows = [row for row in made if not isinstance(row, Rule)]
        if isinstance(made[0], Rule):
            return made[0]
        return ((one.text, clean.answer), (two.text, other.answer)), rows

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
        candidates = self.tables.candidates(clean, proposal.question, scored)
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
        table = self.tables.of(clean)
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
