"""Closure: the smallest set of nodes we can find that does a natural model's work when everything else is resampled.

A site is a node (head or MLP) at one input position. The result is sufficient on its distribution, and each of its
`in` sites is necessary alone; it is not claimed to be the only such set.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from arithloc.tasks.toy.arithmetic import Questions, join, random_questions
from arithloc.tasks.toy.interchange import Mask, Rows, output, replaced
from arithloc.tasks.toy.subject import Batch, Subject

BATCH = 500
FRESH_SETS = 3


@dataclass(frozen=True, order=True)
class Site:
    """A node at one input position."""

    node: str
    position: int


@dataclass(frozen=True, eq=False)
class Pairs:
    """Questions, and for each the question whose values replace its own."""

    base: Questions
    source: Questions

    def __len__(self) -> int:
        return len(self.base)

    @classmethod
    def shuffled(cls, questions: Questions, rng: np.random.Generator) -> "Pairs":
        """Sources are the same questions in random order."""
        return cls(questions, questions[rng.permutation(len(questions))])

    def rows(self, chosen: Int[ndarray, " rows"]) -> "Pairs":
        """Some of the pairs."""
        return Pairs(self.base[chosen], self.source[chosen])

    def with_more(self, other: "Pairs") -> "Pairs":
        """Both together."""
        return Pairs(join([self.base, other.base]), join([self.source, other.source]))


@dataclass(frozen=True, eq=False)
class Loaded:
    """Pairs with the unedited runs of both sides, in batches."""

    batches: tuple[tuple[Batch, Batch], ...]

    @classmethod
    def of(cls, subject: Subject, pairs: Pairs) -> "Loaded":
        """Runs the model on both sides."""
        return cls(tuple(run_both(subject, pairs)))

    def wrong(self, sites: Iterable[Site]) -> Bool[ndarray, " pair"]:
        """Pairs with a wrong answer token when the sites take the source's values."""
        sites = tuple(sites)
        return np.concatenate([wrong(base, source, sites) for base, source in self.batches])


def run_both(subject: Subject, pairs: Pairs) -> Iterator[tuple[Batch, Batch]]:
    """Unedited runs of pairs, batch by batch."""
    for start in range(0, len(pairs), BATCH):
        part = slice(start, start + BATCH)
        yield Batch.of(subject, pairs.base[part]), Batch.of(subject, pairs.source[part])


def fresh_draws(
    subject: Subject, questions: Questions, draws: int, rng: np.random.Generator
) -> Iterator[tuple[Batch, Rows]]:
    """Questions in random order, batch by batch, each batch with the rows that its values are replaced by.

    Sources are questions of the same batch, so that one run serves both sides.

    Args:
        subject: the model.
        questions: base questions.
        draws: orders of sources for every batch.
        rng: of both orders.
    """
    mixed = questions[rng.permutation(len(questions))]
    for start in range(0, len(mixed), BATCH):
        base = Batch.of(subject, mixed[start : start + BATCH])
        for _ in range(draws):
            yield base, rng.permutation(len(base.ids))


def wrong(base: Batch, source: Batch, sites: Iterable[Site], order: Rows | None = None) -> Bool[ndarray, " batch"]:
    """Questions of a batch with a wrong answer token when the sites take the source's values.

    Args:
        base: questions.
        source: where values come from.
        sites: what is replaced.
        order: row of the source for every question; the same row by default.
    """
    at: dict[str, Mask] = {}
    for site in sites:
        at.setdefault(site.node, np.zeros(base.ids.shape[1], dtype=bool))[site.position] = True
    values = {node: output(source.trace, node) for node in at}
    if order is not None:
        values = {node: value[order] for node, value in values.items()}
    return np.asarray((base.tokens(replaced(values, at)) != base.target).any(axis=1))


def all_sites(subject: Subject) -> list[Site]:
    """Every node at every input position."""
    return [Site(node, position) for node in subject.nodes for position in range(subject.form.n_inputs)]


def effects(loaded: Loaded, sites: Iterable[Site]) -> dict[Site, float]:
    """e(v): share of pairs with a wrong answer when one site alone is resampled."""
    return {site: float(loaded.wrong([site]).mean()) for site in sites}


def chain_questions(n: int, operators: str, count: int, rng: np.random.Generator) -> Questions:
    """Random questions with one run of transparent columns above a random column."""
    q = random_questions(n, operators, count, rng)
    start = rng.integers(0, n, count)
    length = rng.integers(0, n, count)
    columns = np.arange(n)
    run = (columns > start[:, None]) & (columns <= (start + length)[:, None])
    return Questions(q.x, np.where(run, np.where(q.minus[:, None], q.x, 9 - q.x), q.y), q.minus)


