"""Gender-profession pairs: which profession a prompt about a woman or a man is continued with."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from arithloc.benchmark.api import PromptPair, Split, TaskInfo, TokenizerMismatch, TooFewPairs
from arithloc.benchmark.api.errors import UnknownName
from arithloc.tasks.answered import lay_out_for
from arithloc.tasks.drawing import Drawn, draw
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.kinds import in_random_order
from arithloc.tasks.layout import Bos, Layout, asked, text_ids
from arithloc.tasks.professions import FRAMES, LABELS, OTHER, PROFESSIONS, PROMPTS_OF, professions_of
from arithloc.tasks.questions import Frame, Question, render
from arithloc.tasks.sources import Proposal

GENDER_SWAP = "gender_swap"
OPERATOR = "profession"
ALL = tuple(name for listed in PROFESSIONS.values() for name in listed)


def question(frame: Frame, gender: str, profession: str, round_: int = 0) -> Question:
    """A prompt about a gender, with one of its professions as the continuation, in the round `round_`."""
    strata = (("gender", gender), ("round", str(round_)))
    pieces = render(frame.body, LABELS, {"g": gender})
    return Question(frame, OPERATOR, pieces, profession, (gender, profession), (profession,), strata)


@dataclass(frozen=True)
class GenderSource:
    """Prompts of a split, with professions as their continuations.

    Attributes:
        task: name stored in every pair.
        frames: prompts of the split.
        bos: whether a token stands in front.
        split: part of the task.
        seed: sampling seed.
        professions: those of the split that can be scored, by gender.
        dropped: how many of all professions cannot be scored with this tokenizer.
    """

    task: str
    frames: tuple[Frame, ...]
    bos: Bos
    split: Split
    seed: int
    professions: dict[str, tuple[str, ...]]
    dropped: int

    @property
    def kind(self) -> str:
        """How counterfactuals differ."""
        return GENDER_SWAP

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every pair."""
        return {"professions_dropped": str(self.dropped), "shots": "0", "surface": "spaced"}

    def questions(self) -> Iterator[Question]:
        """Every prompt with every profession of its gender, in turns; then all again, against other professions."""
        rng = random.Random(f"{self.seed}/{self.task}/{self.split.value}/{self.kind}")  # noqa: S311
        by_gender = []
        for gender in OTHER:
            cells = [(frame, gender, name) for frame in self.frames for name in self.professions[gender]]
            rng.shuffle(cells)
            by_gender += [((i + 0.5) / len(cells), cell) for i, cell in enumerate(cells)]
        order = [cell for _, cell in sorted(by_gender, key=lambda entry: entry[0])]
        for round_ in range(max(map(len, self.professions.values()))):
            for frame, gender, name in order:
                yield question(frame, gender, name, round_)

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """The same prompt about the other gender, with one of its professions; every round begins one further."""
        other = OTHER[str(clean.key[0])]
        names = in_random_order(self.professions[other], rng)
        for name in islice(names, int(dict(clean.strata)["round"]), None):
            yield Proposal(question(clean.frame, other, name), frozenset({"gender"}))

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of a prompt."""
        if question.frame.id not in self._layouts:
            self._layouts[question.frame.id] = lay_out_for(encoder, question, ALL, (), False, self.bos)
        return self._layouts[question.frame.id]

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        return {}

    def answers(self, operator: str) -> Sequence[str]:
        """Every profession."""
        return ALL

    def truth(self, question: Question) -> bool:
        """Whether the text names the gender that the profession is tied to, and only that one."""
        words = asked(question, False).replace("'", " ").split()
        named = [gender for gender in OTHER if gender in words]
        return len(named) == 1 and question.answer in PROFESSIONS[named[0]]


@dataclass(frozen=True)
class Gender:
    """Continue a prompt about a woman or a man with a profession.

    Attributes:
        frames: prompts G0-G7, or `all`; of these each split has its own.
        bos: whether a token stands in front of the prompt.
        split_seed: decides which professions belong to which split.
    """

    frames: tuple[str, ...] = ("all",)
    bos: Bos = Bos.ALWAYS
    split_seed: int = 0

    info = TaskInfo(
        name="gender",
        summary="Continue a prompt about a woman or a man with a profession tied to that gender.",
        family="gender",
        correct_only=False,
    )

    def __post_init__(self) -> None:
        for name in self.frames:
            if name != "all" and name not in FRAMES:
                raise UnknownName.among("prompt", name, [*FRAMES, "all"])
        if not self.frames:
            raise ValueError("Expected at least one prompt, found none. Name one, for example frames=G0.")

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of a split.

        Raises:
            TokenizerMismatch: the genders differ in tokens, or professions cannot be told apart by their first token.
            TooFewPairs: no valid pair at all.
        """
        return self.draw(tokenizer, split, n, seed).pairs

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away."""
        encoder = Encoder(tokenizer)
        ids = PROMPTS_OF[split]
        chosen = tuple(FRAMES[name] for name in ids if "all" in self.frames or name in self.frames)
        if not chosen:
            raise TooFewPairs(
                f"Expected prompts of {split.value} ({', '.join(ids)}), found {', '.join(self.frames)}. Name one of each "
                "split that you use, or frames=all."
            )
        n_tokens = {gender: len(text_ids(tokenizer, f"A {gender} works")) for gender in OTHER}
        if len(set(n_tokens.values())) > 1:
            raise TokenizerMismatch(
                f"Expected {' and '.join(OTHER)} to take equally many tokens, found {n_tokens} with the words around "
                "them. Use a model whose tokenizer has a token for each."
            )
        scored = scored_professions(encoder, self.bos)
        professions = {
            gender: tuple(name for name in listed if name in scored)
            for gender, listed in professions_of(split, self.split_seed).items()
        }
        if not all(professions.values()):
            raise TokenizerMismatch(
                f"Expected professions of both genders in {split.value} whose first tokens differ from those of all "
                f"others, found {len(scored)} of {len(ALL)} in all splits and none of one gender here. Use another "
                "split_seed, or a model whose tokenizer has longer tokens."
            )
        source = GenderSource(
            task=self.info.name,
            frames=chosen,
            bos=self.bos,
            split=split,
            seed=seed,
            professions=professions,
            dropped=len(ALL) - len(scored),
        )
        return draw(source, tokenizer, split, n, seed)


def scored_professions(encoder: Encoder, bos: Bos) -> frozenset[str]:
    """Professions whose first token behind every prompt is visible and begins no other profession."""
    kept = set(ALL)
    for frame in FRAMES.values():
        probe = question(frame, "woman", ALL[0])
        layout = lay_out_for(encoder, probe, ALL, (), False, bos)
        first = {name: ids[0] for name, ids in encoder.answers(probe, layout, ALL).items()}
        times = Counter(first.values())
        kept &= {name for name, token in first.items() if times[token] == 1 and encoder.scorable(token)}
    return frozenset(kept)
