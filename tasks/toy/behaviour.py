"""Whether a model answers right: exhaustively for few digits, else on random, chained and extreme questions."""

from dataclasses import dataclass

import numpy as np

from arithloc.tasks.toy.arithmetic import Questions, enumerate_questions, join, random_questions, token_ids
from arithloc.tasks.toy.partial import scored_logits
from arithloc.tasks.toy.subject import Subject

EXHAUSTIVE_DIGITS = 3


@dataclass(frozen=True)
class Behaviour:
    """Outcome of an exam.

    Attributes:
        mode: `exhaustive` or `sampled`.
        questions: how many were asked.
        wrong: questions with any wrong answer token under teacher forcing.
        min_margin: smallest logit of a right token minus the best other one.
        free_running_wrong: as `wrong`, with the model's own tokens as context. Where all teacher-forced tokens are
            right, so are the free-running ones.
    """

    mode: str
    questions: int
    wrong: int
    min_margin: float
    free_running_wrong: int


def exam_questions(n: int, operators: str, rng: np.random.Generator, sample: int | None = None) -> Questions:
    """All questions for up to 3 digits; otherwise random, 80% transparent, all chains, and extremes.

    Args:
        n: digits.
        operators: asked operators.
        rng: for random questions.
        sample: random questions per operator instead of the default; 1/5 as many transparent ones are added.
    """
    if n <= EXHAUSTIVE_DIGITS and sample is None:
        return enumerate_questions(n, operators)
    count = sample or 100_000
    parts = []
    for operator in operators:
        parts += [
            random_questions(n, operator, count, rng),
            random_questions(n, operator, count // 5, rng, transparent=0.8),
            chains(n, operator, rng),
            extremes(n, operator),
        ]
    return join(parts)


def chains(n: int, operator: str, rng: np.random.Generator) -> Questions:
    """One question for every start column and length: the start generates, the columns above it are transparent."""
    rows = [(start, length) for start in range(n) for length in range(n - start)]
    q = random_questions(n, operator, len(rows), rng)
    for row, (start, length) in enumerate(rows):
        q.x[row, start], q.y[row, start] = (7, 8) if operator == "+" else (2, 6)
        above = slice(start + 1, start + 1 + length)
        q.y[row, above] = 9 - q.x[row, above] if operator == "+" else q.x[row, above]
    return q


def extremes(n: int, operator: str) -> Questions:
    """All four pairs of 0..0 and 9..9."""
    values = np.array([0, 10**n - 1])
    x, y = np.repeat(values, 2), np.tile(values, 2)
    return Questions.of(x, y, np.full(4, operator == "-"), n)


def examine(subject: Subject, questions: Questions, mode: str, size: int = 1000) -> Behaviour:
    """Asks all questions, `size` at a time; successive questions of an enumeration begin alike, which saves a third."""
    mistakes, margin = [], np.inf
    for start in range(0, len(questions), size):
        part = questions[start : start + size]
        tokens = token_ids(part, subject.form)
        logits = scored_logits(subject.network, tokens[:, :-1], len(subject.form.scored))
        target = tokens[:, -logits.shape[1] :, None]
        right = np.take_along_axis(logits, target, axis=-1)[..., 0]
        np.put_along_axis(logits, target, -np.inf, axis=-1)
        margins = (right - logits.max(axis=-1)).min(axis=1)
        margin = min(margin, float(margins.min()))
        mistakes.append(np.flatnonzero(margins <= 0) + start)
    missed = np.concatenate(mistakes)
    return Behaviour(mode, len(questions), len(missed), margin, free_running_errors(subject, questions[missed]))


def free_running_errors(subject: Subject, questions: Questions) -> int:
    """Questions that the model gets wrong when it reads its own answer tokens."""
    if not len(questions):
        return 0
    tokens = token_ids(questions, subject.form)
    steps = len(subject.form.scored)
    own = tokens.copy()
    for step in range(steps):
        cut = own.shape[1] - steps + step
        own[:, cut] = subject.network.run(own[:, :cut]).logits[:, -1].argmax(axis=-1)
    return int((own != tokens).any(axis=1).sum())