def audit_questions(subject: Subject, count: int, rng: np.random.Generator) -> Questions:
    """Half random questions, half with a chain."""
    form, half = subject.form, count // 2
    return join(
        [
            random_questions(form.n_digits, form.operators, count - half, rng),
            chain_questions(form.n_digits, form.operators, half, rng),
        ]
    )


@dataclass
class Closure:
    """State of one search.

    Attributes:
        subject: the model.
        rng: of all questions and sources.
        fresh: pairs of each fresh set.
        keep: sites that are not resampled.
        pairs: audit set, enlarged by counterexamples.
        effect: e(v) on the first audit set.
        counterexamples: pairs that were added.
    """

    subject: Subject
    rng: np.random.Generator
    fresh: int
    keep: set[Site]
    pairs: Pairs
    effect: dict[Site, float]
    counterexamples: int = 0
    _loaded: Loaded | None = field(default=None, repr=False)

    @property
    def loaded(self) -> Loaded:
        """The audit set with its runs."""
        if self._loaded is None:
            self._loaded = Loaded.of(self.subject, self.pairs)
        return self._loaded

    @property
    def complement(self) -> list[Site]:
        """Sites that are resampled."""
        return [site for site in all_sites(self.subject) if site not in self.keep]

    def extend(self) -> None:
        """Adds the site that restores most of the failing pairs, until none fails.

        Where no single site restores any pair (two of several copies are missing), everything is kept; pruning then
        removes what is not needed.
        """
        while True:
            failing = np.flatnonzero(self.loaded.wrong(self.complement))
            if not len(failing):
                return
            hard = Loaded.of(self.subject, self.pairs.rows(failing))
            outside = self.complement
            left = [int(hard.wrong(s for s in outside if s != site).sum()) for site in outside]
            if min(left) == len(failing):
                self.keep.update(outside)
                return
            self.keep.add(outside[int(np.argmin(left))])

    def refute(self) -> int:
        """Tests fresh sets, three unless one has failing pairs, which join the audit set.

        Returns: how many failed.
        """
        for _ in range(FRESH_SETS):
            asked = audit_questions(self.subject, self.fresh, self.rng)
            found = self.learn(fresh_draws(self.subject, asked, 1, self.rng))
            if found:
                return found
        return 0

    def learn(self, drawn: Iterable[tuple[Batch, Rows]]) -> int:
        """Tests fresh pairs; up to 500 failing ones join the audit set.

        Returns: how many failed.
        """
        complement, failing, found = self.complement, [], 0
        for base, order in drawn:
            rows = np.flatnonzero(wrong(base, base, complement, order))
            found += len(rows)
            if len(rows):
                failing.append(Pairs(base.questions[rows], base.questions[order[rows]]))
        if failing:
            pairs = self.pairs
            for more in failing:
                pairs = pairs.with_more(more.rows(np.arange(min(len(more), BATCH + len(self.pairs) - len(pairs)))))
            self.pairs, self._loaded = pairs, None
        self.counterexamples += found
        return found

    def close(self) -> None:
        """Extends and refutes until no fresh pair fails."""
        while True:
            self.extend()
            if not self.refute():
                return

    def settle(self, report: Callable[[str], None]) -> None:
        """Closes and prunes until fresh pairs agree with the pruned set."""
        self.close()
        while True:
            report(f"{len(self.keep)} sites after {self.counterexamples} counterexamples")
            self.prune()
            report(f"{len(self.keep)} sites after pruning")
            if not self.refute():
                return
            self.close()

    def prune(self) -> None:
        """Drops sites, the least effective first, while the audit set stays without error."""
        for site in sorted(self.keep, key=lambda s: (self.effect[s], s)):
            if not self.loaded.wrong([*self.complement, site]).any():
                self.keep.discard(site)


def search(
    subject: Subject,
    rng: np.random.Generator,
    audit: int = 1_500,
    fresh: int = 20_000,
    report: Callable[[str], None] = lambda text: None,
) -> Closure:
    """Finds a closure.

    Args:
        subject: the model.
        rng: of all questions and sources.
        audit: pairs of the first audit set.
        fresh: pairs of each fresh set.
        report: told about progress.
    """
    pairs = Pairs.shuffled(audit_questions(subject, audit, rng), rng)
    effect = effects(Loaded.of(subject, pairs), all_sites(subject))
    state = Closure(subject, rng, fresh, {site for site, e in effect.items() if e > 0}, pairs, effect)
    report(f"{len(state.keep)} sites matter alone")
    state.settle(report)
    return state
