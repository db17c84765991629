"""The method contract: any class with `info` and `localize(problem) -> Scores`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.prompts import PromptPair
from arithloc.benchmark.api.scores import Scores
from arithloc.benchmark.api.vocabulary import Ablation, Granularity

Progress = Callable[[int, int], None]
"""Called with (done, total) from long loops; may be called often."""


def no_progress(done: int, total: int) -> None:
    """The `Progress` of a caller who does not want to see any."""


@dataclass(frozen=True)
class MethodInfo:
    """What a method says about itself.

    Attributes:
        name: kebab-case public name.
        summary: one sentence.
        granularities: what it can score.
        reference: source of the definition, as `arXiv:2305.15054`.
        access: what it needs of the model: `none`, `weights`, `forward`, `gradient` or `training`.
        cost: what its passes per pair grow with: `none` (no pass at all), `constant`, `layers`, `components` or
            `training` (a number of steps); empty where it is not said.
        version: raised when the scores may change.
    """

    name: str
    summary: str
    granularities: frozenset[Granularity] | set[Granularity] | set[str]
    reference: str = ""
    access: str = "forward"
    version: str = "1"
    cost: str = ""

    def supports(self, granularity: Granularity) -> bool:
        """Whether the method scores spaces of this granularity."""
        return granularity in {Granularity(g) for g in self.granularities}


@dataclass(frozen=True)
class Problem:
    """All that a method is given. Evaluation pairs and ground truth are not in it.

    Attributes:
        model: the subject model, an `arithloc.benchmark.models.SubjectModel`; the operations of
            `arithloc.benchmark.engine` take it as first argument. (Its class is not named here so that this module
            imports without torch.)
        pairs: the discovery split.
        space: the components to score.
        metric: name of the per-pair metric, `logit_diff` by default.
        ablation: what removed components are replaced with.
        seed: for `torch.Generator().manual_seed` and the like; the only source of randomness with `rng`.
        rng: a generator seeded with `seed`.
        progress: call it with (done, total).
    """

    model: Any
    pairs: Sequence[PromptPair]
    space: ComponentSpace
    metric: str
    ablation: Ablation
    seed: int
    rng: np.random.Generator
    progress: Progress = no_progress


@runtime_checkable
class Method(Protocol):
    """A localization method. Its dataclass fields, if any, are its options."""

    info: MethodInfo

    def localize(self, problem: Problem) -> Scores:
        """Scores every component of `problem.space`."""
        ...
